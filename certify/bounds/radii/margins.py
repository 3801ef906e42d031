"""A classifier's margins within balls: how bounds, and what they claim, meet a batch of inputs and classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from certify.bounds.backward import RowBounds
from certify.bounds.graph import Graph
from certify.bounds.methods import METHODS, bounds_of_rows
from certify.bounds.region import ORDER, Region, ball
from certify.bounds.tensors import Interval, flat
from certify.core.evidence import Claim
from certify.core.norms import DUAL
from certify.core.specification import Specification
from certify.core.threat import ThreatModel
from certify.errors import ModelError

__all__ = ["MarginBounds", "claimable", "margin_rows"]


@dataclass(frozen=True, slots=True, eq=False)
class MarginBounds:
    """The margins of a batch of inputs, each over the score of every other class, as functions of a ball's radius.

    Args:
        graph: the network, in the dtype that bounds are computed in.
        x: inputs (B, ...) of that dtype.
        C: rows (B, classes - 1, classes) whose products with the scores are the margins.
        threat: norm, input box and scale of the balls.
        scale: the threat model's scale in the shape of one input, float64, or None.
        max_memory: bytes to stay within, about; None for half of what is free.
    """

    graph: Graph
    x: Tensor
    C: Tensor
    threat: ThreatModel
    scale: Tensor | None
    max_memory: int | None = None

    @classmethod
    def of(
        cls, graph: Graph, x: Tensor, classes: Tensor, threat: ThreatModel, max_memory: int | None = None
    ) -> MarginBounds:
        """The margins of the classes (B,) that should stay on top."""
        C = margin_rows(classes, math.prod(graph.output.shape), graph.dtype, x.device)
        scale = threat.scale_of(x.shape[1:])
        features = None if scale is None else torch.from_numpy(scale).to(x.device)
        return cls(graph, x.to(graph.dtype), C, threat, features, max_memory)

    def rows(self, method: str, chosen: Tensor, radius: Tensor, claim: Claim | None) -> RowBounds:
        """Lower bounds (n, classes - 1) of the margins of the inputs ``chosen`` (n,) within ``radius`` (n,) of each."""
        region = self.region(chosen, radius)
        return bounds_of_rows(method, self.graph, region, self.C[chosen], claim=claim, max_memory=self.max_memory)

    def region(self, chosen: Tensor, radius: Tensor) -> Region:
        """The balls of ``radius`` (n,) around the inputs ``chosen`` (n,), inside the input box."""
        return ball(self.x[chosen], radius.to(self.x), self.threat.norm, self.threat.input_box, self.scale)

    def at_zero(self) -> tuple[Tensor, Tensor]:
        """The margins at the inputs themselves, (B, rows), and what each loses per unit of radius at small radii.

        That is the dual norm of its gradient. Both are float64, whatever they were computed in.
        """
        with torch.enable_grad():
            x = self.x.clone().requires_grad_()
            margins = (self.C @ flat(self.graph.forward(x), 1).unsqueeze(2)).squeeze(2)
            totals = margins.sum(dim=0)
            gradients = [torch.autograd.grad(total, x, retain_graph=True)[0].flatten(1) for total in totals]
        gradient = torch.stack(gradients, dim=1)
        if self.threat.input_box is not None:
            # A feature at an end of the input box moves one way only.
            lower, upper = ((self.x.flatten(1) != end).unsqueeze(1) for end in self.threat.input_box)
            gradient = torch.where(gradient > 0, gradient * lower, gradient * upper)
        if self.scale is not None:
            gradient = gradient * self.scale.flatten()
        slope = torch.linalg.vector_norm(gradient, ord=ORDER[DUAL[self.threat.norm]], dim=2)
        return margins.detach().double(), slope.double()


def margin_rows(classes: Tensor, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The rows (B, count - 1, count) of each class over every other one of ``count``.

    >>> margin_rows(torch.tensor([1]), 3, torch.float32, torch.device("cpu")).tolist()
    [[[-1.0, 1.0, 0.0], [0.0, 1.0, -1.0]]]
    """
    rows = np.stack([Specification.top_class(k, count).rows for k in range(count)])
    return torch.from_numpy(rows).to(device=device, dtype=dtype)[classes]


def claimable(graph: Graph, claim: Claim, device: torch.device) -> None:
    """Refuse a network of which ``claim`` cannot be made, before any work.

    Raises:
        UnsupportedOperator: for executions of an operator that nothing is known about.
        ModelError: for float32 executions of weights in float64.
    """
    if claim == "exact":
        return
    if graph.dtype != torch.float32:
        raise ModelError(
            'the network\'s weights are float64, so claim "float32" is not about them; convert the module with '
            '.float(), or claim "exact"'
        )
    point = torch.zeros(1, *graph.shape, dtype=torch.float64, device=device)
    C = torch.eye(math.prod(graph.output.shape), dtype=torch.float64, device=point.device).unsqueeze(0)
    METHODS["ibp"](graph.to(torch.float64), Region(Interval(point, point)), C, claim=claim)
