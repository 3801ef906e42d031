"""Are two samples drawn alike? Tests whose p-values are exact at every size: permutations, counts, conformal ranks.

The null hypothesis is that all inputs of both samples are exchangeable, as independent draws from one source are. Every
random choice is made by a generator of its own with a fixed seed, so that the same samples have the same p-values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.core.rounding import above
from certify.errors import BadInput
from certify.stats.simultaneous import check_delta

__all__ = [
    "PERMUTATIONS",
    "Distances",
    "SplitTest",
    "classifier_test",
    "conformal_p_values",
    "discoveries",
    "distances",
    "hypergeometric_at_least",
    "mingled",
    "nearest_distances",
    "permutation_p",
]

PERMUTATIONS: Final = 999
"""Of each test: a p-value is at least one in a thousand."""

SEED: Final = 20_261_130

RIDGE: Final = 1.0
"""Weight of the penalty beside the average squared error of standardized features."""

NEIGHBOURS: Final = 5
"""Which nearest neighbour an input's distance to a sample is measured to."""

SAME: Final = 1e-12
"""What a squared distance of equal rows may be by rounding, relative to the squares that cancel in it."""

BLOCK: Final = 2**24
"""Numbers that a step holds at a time."""

CACHED: Final = 2**17
"""The same where a step is repeated for every permutation: they stay in the cache."""

Floats = NDArray[np.float64]


def permutation_p(larger: int, permutations: int) -> float:
    """(1 + b) / (1 + B), where b of B permuted statistics were at least the observed one; rounded up.

    Valid at every B, because the observed order is one of B + 1 that are equally likely (Phipson and Smyth 2010).

    >>> permutation_p(0, 999)
    0.001
    """
    return above(Fraction(1 + larger, 1 + permutations))


def mingled(old: int, new: int) -> NDArray[np.int64]:
    """An order for the rows of two samples, one behind the other, in which to compute something of each row.

    What floating point makes of a row depends in its last bits on where it stands and what stands beside it. Rows that
    are equal then differ by sample, and ranks see that. In a random order, which rows are new says nothing about where
    they stand: whatever rounding does, it does to exchangeable rows alike, and p-values stay exact.

    >>> sorted(mingled(2, 3).tolist())
    [0, 1, 2, 3, 4]
    """
    return np.random.default_rng([SEED, old, new, 1]).permutation(old + new)


@dataclass(frozen=True, slots=True, eq=False)
class Distances:
    """Kolmogorov-Smirnov distances of each column of two samples, and their permutation p-values.

    Args:
        distance: the largest difference of the two empirical distribution functions, by column.
        p_value: adjusted for all columns: a column that is distributed alike gets one below a level with probability at
            most that level, whichever others differ.
        permutations: B.
    """

    distance: Floats
    p_value: tuple[float, ...]
    permutations: int

    @property
    def overall(self) -> float:
        """The p-value of "all columns together are distributed alike"."""
        return min(self.p_value)


def distances(old: Floats, new: Floats, permutations: int = PERMUTATIONS) -> Distances:
    """Kolmogorov-Smirnov distance of each column, with p-values by permuting which sample a row is of.

    The largest distance over all columns is permuted, and each column held against it (Westfall and Young 1993): rows
    move as a whole, so that dependence between columns is kept and costs nothing, unlike with a correction for their
    number. If the columns that are distributed alike are so jointly, none of them is named with more probability than
    the level. Ties are allowed. Counts are whole numbers, so equal distances are equal.

    Args:
        old, new: (n, d) and (m, d); -inf and inf are values as others.
        permutations: B.

    Raises:
        BadInput: for samples of other widths, no rows or columns, or NaN.
    """
    if old.ndim != 2 or new.ndim != 2 or old.shape[1:] != new.shape[1:] or not old.size or not new.size:
        raise BadInput(f"two samples have rows of one width, got shapes {old.shape} and {new.shape}")
    pooled = np.concatenate([old, new])
    if np.isnan(pooled).any():
        raise BadInput("a sample holds NaN")
    n, m = len(old), len(new)
    whole = np.int32 if n * m < 2**31 else np.int64
    signs = np.concatenate([np.full(n, m, dtype=whole), np.full(m, -n, dtype=whole)])
    draw = np.random.default_rng([SEED, n, m])
    shuffled = [signs, *(draw.permutation(signs) for _ in range(permutations))]
    largest = np.zeros(permutations + 1, dtype=np.int64)
    observed = []
    step = max(1, CACHED // (n + m))
    for start in range(0, pooled.shape[1], step):
        part = pooled[:, start : start + step]
        order = np.argsort(part, axis=0, kind="stable")
        ascending = np.take_along_axis(part, order, axis=0)
        ends = np.ones(part.shape, dtype=bool)
        ends[:-1] = ascending[1:] != ascending[:-1]
        for place, one in enumerate(shuffled):
            counts = np.cumsum(one[order], axis=0, dtype=whole)
            found = np.max(np.abs(counts), axis=0, where=ends, initial=0)
            largest[place] = max(largest[place], int(found.max()))
            if place == 0:
                observed.append(found)
    seen = np.concatenate(observed)
    ranked = np.sort(largest[1:])
    larger = permutations - np.searchsorted(ranked, seen, side="left")
    return Distances(seen / (n * m), tuple(permutation_p(int(b), permutations) for b in larger), permutations)


@dataclass(frozen=True, slots=True)
class SplitTest:
    """What a classifier that was fitted on half of both samples says of the other half.

    Args:
        right: inputs of the other half whose sample it named.
        of: how many there are.
        p_value: of "it cannot tell them apart".
        chance: share that it would name rightly by chance, given how often it names each.
    """

    right: int
    of: int
    p_value: float
    chance: float


def classifier_test(old: Floats, new: Floats) -> SplitTest:
    """A classifier two-sample test (Lopez-Paz and Oquab 2017) that is exact at every size.

    Half of each sample, drawn by a seed, fits a classifier: least squares with a penalty on standardized features and
    their squares. It names a sample for each row of the other half. If the two are distributed alike, which of those
    rows are new is a random choice given all that it names, so that the number of new rows among those called new is
    hypergeometric: Fisher's exact test, one-sided. No classifier can make it invalid; a poor one only finds less.

    Raises:
        BadInput: for samples of other widths, or fewer than 4 rows in one.
    """
    if old.shape[1:] != new.shape[1:] or min(len(old), len(new)) < 4:
        raise BadInput(f"a classifier test needs 4 rows of each sample, got shapes {old.shape} and {new.shape}")
    draw = np.random.default_rng([SEED, len(old), len(new)])
    (fit_old, test_old), (fit_new, test_new) = (_halves(draw, one) for one in (old, new))
    fit, test = np.concatenate([fit_old, fit_new]), np.concatenate([test_old, test_new])
    order = mingled(len(test_old), len(test_new))
    middle, scale = fit.mean(axis=0), _spread(fit)
    scale[scale == 0] = np.inf
    fit, test = (_with_squares((one - middle) / scale) for one in (fit, test[order]))
    wanted = np.concatenate([np.full(len(fit_old), -1 / len(fit_old)), np.full(len(fit_new), 1 / len(fit_new))])
    weight = np.abs(wanted)
    called = np.empty(len(order), dtype=bool)
    called[order] = _fitted(fit, np.sign(wanted), weight, test) > 0
    a, n, m = int(called.sum()), len(test_old), len(test_new)
    hits = int(called[n:].sum())
    right = hits + (n - (a - hits))
    chance = (a * m + (n + m - a) * n) / (n + m) ** 2
    return SplitTest(right, n + m, hypergeometric_at_least(hits, n + m, m, a), chance)


def _halves(draw: np.random.Generator, rows: Floats) -> tuple[Floats, Floats]:
    order = draw.permutation(len(rows))
    return rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]


def _spread(x: Floats) -> Floats:
    """The standard deviation of each column; exactly 0 where all rows have the same value, which rounding may hide."""
    return np.where(np.ptp(x, axis=0) > 0, x.std(axis=0), 0.0)


def _with_squares(x: Floats) -> Floats:
    clipped = np.clip(x, -10, 10)  # a feature that is far off says so once, not a million times
    return np.concatenate([clipped, clipped * clipped - 1], axis=1)


def _fitted(fit: Floats, wanted: Floats, weight: Floats, test: Floats) -> Floats:
    """Ridge regression in its dual form: as large as the number of rows, however many features."""
    rows = np.sqrt(weight)[:, None]
    kernel = (rows * (fit @ fit.T + 1) * rows.T) / fit.shape[1]
    solved = np.linalg.solve(kernel + RIDGE / len(fit) * np.eye(len(fit)), rows[:, 0] * wanted)
    return np.asarray((test @ fit.T + 1) / fit.shape[1] @ (rows[:, 0] * solved))


def hypergeometric_at_least(hits: int, of: int, special: int, drawn: int) -> float:
    """P[at least ``hits`` special ones among ``drawn`` of ``of``, ``special`` of which are], exactly, rounded up.

    >>> hypergeometric_at_least(2, 4, 2, 2) * 6
    1.0
    """
    most = min(special, drawn)
    ways = sum(math.comb(special, k) * math.comb(of - special, drawn - k) for k in range(max(hits, 0), most + 1))
    return min(1.0, above(Fraction(ways, math.comb(of, drawn))))


def nearest_distances(rows: Floats, reference: Floats) -> Floats:
    """Euclidean distance of each row to its fifth nearest of a reference sample, in units of the reference's spread.

    Rounding depends on where a row stands: rows that are to be ranked go in one call, in the order :func:`mingled`.

    Args:
        rows: (n, d).
        reference: (r, d); where it has fewer than five rows, the farthest counts.
    """
    middle, scale = reference.mean(axis=0), _spread(reference)  # from the middle, less cancels
    scale[scale == 0] = scale[scale > 0].min() if (scale > 0).any() else 1.0
    one, other = (rows - middle) / scale, (reference - middle) / scale
    which = min(NEIGHBOURS, len(other)) - 1
    squares = np.einsum("ij,ij->i", other, other)
    found = np.empty(len(one))
    step = max(1, BLOCK // max(len(other), one.shape[1]))
    for start in range(0, len(one), step):
        part = one[start : start + step]
        apart = np.einsum("ij,ij->i", part, part)[:, None] + squares - 2 * part @ other.T
        apart[apart <= SAME * (np.einsum("ij,ij->i", part, part)[:, None] + squares)] = 0.0
        found[start : start + step] = np.sqrt(np.partition(apart, which, axis=1)[:, which]).astype(np.float32)
    return found


def conformal_p_values(calibration: Floats, scores: Floats) -> tuple[float, ...]:
    """(1 + number of calibration scores at least as large) / (1 + n) of each score; rounded up.

    An input that is exchangeable with those of the calibration has one of at most t with probability at most t.

    Raises:
        BadInput: for no calibration scores, or NaN.

    >>> conformal_p_values(np.array([1.0, 2.0, 3.0]), np.array([0.5, 3.0, 4.0]))
    (1.0, 0.5, 0.25)
    """
    if not len(calibration) or np.isnan(calibration).any() or np.isnan(scores).any():
        raise BadInput("conformal p-values need calibration scores, and scores that are numbers")
    larger = len(calibration) - np.searchsorted(np.sort(calibration), scores, side="left")
    return tuple(permutation_p(int(b), len(calibration)) for b in larger)


def discoveries(p_values: Sequence[float], rate: float) -> tuple[bool, ...]:
    """Benjamini and Hochberg 1995: which are found, such that of these at most a share ``rate`` is wrong on average.

    So for independent p-values, and for conformal ones that share their calibration, which depend positively on each
    other (Bates et al. 2023, Theorem 2) where the inputs themselves are independent.

    Raises:
        BadInput: for p-values outside [0, 1], or a rate outside (0, 1).

    >>> discoveries([0.01, 0.5, 0.03, 0.04], 0.06)
    (True, False, True, True)
    """
    check_delta(rate)
    if not all(0 <= p <= 1 for p in p_values):
        raise BadInput("Benjamini and Hochberg need p-values between 0 and 1")
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    share = Fraction(rate) / max(1, len(order))
    found = max((rank for rank, place in enumerate(order, 1) if Fraction(p_values[place]) <= rank * share), default=0)
    named = set(order[:found])
    return tuple(place in named for place in range(len(p_values)))
