"""Certified and attacked accuracy as functions of the radius, with bands that hold at all radii at once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.certificate import Certificate
from certify.core.columns import NO_CLASS, FindingColumns
from certify.core.summary import Summary
from certify.errors import BadInput
from certify.stats.population import population_curve_lower
from certify.stats.simultaneous import false_inputs
from certify.summary.join import different, same_model

__all__ = ["POINTS", "Curve", "curve", "even_radii", "misjudged"]

POINTS: Final = 240
"""Radii of a drawn curve: more cannot be told apart, and a million would fill a page."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Accuracy over the radius: float64 columns, one entry a radius. Fractions are of all inputs attempted.

    ``certified`` and its lower bounds hold down to the radius before: draw them with ``drawstyle="steps-pre"``. What
    attacks leave holds up to the next radius: ``"steps-post"``. A band holds at all radii at once with probability
    ``confidence``, each by itself.

    Args:
        radius: ascending from 0; the last is just past the largest at which something is certified or broken.
        certified: predicted correctly and certified at this radius.
        certified_lower: at least this fraction of these inputs is truly right and robust.
        population_lower: the same of a population that the inputs are an independent random sample of; None where
            nothing can be said of one.
        empirical: predicted correctly and not broken within this radius; NaN beyond the radii that were attacked, None
            where no attack ran on every input.
        empirical_upper: no more than this fraction of these inputs is truly right and robust; None where the attacks
            were not on what was certified. At least ``empirical``: where smoothing names no class, the model may still
            be right, and an example may have been accepted by the chance of its votes.
        clean: predicted correctly, the same everywhere.
        confidence: of each band.
    """

    radius: NDArray[np.float64]
    certified: NDArray[np.float64]
    certified_lower: NDArray[np.float64]
    population_lower: NDArray[np.float64] | None
    empirical: NDArray[np.float64] | None
    empirical_upper: NDArray[np.float64] | None
    clean: NDArray[np.float64]
    confidence: float

    def __len__(self) -> int:
        return len(self.radius)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: lists, with None for what is not known."""
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: _plain(values) if isinstance(values, np.ndarray) else values for name, values in columns.items()}

    def to_frame(self) -> Any:
        """A pandas DataFrame, one line a radius; columns that are not known are left out."""
        import pandas

        columns = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "confidence"}
        known = {name: values for name, values in columns.items() if values is not None}
        return pandas.DataFrame(known).set_index("radius")


def curve(summary: Summary, points: int | None = None) -> Curve:
    """The curve of a summary at every radius where something changes, or at no more than ``points`` of them.

    Values at the radii that are kept are exact, so a thinned curve, drawn as steps, claims less and never more.

    Raises:
        BadInput: for fewer points than the declared radii and both ends need.
    """
    sandwich, n = summary.sandwich, summary.n
    reach = max((row.radius for row in summary.rows if row.empirical is not None), default=None)
    radius = _radii(summary, reach, points)
    certified = _at_least(sandwich.certified, radius)
    sure = _at_least(sandwich.sure, radius)
    empirical = upper = None
    if reach is not None:
        left = np.count_nonzero(sandwich.correct) - _at_most(sandwich.attacked[sandwich.correct], radius)
        empirical = np.where(radius <= reach, left / n, np.nan)
        if summary.misjudged is not None:
            broken = _broken(summary)
            robust = np.minimum(len(sandwich) - _at_most(broken, radius) + summary.misjudged, n)
            upper = np.where(radius <= reach, robust / n, np.nan)
    return Curve(
        radius=radius,
        certified=certified / n,
        certified_lower=np.maximum(sure - _may_be_false(summary), 0) / n,
        population_lower=_of_population(summary, sure) if _is_sample(summary) else None,
        empirical=empirical,
        empirical_upper=upper,
        clean=np.full(len(radius), summary.clean),
        confidence=summary.confidence,
    )


def even_radii(summary: Summary) -> list[float]:
    """:data:`POINTS` evenly spaced radii, from 0 to a tenth past the largest of the table."""
    end = summary.threat.largest * 1.1 or 1.0
    return [end * step / (POINTS - 1) for step in range(POINTS)]


def misjudged(findings: FindingColumns, certified: Certificate, delta: float) -> int | None:
    """How many inputs may count as broken although they are not; more do with probability at most ``delta``.

    An example of a smoothed model is accepted wrongly with probability at most the attack's alpha, over the noise of
    all examinations of one input. Copies of an input share that noise, and each attack on it and each label spends
    alpha once more; see :func:`~certify.stats.simultaneous.false_inputs`. Examples of the plain model are executed, and
    those of a vote over few subsets counted on all of them, so none of these is in doubt.

    Args:
        findings: all of the inputs of a table.
        certified: one of its certificates, whose computation did not fail.
        delta: strictly between 0 and 1.

    Returns:
        None without findings, or where one is about another model than what was certified, base or smoothed, or does
        not say at which alpha its examples were accepted.
    """
    if not findings.kinds or not all(same_model(certified, kind) for kind in findings.kinds):
        return None
    if certified.guarantee.alpha is None and not any("alpha" in kind.settings for kind in findings.kinds):
        return 0
    if not all(isinstance(kind.settings.get("alpha"), float) for kind in findings.kinds):
        return None
    inputs = findings.digest.numbers()
    often, examined = different(inputs, findings.index), different(inputs, findings.label, findings.kind)
    alpha = max(float(kind.settings["alpha"]) for kind in findings.kinds)
    return false_inputs(often, alpha, delta, examined)


def _broken(summary: Summary) -> NDArray[np.float64]:
    """The radius from which on each input is known not to be right and robust; NaN if it never is.

    The class that a plain model names is its answer; what smoothing names, or does not, is an estimate.
    """
    sandwich = summary.sandwich
    if summary.guarantee.alpha is not None:
        return sandwich.attacked
    wrong = ~sandwich.correct & (sandwich.prediction != NO_CLASS)
    return np.where(wrong, 0.0, sandwich.attacked)


def _radii(summary: Summary, reach: float | None, points: int | None) -> NDArray[np.float64]:
    """Every radius where a column changes, the declared ones, 0, and one just past the last."""
    sandwich = summary.sandwich
    changes = [sandwich.certified, sandwich.sure]
    if reach is not None:
        changes.append(sandwich.attacked[sandwich.attacked <= reach])
    kept = np.array([0.0, *summary.threat.radii])
    radii = np.unique(np.concatenate([kept, *changes]))
    radii = radii[~np.isnan(radii)]
    kept, last = np.unique(kept), np.nextafter(radii[-1], np.inf)
    if points is not None and len(radii) >= points:
        others = np.setdiff1d(radii, kept)
        room = points - len(kept) - 1
        if room < 0:
            raise BadInput(f"a curve with {len(summary.rows)} declared radii has at least {len(kept) + 1} points")
        radii = np.union1d(kept, others[np.linspace(0, len(others) - 1, room).astype(int)])
    return np.append(radii, last)


def _at_least(values: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many values are at least each radius."""
    ascending = np.sort(values[~np.isnan(values)])
    return len(ascending) - np.searchsorted(ascending, radius, side="left")


def _at_most(values: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many values are at most each radius."""
    return np.searchsorted(np.sort(values[~np.isnan(values)]), radius, side="right")


def _may_be_false(summary: Summary) -> int:
    """How many inputs may carry a false certificate, read off the table: the same number at every radius.

    Where the table's bounds are all 0, nobody knows that from it, and none is claimed to be true.
    """
    row = summary.rows[0]
    if row.certified_lower == 0:
        return len(summary.sandwich)
    sure = np.count_nonzero(summary.sandwich.sure >= row.radius)
    return max(0, int(sure) - round(row.certified_lower * summary.n))


def _is_sample(summary: Summary) -> bool:
    return any(row.population_lower is not None for row in summary.rows)


def _of_population(summary: Summary, sure: NDArray[np.int64]) -> NDArray[np.float64]:
    delta, alpha = 1 - summary.confidence, summary.guarantee.alpha
    counts, place = np.unique(sure, return_inverse=True)
    return np.array([population_curve_lower(int(count), summary.n, alpha, delta) for count in counts])[place]


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]
