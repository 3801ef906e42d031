"""The graph of a network, which every bound method reads, whatever the network was imported from."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from certify.bounds.rules.base import Affine, Operator, Shape
from certify.device import CPU
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

    Raises:
        ModelError: if a node reads a result that no earlier node computes, or there are no nodes.
    """

    input: str
    shape: Shape
    nodes: tuple[Node, ...]
    dtype: torch.dtype
    narrow: Graph | None = None

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

    def to(self, dtype: torch.dtype) -> Graph:
        """A copy with parameters of another dtype, detached from the module they came from."""
        nodes = tuple(replace(node, operator=node.operator.to(dtype)) for node in self.nodes)
        return Graph(self.input, self.shape, nodes, dtype)

    def mixed(self) -> Graph:
        """A copy in float64 whose bounds may hold coefficients in float32, if the network's numbers are of that type.

        On a processor only: libraries of accelerators may convolve by algorithms that round more than sums of products.
        """
        exact = self.dtype == torch.float32 and self.device.type == "cpu"
        for node in self.nodes:
            if isinstance(node.operator, Affine) and not node.operator.converts:
                wide = (one for one in node.operator.tensors.values() if one.dtype == torch.float64)
                exact = exact and all(bool((one.float() == one).all()) for one in wide)
        return replace(self.to(torch.float64), narrow=self.to(torch.float32) if exact else None)

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

    def moves(self, name: str) -> tuple[Node, ...]:
        """The chain of nodes before a result that only move entries of an earlier one, in order."""
        node = self.producers.get(name)
        if node is None or not isinstance(node.operator, Affine) or len(node.inputs) != 1:
            return ()
        if node.operator.forward_terms > 0 or node.operator.bias is not None:
            return ()
        return (*self.moves(node.inputs[0]), node)

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
