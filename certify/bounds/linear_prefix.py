"""The first affine layer over an l1 or l2 ball: exact by the dual norm, where interval arithmetic would use a box."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from certify.bounds.graph import Node
from certify.bounds.layers import Layers
from certify.bounds.region import ORDER, Ball
from certify.bounds.rounding import gamma, smallest
from certify.bounds.rules.base import Affine
from certify.bounds.tensors import Interval
from certify.core.norms import DUAL

__all__ = ["over_ball"]

ROWS, NUMBERS = 512, 2**22
"""Rows of the layer's matrix held at a time, and how many numbers they may have."""


def over_ball(layers: Layers, name: str, ball: Ball) -> Interval:
    """Bounds ``y(center) -+ radius ||W_i||_dual`` of an affine function of the input, cut with its box.

    The matrix is the same for every sample, so its norms are computed once a batch.
    """
    graph = layers.graph
    chain: list[Node] = []
    while name != graph.input:
        chain.append(graph.producers[name])
        name = chain[-1].inputs[0]
    center = Interval(ball.center, ball.center)
    off = torch.zeros_like(center.lower)  # how far executions may end from the exact results
    for node in reversed(chain):
        center = node.operator.interval(center, outward=layers.outward)
        assert isinstance(node.operator, Affine)
        off = node.operator.absolute(off) * (1 + 1e-6)
        if (more := layers.executed(node)) is not None:
            off = off + more
    reach = ball.radius.reshape(-1, *(1,) * len(chain[0].shape)) * _norms(layers, chain, ball)
    box = layers.boxes[chain[0].name]
    if not layers.outward:
        lower = torch.maximum(box.lower, center.lower - reach)
        return Interval(lower, torch.maximum(lower, torch.minimum(box.upper, center.upper + reach)))
    # The two sums here round once more; the factor of the norms has room for that, the smallest number for underflow.
    lower, upper = center.lower - reach, center.upper + reach
    pad = 4 * gamma(1, lower.dtype)
    least = smallest(lower.dtype)
    spare = least + off * (1 + 1e-6)
    known = Interval.known(lower - (pad * lower.abs() + spare), upper + (pad * upper.abs() + spare))
    return Interval(torch.maximum(box.lower, known.lower), torch.minimum(box.upper, known.upper))


def _norms(layers: Layers, chain: list[Node], ball: Ball) -> Tensor:
    """Dual norm of each row of the chain's matrix, each entry times the ball's scale, rounded up.

    A chain has one matrix product and otherwise moves and scales, so no entry of the matrix suffers cancellation.
    """
    shapes, shape = layers.graph.shapes, chain[0].shape
    like, size = layers.region.box.lower, math.prod(shape)
    widest = max(size, *(math.prod(shapes[node.inputs[0]]) for node in chain))
    at_once, norms = max(1, min(ROWS, NUMBERS // widest)), []
    for first in range(0, size, at_once):
        layers.deadline.check()
        count = min(at_once, size - first)
        rows = like.new_zeros(count, size)
        rows[:, first : first + count].fill_diagonal_(1.0)
        A = rows.reshape(count, *shape)
        for node in chain:
            assert isinstance(node.operator, Affine)
            [A] = node.operator.adjoint(A, (shapes[node.inputs[0]],))
        A = A if ball.scale is None else A * ball.scale
        norms.append(torch.linalg.vector_norm(A.flatten(1), ord=ORDER[DUAL[ball.norm]], dim=1))
    entries = math.prod(layers.graph.shape)
    terms = sum(node.operator.adjoint_terms for node in chain if isinstance(node.operator, Affine))
    result = torch.cat(norms).reshape(1, *shape)
    if not layers.outward:
        return result
    return result * (1 + gamma(terms + entries + 16, like.dtype)) + (entries * smallest(like.dtype)) ** 0.5
