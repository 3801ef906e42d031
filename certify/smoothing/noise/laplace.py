"""Laplace noise: an l1 radius from the bounded ratio of its densities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from flint import arb
from torch import Tensor

from certify.core.norms import Norm
from certify.errors import BadInput
from certify.smoothing.noise.base import NOISES, Noise
from certify.stats.balls import float_above, working_precision

__all__ = ["Laplace", "laplace_radius", "laplace_radius_above"]


def laplace_radius(b: float, q_upper: float, rival_upper: float) -> float:
    """The l1 radius b max{-log(1 - p_A + p_B), log(p_A / p_B) / 2}, rounded down, with p_A = 1 - ``q_upper``.

    Shifting the noise by delta changes its density by a factor within exp(-+ ||delta||_1 / b). With e the largest such
    factor, the top class keeps at least max(p_A / e, 1 - e (1 - p_A)) and a rival gets at most e p_B; equating gives
    the two terms (Teng et al. 2020; the ratio alone: Lecuyer et al. 2019). With p_B = 1 - p_A the first is the larger,
    -b log(2 (1 - p_A)), and no larger radius is possible.

    Raises:
        BadInput: if a bound is not above 0.

    >>> laplace_radius(0.5, q_upper=0.1, rival_upper=0.1)           # -log(0.2) / 2
    0.80471...
    """
    if q_upper <= 0 or rival_upper <= 0:
        raise BadInput(f"upper bounds on probabilities must be above 0, got {q_upper} and {rival_upper}")
    if not math.fsum((1.0, -q_upper, -rival_upper)) > 0:
        return 0.0
    with working_precision(128):
        q, rival = arb(q_upper), arb(rival_upper)
        by_sum, by_ratio = -(q + rival).log(), ((1 - q) / rival).log() / 2
        return max(0.0, -float_above(-b * by_sum), -float_above(-b * by_ratio))


def laplace_radius_above(b: float, q_upper: float, least: float) -> float:
    """The l1 radius within which a class of probability p_A = 1 - ``q_upper`` keeps more than ``least``, rounded down.

    A shift that changes densities by a factor of at most e leaves the class at least max(p_A / e, 1 - e (1 - p_A)), see
    :func:`laplace_radius`. Down to one half the second term is the larger one, and below it the first, from where the
    second has led: -b log(4 (1 - p_A) least) for p_A of at least one half, b log(p_A / least) for less.

    Args:
        b: scale of the noise.
        q_upper: upper bound on the probability that the class is not returned.
        least: above 0, at most 1/2.

    Raises:
        BadInput: if one is not above 0.

    >>> laplace_radius_above(1.0, q_upper=0.1, least=0.5)           # log(5), as laplace_radius(1.0, 0.1, 0.1)
    1.60943...
    >>> laplace_radius_above(1.0, q_upper=0.6, least=0.25)          # log(0.4 / 0.25)
    0.47000...
    """
    if q_upper <= 0 or least <= 0:
        raise BadInput(f"upper bounds on probabilities must be above 0, got {q_upper} and {least}")
    if not math.fsum((1.0, -q_upper, -least)) > 0:
        return 0.0
    with working_precision(128):
        q, to = arb(q_upper), arb(least)
        far = -(4 * q * to).log() if q_upper <= 0.5 else ((1 - q) / to).log()
        return max(0.0, -float_above(-b * far))


@NOISES.register("laplace")
@dataclass(frozen=True, slots=True)
class Laplace(Noise):
    """Independent Laplace noise in every coordinate, for l1.

    ``sigma`` is the standard deviation, as in every law, so the scale in the density exp(-|z| / b) / (2 b) is
    b = sigma / sqrt(2).

    Raises:
        BadInput: unless sigma is a positive number of ordinary size.

    >>> Laplace(0.5).radius(q_upper=0.1, rival_upper=0.1, norm="l1")
    0.56902...
    """

    name: ClassVar[str] = "laplace"
    norms: ClassVar[tuple[Norm, ...]] = ("l1",)
    citation: ClassVar[str] = "Teng, Lee and Yuan 2020, after Lecuyer et al. 2019"
    assumption: ClassVar[str] = (
        "float32 noise made of 24 random bits, which ends at 17 b, and its rounded sum with the input stand for "
        "real-valued noise"
    )

    @property
    def b(self) -> float:
        """The scale drawn, sigma / sqrt(2) rounded to float32: radii are those of this number."""
        return float(np.float32(self.sigma / math.sqrt(2.0)))

    def sample(self, shape: Sequence[int], generator: torch.Generator, out: Tensor | None = None) -> Tensor:
        """Independent draws of ``shape``, float32: -b log|u| with the sign of u, for u uniform on [-1, 1)."""
        if out is None:
            out = torch.empty(tuple(shape), dtype=torch.float32, device=generator.device)
        out.uniform_(
            -1.0, 1.0, generator=generator
        )  # torch's own exponential draws keep 31 bits of a generator's state
        size = out.abs().clamp_(min=2.0**-24).log_().mul_(-self.b)
        return torch.copysign(size, out, out=out)

    def radius(self, q_upper: float, rival_upper: float, norm: str) -> float:
        """The l1 radius of :func:`laplace_radius` for the scale drawn; 0 where the top class is not proven to win."""
        self.check_norm(norm)
        return laplace_radius(self.b, q_upper, rival_upper)

    def radius_above(self, q_upper: float, least: float, norm: str) -> float:
        """b (F^-1(p_A) - F^-1(least)) for the distribution F of the noise, b = 1: see :func:`laplace_radius_above`."""
        self.check_norm(norm)
        return laplace_radius_above(self.b, q_upper, least)
