"""Uniform noise: an l1 radius from the overlap of two cubes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from certify.core.norms import Norm
from certify.smoothing.noise.base import NOISES, Noise

__all__ = ["Uniform", "uniform_radius"]


def uniform_radius(half_width: float, q_upper: float, rival_upper: float) -> float:
    """The l1 radius lambda (p_A - p_B), rounded down, with p_A = 1 - ``q_upper``; 2 lambda (p_A - 1/2) for two classes.

    Shifting a cube of side 2 lambda by delta leaves a part prod_i (1 - |delta_i| / (2 lambda)) of it in common, at
    least 1 - ||delta||_1 / (2 lambda). No class gains or loses more probability than the part that is not in common, so
    the lead p_A - p_B shrinks by at most ||delta||_1 / lambda (Lee et al. 2019; Yang et al. 2020).

    >>> uniform_radius(0.5, q_upper=0.1, rival_upper=0.1)           # 0.5 * (0.9 - 0.1)
    0.39999...
    """
    lead = math.fsum((1.0, -q_upper, -rival_upper))  # rounded once
    return half_width * lead * (1.0 - 2.0**-51) if lead > 0 else 0.0


@NOISES.register("uniform")
@dataclass(frozen=True, slots=True)
class Uniform(Noise):
    """Independent uniform noise on [-lambda, lambda] in every coordinate, for l1.

    ``sigma`` is the standard deviation, as in every law, so lambda = sqrt(3) sigma. No radius exceeds lambda.

    Raises:
        BadInput: unless sigma is a positive number of ordinary size.

    >>> Uniform(0.5).radius(q_upper=0.1, rival_upper=0.1, norm="l1")
    0.69282...
    """

    name: ClassVar[str] = "uniform"
    norms: ClassVar[tuple[Norm, ...]] = ("l1",)
    citation: ClassVar[str] = "Lee et al. 2019; Yang et al. 2020"
    assumption: ClassVar[str] = (
        "float32 noise, one of 2**24 equally spaced values from -lambda up to but not at lambda, and its rounded sum "
        "with the input stand for real-valued noise"
    )

    @property
    def half_width(self) -> float:
        """The lambda drawn, sqrt(3) sigma rounded to float32: radii are those of this number."""
        return float(np.float32(self.sigma * math.sqrt(3.0)))

    def sample(self, shape: Sequence[int], generator: torch.Generator, out: Tensor | None = None) -> Tensor:
        """Independent draws of ``shape``, float32."""
        if out is None:
            out = torch.empty(tuple(shape), dtype=torch.float32, device=generator.device)
        return out.uniform_(-1.0, 1.0, generator=generator).mul_(self.half_width)

    def radius(self, q_upper: float, rival_upper: float, norm: str) -> float:
        """The l1 radius of :func:`uniform_radius`, for the lambda drawn; 0 where the top class is not proven to win."""
        self.check_norm(norm)
        return uniform_radius(self.half_width, q_upper, rival_upper)

    def radius_above(self, q_upper: float, least: float, norm: str) -> float:
        """2 lambda (p_A - least): a class loses at most the part that the two cubes do not have in common."""
        return 2.0 * self.radius(q_upper, least, norm)
