"""Whether a graph agrees with its source, up to the rounding errors possible in each single output entry.

Other outputs have no influence: a constant output of -1e9 must not hide a difference in another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from certify.bounds.graph import Graph
from certify.bounds.memory import budget
from certify.bounds.region import Region
from certify.bounds.rounding import smallest, unit
from certify.bounds.rules.base import Affine, NotCovered, Operator
from certify.bounds.rules.conv import Conv
from certify.bounds.tensors import Interval
from certify.errors import UnsupportedOperator

__all__ = ["agrees", "enclosure", "image", "inputs_within"]

LUCK = 16
"""An answer may be off by this many times the rounding observed on inputs of similar size before a proof is needed."""

NEIGHBOURS = 8
"""Nearby inputs that are tried if an entry's rounding error at an input was suspiciously small."""

LIVE = 16
"""Numbers in memory at a time for each entry of the widest result while inputs are compared."""

ENOUGH = 2**28
"""Bytes beyond which comparing more inputs at a time is not faster."""

Source = Callable[[slice], Sequence[Tensor]]
"""From a slice of the inputs to the source's answers (b, *output shape), executed in its own type or a wider one."""


def agrees(
    graph: Graph, x: Tensor, source: Source, dtype: torch.dtype, *, least: int = 1, max_memory: int | None = None
) -> bool:
    """Whether a source answers what a graph computes.

    Every answer must lie in the enclosure of all executions of the graph at that input. In deep networks these
    enclosures are wide, because errors add up. So an answer that is farther off than executions of the graph were
    observed to be, on this input or others of at most similar size, must also lie in a tighter enclosure that follows
    rounding errors back from that entry. A NaN or infinite answer must equal the graph's own execution in that type: a
    network that overflows does so on both sides.

    Args:
        graph: in any type.
        x: inputs (B, ...).
        source: called with at least ``least`` inputs, and again with single ones in doubt.
        dtype: the type that the source computes in.
        least: the number of inputs that must be evaluated together.
        max_memory: bytes to stay within, about; None for a part of what is free.
    """
    narrow, wide = graph if graph.dtype == dtype else graph.to(dtype), graph.to(torch.float64)
    gaps, offs = [], []
    most = max(least, inputs_within(graph, max_memory, x.device))
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
        return True  # no finer type can measure its rounding errors, and its enclosures are narrow
    seen, far = LUCK * _seen(x, torch.cat(gaps)), torch.cat(offs)
    for place in (far > seen).reshape(len(x), -1).any(dim=1).nonzero().flatten().tolist():
        rows = slice(place, place + 1)
        nearby = torch.maximum(seen[rows], LUCK * _nearby(narrow, wide, x[rows].to(dtype)))
        doubtful = far[rows] > nearby
        try:
            if bool(doubtful.any()) and not _proven(wide, x[rows], doubtful, source(rows)):
                return False
        except UnsupportedOperator:  # errors cannot be followed back through softmax and normalization
            if bool((far[rows] > LUCK * nearby).any()):
                return False
    return True


def enclosure(graph: Graph, inputs: Interval, dtype: torch.dtype | None) -> Interval:
    """Enclosures (B, *output shape) of the exact outputs on inputs (B, ...), and of executions in ``dtype`` if any.

    Results are freed once the last node has read them. Operators whose executions no claim covers are assumed to round
    like the sums that stand for them.
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
    # The factor 1.1 pays for scaling what rules state about float32 to another type.
    off = off * 1.1 * unit(dtype) / unit(torch.float32) + smallest(dtype)
    return Interval.known(box.lower - off, box.upper + off)


def _executed(operator: Operator, inputs: list[Interval], box: Interval) -> Tensor | None:
    try:
        return operator.executed(*inputs)
    except NotCovered:
        if isinstance(operator, Affine):
            return Affine.executed(operator, *inputs)
        return LUCK * unit(torch.float32) * (1 + box.magnitude())


def inputs_within(graph: Graph, max_memory: int | None, device: torch.device) -> int:
    """How many inputs to compare at a time, at least one."""
    columns = [
        math.prod(node.shape[1:]) * node.operator.weight[0].numel() * node.operator.groups
        for node in graph.nodes
        if isinstance(node.operator, Conv)
    ]
    each = 8 * (LIVE * graph.widest + max(columns, default=0))
    return max(1, min(budget(max_memory, device), ENOUGH) // each)


def _seen(x: Tensor, gaps: Tensor) -> Tensor:
    """The largest gap of each entry over all inputs of at most similar size: a single gap may be small by luck."""
    reach = x.double().abs().flatten(1).amax(dim=1)
    return torch.stack([gaps[reach <= 2 * most.clamp(min=1)].amax(dim=0) for most in reach])


def _nearby(narrow: Graph, wide: Graph, x: Tensor) -> Tensor:
    """The largest gap of each entry over inputs near one input (1, ...), where it is not small by luck."""
    generator, gap = torch.Generator().manual_seed(0), torch.zeros(1, *narrow.output.shape, device=x.device)
    for _ in range(NEIGHBOURS):
        # Zeros are moved as well: normalization divides by nearly nothing where all entries are equal.
        reach = 2.0**-12 * torch.rand(x.shape, generator=generator, dtype=x.dtype).to(x.device)
        moved = x + x.abs().clamp(min=2.0**-8) * reach
        with torch.no_grad():
            found = narrow.forward(moved).double() - wide.forward(moved.double())
        gap = torch.maximum(gap, found.abs().nan_to_num(0.0, 0.0, 0.0).float())
    return gap


def _proven(graph: Graph, x: Tensor, doubtful: Tensor, answers: Sequence[Tensor]) -> bool:
    """Whether doubtful entries lie in enclosures that follow the rounding errors back from each."""
    from certify.bounds.crown import tighten  # rarely needed, and importers need this module without them
    from certify.bounds.ibp import propagate

    x = x.double()
    layers = propagate(graph, Region(Interval(x, x)), claim="float32")
    box = tighten(layers, graph.output.name, doubtful)
    return all(bool(((box.lower <= one) & (one <= box.upper))[doubtful].all()) for one in answers)
