"""Transforms that move the pixels of an image: what those members share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from certify.core.input_box import InputBox
from certify.core.threats.transform import Frame, Transform
from certify.core.values import one_of
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Padding", "Warp"]

Padding = Literal["zeros", "border"]
"""What lies outside the image: pixels of value 0, or the nearest pixel of the image."""


@dataclass(frozen=True, slots=True)
class Warp(Transform):
    """A transform that reads each pixel of the new image at some place of the old one, by bilinear interpolation.

    Args:
        radii: strengths, ascending.
        padding: what lies outside the image, ``"zeros"`` or ``"border"``.
        input_box: not stated here; it is that of the classifier.
        units: what strengths count.
    """

    radii: tuple[float, ...]
    padding: Padding = "zeros"
    input_box: None = None
    units: str = ""

    def __post_init__(self) -> None:
        one_of("padding", self.padding, ("zeros", "border"))
        Transform.__post_init__(self)

    @property
    def unadditive(self) -> str:
        """Values are interpolated."""
        return f"interpolation smooths at every step, so that a {self.kind} by a and then by b is not one by a + b"

    def check_form(self, shape: tuple[int, ...]) -> None:
        """Only images have pixels to move."""
        if len(shape) != 3:
            raise BadInput(f"a {self.kind} moves the pixels of images (channels, height, width), got inputs {shape}")

    def constants(self, shape: tuple[int, ...], input_box: InputBox | None) -> Mapping[str, NDArray[np.floating]]:
        """The place of each pixel, counted from the middle."""
        rows, columns = (np.arange(side) - (side - 1) / 2 for side in shape[1:])
        return dict(zip(("columns", "rows"), np.meshgrid(columns, rows), strict=True))

    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """The image read at the places."""
        places = self.places(frame.constant("columns"), frame.constant("rows"), *(one[:, 0] for one in strengths))
        return frame.resample(x, *places, self.padding)

    @abstractmethod
    def places(self, columns: Tensor, rows: Tensor, *strengths: Tensor) -> tuple[Tensor, Tensor]:
        """Where each pixel (1, H, W) of the new image is read in the old one, for strengths (B, 1, 1)."""
