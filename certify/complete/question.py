"""Robustness at one input as a verification problem: does a classifier keep its answer within a radius?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.attacks.moves import moves_of
from certify.bounds.choices import over_choices
from certify.bounds.graph import Graph
from certify.bounds.region import Region, Union
from certify.complete.problem import Goals, VerificationProblem, Witness
from certify.core.evidence import Claim
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat
from certify.models.classifier import INVALID, Classifier

__all__ = ["Question", "changes_class", "goals_within"]

POINTS_ALONG = 64
"""Parts into which the segment from an input to an example is divided to look for a nearer example."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Does ``classifier`` return ``kept`` everywhere within a radius of ``x``? Asked for one radius after another.

    Args:
        classifier: executes the candidates for adversarial examples.
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
    threat: Threat
    claim: Claim

    def within(self, radius: float) -> VerificationProblem:
        """The verification problem for one radius."""
        made = over_choices(self.graph, self.x[None], self.threat)
        if made is None:
            graph, x, threat = self.graph, self.x, self.threat
        else:
            graph, x, threat = made.graph, made.x[0], made.threat
        region, goals = goals_within(graph, x, self.kept, threat, radius, self.classifier.property)

        def examine(points: Tensor) -> Witness | None:
            return self.examine(points if made is None else made.texts(points), radius)

        return VerificationProblem(graph, region, goals, self.claim, examine)

    def examine(self, points: Tensor, radius: float) -> Witness | None:
        """The first of some points (n, ...), moved into the ball and the input box, where the class is another one.

        The class is that of a batch of one; the distance, rounded up, is at most the radius; scores with NaN or
        infinity do not count as another class.
        """
        points = self._inside(points.detach().float(), radius)
        other = self._changed(points).nonzero().flatten().tolist()
        found = (self._executed(points[i], radius) for i in other)
        return next((one for one in found if one is not None), None)

    def nearer(self, found: Witness) -> Witness:
        """The nearest example on the segment from the input to ``found``, by two rounds of evenly spaced points."""
        for _ in range(2):
            share = torch.arange(1, POINTS_ALONG) / POINTS_ALONG
            step = torch.from_numpy(found.x) - self.x
            points = self.x + step * share.reshape(-1, *(1,) * step.dim())
            radius, candidates = self.distance(found), self._changed(points).nonzero().flatten().tolist()
            closer = (self._executed(points[i], radius) for i in candidates)
            found = next((one for one in closer if one is not None), found)
        return found

    def distance(self, found: Witness) -> float:
        """How far an example is from the input, rounded up."""
        return self.threat.distance(self.x.numpy(), found.x)

    def _changed(self, points: Tensor) -> Tensor:
        kept = torch.full((len(points),), self.kept)
        labels = self.classifier.answers(points, kept).cpu()
        return (labels != self.kept) & (labels != INVALID)

    def _executed(self, x: Tensor, radius: float) -> Witness | None:
        if not changes_class(self.classifier, self.x, x, self.kept, self.threat, radius):
            return None
        return Witness(x.numpy(), self.classifier.base.scores(x[None])[0].detach().cpu().numpy())

    def _inside(self, points: Tensor, radius: float) -> Tensor:
        """Points projected into the ball and the box if they lie outside, and unchanged otherwise."""
        center, threat = self.x.numpy(), self.threat
        outside = [i for i, one in enumerate(points.numpy()) if not threat.contains(center, one, radius)]
        if not outside:
            return points
        some = points[outside].nan_to_num()
        moved = moves_of(threat).project(self.x.expand_as(some), some, radius)
        return points.index_copy(0, torch.tensor(outside), moved)


def goals_within(
    graph: Graph, x: Tensor, kept: int, threat: Threat, radius: float, property: Property = TOP_CLASS
) -> tuple[Region, Goals]:
    """The inputs a threat reaches within ``radius`` of one input, rounded outward, and the property as clauses.

    Where they are a union, each of its regions has the same goals.

    Raises:
        NoRoom: for more regions than fit into memory.
    """
    C, d = (torch.tensor(part)[None].to(x.device) for part in property.clauses(kept, math.prod(graph.output.shape)))
    region = Union(threat, x[None].double(), radius).whole()
    count = len(region.box.lower)
    return region, Goals(C.expand(count, *C.shape[1:]), None, d.expand(count, *d.shape[1:]))


def changes_class(classifier: Classifier, x: Tensor, example: Tensor, kept: int, threat: Threat, radius: float) -> bool:
    """Whether an example lies in the ball and the box around an input and, executed alone, has another class.

    Distances are rounded up; scores with NaN or infinity do not count as another class.
    """
    inside = threat.contains(x.numpy(), example.numpy(), radius)
    return inside and int(classifier.answers(example[None], torch.tensor([kept]))[0]) not in (kept, INVALID)
