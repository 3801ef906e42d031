"""How attacks move within a threat: projection into it, a step along a gradient, a random point of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from certify.attacks.ball import project, random_point, steepest
from certify.core.threats.base import Threat
from certify.core.threats.lp import ThreatModel

__all__ = ["Moves", "moves_of"]


class Moves(Protocol):
    """Moves of points (B, ...) about inputs (B, ...). All may be inexact: examples are measured and executed again."""

    def project(self, x: Tensor, z: Tensor, radius: float | Tensor) -> Tensor:
        """Points of the threat near ``z``, as float32."""

    def climb(self, x: Tensor, z: Tensor, gradient: Tensor, share: float, radius: float) -> Tensor:
        """Points of the threat one step from ``z``, ``share`` of the radius long, in which direction a loss grows."""

    def random(self, x: Tensor, radius: float, generator: torch.Generator) -> Tensor:
        """A random point of the threat about one input (1, ...)."""


def moves_of(threat: Threat) -> Moves:
    """The moves of a threat: fast ones for norm balls, and for other threats those that the threat itself defines.

    >>> from certify.core.threats.features import Features
    >>> moves = moves_of(Features((1,), input_box=(0.0, 1.0)))
    >>> moves.project(torch.zeros(1, 3), torch.tensor([[0.5, 2.0, 0.1]]), 1)
    tensor([[0., 1., 0.]])
    """
    return _BallMoves(threat) if isinstance(threat, ThreatModel) else _ThreatMoves(threat)


@dataclass(frozen=True, slots=True)
class _BallMoves:
    threat: ThreatModel
    scales: dict[torch.Size, Tensor | None] = field(default_factory=dict, repr=False)

    def _scale(self, x: Tensor) -> Tensor | None:
        if x.shape[1:] not in self.scales:
            scale = self.threat.scale_of(x.shape[1:])
            self.scales[x.shape[1:]] = None if scale is None else torch.from_numpy(scale).to(x.device)
        return self.scales[x.shape[1:]]

    def project(self, x: Tensor, z: Tensor, radius: float | Tensor) -> Tensor:
        return project(x, z, radius, self.threat.norm, self.threat.input_box, self._scale(x))

    def climb(self, x: Tensor, z: Tensor, gradient: Tensor, share: float, radius: float) -> Tensor:
        if (box := self.threat.input_box) is not None:
            low, high = box.around(z)
            # A coordinate at the edge of the box cannot go further; spend the step on the others.
            blocked = ((z <= low) & (gradient < 0)) | ((z >= high) & (gradient > 0))
            gradient = gradient.masked_fill(blocked, 0.0)
        step = share * radius * steepest(gradient, self.threat.norm, self._scale(x))
        return self.project(x, z + step, radius)

    def random(self, x: Tensor, radius: float, generator: torch.Generator) -> Tensor:
        step, scale = random_point(x.shape[1:], self.threat.norm, generator)[None].to(x.device), self._scale(x)
        return self.project(x, x + radius * (step if scale is None else step * scale), radius)


@dataclass(frozen=True, slots=True)
class _ThreatMoves:
    threat: Threat

    def _given(self, x: Tensor, radius: float | Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Flat inputs, radii, and lower and upper ends of the box, in float64."""
        flat = x.double().flatten(1)
        radii = torch.as_tensor(radius, dtype=torch.float64, device=x.device).reshape(-1).expand(len(x))
        if (box := self.threat.input_box) is None:
            return flat, radii, torch.full_like(flat, -math.inf), torch.full_like(flat, math.inf)
        low, high = (end.flatten().expand_as(flat) for end in box.around(x.double()))
        return flat, radii, low, high

    def _point(self, x: Tensor, found: Tensor) -> Tensor:
        """Float32 points; coordinates that did not move equal x bit for bit, and rounding never leaves the box."""
        point = found.float()
        if (box := self.threat.input_box) is not None:
            point = point.clamp(*(end.flatten() for end in box.inside(x)))
        return torch.where(found == x.double().flatten(1), x.flatten(1), point).reshape(x.shape)

    def project(self, x: Tensor, z: Tensor, radius: float | Tensor) -> Tensor:
        flat, radii, low, high = self._given(x, radius)
        return self._point(x, self.threat.project(flat, z.to(flat).flatten(1), radii, low, high))

    def climb(self, x: Tensor, z: Tensor, gradient: Tensor, share: float, radius: float) -> Tensor:
        flat, radii, low, high = self._given(x, radius)
        slope = gradient.to(flat).flatten(1).nan_to_num(0.0, 0.0, 0.0)
        found = self.threat.climb(flat, z.to(flat).flatten(1), slope, share, radii, low, high)
        return self._point(x, found)

    def random(self, x: Tensor, radius: float, generator: torch.Generator) -> Tensor:
        flat, radii, low, high = (one.cpu() for one in self._given(x, radius))
        return self._point(x, self.threat.random(flat, radii, low, high, generator).to(x.device))
