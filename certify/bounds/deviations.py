"""Layers of a claim as deviations from one point, so that their backward passes can be taken in float32.

What a pass loses to rounding is weighed by the sizes of the results that its coefficients multiply. In float32 that
would be felt: sizes are large, and errors half a billion times those of float64. Around a point ``p`` of the region
every result is ``p_k + d_k``, where ``p_k`` is what the network makes of ``p``. The coefficients of ``d`` are those of
the result, biases are gone, and errors are weighed by deviations, which are as small as the region. What is as long as
a result stays in float64; only coefficients, of which there are thousands of times as many, are float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from certify.bounds.ball import Ball
from certify.bounds.graph import Node
from certify.bounds.layers import Layers
from certify.bounds.region import Reach, Region
from certify.bounds.rounding import above, down, gamma, smallest, unit, up
from certify.bounds.rules.base import Affine, Move, Nonlinear
from certify.bounds.tensors import Interval, Relaxation, flat

__all__ = ["Deviations", "deviations"]

NARROW = torch.float32
"""The type of coefficients."""

PLANES = 10
"""Roundings of a coefficient on its way through planes, as multiples of the larger slope: seven, and some to spare."""


def deviations(layers: Layers) -> Deviations | None:
    """The deviations of layers of a claim from a point in each region; None where they are of no use.

    They are of none without a claim, where the network's numbers are not those of float32, and for a threat that only
    knows inputs themselves.
    """
    graph = layers.graph.narrow
    if not layers.outward or graph is None or isinstance(layers.region.constraint, Reach):
        return None
    if layers.deviations is None:
        point = layers.region.middle
        region = _moved(layers.region, point)
        layers.deviations = Deviations(
            graph, region, layers.claim, {}, voids=layers.voids, deadline=layers.deadline, exact=layers
        )
        layers.deviations.points[graph.input] = point
    return layers.deviations


@dataclass(slots=True, eq=False)
class Deviations(Layers):
    """What backward passes read of layers, for deviations from a point, in float32 and rounded outward.

    Args:
        exact: the layers in float64, whose boxes may still become smaller: what is read here then is no less true.
        residuals: how far the exact result of a node that computes sums may be, on the points before it, from its own.
        lost: what rounding cost the bounds of each entry (B, n) of results that were bounded over these layers.
    """

    exact: Layers = field(kw_only=True)
    residuals: dict[str, Tensor] = field(default_factory=dict)
    lost: dict[str, Tensor] = field(default_factory=dict)

    def follow(self, node: Node) -> None:
        """Find the point at a node, in float64, and its residual."""
        node = self.exact.graph.producers[node.name]
        before = [self.points[name] for name in node.inputs]
        if isinstance(node.operator, Nonlinear | Move):
            self.points[node.name] = node.operator.forward(*before)
            return
        ends = node.operator.interval(*(Interval.known(p, p) for p in before), outward=True)
        point = self.points[node.name] = ends.lower / 2 + ends.upper / 2
        self.residuals[node.name] = _farthest(ends, point)

    def losing(self) -> Deviations:
        """The same layers, whose only errors are what rounding moved boxes by: no less than what it costs later rows.

        That is an estimate, of the first order. On the networks tried it was 1.3 to 3,000 times the loss.
        """
        none, errors = self.exact.boxes[self.graph.input].lower.new_zeros(()).to(NARROW), {}
        for node in self.graph.nodes:
            cost: Tensor | None = None
            if isinstance(node.operator, Nonlinear):
                cost = none.expand(len(self.region.box.lower), *node.shape)
                planes = self.relaxation(node, node.operator)
                for name, *slopes in zip(node.inputs, planes.lower_slopes, planes.upper_slopes, strict=True):
                    cost = cost + self._moved_by(name) * (1 + torch.maximum(*(slope.abs() for slope in slopes)))
            errors[node.name] = cost, none.expand(len(self.region.box.lower))
        return replace(self, _errors=errors)

    def _moved_by(self, name: str) -> Tensor:
        """What rounding cost the bounds of a result, which may only move what was bounded."""
        moves = self.graph.moves(name)
        source = moves[0].inputs[0] if moves else name
        if source not in self.lost:
            return self.region.box.lower.new_zeros(())
        lost = self.lost[source].reshape(-1, *self.graph.shapes[source])
        for move in moves:
            lost = move.operator.forward(lost)
        return lost

    def ends(self, name: str, at: tuple[Tensor, Tensor], lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of entries of a result, in float64, from bounds of their deviations."""
        point = flat(self.point(name), 1)[at]
        lower, upper = down(point + lower), up(point + upper)
        return torch.where(lower.isnan(), -torch.inf, lower), torch.where(upper.isnan(), torch.inf, upper)

    def gap(self, node: Node) -> Tensor:
        """That of the planes in float64; :meth:`error` pays for the rounding of either plane."""
        if node.name not in self._gaps:
            self._gaps[node.name] = above(self.exact.gap(self.exact.graph.producers[node.name]), NARROW)
        return self._gaps[node.name]

    def bias(self, node: Node) -> None:
        """Deviations have none: it is in the points."""

    def relaxation(self, node: Node, operator: Nonlinear) -> Relaxation:
        """The planes of the node in float64, moved to the point and rounded; :meth:`error` pays for the rounding."""
        if node.name not in self._relaxations:
            sides = []
            for slopes, offset in self._planes(node).sides:
                moved, _ = self._offset(node, slopes, offset)
                sides.append((tuple(slope.to(NARROW) for slope in slopes), moved.to(NARROW)))
            self._relaxations[node.name] = Relaxation(*sides[0], *sides[1])
        return self._relaxations[node.name]

    def _planes(self, node: Node) -> Relaxation:
        operator = self.exact.graph.producers[node.name].operator
        assert isinstance(operator, Nonlinear)
        return self.exact.relaxation(node, operator)

    def _offset(self, node: Node, slopes: tuple[Tensor, ...], offset: Tensor | None) -> tuple[Tensor, Tensor]:
        """The offset of a plane over deviations, and a bound of its rounding, in float64."""
        result = self.point(node.name)
        moved, size = -result, result.abs()
        for slope, name in zip(slopes, node.inputs, strict=True):
            part = slope * self.points[name]
            moved, size = moved + part, size + part.abs()
        if offset is not None:
            moved, size = moved + offset, size + offset.abs()
        return moved, gamma(2 * len(slopes) + 4, size.dtype) * size

    def _error(self, node: Node) -> tuple[Tensor | None, Tensor]:
        node = self.exact.graph.producers[node.name]
        operator = node.operator
        # A coefficient is added to those of the other readers of its result, and an offset to those of all other nodes.
        branches = max(self.graph.readers[name] for name in node.inputs) - 1
        if isinstance(operator, Move) and operator.adjoint_terms == 0 and branches == 0:
            box = self.region.box.lower
            return None, box.new_zeros(len(box))
        self.point(node.name)
        moved = [
            _farthest(box, self.points[name]) for box, name in zip(self.exact.inputs(node), node.inputs, strict=True)
        ]
        reached = sum((flat(m, 1).sum(1) for m in moved), moved[0].new_zeros(len(moved[0])))
        least, count = smallest(NARROW), math.prod(node.shape)
        floor = above(4 * least * (count + self._extra) * (1 + reached), NARROW)
        # What numbers lose that leave the normal range of float32: coefficients may be large, and deviations too.
        spare = (least * (1 + reached)).reshape(-1, *(1,) * len(node.shape))
        error = spare if (off := self.exact.executed(node)) is None else spare + off
        if isinstance(operator, Nonlinear):
            planes = self._planes(node)
            # A slope is rounded, one is subtracted from the other, and each multiplied: seven roundings of the larger.
            g_product = gamma(PLANES + branches, NARROW)
            for low, high, size in zip(planes.lower_slopes, planes.upper_slopes, moved, strict=True):
                error = error + g_product * torch.maximum(low.abs(), high.abs()) * size
            for slopes, offset in planes.sides:
                size, lost = self._offset(node, slopes, offset)
                error = error + _gammas(size, self._extra + 2) * size.abs() + 2 * lost
        else:
            assert isinstance(operator, Affine)
            error = error + self.residuals.get(node.name, 0.0)
            if operator.adjoint_terms > 0 or branches > 0:
                terms = operator.adjoint_terms + branches + 2
                g = gamma(terms, NARROW) * (1 + gamma(operator.forward_terms + 8, NARROW))
                error = error + g * operator.absolute(*moved)
        error = error.expand(len(floor), *node.shape) * (1 + 2**10 * unit(error.dtype))  # of this computation
        return above(error, NARROW), floor


def _gammas(summands: Tensor, more: int) -> Tensor:
    """The relative error of a sum of each sample's products with ``summands`` (B, ...): zeros are added exactly."""
    nu = (flat(summands != 0, 1).sum(1) + more).double() * unit(NARROW)
    gammas = torch.where(nu < 1, nu / (1 - nu) * (1 + 2**4 * unit(nu.dtype)), torch.inf)
    return gammas.reshape(-1, *(1,) * (summands.dim() - 1))


def _farthest(box: Interval, point: Tensor) -> Tensor:
    """How far the points of a box are at most from a point; infinite where nothing is known."""
    away = torch.maximum(box.upper - point, point - box.lower)
    return torch.where(away.isnan(), torch.inf, up(away.clamp(min=0)))


def _moved(region: Region, point: Tensor) -> Region:
    """The region of what is added to a point, outward; a ball is one around the point."""
    ends = -_reach(up(point - region.box.lower)), _reach(up(region.box.upper - point))
    ball = region.constraint
    if ball is not None:
        assert isinstance(ball, Ball)
        scale = None if ball.scale is None else _reach(ball.scale)
        ball = Ball(torch.zeros_like(point, dtype=NARROW), _reach(ball.radius), ball.norm, scale)
    return Region(Interval.known(*ends), ball, region.cut)


def _reach(values: Tensor) -> Tensor:
    """Values rounded up, past the denormal numbers: some processors take these for 0."""
    least = smallest(NARROW)
    return above(torch.where((values > 0) & (values < least), least, values), NARROW)
