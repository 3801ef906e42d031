"""The affine part of a network between nonlinear results as one linear map, with its transpose and absolute value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounds.graph import Graph, Node
from certify.bounds.rounding import gamma
from certify.bounds.rules.base import Affine, Shape
from certify.bounds.tensors import flat

__all__ = ["AffinePart"]

LARGEST_SIDE = 4096
"""A matrix is written out if it has at most this many rows, or columns if those are fewer..."""

LARGEST_MATRIX = 2**24
"""...and at most this many entries, which are 128 MB in float64."""


@dataclass(frozen=True, slots=True, eq=False)
class AffinePart:
    """Results as affine functions of earlier ones: ``(outputs) = W (sources) + b``. Only W matters here.

    Args:
        graph: the network.
        outputs: names of the results; a name may appear twice.
        sources: names of the results that they are functions of.
        nodes: the affine nodes from the sources to the outputs, in order.
    """

    graph: Graph
    outputs: tuple[str, ...]
    sources: tuple[str, ...]
    nodes: tuple[Node, ...]

    @classmethod
    def reaching(cls, graph: Graph, outputs: tuple[str, ...]) -> AffinePart:
        """Back to the last nonlinear results before ``outputs``, or the input."""
        wanted, sources, nodes = set(outputs), [], []
        for node in reversed(graph.nodes):
            if node.name not in wanted:
                continue
            if isinstance(node.operator, Affine):
                nodes.append(node)
                wanted.update(node.inputs)
            else:
                sources.append(node.name)
        if graph.input in wanted:
            sources.append(graph.input)
        return cls(graph, outputs, tuple(reversed(sources)), tuple(reversed(nodes)))

    @classmethod
    def single(cls, graph: Graph, *chain: Node) -> AffinePart:
        """One node, or a chain of nodes each of which is the only reader of the one before."""
        return cls(graph, (chain[-1].name,), tuple(dict.fromkeys(chain[0].inputs)), chain)

    def chain(self, node: Node) -> AffinePart:
        """A node with the chain before it, back until a second node would be more than a scale or a move."""
        earlier, chain = {node.name: node for node in self.nodes}, [node]
        while len(chain[0].inputs) == 1 and self.graph.readers[chain[0].inputs[0]] == 1:
            before = earlier.get(chain[0].inputs[0])
            if before is None or sum(not _separable(one) for one in (before, *chain)) > 1:
                break
            chain.insert(0, before)
        return AffinePart.single(self.graph, *chain)

    @property
    def moves(self) -> bool:
        """Whether every output entry depends on only one source entry."""
        return all(_separable(node) for node in self.nodes)

    def shapes(self, names: tuple[str, ...]) -> list[Shape]:
        """Per-sample shapes of results."""
        return [self.graph.shapes[name] for name in names]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of W."""
        rows, columns = (sum(map(math.prod, self.shapes(names))) for names in (self.outputs, self.sources))
        return rows, columns

    @property
    def written(self) -> bool:
        """Whether W is small enough to be written out and multiplied with itself."""
        rows, columns = self.size
        return min(rows, columns) <= LARGEST_SIDE and rows * columns <= LARGEST_MATRIX

    @property
    def rounding(self) -> float:
        """The relative error of a product with |W| or its transpose, whose terms all have one sign."""
        return gamma(self.terms, self.graph.dtype)

    @property
    def terms(self) -> int:
        """An upper bound of the roundings on any path through the part in either direction, with sums over branches."""
        terms = len(self.outputs) + 8
        for node in self.nodes:
            assert isinstance(node.operator, Affine)
            terms += node.operator.forward_terms + node.operator.adjoint_terms + len(node.inputs)
        return terms

    def transposed(self, A: Tensor) -> Tensor:
        """``A W`` for rows A (N, rows of W), each entry off by at most :attr:`rounding` times that of ``|A| |W|``."""
        pending: dict[str, Tensor] = {}
        shapes = self.shapes(self.outputs)
        _gather(pending, self.outputs, _parts(A, shapes))
        for node in reversed(self.nodes):
            rows = pending.pop(node.name, None)
            if rows is not None:
                assert isinstance(node.operator, Affine)
                _gather(pending, node.inputs, node.operator.adjoint(rows, tuple(self.shapes(node.inputs))))
        found = [flat(pending[name], 1) if name in pending else None for name in self.sources]
        sizes = map(math.prod, self.shapes(self.sources))
        return torch.cat([A.new_zeros(len(A), n) if f is None else f for f, n in zip(found, sizes, strict=True)], dim=1)

    def absolute(self, x: Tensor) -> Tensor:
        """At least ``|W| x`` up to rounding, for x (B, columns of W): absolute values are taken node by node."""
        values = dict(zip(self.sources, _parts(x, self.shapes(self.sources)), strict=True))
        for node in self.nodes:
            assert isinstance(node.operator, Affine)
            values[node.name] = node.operator.absolute(*(values[name] for name in node.inputs))
        return torch.cat([flat(values[name], 1) for name in self.outputs], dim=1)

    def absolute_transposed(self, A: Tensor) -> Tensor:
        """``A |W|`` for rows A, as the derivative of :meth:`absolute`, which is linear."""
        with torch.enable_grad():
            x = A.new_zeros(len(A), self.size[1]).requires_grad_()
            y = self.absolute(x)
        [rows] = torch.autograd.grad(y, x, A, materialize_grads=True)
        return rows


def _separable(node: Node) -> bool:
    operator = node.operator
    return isinstance(operator, Affine) and (operator.separable or operator.forward_terms == 0)


def _parts(rows: Tensor, shapes: list[Shape]) -> list[Tensor]:
    parts = rows.split([math.prod(shape) for shape in shapes], dim=1)
    return [part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]


def _gather(pending: dict[str, Tensor], names: tuple[str, ...], parts: list[Tensor] | tuple[Tensor, ...]) -> None:
    """Add rows to those that wait at the same results."""
    for name, part in zip(names, parts, strict=True):
        pending[name] = pending[name] + part if name in pending else part
