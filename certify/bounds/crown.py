"""CROWN: linear bounds propagated backward (Zhang et al. 2018; DeepPoly, Singh et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from certify.bounds.backward import RowBounds, backward, both_ends, minimum, usual_planes
from certify.bounds.deadline import NEVER, Deadline, OutOfTime
from certify.bounds.deviations import deviations
from certify.bounds.few import Few
from certify.bounds.graph import Graph
from certify.bounds.ibp import CHUNK, bent, in_chunks, propagate, row_bounds
from certify.bounds.layers import Layers
from certify.bounds.linear import Coefficients, LinearBounds, plus
from certify.bounds.methods import METHODS
from certify.bounds.patches import Patches, covers, wider
from certify.bounds.region import Region
from certify.bounds.rules.base import Affine, Nonlinear
from certify.bounds.tensors import Interval, flat
from certify.core.evidence import Claim
from certify.progress.observer import Quiet

__all__ = [
    "crown",
    "crown_ibp",
    "crown_in_time",
    "entry_rows",
    "meet",
    "output_rows",
    "rows_for",
    "tighten",
    "unsettled",
]

COARSE = 1 / 64
"""The part of the width of an entry's bounds that rounding in float32 may take before float64 is worth its time."""

LARGE = 2**17
"""One end of an entry is bounded before the other if the entries of its result times those of the network's largest
result are at least this."""

TIGHTENING = 0.8
"""The share of a time limit after which intermediate results are left as they are."""

SHARED = 4
"""Rows that are the same for all samples are held for this many chunks at a time."""


def output_rows(layers: Layers, C: Tensor) -> RowBounds:
    """Lower bounds of ``C y``: the better of a backward pass to the input and one to the last nonlinear results."""
    return in_chunks(layers, C, usual_planes).better(row_bounds(layers, C))


def tighten(layers: Layers, name: str, wanted: Tensor) -> Interval:
    """The box of a result, improved by backward passes for the entries ``wanted`` (B, ...)."""
    box, asked, around = layers.boxes[name], flat(wanted, 1), deviations(layers)
    wanted, twins = _without_twins(layers.graph, name, asked)
    swift = around or layers
    found = _Found.of(box, swift.graph.dtype)
    if _one_end_may_do(layers.graph, name):
        wanted = _one_end_first(layers, swift, name, wanted, found)
    else:
        _both(swift, name, wanted, found)
    if around is not None:
        fine = found.lost.isfinite() & (found.lost <= COARSE * (found.upper - found.lower))
        around.lost[name] = torch.where(wanted & fine, found.lost, 0.0)
        _both(layers, name, wanted & ~fine, found)
    if twins is not None:
        other = asked & ~wanted
        found.mirror(other, twins)
        if around is not None:
            around.lost[name] = torch.where(other, around.lost[name][:, twins], around.lost[name])
    layers.leans[name] = found.box(box.shape)
    return meet(layers, box, layers.leans[name])


def _without_twins(graph: Graph, name: str, wanted: Tensor) -> tuple[Tensor, Tensor | None]:
    """Wanted entries (B, n) of a result, one of each pair of which one is the negative of the other; and its twins.

    The second says of which entry each is the negative, (n,); None where there are no such pairs.
    """
    node = graph.producers.get(name)
    twins = node.operator.opposite(graph.shapes[node.inputs[0]]) if node and isinstance(node.operator, Affine) else None
    if twins is None:
        return wanted, None
    twins = twins.to(wanted.device)
    later = torch.arange(len(twins), device=twins.device) > twins
    return wanted & ~(later & wanted[:, twins]), twins


@dataclass(frozen=True, slots=True)
class _Found:
    """What backward passes alone say about the entries of a result, (B, n): two ends, and what rounding cost them."""

    lower: Tensor
    upper: Tensor
    lost: Tensor

    @classmethod
    def of(cls, box: Interval, dtype: torch.dtype) -> _Found:
        """The ends of a box, until better ones are known."""
        lower, upper = flat(box.lower, 1).clone(), flat(box.upper, 1).clone()
        return cls(lower, upper, torch.zeros_like(lower, dtype=dtype))

    def mirror(self, entries: Tensor, twins: Tensor) -> None:
        """Take the ends of entries (B, n) from those that they are the negatives of, in place."""
        lower, upper = -self.upper[:, twins], -self.lower[:, twins]
        self.lower[entries], self.upper[entries] = lower[entries], upper[entries]

    def box(self, shape: torch.Size) -> Interval:
        """The ends, in order: without error terms, rounding may exchange them."""
        ends = torch.minimum(self.lower, self.upper), torch.maximum(self.lower, self.upper)
        return Interval(*(end.reshape(shape) for end in ends))


def _one_end_may_do(graph: Graph, name: str) -> bool:
    """Whether one end of an entry is bounded before the other.

    For small results, a pass costs no more than the calls of its operators, and two cost more than one. Whoever wants
    the output wants both ends.
    """
    if graph.thorough or name == graph.output.name:
        return False
    return math.prod(graph.shapes[name]) * graph.widest >= LARGE


def _one_end_first(layers: Layers, swift: Layers, name: str, wanted: Tensor, found: _Found) -> Tensor:
    """Bound entries (B, n) of a result in place, and return those of which both ends matter.

    Most entries of a ReLU network have the sign that they have in the middle of the region. A pass for the end that
    shows it also says how far off the other end can be, as planes are only so far apart. A pass of its own would say
    more about that, but where the sign is known, planes do not depend on the other end.
    """
    box = layers.boxes[name]
    signs = torch.where(flat(swift.point(name), 1) > 0, 1.0, -1.0).to(swift.graph.dtype)
    hopeful = wanted & ~flat(bent(_with_signs(layers, name, signs), name), 1)
    _both(swift, name, wanted & ~hopeful, found)
    for at, samples, rows in _signed(swift, name, hopeful, signs):
        near, far = both_ends(swift, rows, samples)
        lower, upper = (torch.where(signs[at] > 0, *ends) for ends in ((near.lower, -far), (far, -near.lower)))
        found.lower[at], found.upper[at] = swift.ends(name, at, lower, upper)
        found.lost[at] = near.slack
    layers.boxes[name] = meet(layers, box, found.box(box.shape))
    decisive = wanted & flat(bent(layers, name), 1)
    for at, samples, rows in _signed(swift, name, hopeful & decisive, -signs):
        near, negative = minimum(swift, rows, samples), signs[at] > 0
        lower, upper = swift.ends(name, at, near.lower, -near.lower)
        found.lower[at] = torch.where(negative, found.lower[at], lower)
        found.upper[at] = torch.where(negative, upper, found.upper[at])
        found.lost[at] += near.slack
    return decisive


def _with_signs(layers: Layers, name: str, signs: Tensor) -> Layers:
    """The layers if the entries of a result had these signs (B, n)."""
    box = layers.boxes[name]
    positive = (signs > 0).reshape(box.shape)
    lower = torch.where(positive, box.lower.clamp(min=0).minimum(box.upper), box.lower)
    upper = torch.where(positive, box.upper, box.upper.clamp(max=0).maximum(box.lower))
    return replace(layers, boxes={**layers.boxes, name: Interval(lower, upper)})


def _signed(
    layers: Layers, name: str, wanted: Tensor, signs: Tensor
) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor, LinearBounds]]:
    """Wanted entries (B, n) times their signs (B, n), in chunks, bounded by CROWN."""
    for samples, entries, rows in entry_rows(layers, name, wanted, few=True):
        at = samples.unsqueeze(1), entries
        yield at, samples, backward(layers, rows.times(signs[at]), samples, usual_planes)


def _both(layers: Layers, name: str, wanted: Tensor, found: _Found) -> None:
    """Bound entries (B, n) of a result in place, by passes for both ends at once."""
    for samples, entries, rows in entry_rows(layers, name, wanted, few=True):
        bounds = minimum(layers, backward(layers, rows.both_signs(), samples, usual_planes), samples)
        at, count = (samples.unsqueeze(1), entries), entries.shape[1]
        ends = bounds.lower[:, :count], -bounds.lower[:, count:]
        found.lower[at], found.upper[at] = layers.ends(name, at, *ends)
        found.lost[at] = (bounds.slack[:, :count] + bounds.slack[:, count:]).to(found.lost.dtype)


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


def entry_rows(
    layers: Layers, name: str, wanted: Tensor, *, few: bool = False
) -> Iterator[tuple[Tensor, Tensor, LinearBounds]]:
    """Single entries of a result, expressed in the last nonlinear results, in chunks of bounded memory.

    Yields samples (b,), entries (b, r), and the rows. Entries of images are held as patches, because they depend on few
    places. Other entries are the same affine function for every sample, which is computed only once; with ``few``, of
    few entries where that is all they depend on. Planes of other kinds than CROWN's are laid out by whole results.
    """
    wanted = flat(wanted, 1)
    if not bool(wanted.any()):
        return
    if (width := _windows(layers.graph, name)) is not None:
        for samples, entries in _chunks(wanted, max(1, CHUNK // (2 * width))):
            yield samples, entries, _patches(layers, name, samples, entries)
        return
    reached = _reached(layers.graph, name) if few else None
    # Where entries are listed, their numbers and places take as much room again, and more.
    most = max(1, CHUNK // (2 * layers.graph.widest if reached is None else 8 * reached))
    [present] = wanted.any(dim=0).nonzero(as_tuple=True)
    for block in present.split(SHARED * most):
        shared = _shared(layers, name, block, few=reached is not None)
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


def _shared(layers: Layers, name: str, entries: Tensor, *, few: bool = False) -> LinearBounds:
    """Rows (1, r) that are the same for every sample."""
    shape = layers.graph.shapes[name]
    if few:
        one_hot = Few.one_hot(entries, shape, layers.graph.dtype)
        return backward(layers, LinearBounds.of(name, one_hot), slice(None), None)
    units = torch.zeros((len(entries), math.prod(shape)), dtype=layers.graph.dtype, device=entries.device)
    units = units.scatter_(1, entries.unsqueeze(1), 1.0).reshape(1, len(entries), *shape)
    return backward(layers, LinearBounds.of(name, units), slice(None), None)


def _reached(graph: Graph, name: str) -> int | None:
    """The most coefficients that a row for one entry of a result has during a backward pass that holds few entries.

    Three entries stand for all. None if rows of whole results arrive at the last nonlinear ones.
    """
    size = math.prod(graph.shapes[name])
    some = torch.tensor(sorted({0, size // 2, size - 1}), device=graph.device)
    waiting: dict[str, Coefficients] = {name: Few.one_hot(some, graph.shapes[name], graph.dtype)}
    whole, most, nonlinear = torch.zeros(1, 3, 1), 0, False
    for node in reversed(graph.nodes):
        if (A := waiting.pop(node.name, None)) is None:
            continue
        few = A if isinstance(A, Few) and not A.large else None
        most = max(most, math.prod(node.shape) if few is None else few.A.shape[2])
        parts: Sequence[Coefficients] | None = None
        if isinstance(node.operator, Nonlinear):
            if few is None and not nonlinear:
                return None
            nonlinear, parts = True, None if few is None else [few] * len(node.inputs)
        elif few is not None:
            assert isinstance(node.operator, Affine)
            parts = few.through(node.operator, tuple(graph.shapes[i] for i in node.inputs))
        for i, part in zip(node.inputs, parts or [whole] * len(node.inputs), strict=True):
            both = isinstance(part, Few) and isinstance(waiting.get(i, part), Few)
            waiting[i] = whole if not both else plus(waiting[i], part) if i in waiting else part
    return most if nonlinear else None


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


def crown_in_time(
    graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact", deadline: Deadline = NEVER
) -> RowBounds:
    """CROWN, but results that are not bounded when most of the time is gone keep the boxes of interval arithmetic.

    If the last pass does not fit, the rows do, too. That is sound and looser, and ends. How much is bounded depends on
    the machine, so this is for bounds that nobody has to derive again. A warning says what was left out.
    """
    late: list[str] = []
    most = deadline.part(TIGHTENING)

    def tightened(layers: Layers, name: str, wanted: Tensor) -> Interval:
        try:
            _limit(layers, most)
            most.check()
            return tighten(layers, name, wanted)
        except OutOfTime:
            late.append(name)
            return layers.boxes[name]

    layers = propagate(graph, region, claim=claim, tighten=tightened)
    try:
        _limit(layers, deadline)
        found = output_rows(layers, C)
        if not late and len(some := unsettled(layers, C, found)) > 0:
            with suppress(OutOfTime):  # what is known holds
                wide = crown(graph.wide, region.rows(some), C[some], claim=claim, deadline=deadline)
                found = found.replaced(some, wide)
    except OutOfTime:
        late.append(graph.output.name)
        _limit(layers, NEVER)
        found = row_bounds(layers, C)
    if late:
        Quiet().warn(
            f"the time limit left {len(late)} of the network's results with bounds by interval arithmetic: they hold, "
            "and are looser than with more time"
        )
    return found


def _limit(layers: Layers, deadline: Deadline) -> None:
    layers.deadline = deadline
    if layers.deviations is not None:
        layers.deviations.deadline = deadline
