"""Parts of one region, made by splitting neurons, and lower bounds on them: for the search and for the claim.

A part is the set where ``s_j (z_j - t_j) >= 0`` for some entries z_j of intermediate results, which were split at t_j,
with s_j 1 or -1. On it, for any multipliers beta_j >= 0, a row ``c y + d`` is at least the minimum of

    ``c y + d - sum_j beta_j s_j (z_j - t_j)``

over any set that contains the part (beta-CROWN, Wang et al. 2021). The boxes of the split entries end at t_j; the
multipliers are coefficients with which the backward pass starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from certify.bounds.backward import backward, minimum
from certify.bounds.graph import Node
from certify.bounds.layers import Layers
from certify.bounds.linear import Coefficients, LinearBounds, Samples, held
from certify.bounds.rounding import gamma, smallest
from certify.bounds.rules.base import Nonlinear
from certify.bounds.tensors import Interval, Relaxation, flat
from certify.complete.neurons.numbering import Neurons

__all__ = ["EVERY", "Met", "Parts", "layers_of", "lower_bounds", "rows_of"]

EVERY = slice(None)
"""Selects all parts of a batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Parts of one region, each with its planes and multipliers. Shorter paths are padded with splits of side 0.

    Args:
        clauses: (b,) the clause to refute on each part.
        weights: (b, rows) float32 numbers >= 0; a positive combination of the clause's rows refutes the clause.
        entries: (b, depth) the entries that were split.
        at: (b, depth) float64, the values they were split at.
        side: (b, depth) int8, 1 where the entry is at least ``at``, -1 where it is at most ``at``.
        beta: (b, depth) float32 multipliers.
        shares: (b, free) uint8, the choice of planes.
    """

    clauses: Tensor
    weights: Tensor
    entries: Tensor
    at: Tensor
    side: Tensor
    beta: Tensor
    shares: Tensor

    @classmethod
    def whole(cls, clauses: Tensor, weights: Tensor, shares: Tensor) -> Self:
        """The whole region, once for each clause."""
        path = torch.zeros(len(clauses), 0)
        return cls(clauses, weights, path.long(), path.double(), path.to(torch.int8), path, shares)

    def __len__(self) -> int:
        return len(self.clauses)

    @property
    def depth(self) -> Tensor:
        """The number of splits of each part, (b,)."""
        return (self.side != 0).sum(1)

    def of(self, chosen: Tensor | slice) -> Self:
        """Some of them."""
        return replace(self, **{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def put(self, where: Tensor, others: Parts) -> Self:
        """The parts at a mask (b,) replaced by others of the same depth."""
        columns = {f.name: getattr(self, f.name).index_put((where,), getattr(others, f.name)) for f in fields(self)}
        return replace(self, **columns)

    def chunks(self, most: int) -> Iterator[Self]:
        """All parts, at most ``most`` at a time."""
        for begin in range(0, len(self), most):
            yield self.of(slice(begin, begin + most))

    def deep(self, depth: int) -> Self:
        """The same parts with paths padded or cut to a depth."""
        paths = {}
        for name in ("entries", "at", "side", "beta"):
            path: Tensor = getattr(self, name)[:, :depth]
            paths[name] = torch.cat([path, path.new_zeros(len(path), depth - path.shape[1])], 1)
        return replace(self, **paths)

    @classmethod
    def join(cls, groups: Sequence[Parts]) -> Parts:
        """The parts of all groups in one."""
        depth = max(group.entries.shape[1] for group in groups)
        groups = [group.deep(depth) for group in groups]
        return cls(*(torch.cat([getattr(group, f.name) for group in groups]) for f in fields(cls)))

    def split(self, entries: Tensor, at: Tensor) -> Parts:
        """The two children of each part, split at one entry (b,): first all lower sides, then all upper sides."""
        end = self.depth.unsqueeze(1)
        longer = self.deep(int(end.max()) + 1)
        cut = replace(
            longer,
            entries=longer.entries.scatter(1, end, entries.unsqueeze(1)),
            at=longer.at.scatter(1, end, at.double().unsqueeze(1)),
        )
        lower, upper = (replace(cut, side=cut.side.scatter(1, end, sign)) for sign in (-1, 1))
        return self.join([lower, upper])


def layers_of(neurons: Neurons, parts: Parts) -> Layers:
    """Boxes of all results on each part. Voids and rounding errors are those of the region, which contains it."""
    lower, upper = neurons.ends
    at = parts.at.to(lower.dtype)
    at = torch.minimum(
        torch.maximum(at, lower[parts.entries]), upper[parts.entries]
    )  # beyond the box, the part is empty
    rows = len(parts), -1
    low = lower.expand(rows).scatter_reduce(1, parts.entries, torch.where(parts.side > 0, at, -torch.inf), "amax")
    high = upper.expand(rows).scatter_reduce(1, parts.entries, torch.where(parts.side < 0, at, torch.inf), "amin")
    high = torch.maximum(low, high)
    shapes = neurons.graph.shapes
    boxes = {
        name: Interval(*(end[:, span].unflatten(1, shapes[name]) for end in (low, high)))
        for name, span in neurons.results.items()
    }
    return neurons.layers.within(boxes)


def rows_of(neurons: Neurons, parts: Parts) -> LinearBounds:
    """The row of each part, (b, 1), less its multipliers times its splits; with the rounding errors of these sums."""
    graph, goals, layers = neurons.graph, neurons.goals, neurons.layers
    dtype = graph.dtype
    weights, beta = (_not_negative(values.to(dtype)) for values in (parts.weights, parts.beta))
    beta, at = beta * (parts.side != 0), parts.at.to(dtype)

    def mixed(rows: Tensor) -> Tensor:
        return torch.einsum("br,br...->b...", weights, rows[0][parts.clauses]).unsqueeze(1)

    b = mixed(goals.d) + (beta * parts.side * at).sum(1, keepdim=True)
    A: dict[str, Tensor] = {graph.output.name: mixed(goals.C).unflatten(2, graph.output.shape)}
    if goals.D is not None:
        A[graph.input] = mixed(goals.D).unflatten(2, graph.shape)
    multipliers = torch.zeros(len(parts), neurons.count, dtype=dtype)
    multipliers.scatter_add_(1, parts.entries, -beta * parts.side)
    for name, span in neurons.results.items():
        if bool(((parts.entries >= span.start) & (parts.entries < span.stop)).any()):
            part = multipliers[:, span].reshape(len(parts), 1, *graph.shapes[name])
            A[name] = A[name] + part if name in A else part
    if not layers.outward:
        return LinearBounds(A, b, torch.zeros_like(b))
    reach = torch.maximum(*(end.abs() for end in neurons.ends))[parts.entries]
    size = mixed(goals.d.abs()) + (beta * (at.abs() + reach)).sum(1, keepdim=True)
    for name, rows in ((graph.output.name, goals.C), (graph.input, goals.D)):
        if rows is not None:
            size = size + mixed(rows.abs()).squeeze(1) @ flat(layers.boxes[name].magnitude(), 1).T
    terms = 2 * parts.entries.shape[1] + weights.shape[1] + 8
    return LinearBounds(A, b, gamma(terms, dtype) * size + terms * smallest(dtype))


def _not_negative(values: Tensor) -> Tensor:
    return values.nan_to_num(0.0, 0.0, 0.0).clamp(min=0)


class Met:
    """Provides each part's planes to a backward pass, and records the coefficients and planes met on the way.

    Args:
        neurons: how shares are numbered.
        layers: the boxes of the parts.
        shares: (b, all shares) in [0, 1]. If they require a gradient, so do the recorded planes.
    """

    def __init__(self, neurons: Neurons, layers: Layers, shares: Tensor) -> None:
        self.nodes: dict[str, tuple[Tensor, Relaxation]] = {}
        self._shares, self._spans = shares, neurons.planes
        inputs = dict.fromkeys(name for node in neurons.curved for name in node.inputs)
        self._boxes = {name: _one_row(layers.boxes[name]) for name in inputs}

    def __call__(
        self, layers: Layers, node: Node, A: Coefficients, samples: Samples
    ) -> tuple[Relaxation, Tensor | None]:
        """The planes at one node, as :data:`certify.bounds.backward.Planes` asks for them."""
        operator, boxes = node.operator, [self._boxes[name] for name in node.inputs]
        assert isinstance(operator, Nonlinear)
        with torch.set_grad_enabled(self._shares.requires_grad):
            shares = None
            if operator.shares:
                mine = self._shares[:, self._spans[node.name]]
                shares = mine.reshape(-1, 1, operator.shares, *node.shape).movedim(2, 0)
            planes = operator.relax(*boxes, shares=shares)
        self.nodes[node.name] = held(A), planes
        if not layers.outward:
            return planes, None
        error = layers.error_of_planes(node, planes, [box.magnitude() for box in boxes])
        if (off := layers.executed(node)) is not None:
            error = error + off.unsqueeze(1)
        return planes, error


def _one_row(box: Interval) -> Interval:
    return Interval(box.lower.unsqueeze(1), box.upper.unsqueeze(1))


@torch.no_grad()
def lower_bounds(neurons: Neurons, parts: Parts) -> Tensor:
    """Lower bounds (b,) of the rows on the parts from their planes and multipliers; never NaN.

    If the layers of ``neurons`` have a claim, the bounds hold whatever the numbers in ``parts`` are.
    """
    layers = layers_of(neurons, parts)
    met = Met(neurons, layers, neurons.shares(parts.shares))
    return minimum(layers, backward(layers, rows_of(neurons, parts), EVERY, met), EVERY).lower.squeeze(1)
