"""alpha-CROWN (Xu et al. 2021): CROWN whose free planes are searched for, row by row.

Every choice of free planes is sound, so the search may be loose: it runs in float32 without error terms and leaves
hints, one number in 0..255 for each plane. Proving takes hints and no search: backward passes with these planes, in
whatever arithmetic the claim asks for. So hints are all that somebody needs who wants to derive the claim again.

Each row has planes of its own, also the rows that bound intermediate results. Then a row's planes serve no other end
than the row's own bound, and results can be bounded in order, each by a search in its own rows: no gradient through
the whole network, and no more memory than one chunk of rows takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from certify.bounded.memory import check_room
from certify.bounds.backward import RowBounds, backward, minimum
from certify.bounds.crown import entry_rows, meet, output_rows, rows_for, tighten
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

__all__ = ["Hint", "Sharing", "alpha_crown", "optimize_rows", "prove", "proven_layers", "search", "search_layers"]

ITERATIONS = 20

RATE, DECAY = 0.5, 0.9
"""Shares lie in [0, 1]: long first steps find the right side, short last ones the place."""

MIXING = 0.3
"""Weights of rows take shorter steps than shares: they begin at the best row, which is seldom far."""

MEAN, SQUARE, TINY = 0.9, 0.999, 1e-12
"""Adam's constants."""

FIRST, NONE = torch.zeros(1, dtype=torch.long), torch.zeros(0, dtype=torch.long)
"""The one sample that there is, and no entries."""


class Sharing:
    """Planes by shares (k, b, r, ...) for each row: those given, or where none are, those of a search.

    Then nodes get theirs when a backward pass first meets them.
    """

    def __init__(self, shares: dict[str, Tensor] | None = None) -> None:
        self.shares = {} if shares is None else shares
        self.search = shares is None

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
        planes = operator.relax(*boxes, shares=shares)
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
    """Planes without offsets where windows stick out: there is no neuron."""
    lower, upper = (None if o is None else o * inside for o in (planes.lower_offset, planes.upper_offset))
    return Relaxation(planes.lower_slopes, lower, planes.upper_slopes, upper)


def optimize_rows(
    layers: Layers,
    rows: LinearBounds | Callable[[Tensor], LinearBounds],
    samples: Samples,
    iterations: int | None = None,
    weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The best lower bounds found for rows, (b, r), and the shares they were found with: (shares, b, r, ...) by node.

    Steps are Adam's (Kingma & Ba 2015), projected to [0, 1].

    Args:
        layers, samples: as for a backward pass.
        rows: what is bounded.
        iterations: steps; None for those of alpha-CROWN.
        weights: (b, r, n) numbers in [0, 1] to begin with, where ``rows`` is a function of such numbers. Better ones
            are searched for as well, and come back under the name ``""``, (1, b, r, n).
    """
    sharing = Sharing()
    iterations = ITERATIONS if iterations is None else iterations
    mixing = None if weights is None else weights.clone().unsqueeze(0).requires_grad_()
    best: Tensor | None = None
    kept: dict[str, Tensor] = {}
    moments: dict[str, tuple[Tensor, Tensor]] = {}
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
        pace = RATE * DECAY**iteration * (1 - SQUARE ** (iteration + 1)) ** 0.5 / (1 - MEAN ** (iteration + 1))
        with torch.no_grad():
            for (name, shares), slope in zip(free.items(), slopes, strict=True):
                mean, square = moments.setdefault(name, (torch.zeros_like(slope), torch.zeros_like(slope)))
                mean.lerp_(slope, 1 - MEAN)
                square.lerp_(slope.square(), 1 - SQUARE)
                step = pace * (MIXING if name == "" else 1)
                shares.addcdiv_(mean, square.sqrt().add_(TINY), value=step).clamp_(0, 1)
    assert best is not None
    return best, kept


def search(
    graph: Graph, region: Region, C: Tensor, *, joint: bool = True, deadline: Deadline = NEVER
) -> tuple[RowBounds, tuple[Hint, ...]]:
    """Lower bounds of ``C y`` for one region, (1, rows), without error terms, and the planes that gave them.

    Args:
        graph: the network; float32 is the precision to search in.
        region: one region of inputs, of the graph's dtype.
        C: (1, rows, outputs).
        joint: search for planes of the rows that bound intermediate results too.
        deadline: ends it, with nothing.

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
    """The same lower bounds by the planes of hints alone, with error terms where there is a claim."""
    layers = proven_layers(graph, region, hints, claim=claim, deadline=deadline)
    found = output_rows(layers, C)
    for hint in hints:
        if hint.name == "":
            asked = _asked(graph, C)
            parts = zip(asked, _parted(hint, [rows.b.shape[1] for rows in asked]), strict=True)
            found = found.better(RowBounds.beside([_bounded(layers, rows, part) for rows, part in parts]))
    return found


def search_layers(
    graph: Graph, region: Region, stop: Callable[[], bool], deadline: Deadline = NEVER
) -> tuple[Hint, ...]:
    """Planes for all intermediate results of one region; once ``stop`` says so, what is left has those of CROWN."""
    hints: list[Hint] = []
    propagate(graph, region, claim=None, tighten=partial(_searched, hints, stop), deadline=deadline)
    return tuple(hints)


def proven_layers(
    graph: Graph, region: Region, hints: Sequence[Hint], *, claim: Claim | None, deadline: Deadline = NEVER
) -> Layers:
    """Boxes of all results of one region by the planes of hints alone, with error terms where there is a claim."""
    return propagate(graph, region, claim=claim, tighten=partial(_proved, hints), deadline=deadline)


def _never() -> bool:
    return False


def _asked(graph: Graph, C: Tensor) -> list[LinearBounds]:
    """The rows, as many at a time as memory allows."""
    parts, shape = C.split(max(1, CHUNK // graph.widest), dim=1), graph.output.shape
    return [LinearBounds.of(graph.output.name, part.reshape(*part.shape[:2], *shape)) for part in parts]


def _joined(parts: Sequence[Hint]) -> Hint:
    """The planes of consecutive rows in one."""
    shares = {name: torch.cat([part.shares[name] for part in parts], 1) for name in parts[0].shares}
    return replace(parts[0], shares=shares)


def _parted(hint: Hint, sizes: list[int]) -> list[Hint]:
    """The planes of rows in parts of so many rows each.

    Raises:
        IndexError, RuntimeError: for those of another number of rows.
    """
    shares = {name: share.split(sizes, dim=1) for name, share in hint.shares.items()}
    return [replace(hint, shares={name: part[i] for name, part in shares.items()}) for i in range(len(sizes))]


def _searched(hints: list[Hint], stop: Callable[[], bool], layers: Layers, name: str, wanted: Tensor) -> Interval:
    """CROWN first; a search for the entries that are open after it."""
    box = layers.boxes[name] = tighten(layers, name, wanted)
    for samples, entries, rows in entry_rows(layers, name, wanted & bent(layers, name)):
        if stop():
            break
        lower, shares = optimize_rows(layers, rows.both_signs(), samples)
        box = _tightened(layers, box, entries[0], lower)
        hints.append(_hint(name, entries[0], shares))
    return box


def _proved(hints: Sequence[Hint], layers: Layers, name: str, wanted: Tensor) -> Interval:
    box = layers.boxes[name] = tighten(layers, name, wanted)
    for hint in hints:
        if hint.name == name:
            rows = rows_for(layers, name, 0, hint.entries).both_signs()
            box = _tightened(layers, box, hint.entries, _bounded(layers, rows, hint).lower)
    return box


def _bounded(layers: Layers, rows: LinearBounds, hint: Hint) -> RowBounds:
    dtype = layers.graph.dtype
    shares = {name: share.unsqueeze(1).to(dtype) / LEVELS for name, share in hint.shares.items()}
    return minimum(layers, backward(layers, rows, FIRST, Sharing(shares)), FIRST)


def _tightened(layers: Layers, box: Interval, entries: Tensor, lower: Tensor) -> Interval:
    """A box cut by lower bounds (1, 2 r) of entries (r,) of its one sample and then of their negatives."""
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
    """Planes searched for every row, also of those that bound intermediate results."""
    return _one_by_one(graph, region, C, claim, deadline, joint=True)


@METHODS.register("alpha-crown-last")
def alpha_crown_last(
    graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact", deadline: Deadline = NEVER
) -> RowBounds:
    """Planes searched for the rows asked for; intermediate results as CROWN bounds them."""
    return _one_by_one(graph, region, C, claim, deadline, joint=False)


def _one_by_one(
    graph: Graph, region: Region, C: Tensor, claim: Claim | None, deadline: Deadline, *, joint: bool
) -> RowBounds:
    """One sample after the other: rows of one fill a chunk, and what is found for it depends on it alone."""
    guide = graph if claim is None else graph.to(torch.float32)
    parts = []
    for i in range(len(C)):
        one, rows = region.rows(slice(i, i + 1)), C[i : i + 1]
        found, hints = search(guide, one.to(guide.dtype), rows.to(guide.dtype), joint=joint, deadline=deadline)
        if claim is not None:
            found = prove(graph, one, rows, hints, claim=claim, deadline=deadline)
        parts.append(RowBounds(found.lower, found.slack, (hints,)))
    return RowBounds.join(parts)
