"""Nonconformity scores enclosed by bound propagation: over a point, and over all inputs within a radius."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import torch
from torch import Tensor

from certify.bounds.graph import Graph
from certify.bounds.methods import bounds_of_rows
from certify.bounds.region import region_of
from certify.certifiers.deterministic import graph_of
from certify.core.threats.base import Threat
from certify.models.classifier import Classifier
from certify.sets.scores import Score, rivals

__all__ = ["BoundedScores"]

TOGETHER: Final = 32
"""Inputs that are bounded together."""

ROWS: Final = 1024
"""Differences of classes that are bounded together; all K (K - 1) of them up to 32 classes."""

NARROW: Final = 1e-9
"""Relative width of an enclosure at a point that no further method is asked to improve."""


@dataclass(frozen=True, slots=True, eq=False)
class BoundedScores:
    """Bounds of a network's nonconformity scores.

    They enclose the scores of the network in exact arithmetic. The coverage of sets that are made from them does not
    need more: the network only has to be one fixed function, for calibration and for new inputs alike.

    Args:
        classifier: of a module whose operators all have a rule.
        threat: whose radii are bounded over.
        score: the nonconformity score.
        methods: bound methods; the best of their bounds counts.
        max_memory: bytes to stay within, about; None for half of what is free.
    """

    classifier: Classifier
    threat: Threat
    score: Score
    methods: tuple[str, ...]
    max_memory: int | None = None

    @property
    def paid(self) -> Fraction:
        """Bounds are proofs."""
        return Fraction(0)

    @property
    def method(self) -> str:
        """The bound methods."""
        return ", ".join(self.methods)

    @property
    def pinned(self) -> Mapping[str, Any]:
        """Nothing more."""
        return {}

    @property
    def unknown(self) -> str:
        """The adversary may know everything."""
        return ""

    def highest(self, x: Tensor, labels: Sequence[int], radius: float) -> list[float]:
        """Upper ends of the scores of labels (B,), the largest within a radius of each input (B, ...)."""
        found: list[float] = []
        for part, kept in zip(x.split(TOGETHER), torch.tensor(labels).split(TOGETHER), strict=True):
            rows = self._rows(kept.unsqueeze(1)).to(self.classifier.device)
            found += self.score.highest(-self._bounds(part, -rows, radius)).tolist()  # max f_k - f_y = -min f_y - f_k
        return found

    def shortfall(self, radius: float) -> str:
        """Nothing is known beforehand."""
        return ""

    def calibrate(self, x: Tensor, labels: Sequence[int], digests: Sequence[str]) -> list[float]:
        """Upper ends at the inputs themselves; see :class:`~certify.sets.scorer.Scorer`."""
        return self.highest(x, labels, 0.0)

    def lowest(self, x: Tensor, radius: float, digests: Sequence[str], labels: Sequence[int] | None = None) -> Tensor:
        """Lower ends; see :class:`~certify.sets.scorer.Scorer`."""
        found = []
        for first in range(0, len(x), TOGETHER):
            part = x[first : first + TOGETHER]
            classes = torch.arange(self.classifier.num_classes).expand(len(part), -1)
            if labels is not None:
                classes = torch.tensor(labels[first : first + TOGETHER]).unsqueeze(1)
            found.append(torch.cat([self._lowest(part, some, radius) for some in self._some(classes)], dim=1))
        return torch.cat(found).cpu()

    def _lowest(self, x: Tensor, classes: Tensor, radius: float) -> Tensor:
        leads = self._bounds(x, self._rows(classes).to(self.classifier.device), radius)
        return self.score.lowest(leads.unflatten(1, (classes.shape[1], -1)))

    def _some(self, classes: Tensor) -> Iterator[Tensor]:
        """Columns of classes (B, classes) that are bounded together."""
        yield from classes.split(max(1, ROWS // (self.classifier.num_classes - 1)), dim=1)

    def _rows(self, labels: Tensor) -> Tensor:
        """Rows (B, labels (K - 1), K) of the differences ``f_k - f_y`` for labels (B, labels)."""
        unit = torch.eye(self.classifier.num_classes, dtype=torch.float64)
        return (unit[rivals(len(unit))[labels]] - unit[labels].unsqueeze(2)).flatten(1, 2)

    def _bounds(self, x: Tensor, rows: Tensor, radius: float) -> Tensor:
        """The best lower bounds (B, rows); NaN and plus infinity say nothing."""
        graph = self._graph(x)
        centres = x.to(graph.device, torch.float64)
        region = region_of(self.threat, centres, centres.new_full((len(x),), radius))
        best = centres.new_full(rows.shape[:2], -math.inf)
        # At a single point interval arithmetic is exact up to rounding, unless that grows from layer to layer.
        for method in self.methods if radius else dict.fromkeys(("ibp", *self.methods)):
            found = bounds_of_rows(method, graph, region, rows, claim="exact", max_memory=self.max_memory).lower
            best = torch.maximum(best, torch.where(torch.isfinite(found), found, -math.inf))
            if not radius and self._narrow(graph, centres, rows, best):
                break
        return best

    def _graph(self, x: Tensor) -> Graph:
        return graph_of(self.classifier, tuple(x.shape[1:]), self.max_memory).to(torch.float64)

    @staticmethod
    def _narrow(graph: Graph, x: Tensor, rows: Tensor, lower: Tensor) -> bool:
        """Whether lower bounds at the points themselves are as good as any: a hint, so rounding does not matter."""
        with torch.no_grad():
            value = (rows @ graph.forward(x).flatten(1).unsqueeze(2)).squeeze(2)
        return bool((value - lower <= NARROW * (1.0 + value.abs())).all())
