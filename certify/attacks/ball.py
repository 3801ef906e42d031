"""Norm balls inside a box: projection, steepest directions, random points.

Everything is computed in float64, and points land inside the ball by a rounding error, so that conversion to float32
cannot push them out: no example that an attack found is lost to rounding.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from certify.core.input_box import BoxLike, check_box
from certify.core.norms import ORDER, Norm

__all__ = ["Ends", "Near", "project", "random_point", "steepest"]

Ends = tuple[Tensor, Tensor]
"""The least and the largest float32 number of each feature in a box, broadcasting against a batch (B, ...)."""

_HALF_ULP: Final = 2.0**-24
"""Rounding to float32 moves a number by at most this fraction of its size."""

_MAX_ROUNDING_SHARE: Final = 2.0**-10
"""A coordinate does not move if its rounding could use up more than this share of its scaled radius."""


def _flat_norm(rows: Tensor, norm: Norm) -> Tensor:
    """Norm (B, 1) of each row of (B, d)."""
    return torch.linalg.vector_norm(rows, ord=ORDER[norm], dim=1, keepdim=True)


def _onto_l1(delta: Tensor, radius: Tensor) -> Tensor:
    """Nearest points of l1 balls of ``radius`` (B, 1): a soft threshold, found by sorting (Duchi et al. 2008)."""
    size = delta.abs()
    ordered = size.sort(dim=1, descending=True).values
    excess = (ordered.cumsum(dim=1) - radius) / torch.arange(1, delta.shape[1] + 1, device=delta.device)
    kept = (ordered > excess).sum(dim=1, keepdim=True).clamp_min_(1)
    threshold = excess.gather(1, kept.sub_(1)).clamp_min_(0.0)
    return size.sub_(threshold).clamp_min_(0.0).mul_(delta.sign())


class Near:
    """Balls about inputs (B, ...), inside a box: what does not depend on the point that is moved is worked out once.

    Args:
        x: inputs (B, ...), in the box.
        radius: one number, or (B, 1).
        norm: over all features of an input.
        ends: of the box; None for no box.
        scale: (...), the shape of one input; differences are divided by it before the ball is taken.
    """

    def __init__(
        self,
        x: Tensor,
        radius: float | Tensor,
        norm: Norm,
        ends: Ends | None = None,
        scale: Tensor | None = None,
    ) -> None:
        self.x, self.radius, self.norm, self.ends, self.scale = x, radius, norm, ends, scale
        self._centre = x.double().flatten(1)
        self._size = self._centre.abs()
        self._weight = None if scale is None else scale.to(self._centre).flatten()
        # distance_up inflates by (d + 8) / 2**53; one part in 1e9 covers that up to millions of features.
        self._short = radius * (1.0 - 1e-9)
        # Comparing does not tell -0 from 0, but where nothing moved, x itself comes back bit for bit.
        self._has_minus_zero = bool((x.signbit() & (x == 0)).any())
        self._range = self._sides() if norm == "linf" and scale is None else None

    def _sides(self) -> tuple[Tensor, Tensor]:
        """In linf, all points of a ball inside the box lie between two."""
        inner, _ = self._inner(torch.full_like(self._centre, torch.inf))
        lower, upper = (end.float().reshape(self.x.shape) for end in (self._centre - inner, self._centre + inner))
        return self._boxed(lower), self._boxed(upper)

    def _inner(self, length: Tensor) -> tuple[Tensor, Tensor]:
        """Radii less what rounding of a move of at most ``length`` (B, d) may add; and what may move at all."""
        weight, movable = self._weight, length
        reach = self.radius if weight is None else self.radius * weight
        rounding = length.minimum(reach) if isinstance(reach, Tensor) else length.clamp_max(reach)
        rounding = rounding.add_(self._size).mul_(_HALF_ULP)
        if weight is not None:
            movable = rounding < weight * self.radius * _MAX_ROUNDING_SHARE
            rounding = torch.where(movable, rounding / weight, 0.0)
        return (self._short - (rounding if self.norm == "linf" else _flat_norm(rounding, self.norm))).clamp_(
            0.0
        ), movable

    def _boxed(self, inside: Tensor) -> Tensor:
        return inside if self.ends is None else inside.clamp(*self.ends)

    def project(self, z: Tensor) -> Tensor:
        """Points of ``z`` (B, ...) brought into the balls, and then into the box, as float32; see :func:`project`."""
        z = z.to(self.x.device)
        if self._range is not None:
            inside = z.float().clamp(*self._range)
        else:
            delta = z.double().flatten(1) - self._centre
            inner, movable = self._inner(delta.abs())
            if self._weight is not None:
                # From here on, differences are in multiples of the scale.
                delta = torch.where(movable, delta / self._weight, 0.0)
            if self.norm == "linf":
                delta = delta.clamp(-inner, inner)
            elif self.norm == "l2":
                delta = delta.mul_((inner / _flat_norm(delta, self.norm).clamp_min_(1e-300)).clamp_max_(1.0))
            else:
                delta = _onto_l1(delta, inner)
            delta = delta if self._weight is None else delta * self._weight
            inside = self._boxed(delta.add_(self._centre).float().reshape(self.x.shape))
        return torch.where(inside == self.x, self.x, inside) if self._has_minus_zero else inside

    def climb(self, z: Tensor, gradient: Tensor, share: float) -> Tensor:
        """Points one step from ``z``, ``share`` of the radius long, in which direction a loss grows fastest."""
        assert isinstance(self.radius, float)
        length = share * self.radius
        if self._range is not None:  # where the box ends, what comes back is where it was
            return self.project(torch.add(z.double(), _finite(gradient).sign_(), alpha=length))
        if self.ends is not None:
            # A coordinate at the edge of the box cannot go further; spend the step on the others.
            low, high = self.ends
            down, up = torch.where(z > low, -torch.inf, 0.0), torch.where(z < high, torch.inf, 0.0)
            gradient = gradient.clamp(down.to(gradient.dtype), up.to(gradient.dtype))
        return self.project(z.double().add(steepest(gradient, self.norm, self.scale).mul_(length)))


def project(
    x: Tensor,
    z: Tensor,
    radius: float | Tensor,
    norm: Norm,
    input_box: BoxLike,
    scale: Tensor | None = None,
) -> Tensor:
    """Points of ``z`` (B, ...) brought into balls about ``x`` (B, ...) and the box, as float32; one radius or (B, 1).

    Points are projected to the ball first and clipped to the box second. The result lies in both, because clipping to a
    box that holds ``x`` moves no coordinate away from ``x``; it is the nearest such point only in linf. A radius below
    float32 rounding gives ``x``.

    With a ``scale`` (...), the shape of one input, differences are divided by it before the ball is taken. Coordinates
    with scale 0, or with a scaled radius too small for a float32 step, stay bit for bit.

    >>> project(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), 1.0, "l2", (0.0, 0.7))
    tensor([[0.6000, 0.7000]])
    >>> project(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), 1.0, "l2", None, torch.tensor([2.0, 0.0]))
    tensor([[2.0000, 0.0000]])
    """
    box = check_box(input_box)
    return Near(x, radius, norm, None if box is None else box.inside(x), scale).project(z)


def steepest(gradient: Tensor, norm: Norm, scale: Tensor | None = None) -> Tensor:
    """Directions (B, ...) of unit norm along which a loss with ``gradient`` (B, ...) grows fastest.

    With a ``scale`` (...), directions have unit norm after division by it.

    A zero gradient gives a zero direction, and NaN counts as zero. In l1 the steepest direction is a single coordinate;
    like Tramer and Boneh (2019, section 4) we move the largest one percent of the coordinates together.

    >>> steepest(torch.tensor([[3.0, -4.0]]), "linf")
    tensor([[ 1., -1.]], dtype=torch.float64)
    """
    if scale is not None:
        weight = scale.to(gradient.device, torch.float64)
        return weight * steepest(weight * gradient.double(), norm)
    rows = _finite(gradient.double()).flatten(1)
    if norm == "linf":
        direction = rows.sign()
    elif norm == "l2":
        direction = rows / _flat_norm(rows, norm).clamp_min(1e-300)
    else:
        largest = rows.abs().topk(max(1, rows.shape[1] // 100), dim=1).indices
        direction = torch.zeros_like(rows).scatter(1, largest, rows.sign().gather(1, largest))
        direction = direction / _flat_norm(direction, norm).clamp_min(1.0)
    return direction.reshape(gradient.shape)


def _finite(gradient: Tensor) -> Tensor:
    return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)


def random_point(shape: torch.Size, norm: Norm, generator: torch.Generator) -> Tensor:
    """A point of ``shape``, uniform in the unit ball, float64.

    l1 and l2: exponential (normal) coordinates, normalized, times U^(1/d) (Barthe et al. 2005).
    """
    size = shape.numel()
    uniform = torch.rand(size, dtype=torch.float64, generator=generator)
    if norm == "linf":
        return (2.0 * uniform - 1.0).reshape(shape)
    normal = torch.randn(size, dtype=torch.float64, generator=generator)
    direction = normal if norm == "l2" else normal.sign() * -torch.log1p(-uniform)
    scale = torch.rand(1, dtype=torch.float64, generator=generator) ** (1.0 / size)
    return (scale * direction / _flat_norm(direction[None], norm)[0].clamp_min(1e-300)).reshape(shape)
