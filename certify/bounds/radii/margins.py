"""Bounds of a classifier's margins over balls around a batch of inputs, and what can be claimed of a network."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from certify.bounds.backward import RowBounds
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph
from certify.bounds.memory import samples_within
from certify.bounds.methods import METHODS, bounds_of_rows
from certify.bounds.radii.union import over_union
from certify.bounds.region import Region, Union, region_of
from certify.bounds.tensors import Interval, flat
from certify.core.evidence import Claim
from certify.core.norms import DUAL, ORDER
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat
from certify.core.threats.lp import ThreatModel
from certify.errors import ModelError

__all__ = ["MarginBounds", "claimable", "property_rows"]


@dataclass(frozen=True, slots=True, eq=False)
class MarginBounds:
    """Lower bounds of the margins of a batch of inputs as functions of a ball's radius.

    Args:
        graph: the network, in the dtype that bounds are computed in.
        x: inputs (B, ...) of that dtype.
        C, d: rows (B, rows, classes) and offsets (B, rows) of the property, from which margins follow.
        property: what must be kept; its margins are positive where it is.
        threat: norm, input box and scale of the balls.
        max_memory: bytes to stay within, about; None for half of what is free.
        deadline: when to give up.
    """

    graph: Graph
    x: Tensor
    C: Tensor
    d: Tensor
    threat: Threat
    property: Property = TOP_CLASS
    max_memory: int | None = None
    deadline: Deadline = NEVER

    @classmethod
    def of(
        cls,
        graph: Graph,
        x: Tensor,
        classes: Tensor,
        threat: Threat,
        max_memory: int | None = None,
        deadline: Deadline = NEVER,
        property: Property = TOP_CLASS,
    ) -> MarginBounds:
        """For the answers (B,) that should be kept."""
        C, d = property_rows(property, classes, math.prod(graph.output.shape), graph.dtype, x.device)
        return cls(graph, x.to(graph.dtype), C, d, threat, property, max_memory, deadline)

    def rows(self, method: str, chosen: Tensor, radius: Tensor, claim: Claim | None) -> RowBounds:
        """Lower bounds (n, margins) of the margins of the inputs ``chosen`` (n,) within ``radius`` (n,) of each.

        Raises:
            NoRoom, OutOfTime: where memory or time do not suffice.
        """
        several = self.threat.reaching(tuple(self.x.shape[1:])).regions
        if max(map(several, radius.tolist()), default=1) > 1:
            return RowBounds.join(
                [self._one(method, i, claim, r) for i, r in zip(chosen.split(1), radius, strict=True)]
            )
        found = self.bounded(method, self.region(chosen, radius), self.C[chosen], claim)
        slack = found.slack.amax(dim=1, keepdim=True)
        lower = self.margins(found.lower, chosen)
        return found if lower is found.lower else RowBounds(lower, slack.expand(lower.shape), found.hints)

    def _one(self, method: str, which: Tensor, claim: Claim | None, radius: Tensor) -> RowBounds:
        """The same for one input (1,), over as many regions as there are; with its hints, even if there are none."""
        union = self.union(which, float(radius))
        if len(union) > 1:
            return over_union(self, method, which, union, claim)
        found = self.rows(method, which, radius.reshape(1), claim)
        return replace(found, hints=found.hints or ((),))

    def union(self, which: Tensor, radius: float) -> Union:
        """The regions that make up what the threat reaches from one input (1,)."""
        return Union(self.threat, self.x[which], radius)

    def bounded(self, method: str, region: Region, C: Tensor, claim: Claim | None) -> RowBounds:
        """Lower bounds of rows C (n, rows, classes) over regions."""
        return bounds_of_rows(
            method, self.graph, region, C, claim=claim, max_memory=self.max_memory, deadline=self.deadline
        )

    def margins(self, lower: Tensor, chosen: Tensor | slice) -> Tensor:
        """The margins (n, margins) of the inputs ``chosen`` from lower bounds (n, rows) of their rows."""
        if self.property == TOP_CLASS:
            return lower
        # A sum of two floats is positive only where the exact one is.
        return self.property.margins(lower + self.d[chosen], self.C.shape[2])

    def region(self, chosen: Tensor, radius: Tensor) -> Region:
        """The balls of ``radius`` (n,) around the inputs ``chosen`` (n,), inside the input box."""
        return region_of(self.threat, self.x[chosen], radius)

    def at_zero(self) -> tuple[Tensor, Tensor]:
        """The margins (B, rows) at the inputs themselves, and a guess of what each loses per unit of radius; float64.

        At small radii, balls lose the dual norm of the gradient. Other threats are guessed to lose all of a margin by
        the largest declared radius: a search that starts from there takes a few steps more.

        Raises:
            OutOfTime: once the deadline passed.
        """
        at_once = samples_within(self.graph, self.max_memory, self.x.device)
        parts = [self._at_zero(x, C) for x, C in zip(self.x.split(at_once), self.C.split(at_once), strict=True)]
        rows, slopes = (torch.cat(part) for part in zip(*parts, strict=True))
        margins = self.margins(rows, slice(None))
        # Margins that combine several rows lose at most as much as the steepest row.
        return margins, slopes if margins is rows else slopes.amax(dim=1, keepdim=True).expand(margins.shape)

    def _at_zero(self, inputs: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        threat = self.threat
        with torch.enable_grad():
            x = inputs.clone().requires_grad_()
            margins = (C @ flat(self.graph.forward(x), 1).unsqueeze(2)).squeeze(2)
            totals = margins.sum(dim=0)
        if not isinstance(threat, ThreatModel):
            found = margins.detach().double()
            return found, found.abs() / (threat.largest or 1.0)
        scale = threat.scale_of(inputs.shape[1:])
        slopes = []
        for total in totals:
            self.deadline.check()
            gradient = flat(_slope(total, x), 1)
            if threat.input_box is not None:
                # A feature at an end of the input box can only move one way.
                lower, upper = (flat(inputs != end, 1) for end in threat.input_box.around(inputs))
                gradient = torch.where(gradient > 0, gradient * lower, gradient * upper)
            if scale is not None:
                gradient = gradient * torch.from_numpy(scale).to(gradient).flatten()
            slopes.append(torch.linalg.vector_norm(gradient, ord=ORDER[DUAL[threat.norm]], dim=1))
        return margins.detach().double(), torch.stack(slopes, dim=1).double()


def _slope(total: Tensor, x: Tensor) -> Tensor:
    """The gradient at x; 0 if the total depends on x through steps only."""
    if not total.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad(total, x, retain_graph=True, materialize_grads=True)[0]


def property_rows(
    property: Property, kept: Tensor, count: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The rows (B, rows, count) and offsets (B, rows) of a property for answers (B,) about ``count`` scores.

    >>> property_rows(TOP_CLASS, torch.tensor([1]), 3, torch.float32, torch.device("cpu"))[0].tolist()
    [[[-1.0, 1.0, 0.0], [0.0, 1.0, -1.0]]]
    """
    distinct, which = kept.unique(return_inverse=True)
    rows = zip(*(property.rows(k, count) for k in distinct.tolist()), strict=True)
    C, d = (torch.from_numpy(np.stack(part)).to(device=device, dtype=dtype)[which] for part in rows)
    return C, d


def claimable(graph: Graph, claim: Claim) -> None:
    """Refuse a network for which ``claim`` cannot be made, before any other work.

    Raises:
        UnsupportedOperator: if nothing is known about float32 executions of an operator.
        ModelError: for float32 executions of weights in float64.
    """
    if claim == "exact":
        return
    if graph.dtype != torch.float32:
        raise ModelError(
            'the network\'s weights are float64, so claim "float32" is not about them; convert the module with '
            '.float(), or claim "exact"'
        )
    point = torch.zeros(1, *graph.shape, dtype=torch.float64, device=graph.device)
    C = torch.eye(math.prod(graph.output.shape), dtype=torch.float64, device=point.device).unsqueeze(0)
    METHODS["ibp"](graph.to(torch.float64), Region(Interval(point, point)), C, claim=claim)
