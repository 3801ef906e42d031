"""Several transforms, one after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.input_box import InputBox
from certify.core.threats.base import THREATS
from certify.core.threats.transform import Frame, Parameter, Transform
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Product"]

MOST: Final = 16
"""Parts: every one is traced into the network."""

Parts = tuple[tuple[str, float], ...]
"""Names of transforms, in the order in which they happen, each with the strength that a radius of 1 gives it."""


@THREATS.register("product")
@dataclass(frozen=True, slots=True)
class Product(Transform):
    """An adversary who applies several transforms in a row, each by a strength of its own and with its usual settings.

    A radius r gives each part up to r times the strength that is named for it.

    Args:
        radii: multiples of the strengths, ascending.
        parts: the transforms with their strengths at radius 1: ``"rotation=10,brightness=0.1"``, or pairs.
        input_box: not stated here; it is that of the classifier.
        units: what strengths count.

    Raises:
        BadInput: for something that is no transform, or a strength that is not positive.

    >>> print(Product((0.5, 1), parts="rotation=10,brightness=0.1"))
    product (parts rotation=10,brightness=0.1), declared strengths 0.5, 1 (of the strengths named)
    """

    kind: ClassVar[str] = "product"
    radii: tuple[float, ...]
    parts: Parts = ()
    input_box: None = None
    units: str = "of the strengths named"

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _parts(self.parts))
        Transform.__post_init__(self)

    @property
    def parameters(self) -> tuple[Parameter, ...]:  # type: ignore[override]
        """Those of all parts, in multiples of their strengths."""
        return tuple(
            Parameter(f"{name} {one.name}", one.lowest / strength, one.highest / strength)
            for name, strength in self.parts
            for one in _member(name).parameters
        )

    @property
    def _most(self) -> float:
        return min(member._most / strength for member, strength in ((_member(name), by) for name, by in self.parts))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The parts as text."""
        return {"parts": ",".join(f"{name}={strength!r}".removesuffix(".0") for name, strength in self.parts)}

    @property
    def unadditive(self) -> str:
        """All parts would have to change places."""
        return "all parts once and then all parts again are not every part twice, because they come in another order"

    @property
    def may(self) -> str:
        """What may happen to the input."""
        return "apply " + " and then ".join(f"a {name}" for name, _ in self.parts)

    def check_form(self, shape: tuple[int, ...]) -> None:
        """What every part asks."""
        for name, _ in self.parts:
            _member(name).check_form(shape)

    def constants(self, shape: tuple[int, ...], input_box: InputBox | None) -> Mapping[str, NDArray[np.floating]]:
        """Those of every part, behind its place."""
        return {
            f"{place}_{key}": value
            for place, (name, _) in enumerate(self.parts)
            for key, value in _member(name).constants(shape, input_box).items()
        }

    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """One part after the other."""
        rest = list(strengths)
        for place, (name, strength) in enumerate(self.parts):
            member = _member(name)
            mine = tuple(strength * rest.pop(0) for _ in member.parameters)
            x = member.apply(x, mine, _Part(frame, place))
        return x


@dataclass(frozen=True, slots=True)
class _Part:
    """The frame as one part sees it."""

    frame: Frame
    place: int

    def constant(self, name: str) -> Tensor:
        return self.frame.constant(f"{self.place}_{name}")

    def cut(self, x: Tensor) -> Tensor:
        return self.frame.cut(x)

    def resample(self, x: Tensor, columns: Tensor, rows: Tensor, padding: str) -> Tensor:
        return self.frame.resample(x, columns, rows, padding)


def _member(name: str) -> Transform:
    return THREATS[name](radii=(0.0,))  # type: ignore[call-arg, return-value]


def _parts(given: Any) -> Parts:
    """Parts from text or pairs."""
    try:
        pairs = (
            [one.split("=") for one in given.split(",")] if isinstance(given, str) else [tuple(one) for one in given]
        )
        parts = tuple((str(name).strip(), float(strength)) for name, strength in pairs)
    except (TypeError, ValueError) as problem:
        raise BadInput(
            f"parts must be names with strengths, such as rotation=10,brightness=0.1, got {given!r:.60}"
        ) from problem
    for name, strength in parts:
        if not (isinstance(THREATS[name], type) and issubclass(THREATS[name], Transform)) or name == Product.kind:
            raise BadInput(f"{name} is no transform that can be a part of a product")
        if not 0 < strength < math.inf:
            raise BadInput(f"the strength of {name} must be a positive number, got {strength}")
    if len(parts) > MOST:
        raise BadInput(f"a product has at most {MOST} parts, got {len(parts)}")
    if not parts:
        raise BadInput("a product needs parts: transforms with strengths, such as rotation=10,brightness=0.1")
    return parts
