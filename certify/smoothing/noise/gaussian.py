"""Gaussian noise: the l2 radius of Cohen, Rosenfeld and Kolter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from certify.core.norms import Norm
from certify.smoothing.noise.base import NOISES, Noise
from certify.stats.normal import isf_down

__all__ = ["Gaussian", "gaussian_radius"]


def gaussian_radius(sigma: float, q_upper: float, rival_upper: float) -> float:
    """sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)), rounded down, with p_A = 1 - ``q_upper`` (Cohen et al. 2019, Theorem 1).

    >>> gaussian_radius(0.5, q_upper=0.1, rival_upper=0.1)
    0.64077...
    """
    if q_upper >= 1 or rival_upper >= 1:
        return 0.0
    return max(0.0, sigma / 2 * (isf_down(q_upper) + isf_down(rival_upper)) * (1.0 - 2.0**-51))


@NOISES.register("gaussian")
@dataclass(frozen=True, slots=True)
class Gaussian(Noise):
    """Isotropic Gaussian noise N(0, sigma^2 I).

    If the top class has probability at least p_A and every other at most p_B under the noise, the smoothed prediction
    is constant within l2 radius sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)) (Cohen et al. 2019, Theorem 1).

    The theorem is about real-valued noise; the noise drawn is float32, adding it rounds, and no draw lies further out
    than some 5.8 sigma, where one in 120 million should. Certificates rest on that difference being immaterial to the
    vote probabilities. An adversarial base model can break it (Voracek and Hein 2023); ``gaussian-grid`` noise does not
    need it.

    Raises:
        BadInput: unless sigma is a positive number of ordinary size.

    >>> Gaussian(0.5).radius(q_upper=0.1, rival_upper=0.1, norm="l2")
    0.64077...
    """

    name: ClassVar[str] = "gaussian"
    norms: ClassVar[tuple[Norm, ...]] = ("l2",)
    citation: ClassVar[str] = "Cohen, Rosenfeld and Kolter 2019, Theorem 1"
    assumption: ClassVar[str] = (
        "float32 noise, which ends near 5.8 sigma, and its rounded sum with the input stand for real-valued noise"
    )

    def sample(self, shape: Sequence[int], generator: torch.Generator, out: Tensor | None = None) -> Tensor:
        """Independent draws of ``shape``, float32."""
        if out is None:
            out = torch.empty(tuple(shape), dtype=torch.float32, device=generator.device)
        return out.normal_(0.0, self.sigma, generator=generator)

    def radius(self, q_upper: float, rival_upper: float, norm: str) -> float:
        """The l2 radius of Theorem 1, rounded down; 0 where the top class is not proven to win."""
        self.check_norm(norm)
        drawn = min(self.sigma, float(np.float32(self.sigma)))  # the draws are scaled in float32
        return gaussian_radius(drawn, q_upper, rival_upper)

    def radius_above(self, q_upper: float, least: float, norm: str) -> float:
        """sigma (Phi^-1(p_A) - Phi^-1(least)): all that a shift by the radius can take from a class (Theorem 1)."""
        return 2.0 * self.radius(q_upper, least, norm)
