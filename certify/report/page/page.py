"""The page itself: what it shows is gathered here, how it looks is in the templates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certify.core.legible import legible
from certify.core.run import Run
from certify.data.dataset import Dataset
from certify.deployment.shift import Shift
from certify.errors import BadInput
from certify.report.claims import MEANINGS, Headline, headline, limits, threat_in_words
from certify.report.frameworks.evidence import NOT_ADVICE, evidence_for, numbered
from certify.report.lifecycle.told import LIFE_CYCLE, life_cycle
from certify.report.page import charts
from certify.report.page.charts import Chart
from certify.report.page.originals import originals_of
from certify.report.page.weakest import Weak, weakest
from certify.report.protocol import averages, commands, protocol, reproduction
from certify.report.references import bibtex, entries, references_of
from certify.report.replicates import titled
from certify.report.shift import curve_tables, shift_if_known
from certify.report.side_by_side import said_once, side_by_side
from certify.report.summary_table import ROUNDING, cells, closing, group_blocks, headings, layer_cells, worst_lines
from certify.summary.replicates import Replicates

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["environment", "page", "version"]

_WEAKEST_SHOWN = 8
"""The weakest inputs on a page, divided among its runs; each run has at least one."""

_STRONGEST_SHOWN = 5
"""The strongest inputs listed for each run."""

_RUNS_IN_FULL = 2
"""Up to this many runs are shown side by side in full; with more, the parts about single runs are folded."""

_SHOWN_ELSEWHERE = ("CONTRADICTION", "contradictions ", "gap between proof and example", ROUNDING)
"""Beginnings of the lines under a table that a page shows elsewhere: above all else, or in a table of its own."""


@dataclass(frozen=True, slots=True)
class Section:
    """What a page shows of one run.

    Args:
        run: the run.
        headline: the promise.
        charts: curves, sandwich, radii, probabilities.
        weak: the weakest inputs.
        without: why pictures are missing; empty if none is.
        strong: the strongest inputs as a table.
        shift: what is guaranteed on other distributions; None where nothing is.
    """

    run: Run
    headline: Headline
    charts: dict[str, Chart]
    weak: list[Weak]
    without: str
    strong: list[list[str]]
    shift: Shift | None


@dataclass(frozen=True, slots=True)
class Attributed:
    """A sentence and the names of the runs it is about; the names are empty if it is about all runs of the page."""

    runs: str
    text: str


def page(
    runs: Sequence[Run],
    data: Dataset | None = None,
    asked: Sequence[str] | None = None,
    seeds: Sequence[Replicates] = (),
) -> str:
    """One or several runs as one HTML file that refers to nothing outside itself and runs no script.

    The same runs give the same bytes.

    Args:
        runs: what to show, side by side.
        data: the inputs, for the pictures; loaded by the name in each manifest if not given. Inputs that are not the
            very ones of a record, by their digest, are not shown.
        asked: the words after the run folders with which the page was asked for, which it repeats; read off the runs,
            as far as they show it, if not given.
        seeds: tables over those runs whose models differ in their seed alone, or in their fold.

    Raises:
        BadInput: for no runs.
        MissingExtra: without matplotlib.
        StoreError: if a run folder cannot be read any more.
    """
    if not runs:
        raise BadInput("a page is about at least one run; name a run folder")
    beside = side_by_side(runs)
    sections = [
        _section(run, f"run{place}", max(1, _WEAKEST_SHOWN // len(runs)), data) for place, run in enumerate(runs)
    ]
    text = (
        environment()
        .get_template("page.html.jinja")
        .render(
            runs=sections,
            headings=headings,
            cells=cells,
            group_blocks=group_blocks,
            worst_lines=worst_lines,
            curve_tables=curve_tables,
            beside=beside,
            seeds=[titled(one) for one in seeds],
            overlays=charts.overlays(beside),
            folded=len(runs) > _RUNS_IN_FULL,
            why=_said(runs, lambda run: [headline(run).why]),
            averages=averages(runs),
            closing=_said(runs, _closing),
            threats=_said(runs, lambda run: [threat_in_words(run.summary)]),
            limits=_said(runs, lambda run: limits(run.summary)),
            protocol=protocol(runs),
            reproduction=reproduction(runs),
            meanings=MEANINGS,
            preface=NOT_ADVICE,
            audit=numbered(evidence_for(runs)),
            steps=life_cycle(runs),
            life_cycle=LIFE_CYCLE,
            commands=commands(runs, asked),
            references=bibtex(key for key in entries() if any(key in references_of(run.summary) for run in runs)),
            version=version(),
        )
    )
    return legible(text)


def _section(run: Run, key: str, weak: int, data: Dataset | None) -> Section:
    shown, without = _weakest(run, weak, data)
    shift = shift_if_known(run)
    return Section(
        run=run,
        headline=headline(run),
        charts=dict(_charts(run, key)) | ({} if shift is None else {"shift": charts.shifted(shift, f"{key}shift")}),
        weak=shown,
        without=without,
        strong=[
            layer_cells(run.summary, layer, "none", "none found")
            for layer in run.summary.sandwich.strongest(_STRONGEST_SHOWN)
        ],
        shift=shift,
    )


def _said(runs: Sequence[Run], of: Callable[[Run], Iterable[str]]) -> list[Attributed]:
    """Sentences about the runs, each once, with the names of the runs it is about."""
    said = said_once((run.name, text) for run in runs for text in of(run))
    return [Attributed("" if len(names) == len(runs) else ", ".join(names), text) for text, names in said.items()]


def _closing(run: Run) -> list[str]:
    return [line for line in closing(run.summary) if not line.startswith(_SHOWN_ELSEWHERE)]


def _charts(run: Run, key: str) -> Iterator[tuple[str, Chart]]:
    yield "curves", charts.curves(run, f"{key}curves")
    yield "radii", charts.radii(run, f"{key}radii")
    for name, make in (("sandwich", charts.sandwich), ("probabilities", charts.probabilities)):
        if (found := make(run, f"{key}{name}")) is not None:
            yield name, found


def _weakest(run: Run, count: int, data: Dataset | None) -> tuple[list[Weak], str]:
    """The weakest inputs, and one sentence on why some have no picture of the original."""
    originals = originals_of(run, data)
    shown = weakest(run, originals, count)
    if originals.note or not shown or all(one.original for one in shown):
        return shown, originals.note if shown else ""
    return shown, (
        "Some original inputs are not shown: the data that was loaded holds other values at their positions than the "
        "run was about, or the run kept no records on disk."
    )


def environment() -> Environment:
    """Where pages are made from their templates: everything is escaped, and nothing may be left out unseen."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("certify.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def version() -> str:
    """The version of this package, which a page names."""
    from importlib.metadata import version

    return version("certify")
