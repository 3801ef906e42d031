"""Several tests at once: Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from certify.errors import BadInput
from certify.stats.simultaneous import check_delta

__all__ = ["holm"]


def holm(p_values: Sequence[float], delta: float = 0.05) -> tuple[bool, ...]:
    """Which of several hypotheses are rejected, such that a true one is among them with probability <= delta.

    The smallest p-value is held against delta / J, the next against delta / (J - 1), and so on until one is too large.
    Valid however the tests depend on each other, as those at several radii of one run do (Holm 1979).

    Raises:
        BadInput: for no p-values, one outside [0, 1] (NaN included), or delta outside (0, 1).

    >>> holm([0.01, 0.04, 0.03]), holm([0.01, 0.02, 0.03])
    ((True, False, False), (True, True, True))
    """
    check_delta(delta)
    if not len(p_values) or not all(0 <= p <= 1 for p in p_values):
        raise BadInput(f"Holm's correction needs p-values between 0 and 1, got {list(p_values)}")
    rejected = [False] * len(p_values)
    for tested, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if Fraction(p_values[place]) * (len(p_values) - tested) > Fraction(delta):  # exactly: floats would round
            break
        rejected[place] = True
    return tuple(rejected)
