"""alpha-CROWN (Xu et al. 2021): CROWN with free planes that are optimized for each row.

Every choice of free planes is sound, so the search runs in float32 without error terms. It leaves hints: one integer
from 0 to 255 for each plane. Proving needs only the hints: backward passes with these planes, in the arithmetic of the
claim. So anyone can derive the claim again from the hints.

Each row has planes of its own, and so do the rows that bound intermediate results. As a row's planes serve only that
row's bound, results are bounded in order, each by optimizing its own rows: no gradient runs through the whole network,
and memory is limited to one chunk of rows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from certify.bounded.memory import check_room
from certify.bounds.adam import Adam
from certify.bounds.backward import RowBounds, backward, minimum
from certify.bounds.crown import entry_rows, meet, output_rows, rows_for, tighten, unsettled
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph, Node
from certify.bounds.hints import LEVELS, Hint
from certify.bounds.ibp import CHUNK, bent, propagate
from certify.bounds.layers import Layers
from certify.bounds.linear import Coefficients, LinearBounds, Samples, fit, held
from certify.bounds.memory import SHARE
from certify.bounds.methods import METHODS
from certify.bounds.patches import Patches
from certify.bounds.region import Region
from certify.bounds.rules.base import Nonlinear
from certify.bounds.tensors import Interval, Relaxation, flat
from certify.core.evidence import Claim

__all__ = [
    "Hint",
    "Sharing",
    "alpha_crown",
    "optimize_rows",
    "prove",
    "proven_layers",
    "search",
    "search_layers",
    "tightened",
]

ITERATIONS = 20
"""Optimization steps for each chunk of rows."""

RATE, DECAY = 0.5, 0.9
"""The first step size for shares in [0, 1], long enough to cross the interval, and its decay per step."""

MIXING_RATE = 0.3
"""The step size of row weights relative to that of shares: they start at the best row, seldom far from the optimum."""

FIRST, NONE = torch.zeros(1, dtype=torch.long), torch.zeros(0, dtype=torch.long)
"""The only sample of a batch of one; no entries."""


class Sharing:
    """Provides each row's planes to a backward pass by shares (k, b, r, ...), which are given or to be optimized.

    Shares to be optimized are created when a backward pass first meets their node.
    """

    def __init__(self, shares: dict[str, Tensor] | None = None) -> None:
        self.shares = {} if shares is None else shares
        self.search = shares is None
        self._sketches: dict[str, Callable[[Tensor], Relaxation]] = {}

    def __call__(
        self, layers: Layers, node: Node, A: Coefficients, samples: Samples
    ) -> tuple[Relaxation, Tensor | None]:
        """The planes at one node, as :data:`~certify.bounds.backward.Planes` asks for them."""
        operator = node.operator
        assert isinstance(operator, Nonlinear)
        entries = held(A)
        boxes = [_fit(layers.boxes[name], A, samples) for name in node.inputs]
        shares = None
        if operator.shares > 0:
            if self.search and node.name not in self.shares:
                leans = [_fit(layers.leans.get(name, layers.boxes[name]), A, samples) for name in node.inputs]
                start = operator.start(*leans).expand(operator.shares, *entries.shape)
                self.shares[node.name] = start.clone().requires_grad_()
            shares = self.shares[node.name]
            if shares.shape != (operator.shares, *entries.shape):
                raise IndexError(f"shares of shape {tuple(shares.shape)} for rows {tuple(entries.shape)}")
        if shares is None or not self.search:
            planes = operator.relax(*boxes, shares=shares)
        else:
            if node.name not in self._sketches:
                self._sketches[node.name] = operator.sketch(*boxes)
            planes = self._sketches[node.name](shares)
        if isinstance(A, Patches):
            planes = _inside(planes, A.of(entries.new_ones(1, *node.shape)))
        if not layers.outward:
            return planes, None
        error = layers.error_of_planes(node, planes, [box.magnitude() for box in boxes])
        if (off := layers.executed(node)) is not None:
            error = error + fit(A, off[samples])
        return planes, error


def _fit(box: Interval, A: Coefficients, samples: Samples) -> Interval:
    return Interval(fit(A, box.lower[samples]), fit(A, box.upper[samples]))


def _inside(planes: Relaxation, inside: Tensor) -> Relaxation:
    """Planes with offset 0 where windows extend beyond the image: there is no neuron."""
    lower, upper = (None if o is None else o * inside for o in (planes.lower_offset, planes.upper_offset))
    return Relaxation(planes.lower_slopes, lower, planes.upper_slopes, upper)


def optimize_rows(
    layers: Layers,
    rows: LinearBounds | Callable[[Tensor], LinearBounds],
    samples: Samples,
    iterations: int | None = None,
    weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The best lower bounds found for rows, (b, r), and their shares (shares, b, r, ...) by node.

    Shares are optimized by Adam's steps, projected to [0, 1].

    Args:
        layers, samples: as for a backward pass.
        rows: the rows to bound, or a function of ``weights`` that makes them.
        iterations: the number of steps; None for that of alpha-CROWN.
        weights: (b, r, n) starting values in [0, 1], if ``rows`` is a function. They are optimized as well and returned
            under the name ``""``, (1, b, r, n).
    """
    sharing = Sharing()
    iterations = ITERATIONS if iterations is None else iterations
    mixing = None if weights is None else weights.clone().unsqueeze(0).requires_grad_()
    best: Tensor | None = None
    kept: dict[str, Tensor] = {}
    moments: defaultdict[str, Adam] = defaultdict(Adam)
    for iteration in range(iterations + 1):
        with torch.enable_grad():
            asked = rows if isinstance(rows, LinearBounds) else rows(mixing[0])  # type: ignore[index]
            lower = minimum(layers, backward(layers, asked, samples, sharing), samples).lower
            total = lower.sum()
        free = sharing.shares if mixing is None else {**sharing.shares, "": mixing}
        better = lower.detach() > (-torch.inf if best is None else best)  # NaN is not
        best = torch.where(better, lower.detach(), -torch.inf if best is None else best)
        for name, shares in free.items():
            mask = better.reshape(1, *better.shape, *(1,) * (shares.dim() - 3))
            kept[name] = torch.where(mask, shares.detach(), kept[name]) if name in kept else shares.detach().clone()
        if iteration == iterations or not free:
            break
        slopes = torch.autograd.grad(total, list(free.values()))
        with torch.no_grad():
            for (name, shares), slope in zip(free.items(), slopes, strict=True):
                mean, size, correction = moments[name](slope)
                step = RATE * DECAY**iteration * correction * (MIXING_RATE if name == "" else 1)
                shares.addcdiv_(mean, size, value=step).clamp_(0, 1)
    assert best is not None
    return best, kept


def search(
    graph: Graph, region: Region, C: Tensor, *, joint: bool = True, deadline: Deadline = NEVER
) -> tuple[RowBounds, tuple[Hint, ...]]:
    """Optimize planes for ``C y`` over one region: lower bounds (1, rows) without error terms, and hints.

    Args:
        graph: the network, usually in float32.
        region: one region of inputs, of the graph's dtype.
        C: (1, rows, outputs).
        joint: optimize also the planes for bounds of intermediate results.
        deadline: when to give up, without a result.

    Raises:
        NoRoom: where the planes of so many rows take more memory than there is to spare.
        OutOfTime: once the deadline passed.
    """
    shares = (math.prod(n.shape) * n.operator.shares for n in graph.nodes if isinstance(n.operator, Nonlinear))
    remembered = C.shape[1] * sum(shares)
    check_room("what alpha-CROWN has to remember of the rows", remembered, SHARE)
    hints: list[Hint] = []
    tightened = partial(_searched, hints, _never) if joint else tighten
    layers = propagate(graph, region, claim=None, tighten=tightened, deadline=deadline)
    some = [optimize_rows(layers, rows, FIRST) for rows in _asked(graph, C)]
    hints.append(_joined([_hint("", NONE, found) for _, found in some]))
    best = torch.cat([lower for lower, _ in some], 1)
    return RowBounds(best, torch.zeros_like(best)).better(output_rows(layers, C)), tuple(hints)


def prove(
    graph: Graph,
    region: Region,
    C: Tensor,
    hints: Sequence[Hint],
    *,
    claim: Claim | None,
    deadline: Deadline = NEVER,
) -> RowBounds:
    """Lower bounds of ``C y`` with the planes of hints; with error terms if there is a claim."""
    layers = proven_layers(graph, region, hints, claim=claim, deadline=deadline)
    found = output_rows(layers, C)
    for hint in hints:
        if hint.name == "":
            asked = _asked(graph, C)
            parts = zip(asked, _parted(hint, [rows.b.shape[1] for rows in asked]), strict=True)
            found = found.better(RowBounds.beside([_bounded(layers, rows, part) for rows, part in parts]))
    if len(unsettled(layers, C, found)) > 0:
        return prove(graph.wide, region, C, hints, claim=claim, deadline=deadline)
    return found


def search_layers(
    graph: Graph, region: Region, stop: Callable[[], bool], deadline: Deadline = NEVER
) -> tuple[Hint, ...]:
    """Optimize planes for all intermediate results of one region, until ``stop``; later ones keep CROWN's."""
    hints: list[Hint] = []
    propagate(graph, region, claim=None, tighten=partial(_searched, hints, stop), deadline=deadline)
    return tuple(hints)


def proven_layers(
    graph: Graph,
    region: Region,
    hints: Sequence[Hint],
    *,
    claim: Claim | None,
    deadline: Deadline = NEVER,
    further: Callable[[Layers, str, Interval], Interval] | None = None,
) -> Layers:
    """Boxes of all results of one region with the planes of hints; with error terms if there is a claim.

    ``further`` improves the box of a result that the hints gave, before later results are bounded.
    """

    def both(layers: Layers, name: str, wanted: Tensor) -> Interval:
        box = layers.boxes[name] = _proved(hints, layers, name, wanted)
        return box if further is None else further(layers, name, box)

    return propagate(graph, region, claim=claim, tighten=both, deadline=deadline)


def _never() -> bool:
    return False


def _asked(graph: Graph, C: Tensor) -> list[LinearBounds]:
    """The rows ``C y`` in chunks of bounded memory."""
    parts, shape = C.split(max(1, CHUNK // graph.widest), dim=1), graph.output.shape
    return [LinearBounds.of(graph.output.name, part.reshape(*part.shape[:2], *shape)) for part in parts]


def _joined(parts: Sequence[Hint]) -> Hint:
    """One hint from those of consecutive rows."""
    shares = {name: torch.cat([part.shares[name] for part in parts], 1) for name in parts[0].shares}
    return replace(parts[0], shares=shares)


def _parted(hint: Hint, sizes: list[int]) -> list[Hint]:
    """A hint split into parts of ``sizes`` rows each.

    Raises:
        IndexError, RuntimeError: if it has another number of rows.
    """
    shares = {name: share.split(sizes, dim=1) for name, share in hint.shares.items()}
    return [replace(hint, shares={name: part[i] for name, part in shares.items()}) for i in range(len(sizes))]


def _searched(hints: list[Hint], stop: Callable[[], bool], layers: Layers, name: str, wanted: Tensor) -> Interval:
    """Tighten a box by CROWN, then by optimized planes for the entries that are still not linear."""
    box = layers.boxes[name] = tighten(layers, name, wanted)
    for samples, entries, rows in entry_rows(layers, name, wanted & bent(layers, name)):
        if stop():
            break
        lower, shares = optimize_rows(layers, rows.both_signs(), samples)
        box = tightened(layers, box, entries[0], lower)
        hints.append(_hint(name, entries[0], shares))
    return box


def _proved(hints: Sequence[Hint], layers: Layers, name: str, wanted: Tensor) -> Interval:
    box = layers.boxes[name] = tighten(layers, name, wanted)
    for hint in hints:
        if hint.name == name:
            rows = rows_for(layers, name, 0, hint.entries).both_signs()
            box = tightened(layers, box, hint.entries, _bounded(layers, rows, hint).lower)
    return box


def _bounded(layers: Layers, rows: LinearBounds, hint: Hint) -> RowBounds:
    dtype = layers.graph.dtype
    shares = {name: share.unsqueeze(1).to(dtype) / LEVELS for name, share in hint.shares.items()}
    return minimum(layers, backward(layers, rows, FIRST, Sharing(shares)), FIRST)


def tightened(layers: Layers, box: Interval, entries: Tensor, lower: Tensor) -> Interval:
    """A box tightened by lower bounds (1, 2 r) of entries (r,) of its one sample, and of their negatives."""
    below, above = (flat(end, 1).clone() for end in (box.lower, box.upper))
    below[0, entries], above[0, entries] = lower[0, : len(entries)], -lower[0, len(entries) :]
    ends = (torch.minimum(below, above), torch.maximum(below, above))
    return meet(layers, box, Interval(*(end.reshape(box.shape) for end in ends)))


def _hint(name: str, entries: Tensor, shares: Mapping[str, Tensor]) -> Hint:
    whole = {node: (share[:, 0] * LEVELS).round().to(torch.uint8) for node, share in shares.items()}
    return Hint(name, entries, whole)


@METHODS.register("alpha-crown")
def alpha_crown(
    graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact", deadline: Deadline = NEVER
) -> RowBounds:
    """Planes optimized for every row, including those that bound intermediate results."""
    return _one_by_one(graph, region, C, claim, deadline, joint=True)


@METHODS.register("alpha-crown-last")
def alpha_crown_last(
    graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact", deadline: Deadline = NEVER
) -> RowBounds:
    """Planes optimized for the rows asked for; intermediate results are bounded by CROWN."""
    return _one_by_one(graph, region, C, claim, deadline, joint=False)


def _one_by_one(
    graph: Graph, region: Region, C: Tensor, claim: Claim | None, deadline: Deadline, *, joint: bool
) -> RowBounds:
    """One sample after another: the rows of one fill a chunk, and its result does not depend on other samples."""
    guide = graph if claim is None else graph.to(torch.float32)
    parts = []
    for i in range(len(C)):
        one, rows = region.rows(slice(i, i + 1)), C[i : i + 1]
        found, hints = search(guide, one.to(guide.dtype), rows.to(guide.dtype), joint=joint, deadline=deadline)
        if claim is not None:
            found = prove(graph, one, rows, hints, claim=claim, deadline=deadline)
        parts.append(RowBounds(found.lower, found.slack, (hints,)))
    return RowBounds.join(parts)
