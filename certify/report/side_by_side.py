"""Several runs in one table: a line a radius, and for each run what it certifies and what attacks leave of it.

Only what can be compared stands in one table: the same norm, units, box and inputs. Other runs have a table of their
own, and the difference is named. What several runs say alike is said once, with the names of all that say it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from certify.core.legible import legible_line
from certify.core.rounding import percent_down, percent_up
from certify.core.run import Run
from certify.core.summary import Summary
from certify.errors import BadInput
from certify.report import html
from certify.report.blocks import WIDTH, Block, blocks_text, wrapped
from certify.report.summary_table import ROUNDING, at_least

__all__ = ["UNDECLARED", "ComparableRuns", "SideBySide", "by_runs", "said_once", "side_by_side"]

T = TypeVar("T", bound=Hashable)

UNDECLARED = "-"
"""Stands where a run did not declare a radius that another one did."""


@dataclass(frozen=True, slots=True)
class ComparableRuns:
    """Runs about the same inputs under the same threat model, and the radii of any of them, ascending."""

    runs: tuple[Run, ...]
    radii: tuple[float, ...]

    @property
    def about(self) -> str:
        """The threat model without its radii, and the inputs, in words."""
        one = self.runs[0].summary
        return f"{_threat(one)}; {_data(one)}"

    @property
    def heads(self) -> list[tuple[str, list[str]]]:
        """Each run's name with the lines that tell it from the others."""
        return [(run.name, _differing(run.summary)) for run in self.runs]

    def first(self) -> Block:
        """The column of radii."""
        threat = self.runs[0].summary.threat
        return Block("", [threat.quantity], [[threat.number(radius)] for radius in self.radii])

    def blocks(self) -> list[Block]:
        """The columns of each run."""
        return [self._block(run) for run in self.runs]

    def _block(self, run: Run) -> Block:
        summary, rows = run.summary, {row.radius: row for row in run.summary.rows}
        lower = summary.guarantee.alpha is not None
        attacked = any(row.empirical is not None for row in summary.rows)
        headings = ["certified %", *[at_least(summary.confidence)] * lower, *["attacked %"] * attacked]
        lines = []
        for radius in self.radii:
            row = rows.get(radius)
            if row is None:
                lines.append([UNDECLARED] * len(headings))
                continue
            line = [percent_down(row.certified), *[percent_down(row.certified_lower)] * lower]
            if attacked:
                line.append("" if row.empirical is None else percent_up(row.empirical))
            lines.append(line)
        return Block(run.name, headings, lines)


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Tables of runs that can be compared.

    Args:
        tables: at least one; runs in the order in which they were given.
        apart: why there is more than one table, a line each.
    """

    tables: tuple[ComparableRuns, ...]
    apart: tuple[str, ...]

    def notes(self) -> list[str]:
        """Sentences about how to read the tables, and what they leave out."""
        runs = [run for table in self.tables for run in table.runs]
        notes = [ROUNDING, *self.apart]
        if any(run.summary.guarantee.alpha is not None for run in runs):
            notes.append(
                "Each column '>=' holds with its probability for its own run, at all radii at once; the best of "
                "several runs, chosen on these inputs, is optimistic."
            )
        if any(UNDECLARED in line for table in self.tables for block in table.blocks() for line in block.lines):
            notes.append(f"'{UNDECLARED}': the run did not declare this radius; name common --radii to fill it.")
        if missing := [run.name for run in runs if not run.summary.complete]:
            notes.append(f"INCOMPLETE: {', '.join(missing)}; what they lack is not in these fractions.")
        return notes

    def contradictions(self) -> list[str]:
        """The runs with contradictions, in words."""
        runs = [run for table in self.tables for run in table.runs]
        return [
            f"CONTRADICTION: {len(run.summary.contradictions)} in {run.name}; see its own table"
            for run in runs
            if run.summary.contradictions
        ]

    def text(self, width: int = WIDTH) -> str:
        """Plain text of at most ``width`` characters a line, where names and cells allow it."""
        lines = wrapped(self.contradictions(), width=width)
        for table in self.tables:
            lines += [""] * bool(lines) + [*wrapped([table.about], width=width), ""]
            lines += [*blocks_text(table.first(), table.blocks(), width), ""]
            lines += wrapped((f"{name}: {'; '.join(differing)}" for name, differing in table.heads), 2, width)
        notes = wrapped(self.notes(), width=width)
        return "\n".join(map(legible_line, [*lines, *([""] if notes else []), *notes]))

    def to_frame(self) -> Any:
        """A pandas DataFrame with a line for each run and radius, each with its norm: different norms never mix."""
        import pandas

        return pandas.DataFrame(
            [
                {
                    "run": run.name,
                    "norm": run.summary.threat.measure,
                    "units": run.summary.threat.units,
                    "radius": row.radius,
                    "certified": row.certified,
                    "certified_lower": row.certified_lower,
                    "empirical": row.empirical,
                    "property": str(run.summary.property),
                    "clean": run.summary.clean,
                    "n": run.summary.n,
                }
                for table in self.tables
                for run in table.runs
                for row in run.summary.rows
            ]
        )

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        parts = [html.paragraphs(self.contradictions())]
        for one in self.tables:
            heads = (f"<b>{html.escape(name)}</b> {html.escape('; '.join(lines))}" for name, lines in one.heads)
            parts += [
                html.paragraphs([one.about]),
                html.blocks(one.first(), one.blocks()),
                f"<p>{'<br>'.join(heads)}</p>",
            ]
        return f"<div>{''.join(parts)}{html.paragraphs(self.notes())}</div>"


def side_by_side(runs: Sequence[Run]) -> SideBySide:
    """Put runs beside each other where they are about the same inputs and threat model, apart from their radii.

    A run joins the first table whose runs it can be compared with. Radii that a run did not report stay open.

    Raises:
        BadInput: for no runs.
    """
    if not runs:
        raise BadInput("nothing to put side by side: name at least one run")
    kinds: list[list[Run]] = []
    apart: list[str] = []
    for run in runs:
        differences = [_difference(kind[0].summary, run.summary) for kind in kinds]
        if "" in differences:
            kinds[differences.index("")].append(run)
            continue
        if kinds:
            apart.append(f"{run.name} is not in the table of {kinds[0][0].name}: {differences[0]}.")
        kinds.append([run])
    return SideBySide(
        tuple(
            ComparableRuns(tuple(kind), tuple(sorted({row.radius for run in kind for row in run.summary.rows})))
            for kind in kinds
        ),
        tuple(apart),
    )


def said_once(said: Iterable[tuple[str, T]]) -> dict[T, tuple[str, ...]]:
    """Everything that runs say, each thing once, with the names of the runs that say it, in order of first appearance.

    >>> said_once([("a", "proof"), ("b", "proof"), ("b", "no attack")])
    {'proof': ('a', 'b'), 'no attack': ('b',)}
    """
    runs: dict[T, dict[str, None]] = {}
    for name, thing in said:
        runs.setdefault(thing, {})[name] = None
    return {thing: tuple(names) for thing, names in runs.items()}


def by_runs(said: Iterable[tuple[str, T]]) -> dict[tuple[str, ...], list[T]]:
    """The same the other way round: for each group of runs, the things that exactly these runs say.

    >>> by_runs([("a", "proof"), ("a", "clean"), ("b", "proof"), ("b", "no attack")])
    {('a', 'b'): ['proof'], ('a',): ['clean'], ('b',): ['no attack']}
    """
    things: dict[tuple[str, ...], list[T]] = {}
    for thing, names in said_once(said).items():
        things.setdefault(names, []).append(thing)
    return things


def _difference(one: Summary, other: Summary) -> str:
    """Why two runs cannot stand in one table, in words; empty if they can."""
    if said := one.difference(other):
        return f"another {'threat model' if one.property == other.property else 'property'} ({said})"
    if not one.same_inputs(other):
        return f"other inputs ({_data(other)} beside {_data(one)})"
    return ""


def _threat(summary: Summary) -> str:
    threat = summary.threat
    box = "no input box" if threat.input_box is None else f"inputs in {threat.input_box}"
    return f"{threat.measured}, {box}{_property(summary)}"


def _property(summary: Summary) -> str:
    """The property, where it is another than the top class."""
    said = summary.head.get("property", "")
    return f", {said}" if said else ""


def _data(summary: Summary) -> str:
    return summary.head.get("data", f"n={summary.n:,}")


def _differing(summary: Summary) -> list[str]:
    kept = ("model", "smoothing", "method", "guarantee", "attack")
    return [*(summary.head[name] for name in kept if name in summary.head), f"clean {percent_up(summary.clean)} %"]
