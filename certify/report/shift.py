"""Certified accuracy under shift: ``table``, ``markdown``, ``html`` and ``latex`` of its tables, and ``json``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from certify.core.rounding import brief, percent_below, percent_down, percent_up, round_down, round_up
from certify.core.run import Run
from certify.deployment.shift import SHIFT_FORMATS, Curve, Shift, shift_run
from certify.errors import BadInput, IncompleteRun
from certify.report.titled import Titled
from certify.report.told import Told, register_told
from certify.summary.words import percent

__all__ = ["curve_tables", "render_json", "shift_if_known", "tables"]


@SHIFT_FORMATS.register("json")
def render_json(found: Shift) -> str:
    """Every number, unrounded, and the statements."""
    return json.dumps(found.to_dict(), indent=2, allow_nan=False)


def shift_if_known(run: Run) -> Shift | None:
    """What a page shows of a run: the usual curves; None where nothing follows for other distributions."""
    try:
        return shift_run(run, delta=_delta(run))
    except (BadInput, IncompleteRun):
        return None


def _delta(run: Run) -> float:
    """The probability of error of a run's statements; its confidence is the float next to 1 - delta."""
    return float(f"{1 - run.summary.confidence:.12g}")


def tables(found: Shift) -> Iterator[Titled]:
    """The table of radii, one for each kind of shift, and those of shares and weights."""
    yield _radii(found)
    yield from curve_tables(found)
    if found.mixture is not None:
        yield _groups(found)


def curve_tables(found: Shift) -> list[Titled]:
    """One table for each kind of shift."""
    return [_curve(found, one) for one in found.curves]


def _radii(found: Shift) -> Titled:
    head, words = ["radius", "certified %", "source >= %"], [False] * 3
    lines = [
        [found.threat.number(radius), percent_down(certified), percent_below(source)]
        for radius, certified, source in zip(found.radii, found.certified, found.source, strict=True)
    ]
    for title, more in (("shares >= %", found.mixture), ("weighted >= %", found.weighted)):
        if more is not None:
            head.append(title)
            words.append(False)
            lines = [[*line, percent_below(bound)] for line, bound in zip(lines, more.lower, strict=True)]
    note = "Source: what the inputs were drawn from, without any shift."
    if found.threshold is not None:
        at_least = f"{percent(found.threshold)} %".replace("% %", "%")
        for one in found.curves:
            head.append(one.symbol)
            words.append(False)
            lines = [[*line, _largest(amount)] for line, amount in zip(lines, one.largest, strict=True)]
        note += (
            f" The other columns: the largest shift at which certified accuracy is still at least {at_least}; none "
            "where "
            "it is not even without a shift, any where no amount is too large."
        )
    title = f"Certified accuracy of {found.run}, n={found.n:,}, by {found.threat.measured}"
    return Titled(title, [head, *lines], note, "shift", words)


def _largest(amount: float | None) -> str:
    if amount is None:
        return "none"
    return "any" if math.isinf(amount) else round_down(amount)


def _curve(found: Shift, one: Curve) -> Titled:
    head = [one.symbol, *(f"r={found.threat.number(radius)}" for radius in found.radii)]
    lines = [
        [brief(amount), *(percent_below(bounds[place]) for bounds in one.lower)]
        for place, amount in enumerate(one.amounts)
    ]
    title = f"Certified accuracy (%) guaranteed under a shift of at most so much: {one.title}"
    return Titled(title, [head, *lines], "", f"shift-{one.measure}", [False] * len(head))


def _groups(found: Shift) -> Titled:
    mixture = found.mixture
    assert mixture is not None
    counted = bool(mixture.counted)
    radii = [f">= % at {found.threat.number(radius)}" for radius in found.radii]
    head = [mixture.name, "here %", *(["counted"] * counted), "share % from", "to", *radii]
    lines = [
        [
            group,
            percent_down(mixture.here[place]),
            *([f"{mixture.counted[place]:,}"] if counted else []),
            percent_down(mixture.low[place]),
            percent_up(mixture.high[place]),
            *map(percent_below, mixture.lowers[place]),
        ]
        for place, group in enumerate(mixture.groups)
    ]
    title = f"Shares of {mixture.name} at deployment, and the certified accuracy of each"
    return Titled(title, [head, *lines], "", "shares", [True, *[False] * (len(head) - 1)])


def _below(found: Shift) -> list[str]:
    said = list(found.statements)
    if found.mixture is not None:
        said.append(found.mixture.statement)
    if found.weighted is not None:
        one = found.weighted
        said.append(
            f"{one.statement} Their mean is {round_down(one.mean)}, the largest {round_up(one.largest)}; they say as "
            "much "
            f"as {round_down(one.effective, 0)} inputs without weights."
        )
    alarms = [note for note in found.notes if note.startswith("CONTRADICTION")]
    return [*alarms, *said, *(note for note in found.notes if note not in alarms)]


register_told(SHIFT_FORMATS, lambda found: Told(found.head, list(tables(found)), _below(found)))
