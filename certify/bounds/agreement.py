"""Whether a graph computes what its source answers: each output entry within what rounding can do to that entry.

What other outputs are, or how they round, is never an excuse: a constant output of -1e9 hides nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from certify.bounds.graph import Graph
from certify.bounds.memory import SHARE, free_memory
from certify.bounds.region import Region
from certify.bounds.rounding import smallest, unit
from certify.bounds.rules.base import Affine, NotCovered, Operator
from certify.bounds.rules.conv import Conv
from certify.bounds.tensors import Interval
from certify.errors import UnsupportedOperator

__all__ = ["agrees", "enclosure", "image", "inputs_within"]

LUCK = 16
"""How many times more than what is seen of rounding, on inputs of one size, an answer may be off without a proof."""

NEIGHBOURS = 8
"""Inputs next to one at which an entry was rounded suspiciously little."""

LIVE = 16
"""Numbers for each entry of the widest result that lie in memory at a time while inputs are compared."""

ENOUGH = 2**28
"""Bytes beyond which more inputs at a time make a comparison no faster."""

Source = Callable[[slice], Sequence[Tensor]]
"""Places of inputs to the answers of a source there, (b, *output shape), executed in its own type or a wider one."""


def agrees(
    graph: Graph, x: Tensor, source: Source, dtype: torch.dtype, *, least: int = 1, max_memory: int | None = None
) -> bool:
    """Whether a source answers what a graph computes.

    An answer must lie in the enclosure of all executions of the graph at that input. Where errors only add up on the
    way, as in deep networks, such enclosures are wide; so an answer that is farther off than executions of the graph
    are seen to be, on this input or others of at most comparable size, must also lie in the tighter enclosure that
    follows rounding errors back from that entry. An answer that is NaN or infinite must be what the graph's own
    execution in that type gives: a network that overflows does so on both sides.

    Args:
        graph: in any type.
        x: inputs (B, ...).
        source: is asked about ``least`` inputs or more at a time, and once more about single ones.
        dtype: the type that the source rounds to.
        least: inputs that have to be asked about together.
        max_memory: bytes to stay within, about; None for a part of what is free.
    """
    narrow, wide = graph if graph.dtype == dtype else graph.to(dtype), graph.to(torch.float64)
    gaps, offs = [], []
    most = max(least, inputs_within(graph, max_memory))
    for rows in (slice(begin, min(begin + most, len(x))) for begin in range(0, len(x), most)):
        part = x[rows]
        with torch.no_grad():
            rounded, exact = narrow.forward(part.to(dtype)).double(), wide.forward(part.double())
            point = Interval(part.to(dtype), part.to(dtype))
            box = enclosure(narrow, point, dtype)
        off = torch.zeros_like(exact)
        for answer in (one.double() for one in source(rows)):
            finite = answer.isfinite()
            inside = (box.lower <= answer) & (answer <= box.upper) & exact.isfinite()
            same = (answer == rounded) | (answer.isnan() & rounded.isnan())
            if not bool(torch.where(finite, inside, same).all()):
                return False
            error = (answer - exact).abs() - 2 * unit(dtype) * answer.abs() - LUCK * smallest(dtype)
            off = torch.where(finite, torch.maximum(off, error), off)
        gaps.append((rounded - exact).abs().nan_to_num(0.0, 0.0, 0.0).float())
        offs.append(off.float())
    if dtype != torch.float32:
        return True  # nothing finer is there to see its roundings with, and its enclosures are narrow
    seen, far = LUCK * _seen(x, torch.cat(gaps)), torch.cat(offs)
    for place in (far > seen).reshape(len(x), -1).any(dim=1).nonzero().flatten().tolist():
        rows = slice(place, place + 1)
        nearby = torch.maximum(seen[rows], LUCK * _nearby(narrow, wide, x[rows].to(dtype)))
        doubtful = far[rows] > nearby
        try:
            if bool(doubtful.any()) and not _proven(wide, x[rows], doubtful, source(rows)):
                return False
        except UnsupportedOperator:  # nothing follows errors back through softmax and normalization
            if bool((far[rows] > LUCK * nearby).any()):
                return False
    return True


def enclosure(graph: Graph, inputs: Interval, dtype: torch.dtype | None) -> Interval:
    """The exact output of a graph on inputs (B, ...), and every execution in ``dtype`` if any, (B, *output shape).

    Each result is dropped when the last node has read it. Of operators whose executions are covered by no claim, those
    are taken to round like the sums that stand for them.
    """
    boxes, unread = {graph.input: inputs}, Counter(graph.readers)
    for node in graph.nodes:
        boxes[node.name] = image(node.operator, [boxes[name] for name in node.inputs], dtype)
        unread.subtract(node.inputs)
        for name in node.inputs:
            if unread[name] == 0:
                boxes.pop(name, None)
    return boxes[graph.output.name]


def image(operator: Operator, given: list[Interval], dtype: torch.dtype | None) -> Interval:
    """The image of boxes under one operator, as :func:`enclosure` takes it."""
    box = operator.interval(*given, outward=True)
    if dtype is None or (off := _executed(operator, given, box)) is None:
        return box
    # What rules say about float32 is said of one type in arithmetic of another: some room for that.
    off = off * 1.1 * unit(dtype) / unit(torch.float32) + smallest(dtype)
    return Interval.known(box.lower - off, box.upper + off)


def _executed(operator: Operator, inputs: list[Interval], box: Interval) -> Tensor | None:
    try:
        return operator.executed(*inputs)
    except NotCovered:
        if isinstance(operator, Affine):
            return Affine.executed(operator, *inputs)
        return LUCK * unit(torch.float32) * (1 + box.magnitude())


def inputs_within(graph: Graph, max_memory: int | None) -> int:
    """How many inputs can be compared at a time, at least one."""
    columns = [
        math.prod(node.shape[1:]) * node.operator.weight[0].numel() * node.operator.groups
        for node in graph.nodes
        if isinstance(node.operator, Conv)
    ]
    each = 8 * (LIVE * graph.widest + max(columns, default=0))
    budget = int(SHARE * free_memory()) if max_memory is None else max_memory
    return max(1, min(budget, ENOUGH) // each)


def _seen(x: Tensor, gaps: Tensor) -> Tensor:
    """The largest gap of each entry, on that input or others of at most comparable size: one may be small by luck."""
    reach = x.double().abs().flatten(1).amax(dim=1)
    return torch.stack([gaps[reach <= 2 * most.clamp(min=1)].amax(dim=0) for most in reach])


def _nearby(narrow: Graph, wide: Graph, x: Tensor) -> Tensor:
    """The largest gap of each entry on inputs next to one input (1, ...): what was small by luck there is not here."""
    generator, gap = torch.Generator().manual_seed(0), torch.zeros(1, *narrow.output.shape, device=x.device)
    for _ in range(NEIGHBOURS):
        # Zeros are moved as well: normalization divides what is equal there by next to nothing.
        reach = 2.0**-12 * torch.rand(x.shape, generator=generator, dtype=x.dtype).to(x.device)
        moved = x + x.abs().clamp(min=2.0**-8) * reach
        with torch.no_grad():
            found = narrow.forward(moved).double() - wide.forward(moved.double())
        gap = torch.maximum(gap, found.abs().nan_to_num(0.0, 0.0, 0.0).float())
    return gap


def _proven(graph: Graph, x: Tensor, doubtful: Tensor, answers: Sequence[Tensor]) -> bool:
    """Whether doubtful entries lie in what rounding errors, followed back from each, allow."""
    from certify.bounds.crown import tighten  # they read graphs, and are needed here only in doubt
    from certify.bounds.ibp import propagate

    x = x.double()
    layers = propagate(graph, Region(Interval(x, x)), claim="float32")
    box = tighten(layers, graph.output.name, doubtful)
    return all(bool(((box.lower <= one) & (one <= box.upper))[doubtful].all()) for one in answers)
