"""Each pixel's class under noise: named by separate samples, counted by others, certified for all pixels at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.models.segmenter import pixel_votes
from certify.smoothing.sampler import Ballot, Sampler
from certify.smoothing.theorem import Theorem
from certify.stats.pixels import fewest_hits
from certify.stats.simultaneous import share

__all__ = ["PixelCounts", "PixelVotes", "count_pixels", "shown_pixels"]


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """What samples about one image return.

    Args:
        top: the class of each pixel (H, W) that most of the selection return, the first in a tie.
        hits: how many of the other samples return it, (H, W).
        invalid: how many scores of pixels in those samples are no numbers; they return no class.
    """

    top: NDArray[np.int64]
    hits: NDArray[np.int64]
    invalid: int


class PixelVotes:
    """Counts how often each class is returned at each pixel of one image, (K + 1, H, W): no class first."""

    def __init__(self) -> None:
        self.votes = torch.zeros(1, dtype=torch.int64)

    def ask(self, scores: Tensor) -> None:
        """Take the scores (b, K, H, W) of the next samples."""
        self.votes = self.votes + pixel_votes(scores)


def count_pixels(sampler: Sampler, n0: int, n: int) -> PixelCounts:
    """Name the classes of the pixels of the sampler's one image by ``n0`` samples, and count them in ``n`` others."""
    selection = sampler.asked("selection", [Ballot(0, 0, n0)], PixelVotes).votes
    top = selection[1:].argmax(dim=0)
    votes = sampler.asked("estimation", [Ballot(0, 0, n)], PixelVotes).votes
    hits = votes[1:].gather(0, top[None])[0]
    return PixelCounts(top.numpy(), hits.numpy(), int(votes[0].sum()))


def shown_pixels(
    counts: PixelCounts, judged: NDArray[np.bool_], theorem: Theorem, radii: Sequence[float], n: int, alpha: float
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """For each declared radius, how probable missing a class may be there, and the fewest hits that show it is rarer.

    All radii together, any pixel among the judged ones is shown wrongly with probability at most alpha: each radius has
    an equal part of it, and Holm's procedure shares that among the pixels (Fischer et al. 2021).
    """
    level, hits = share(alpha, len(radii)), counts.hits[judged]
    missed = tuple(theorem.most_missed(radius) for radius in radii)
    return missed, tuple(fewest_hits(hits, n, most, level) if most > 0 else n + 1 for most in missed)
