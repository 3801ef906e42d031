"""Numbering of one region's neurons and of their planes, because proofs and batches hold flat tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from certify.bounds.graph import Graph, Node
from certify.bounds.hints import LEVELS
from certify.bounds.layers import Layers
from certify.bounds.rules.base import Nonlinear
from certify.bounds.tensors import Interval, flat
from certify.complete.problem import Goals

__all__ = ["Neurons"]


@dataclass(frozen=True, eq=False)
class Neurons:
    """The neurons of a network over one region.

    Args:
        layers: boxes over the whole region, a batch of one.
        goals: what is to be proven over it, a batch of one.
        free: (free,) indices of the shares that parts choose, among those of all planes; the others are 0.
    """

    layers: Layers
    goals: Goals
    free: Tensor

    @classmethod
    def of(cls, layers: Layers, goals: Goals) -> Neurons:
        """The planes of neurons that are not linear on the region are free."""
        masks = [torch.zeros(0, dtype=torch.bool)]
        for node, operator in _curved(layers.graph):
            masks.append(operator.bent(*layers.inputs(node)).flatten().repeat(operator.shares))
        return cls(layers, goals, torch.cat(masks).nonzero().squeeze(1))

    def quick(self, graph: Graph) -> Neurons:
        """The same without error terms, in the dtype of another copy of the network: for a search."""
        dtype = graph.dtype
        boxes, leans = (
            {name: box.to(dtype) for name, box in known.items()} for known in (self.layers.boxes, self.layers.leans)
        )
        layers = Layers(graph, self.layers.region.to(dtype), None, boxes, leans, deadline=self.layers.deadline)
        return Neurons(layers, self.goals.to(dtype), self.free)

    @property
    def graph(self) -> Graph:
        """The network."""
        return self.layers.graph

    @cached_property
    def curved(self) -> tuple[Node, ...]:
        """The nonlinear nodes."""
        return tuple(node for node, _ in _curved(self.graph))

    @cached_property
    def results(self) -> Mapping[str, slice]:
        """The results that can be split: those that nonlinear nodes of one input read; with spans among all entries."""
        names = dict.fromkeys(node.inputs[0] for node in self.curved if len(node.inputs) == 1)
        return _spans({name: math.prod(self.graph.shapes[name]) for name in names if name != self.graph.input})

    @cached_property
    def readers(self) -> tuple[tuple[Node, Nonlinear, slice], ...]:
        """The nodes that read these results, each with the span of what it reads."""
        return tuple(
            (node, operator, self.results[node.inputs[0]])
            for node, operator in _curved(self.graph)
            if len(node.inputs) == 1 and node.inputs[0] in self.results
        )

    @cached_property
    def planes(self) -> Mapping[str, slice]:
        """The span of each nonlinear node's shares among all shares."""
        return _spans({node.name: op.shares * math.prod(node.shape) for node, op in _curved(self.graph)})

    @property
    def count(self) -> int:
        """The number of entries that can be split."""
        return max((span.stop for span in self.results.values()), default=0)

    @property
    def choices(self) -> int:
        """The number of shares of all planes."""
        return max((span.stop for span in self.planes.values()), default=0)

    @cached_property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The boxes (count,) of all entries that can be split, over the whole region."""
        boxes = [self.layers.boxes[name] for name in self.results]
        boxes.append(Interval(*(torch.zeros(0, dtype=self.graph.dtype),) * 2))
        return torch.cat([box.lower.flatten() for box in boxes]), torch.cat([box.upper.flatten() for box in boxes])

    def shares(self, free: Tensor) -> Tensor:
        """All shares (b, choices) in [0, 1], from the free ones as integers (b, free)."""
        found = torch.zeros(len(free), self.choices, dtype=self.graph.dtype)
        found[:, self.free] = free.to(self.graph.dtype) / LEVELS
        return found

    def rounded(self, shares: Tensor) -> Tensor:
        """The free shares as integers, from all shares."""
        return (shares[:, self.free] * LEVELS).round().to(torch.uint8)

    def start(self) -> Tensor:
        """The free shares (1, free) that the optimization starts from."""
        found = [torch.zeros(1, 0, dtype=self.graph.dtype)]
        for node, operator in _curved(self.graph):
            if operator.shares:
                leans = [self.layers.leans.get(name, self.layers.boxes[name]) for name in node.inputs]
                found.append(operator.start(*leans).reshape(1, -1))
        return self.rounded(torch.cat(found, 1))

    def entries(self, values: Mapping[str, Tensor]) -> Tensor:
        """The entries (b, count) that can be split, from results (b, ...) by name."""
        none = flat(next(iter(values.values())), 1)[:, :0]
        return torch.cat([none, *(flat(values[name], 1) for name in self.results)], 1)


def _curved(graph: Graph) -> list[tuple[Node, Nonlinear]]:
    return [(node, node.operator) for node in graph.nodes if isinstance(node.operator, Nonlinear)]


def _spans(sizes: Mapping[str, int]) -> Mapping[str, slice]:
    begin, spans = 0, {}
    for name, size in sizes.items():
        spans[name] = slice(begin, begin + size)
        begin += size
    return spans
