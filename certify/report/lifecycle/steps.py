"""The steps: what each asks, what speaks to it, where its records lie, and what the records are evidence towards.

This is the one place that knows which record belongs to which step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from certify.core.run import Run
from certify.report.frameworks.statements import (
    Fact,
    Statement,
    accuracy,
    attacked,
    promise,
    record,
    robustness,
    undecided,
)
from certify.report.lifecycle.records import Record

__all__ = ["STEPS", "Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the life of a system.

    Args:
        name: of the step.
        asks: the question that it has to answer.
        towards: clauses that an answer is evidence towards.
        facts: what the run itself says.
        records: what other commands leave in its folder.
        beyond: what no record can show.
    """

    name: str
    asks: str
    towards: tuple[str, ...]
    facts: tuple[Fact, ...] = ()
    records: tuple[Record, ...] = ()
    beyond: tuple[str, ...] = ()


def _requirement(run: Run) -> Iterator[Statement]:
    """What was declared before anything was certified."""
    one, threat = run.summary, run.summary.threat
    radii = ", ".join(map(threat.number, one.declared or threat.radii))
    yield Statement(
        f"declared with the run: {threat.measure} radii {radii}, in {threat.units}; the demand is to {one.property}."
    )
    yield Statement(
        "which radius and which share are enough: not on record: `certify gate RUN --policy POLICY.toml` holds a run "
        "to a file that says so.",
        gap=True,
    )


def _strategy(run: Run) -> Iterator[Statement]:
    """How it was decided to find out."""
    head = run.summary.head
    for name in ("method", "smoothing", "samples", "guarantee", "attack"):
        if name in head:
            yield Statement(f"{name}: {head[name]}.")
    yield Statement(f"data: {run.settings['data']['name']}, {run.summary.n:,} inputs.")


def _remedy(run: Run) -> Iterator[Statement]:
    """How the model came about, as far as that is on record, and where more would be found."""
    training = run.context.get("training")
    if training:
        yield Statement("how the model was trained is on record in the manifest of the run.")
    else:
        yield Statement("how the model was trained: unknown: the records do not say.", gap=True)
    yield Statement(
        "what would raise the certified accuracy: not measured: run `certify improve RUN`; whether a new model is "
        "better on the same inputs: `certify compare RUN OTHER`.",
        gap=True,
    )


_ACT: Final = "EU AI Act, Article 15"
_RMF: Final = "NIST AI RMF 1.0,"
_42001: Final = "ISO/IEC 42001:2023,"
_24029: Final = "ISO/IEC 24029-2:2023,"

STEPS: Final = (
    Step(
        "Requirements",
        "which changes must do no harm, how far they may go, and what has to stay true",
        (f"{_24029} clause 5, domain and properties", f"{_ACT}(1) and (3)", f"{_RMF} MAP 2", f"{_42001} A.6.2.2"),
        (_requirement,),
        beyond=("Whether these are the changes that the intended use meets is for people to say.",),
    ),
    Step(
        "Strategy",
        "by which methods, on which data and with what confidence this is found out",
        (f"{_24029} clause 6, which formal methods apply", f"{_RMF} MEASURE 1.1", f"{_42001} A.6.2.4"),
        (_strategy, promise, record),
    ),
    Step(
        "Measurement",
        "what was found, with what probability it is wrong, and what was tried against it",
        (
            f"{_24029} clause 5, stability, and clause 7, verification and validation",
            f"{_ACT}(1), (3), (4) and (5)",
            f"{_RMF} MEASURE 2.5, 2.6 and 2.7",
            f"{_42001} A.6.2.4",
        ),
        (accuracy, robustness, attacked, undecided),
        (
            Record("accuracy under corruptions", "corrupt.json", "certify corrupt RUN"),
            Record(
                "other distributions than that of the data",
                "shift.json",
                "certify shift RUN --format json > RUN/shift.json",
            ),
            Record("prediction sets", "conformal.json", "certify conformal RUN --coverage C --calibration DATA"),
            Record("edge cases and degradation", "stress.json", "certify stress RUN"),
        ),
    ),
    Step(
        "Remedy",
        "what is done where the measurement falls short, and whether it helped",
        (
            f"{_24029} clause 7, design and development",
            f"{_ACT}(4)",
            f"{_RMF} MANAGE 1 and 2",
            f"{_42001} 10, improvement",
        ),
        (_remedy,),
    ),
    Step(
        "Monitor",
        "whether the measurement still speaks for what the system meets, and who looks when it does not",
        (
            f"{_24029} clause 7, operation and monitoring",
            f"{_ACT}(1) over the life cycle, and Article 72",
            f"{_RMF} MEASURE 2.4 and MANAGE 4",
            f"{_42001} 9.1 and A.6.2.6",
        ),
        (),
        (
            Record("whether the certificates are in force", "monitor.jsonl", "certify monitor RUN --stream SOURCE"),
            Record(
                "new data beside the old",
                "compare_data.json",
                "certify compare-data RUN DATA --format json > RUN/compare_data.json",
            ),
        ),
        ("Who is told of an alarm, and what happens then, lies outside of any record.",),
    ),
)
