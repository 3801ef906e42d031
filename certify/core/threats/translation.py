"""An image is moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from certify.core.threats.base import THREATS
from certify.core.threats.transform import Parameter
from certify.core.threats.warp import Warp

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Translation"]


@THREATS.register("translation")
@dataclass(frozen=True, slots=True)
class Translation(Warp):
    """An adversary who moves an image along both axes, each by at most the radius, by bilinear interpolation.

    >>> Translation((2,)).change(2)
    'translation (padding zeros) of at most 2 pixels'
    """

    kind: ClassVar[str] = "translation"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("columns", -1024.0, 1024.0),
        Parameter("rows", -1024.0, 1024.0),
    )
    units: str = "pixels"

    @property
    def may(self) -> str:
        """What may happen to the image."""
        return "move the image along both axes"

    def places(self, columns: Tensor, rows: Tensor, *strengths: Tensor) -> tuple[Tensor, Tensor]:
        """Each place moved: the image moves left and up for positive numbers."""
        across, down = strengths
        return columns + across, rows + down
