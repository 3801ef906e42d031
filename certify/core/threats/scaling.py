"""An image is made smaller or larger about its middle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from certify.core.threats.base import THREATS
from certify.core.threats.transform import Parameter
from certify.core.threats.warp import Warp

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Scaling"]


@THREATS.register("scaling")
@dataclass(frozen=True, slots=True)
class Scaling(Warp):
    """An adversary who reads an image at places 1 + s times as far from its middle: it looks smaller for s > 0.

    >>> Scaling((0.1,)).change(0.1)
    'scaling (padding zeros) of at most 0.1 of the size'
    """

    kind: ClassVar[str] = "scaling"
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("scale", -0.9, 4.0),)
    units: str = "of the size"

    @property
    def may(self) -> str:
        """What may happen to the image."""
        return "make the image smaller or larger about its middle"

    def places(self, columns: Tensor, rows: Tensor, *strengths: Tensor) -> tuple[Tensor, Tensor]:
        """Each place times 1 + s."""
        [scale] = strengths
        return (1 + scale) * columns, (1 + scale) * rows
