"""Images read at places that are computed: rotation, translation, scaling and every other warp of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from certify.bounds.contract import Applied, Example
from certify.bounds.rounding import gamma, smallest
from certify.bounds.rules.base import ATEN, RULES, Call, Nonlinear, NotCovered, Value
from certify.bounds.rules.scale_shift import combined, scaled
from certify.bounds.rules.select import placed
from certify.bounds.tensors import Interval, Relaxation

__all__ = ["Resample"]

PADDINGS: Final = ("zeros", "border")
"""What lies outside the image, by the number under which torch knows it."""

MOST_LINES: Final = 6
"""Lines of pixels, along an axis, that a place may cross. Where it may cross more, the value is any of the image's."""


@RULES.register("resample")
@dataclass(frozen=True, slots=True, eq=False)
class Resample(Nonlinear):
    """Bilinear interpolation of an image (C, H, W) at a place (u, v) for each pixel: u counts columns, v rows, from 0.

    Inputs are the image, u and v, all of its shape. Between neighbouring pixels the value is bilinear in (u, v), so
    its extremes over a box lie where the box's ends and the lines of pixels inside cross. The same holds of its
    difference to a plane: with the slopes of a chord, the offsets of both planes are the best ones (Balunovic et al.
    2019, section 4, optimise the slopes as well; cutting boxes does without). Planes have no slope in the image, whose
    box may have a width: weights are not negative, so that its lower ends bound the value from below.

    Args:
        padding: ``"zeros"``: outside lie pixels of value 0; ``"border"``: the nearest pixel of the image.
    """

    kind: ClassVar[str] = "resample"
    padding: str = "zeros"

    @property
    def uniform(self) -> bool:
        """Every place reads the whole image."""
        return False

    def forward(self, *inputs: Tensor) -> Tensor:
        """The value at each place."""
        image, u, v = inputs
        left, top = u.floor(), v.floor()
        right, below = u - left, v - top
        corners = [[self._pixels(image, left + i, top + j) for i in (0, 1)] for j in (0, 1)]
        above, under = (row[0] * (1 - right) + row[1] * right for row in corners)
        return above * (1 - below) + under * below

    def _pixels(self, image: Tensor, column: Tensor, row: Tensor) -> Tensor:
        """The pixels (..., C, H, W) at whole places, the padding outside; there may be several batch axes."""
        height, width = image.shape[-2:]
        at_column, at_row = column.clamp(0, width - 1), row.clamp(0, height - 1)
        flat = (at_row * width + at_column).nan_to_num(0.0).long().flatten(-2)
        batch = torch.broadcast_shapes(image.shape[:-2], flat.shape[:-1])
        values = image.flatten(-2).expand(*batch, -1).gather(-1, flat.expand(*batch, -1)).unflatten(-1, (height, width))
        if self.padding == "zeros":
            values = torch.where((at_column == column) & (at_row == row), values, 0.0)
        return values

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """The extremes over the crossings, of the lower ends of the image and of its upper ends."""
        image, u, v = boxes
        still = torch.zeros_like(u.lower), torch.zeros_like(v.lower)
        lower, upper, lost = self._extremes(image, u, v, still)
        return Interval.known(lower - lost, upper + lost) if outward else Interval.known(lower, upper)

    def executed(self, *boxes: Interval) -> Tensor:
        """Nothing is said: libraries compute places and weights in ways of their own."""
        raise NotCovered("how executions of an interpolation round")

    def bent(self, *boxes: Interval) -> Tensor:
        """Where the place is not fixed, or the image: planes have no slope in it."""
        image, u, v = boxes
        moves = (image.lower < image.upper).any(dim=-1, keepdim=True).any(dim=-2, keepdim=True)
        return (u.lower < u.upper) | (v.lower < v.upper) | moves

    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """The slopes of a chord across the box, and the offsets at which planes touch."""
        image, u, v = boxes
        slopes = self._chord(image, u, v)
        lower, upper, lost = self._extremes(image, u, v, slopes)
        below, above = lower - lost, upper + lost
        known = below.isfinite() & above.isfinite()
        sides = tuple(torch.where(known, slope, 0.0) for slope in (torch.zeros_like(below), *slopes))
        return Relaxation(sides, torch.where(known, below, -torch.inf), sides, torch.where(known, above, torch.inf))

    def _chord(self, image: Interval, u: Interval, v: Interval) -> tuple[Tensor, Tensor]:
        """The mean slopes of the middle image along both axes, 0 along an axis in which the box has no width."""
        middle, (left, right), (top, bottom) = image.lower / 2 + image.upper / 2, (u.lower, u.upper), (v.lower, v.upper)
        at = [[self.forward(middle, column, row) for column in (left, right)] for row in (top, bottom)]
        along_u = (at[0][1] - at[0][0] + at[1][1] - at[1][0]) / (2 * (right - left))
        along_v = (at[1][0] - at[0][0] + at[1][1] - at[0][1]) / (2 * (bottom - top))
        steepest = 2 * self._size(image)
        return tuple(  # type: ignore[return-value]
            slope.nan_to_num(0.0, 0.0, 0.0).maximum(-steepest).minimum(steepest) for slope in (along_u, along_v)
        )

    @staticmethod
    def _size(image: Interval) -> Tensor:
        """The largest absolute value of a pixel, (..., C, 1, 1)."""
        return image.magnitude().amax(dim=(-2, -1), keepdim=True)

    def _extremes(
        self, image: Interval, u: Interval, v: Interval, slopes: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The least and the greatest of ``value - a u - b v`` over boxes, and what rounding may have moved either by.

        Values are in doubt by a few roundings of weights that are at most 1, of pixels of some size.
        """
        (columns, wide), (rows, high) = _lines(u), _lines(v)
        a, b = slopes
        one = image.lower is image.upper or torch.equal(image.lower, image.upper)
        lower, upper = torch.full_like(a, torch.inf), torch.full_like(a, -torch.inf)
        for column in columns:
            for row in rows:
                plane = a * column + b * row
                least = self.forward(image.lower, column, row)
                greatest = least if one else self.forward(image.upper, column, row)
                lower, upper = torch.minimum(lower, least - plane), torch.maximum(upper, greatest - plane)
        lower, upper = torch.minimum(lower, upper), torch.maximum(lower, upper)  # of two roundings of one value
        size, reach = self._size(image), a.abs() * u.magnitude() + b.abs() * v.magnitude()
        reach = reach.nan_to_num(torch.inf)
        far = wide | high
        lower, upper = torch.where(far, -size - reach, lower), torch.where(far, size + reach, upper)
        dtype = size.dtype
        return lower, upper, gamma(24, dtype) * size + gamma(8, dtype) * reach + 64 * smallest(dtype)

    @staticmethod
    def example() -> Example:
        """An image that is turned about its middle, by more and less than the distance of two pixels."""

        image = torch.tensor([[[0.2, -0.5, 0.9], [0.7, 0.4, -0.3], [-0.8, 0.1, 0.6]]])
        v, u = torch.meshgrid(torch.linspace(-1, 1, 3), torch.linspace(-1, 1, 3), indexing="ij")

        def turned(angle: Tensor) -> Tensor:
            c, s = angle.cos()[:, :, None], angle.sin()[:, :, None]
            grid = torch.stack([c * u - s * v, s * u + c * v], dim=3)
            scaled = image * (1.0 + 0.1 * angle[:, :, None, None])
            return F.grid_sample(scaled, grid, mode="bilinear", padding_mode="zeros", align_corners=True)

        return Example(Applied(turned), torch.tensor([[0.2]]), torch.tensor([[0.9]]))


def _lines(places: Interval) -> tuple[list[Tensor], Tensor]:
    """The ends of boxes and the lines of pixels between them, and which boxes have more than :data:`MOST_LINES`.

    Where a box has fewer than others, the upper end stands several times. Boxes with more are not meant.
    """
    first, crossed = places.lower.floor(), places.upper.ceil() - places.lower.floor() - 1
    far = ~(crossed <= MOST_LINES)
    most = int(crossed[~far].max()) if not bool(far.all()) else 0
    inner = ((first + place).minimum(places.upper) for place in range(1, most + 1))
    return [places.lower, *inner, places.upper], far


@ATEN.register("grid_sampler_2d")
def torch_grid_sample(call: Call) -> Value:
    """``torch.nn.functional.grid_sample``, bilinear, with a grid of the image's size."""
    image, grid = call["input"], call["grid"]
    if not (isinstance(image, Value) and isinstance(grid, Value)):
        raise NotCovered("an image or a grid that does not depend on the input")
    if call["interpolation_mode"] != 0 or call["padding_mode"] >= len(PADDINGS):
        raise NotCovered("an interpolation that is not bilinear, or padding by reflection")
    if image.shape[1:] != grid.shape[:2]:
        raise NotCovered(f"an image of {image.shape[1:]} read at {grid.shape[:2]} places")
    numbers, (height, width) = torch.arange(math.prod(grid.shape)).reshape(grid.shape), image.shape[1:]
    places = (
        _in_pixels(call, placed(call, grid, numbers[..., axis].expand(image.shape)), side, call["align_corners"])
        for axis, side in enumerate((width, height))
    )
    return call.add(Resample(PADDINGS[call["padding_mode"]]), image, *places)


def _in_pixels(call: Call, place: Value, side: int, align_corners: bool) -> Value:
    """Places in pixels from those in which the image reaches from -1 to 1."""
    half = (side - 1) / 2
    return combined(call, scaled(call, place, half if align_corners else side / 2), half)
