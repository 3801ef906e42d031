"""Patches: coefficients of rows that depend on one window of an image, as in backward passes through convolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from certify.bounds.rules.base import Shape, Sliding

__all__ = ["Pair", "Patches", "covers", "wider"]

Pair = tuple[int, int]

LARGEST = 0.55
"""Windows that cover a larger fraction of the image are held as whole images, which need no gathering."""

GEMM = 8.0
"""A matrix product is used instead of the sliding operator if it needs at most this many times the multiplications."""

MATRIX = 2**22
"""The most numbers in a matrix of a sliding operator; a larger one takes longer to compute than it saves."""


def covers(window: Pair, shape: Shape) -> bool:
    """Whether a window is so large a part of an image (C, H, W) that the whole image is held instead."""
    return math.prod(window) > LARGEST * math.prod(shape[1:])


def wider(window: Pair, sliding: Sliding) -> Pair:
    """The window of the input on which a window of a sliding operator's outputs depends."""
    height, width = (
        (n - 1) * stride + extent for n, stride, extent in zip(window, sliding.stride, sliding.extent, strict=True)
    )
    return height, width


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Coefficients (b, r, C, h, w) of windows of images (C, H, W); entries outside the image have no effect.

    Args:
        A: the coefficients.
        places: (b, r) the row-major index into ``grid`` of the neuron that each row bounds.
        grid: height and width of the image of these neurons.
        stride, corner: the window of the neuron at (i, j) begins at ``(i, j) * stride + corner``.
        shape: (C, H, W).
        inside: whether coefficients outside the image are known to be 0.
    """

    A: Tensor
    places: Tensor
    grid: Pair
    stride: Pair
    corner: Pair
    shape: Shape
    inside: bool = False

    @classmethod
    def one_hot(cls, entries: Tensor, shape: Shape, dtype: torch.dtype) -> Patches:
        """Rows that are single entries (b, r) of an image of ``shape``."""
        channels, height, width = shape
        area = height * width
        A = F.one_hot(entries // area, channels).to(dtype)[..., None, None]
        return cls(A, entries % area, (height, width), (1, 1), (0, 0), shape, inside=True)

    @property
    def window(self) -> Pair:
        """Height and width of the windows."""
        return self.A.shape[3], self.A.shape[4]

    @property
    def large(self) -> bool:
        """Whether whole images would be cheaper to work with."""
        return covers(self.window, self.shape)

    def holding(self, A: Tensor, inside: bool) -> Patches:
        """Other coefficients of the same windows."""
        return replace(self, A=A, inside=inside)

    def both_signs(self) -> Patches:
        """The rows, then their negatives."""
        return replace(self, A=torch.cat([self.A, -self.A], dim=1), places=self.places.repeat(1, 2))

    def of(self, image: Tensor) -> Tensor:
        """Each row's window (b, r, C, h, w) of its sample's image (b or 1, C, H, W), zero outside."""
        (h, w), (down, right), (top, left) = self.window, self.stride, self.corner
        rows, columns = self.grid
        below = (rows - 1) * down + top + h - self.shape[1]
        beyond = (columns - 1) * right + left + w - self.shape[2]
        padded = F.pad(image, (-left, beyond, -top, below))
        windows = padded.unfold(2, h, down).unfold(3, w, right).permute(0, 2, 3, 1, 4, 5)
        index = self.places
        if len(image) * rows * columns > index.numel():  # all windows at once are the larger tensor
            sample = torch.arange(len(image), device=index.device).unsqueeze(1)
            return windows[sample, index // columns, index % columns]
        table = windows.reshape(len(image) * rows * columns, -1)
        if len(image) > 1:
            index = index + rows * columns * torch.arange(len(image), device=index.device).unsqueeze(1)
        return table.index_select(0, index.flatten()).reshape(*index.shape, self.shape[0], h, w)

    def masked(self) -> Patches:
        """The same rows with zeros outside the image."""
        return self if self.inside else self.times(self.A.new_ones(1, *self.shape))

    def times(self, factor: Tensor) -> Patches:
        """Entries multiplied by those of an image (b or 1, C, H, W)."""
        return self.holding(self.A * self.of(factor), inside=True)

    def __add__(self, other: Patches) -> Patches:
        """The sum of rows of the same neurons, with windows of equal strides and any sizes."""
        first, second = [min(a, b) for a, b in zip(self.corner, other.corner, strict=True)]
        ends = [
            max(a + n, b + m) for a, n, b, m in zip(self.corner, self.window, other.corner, other.window, strict=True)
        ]
        padded = [
            F.pad(
                one.A,
                (
                    one.corner[1] - second,
                    ends[1] - one.corner[1] - one.window[1],
                    one.corner[0] - first,
                    ends[0] - one.corner[0] - one.window[0],
                ),
            )
            for one in (self, other)
        ]
        return replace(self, A=padded[0] + padded[1], corner=(first, second), inside=self.inside and other.inside)

    def through(self, sliding: Sliding, shape: Shape, matrices: dict[Pair, Tensor]) -> Patches:
        """One backward step through a convolution or a pooling of an image of ``shape``. Rows must be masked.

        ``matrices`` caches the matrix of this operator for each window size.
        """
        flat, window = self.A.flatten(0, 1), wider(self.window, sliding)
        inner, size = (shape[0], *window), math.prod(self.A.shape[2:])
        if math.prod(window) <= GEMM * math.prod(sliding.extent) and size * math.prod(inner) <= MATRIX:
            if self.window not in matrices:
                units = torch.eye(size, dtype=flat.dtype, device=flat.device).reshape(size, *self.A.shape[2:])
                matrices[self.window] = sliding.bare.adjoint(units, (inner,))[0].flatten(1)
            part = flat.flatten(1) @ matrices[self.window]
        else:
            [part] = sliding.bare.adjoint(flat, (inner,))
        return Patches(
            part.reshape(*self.A.shape[:2], *inner),
            self.places,
            self.grid,
            (self.stride[0] * sliding.stride[0], self.stride[1] * sliding.stride[1]),
            tuple(c * s - p for c, s, p in zip(self.corner, sliding.stride, sliding.padding, strict=True)),  # type: ignore[arg-type]
            shape,
        )

    def dense(self) -> Tensor:
        """Whole images (b, r, C, H, W)."""
        (h, w), (channels, height, width) = self.window, self.shape
        top, left = max(0, -self.corner[0]), max(0, -self.corner[1])
        tall = max(top + height, (self.grid[0] - 1) * self.stride[0] + self.corner[0] + top + h)
        wide = max(left + width, (self.grid[1] - 1) * self.stride[1] + self.corner[1] + left + w)
        count = math.prod(self.A.shape[:2])
        canvas = self.A.new_zeros(count, channels * tall * wide)
        axes = (torch.arange(n, device=canvas.device) for n in (channels, h, w))
        c, i, j = torch.meshgrid(*axes, indexing="ij")
        inside = (c * tall * wide + i * wide + j).flatten()
        place = self.places.flatten()
        row = place // self.grid[1] * self.stride[0] + self.corner[0] + top
        column = place % self.grid[1] * self.stride[1] + self.corner[1] + left
        index = (row * wide + column).unsqueeze(1) + inside
        canvas = canvas.scatter(1, index, self.A.reshape(count, -1)).reshape(count, channels, tall, wide)
        whole = canvas[:, :, top : top + height, left : left + width]
        return whole.reshape(*self.A.shape[:2], *self.shape)
