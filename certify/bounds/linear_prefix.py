"""The first affine layer over a constrained region: exact, by the dual norm or by a threat's own minimum of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from certify.bounds.ball import Ball
from certify.bounds.graph import Node
from certify.bounds.layers import Layers
from certify.bounds.region import Reach
from certify.bounds.rounding import gamma, smallest
from certify.bounds.rules.base import Affine
from certify.bounds.tensors import Interval

__all__ = ["over_constraint"]

ROWS, NUMBERS = 512, 2**22
"""The most rows of the layer's matrix that are held at a time, and the most numbers in them."""


def over_constraint(layers: Layers, name: str, constraint: Ball | Reach) -> Interval:
    """Bounds ``y(center) - below`` and ``y(center) + above`` of an affine function of the input, and its box.

    The distances are ``W_i center - min W_i x`` and the same for ``-W_i``.
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
    terms = _terms(chain) if layers.outward else None
    ends = constraint.spread(lambda samples: _rows(layers, chain, NUMBERS // samples), layers.region.box, terms)
    below, above = (end.reshape(-1, *chain[0].shape) for end in ends)
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
