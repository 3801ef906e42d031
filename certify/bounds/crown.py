"""CROWN: linear bounds propagated backward (Zhang et al. 2018; DeepPoly, Singh et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from certify.bounds.backward import RowBounds, backward, minimum, usual_planes
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.deviations import deviations
from certify.bounds.graph import Graph
from certify.bounds.ibp import CHUNK, in_chunks, propagate, row_bounds
from certify.bounds.layers import Layers
from certify.bounds.linear import LinearBounds
from certify.bounds.methods import METHODS
from certify.bounds.patches import Patches, covers, wider
from certify.bounds.region import Region
from certify.bounds.rules.base import Affine, Nonlinear
from certify.bounds.tensors import Interval, flat
from certify.core.evidence import Claim

__all__ = ["crown", "crown_ibp", "entry_rows", "meet", "output_rows", "rows_for", "tighten", "unsettled"]

COARSE = 1 / 64
"""The part of the width of an entry's bounds that rounding in float32 may take before float64 is worth its time."""

SHARED = 4
"""Rows that are the same for all samples are held for this many chunks at a time."""


def output_rows(layers: Layers, C: Tensor) -> RowBounds:
    """Lower bounds of ``C y``: the better of a backward pass to the input and one to the last nonlinear results."""
    return in_chunks(layers, C, usual_planes).better(row_bounds(layers, C))


def tighten(layers: Layers, name: str, wanted: Tensor) -> Interval:
    """The box of a result, improved by backward passes for the entries ``wanted`` (B, ...)."""
    box, wanted = layers.boxes[name], flat(wanted, 1)
    lower, upper = flat(box.lower, 1).clone(), flat(box.upper, 1).clone()
    if (around := deviations(layers)) is not None:
        lost = _bound(around, name, wanted, lower, upper)
        wanted = wanted & ~(lost.isfinite() & (lost <= COARSE * (upper - lower)))
        around.lost[name] = torch.where(wanted, 0.0, lost)
    _bound(layers, name, wanted, lower, upper)
    alone = Interval(torch.minimum(lower, upper).reshape(box.shape), torch.maximum(lower, upper).reshape(box.shape))
    layers.leans[name] = alone
    return meet(layers, box, alone)


def _bound(layers: Layers, name: str, wanted: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Bound entries (B, n) of a result in place, by backward passes, and return what rounding cost the two bounds."""
    lost = torch.zeros(wanted.shape, dtype=layers.graph.dtype, device=wanted.device)
    for samples, entries, bounds in entry_rows(layers, name, wanted):
        found = minimum(layers, backward(layers, bounds.both_signs(), samples, usual_planes), samples)
        at, count = (samples.unsqueeze(1), entries), entries.shape[1]
        lower[at], upper[at] = layers.ends(name, at, found.lower[:, :count], -found.lower[:, count:])
        lost[at] = found.slack[:, :count] + found.slack[:, count:]
    return lost


def unsettled(layers: Layers, C: Tensor, found: RowBounds) -> Tensor:
    """The samples (n,) with a row ``C y`` that is not shown to be positive, and might be without what float32 lost."""
    around = layers.deviations
    if around is None:
        return torch.zeros(0, dtype=torch.long, device=C.device)
    lost = in_chunks(around.losing(), C.to(around.graph.dtype), usual_planes).slack
    shut = (found.lower > 0) | (-found.lower > lost)
    return (~shut).any(1).nonzero().squeeze(1)


def meet(layers: Layers, box: Interval, other: Interval) -> Interval:
    """The intersection of two boxes of one result."""
    lower, upper = torch.maximum(box.lower, other.lower), torch.minimum(box.upper, other.upper)
    # Without error terms, rounding may make the intersection empty.
    return Interval(lower, upper if layers.outward else torch.maximum(lower, upper))


def entry_rows(layers: Layers, name: str, wanted: Tensor) -> Iterator[tuple[Tensor, Tensor, LinearBounds]]:
    """Single entries of a result, expressed in the last nonlinear results, in chunks of bounded memory.

    Yields samples (b,), entries (b, r), and the rows. Entries of images are held as patches, because they depend on few
    places. Other entries are the same affine function for every sample, which is computed only once.
    """
    wanted = flat(wanted, 1)
    if (width := _windows(layers.graph, name)) is not None:
        for samples, entries in _chunks(wanted, max(1, CHUNK // (2 * width))):
            yield samples, entries, _patches(layers, name, samples, entries)
        return
    most = max(1, CHUNK // (2 * layers.graph.widest))
    [present] = wanted.any(dim=0).nonzero(as_tuple=True)
    for block in present.split(SHARED * most):
        shared = _shared(layers, name, block)
        for samples, places in _chunks(wanted[:, block], most):
            yield samples, block[places], shared.chosen(samples, places)


def rows_for(layers: Layers, name: str, sample: int, entries: Tensor) -> LinearBounds:
    """The same for given entries (r,) of one sample: rows (1, r)."""
    samples = torch.tensor([sample])
    if _windows(layers.graph, name) is not None:
        return _patches(layers, name, samples, entries.unsqueeze(0))
    return _shared(layers, name, entries).chosen(samples, torch.arange(len(entries)).unsqueeze(0))


def _patches(layers: Layers, name: str, samples: Tensor, entries: Tensor) -> LinearBounds:
    one_hot = Patches.one_hot(entries, layers.graph.shapes[name], layers.graph.dtype)
    return backward(layers, LinearBounds.of(name, one_hot), samples, None)


def _shared(layers: Layers, name: str, entries: Tensor) -> LinearBounds:
    """Rows (1, r) that are the same for every sample."""
    shape = layers.graph.shapes[name]
    units = F.one_hot(entries, math.prod(shape)).to(layers.graph.dtype).reshape(1, len(entries), *shape)
    return backward(layers, LinearBounds.of(name, units), slice(None), None)


EVERYTHING = (2**15, 2**15)
"""A window larger than any image."""


def _windows(graph: Graph, name: str) -> int | None:
    """The most coefficients that a row for one entry of a result has during a backward pass that holds patches.

    None if the result is no image whose entries depend on windows of the last nonlinear results.
    """
    if len(graph.shapes[name]) != 3:
        return None
    windows, strides, most, nonlinear = {name: (1, 1)}, {name: (1, 1)}, 0, False
    for node in reversed(graph.nodes):
        if (window := windows.get(node.name)) is None:
            continue
        shapes, operator = [graph.shapes[i] for i in node.inputs], node.operator
        sliding = operator.sliding() if isinstance(operator, Affine) else None
        if isinstance(operator, Nonlinear):
            nonlinear, window = True, window if operator.uniform else EVERYTHING
        down, right = strides[node.name]
        stride = (down, right) if sliding is None else (down * sliding.stride[0], right * sliding.stride[1])
        local = sliding is not None or all(shape == node.shape for shape in shapes)
        if not local and not nonlinear:
            return None
        for i, shape in zip(node.inputs, shapes, strict=True):
            seen = window if sliding is None else wider(window, sliding)
            before = windows.get(i, (1, 1))
            apart = strides.setdefault(i, stride) != stride
            whole = apart or not local or covers(seen, shape)
            windows[i] = EVERYTHING if whole else (max(seen[0], before[0]), max(seen[1], before[1]))
            most = max(most, math.prod(shape) if whole else shape[0] * math.prod(windows[i]))
    return most


def _chunks(wanted: Tensor, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Groups of samples (b,) and entries (b, r) that cover a mask (B, n), with b * r at most ``most``.

    Samples with similar counts share a group; those with fewer entries repeat their last one.
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
def crown_ibp(
    graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact", deadline: Deadline = NEVER
) -> RowBounds:
    """Boxes by interval arithmetic, and one backward pass for the rows (Zhang et al. 2020)."""
    return output_rows(propagate(graph, region, claim=claim, deadline=deadline), C)


@METHODS.register("crown")
def crown(
    graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact", deadline: Deadline = NEVER
) -> RowBounds:
    """Backward passes for every box that a nonlinear operator reads, then for the rows."""
    layers = propagate(graph, region, claim=claim, tighten=tighten, deadline=deadline)
    found = output_rows(layers, C)
    if len(some := unsettled(layers, C, found)) == 0:
        return found
    return found.replaced(some, crown(graph.wide, region.rows(some), C[some], claim=claim, deadline=deadline))
