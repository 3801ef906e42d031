"""The builder to which importers add operators, one node after another."""

from __future__ import annotations

from functools import partial

import torch

from certify.bounds.graph import Graph, Node
from certify.bounds.rules.base import MixesSamples, NotCovered, Operator, Shape, Value

__all__ = ["Builder"]


class Builder:
    """Grows a graph from its input.

    Args:
        dtype: the network's floating-point type.
        device: where its parameters are.

    >>> from certify.bounds.rules.relu import ReLU
    >>> builder = Builder(torch.float32)
    >>> x = builder.begin("x", (3,))
    >>> builder.graph(builder.add("relu", "", ReLU(), (x,))).output.shape
    (3,)
    """

    def __init__(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> None:
        self.dtype, self.device = dtype, device
        self.input: Value | None = None
        self.nodes: list[Node] = []
        self._names: set[str] = set()

    def begin(self, name: str, shape: Shape, leading: int = 1) -> Value:
        """The input of the network, of a per-sample shape."""
        self.input = Value(name, shape, leading)
        self._names.add(name)
        return self.input

    def adder(self, name: str, source: str) -> partial[Value]:
        """A function that adds operators with a call's name and source line."""
        return partial(self.add, name, source)

    def add(self, name: str, source: str, operator: Operator, inputs: tuple[Value, ...]) -> Value:
        """Append an operator. Its output shape is found by running it on zeros.

        Raises:
            NotCovered: if the operator cannot be applied to results of these shapes.
        """
        # One sample a value: the batch axis is 1, and must be in the result.
        zeros = (torch.zeros(1, *value.shape, dtype=self.dtype, device=self.device) for value in inputs)
        try:
            with torch.no_grad():
                shape = tuple(operator.forward(*zeros).shape)
        except (RuntimeError, IndexError) as problem:
            shapes = " and ".join(str(value.shape) for value in inputs)
            raise NotCovered(f"{operator.kind} does not fit samples of shape {shapes}") from problem
        if shape[:1] != (1,):
            raise MixesSamples
        unique, count = name, 1
        while unique in self._names:
            unique, count = f"{name}.{count}", count + 1
        self._names.add(unique)
        self.nodes.append(Node(unique, operator, tuple(value.name for value in inputs), shape[1:], source))
        return Value(unique, shape[1:], inputs[0].leading if inputs else 1)

    def graph(self, output: Value) -> Graph:
        """The nodes that ``output`` depends on, in order."""
        assert self.input is not None
        wanted, kept = {output.name}, []
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted.update(node.inputs)
                kept.append(node)
        return Graph(self.input.name, self.input.shape, tuple(reversed(kept)), self.dtype)
