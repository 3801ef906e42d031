"""Whether a classifier keeps its class within a radius of an input, as a problem."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from certify.attacks.ball import project
from certify.bounds.graph import Graph
from certify.bounds.radii.margins import margin_rows
from certify.bounds.region import ball
from certify.complete.problem import Goals, Problem, Witness
from certify.core.evidence import Claim
from certify.core.norms import distance_up
from certify.core.threat import ThreatModel
from certify.models.classifier import INVALID, Classifier

__all__ = ["Question", "Refutation"]

ALONG = 64
"""Points on the way from an input to an example that are tried at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Refutation(Witness):
    """An adversarial example: the witness with its distance, rounded up, and the class returned there."""

    distance: float
    prediction: int


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Does ``classifier`` return ``kept`` everywhere around ``x``? Asked for one radius after the other.

    Args:
        classifier: what candidates are executed on.
        graph: its network, imported in the dtype in which its weights are exact.
        x: the input (...), float32.
        kept: its class.
        threat: norm, input box and scale.
        claim: what proofs hold for.
    """

    classifier: Classifier
    graph: Graph
    x: Tensor
    kept: int
    threat: ThreatModel
    claim: Claim

    def within(self, radius: float) -> Problem:
        """The problem of one radius: each other class is a clause, and has to stay below."""
        exact, threat = torch.float64, self.threat
        C = margin_rows(torch.tensor([self.kept]), self.classifier.num_classes, exact, self.x.device).unsqueeze(2)
        scale = threat.scale_of(self.x.shape)
        region = ball(
            self.x[None].to(exact),
            torch.tensor([radius], dtype=exact),
            threat.norm,
            threat.input_box,
            None if scale is None else torch.from_numpy(scale),
        )
        goals = Goals(C, None, C.new_zeros(C.shape[:3]))
        return Problem(self.graph, region, goals, self.claim, lambda points: self.examine(points, radius))

    def examine(self, points: Tensor, radius: float) -> Refutation | None:
        """The first of some points (n, ...), moved into ball and box, at which the classifier returns another class.

        The class is that of a batch of one, the distance is rounded up and not above the radius, and scores with NaN or
        infinity refute nothing.
        """
        points = self._inside(points.detach().float(), radius)
        other = self._changed(points).nonzero().flatten().tolist()
        found = (self._executed(points[i], radius) for i in other)
        return next((one for one in found if one is not None), None)

    def nearer(self, found: Refutation) -> Refutation:
        """The nearest example on the way from the input to one, as far as two rounds of points can tell."""
        for _ in range(2):
            share = torch.arange(1, ALONG) / ALONG
            step = torch.from_numpy(found.x) - self.x
            points = self.x + step * share.reshape(-1, *(1,) * step.dim())
            candidates = self._changed(points).nonzero().flatten().tolist()
            closer = (self._executed(points[i], found.distance) for i in candidates)
            found = next((one for one in closer if one is not None), found)
        return found

    def _changed(self, points: Tensor) -> Tensor:
        labels = self.classifier.predict(points).cpu()
        return (labels != self.kept) & (labels != INVALID)

    def _executed(self, x: Tensor, radius: float) -> Refutation | None:
        """A point examined by itself: in ball and box, with a class of its own."""
        exact = x.numpy()
        if not self.threat.contains(self.x.numpy(), exact, radius) or not bool(self._changed(x[None])):
            return None
        scores = self.classifier.scores(x[None])[0].detach().cpu()
        distance = distance_up(self.x.numpy(), exact, self.threat.norm, self.threat.scale_of(self.x.shape))
        return Refutation(exact, scores.numpy(), distance, int(scores.argmax()))

    def _inside(self, points: Tensor, radius: float) -> Tensor:
        """Points as they are where they lie in ball and box, which projections only approach from inside."""
        center, threat = self.x.numpy(), self.threat
        outside = [i for i, one in enumerate(points.numpy()) if not threat.contains(center, one, radius)]
        if not outside:
            return points
        scale = threat.scale_of(self.x.shape)
        some = points[outside].nan_to_num()
        around = self.x.expand_as(some)
        weight = None if scale is None else torch.from_numpy(scale)
        moved = project(around, some, radius, threat.norm, threat.input_box, weight)
        return points.index_copy(0, torch.tensor(outside), moved)
