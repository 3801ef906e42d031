"""How attacks move within a threat: projection into it, a step along a gradient, a random point of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from certify.attacks.ball import Ends, Near, random_point
from certify.core.threats.base import Threat
from certify.core.threats.budget import Budget
from certify.core.threats.lp import ThreatModel

__all__ = ["Moves", "NearThreat", "Nearby", "moves_of"]


class Nearby(Protocol):
    """Moves of points (B, ...) about inputs (B, ...), within a radius of each."""

    def project(self, z: Tensor) -> Tensor:
        """Points of the threat near ``z``, as float32."""

    def climb(self, z: Tensor, gradient: Tensor, share: float) -> Tensor:
        """Points of the threat one step from ``z``, ``share`` of the radius long, in which direction a loss grows."""


class Moves(ABC):
    """Moves of points (B, ...) about inputs (B, ...). All may be inexact: examples are measured and executed again."""

    __slots__ = ()

    @abstractmethod
    def about(self, x: Tensor, radius: float | Tensor) -> Nearby:
        """Moves about inputs (B, ...) for many points: what does not depend on the point is worked out once."""

    def project(self, x: Tensor, z: Tensor, radius: float | Tensor) -> Tensor:
        """Points of the threat near ``z``, as float32."""
        return self.about(x, radius).project(z)

    def climb(self, x: Tensor, z: Tensor, gradient: Tensor, share: float, radius: float) -> Tensor:
        """Points of the threat one step from ``z``, ``share`` of the radius long, in which direction a loss grows."""
        return self.about(x, radius).climb(z, gradient, share)

    @abstractmethod
    def random(self, x: Tensor, radius: float, generators: Iterable[torch.Generator]) -> Tensor:
        """A random point of the threat about each input (B, ...), drawn from a generator of its own."""

    def edits(self, x: Tensor, z: Tensor, radius: float, generator: torch.Generator, count: int) -> Tensor:
        """Points (m, ...) of the threat about one input (1, ...), each one edit from z (1, ...); ``count`` at most."""
        raise NotImplementedError


def moves_of(threat: Threat) -> Moves:
    """The moves of a threat: fast ones for norm balls, and for other threats those that the threat itself defines.

    >>> from certify.core.threats.features import Features
    >>> moves = moves_of(Features((1,), input_box=(0.0, 1.0)))
    >>> moves.project(torch.zeros(1, 3), torch.tensor([[0.5, 2.0, 0.1]]), 1)
    tensor([[0., 1., 0.]])
    """
    return _BallMoves(threat) if isinstance(threat, ThreatModel) else _ThreatMoves(threat)


@dataclass(frozen=True, slots=True)
class _BallMoves(Moves):
    threat: ThreatModel
    known: dict[tuple[torch.Size, torch.device], tuple[Ends | None, Tensor | None]] = field(
        default_factory=dict, repr=False
    )

    def _of(self, x: Tensor) -> tuple[Ends | None, Tensor | None]:
        """The ends of the box, and the scale, for inputs of a shape."""
        kind = x.shape[1:], x.device
        if kind not in self.known:
            box, scale = self.threat.input_box, self.threat.scale_of(kind[0])
            ends = None if box is None else box.inside(x)
            self.known[kind] = ends, None if scale is None else torch.from_numpy(scale).to(x.device)
        return self.known[kind]

    def about(self, x: Tensor, radius: float | Tensor) -> Near:
        return Near(x, radius, self.threat.norm, *self._of(x))

    def random(self, x: Tensor, radius: float, generators: Iterable[torch.Generator]) -> Tensor:
        drawn = [random_point(x.shape[1:], self.threat.norm, generator) for generator in generators]
        step, (_, scale) = torch.stack(drawn).to(x.device), self._of(x)
        return self.project(x, x + radius * (step if scale is None else step * scale), radius)


@dataclass(frozen=True, slots=True)
class _ThreatMoves(Moves):
    threat: Threat

    def about(self, x: Tensor, radius: float | Tensor) -> NearThreat:
        return NearThreat(self.threat, x, radius)

    def random(self, x: Tensor, radius: float, generators: Iterable[torch.Generator]) -> Tensor:
        rows = zip(x.split(1), generators, strict=True)
        return torch.cat([NearThreat(self.threat, one, radius).random(generator) for one, generator in rows])

    def edits(self, x: Tensor, z: Tensor, radius: float, generator: torch.Generator, count: int) -> Tensor:
        return NearThreat(self.threat, x, radius).edits(z, generator, count)


class NearThreat:
    """Moves within any threat, as it defines them."""

    def __init__(self, threat: Threat, x: Tensor, radius: float | Tensor) -> None:
        self.threat, self.x, self.flat = threat.reaching(tuple(x.shape[1:])), x, x.double().flatten(1)
        radii = torch.as_tensor(radius, dtype=torch.float64, device=x.device).reshape(-1).expand(len(x))
        if (box := threat.input_box) is None:
            low, high = torch.full_like(self.flat, -math.inf), torch.full_like(self.flat, math.inf)
        else:
            low, high = (end.flatten().expand_as(self.flat) for end in box.around(x.double()))
        self.limits = radii, low, high
        self.ends = None if box is None else [end.flatten() for end in box.inside(x)]

    def _point(self, found: Tensor) -> Tensor:
        """Float32 points; coordinates that did not move equal x bit for bit, and rounding never leaves the box."""
        point = found.float() if self.ends is None else found.float().clamp(*self.ends)
        return torch.where(found == self.flat, self.x.flatten(1), point).reshape(self.x.shape)

    def project(self, z: Tensor) -> Tensor:
        """Points of the threat near ``z``."""
        return self._point(self.threat.project(self.flat, z.to(self.flat).flatten(1), *self.limits))

    def climb(self, z: Tensor, gradient: Tensor, share: float) -> Tensor:
        """Points one step from ``z``."""
        slope = gradient.to(self.flat).flatten(1).nan_to_num(0.0, 0.0, 0.0)
        radii, low, high = self.limits
        found = self.threat.climb(self.flat, z.to(self.flat).flatten(1), slope, share, radii, low, high)
        return self._point(found)

    def random(self, generator: torch.Generator) -> Tensor:
        """A random point about one input."""
        flat, radii, low, high = (one.cpu() for one in (self.flat, *self.limits))
        return self._point(self.threat.random(flat, radii, low, high, generator).to(self.x.device))

    def edits(self, z: Tensor, generator: torch.Generator, count: int) -> Tensor:
        """Points one edit from a point ``z`` (1, ...), at most ``count`` of them, for threats that know edits."""
        flat, radii, low, high = (one.cpu() for one in (self.flat, *self.limits))
        found = self.threat.edits(flat, z.to(flat).flatten(1), radii, low, high, generator, count)
        return found.float().to(self.x.device).reshape(-1, *self.x.shape[1:])

    def neighbours(self, z: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Points in which a share of the positions that changed in ``z`` gave way to others; for counted threats."""
        assert isinstance(self.threat, Budget)
        x, near, radii, low, high = (one.cpu() for one in (self.flat, z.to(self.flat).flatten(1), *self.limits))
        return self._point(self.threat.neighbour(x, near, radii, low, high, share, generator).to(self.x.device))
