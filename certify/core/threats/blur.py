"""An image loses its sharpness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from certify.core.input_box import InputBox
from certify.core.threats.base import THREATS
from certify.core.threats.transform import Frame, Parameter, Transform
from certify.core.values import number
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Blur"]


@THREATS.register("blur")
@dataclass(frozen=True, slots=True)
class Blur(Transform):
    """An adversary who mixes an image with a blurred copy: ``(1 - s) x + s (k * x)``, with a Gaussian k.

    Near the border, the weights of k that fall outside go to the others, in proportion.

    Args:
        radii: the largest share s, ascending, at most 1.
        width: standard deviation of k in pixels.
        input_box: not stated here; it is that of the classifier.
        units: what strengths count.

    >>> Blur((0.5,)).change(0.5)
    'blur (width 1.0) of at most 0.5 of the image'
    """

    kind: ClassVar[str] = "blur"
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("share", 0.0, 1.0),)
    radii: tuple[float, ...]
    width: float = 1.0
    input_box: None = None
    units: str = "of the image"

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", number("width", self.width))
        if not 0 < self.width < math.inf:
            raise BadInput(f"width must be a positive number of pixels, got {self.width}; 1 is usual")
        Transform.__post_init__(self)

    @property
    def unadditive(self) -> str:
        """The copy is blurred again."""
        return "the second blur blurs the blurred copy again, which no share of one blurred copy does"

    @property
    def may(self) -> str:
        """What may happen to the image."""
        return "mix the image with a blurred copy"

    def check_form(self, shape: tuple[int, ...]) -> None:
        """Only images have neighbours on two axes."""
        if len(shape) != 3:
            raise BadInput(f"a blur is about images (channels, height, width), got inputs {shape}")

    def constants(self, shape: tuple[int, ...], input_box: InputBox | None) -> Mapping[str, NDArray[np.floating]]:
        """The weights along either axis, a matrix whose rows add up to 1."""
        return {"rows": self._weights(shape[1]), "columns": self._weights(shape[2]).T}

    def _weights(self, side: int) -> NDArray[np.floating]:
        apart = np.subtract.outer(np.arange(side), np.arange(side)) / self.width
        weights: NDArray[np.float64] = np.exp(-(apart**2) / 2)
        return weights / weights.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]

    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """The mixture."""
        blurred = frame.constant("rows")[0] @ x @ frame.constant("columns")[0]
        return x + strengths[0] * (blurred - x)
