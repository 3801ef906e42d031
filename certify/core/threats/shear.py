"""An image is slanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from certify.core.threats.base import THREATS
from certify.core.threats.transform import Parameter
from certify.core.threats.warp import Warp

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Shear"]


@THREATS.register("shear")
@dataclass(frozen=True, slots=True)
class Shear(Warp):
    """An adversary who slants an image: rows move across in proportion to their distance from the middle one.

    >>> Shear((0.2,)).change(0.2)
    'shear (padding zeros) of at most 0.2 columns a row'
    """

    kind: ClassVar[str] = "shear"
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("slant", -2.0, 2.0),)
    units: str = "columns a row"

    @property
    def may(self) -> str:
        """What may happen to the image."""
        return "slant the image"

    def places(self, columns: Tensor, rows: Tensor, *strengths: Tensor) -> tuple[Tensor, Tensor]:
        """Columns moved by so many of the rows."""
        [slant] = strengths
        return columns + slant * rows, rows + 0 * slant
