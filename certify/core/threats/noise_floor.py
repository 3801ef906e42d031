"""A known noise grows louder behind the signal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from certify.core.input_box import InputBox
from certify.core.threats.base import THREATS, UNITS
from certify.core.threats.sums import Sum
from certify.core.threats.transform import Frame, Parameter
from certify.core.values import whole
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NoiseFloor"]


@THREATS.register("noise-floor")
@dataclass(frozen=True, slots=True)
class NoiseFloor(Sum):
    """An adversary who adds one known draw of standard normal noise, by some volume, and cuts it to the input box.

    It says what that noise does, of which nothing but the volume is unknown; smoothing is about all noise.

    Args:
        radii: the largest volume, ascending, either sign.
        draw: a seed of the noise.
        cut: whether results are cut. Smoothing over strengths needs False: then they may leave the box.
        input_box: not stated here; it is that of the classifier.
        units: what strengths count.

    >>> NoiseFloor((0.1,)).change(0.1)
    'noise-floor (draw 0) of at most 0.1 input units'
    """

    kind: ClassVar[str] = "noise-floor"
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("volume", -1e6, 1e6),)
    radii: tuple[float, ...]
    draw: int = 0
    cut: bool = True
    input_box: None = None
    units: str = UNITS

    def __post_init__(self) -> None:
        object.__setattr__(self, "draw", whole("draw", self.draw))
        if not 0 <= self.draw < 2**64:
            raise BadInput(f"draw must be a seed from 0 to 2^64 - 1, got {self.draw}")
        Sum.__post_init__(self)

    @property
    def may(self) -> str:
        """What may happen to the input."""
        return "add one known draw of noise by any volume"

    def constants(self, shape: tuple[int, ...], input_box: InputBox | None) -> Mapping[str, NDArray[np.floating]]:
        """The noise, the same on every machine: of a generator that is named by its algorithm."""
        generator = np.random.Generator(np.random.Philox(self.draw))
        return {"noise": generator.standard_normal(shape, dtype=np.float32)}

    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """The sum, cut."""
        return self.added(x, strengths[0] * frame.constant("noise"), frame)
