"""Gaussian noise for 8-bit images, drawn exactly: no certificate rests on floating-point noise being real-valued."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

import torch
from flint import arb
from torch import Tensor

from certify.core.input_box import InputBox, check_box
from certify.core.norms import Norm
from certify.errors import BadInput, DataError
from certify.smoothing.noise.base import NOISES, Noise
from certify.smoothing.noise.gaussian import Gaussian, gaussian_radius
from certify.stats.balls import float_above, working_precision

__all__ = ["GaussianGrid", "Thresholds", "thresholds"]

LEVELS: Final = 255
"""Grid steps from 0 to 1. Noise of more steps, up or down, is clipped in the same way as noise of 255 steps."""

BITS: Final = 62
"""Random bits of a draw."""

HEAD: Final = 16
"""The first bits of a draw, which suffice for all but about one draw in two hundred."""

NEAREST: Final = 2.0**-23
"""Largest distance of a float32 input from k/255. A rounded quotient is off by 2**-25, a product with a rounded 1/255
by 1.25 * 2**-24 (all 256 were computed exactly)."""

_CHECKED_TOGETHER: Final = 256
"""Inputs converted to float64 at a time when they are checked, which bounds memory."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The distribution function of one coordinate of the noise, in units of 2**-62.

    Attributes:
        integers: ``2**62 P(K <= k)`` rounded, for k = -255 .. 254; a draw is 255 less than the number of them that do
            not exceed 62 random bits.
        error: total variation distance between such a draw and the exact law, rounded up.
    """

    integers: tuple[int, ...]
    error: float


@lru_cache(maxsize=32)
def thresholds(sigma: float) -> Thresholds:
    """The thresholds for a standard deviation, and what their rounding costs, by ball arithmetic.

    A probability of the law is the difference of two values of the distribution function, so the total variation
    distance, half the sum of the errors of all probabilities, is at most the sum of the errors of all thresholds.

    >>> table = thresholds(0.25)
    >>> table.integers[255] / 2**62                                 # P(K <= 0) = Phi(1/2 / (255 sigma))
    0.50312...
    >>> table.error < 5e-17
    True
    """
    integers, error = [], arb(0)
    with working_precision(128):
        for k in range(-LEVELS, LEVELS):
            z = (arb(k) + 0.5) / (LEVELS * arb(sigma))
            exact = 2**BITS * (-z / arb(2).sqrt()).erfc() / 2
            integers.append(int((exact + 0.5).mid().floor().unique_fmpz()))
            error += abs(exact - integers[-1]) / 2**BITS
        return Thresholds(tuple(integers), float_above(error))


@lru_cache(maxsize=32)
def _tables(sigma: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Noise by the first 16 bits, (65536,), NaN where they leave it open; the thresholds, (510,); the 511 values."""
    edges = torch.tensor(thresholds(sigma).integers)
    values = torch.arange(-LEVELS, LEVELS + 1, dtype=torch.float32) / LEVELS
    first = torch.arange(2**HEAD) << (BITS - HEAD)
    last = first + (2 ** (BITS - HEAD) - 1)
    lowest, highest = (torch.searchsorted(edges, draw, right=True) for draw in (first, last))
    by_head = torch.where(lowest == highest, values[lowest], torch.nan)
    return by_head.to(device), edges.to(device), values.to(device)


@NOISES.register("gaussian-grid")
@dataclass(frozen=True, slots=True)
class GaussianGrid(Noise):
    """Gaussian noise N(0, sigma^2 I) about inputs k/255, seen by a base model that rounds to that grid.

    The base model is h(u) = f(clip(round(255 u), 0, 255) / 255), a function on all of R^d, and the certificate is
    Cohen's for h. About a grid point k/255 the noise enters h only through round(255 noise), so it is drawn as such: an
    integer K with P(K = j) = Phi((j + 1/2) / (255 sigma)) - Phi((j - 1/2) / (255 sigma)), independently in every
    coordinate, from 62 random bits and a table of thresholds (after Voracek and Hein 2023). Beyond 255 steps K is cut
    off, which h cannot see. Two differences from the law remain, and both are paid for: the rounded thresholds
    (:meth:`total_variation`) and the distance from a float32 to k/255 (:meth:`slack`).

    Args:
        sigma: standard deviation before rounding, in input units.

    Raises:
        BadInput: unless sigma is a positive number of ordinary size.

    >>> noise = GaussianGrid(0.5)
    >>> noise.radius(q_upper=0.1, rival_upper=0.1, norm="l2")
    0.64077...
    >>> x = torch.tensor([0.0, 51.0, 255.0]) / 255
    >>> noisy = x + noise.sample((3,), torch.Generator().manual_seed(0))
    >>> noise.project(noisy)
    >>> bool((noisy * 255 == (noisy * 255).round()).all())
    True
    """

    name: ClassVar[str] = "gaussian-grid"
    norms: ClassVar[tuple[Norm, ...]] = ("l2",)
    citation: ClassVar[str] = (
        "Cohen, Rosenfeld and Kolter 2019, Theorem 1, for the grid-rounded model of Voracek and Hein 2023"
    )
    assumption: ClassVar[str] = (
        "the generator's bits are as good as independent and uniform; the base model is the network after rounding to "
        "the 1/255 grid and clipping to [0, 1]"
    )

    def sample(self, shape: Sequence[int], generator: torch.Generator, out: Tensor | None = None) -> Tensor:
        """K/255 of ``shape`` in float32, to be added to a grid input and projected; ``out`` must be contiguous.

        The first 16 bits settle a draw unless a threshold has the same 16 bits; only then are 46 more drawn.
        """
        device = generator.device
        if out is None:
            out = torch.empty(tuple(shape), dtype=torch.float32, device=device)
        flat = out.view(-1)
        by_head, edges, values = _tables(self.sigma, device)
        words = torch.empty(-(-flat.numel() * HEAD // 64), dtype=torch.int64, device=device)
        words.random_(-(2**63), None, generator=generator)  # all 64 bits
        head = words.view(torch.int16)[: flat.numel()].to(torch.int32).add_(2 ** (HEAD - 1))
        torch.index_select(by_head, 0, head, out=flat)
        undecided = flat.isnan().nonzero().squeeze(1)
        rest = torch.empty_like(undecided).random_(2 ** (BITS - HEAD), generator=generator)
        draws = (head[undecided].long() << (BITS - HEAD)) + rest
        flat[undecided] = values[torch.searchsorted(edges, draws, right=True)]
        return out

    def radius(self, q_upper: float, rival_upper: float, norm: str) -> float:
        """The l2 radius of Cohen's theorem about the grid point, rounded down; the draws have exactly this sigma."""
        self.check_norm(norm)
        return gaussian_radius(self.sigma, q_upper, rival_upper)

    def radius_above(self, q_upper: float, least: float, norm: str) -> float:
        """As for Gaussian noise, about the grid point."""
        return 2.0 * self.radius(q_upper, least, norm)

    def check_inputs(self, x: Tensor, input_box: InputBox | None) -> None:
        """Raise unless every feature is a float32 of some k/255 and inputs are declared to lie in [0, 1].

        Raises:
            BadInput: for another input box, or none.
            DataError: naming the first value off the grid.
        """
        if (box := check_box(input_box)) is None or box.pair != (0.0, 1.0):
            given = input_box or "none"
            raise BadInput(f"{self.name} noise needs inputs in the box [0, 1], not {given}: use noise='gaussian'")
        for first in range(0, len(x), _CHECKED_TOGETHER):
            part = x[first : first + _CHECKED_TOGETHER]
            wide = part.double()
            on_grid = (wide - (wide * LEVELS).round().clamp(0, LEVELS) / LEVELS).abs() <= NEAREST  # False for NaN
            if not bool(on_grid.all()):
                row, *position = (~on_grid).nonzero()[0].tolist()
                where = f" at {tuple(position)}" if len(position) > 1 else f" at {position[0]}" if position else ""
                raise DataError(
                    f"{self.name} noise needs inputs k/255, but input {first + row} has "
                    f"{float(part[row, *position])!r}{where}: give 8-bit images divided by 255, or use noise='gaussian'"
                )

    def project(self, noisy: Tensor) -> None:
        """Round to the grid and clip, in place: the float32 nearest to k/255, on every device.

        The float32 sum of a grid input and K/255 is within 1e-4 steps of the exact one, far from the half step where
        rounding would change.
        """
        noisy.mul_(LEVELS).round_().clamp_(0, LEVELS)
        noisy.div_(noisy.new_full((), LEVELS))  # by a plain number, CUDA multiplies with a rounded 1/255

    def sample_anywhere(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Float Gaussian noise: about a point off the grid, K does not have the law above. Not for certificates."""
        return Gaussian(self.sigma).sample(shape, generator)

    def total_variation(self, dimensions: int) -> float:
        """Total variation distance of one drawn vector from the law, rounded up: at most the sum over coordinates.

        >>> GaussianGrid(0.25).total_variation(3 * 32 * 32) < 2e-13
        True
        """
        return math.nextafter(dimensions * thresholds(self.sigma).error, math.inf)

    def slack(self, dimensions: int, norm: str) -> float:
        """Most l2 distance from an accepted input to its grid point, rounded up: sqrt(d) times 2**-23.

        A ball of radius R about the grid point contains one of radius R - slack about the input as given. The last
        factor covers the float64 arithmetic here and in :meth:`check_inputs`.

        >>> GaussianGrid(0.25).slack(3 * 32 * 32, "l2") < 7e-6
        True
        """
        self.check_norm(norm)
        return math.sqrt(dimensions) * NEAREST * (1.0 + 2.0**-28)
