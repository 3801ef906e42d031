"""Mean and standard deviation of inputs: numbers, or the name of a data set whose numbers are in common use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from certify.core.written import numbers
from certify.errors import BadInput
from certify.registry import nearest

__all__ = ["NORMALIZATIONS", "Statistic", "normalization"]

Statistic = str | float | Sequence[float]
"""One number for all channels, one a channel, both also as text with commas, or a key of ``NORMALIZATIONS``."""

NORMALIZATIONS: Final[Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mnist": ((0.1307,), (0.3081,)),
}
"""Mean and standard deviation of the training images' pixels in [0, 1], by channel.

``imagenet`` is what torchvision's models were trained with. Of CIFAR-10 a second set of deviations is about, (0.2023,
0.1994, 0.2010), the mean over images of each image's own: a model trained with those needs them as numbers.
"""


def normalization(mean: Statistic | None, std: Statistic | None) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The means and standard deviations meant, one each a channel or for all; None for neither.

    A name for one of them stands for both.

    Raises:
        BadInput: for one without the other, an unknown name, numbers that are not finite, a deviation that is not above
            0, or more of one than of the other.

    >>> normalization("mnist", None)
    ((0.1307,), (0.3081,))
    >>> normalization("0.5,0.4", 0.25)
    ((0.5, 0.4), (0.25, 0.25))
    """
    if mean is None and std is None:
        return None
    names = {value for value in (mean, std) if isinstance(value, str) and value.strip()[:1].isalpha()}
    if len(names) > 1:
        raise BadInput(f"mean {mean!r} and std {std!r} name two data sets; name one")
    for name in names:
        if name not in NORMALIZATIONS:
            known = ", ".join(NORMALIZATIONS)
            raise BadInput(f"unknown normalization {name!r}{nearest(name, list(NORMALIZATIONS))} known: {known}")
        if all(value is None or (isinstance(value, str) and value == name) for value in (mean, std)):
            return NORMALIZATIONS[name]
    if mean is None or std is None or names:
        raise BadInput("normalization needs both mean and std, as numbers or as one name such as imagenet for both")
    means, stds = _read("mean", mean), _read("std", std)
    count = max(len(means), len(stds))
    if not all(len(values) in (1, count) for values in (means, stds)):
        raise BadInput(f"normalization needs as many means as standard deviations, got {len(means)} and {len(stds)}")
    if not all(math.isfinite(value) for value in (*means, *stds)) or not all(value > 0 for value in stds):
        raise BadInput(f"normalization needs finite means and positive standard deviations, got {mean!r} and {std!r}")
    return means * (count // len(means)), stds * (count // len(stds))


def _read(name: str, value: Any) -> tuple[float, ...]:
    """A number, several, or text of either; arrays and tensors as well."""
    single = not isinstance(value, str) and (not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0)
    return numbers(name, [value] if single else value)
