"""Statements that hold at once: about a test set from certificates that may each be false, and several tests."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction

from certify.errors import BadInput
from certify.stats.binomial import binomial_at_least, check_alpha

__all__ = [
    "check_certified",
    "check_delta",
    "false_certificates",
    "false_certificates_shared_noise",
    "false_inputs",
    "holm",
    "share",
    "true_accuracy_lower",
]


def check_delta(delta: float) -> float:
    """Return ``delta`` if it lies strictly between 0 and 1.

    Raises:
        BadInput: otherwise, NaN included.
    """
    if not 0 < delta < 1:
        raise BadInput(f"delta must lie strictly between 0 and 1, got {delta}; 0.05 is usual")
    return delta


def check_certified(certified: int, m: int) -> None:
    """Refuse a number of certified inputs that ``m`` inputs cannot have.

    Raises:
        BadInput: naming both numbers.
    """
    if not 0 <= certified <= m or m < 1:
        raise BadInput(f"{certified} certified inputs out of {m} are impossible")


def share(delta: float, statements: int) -> float:
    """The error probability of each of J statements that hold at once (Bonferroni): delta / J, rounded down.

    >>> share(0.05, 4)
    0.0124999...
    """
    if statements < 1:
        raise BadInput("nothing to state: name at least one radius or group")
    return math.nextafter(check_delta(delta) / statements, 0.0)


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


def false_certificates(m: int, alpha: float, delta: float) -> int:
    """How many of ``m`` certificates may be false: more are so with probability at most ``delta``.

    Each is false with probability at most alpha, independently, so their number is stochastically below
    Binomial(m, alpha), whose (1 - delta) quantile this is. Its tails are enclosed by ball arithmetic: where one cannot
    be distinguished from delta, the larger count is returned.

    Raises:
        BadInput: unless m >= 1 and alpha and delta lie strictly between 0 and 1.

    >>> [false_certificates(500, 0.001, delta) for delta in (0.05, 0.01, 0.001)]
    [2, 3, 4]
    """
    _check_budget(m, alpha, delta)
    return bisect_left(range(m), True, key=lambda false: binomial_at_least(false + 1, m, alpha) <= delta)


def false_certificates_shared_noise(m: int, alpha: float, delta: float) -> int:
    """:func:`false_certificates` for inputs that share their noise, where certificates may depend on each other.

    The expected number of false certificates is at most m alpha however they depend on each other, so more than c are
    false with probability at most m alpha / (c + 1) (Markov). The smallest c that makes this delta; none smaller is
    possible, because the certificates may all fail together, c + 1 at a time.

    Raises:
        BadInput: unless m >= 1 and alpha and delta lie strictly between 0 and 1.

    >>> [false_certificates_shared_noise(500, 0.001, delta) for delta in (0.05, 0.01, 0.001)]
    [9, 49, 499]
    """
    _check_budget(m, alpha, delta)
    return min(m, math.ceil(m * Fraction(alpha) / Fraction(delta)) - 1)


def _check_budget(m: int, alpha: float, delta: float) -> None:
    if m < 1:
        raise BadInput(f"a statement about a test set needs at least one input, got {m}")
    check_alpha(alpha)
    check_delta(delta)


def false_inputs(copies: Sequence[int], alpha: float, delta: float, labels: Sequence[int] | None = None) -> int:
    """How many inputs may carry a false certificate, where each distinct input occurs ``copies[i]`` times.

    Copies share their noise, so a certificate is false for all copies or none: the worst case is that the inputs with
    most copies are false. ``labels[i]`` is the number of classes tested with that noise, more than one where the label
    names the class and copies are labelled differently; each class adds alpha to the probability that the input is
    false.

    >>> false_inputs([1] * 500, 0.001, 0.05), false_inputs([1] * 490 + [5, 5], 0.001, 0.05)
    (2, 10)
    >>> false_inputs([2] * 50, 0.001, 0.05), false_inputs([2] * 50, 0.001, 0.05, labels=[2] * 50)
    (0, 2)
    """
    false = _false_distinct([1] * len(copies) if labels is None else labels, alpha, delta)
    return sum(sorted(copies, reverse=True)[:false])


def _false_distinct(labels: Sequence[int], alpha: float, delta: float) -> int:
    """How many distinct inputs may be false, where the i-th is so with probability at most ``labels[i]`` times alpha.

    For L labels at most and a = alpha / (1 - (L - 1) alpha), (1 - a)^L <= (1 - a) / (1 + (L - 1) a) = 1 - L alpha; as
    1 - (1 - a)^l is concave in l, l alpha <= P[Binomial(l, a) >= 1]: the count is below Binomial(sum of labels, a).
    """
    _check_budget(len(labels), alpha, delta)
    most, each = max(labels), alpha
    if most > 1:
        spent = Fraction(alpha)
        if most * spent >= 1:
            return len(labels)
        each = math.nextafter(float(spent / (1 - (most - 1) * spent)), 1.0)
    return min(len(labels), len(labels) if each >= 1 else false_certificates(sum(labels), each, delta))


def true_accuracy_lower(
    certified: int,
    copies: Sequence[int],
    alpha: float | None,
    delta: float = 0.05,
    labels: Sequence[int] | None = None,
) -> float:
    """Lower bound on the fraction of the attempted inputs that are truly robust, with probability >= 1 - delta.

    It holds at all radii at once, because a certificate is false or true as a whole: an input whose certificate is true
    is robust at every radius at which it was counted. ``alpha`` is None for proofs, which are never
    false. ``copies`` says how often each distinct input occurs; together they are all inputs. ``labels``: see
    :func:`false_inputs`.

    >>> true_accuracy_lower(300, [1] * 500, 0.001)
    0.596
    """
    m = sum(copies)
    check_certified(certified, m)
    false = 0 if alpha is None else false_inputs(copies, alpha, delta, labels)
    return max(0, certified - false) / m
