"""Accuracy and radius by group of inputs: an average hides the group for which the model does worst."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from certify.core.shown import DRAWINGS, VIEWS
from certify.core.threats.base import Threat

__all__ = ["GroupRow", "Groups", "WorstGroup"]


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group. What has one entry a radius is in the order of :attr:`Groups.radii`; accuracies are fractions.

    Args:
        group: its name.
        n: how many of the inputs are in it.
        clean: fraction of them predicted correctly.
        mean_radius, median_radius: of the certified radii, counting 0 for inputs that are wrong or not certified.
        certified: fraction predicted correctly and certified at each radius.
        lower: the group's population is truly robust at least to this fraction, all named groups and radii at once;
            None where nothing can be said beyond these inputs.
        attacked: fraction predicted correctly that no attack broke; None where that is not known.
    """

    group: str
    n: int
    clean: float
    mean_radius: float
    median_radius: float
    certified: tuple[float, ...]
    lower: tuple[float | None, ...]
    attacked: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class WorstGroup:
    """The group with the lowest certified accuracy at one radius.

    Args:
        radius: the radius.
        group: its name, the first of equals. It did worst on these inputs, and need not be the one that truly is worst.
        certified: its certified accuracy.
        lower: the group that truly is worst, whichever that is, is robust at least to this fraction; None where nothing
            can be said beyond these inputs.
    """

    radius: float
    group: str
    certified: float
    lower: float | None


@dataclass(frozen=True, slots=True)
class Groups:
    """A summary by group.

    Args:
        name: what the inputs are grouped by.
        threat: what radii are about.
        radii: the radii, ascending.
        rows: one for each group.
        worst: one for each radius.
        confidence: with which the lower bounds hold.
        statement: what they mean, with what probability, over what randomness.
    """

    name: str
    threat: Threat
    radii: tuple[float, ...]
    rows: tuple[GroupRow, ...]
    worst: tuple[WorstGroup, ...]
    confidence: float
    statement: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        told = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "threat"}
        rows = {"rows": [asdict(row) for row in self.rows], "worst": [asdict(one) for one in self.worst]}
        return told | rows | {"measure": self.threat.measure}

    def to_frame(self) -> Any:
        """A pandas DataFrame with a line for each group and radius, indexed by both."""
        import pandas

        lines = [
            {
                self.name: row.group,
                "radius": radius,
                "n": row.n,
                "clean": row.clean,
                "mean_radius": row.mean_radius,
                "median_radius": row.median_radius,
                "certified": row.certified[place],
                "lower": row.lower[place],
                "attacked": row.attacked[place],
            }
            for row in self.rows
            for place, radius in enumerate(self.radii)
        ]
        return pandas.DataFrame(lines).set_index([self.name, "radius"])

    def plot(self, axes: Any = None) -> Any:
        """Draw each group's certified accuracy at each radius with its lower bound; return the matplotlib Axes.

        Raises:
            MissingExtra: without matplotlib.
        """
        return DRAWINGS["groups"](self, axes)

    def _repr_html_(self) -> str:
        return VIEWS["groups.html"](self)
