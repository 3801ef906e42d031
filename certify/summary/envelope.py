"""The best of several runs at each radius, as papers plot it, and what it guarantees though chosen on the test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from certify.core.shown import DRAWINGS, VIEWS
from certify.core.summary import Summary
from certify.errors import BadInput
from certify.summary.curves import even_radii
from certify.summary.words import percent

__all__ = ["Envelope", "EnvelopeRow", "envelope"]


@dataclass(frozen=True, slots=True)
class EnvelopeRow:
    """The run with the highest certified accuracy at one radius, the first of equals.

    Args:
        radius: the radius, in input units.
        run: name of the run.
        certified: its certified accuracy.
        certified_lower: the fraction of these inputs on which it is truly robust is at least this.
    """

    radius: float
    run: str
    certified: float
    certified_lower: float


@dataclass(frozen=True, slots=True)
class Envelope:
    """The best at each radius over several runs on the same inputs, and what that guarantees, in one sentence."""

    rows: tuple[EnvelopeRow, ...]
    runs: tuple[str, ...]
    n: int
    norm: str
    units: str
    confidence: float
    statement: str
    curve: tuple[tuple[float, float], ...]
    """Radii and the certified accuracy of the best run there, from 0 to a little past the largest declared radius."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows], "selected_on_the_test_set": True}

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row a radius."""
        import pandas

        return pandas.DataFrame(map(asdict, self.rows)).set_index("radius")

    def render(self, format: str) -> str:
        """The envelope as text: ``table``, ``json``, ``csv``, ``latex``, ``markdown``, ``html``, or its ``curve``."""
        return VIEWS[f"envelope.{format}"](self)

    def plot(self, axes: Any = None) -> Any:
        """Draw the curve; return the Axes.

        Raises:
            MissingExtra: without matplotlib.
        """
        return DRAWINGS["envelope"](self, axes)

    def __str__(self) -> str:
        return self.render("table")

    def _repr_html_(self) -> str:
        return self.render("html")


def envelope(summaries: Mapping[str, Summary], confidence: float = 0.95) -> Envelope:
    """The best of several runs at each radius.

    Args:
        summaries: by name, at the same radii, each with the lower bounds of its own that all hold together with
            probability ``confidence``: with J runs, each made with ``delta = (1 - confidence) / J``.
        confidence: of the whole table.

    Raises:
        BadInput: for fewer than two runs, other radii or norms, other inputs, or bounds that do not hold
            together.
    """
    named = list(summaries.items())
    if len(named) < 2:
        raise BadInput("an envelope is over several runs: name at least two")
    for (name, one), (other, two) in combinations(named, 2):
        said = one.difference(two)
        if said or one.threat.radii != two.threat.radii:
            said = said or "they have different radii; name common --radii"
            raise BadInput(f"{name} and {other} make no envelope: {said}")
        if not one.same_inputs(two):
            raise BadInput(
                f"{name} ({one.n:,} inputs) and {other} ({two.n:,}) are about different inputs; an envelope is over "
                "runs on the same ones"
            )
    first = named[0][1]
    for _, one in named:
        if len(named) * (1 - one.confidence) > (1 - confidence) * (1 + 1e-9):
            raise BadInput(f"the bounds of {len(named)} runs at {one.confidence:g} each do not hold at {confidence:g}")
    rows = []
    for place, radius in enumerate(first.threat.radii):
        name, best = max(((name, one.rows[place]) for name, one in named), key=lambda run: run[1].certified)
        rows.append(EnvelopeRow(radius, name, best.certified, best.certified_lower))
    return Envelope(
        rows=tuple(rows),
        runs=tuple(summaries),
        n=first.n,
        norm=first.threat.measure,
        units=first.threat.units,
        confidence=confidence,
        statement=(
            f"Selected on the test set, so optimistic: on other inputs the run named may do worse; with probability "
            f"at least {percent(confidence)} over the sampling noise of all {len(named)} runs, it is truly right and "
            f"robust on at least the fraction in the column '>=' of these {first.n:,} inputs, at all radii at once."
        ),
        curve=_curve([one for _, one in named]),
    )


def _curve(summaries: Sequence[Summary]) -> tuple[tuple[float, float], ...]:
    """The best certified accuracy at evenly spaced radii and at every declared one."""
    radii = sorted({*even_radii(summaries[0]), *summaries[0].threat.radii})
    return tuple((radius, max(one.certified_at(radius) for one in summaries)) for radius in radii)
