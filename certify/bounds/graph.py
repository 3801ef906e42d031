"""The graph of a network, which every bound method reads, whatever the network was imported from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from certify.bounds.rounding import gamma
from certify.bounds.rules.base import Affine, Nonlinear, Operator, Shape
from certify.device import CPU, sums_of_products
from certify.errors import ModelError

__all__ = ["Graph", "Node"]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator applied to earlier results.

    Args:
        name: unique in its graph.
        operator: what is computed, with its parameters.
        inputs: names of earlier nodes, or of the graph's input.
        shape: per-sample output shape, without the batch axis.
        source: file and line it came from, or empty.
    """

    name: str
    operator: Operator
    inputs: tuple[str, ...]
    shape: Shape
    source: str = ""


@dataclass(frozen=True, eq=False)
class Graph:
    """A network as nodes in topological order; the last one is the output.

    Args:
        input: name of the input.
        shape: per-sample shape of the input.
        nodes: the operators in an order in which every input is computed before it is read.
        dtype: floating-point type of the parameters.
        narrow: the graph in float32, for one in float64 that was made from it: coefficients of its bounds are float32
            where that loses little (:mod:`~certify.bounds.deviations`). None for those of the graph's dtype.
        thorough: whether both ends of every entry are bounded by backward passes of their own, as version 0.1 did. That
            takes several times as long and hardly changes bounds: records from then are derived again so. It stands
            here, and not with a method, so that whatever bounds a record takes finds it.

    Raises:
        ModelError: if a node reads a result that no earlier node computes, or there are no nodes.
    """

    input: str
    shape: Shape
    nodes: tuple[Node, ...]
    dtype: torch.dtype
    narrow: Graph | None = None
    thorough: bool = False

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ModelError("the network computes nothing: its output is its input")
        known = {self.input}
        for node in self.nodes:
            if missing := [name for name in node.inputs if name not in known]:
                raise ModelError(f"node {node.name} reads {missing[0]}, which no earlier node computes")
            known.add(node.name)

    @property
    def output(self) -> Node:
        """The last node."""
        return self.nodes[-1]

    def forward(self, x: Tensor) -> Tensor:
        """The network's output on a batch (B, ...)."""
        values = {self.input: x}
        for node in self.nodes:
            values[node.name] = node.operator.forward(*(values[name] for name in node.inputs))
        return values[self.output.name]

    def until(self, name: str) -> Graph:
        """The part of the network that ends with a node."""
        end = next(i for i, node in enumerate(self.nodes) if node.name == name)
        return replace(self, nodes=self.nodes[: end + 1], narrow=None)

    def to(self, dtype: torch.dtype) -> Graph:
        """A copy with parameters of another dtype, detached from the module they came from."""
        nodes = tuple(replace(node, operator=node.operator.to(dtype)) for node in self.nodes)
        return Graph(self.input, self.shape, nodes, dtype, thorough=self.thorough)

    def mixed(self) -> Graph:
        """A copy in float64 whose bounds may hold coefficients in float32.

        They may where the network and its numbers are of that type, and float32 rounds as its operators say it does.
        """
        wide = self.to(torch.float64)
        if self.dtype != torch.float32 or not sums_of_products(self.device):
            return wide
        narrow = self.to(torch.float32)
        fits = (self._rounds_as_stated(one, two) for one, two in zip(narrow.nodes, wide.nodes, strict=True))
        return replace(wide, narrow=narrow) if all(fits) else wide

    def _rounds_as_stated(self, narrow: Node, wide: Node) -> bool:
        """Whether the coefficients of a node in float32 are those in float64, up to the roundings that it states.

        Where each output has one coefficient, they are compared: some are computed, and may leave the normal numbers.
        """
        one, two = narrow.operator, wide.operator
        if not isinstance(one, Affine) or not isinstance(two, Affine):
            return True
        if not one.separable or len(wide.inputs) > 1:
            held = (tensor for tensor in self.producers[wide.name].operator.tensors.values())
            return all(bool((tensor.float() == tensor).all()) for tensor in held if tensor.dtype == torch.float64)
        shapes, ones = (self.shapes[wide.inputs[0]],), torch.ones(1, *wide.shape, device=self.device)
        [near], [exact] = one.adjoint(ones, shapes), two.adjoint(ones.double(), shapes)
        return bool(((near.double() - exact).abs() <= gamma(one.adjoint_terms, torch.float32) * exact.abs()).all())

    @property
    def ways(self) -> tuple[Graph, ...]:
        """This graph, and the same one with bounds as version 0.1 found them: for records that may be from then."""
        return (self,) if self.thorough else (self, replace(self, thorough=True))

    @property
    def wide(self) -> Graph:
        """The same graph, with all coefficients in its own dtype."""
        return replace(self, narrow=None)

    def same_as(self, other: Graph) -> bool:
        """Whether another graph has the same operators with the same constants, node by node."""
        if len(self.nodes) != len(other.nodes):
            return False
        pairs = list(zip(self.nodes, other.nodes, strict=True))
        named = {self.input: other.input, **{one.name: two.name for one, two in pairs}}
        return all(
            [named[name] for name in one.inputs] == list(two.inputs) and _same(one.operator, two.operator)
            for one, two in pairs
        )

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Per-sample shape of every result, the input included."""
        return {self.input: self.shape, **{node.name: node.shape for node in self.nodes}}

    @cached_property
    def device(self) -> torch.device:
        """Where its constants lie, and inputs have to; the processor for a graph without any."""
        numbers = (tensor for node in self.nodes for tensor in node.operator.tensors.values())
        return next((one.device for one in numbers if one.is_floating_point()), CPU)

    @cached_property
    def widest(self) -> int:
        """The size of the largest result."""
        return max(math.prod(shape) for shape in self.shapes.values())

    @cached_property
    def readers(self) -> Counter[str]:
        """How often each result is read."""
        return Counter(name for node in self.nodes for name in node.inputs)

    @cached_property
    def producers(self) -> dict[str, Node]:
        """The node that computes each result."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def nonlinear_readers(self) -> Mapping[str, Sequence[tuple[Node, Sequence[tuple[Node, ...]]]]]:
        """The nonlinear nodes that read a result, directly or through moves, each with those chains of moves."""
        readers: dict[str, list[tuple[Node, list[tuple[Node, ...]]]]] = {}
        for node in self.nodes:
            if isinstance(node.operator, Nonlinear):
                chains: dict[str, list[tuple[Node, ...]]] = {}
                for name in dict.fromkeys(node.inputs):
                    moves = self.moves(name)
                    chains.setdefault(moves[0].inputs[0] if moves else name, []).append(moves)
                for source, found in chains.items():
                    readers.setdefault(source, []).append((node, found))
        return readers

    def follows(self, name: str) -> bool:
        """Whether a result is a nonlinear function of one other, entry by entry.

        Its box then follows from the other's: a backward pass from here goes through planes of the function, whose
        extremes are never inside those of the function, and so cannot tell more than one from there.
        """
        node = self.producers.get(name)
        return node is not None and isinstance(node.operator, Nonlinear) and len(node.inputs) == 1 and not self.thorough

    def moves(self, name: str) -> tuple[Node, ...]:
        """The chain of nodes before a result that only move entries of an earlier one, in order."""
        chain: list[Node] = []
        while (node := self.producers.get(name)) is not None:
            if not isinstance(node.operator, Affine) or len(node.inputs) != 1:
                break
            if node.operator.forward_terms > 0 or node.operator.bias is not None:
                break
            chain.append(node)
            name = node.inputs[0]
        return tuple(reversed(chain))

    @cached_property
    def depth(self) -> dict[str, int]:
        """The image of an input box at each result: 0 if it is a box, 1 if an affine image of a box, 2 otherwise.

        Interval arithmetic is exact up to depth 1, so no other method can improve on it there.
        """
        depth = {self.input: 0}
        for node in self.nodes:
            operator = node.operator
            if not isinstance(operator, Affine) or len(node.inputs) > 1:
                depth[node.name] = 2
            else:
                depth[node.name] = min(2, depth[node.inputs[0]] + (not operator.separable))
        return depth


def _same(one: Operator, two: Operator) -> bool:
    """Whether two operators are of one kind and have equal parameters; tensors may hold NaN."""
    if type(one) is not type(two):
        return False
    for field in fields(one):  # type: ignore[arg-type]
        first, second = getattr(one, field.name), getattr(two, field.name)
        if isinstance(first, Tensor) and isinstance(second, Tensor):
            equal = first.shape == second.shape and bool(((first == second) | (first.isnan() & second.isnan())).all())
        else:
            equal = type(first) is type(second) and bool(first == second)
        if not equal:
            return False
    return True
