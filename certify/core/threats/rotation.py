"""An image is turned about its middle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from certify.core.threats.base import THREATS
from certify.core.threats.transform import Parameter
from certify.core.threats.warp import Warp

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Rotation"]


@THREATS.register("rotation")
@dataclass(frozen=True, slots=True)
class Rotation(Warp):
    """An adversary who turns an image about its middle, either way, by bilinear interpolation (Balunovic et al. 2019).

    >>> Rotation((30,)).change(30)
    'rotation (padding zeros) of at most 30 degrees'
    """

    kind: ClassVar[str] = "rotation"
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("angle", -180.0, 180.0),)
    units: str = "degrees"

    @property
    def may(self) -> str:
        """What may happen to the image."""
        return "turn the image about its middle, either way"

    def places(self, columns: Tensor, rows: Tensor, *strengths: Tensor) -> tuple[Tensor, Tensor]:
        """Each place turned by the angle: the image turns counterclockwise for a positive one."""
        [angle] = strengths
        radians = angle * (math.pi / 180)
        cosine, sine = radians.cos(), radians.sin()
        return cosine * columns - sine * rows, sine * columns + cosine * rows
