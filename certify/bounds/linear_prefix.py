"""The first affine layer over a constrained region: exact, by the dual norm or by a threat's own minimum of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from certify.bounds.graph import Node
from certify.bounds.layers import Layers
from certify.bounds.region import Ball, Reach
from certify.bounds.rounding import gamma, smallest
from certify.bounds.rules.base import Affine
from certify.bounds.tensors import Interval
from certify.core.norms import DUAL, ORDER

__all__ = ["over_constraint"]

ROWS, NUMBERS = 512, 2**22
"""The most rows of the layer's matrix that are held at a time, and the most numbers in them."""


def over_constraint(layers: Layers, name: str, constraint: Ball | Reach) -> Interval:
    """Bounds ``y(center) - below`` and ``y(center) + above`` of an affine function of the input, and its box.

    Over a ball, both distances are ``radius ||W_i||_dual``; the norms are computed once, as the matrix is the same for
    every sample. Over what a threat reaches they are ``W_i center - min W_i x`` and the same for ``-W_i``.
    """
    graph = layers.graph
    chain: list[Node] = []
    while name != graph.input:
        chain.append(graph.producers[name])
        name = chain[-1].inputs[0]
    center = Interval(constraint.center, constraint.center)
    off = torch.zeros_like(center.lower)  # how far executions may end from the exact results
    for node in reversed(chain):
        center = node.operator.interval(center, outward=layers.outward)
        assert isinstance(node.operator, Affine)
        off = node.operator.absolute(off) * (1 + 1e-6)
        if (more := layers.executed(node)) is not None:
            off = off + more
    if isinstance(constraint, Ball):
        below = above = constraint.radius.reshape(-1, *(1,) * len(chain[0].shape)) * _norms(layers, chain, constraint)
    else:
        below, above = _reaches(layers, chain, constraint)
    box = layers.boxes[chain[0].name]
    if not layers.outward:
        lower = torch.maximum(box.lower, center.lower - below)
        return Interval(lower, torch.maximum(lower, torch.minimum(box.upper, center.upper + above)))
    # The padding pays for the rounding of the two sums here, and the smallest number for underflow.
    lower, upper = center.lower - below, center.upper + above
    pad = 4 * gamma(1, lower.dtype)
    least = smallest(lower.dtype)
    spare = least + off * (1 + 1e-6)
    known = Interval.known(lower - (pad * lower.abs() + spare), upper + (pad * upper.abs() + spare))
    return Interval(torch.maximum(box.lower, known.lower), torch.minimum(box.upper, known.upper))


def _rows(layers: Layers, chain: list[Node], most: int) -> Iterator[Tensor]:
    """The rows of a chain's matrix, some (count, *input shape) at a time."""
    shapes, shape = layers.graph.shapes, chain[0].shape
    size = math.prod(shape)
    widest = max(size, *(math.prod(shapes[node.inputs[0]]) for node in chain))
    at_once = max(1, min(ROWS, most // widest))
    for first in range(0, size, at_once):
        layers.deadline.check()
        count = min(at_once, size - first)
        rows = layers.region.box.lower.new_zeros(count, size)
        rows[:, first : first + count].fill_diagonal_(1.0)
        A = rows.reshape(count, *shape)
        for node in chain:
            assert isinstance(node.operator, Affine)
            [A] = node.operator.adjoint(A, (shapes[node.inputs[0]],))
        yield A


def _terms(chain: list[Node]) -> int:
    """Roundings in an entry of a chain's matrix, whose terms never cancel: all but one node only move or scale."""
    return sum(node.operator.adjoint_terms for node in chain if isinstance(node.operator, Affine))


def _reaches(layers: Layers, chain: list[Node], constraint: Reach) -> tuple[Tensor, Tensor]:
    """How far each row (B, ...) falls below and rises above its value at the centre, rounded up."""
    terms = _terms(chain) if layers.outward else None
    box, center, found = layers.region.box, constraint.center.flatten(1), []
    for A in _rows(layers, chain, NUMBERS // len(center)):
        rows = A.flatten(1)
        at = center @ rows.T
        ends = []
        for sign in (1.0, -1.0):
            least, error = constraint.least(sign * A.unsqueeze(0), box, terms)
            # Twice the error pays for the sum at the centre, too. An infinite minimum (empty set) claims nothing.
            ends.append((sign * at - least + 2 * error).nan_to_num(nan=torch.inf).where(least.isfinite(), torch.inf))
        found.append(torch.stack(ends))
    below, above = torch.cat(found, dim=2).reshape(2, len(center), *chain[0].shape)
    return below, above


def _norms(layers: Layers, chain: list[Node], ball: Ball) -> Tensor:
    """The dual norm of each row of the chain's matrix times the ball's scale, rounded up."""
    norms = []
    for A in _rows(layers, chain, NUMBERS):
        A = A if ball.scale is None else A * ball.scale
        norms.append(torch.linalg.vector_norm(A.flatten(1), ord=ORDER[DUAL[ball.norm]], dim=1))
    entries, dtype = math.prod(layers.graph.shape), norms[0].dtype
    result = torch.cat(norms).reshape(1, *chain[0].shape)
    if not layers.outward:
        return result
    return result * (1 + gamma(_terms(chain) + entries + 16, dtype)) + (entries * smallest(dtype)) ** 0.5
