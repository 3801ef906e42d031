"""CROWN: linear bounds propagated backward (Zhang et al. 2018; DeepPoly, Singh et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from certify.bounds.backward import RowBounds, backward, minimum, usual_planes
from certify.bounds.graph import Graph
from certify.bounds.ibp import propagate, row_bounds
from certify.bounds.layers import Layers
from certify.bounds.linear import LinearBounds
from certify.bounds.methods import METHODS
from certify.bounds.patches import Patches
from certify.bounds.region import Region
from certify.bounds.rules.base import Affine, Nonlinear
from certify.bounds.tensors import Interval
from certify.core.evidence import Claim

__all__ = ["crown", "crown_ibp", "entry_rows", "output_rows", "tighten"]

CHUNK = 2**18
"""Numbers in the largest coefficient tensor of a backward pass: this bounds the memory, whatever batch and network."""

SHARED = 4
"""Rows shared by all samples that are held at a time, in multiples of a chunk's."""


def output_rows(layers: Layers, C: Tensor) -> RowBounds:
    """Lower bounds of ``C y`` back to the input, or from the last boxes where those give more."""
    shape = layers.graph.output.shape
    most = max(1, CHUNK // (C.shape[1] * _widest(layers.graph)))
    parts = []
    for samples in torch.arange(len(C), device=C.device).split(most):
        rows = C[samples].reshape(len(samples), C.shape[1], *shape)
        bounds = backward(layers, LinearBounds.of(layers.graph.output.name, rows), samples, usual_planes)
        parts.append(minimum(layers, bounds, samples))
    return RowBounds.join(parts).better(row_bounds(layers, C))


def tighten(layers: Layers, name: str, wanted: Tensor) -> Interval:
    """A box of one result by backward passes for the entries ``wanted`` (B, ...), cut with the box it had."""
    box = layers.boxes[name]
    lower, upper = box.lower.flatten(1).clone(), box.upper.flatten(1).clone()
    for samples, entries, bounds in entry_rows(layers, name, wanted):
        both = bounds.both_signs()
        below = minimum(layers, backward(layers, both, samples, usual_planes), samples).lower
        at, count = (samples.unsqueeze(1), entries), entries.shape[1]
        lower[at] = torch.maximum(lower[at], below[:, :count])
        upper[at] = torch.minimum(upper[at], -below[:, count:])
    if not layers.outward:
        upper = torch.maximum(lower, upper)
    return Interval(lower.reshape(box.shape), upper.reshape(box.shape))


def entry_rows(layers: Layers, name: str, wanted: Tensor) -> Iterator[tuple[Tensor, Tensor, LinearBounds]]:
    """Single entries of a result as equations in the last nonlinear results, in chunks of bounded memory.

    Yields samples (b,), entries (b, r), and the rows. In images, entries are patches: they see few places. Elsewhere
    an entry is the same function for every sample, and that part of the work is done once.
    """
    shape, wanted = layers.graph.shapes[name], wanted.flatten(1)
    most = max(1, CHUNK // (2 * _widest(layers.graph)))
    if _slides(layers.graph, name):
        for samples, entries in _chunks(wanted, most):
            rows = LinearBounds.of(name, Patches.one_hot(entries, shape, layers.graph.dtype))
            yield samples, entries, backward(layers, rows, samples, None)
        return
    [present] = wanted.any(dim=0).nonzero(as_tuple=True)
    for block in present.split(SHARED * most):
        units = F.one_hot(block, wanted.shape[1]).to(layers.graph.dtype).reshape(1, len(block), *shape)
        shared = backward(layers, LinearBounds.of(name, units), slice(None), None)
        for samples, places in _chunks(wanted[:, block], most):
            yield samples, block[places], shared.chosen(samples, places)


def _slides(graph: Graph, name: str) -> bool:
    """Whether a result is an image whose entries see windows of the last nonlinear results."""
    nodes = {node.name: node for node in graph.nodes}
    if len(graph.shapes[name]) != 3 or name not in nodes:
        return False
    front, seen = [nodes[name]], False
    while front:
        operator = front[-1].operator
        node = front.pop()
        if isinstance(operator, Nonlinear):
            continue
        assert isinstance(operator, Affine)
        seen = seen or operator.sliding() is not None
        same = all(graph.shapes[i] == node.shape for i in node.inputs)
        if operator.sliding() is None and not (same and (operator.separable or len(node.inputs) > 1)):
            return False
        front.extend(nodes[i] for i in node.inputs if i in nodes)
    return seen


def _widest(graph: Graph) -> int:
    return max(math.prod(shape) for shape in graph.shapes.values())


def _chunks(wanted: Tensor, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Groups of (samples (b,), entries (b, r)) that cover a mask (B, n), with b * r at most ``most``.

    Samples of similar counts share a group; one with fewer entries repeats its last one.
    """
    counts = wanted.sum(1)
    order = counts.argsort(descending=True, stable=True).tolist()
    entries = [wanted[sample].nonzero().flatten() for sample in order]
    begin = 0
    while begin < len(order) and len(entries[begin]) > 0:
        longest = len(entries[begin])
        end = begin + max(1, most // longest)
        group = [indices for indices in entries[begin:end] if len(indices) > 0]
        samples = torch.tensor(order[begin : begin + len(group)], device=wanted.device)
        padded = torch.stack([torch.cat([i, i[-1:].expand(longest - len(i))]) for i in group])
        for part in padded.split(most, dim=1):
            yield samples, part
        begin = end


@METHODS.register("crown-ibp")
def crown_ibp(graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact") -> RowBounds:
    """Boxes by interval arithmetic, and one backward pass for the rows (Zhang et al. 2020)."""
    return output_rows(propagate(graph, region, claim=claim), C)


@METHODS.register("crown")
def crown(graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact") -> RowBounds:
    """Backward passes for every box that a nonlinear operator reads, then for the rows."""
    return output_rows(propagate(graph, region, claim=claim, tighten=tighten), C)
