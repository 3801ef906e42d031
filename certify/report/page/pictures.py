"""Inputs as pictures small enough to lie inside a page."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Picture", "as_image", "difference", "picture"]

_LONGEST_SIDE: Final = 64
"""Pixels: an image with a longer side is averaged down, so that a page stays small."""

_SMALLEST_SQUARE: Final = 64
"""Features: a flat input with fewer than eight by eight is not taken for a square image."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image.

    Args:
        uri: the PNG as a data URI.
        alt: what it shows, in words.
        caption: what stands below it.
    """

    uri: str
    alt: str
    caption: str


def as_image(x: NDArray[np.floating], boxed: bool) -> NDArray[np.floating] | None:
    """One input as an image (H, W, channels) of one or three channels; None if it is none.

    (C, H, W) and (H, W) are images. A flat input is one if it is a perfect square of at least 8 x 8 features that all
    have the same declared range, as pixels have.

    >>> as_image(np.zeros((3, 8, 8)), True).shape, as_image(np.zeros(64), True).shape, as_image(np.zeros(10), True)
    ((8, 8, 3), (8, 8, 1), None)
    """
    if x.ndim == 1 and boxed and x.size >= _SMALLEST_SQUARE and math.isqrt(x.size) ** 2 == x.size:
        x = x.reshape(1, math.isqrt(x.size), -1)
    if x.ndim == 2 and min(x.shape) > 1:
        x = x[None]
    return np.moveaxis(x, 0, -1) if x.ndim == 3 and x.shape[0] in (1, 3) else None


def picture(image: NDArray[np.floating], span: tuple[float, float], alt: str, caption: str) -> Picture:
    """An image (H, W, channels) whose values run from black to white over ``span``."""
    return Picture(_png(_small(image), span), alt, caption)


def difference(
    image: NDArray[np.floating], other: NDArray[np.floating], span: tuple[float, float], alt: str
) -> Picture:
    """What was added to ``image`` to get ``other``, magnified by 1, 2 or 5 times a power of ten; grey is no change."""
    change, width = other.astype(np.float64) - image, span[1] - span[0]
    times = _magnified(float(np.abs(change).max(initial=0.0)) / width)
    grey = Picture(_png(_small(change), (-width / 2 / times, width / 2 / times)), "", "")
    return Picture(grey.uri, f"{alt}, magnified {times:g} times, grey where nothing changed", f"difference x {times:g}")


def _magnified(largest: float) -> float:
    """The largest of 1, 2, 5, 10, .. that keeps a change of ``largest``, a share of the whole range, within a half."""
    if not largest > 0 or not math.isfinite(largest):
        return 1.0
    power = 10.0 ** math.floor(math.log10(0.5 / largest))
    return max(factor * power for factor in (1, 2, 5) if factor * power * largest <= 0.5 * (1 + 1e-9))


def _small(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """The image with blocks averaged until no side is longer than :data:`_LONGEST_SIDE`; the last rows may be cut."""
    block = -(-max(image.shape[:2]) // _LONGEST_SIDE)
    height, width = (max(1, side // block) for side in image.shape[:2])
    cut = image[: height * block, : width * block]
    if cut.shape[:2] != (height * block, width * block):  # thinner than one block
        return image[::block, ::block]
    averaged: NDArray[np.floating] = cut.reshape(height, block, width, block, -1).mean(axis=(1, 3))
    return averaged


def _png(image: NDArray[np.floating], span: tuple[float, float]) -> str:
    """A data URI of the image at 8 bits a channel (PNG specification, third edition, sections 5 and 11)."""
    scaled = (image.astype(np.float64) - span[0]) / (span[1] - span[0])
    pixels = np.rint(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # a zero before each row: it is not filtered
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + data).decode("ascii")
