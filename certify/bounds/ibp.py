"""Interval bound propagation (Gowal et al. 2018): boxes forward, rows of the last affine layers bounded directly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from certify.bounds.backward import Planes, RowBounds, backward, minimum
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph, Node
from certify.bounds.layers import Layers
from certify.bounds.linear import LinearBounds
from certify.bounds.linear_prefix import over_constraint
from certify.bounds.methods import METHODS
from certify.bounds.region import Region
from certify.bounds.rules.base import Affine, Nonlinear
from certify.bounds.tensors import Interval
from certify.core.evidence import Claim

__all__ = ["CHUNK", "bent", "ibp", "in_chunks", "interval_bounds", "propagate", "row_bounds"]

CHUNK = 2**20
"""The most numbers in a coefficient tensor of a backward pass, which bounds the memory for any batch and network."""

Tighten = Callable[[Layers, str, Tensor], Interval]
"""Improves the box of a result before nonlinear nodes read it, for the entries (B, ...) that gain from it."""


def propagate(
    graph: Graph, region: Region, *, claim: Claim | None, tighten: Tighten | None = None, deadline: Deadline = NEVER
) -> Layers:
    """Boxes of every result, in order. ``tighten`` is called once for each result that a nonlinear node reads.

    For a result that only moves entries of another one it is called with that one, which may have fewer entries; and
    for a function of another one, with that one for the entries that readers of either want (:meth:`Graph.follows`).

    Raises:
        OutOfTime: once the deadline passed. The layers keep the deadline for later bounds over them.
    """
    layers = Layers(graph, region, claim, {graph.input: region.box}, deadline=deadline)
    asked = set()
    for node in graph.nodes:
        deadline.check()
        if isinstance(node.operator, Nonlinear):
            for name in node.inputs:
                moves = graph.moves(name)
                source = moves[0].inputs[0] if moves else name
                if source not in asked:
                    asked.add(source)
                    if not graph.follows(source):
                        _improve(layers, source, tighten)
                for move in moves:
                    layers.move(move)
        layers.advance(node)
    return layers


def _improve(layers: Layers, name: str, tighten: Tighten | None) -> None:
    depth, constraint = layers.graph.depth[name], layers.region.constraint
    if depth == 1 and constraint is not None:
        layers.boxes[name] = over_constraint(layers, name, constraint)
    elif depth > 1 and tighten is not None:
        layers.boxes[name] = tighten(layers, name, bent(layers, name))


def bent(layers: Layers, name: str) -> Tensor:
    """The entries of a result on whose box some nonlinear node is not linear, also through moves.

    If the other inputs of that node are not known yet, these are all its entries. If the node is a function of this
    result alone, they are also those that its own readers want of it.
    """
    return _bent(replace(layers, boxes=dict(layers.boxes), leans={}, voids={}), name)


def _bent(ahead: Layers, name: str) -> Tensor:
    """The same, for layers that are a copy: boxes of later results are found from those that the result has now."""
    graph, mask = ahead.graph, torch.zeros_like(ahead.boxes[name].lower, dtype=torch.bool)
    for node, chains in graph.nonlinear_readers.get(name, ()):
        for move in (move for moves in chains for move in moves):
            ahead.move(move)
        assert isinstance(node.operator, Nonlinear)
        if all(read in ahead.boxes for read in node.inputs):
            wanted = node.operator.bent(*ahead.inputs(node))
        else:
            wanted = torch.ones(len(mask), *node.shape, dtype=torch.bool, device=mask.device)
        if graph.follows(node.name) and node.name in graph.nonlinear_readers:
            ahead.advance(node)
            wanted = wanted | _bent(ahead, node.name)
        for moves in chains:
            mask |= _before(moves, wanted, graph)
    return mask


def _before(moves: Sequence[Node], wanted: Tensor, graph: Graph) -> Tensor:
    """Which entries of a result are wanted, if these are after it was moved."""
    for move in reversed(moves):
        assert isinstance(move.operator, Affine)
        [counts] = move.operator.adjoint(wanted.to(graph.dtype), (graph.shapes[move.inputs[0]],))
        wanted = counts > 0
    return wanted


def row_bounds(layers: Layers, C: Tensor) -> RowBounds:
    """Lower bounds of ``C y`` over the boxes of the last nonlinear results, through the affine layers after them."""
    return in_chunks(layers, C, None)


def in_chunks(layers: Layers, C: Tensor, planes: Planes | None) -> RowBounds:
    """Lower bounds of ``C y`` by backward passes, in chunks of samples and rows of bounded memory."""
    shape, (count, rows) = layers.graph.output.shape, C.shape[:2]
    most = max(1, CHUNK // layers.graph.widest)
    parts = []
    at_once = max(1, most // rows)
    for begin in range(0, count, at_once):
        samples, some = slice(begin, begin + at_once), []
        for part in C[samples].split(most, dim=1):
            asked = LinearBounds.of(layers.graph.output.name, part.reshape(*part.shape[:2], *shape))
            some.append(minimum(layers, backward(layers, asked, samples, planes), samples))
        parts.append(RowBounds.beside(some))
    return RowBounds.join(parts)


def interval_bounds(graph: Graph, box: Interval, C: Tensor | None = None, *, outward: bool = False) -> Interval:
    """Bounds of the output over a box of inputs, or of its rows ``C y``. Differentiable in the parameters.

    Args:
        graph: the network.
        box: inputs (B, ...), of the graph's dtype.
        C: (B, rows, outputs); None for the output itself.
        outward: subtract rounding errors, for a claim; training does not need that.

    Returns:
        (B, *output shape), or (B, rows).

    >>> from certify.bounds.importers.torch_import import import_module
    >>> graph = import_module(torch.nn.ReLU(), torch.zeros(1, 2))
    >>> interval_bounds(graph, Interval(torch.tensor([[-1.0, 1.0]]), torch.tensor([[1.0, 2.0]]))).lower
    tensor([[0., 1.]])
    """
    layers = propagate(graph, Region(box), claim="exact" if outward else None)
    if C is None:
        box = layers.boxes[graph.output.name]
        if (void := layers.void(slice(None))) is None:
            return box
        void = void.reshape(-1, *(1,) * len(graph.output.shape))
        return Interval(torch.where(void, -torch.inf, box.lower), torch.where(void, torch.inf, box.upper))
    both = row_bounds(layers, torch.cat([C, -C], dim=1)).lower
    lower, upper = both[:, : C.shape[1]], -both[:, C.shape[1] :]
    return Interval(lower, upper if outward else torch.maximum(lower, upper))


@METHODS.register("ibp")
def ibp(
    graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact", deadline: Deadline = NEVER
) -> RowBounds:
    """Interval arithmetic throughout."""
    return row_bounds(propagate(graph, region, claim=claim, deadline=deadline), C)
