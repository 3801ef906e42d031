"""The largest radius that bound methods prove, for all inputs of a batch at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounded.memory import NoRoom
from certify.bounds.backward import RowBounds
from certify.bounds.deadline import NEVER, Deadline, OutOfTime
from certify.bounds.graph import Graph
from certify.bounds.hints import Hint
from certify.bounds.radii.bracket import bracket
from certify.bounds.radii.ladder import decide
from certify.bounds.radii.margins import MarginBounds
from certify.core.evidence import Claim
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat

__all__ = ["SEARCH_FACTOR", "TOLERANCE", "ProvenRadius", "largest_tried", "proven_radii"]

TOLERANCE = 1e-3
"""The search ends when the bracket around the largest provable radius has this relative width."""

SEARCH_FACTOR = 4.0
"""Radii are searched up to this multiple of the largest declared one, so that the average radius is informative."""


@dataclass(frozen=True, slots=True)
class ProvenRadius:
    """What was proven for one input.

    Args:
        radius: the largest radius at which every margin was proven positive in float64; None if the proof failed at the
            smallest declared radius.
        failed: the smallest larger radius at which some margin was not positive, with or without proof; infinite if all
            radii tried passed. It claims nothing.
        method: the method that proved the radius; if nothing is proven, the last one that tried.
        margins: lower bounds of ``score of the class - score of each other class`` at that radius; if nothing is
            proven, at the smallest declared radius, or at the input itself if the search expected no proof there.
        slack: the largest rounding error subtracted from a margin.
        at_zero: evaluations at the input itself, which cost about one forward pass each.
        searched: evaluations in float32, which claim nothing.
        claimed: evaluations in float64 with error terms, whether or not they proved anything.
        hopeless: whether the margins at the input itself could not be proven positive.
        hints: the planes behind the margins, if the method optimizes planes.
        given_up: why the search ended early, for lack of time or memory; empty if it did not.
    """

    radius: float | None
    failed: float
    method: str
    margins: tuple[float, ...]
    slack: float
    at_zero: int
    searched: int
    claimed: int
    hopeless: bool
    hints: tuple[Hint, ...] = ()
    given_up: str = ""

    @property
    def evaluations(self) -> int:
        """All bound evaluations spent."""
        return self.at_zero + self.searched + self.claimed


def largest_tried(threat: Threat, features: int) -> float:
    """The largest radius that is searched: 4 times the largest declared one, or the threat's farthest if that is less.

    Without an end and without a declared radius above 0 it is 1.

    >>> from certify import ThreatModel
    >>> largest_tried(ThreatModel("linf", (0.0, 0.1), (0.0, 1.0)), features=9)
    0.4
    """
    wanted = SEARCH_FACTOR * threat.largest if threat.largest > 0 else math.inf
    wanted = min(wanted, threat.farthest(features))
    return max(wanted if math.isfinite(wanted) else 1.0, threat.largest)


def proven_radii(
    graph: Graph,
    x: Tensor,
    classes: Tensor,
    threat: Threat,
    methods: str | Sequence[str],
    *,
    claim: Claim = "exact",
    search: bool = True,
    max_memory: int | None = None,
    deadline: Deadline = NEVER,
    property: Property = TOP_CLASS,
) -> list[ProvenRadius]:
    """Certify the classes of a batch of inputs, each as far as the methods can prove it.

    A float32 search without error terms finds where the margins vanish. It only guides: the returned radius is one at
    which float64 bounds with error terms were positive. Declared radii are decided at exactly their values, and no
    smaller radius is searched. A radius of 0 is proven if the margins at the input exceed their rounding errors. Tried
    radii lie on a grid, so that rounding, which differs with the other inputs of a batch, hardly ever changes a result;
    apart from that, the search for one input does not depend on others.

    Args:
        graph: the network, imported in the dtype in which its weights are exact.
        x: inputs (B, ...); their values are taken as exact.
        classes: the class of each input that should stay on top, (B,) int64.
        threat: norm, declared radii and input box.
        methods: a name in :data:`~certify.bounds.methods.METHODS`, or several, cheapest first. Each of several decides
            only the declared radii that no earlier one proved; the last one tried continues the search.
        claim: what is proven: about the network in exact real arithmetic, or also about every float32 execution.
        search: False to decide the declared radii only, by bisection.
        max_memory: bytes to stay within, about; None for half of what is free.
        property: what has to be kept; ``classes`` are its answers.
        deadline: when to stop and return what was proven until then. With one, declared radii are decided first.

    >>> from certify.bounds.importers.torch_import import import_module
    >>> identity = torch.nn.Linear(2, 2, bias=False).requires_grad_(False)
    >>> _ = identity.weight.copy_(torch.eye(2))
    >>> graph = import_module(identity, torch.zeros(1, 2))
    >>> from certify import ThreatModel
    >>> x, threat = torch.tensor([[1.0, 0.5]]), ThreatModel("linf", (0.1,))
    >>> [proof] = proven_radii(graph, x, torch.tensor([0]), threat, "ibp")
    >>> 0.2497 < proof.radius < 0.25
    True
    """
    ladder = (methods,) if isinstance(methods, str) else tuple(methods)
    proof, guide = (
        MarginBounds.of(graph.to(t), x, classes, threat, max_memory, deadline, property)
        for t in (torch.float64, torch.float32)
    )
    ledger = _Ledger(proof.margins(proof.C[:, :, 0], slice(None)), threat.radii[0])
    try:
        _find(ledger, proof, guide, ladder, claim, search=search)
    except (NoRoom, OutOfTime) as problem:
        ledger.given_up = str(problem)
    return [ledger.result(i) for i in range(len(x))]


def _find(
    ledger: _Ledger, proof: MarginBounds, guide: MarginBounds, ladder: Sequence[str], claim: Claim, *, search: bool
) -> None:
    """Prove radii, recording each in the ledger.

    Raises:
        NoRoom, OutOfTime: where memory or time do not suffice for the next step.
    """
    threat, graph = proof.threat, proof.graph

    def prove(method: str, chosen: Tensor, radius: Tensor) -> Tensor:
        rows = proof.rows(method, chosen, radius, claim)
        ledger.record(rows, method, chosen, radius)
        return rows.lower

    at_zero = ledger.lower.clone()
    # At a single point interval arithmetic is exact up to rounding.
    for method in dict.fromkeys(("ibp", *ladder)):
        [open_] = (~(at_zero.amin(dim=1) > 0)).nonzero(as_tuple=True)
        if len(open_) > 0:
            at_zero[open_] = prove(method, open_, at_zero.new_zeros(len(open_)))
    hopeless = ledger.hopeless = ~(at_zero.amin(dim=1) > 0)
    ledger.at_zero = ledger.claimed.clone()
    known = None
    # A search proves little before its end, so if it may be cut short, declared radii are decided first.
    if len(ladder) > 1 or not search or proof.deadline.seconds < math.inf:
        known = decide(prove, ladder, threat.radii, ~hopeless)
        ledger.failed = known.failed
    if not search:
        return
    start, slope = guide.at_zero()
    # The search starts from the same margins for every claim, so that a stronger claim never gets a larger radius.
    start = torch.where(start > 0, start, at_zero)
    for step, method in enumerate(ladder):
        [group] = (~hopeless if known is None else ~hopeless & (known.last == step)).nonzero(as_tuple=True)
        if len(group) == 0:
            continue

        def margins(which: Tensor, radius: Tensor, proving: bool, method: str = method, at: Tensor = group) -> Tensor:
            if proving:
                return prove(method, at[which], radius)
            ledger.searched[at[which]] += 1
            return guide.rows(method, at[which], radius, None).lower

        found = bracket(
            margins,
            at_zero=start[group],
            slope=slope[group],
            declared=threat.radii,
            cap=largest_tried(threat, math.prod(graph.shape)),
            tolerance=TOLERANCE,
            proven=None if known is None else known.proven[group],
            failed=ledger.failed[group],
        )
        ledger.failed[group] = found.failed


class _Ledger:
    """For each input, the margins at the largest radius proven so far, or at the smallest declared one if none is."""

    def __init__(self, like: Tensor, least: float) -> None:
        self.least = least
        self.methods = ["ibp"] * len(like)  # the first method tried
        self.hints: list[tuple[Hint, ...]] = [()] * len(like)
        self.proven = like.new_full((len(like),), -1.0)
        self.lower = torch.full_like(like, -torch.inf)
        self.slack = torch.zeros_like(like)
        self.searched, self.claimed, self.at_zero = torch.zeros(3, len(like), dtype=torch.long, device=like.device)
        self.failed = like.new_full((len(like),), torch.inf)
        self.hopeless = torch.zeros(len(like), dtype=torch.bool, device=like.device)
        self.given_up = ""

    def record(self, rows: RowBounds, method: str, chosen: Tensor, radius: Tensor) -> None:
        """Count an evaluation with claim, and keep its margins if they are the best so far."""
        self.claimed[chosen] += 1
        proven = (rows.lower.amin(dim=1) > 0) & (radius >= self.least)
        keep = torch.where(proven, radius > self.proven[chosen], (self.proven[chosen] < 0) & (radius <= self.least))
        kept = chosen[keep]
        self.proven[kept] = torch.where(proven, radius, -1.0)[keep]
        self.lower[kept] = rows.lower[keep]
        self.slack[kept] = rows.slack[keep]
        [places] = keep.nonzero(as_tuple=True)
        for place, i in zip(places.tolist(), kept.tolist(), strict=True):
            self.methods[i] = method
            self.hints[i] = rows.hints[place] if rows.hints else ()

    def result(self, i: int) -> ProvenRadius:
        """The result for one input."""
        return ProvenRadius(
            radius=float(self.proven[i]) if float(self.proven[i]) >= 0 else None,
            failed=float(self.failed[i]),
            method=self.methods[i],
            margins=tuple(self.lower[i].tolist()),
            slack=float(self.slack[i].max()),
            at_zero=int(self.at_zero[i]),
            searched=int(self.searched[i]),
            claimed=int(self.claimed[i] - self.at_zero[i]),
            hopeless=bool(self.hopeless[i]),
            hints=self.hints[i],
            given_up=self.given_up,
        )
