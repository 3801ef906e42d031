"""What can be said of a run to somebody who audits it: each fact is there, or it is a gap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import brief_up, percent_down, percent_up, round_up
from certify.core.run import Run
from certify.core.summary import Row, Summary
from certify.summary.words import percent

__all__ = ["Fact", "Statement", "accuracy", "attacked", "promise", "record", "robustness", "undecided"]


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence about a run: evidence, or a gap."""

    text: str
    gap: bool = False


Fact = Callable[[Run], Iterator[Statement]]
"""Reads sentences off one run."""


def accuracy(run: Run) -> Iterator[Statement]:
    """Accuracy on inputs as they are."""
    one = run.summary
    whose = "the smoothed model" if one.smoothed else "the model"
    data = run.settings["data"]["name"]
    yield Statement(
        f"{whose} predicts {percent_down(one.clean)} % of {one.n:,} inputs of {data} correctly as they are."
    )
    yield from _whole(one)


def robustness(run: Run) -> Iterator[Statement]:
    """Certified accuracy at the smallest and the largest declared radius above 0, with its threat model."""
    one = run.summary
    rows = [row for row in one.rows if row.radius > 0] or list(one.rows)
    for row in rows if len(rows) < 2 else (rows[0], rows[-1]):
        yield Statement(_certified(one, row))
    if one.contradictions:
        yield Statement(
            f"{len(one.contradictions):,} certificates are contradicted by examples inside their radius. Until that is "
            "explained, the certified shares of this run are no evidence.",
            gap=True,
        )
    if one.guarantee.alpha is not None:
        yield Statement(
            "the certified shares are about the smoothed model. Deployed without its noise and its vote, the model has "
            "no certificate.",
            gap=True,
        )
    elif "exact real arithmetic" not in one.statement:
        yield Statement(
            "the proofs are about the defended model. Deployed without its defence, the model has no certificate.",
            gap=True,
        )
    elif "every float32 execution" not in one.statement:
        yield Statement("the proofs are about exact real arithmetic, not about each execution in floats.", gap=True)
    if "certifier:published" in one.parts:
        yield Statement("the radii were read from a published log; the counts behind them are not in it.", gap=True)
    yield from _whole(one)


def promise(run: Run) -> Iterator[Statement]:
    """The kind of guarantee behind a certificate, and what is stated of inputs beyond these."""
    one = run.summary
    if one.guarantee.alpha is None:
        yield Statement("each certificate is a proof; no sampling is involved.")
    else:
        yield Statement(
            f"each certificate is false with probability at most {brief_up(one.guarantee.alpha)} over the sampling "
            f"noise; the shares called truly right and robust hold together with probability {percent(one.confidence)}."
        )
    yield from (Statement(text) for text in one.further)
    if not one.further:
        yield Statement("nothing is stated about inputs other than those certified.", gap=True)


def attacked(run: Run) -> Iterator[Statement]:
    """What attacks achieved, or that none was tried."""
    one = run.summary
    yield from (Statement(f"an imported attack log says: {log}.") for log in one.reported)
    tried = [row for row in one.rows if row.empirical is not None and row.radius > 0]
    if not tried:
        told = (
            "no attack ran" if one.attacked is None else "no attack ran on every input and as far as a declared radius"
        )
        yield Statement(f"{told}: how far attackers get beyond the certified radii is not shown.", gap=True)
        return
    last, how = tried[-1], one.head.get("attack", "the attacks on record")
    yield Statement(
        f"{how} left {percent_up(last.empirical or 0.0)} % of the inputs predicted correctly within "
        f"{one.threat.amount(last.radius)}; each example that counts against the rest was verified."
    )
    broken = one.sandwich.attacked[one.sandwich.attacked > 0]
    if broken.size:
        yield Statement(
            "the nearest example found to an input that is predicted correctly lies at "
            f"{one.threat.amount(float(broken.min()), round_up)}."
        )
    if "ANOTHER model" in how:
        yield Statement("the attack was on another model than the certified one, base or smoothed.", gap=True)
    yield Statement("an attack that fails promises nothing; a stronger one may break more.", gap=True)


def undecided(run: Run) -> Iterator[Statement]:
    """How inputs that could not be decided are counted."""
    one, last = run.summary, run.summary.rows[-1]
    yield Statement(
        f"abstentions ({last.abstain:,} of {one.n:,} inputs) and inputs left undecided at "
        f"{one.threat.amount(last.radius)} ({last.unknown:,}) count as not certified."
    )


def record(run: Run) -> Iterator[Statement]:
    """Whether the run can be identified and done again."""
    settings, seed = run.settings, run.settings.get("seed")
    digests = [
        f"{part} sha256 {settings[part]['digest'].removeprefix('published:')[:12]}" for part in ("model", "data")
    ]
    versions = [f"{name} {text}" for name, text in run.context.get("versions", {}).items()]
    yield Statement(f"on record: {', '.join([*digests, *versions])}, every setting and the threat model.")
    if seed is None:
        yield Statement("no seed is on record: the sampling cannot be repeated.", gap=True)
    else:
        yield Statement(f"the seed is on record ({seed}): the same noise and the same attacks can be drawn again.")


def _certified(summary: Summary, row: Row) -> str:
    sure = ""
    if summary.guarantee.alpha is not None:
        lower = percent_down(row.certified_lower)
        sure = f" (truly right and robust: at least {lower} %, {percent(summary.confidence)} sure)"
    box = "" if summary.threat.input_box is None else " inside the input box"
    kept = "keep the right class" if summary.property == TOP_CLASS else str(summary.property)
    return (
        f"{percent_down(row.certified)} % of {summary.n:,} inputs are certified{sure} to {kept} under "
        f"every {summary.threat.change(row.radius)}{box}, whatever causes it."
    )


def _whole(summary: Summary) -> Iterator[Statement]:
    if not summary.complete:
        of = summary.n if summary.expected is None else summary.expected
        yield Statement(f"the run is incomplete: {summary.n:,} of {of:,} inputs were attempted so far.", gap=True)
