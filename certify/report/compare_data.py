"""New data beside those of a run: ``table``, ``markdown``, ``html`` and ``latex`` of its tables, and ``json``."""

from __future__ import annotations

import json
from decimal import ROUND_CEILING, Decimal

from certify.core.rounding import brief_up
from certify.deployment.samples import DATA_FORMATS, DataComparison
from certify.report.titled import Titled
from certify.report.told import Told, register_told

__all__ = ["render_json"]

SHOWN = 10
"""Features and inputs in a table; the rest are counted, and ``json`` has all of them."""


@DATA_FORMATS.register("json")
def render_json(found: DataComparison) -> str:
    """Every number, and every new input."""
    return json.dumps(found.to_dict(), indent=2, allow_nan=False)


def _told(found: DataComparison) -> Told:
    tables = [_tests(found)]
    if found.features:
        tables.append(_features(found))
    if found.foreign:
        tables.append(_inputs(found))
    none = [] if found.foreign else [f"None of the {found.m:,} new inputs is named as foreign."]
    return Told(found.head, tables, [found.verdict, *none, *found.statement, *found.notes])


def _p(value: float) -> str:
    """A p-value with four places, never rounded down: of the decimal that is meant, as 1 / 1000 is no float."""
    return str(Decimal(repr(value)).quantize(Decimal("0.0001"), rounding=ROUND_CEILING))


def _tests(found: DataComparison) -> Titled:
    lines = [[one.test, _p(one.p_value), "moved" if one.moved else "not told apart", one.said] for one in found.tests]
    title = f"Are {found.m:,} new inputs drawn as the {found.n:,} of the run, at level {brief_up(found.level)}?"
    return Titled(title, [["test", "p", "answer", "found"], *lines], "", "data-tests", [True, False, True, True])


def _features(found: DataComparison) -> Titled:
    lines = [
        [one.feature, f"{one.distance:.3f}", _p(one.p_value), f"{one.before:.4g}", f"{one.after:.4g}"]
        for one in found.features[:SHOWN]
    ]
    note = f"The {len(lines)} that moved farthest, of {len(found.features):,}." * (len(found.features) > SHOWN)
    head = ["feature", "distance", "p", "mean before", "after"]
    title = f"Features that moved, of {found.of:,}"
    return Titled(title, [head, *lines], note, "data-features", [True, *[False] * 4])


def _inputs(found: DataComparison) -> Titled:
    foreign = found.foreign
    lines = [[str(one.index), f"{one.score:.3f}", _p(one.p_value)] for one in foreign[:SHOWN]]
    note = f"The {SHOWN} farthest." * (len(foreign) > SHOWN)
    title = f"Foreign inputs: {len(foreign):,} of {found.m:,}"
    return Titled(title, [["input", "distance", "p"], *lines], note, "data-inputs", [True, False, False])


register_told(DATA_FORMATS, _told)
