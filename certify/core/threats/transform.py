"""Threats that change an input by a transform with a few parameters: what those members share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from certify.core.input_box import BoxLike, InputBox
from certify.core.rounding import brief
from certify.core.threats.base import Threat
from certify.errors import BadInput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Frame", "Parameter", "Transform"]

_FLOAT32: Final = 2.0**-22
"""More than a float32 loses of a number, as a share of it."""


class Parameter(NamedTuple):
    """A number on which a transform depends; 0 leaves the input as it is.

    Args:
        name: in one word.
        lowest, highest: its limits.
    """

    name: str
    lowest: float
    highest: float


class Frame(Protocol):
    """What a transform reads besides the input."""

    def constant(self, name: str) -> Tensor:
        """One of the member's :meth:`~Transform.constants`, (1, ...)."""

    def cut(self, x: Tensor) -> Tensor:
        """Inputs cut to the input box, where there is one."""

    def resample(self, x: Tensor, columns: Tensor, rows: Tensor, padding: str) -> Tensor:
        """Images (B, C, H, W) or series (B, C, T) read at places (B, H, W), counted from the middle; bilinear."""


class Transform(Threat):
    """An adversary who chooses the parameters of a known transform: each within the radius of 0, and its limits.

    What is certified is the classifier behind the transform: it reads the features of an input, and behind them the
    parameters, which are 0. Only these move. Bounds see the transform as part of the network, and splitting their few
    dimensions is complete. Every claim is about the transform as it is written here, in exact arithmetic, and not about
    the function of the same name in some library.
    """

    __slots__ = ()
    boxed: ClassVar[bool] = True

    additive: ClassVar[bool] = False
    """Whether there are settings with which the transform is :attr:`unadditive` for no reason."""

    parameters: ClassVar[tuple[Parameter, ...]]
    radii: tuple[float, ...]

    def __post_init__(self) -> None:
        Threat.__post_init__(self)
        if self.input_box is not None:
            raise BadInput(f"a {self.kind} keeps to the input box of the classifier: state it there, not in the threat")
        if self.largest > (most := self._most):
            raise BadInput(f"radius {brief(self.largest)} is beyond the {self.kind}'s limit, {most:g} ({self.units})")

    @property
    def _most(self) -> float:
        return max(max(-one.lowest, one.highest) for one in self.parameters)

    @property
    def norm(self) -> str:  # type: ignore[override]
        """The member's own name: there is no norm."""
        return self.kind

    @property
    def noun(self) -> str:
        """The transform with what was chosen about it."""
        chosen = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return f"{self.kind} ({chosen})" if chosen else self.kind

    @property
    def quantity(self) -> str:
        """The strength of the transform."""
        return f"{self.kind} strength"

    def amount(self, radius: float, shown: Any = brief) -> str:
        """A strength in its unit."""
        return f"{self.number(radius, shown)} {self.units}"

    def change(self, radius: float | None = None) -> str:
        """A transform by so much."""
        return f"{self.noun} " + ("up to its radius" if radius is None else f"of at most {self.amount(radius)}")

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was chosen about the transform besides its strength, as plain values."""
        known = {"radii", "input_box", "units"}
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in known}  # type: ignore[arg-type]

    @property
    def unadditive(self) -> str:
        """Why a transform by a and then by b is not one by a + b, for all real a and b; empty where it is, exactly.

        What is additive can be smoothed over: noise about a transformed input is noise about its strength.
        """
        return f"a {self.kind} by a and then by b is not one by a + b"

    def constants(self, shape: tuple[int, ...], input_box: InputBox | None) -> Mapping[str, NDArray[np.floating]]:
        """Arrays (...) that :meth:`apply` needs for inputs of a shape, by name."""
        return {}

    @abstractmethod
    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """Inputs (B, ...) transformed by parameters (B, 1, ...), one for each of :attr:`parameters`.

        It is traced: constants come from the frame, everything else is computed from tensors by their methods.
        """

    def check_form(self, shape: tuple[int, ...]) -> None:
        """Refuse inputs of a shape (without a batch axis) that the transform is not defined for.

        Raises:
            BadInput: naming what does not fit.
        """

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse what are not features with parameters behind them."""
        Threat.check_shape(self, shape)
        if len(shape) != 1 or shape[0] <= len(self.parameters):
            raise BadInput(
                f"a {self.kind} is about features with {len(self.parameters)} parameters behind them, got inputs of "
                f"shape {tuple(shape)}"
            )

    def within(self, input_box: BoxLike) -> Self:
        """Itself: results keep to the box of the classifier behind the transform."""
        return self

    def farthest(self, features: int) -> float:
        """The limit of the parameters."""
        return self._most

    def distance(self, x: NDArray[np.floating], x_adv: NDArray[np.floating]) -> float:
        """The largest change of a parameter; infinite where a feature changed or a parameter is beyond its limits."""
        if x.shape != x_adv.shape:
            raise BadInput(f"cannot measure a distance between shapes {x.shape} and {x_adv.shape}")
        self.check_shape(x.shape)
        count = len(self.parameters)
        if not np.array_equal(x[:-count], x_adv[:-count]):  # NaN is not equal to itself
            return math.inf
        moved, values = np.abs(x_adv[-count:].astype(np.float64) - x[-count:].astype(np.float64)), x_adv[-count:]
        inside = all(one.lowest <= value <= one.highest for one, value in zip(self.parameters, values, strict=True))
        return float(moved.max()) if inside and not np.isnan(moved).any() else math.inf

    def __str__(self) -> str:
        radii = ", ".join(brief(radius) for radius in self.radii)
        return f"{self.noun}, declared strengths {radii} ({self.units})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what was chosen about the transform among them."""
        return Threat.to_dict(self) | dict(self.settings)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`."""
        chosen = {name: value for name, value in fields.items() if name != "threat"}
        return cls(**chosen | {"radii": tuple(chosen["radii"])})

    def hull(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """All of the reached set, which is a box. Its ends are rounded outward, but not beyond the limits."""
        count, reach = len(self.parameters), radius.double().reshape(-1, 1)
        at = x[:, -count:]
        low, high = (
            at.where(reach == 0, (at.double() + sign * reach).to(x.dtype).nextafter(at.new_tensor(sign * math.inf)))
            for sign in (-1, 1)
        )
        least, most = at.new_tensor([one[1:] for one in self.parameters]).T
        ends = low.maximum(least).minimum(at), high.minimum(most).maximum(at)
        low, high = x.clone(), x.clone()
        low[:, -count:], high[:, -count:] = ends
        return low.maximum(lower), high.minimum(upper)

    def minimum(self, A: Tensor, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """That of a box."""
        low, high = self.hull(x, radius, lower, upper)
        return (A.clamp(min=0) * low.unsqueeze(1) + A.clamp(max=0) * high.unsqueeze(1)).sum(dim=2)

    def misses(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Where the boxes are disjoint."""
        low, high = self.hull(x, radius, lower, upper)
        return (low > high).any(dim=1)

    def project(self, x: Tensor, z: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Parameters moved to the nearest allowed ones; the features of x."""
        low, high = self._inside(x, radius)
        return z.maximum(low).minimum(high).maximum(lower).minimum(upper)

    def climb(
        self, x: Tensor, z: Tensor, gradient: Tensor, share: float, radius: Tensor, lower: Tensor, upper: Tensor
    ) -> Tensor:
        """A step along the signs of the gradient, of a share of the radius."""
        step = share * radius.reshape(-1, 1) * gradient.sign()
        return self.project(x, z + step, radius, lower, upper)

    def random(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor, generator: torch.Generator) -> Tensor:
        """Uniform parameters."""
        low, high = self._inside(x, radius)
        share = x.new_empty(x.shape).uniform_(generator=generator)
        return self.project(x, low + share * (high - low), radius, lower, upper)

    def _inside(self, x: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Ends so far inside the reached set that points between them stay inside when they become float32."""
        count = len(self.parameters)
        reach = (radius.reshape(-1, 1) * (1 - _FLOAT32) - x[:, -count:].abs() * _FLOAT32).clamp(min=0)
        least, most = x.new_tensor([one[1:] for one in self.parameters]).T
        low, high = x.clone(), x.clone()
        low[:, -count:] = (x[:, -count:] - reach).maximum(least)
        high[:, -count:] = (x[:, -count:] + reach).minimum(most)
        return low, high
