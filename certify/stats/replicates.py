"""How far the mean of a few models may be from that of others like them: over seeds, over folds, and over inputs.

Models of one recipe differ in their seed, or in the part of the data that they were trained on. The accuracy of each is
one number; these are intervals around the mean of a few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from certify.errors import BadInput
from certify.lazy import later
from certify.stats.binomial import clopper_pearson_lower, clopper_pearson_upper
from certify.stats.simultaneous import check_delta

__all__ = ["corrected_interval", "shared_inputs_interval", "student_interval"]

special = later("scipy.special")

Interval = tuple[float, float]


def student_interval(shares: Sequence[float], delta: float = 0.05) -> Interval | None:
    """An interval for the mean over all seeds, from the accuracies of a few models that differ in their seed alone.

    Student's t with k - 1 degrees of freedom (Student 1908): it misses the mean with probability delta where accuracies
    of seeds are normally distributed, and about so where they are nearly. Two models say very little: the interval is
    then nine standard deviations wide on either side.

    Args:
        shares: the accuracy of each model, in [0, 1], all on the same inputs.
        delta: strictly between 0 and 1, half of it on each side.

    Returns:
        Lower and upper end, within [0, 1]; None where all are equal: nobody can tell from them how far others would be.

    Raises:
        BadInput: for fewer than two, one outside [0, 1], or such a delta.

    >>> [round(end, 3) for end in student_interval([0.61, 0.64, 0.65])]
    [0.582, 0.685]
    """
    return _interval(shares, 1 / len(shares) if shares else 0.0, delta)


def corrected_interval(shares: Sequence[float], ratio: float, delta: float = 0.05) -> Interval | None:
    """An interval for the accuracy of a recipe, from the accuracies on each fold of a cross-validation.

    The models share most of what they were trained on, so their accuracies depend on each other, and Student's interval
    would be too narrow. The variance of the mean is taken for 1/K + n_test/n_train times that of the folds, in place of
    1/K, with K - 1 degrees of freedom (Nadeau and Bengio 2003, section 3). It is an approximation: it takes the
    correlation between folds for n_test / (n_test + n_train). No estimator of that variance from the folds of one
    cross-validation is unbiased (Bengio and Grandvalet 2004).

    Args:
        shares: the accuracy of each model on its own fold, in [0, 1].
        ratio: n_test / n_train, inputs of a fold by inputs that a model was trained on.
        delta, returns, raises: as :func:`student_interval`.

    >>> shares = [0.61, 0.64, 0.65, 0.60, 0.66]
    >>> [[round(end, 3) for end in one] for one in (student_interval(shares), corrected_interval(shares, 1 / 4))]
    [[0.6, 0.664], [0.584, 0.68]]
    """
    if not 0 < ratio < math.inf:
        raise BadInput(f"inputs of a fold by inputs trained on must be a number above 0, got {ratio}")
    return _interval(shares, 1 / len(shares) + ratio if shares else 0.0, delta)


def _interval(shares: Sequence[float], times: float, delta: float) -> Interval | None:
    """Student's interval, where the variance of the mean is ``times`` that of one."""
    check_delta(delta)
    if len(shares) < 2 or not all(0 <= share <= 1 for share in shares):
        raise BadInput(f"an interval needs at least two accuracies from 0 to 1, got {list(shares)}")
    if min(shares) == max(shares):
        return None
    mean = math.fsum(shares) / len(shares)
    variance = math.fsum((share - mean) ** 2 for share in shares) / (len(shares) - 1)
    half = -float(special.stdtrit(len(shares) - 1, delta / 2)) * math.sqrt(times * variance)
    return max(0.0, mean - half), min(1.0, mean + half)


def shared_inputs_interval(certified: int, n: int, models: int, delta: float = 0.05) -> Interval:
    """An interval for the mean of a few given models over the population that their common inputs were drawn from.

    One input is the same for all models, so it counts once, with the share of the models that certify it: a number in
    [0, 1], independent of those of other inputs. Of a sum S of n such numbers with mean p, P[S <= s] is at most
    e P[Binomial(n, p) <= s] for whole s, and likewise above (Bentkus 2004, Theorem 1.2): the interval of Clopper and
    Pearson at delta / e holds, however the models depend on each other. With one model the factor e is not needed.

    Args:
        certified: pairs of an input and a model that certifies it.
        n: inputs, drawn independently.
        models: how many there are.
        delta: strictly between 0 and 1, half of it on each side.

    Raises:
        BadInput: for counts that cannot be, or such a delta.

    >>> [round(end, 3) for end in shared_inputs_interval(900, 500, 3)]
    [0.547, 0.652]
    """
    check_delta(delta)
    if n < 1 or models < 1 or not 0 <= certified <= n * models:
        raise BadInput(f"{certified} certified of {n} inputs by {models} models are impossible")
    level = delta / 2 if models == 1 else delta / (2 * math.e)
    level *= 1 - 2.0**-50  # the division may have rounded up
    fewest, most = certified // models, -(-certified // models)
    return clopper_pearson_lower(fewest, n, level), clopper_pearson_upper(most, n, level)
