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

__all__ = ["project", "random_point", "steepest"]

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
    kept = (ordered > excess).sum(dim=1, keepdim=True).clamp_min(1)
    threshold = excess.gather(1, kept - 1).clamp_min(0.0)
    return delta.sign() * (size - threshold).clamp_min(0.0)


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
    centre = x.double().flatten(1)
    delta = z.to(x.device).double().flatten(1) - centre
    weight = centre.new_ones(1) if scale is None else scale.to(centre).flatten()
    rounding = _HALF_ULP * (centre.abs() + delta.abs().minimum(radius * weight))
    if scale is not None:
        # From here on, differences are in multiples of the scale.
        movable = rounding < weight * radius * _MAX_ROUNDING_SHARE
        delta, rounding = (torch.where(movable, part / weight, 0.0) for part in (delta, rounding))
    # distance_up inflates by (d + 8) / 2**53; one part in 1e9 covers that up to millions of features.
    inner = radius * (1.0 - 1e-9) - (rounding if norm == "linf" else _flat_norm(rounding, norm))
    inner = inner.clamp_min(0.0)
    if norm == "linf":
        delta = torch.clamp(delta, -inner, inner)
    elif norm == "l2":
        delta = delta * (inner / _flat_norm(delta, norm).clamp_min(1e-300)).clamp_max(1.0)
    else:
        delta = _onto_l1(delta, inner)
    delta = delta * weight
    # Where nothing moved, x itself comes back bit for bit.
    inside = torch.where(delta == 0, centre, centre + delta).float().reshape(x.shape)
    return inside if (box := check_box(input_box)) is None else inside.clamp(*box.inside(x))


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
    rows = torch.nan_to_num(gradient.double(), nan=0.0, posinf=0.0, neginf=0.0).flatten(1)
    if norm == "linf":
        direction = rows.sign()
    elif norm == "l2":
        direction = rows / _flat_norm(rows, norm).clamp_min(1e-300)
    else:
        largest = rows.abs().topk(max(1, rows.shape[1] // 100), dim=1).indices
        direction = torch.zeros_like(rows).scatter(1, largest, rows.sign().gather(1, largest))
        direction = direction / _flat_norm(direction, norm).clamp_min(1.0)
    return direction.reshape(gradient.shape)


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
