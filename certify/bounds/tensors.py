"""Tensor types that rules and methods exchange; they check shapes on construction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from certify.core.shown import DRAWINGS, VIEWS
from certify.errors import BadInput

__all__ = ["Interval", "Relaxation", "flat"]


def flat(tensor: Tensor, lead: int) -> Tensor:
    """Flatten all axes after the first ``lead`` ones into one; if there is none (samples are single numbers), add it.

    >>> flat(torch.zeros(2, 3), 2).shape
    torch.Size([2, 3, 1])
    """
    return tensor.flatten(lead) if tensor.dim() > lead else tensor.unsqueeze(lead)


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """Elementwise bounds ``lower <= x <= upper``, both of one shape (B, ...). An infinite end is no bound.

    Raises:
        BadInput: for shapes or dtypes that differ, a lower end above its upper end, or NaN.

    >>> Interval(torch.zeros(1, 2), torch.ones(1, 2)).magnitude()
    tensor([[1., 1.]])
    """

    lower: Tensor
    upper: Tensor

    def __post_init__(self) -> None:
        if self.lower.shape != self.upper.shape or self.lower.dtype != self.upper.dtype:
            raise BadInput(
                f"interval ends do not fit: {tuple(self.lower.shape)} {self.lower.dtype} and "
                f"{tuple(self.upper.shape)} {self.upper.dtype}"
            )
        if not bool((self.lower <= self.upper).all()):
            nan = bool(self.lower.isnan().any() or self.upper.isnan().any())
            raise BadInput("an interval contains NaN" if nan else "an interval has a lower end above its upper end")

    @classmethod
    def known(cls, lower: Tensor, upper: Tensor) -> Interval:
        """The interval with computed ends; NaN, from infinite bounds or NaN weights, becomes an infinite end."""
        return cls(
            torch.where(lower.isnan(), -torch.inf, lower),
            torch.where(upper.isnan(), torch.inf, upper),
        )

    @property
    def shape(self) -> torch.Size:
        """The shape of either end."""
        return self.lower.shape

    def magnitude(self) -> Tensor:
        """The largest absolute value of each entry."""
        return torch.maximum(self.lower.abs(), self.upper.abs())

    def rows(self, samples: Tensor | slice) -> Interval:
        """The interval of some samples of the batch."""
        return Interval(self.lower[samples], self.upper[samples])

    def to(self, dtype: torch.dtype) -> Interval:
        """The interval in another dtype, rounded to nearest: for a search, not for a claim."""
        return Interval(self.lower.to(dtype), self.upper.to(dtype))

    def to_frame(self) -> Any:
        """Both ends as a pandas DataFrame, one line an entry, by sample and place in the flattened sample.

        >>> Interval(torch.zeros(1, 2), torch.ones(1, 2)).to_frame().loc[(0, 1)].tolist()
        [0.0, 1.0]
        """
        import pandas

        columns = {name: flat(end, 1).detach().cpu() for name, end in (("lower", self.lower), ("upper", self.upper))}
        samples, entries = map(range, columns["lower"].shape)
        index = pandas.MultiIndex.from_product([samples, entries], names=["sample", "entry"])
        return pandas.DataFrame({name: end.flatten().numpy() for name, end in columns.items()}, index=index)

    def plot(self, axes: Any = None) -> Any:
        """Draw the ends of each entry of the first sample, such as the scores of one image; return the Axes.

        Raises:
            MissingExtra: without matplotlib.
        """
        return DRAWINGS["interval"](self.rows(slice(0, 1)).to_frame(), axes)

    def _repr_html_(self) -> str:
        return VIEWS["interval.html"](self)


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """Two planes that enclose a nonlinear function of one or more inputs on a box, one pair an entry.

    ``sum_i lower_slopes[i] x_i + lower_offset <= f(x) <= sum_i upper_slopes[i] x_i + upper_offset``, all (B, ...). An
    offset of None is 0.
    """

    lower_slopes: tuple[Tensor, ...]
    lower_offset: Tensor | None
    upper_slopes: tuple[Tensor, ...]
    upper_offset: Tensor | None

    @property
    def sides(self) -> tuple[tuple[tuple[Tensor, ...], Tensor | None], ...]:
        """Slopes and offset of the lower plane, then of the upper one."""
        return (self.lower_slopes, self.lower_offset), (self.upper_slopes, self.upper_offset)

    def __post_init__(self) -> None:
        if len(self.lower_slopes) != len(self.upper_slopes):
            raise BadInput("a relaxation needs as many slopes below as above, one for each input")
