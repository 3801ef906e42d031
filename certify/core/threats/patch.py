"""A square patch anywhere in an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from certify.core.input_box import BoxLike
from certify.core.rounding import brief
from certify.core.threats.base import THREATS, Threat
from certify.core.threats.places import Places
from certify.errors import BadInput

__all__ = ["Patch"]


@THREATS.register("patch")
@dataclass(frozen=True, slots=True)
class Patch(Threat):
    """An adversary who puts one square patch anywhere into an image, with any values inside the input box.

    A radius is the side of the square in pixels. The square lies inside the image, in all channels; a patch of any form
    that fits into it is one as well.

    Args:
        radii: sides in pixels, whole numbers, ascending: (0, 2, 5).
        input_box: (lower, upper) bound of every feature; without one, any value could be infinite.
        units: what a radius counts, in words.

    Raises:
        BadInput: for radii that are no whole numbers.

    >>> threat = Patch((1, 2), input_box=(0.0, 1.0))
    >>> x, x_adv = np.zeros((1, 4, 4)), np.zeros((1, 4, 4))
    >>> x_adv[0, 0, 3] = x_adv[0, 1, 2] = 0.5
    >>> threat.distance(x, x_adv)
    2.0
    """

    kind: ClassVar[str] = "patch"
    counted: ClassVar[bool] = True
    fills_box: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    radii: tuple[float, ...]
    input_box: BoxLike = None
    units: str = "pixels"

    @property
    def norm(self) -> str:  # type: ignore[override]
        """The threat's own name: there is no norm."""
        return self.kind

    @property
    def noun(self) -> str:
        """What is put into images."""
        return "square patch"

    @property
    def quantity(self) -> str:
        """The side."""
        return "side of the patch"

    def number(self, radius: float, shown: Callable[[float], str] = brief) -> str:
        """A whole number; averages as they are shown."""
        return str(int(radius)) if float(radius).is_integer() else shown(radius)

    def amount(self, radius: float, shown: Callable[[float], str] = brief) -> str:
        """A square of this side."""
        return f"a patch of side {self.number(radius, shown)}"

    def change(self, radius: float | None = None) -> str:
        """A change inside a square."""
        reach = "up to its radius" if radius is None else f"at most {self.number(radius)} ({self.units})"
        return f"change inside a square of side {reach}"

    @property
    def may(self) -> str:
        """What may change."""
        return "set all pixels inside one square, wherever it is, to any values; its side is the radius"

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse inputs that are no images, patches larger than the image, and to go without an input box."""
        if len(shape) != 3:
            raise BadInput(f"a patch lies in images (channels, height, width), the inputs have shape {tuple(shape)}")
        if self.input_box is None:
            raise BadInput("a patch may take any value of the input box, and there is none: declare one")
        Threat.check_shape(self, shape)
        if self.largest > min(shape[1:]):
            side = self.number(self.largest)
            raise BadInput(f"a patch of side {side} is larger than the image of {shape[1]} x {shape[2]} pixels")

    def reaching(self, shape: tuple[int, ...]) -> Places:
        """The places in images of this shape."""
        self.check_shape(shape)
        return Places(*shape)

    def distance(self, x: NDArray[np.floating], x_adv: NDArray[np.floating]) -> float:
        """The side of the least square that covers all changed pixels; infinite where none inside the image does."""
        if x.shape != x_adv.shape:
            raise BadInput(f"cannot measure a distance between shapes {x.shape} and {x_adv.shape}")
        self.check_shape(x.shape)
        if np.isnan(x).any() or np.isnan(x_adv).any():
            return math.inf
        lines = (np.flatnonzero((x != x_adv).any(axis=axes)) for axes in ((0, 2), (0, 1)))
        side = max(int(line[-1] - line[0]) + 1 if len(line) else 0 for line in lines)
        return float(side) if side <= min(x.shape[1:]) else math.inf

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Patch:
        """Inverse of :meth:`to_dict`."""
        return cls(radii=tuple(fields["radii"]), input_box=fields["input_box"], units=fields["units"])
