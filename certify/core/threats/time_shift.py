"""A series begins sooner or later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from certify.core.input_box import InputBox
from certify.core.threats.base import THREATS
from certify.core.threats.transform import Frame, Parameter
from certify.core.threats.warp import Warp
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TimeShift"]


@THREATS.register("time-shift")
@dataclass(frozen=True, slots=True)
class TimeShift(Warp):
    """An adversary who moves a series in time, by linear interpolation between its samples.

    >>> TimeShift((2,), padding="border").change(2)
    'time-shift (padding border) of at most 2 samples'
    """

    kind: ClassVar[str] = "time-shift"
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("samples", -1e5, 1e5),)
    units: str = "samples"

    @property
    def may(self) -> str:
        """What may happen to the series."""
        return "move the series in time"

    def check_form(self, shape: tuple[int, ...]) -> None:
        """Only series have a time."""
        if len(shape) != 2:
            raise BadInput(f"a time shift is about series (channels, samples), got inputs {shape}")

    def constants(self, shape: tuple[int, ...], input_box: InputBox | None) -> Mapping[str, NDArray[np.floating]]:
        """The place of each sample, counted from the middle, in an image of one row."""
        return Warp.constants(self, (shape[0], 1, shape[1]), input_box)

    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """The series read at the places."""
        moved = Warp.apply(self, x.unsqueeze(2), tuple(one.unsqueeze(3) for one in strengths), frame)
        return moved.squeeze(2)

    def places(self, columns: Tensor, rows: Tensor, *strengths: Tensor) -> tuple[Tensor, Tensor]:
        """Each place moved: the series begins sooner for a positive number."""
        [samples] = strengths
        return columns + samples, rows + 0 * samples
