"""The audit of a published log as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from certify.core.legible import legible_line
from certify.core.rounding import round_down
from certify.report.blocks import WIDTH, wrapped
from certify.stats.ladder import Fit
from certify.study.audit import AttackAudit, LogAudit

__all__ = ["audit_text"]


def audit_text(found: LogAudit | AttackAudit) -> str:
    """The facts of a log, one line each; then what is impossible, input by input."""
    facts = {"log": f"{found.source.name}  sha256 {found.source.digest[:12]}"}
    if isinstance(found, AttackAudit):
        facts["rows"] = f"{found.rows:,} attacked inputs"
        facts["accuracy"] = (
            f"smoothed model {_percent(found.empirical_accuracy)}, base model {_percent(found.base_accuracy)}; "
            f"{_percent(found.abstain_rate)} of the inputs abstained, which counts as not correct"
        )
        return _lines(facts)
    steps = ", ".join(map(str, found.index_steps)) or "none"
    facts["rows"] = (
        f"{found.rows:,}, index {found.index_first} to {found.index_last} in steps of {steps}; time in "
        f"{found.time_format}"
    )
    facts["answers"] = f"{_percent(found.correct)} of the rows are correct, {_percent(found.abstain_rate)} abstained"
    facts["radii"] = (
        f"{found.printing}, rounded to nearest; average certified radius {round_down(found.acr, 6)}; "
        f"{found.rows_on_grid} correct rows print exactly .25, .5 .. 3 and may lie below it"
    )
    facts["largest"] = (
        f"{found.max_radius} = {found.max_radius_over_sigma:.4f} sigma, printed by {found.rows_at_max:,} rows"
    )
    facts["consistent"] = "; ".join(_fitting(found))
    facts["excluded"] = "; ".join(_excluded(found.fits)) or "no pair"
    attacks = wrapped(map(str, found.attacks), indent=2)
    return "\n".join([_lines(facts), *(["", *map(legible_line, attacks)] if attacks else [])])


def _percent(share: float) -> str:
    """A share of the rows in percent: a bare 1 could be read as one row."""
    return f"{100 * share:.6g} %"


def _fitting(found: LogAudit) -> Iterable[str]:
    for one in found.consistent:
        yield f"with n={one.n:,}, alpha={one.alpha:g}: {one.reason}"
    if not found.consistent:
        yield f"with none of the {len(found.fits)} pairs (n, alpha) tried at sigma={found.sigma:g}"
    for sigma, n, alpha in found.likely:
        yield f"but with sigma={sigma:g}, n={n:,}, alpha={alpha:g}"


def _excluded(fits: Iterable[Fit]) -> Iterable[str]:
    """Each excluded pair (n, alpha) that reaches the log's largest radius, with the reason; the others are counted."""
    out = [one for one in fits if not one.fits]
    for one in out:
        if one.reached:
            yield f"n={one.n:,}, alpha={one.alpha:g}: {one.reason}"
    if others := sum(not one.reached for one in out):
        yield f"{others} pairs by their top rung"


def _lines(facts: dict[str, str]) -> str:
    lines = []
    for name, text in facts.items():
        first, *rest = textwrap.wrap(text, WIDTH - 12)
        lines += [f"{name:<12}{first}", *(" " * 12 + line for line in rest)]
    return "\n".join(map(legible_line, lines))
