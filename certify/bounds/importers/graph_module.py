"""A graph as a torch module, so that networks from files can be attacked and smoothed like any other."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from certify.bounds.graph import Graph, Node
from certify.bounds.importers.builder import Builder
from certify.bounds.tensors import flat
from certify.errors import DataError

__all__ = ["GraphModule", "chained"]


class GraphModule(nn.Module):
    """Computes scores (B, K) of a batch by a graph; outputs of any shape are flattened.

    The operators' tensors are buffers. ``computes`` describes everything else in the graph as text, so that a digest of
    the module covers the whole computation.

    >>> from certify.bounds.importers.torch_import import import_module
    >>> module = GraphModule(import_module(nn.Linear(2, 3), torch.zeros(1, 2))).double()
    >>> module(torch.zeros(5, 2)).shape, module.graph.dtype
    (torch.Size([5, 3]), torch.float64)
    """

    kind: Tensor

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.computes = "\n".join([f"{graph.input} {graph.shape} {graph.dtype}", *map(_described, graph.nodes)])
        # Holds no memory, but changes its dtype with the module.
        self.register_buffer("kind", torch.empty(0, dtype=graph.dtype), persistent=False)
        self._buffer_names: dict[str, dict[str, str]] = {}
        bare = []
        for place, node in enumerate(graph.nodes):
            tensors = {field: tensor.detach() for field, tensor in node.operator.tensors.items()}
            names = {field: f"{place}_{node.name}_{field}".replace(".", "_") for field in tensors}
            for field, tensor in tensors.items():
                self.register_buffer(names[field], tensor)
            self._buffer_names[node.name] = names
            bare.append(_with(node, {field: tensor.to("meta") for field, tensor in tensors.items()}))
        self._bare = replace(graph, nodes=tuple(bare))

    @property
    def graph(self) -> Graph:
        """The graph, with this module's present tensors."""
        held = dict(self.named_buffers())
        nodes = (
            _with(node, {field: held[name] for field, name in self._buffer_names[node.name].items()})
            for node in self._bare.nodes
        )
        return replace(self._bare, nodes=tuple(nodes), dtype=self.kind.dtype)

    def check(self, x: Tensor) -> None:
        """Refuse samples of another shape, which some operators would accept.

        Raises:
            DataError: naming both shapes.
        """
        if tuple(x.shape[1:]) != self._bare.shape:
            raise DataError(
                f"the network takes inputs of shape {self._bare.shape}, got {tuple(x.shape[1:])}; reshape the data"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, K) of a batch (B, ...) of any floating-point type."""
        self.check(x)
        return flat(self.graph.forward(x.to(self.kind.dtype)), 1)


def chained(first: Graph, second: Graph, device: torch.device | str = "cpu") -> Graph:
    """One graph that feeds the output of the first to the second.

    >>> from certify.bounds.importers.torch_import import import_module
    >>> graph = import_module(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.zeros(1, 2))
    >>> [node.operator.kind for node in chained(graph, graph).nodes]
    ['linear', 'relu', 'linear', 'relu']
    """
    builder = Builder(second.dtype, device)
    last = builder.begin(first.input, first.shape)
    for graph in (first, second):
        values = {graph.input: last}
        for node in graph.nodes:
            inputs = tuple(values[name] for name in node.inputs)
            last = values[node.name] = builder.add(node.name, node.source, node.operator, inputs)
    return builder.graph(last)


def _with(node: Node, tensors: dict[str, Tensor]) -> Node:
    return replace(node, operator=replace(node.operator, **tensors)) if tensors else node  # type: ignore[type-var]


def _described(node: Node) -> str:
    """A node as text, without its tensors."""
    held = node.operator.tensors
    settings: dict[str, Any] = {
        field.name: getattr(node.operator, field.name)
        for field in fields(node.operator)  # type: ignore[arg-type]
        if field.name not in held
    }
    return f"{node.name} {node.shape} = {node.operator.kind}({', '.join(node.inputs)}) with {settings}"
