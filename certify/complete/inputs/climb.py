"""Better planes for rows over boxes, where the network is a chain: alpha-CROWN's steps with derivatives in closed form.

A bound is ``min_x A x + b`` where A and b follow from the planes. Its derivative by a plane is the coefficient of that
neuron times the derivative of the plane's value at the minimiser, to which a pass forward through the chosen planes
leads (as in :mod:`certify.complete.neurons.optimize`). Planes of all nodes with the same operator are made at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor
from torch.nn import functional as F

from certify.bounds.adam import Adam
from certify.bounds.alpha_crown import DECAY, MIXING_RATE, RATE
from certify.bounds.backward import minimum
from certify.bounds.graph import Node
from certify.bounds.hints import LEVELS
from certify.bounds.layers import Layers
from certify.bounds.linear import LinearBounds, Samples
from certify.bounds.rules.base import Nonlinear
from certify.bounds.tensors import Interval, Relaxation, flat
from certify.complete.inputs.chain import Chain, Lines
from certify.complete.inputs.rows import free_nodes, mixed_rows
from certify.complete.problem import Goals

__all__ = ["climbed"]


@torch.no_grad()
def climbed(
    chain: Chain, layers: Layers, goals: Goals, samples: Tensor, weights: Tensor, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best lower bounds (b, clauses) found for one combination of the rows of each clause, with its planes.

    Args:
        chain, layers, samples: the network, boxes of its results, and over which of them the rows are bounded.
        goals: of these samples.
        weights: (b, clauses, rows) in [0, 1], the combination to start from.
        steps: how many steps are taken.

    Returns:
        The bounds; the weights; and the shares (b, clauses, shares of all neurons), in the order of ``free_nodes``.
    """
    kinds, several = _kinds(layers, samples, weights.shape[1]), weights.shape[2] > 1
    best, kept, of_weights = torch.full(weights.shape[:2], -torch.inf), weights, Adam()
    for step in range(steps + 1):
        total = weights.sum(dim=2, keepdim=True).clamp(min=1 / LEVELS)
        met = _Met(kinds)
        bounds = chain.backward(layers, mixed_rows(goals, weights / total, layers, samples), samples, met)
        lower, x = _minimised(layers, bounds, samples)
        better = lower > best
        best = torch.where(better, lower, best)
        kept = torch.where(better.unsqueeze(2), weights, kept)
        for kind in kinds:
            kind.keep(better)
        if step == steps:
            break
        y = met.forward(chain, x)
        pace = RATE * DECAY**step
        for kind in kinds:
            kind.climb(met, pace)
        if several:
            values = torch.einsum("bkro,bko->bkr", goals.C, y) + goals.d
            if goals.D is not None:
                values = values + torch.einsum("bkri,bki->bkr", goals.D, x)
            mean = (weights * values).sum(dim=2, keepdim=True) / total
            slope = (values - torch.where(total > 1 / LEVELS, mean, 0.0)) / total
            weights = _moved(weights, of_weights(slope), pace * MIXING_RATE)
    found = {name: shares for kind in kinds for name, shares in kind.found().items()}
    return best, kept, torch.cat([kept[:, :, :0], *(found[node.name] for node in free_nodes(layers.graph))], dim=2)


def _moved(values: Tensor, moments: tuple[Tensor, Tensor, float], pace: float) -> Tensor:
    mean, size, correction = moments
    return torch.addcdiv(values, mean, size, value=pace * correction).clamp_(0, 1)


def _minimised(layers: Layers, bounds: LinearBounds, samples: Samples) -> tuple[Tensor, Tensor]:
    """The least values (b, r) of rows of the input, and where they are attained, (b, r, inputs)."""
    A = bounds.A[layers.graph.input]
    assert isinstance(A, Tensor)
    with torch.enable_grad():
        A = A.requires_grad_()
        lower = minimum(layers, LinearBounds({layers.graph.input: A}, bounds.b, bounds.slack), samples).lower
        [x] = torch.autograd.grad(lower.sum(), A)
    return lower.detach(), flat(x, 2)


def _kinds(layers: Layers, samples: Samples, rows: int) -> list[_Kind]:
    alike: dict[tuple[object, ...], list[Node]] = {}
    for node in layers.graph.nodes:
        if isinstance(operator := node.operator, Nonlinear):
            key = type(operator), *(getattr(operator, field.name) for field in fields(operator))  # type: ignore[arg-type]
            alike.setdefault(key, []).append(node)
    return [_Kind(layers, nodes, samples, rows) for nodes in alike.values()]


class _Kind:
    """All nodes with the same operator: their boxes (b, 1, n), side by side, and their shares (k, b, rows, n)."""

    def __init__(self, layers: Layers, nodes: list[Node], samples: Samples, rows: int) -> None:
        self.nodes, self.sizes = nodes, [math.prod(node.shape) for node in nodes]
        assert isinstance(nodes[0].operator, Nonlinear)
        self.operator, self.adam = nodes[0].operator, Adam()
        self.box = self._side_by_side(lambda name: layers.boxes[name], samples)
        self.shares = self.kept = torch.zeros(0)
        if self.operator.shares > 0:
            leans = self._side_by_side(lambda name: layers.leans.get(name, layers.boxes[name]), samples)
            self.shares = self.kept = self.operator.start(leans).expand(-1, -1, rows, -1).contiguous()

    def _side_by_side(self, box: Callable[[str], Interval], samples: Samples) -> Interval:
        boxes = [box(node.inputs[0]) for node in self.nodes]
        return Interval(
            torch.cat([flat(one.lower, 1)[samples] for one in boxes], dim=1).unsqueeze(1),
            torch.cat([flat(one.upper, 1)[samples] for one in boxes], dim=1).unsqueeze(1),
        )

    def planes(self) -> Relaxation:
        """The planes (b, 1 or rows, n) that the shares choose, differentiable in them."""
        if self.operator.shares == 0:
            return self.operator.relax(self.box)
        with torch.enable_grad():
            return self.operator.relax(self.box, shares=self.shares.requires_grad_())

    def keep(self, better: Tensor) -> None:
        """Keep the shares of the rows (b, rows) that have a better bound than before."""
        if self.operator.shares > 0:
            self.kept = torch.where(better.unsqueeze(2), self.shares.detach(), self.kept)

    def climb(self, met: _Met, pace: float) -> None:
        """Take a step along the slope of the bounds."""
        if self.operator.shares == 0:
            return
        A, z = (torch.cat([values[node.name] for node in self.nodes], dim=2) for values in (met.A, met.z))
        positive, planes, worth = A.clamp(min=0), met.planes[id(self)], torch.zeros(())
        with torch.enable_grad():
            for weights, ([slope], offset) in zip((positive, A - positive), planes.sides, strict=True):
                if slope.requires_grad:
                    worth = worth + ((weights * z) * slope).sum()
                if offset is not None and offset.requires_grad:
                    worth = worth + (weights * offset).sum()
        if worth.requires_grad:
            [slope] = torch.autograd.grad(worth, self.shares)
            self.shares = _moved(self.shares.detach(), self.adam(slope), pace)

    def found(self) -> dict[str, Tensor]:
        """The shares kept for each node, (b, rows, shares of its neurons)."""
        if self.operator.shares == 0:
            return {}
        parts = self.kept.detach().movedim(0, 2).split(self.sizes, dim=3)
        return {node.name: part.flatten(2) for node, part in zip(self.nodes, parts, strict=True)}


class _Met:
    """The planes of a pass, the coefficients A (b, rows, n) that met them, and what they read on the way forward, z."""

    def __init__(self, kinds: list[_Kind]) -> None:
        self.planes = {id(kind): kind.planes() for kind in kinds}
        self.A: dict[str, Tensor] = {}
        self.z: dict[str, Tensor] = {}
        self._lines: dict[str, Lines] = {}
        for kind in kinds:
            parts = []
            for [slope], offset in self.planes[id(kind)].sides:
                parts.append(slope.detach().split(kind.sizes, dim=2))
                none = (None,) * len(kind.nodes)
                parts.append(none if offset is None else offset.detach().split(kind.sizes, dim=2))
            self._lines |= zip((node.name for node in kind.nodes), zip(*parts, strict=True), strict=True)

    def __call__(self, layers: Layers, node: Node, A: Tensor, samples: Samples) -> Lines:
        """As a pass backward asks for them."""
        self.A[node.name] = A
        return self._lines[node.name]

    def forward(self, chain: Chain, x: Tensor) -> Tensor:
        """The outputs (b, rows, outputs) of the chosen planes at inputs (b, rows, inputs)."""
        for name, A in reversed(self.A.items()):
            part, (low, below, high, above) = chain.part(chain.graph.producers[name].inputs[0]), self._lines[name]
            z = self.z[name] = F.linear(x, part.W, part.offset)
            x = torch.where(A > 0, _line(low, below, z), _line(high, above, z))
        last = chain.part(chain.graph.output.name)
        return F.linear(x, last.W, last.offset)


def _line(slope: Tensor, offset: Tensor | None, z: Tensor) -> Tensor:
    return slope * z if offset is None else slope * z + offset
