"""The largest radius that a bound method proves for each input, all inputs of a batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from certify.bounds.backward import RowBounds
from certify.bounds.bracket import Bracket, bracket
from certify.bounds.graph import Graph
from certify.bounds.methods import METHODS, Method
from certify.bounds.region import ball
from certify.core.evidence import Claim
from certify.core.specification import Specification
from certify.core.threat import ThreatModel

__all__ = ["REACH", "TOLERANCE", "ProvenRadius", "largest_tried", "proven_radii"]

TOLERANCE = 1e-3
"""Relative width of the bracket around the radius at which the method stops proving."""

REACH = 4.0
"""Radii up to this multiple of the largest declared one are searched, for the sake of average radii."""

NOISE = 0.01
"""A float32 guide can be off by rounding: declared radii this close above its answer are tried in float64 anyway."""


@dataclass(frozen=True, slots=True)
class ProvenRadius:
    """What was proven for one input.

    Args:
        radius: a radius at which every margin was proven positive in float64; None if that failed at the smallest
            declared radius.
        margins: lower bounds of ``score of the class - score of each other class`` at that radius, or at the smallest
            declared one, or at the input itself where even there they are not positive.
        slack: the largest rounding error subtracted from a margin.
        evaluations: bound evaluations spent, in float32 and float64.
    """

    radius: float | None
    margins: tuple[float, ...]
    slack: float
    evaluations: int


def largest_tried(threat: ThreatModel, features: int) -> float:
    """The cap of the search: 4 times the largest declared radius, or the diameter of the input box if that is less.

    Without a box, and with nothing declared but 0, it is 1 in input units.

    >>> largest_tried(ThreatModel("linf", (0.0, 0.1), (0.0, 1.0)), features=9)
    0.4
    """
    wanted = REACH * threat.largest if threat.largest > 0 else math.inf
    if threat.input_box is not None:
        side = threat.input_box[1] - threat.input_box[0]
        wanted = min(wanted, side * {"linf": 1.0, "l2": math.sqrt(features), "l1": float(features)}[threat.norm])
    return max(wanted if math.isfinite(wanted) else 1.0, threat.largest)


def proven_radii(graph: Graph, x: Tensor, classes: Tensor, threat: ThreatModel, method: str) -> list[ProvenRadius]:
    """Certify the classes of a batch of inputs, each as far as the method carries.

    A float32 search without error terms finds where the margins vanish. Its answer is only a hint: the radius returned
    is one at which float64 bounds with error terms were positive. Declared radii are decided as exactly those values,
    and nothing is searched below the smallest. A radius of 0 is proven if the margins at the input exceed their
    rounding errors.

    Args:
        graph: the network, imported in the dtype in which its weights are exact.
        x: inputs (B, ...); their values are taken as exact.
        classes: the class of each input that should stay on top, (B,) int64.
        threat: norm, declared radii and input box.
        method: name in :data:`~certify.bounds.methods.METHODS`.

    >>> from certify.bounds.torch_import import import_module
    >>> identity = torch.nn.Linear(2, 2, bias=False).requires_grad_(False)
    >>> _ = identity.weight.copy_(torch.eye(2))
    >>> graph = import_module(identity, torch.zeros(1, 2))
    >>> x, threat = torch.tensor([[1.0, 0.5]]), ThreatModel("linf", (0.1,))
    >>> [proof] = proven_radii(graph, x, torch.tensor([0]), threat, "ibp")
    >>> 0.2497 < proof.radius < 0.25
    True
    """
    claim, guide = (_Margins.of(graph.to(t), x, classes, threat) for t in (torch.float64, torch.float32))
    bound, ledger = METHODS[method], _Ledger(claim.C, threat.radii[0])

    def search(chosen: Tensor, radius: Tensor) -> Tensor:
        return guide.rows(bound, chosen, radius, claim=None).lower.amin(dim=1)

    def prove(chosen: Tensor, radius: Tensor) -> Tensor:
        return ledger.record(claim.rows(bound, chosen, radius, claim="exact"), chosen, radius)

    everyone = torch.arange(len(x), device=x.device)
    zero = x.new_zeros(len(x), dtype=torch.float64)
    # At a single point interval arithmetic is exact up to rounding.
    at_zero = ledger.record(claim.rows(METHODS["ibp"], everyone, zero, claim="exact"), everyone, zero)
    close = partial(
        bracket,
        at_zero=at_zero,
        declared=threat.radii,
        cap=largest_tried(threat, math.prod(graph.shape)),
        tolerance=TOLERANCE,
    )
    start = next((radius for radius in threat.radii if radius > 0), largest_tried(threat, math.prod(graph.shape)) / 64)
    hint = close(search, first=zero + start, failed=zero + torch.inf)
    first, failed = _from_hint(hint, threat, start)
    result = close(prove, first=first, failed=failed)
    proven = (at_zero > 0) & (result.proven >= threat.radii[0])
    return [
        ProvenRadius(
            radius=float(result.proven[i]) if bool(proven[i]) else None,
            margins=tuple(ledger.lower[i].tolist()),
            slack=float(ledger.slack[i].max()),
            evaluations=1 + int(hint.evaluations[i] + result.evaluations[i]),
        )
        for i in range(len(x))
    ]


def _from_hint(hint: Bracket, threat: ThreatModel, start: float) -> tuple[Tensor, Tensor]:
    """Where to begin in float64, and what to take as failed there without proof (a failure claims nothing)."""
    first = torch.where(hint.proven > 0, hint.proven, start)
    failed = torch.where(hint.proven > 0, hint.failed, torch.inf)
    for radius in reversed(threat.radii):
        close = (hint.proven < radius) & (radius <= (1 + NOISE) * hint.proven)
        first = torch.where(close, radius, first)
        failed = torch.where(close & (failed <= radius), (1 + TOLERANCE) * radius, failed)
    return first, failed


@dataclass(frozen=True, slots=True, eq=False)
class _Margins:
    """The specification of a batch, in one dtype."""

    graph: Graph
    x: Tensor
    C: Tensor
    threat: ThreatModel

    @classmethod
    def of(cls, graph: Graph, x: Tensor, classes: Tensor, threat: ThreatModel) -> _Margins:
        count = math.prod(graph.output.shape)
        rows = np.stack([Specification.top_class(k, count).rows for k in range(count)])
        C = torch.from_numpy(rows).to(device=x.device, dtype=graph.dtype)[classes]
        return cls(graph, x.to(graph.dtype), C, threat)

    def rows(self, bound: Method, chosen: Tensor, radius: Tensor, *, claim: Claim | None) -> RowBounds:
        region = ball(self.x[chosen], radius.to(self.x), self.threat.norm, self.threat.input_box)
        return bound(self.graph, region, self.C[chosen], claim=claim)


class _Ledger:
    """For each input, the margins at the largest radius proven so far, or else at the smallest declared one."""

    def __init__(self, C: Tensor, least: float) -> None:
        self.least = least
        self.proven = C.new_full((len(C),), -1.0)
        self.lower = C.new_full(C.shape[:2], -torch.inf)
        self.slack = C.new_zeros(C.shape[:2])

    def record(self, rows: RowBounds, chosen: Tensor, radius: Tensor) -> Tensor:
        """Keep what is worth keeping, and return the smallest margins."""
        margin = rows.lower.amin(dim=1)
        proven = (margin > 0) & (radius >= self.least)
        keep = torch.where(proven, radius > self.proven[chosen], (self.proven[chosen] < 0) & (radius <= self.least))
        self.proven[chosen[keep]] = torch.where(proven, radius, -1.0)[keep]
        self.lower[chosen[keep]] = rows.lower[keep]
        self.slack[chosen[keep]] = rows.slack[keep]
        return margin
