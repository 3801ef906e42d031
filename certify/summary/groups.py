"""A summary by group: certified accuracy and radius of each, and how low the worst one may truly be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.core.groups import GroupRow, Groups, WorstGroup
from certify.core.rounding import brief, percent_below
from certify.core.summary import Summary
from certify.errors import BadInput, needs
from certify.stats.groups import group_lowers, worst_group_lower
from certify.stats.simultaneous import share
from certify.summary.group_columns import groups_of, groups_without_inputs, in_order
from certify.summary.words import percent

__all__ = ["coded", "grouped"]


def grouped(summary: Summary, name: str, of: Sequence[Any] | Mapping[int, Any], classes: int | None = None) -> Summary:
    """The same summary with one more table, by group; see :class:`~certify.core.groups.Groups`.

    Fractions and radii are read off fairlearn's ``MetricFrame`` (Bird et al. 2020).

    Args:
        summary: of the inputs.
        name: what they are grouped by: a word for the table.
        of: the group of each input, in the order of the summary's sandwich or by position in the data set: text, whole
            numbers or truth values, chosen without looking at the results. A tuple of them, none or several, says that
            groups may overlap, as :func:`~certify.summary.slices.slices` makes them; bounds hold for all at once.
        classes: how many there are, where inputs are grouped by their class. One without inputs, or a group that only
            other positions have, may be the worst: its lower bound is 0.

    Raises:
        BadInput: where an input has no group, or a fraction for one.
        MissingExtra: without fairlearn.
    """
    inputs, groups = _memberships(name, summary.sandwich.index, of)
    codes, names = coded(name, summary.sandwich.index[inputs], groups)
    absent = groups_without_inputs(of, summary.sandwich.index.tolist(), classes)
    lowers, worst_lower = _bounds(summary, codes, inputs, len(names))
    if absent:
        worst_lower = [None if lower is None else 0.0 for lower in worst_lower]
    rows = tuple(
        GroupRow(
            group=group,
            n=int(figures["n"]),
            clean=float(figures["clean"]),
            mean_radius=float(figures["mean_radius"]),
            median_radius=float(figures["median_radius"]),
            certified=tuple(float(figures["certified", place]) for place in range(len(summary.rows))),
            lower=tuple(None if bounds is None else bounds[code] for bounds in lowers),
            attacked=tuple(
                None if row.empirical is None else float(figures["attacked", place])
                for place, row in enumerate(summary.rows)
            ),
        )
        for code, (group, figures) in enumerate(zip(names, _by_group(summary, codes, inputs), strict=True))
    )
    worst = []
    for place, row in enumerate(summary.rows):
        least = min(rows, key=lambda one, place=place: one.certified[place])  # type: ignore[misc]
        worst.append(WorstGroup(row.radius, least.group, least.certified[place], worst_lower[place]))
    table = Groups(
        name=name,
        threat=summary.threat,
        radii=tuple(row.radius for row in summary.rows),
        rows=rows,
        worst=tuple(worst),
        confidence=summary.confidence,
        statement=_statement(summary, name, worst, absent, overlap=len(np.unique(inputs)) < len(inputs)),
    )
    return replace(summary, groups=(*summary.groups, table))


def coded(
    name: str, index: NDArray[np.int64], of: Sequence[Any] | Mapping[int, Any]
) -> tuple[NDArray[np.int64], list[str]]:
    """The group of each input as an index into the names; the names are in numeric or alphabetic order.

    Raises:
        BadInput: where an input has no group, or a fraction for one.
    """
    positions = index.tolist()
    given = in_order(name, of, positions)
    values = [_value(name, position, value) for position, value in zip(positions, given, strict=True)]
    if not all(isinstance(value, int) for value in values):
        values = [str(value) for value in values]
    names = sorted(set(values))
    places = {value: place for place, value in enumerate(names)}
    return np.array([places[value] for value in values], dtype=np.int64), [str(value) for value in names]


def _memberships(
    name: str, index: NDArray[np.int64], of: Sequence[Any] | Mapping[int, Any]
) -> tuple[NDArray[np.int64], list[Any]]:
    """Every pair of an input, as its row, and a group that it is in: of slices none, one or several an input."""
    given = [groups_of(one) for one in in_order(name, of, index.tolist())]
    for position, each in zip(index.tolist(), given, strict=True):
        if len(set(map(str, each))) < len(each):
            raise BadInput(f"{name} names one group twice for input {position}: it would count as two inputs")
    groups = [group for each in given for group in each]
    if not groups:
        raise BadInput(f"no input here is in any {name}: there is nothing to group by")
    return np.repeat(np.arange(len(given)), [len(each) for each in given]), groups


def _value(name: str, position: int, value: Any) -> int | str:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, tuple):
        raise BadInput(f"{name} has several groups for input {position}, and here each is in one: name one column")
    if plain is None or plain != plain or plain == "":  # noqa: PLR0124  (NaN)
        raise BadInput(f"{name} has no group for input {position}; give every input one")
    if isinstance(plain, float):
        if not plain.is_integer():
            raise BadInput(f"{name} is {plain:g} for input {position}; groups are names or whole numbers: cut it up")
        return int(plain)
    return str(plain) if isinstance(plain, bool) or not isinstance(plain, int) else plain


def _by_group(summary: Summary, codes: NDArray[np.int64], inputs: NDArray[np.int64]) -> list[dict[Any, Any]]:
    """The figures of each group.

    One metric finds them all, and it is given the rows of its group instead of predictions: a MetricFrame copies every
    column entry by entry for every metric, which takes a minute for a million inputs.
    """
    with needs("fairlearn", "groups", "a table by group"):
        from fairlearn.metrics import MetricFrame
    sandwich = summary.sandwich
    right, radius = sandwich.correct, np.nan_to_num(sandwich.certified)

    def figures(label: Any, row: NDArray[np.int64]) -> dict[Any, Any]:
        correct, certified, attacked = right[row], sandwich.certified[row], sandwich.attacked[row]
        found: dict[Any, Any] = {
            "n": len(row),
            "clean": np.mean(correct),
            "mean_radius": np.mean(radius[row]),
            "median_radius": np.median(radius[row]),
        }
        for place, one in enumerate(summary.rows):
            found["certified", place] = np.mean(certified >= one.radius)
            found["attacked", place] = np.mean(correct & ~(attacked <= one.radius))
        return found

    frame = MetricFrame(metrics=figures, y_true=sandwich.label[inputs], y_pred=inputs, sensitive_features=codes)
    return [frame.by_group[code] for code in range(int(codes.max()) + 1)]


def _bounds(
    summary: Summary, codes: NDArray[np.int64], inputs: NDArray[np.int64], groups: int
) -> tuple[list[dict[int, float] | None], list[float | None]]:
    """At each radius: a lower bound for every group by name, and one for the worst; None where nothing can be said.

    The declared radii share delta. Whatever is robust at a larger radius is robust at a smaller one, so a radius chosen
    afterwards gets the bounds of the next declared one. Groups may overlap: their bounds share delta whatever they have
    in common, and within each the inputs are a sample of its own population.
    """
    declared, alpha = summary.declared or summary.threat.radii, summary.guarantee.alpha
    level = share(1 - summary.confidence, len(declared))
    sizes = np.bincount(codes, minlength=groups)
    lowers: list[dict[int, float] | None] = []
    worst: list[float | None] = []
    for row in summary.rows:
        if row.population_lower is None:
            lowers.append(None)
            worst.append(None)
            continue
        covered = summary.sandwich.sure >= declared[bisect_left(declared, row.radius)]
        certified = np.bincount(codes[covered[inputs]], minlength=groups)
        counts = {group: (int(certified[group]), int(sizes[group])) for group in range(groups)}
        lowers.append(group_lowers(counts, alpha, level))
        worst.append(worst_group_lower(counts, alpha, level))
    return lowers, worst


def _statement(
    summary: Summary, name: str, worst: Sequence[WorstGroup], absent: Sequence[str], *, overlap: bool
) -> str:
    said = [(one.radius, one.lower) for one in worst if one.lower is not None]
    if not said:
        return (
            f"These fractions are of the {summary.n:,} inputs at hand, and nothing is said of others: that takes "
            "inputs that are all there, all different and not chosen at regular steps."
        )
    over = "the draw of the inputs" + " and the noise" * (summary.guarantee.alpha is not None)
    shares = " / ".join(percent_below(lower) for _, lower in said)
    radii = " / ".join(brief(radius) for radius, _ in said)
    unknown = f" No input of {name} {', '.join(absent)} is here, so that nothing is known of it." if absent else ""
    shared = " An input may count in several of them; the bounds hold whatever they share." if overlap else ""
    return (
        f"If the inputs of each {name} are an independent random sample of a population of its own, and the groups "
        f"were not made by looking at results: with probability at least {percent(summary.confidence)} over {over}, "
        f"the population of every group shown is truly right and robust on at least the fraction in its column '>=', "
        f"all groups and radii at once; and, with the same probability but by itself, the worst group, whichever that "
        f"is, on at least {shares} % at radius {radii}.{shared}{unknown}"
    )
