"""CROWN over a network that is a chain, for the search: the bounds of the general passes in a fraction of the calls.

Branching assesses a few boxes at a time on small networks. There a call takes longer than its arithmetic, and a general
pass makes dozens of them at each node. Between two nonlinear nodes of a chain lies one matrix, which is computed once
for the network. Nothing here is claimed: a claim uses the general passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from certify.bounds.backward import minimum, row_sums
from certify.bounds.crown import meet
from certify.bounds.graph import Graph, Node
from certify.bounds.ibp import CHUNK
from certify.bounds.layers import Layers
from certify.bounds.linear import LinearBounds, Samples, plus, whole
from certify.bounds.rules.base import Affine, Nonlinear
from certify.bounds.tensors import Interval, flat

__all__ = ["Chain", "Lines", "Part", "usual_lines"]

NUMBERS = 2**20
"""The most numbers that one matrix of a chain may have."""


Lines = tuple[Tensor, Tensor | None, Tensor, Tensor | None]
"""Slopes and offsets of the planes below a nonlinear node, then of those above, (b, 1 or rows, entries)."""

Choice = Callable[[Layers, Node, Tensor, Samples], Lines]
"""Chooses the planes at a node for rows with given coefficients (b, rows, entries)."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A result as an affine function ``W h + offset`` of the nonlinear result before it, or of the input.

    Args:
        W: (entries, entries before).
        offset: (entries,).
        node: the nonlinear node that computes h; None for the input.
    """

    W: Tensor
    offset: Tensor
    node: Node | None


@dataclass(frozen=True, eq=False)
class Chain:
    """A network in which every node reads only the one before it."""

    graph: Graph
    _parts: dict[str, Part] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph) -> Chain | None:
        """The chain that a graph is; None if it is none, or if its matrices have too many numbers."""
        before = graph.input
        for node in graph.nodes:
            if node.inputs != (before,) or not isinstance(operator := node.operator, Affine | Nonlinear):
                return None
            if isinstance(operator, Nonlinear) and operator.tensors:  # it may differ from entry to entry
                return None
            before = node.name
        return cls(graph) if graph.widest**2 <= NUMBERS else None

    def part(self, name: str) -> Part:
        """The affine part that ends with a result."""
        if name not in self._parts:
            self._parts[name] = self._part(name)
        return self._parts[name]

    def _part(self, name: str) -> Part:
        shapes, producers = self.graph.shapes, self.graph.producers
        size = math.prod(shapes[name])
        A = torch.eye(size, dtype=self.graph.dtype).reshape(size, *shapes[name])
        offset = A.new_zeros(size)
        while (node := producers.get(name)) is not None and isinstance(operator := node.operator, Affine):
            if (bias := operator.bias) is not None:
                offset = offset + flat(A, 1) @ bias.to(A.dtype).expand(1, *node.shape).flatten()
            [name] = node.inputs
            [A] = operator.adjoint(A, (shapes[name],))
        return Part(flat(A, 1), offset, node)

    def backward(self, layers: Layers, bounds: LinearBounds, samples: Samples, planes: Choice) -> LinearBounds:
        """As :func:`certify.bounds.backward.backward`, to the input, for layers without a claim."""
        A, part, offset = whole(bounds.A[self.graph.output.name]), self.part(self.graph.output.name), bounds.b
        A = flat(A, 2)
        found = self._back(layers, A @ part.W, offset + A @ part.offset, part.node, samples, planes)
        if (more := bounds.A.get(self.graph.input)) is None:
            return found
        return LinearBounds({self.graph.input: plus(found.A[self.graph.input], more)}, found.b, found.slack)

    def _back(
        self, layers: Layers, A: Tensor, offset: Tensor, node: Node | None, samples: Samples, planes: Choice
    ) -> LinearBounds:
        """Rows ``A h + offset``, (b, r, entries of h) and (b, r), of the result of a node in terms of the input."""
        layers.deadline.check()
        while node is not None:
            low, below, high, above = planes(layers, node, A, samples)
            positive = A.clamp(min=0)
            if above is not None:
                offset = offset + row_sums(A - positive, above)
            if below is not None:
                offset = offset + row_sums(positive, below)
            A = torch.addcmul(A * high, positive, low - high)
            part = self.part(node.inputs[0])
            A, offset, node = A @ part.W, offset + A @ part.offset, part.node
        slopes = A.reshape(*offset.shape, *self.graph.shape)
        return LinearBounds({self.graph.input: slopes}, offset, torch.zeros_like(offset))

    def tighten(self, layers: Layers, name: str, wanted: Tensor) -> Interval:
        """As :func:`certify.bounds.crown.tighten`, for layers without a claim."""
        box, part = layers.boxes[name], self.part(name)
        lower, upper = flat(box.lower, 1).clone(), flat(box.upper, 1).clone()
        for samples, entries in _groups(flat(wanted, 1), CHUNK // (4 * self.graph.widest)):
            A, offset = part.W[entries], part.offset[entries]
            both = torch.cat([A, -A], dim=1), torch.cat([offset, -offset], dim=1)
            found = minimum(layers, self._back(layers, *both, part.node, samples, usual_lines), samples).lower
            rows = torch.arange(len(wanted))[samples].unsqueeze(1)
            at, count = (rows, entries), entries.shape[1]
            lower[at], upper[at] = found[:, :count], -found[:, count:]
        alone = Interval(torch.minimum(lower, upper).reshape(box.shape), torch.maximum(lower, upper).reshape(box.shape))
        layers.leans[name] = alone
        return meet(layers, box, alone)


def usual_lines(layers: Layers, node: Node, A: Tensor, samples: Samples) -> Lines:
    """CROWN's planes, which are the same for all rows of a sample."""
    assert isinstance(node.operator, Nonlinear)
    ([low], below), ([high], above) = layers.relaxation(node, node.operator).sides

    def row(values: Tensor) -> Tensor:
        return flat(values, 1)[samples].unsqueeze(1)

    return row(low), None if below is None else row(below), row(high), None if above is None else row(above)


def _groups(wanted: Tensor, most: int) -> Iterator[tuple[Samples, Tensor]]:
    """Samples (b,) and entries (b, r) that cover a mask (B, n), with b * r at most ``most`` if r alone is less.

    Samples with similar counts share a group; those with fewer entries repeat their last one.
    """
    counts = wanted.sum(1)
    if 0 < (longest := int(counts.max())) <= most // len(wanted):
        yield slice(None), _padded(wanted, counts, longest)
        return
    counts, order = counts.sort(descending=True, stable=True)
    some, begin = int((counts > 0).sum()), 0
    while begin < some:
        longest = int(counts[begin])
        group = slice(begin, min(some, begin + max(1, most // longest)))
        yield order[group], _padded(wanted[order[group]], counts[group], longest)
        begin = group.stop


def _padded(wanted: Tensor, counts: Tensor, longest: int) -> Tensor:
    entries = wanted.sort(dim=1, descending=True, stable=True).indices
    return entries.gather(1, torch.minimum(torch.arange(longest), (counts.unsqueeze(1) - 1).clamp(min=0)))
