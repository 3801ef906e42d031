"""Two runs joined input by input, or refused with the difference named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.core.rounding import brief
from certify.core.run import Run
from certify.errors import BadInput, IncompleteRun
from certify.stats.paired import NonInferiority, PairedCounts, exact_test, tango_test

__all__ = ["PAIRED_TESTS", "check_comparable", "is_certified", "no_sample", "paired"]

PAIRED_TESTS: Final[Mapping[str, Callable[[PairedCounts, float, float], NonInferiority]]] = {
    "exact": exact_test,
    "tango": tango_test,
}
"""Paired tests of non-inferiority, each with a lower limit of the difference."""

_POSITIONS_LISTED: Final = 5
"""Up to this many positions of missing inputs are listed in a message."""


def check_comparable(one: Run, other: Run) -> None:
    """Refuse two runs about different threat models or different inputs.

    Inputs are the same if positions, labels and digests of the values are. A published log holds no values: positions
    and labels are all there is to compare.

    Raises:
        BadInput: naming the first difference; where inputs are missing, how many.
        IncompleteRun: for the same, where a run that misses inputs of the same data is not finished.
    """
    if difference := one.summary.difference(other.summary) or _other_inputs(one, other):
        said = f"{one.name} and {other.name} cannot be compared: {difference}"
        raise IncompleteRun(said) if _unfinished(one, other) else BadInput(said)


def paired(old: Run, new: Run, radius: float) -> PairedCounts:
    """How many inputs both of two comparable runs, either alone, or neither certify at ``radius``."""
    return PairedCounts.of(is_certified(old, radius).tolist(), is_certified(new, radius).tolist())


def is_certified(run: Run, radius: float) -> NDArray[np.bool_]:
    """For every input, whether the record shows that it is predicted correctly and certified at ``radius``."""
    return np.greater_equal(run.summary.sandwich.sure, radius)  # NaN, which stands for no radius, is not


def no_sample(*runs: Run) -> str:
    """Why the inputs of these runs can be no random sample of anything; empty if they can be one.

    The rule is that of the summary's statement about a population: every input attempted, all of them different, and
    not chosen at regular steps by whoever published a log.
    """
    for run in runs:
        summary = run.summary
        if any(row.population_lower is not None for row in summary.rows):
            continue
        if summary.expected not in (None, summary.n):
            return f"{run.name} is incomplete, and the inputs that it lacks may be no random ones"
        if summary.declared and summary.rows[0].radius > summary.declared[-1]:
            largest = brief(summary.declared[-1])
            return f"{run.name} was read at radii beyond its largest declared one alone, {largest}; name a smaller too"
        return (
            f"the inputs of {run.name} are no random sample: some occur several times, or were taken at regular steps"
        )
    return ""


def _other_inputs(one: Run, other: Run) -> str:
    lacking = _lacking(one, other)
    ours, theirs = one.summary, other.summary
    if any(lacks.size for _, lacks in lacking):
        said = "; ".join(_missing(run, lacks) for run, lacks in lacking if lacks.size)
    elif labels := int(np.count_nonzero(ours.sandwich.label != theirs.sandwich.label)):
        said = f"{labels:,} of {ours.n:,} inputs are labelled differently"
    elif ours.contents != theirs.contents and ours.contents and theirs.contents:
        said = "the inputs at the same positions have other values"
    else:
        return ""
    return f"{named}; {said}" if (named := _other_data(one, other)) else said


def _unfinished(one: Run, other: Run) -> bool:
    """Whether missing inputs are the only difference, and only unfinished runs miss any."""
    short = [run for run, lacks in _lacking(one, other) if lacks.size]
    about_the_same = not (one.summary.difference(other.summary) or _other_data(one, other))
    return about_the_same and bool(short) and not any(run.summary.complete for run in short)


def _other_data(one: Run, other: Run) -> str:
    """The names of the data where they differ: a mix-up of two data sets shows in the names first."""
    named = ((run.summary.head.get("data", "given inputs"), f", n={run.summary.n:,}") for run in (one, other))
    ours, theirs = (name.removesuffix(inputs) for name, inputs in named)
    return "" if ours == theirs else f"the data are {ours} and {theirs}"


def _lacking(one: Run, other: Run) -> list[tuple[Run, NDArray[np.int64]]]:
    """Each run with the positions that only the other one has."""
    ours, theirs = one.summary.sandwich.index, other.summary.sandwich.index
    return [(one, np.setdiff1d(theirs, ours)), (other, np.setdiff1d(ours, theirs))]


def _missing(run: Run, lacks: NDArray[np.int64]) -> str:
    listed = ", ".join(map(str, lacks[:_POSITIONS_LISTED].tolist())) + ", .." * (lacks.size > _POSITIONS_LISTED)
    why = "" if run.summary.complete else f"; {run.name} is incomplete, and the same run command resumes it"
    return f"{run.name} misses {lacks.size:,} of the other's inputs (positions {listed}){why}"
