"""Execution of candidates on the deployed network, examined in exact arithmetic; nothing else makes a witness."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.bounds.graph import Graph
from certify.bounds.importers.onnx_file import OnnxFile
from certify.bounds.region import Region
from certify.bounds.rounding import down
from certify.bounds.tensors import Interval, flat
from certify.complete.problem import Goals, VerificationProblem, Witness, of_query
from certify.complete.query import Disjunct, Query, decimal_text
from certify.core.evidence import Claim

__all__ = ["Execution", "exactly", "executed", "floats_of", "stated"]

RUNS = 16
"""The most executions per call: a search brings further candidates in its next call."""

TOLERANCE = 2.0**-16
"""How far graph and execution may differ in a row, relative to the sum of its terms: float32 sums in another order."""

ENTRIES = 2**23
"""The most numbers in a temporary tensor."""


@dataclass(frozen=True, eq=False)
class Execution:
    """Executes the network of a file on candidates for a query.

    Args:
        file: the deployed network with its runtime.
        graph: the same network, which selects the candidates worth an execution.
        query: in exact numbers.
        goals: the query as rows, which the outputs of the graph are tested on; one region for each box.
    """

    file: OnnxFile
    graph: Graph
    query: Query
    goals: Goals

    @torch.no_grad()
    def examine(self, points: Tensor) -> Witness | None:
        """The first witness among points (n, *shape); the most promising points are executed first.

        Each point is moved into the boxes that contain it up to the rounding of its dtype, or, if there is only one
        box, into that box from anywhere. The graph filters out points that are far from a witness.

        The witness is in the file's dtype and states a point of a box (:func:`stated`). That point, and the floats that
        were executed for it, satisfy every condition of a disjunct together with the output that the runtime computed
        for this sample alone, all in exact arithmetic. A sample with outputs that are not finite is no witness.

        Raises:
            ModelError: if the runtime fails.
        """
        candidates = sorted(self._promising(points), key=lambda candidate: candidate[0])
        runs = (self._execute(x, group) for _, x, group in candidates[:RUNS])
        return next((witness for witness in runs if witness is not None), None)

    def over(self, problem: VerificationProblem) -> VerificationProblem:
        """The problem with regions that also contain the executed floats: if a box contains no float, its rounded ends.

        The goals are tightened so that refuting them refutes the conditions for the executed floats and for the point
        of the box that they stand for.
        """
        box, goals = problem.region.box, problem.goals
        low, high = (end.double().reshape(box.shape) for end in self._boxes)
        low, high = torch.minimum(low, box.lower), torch.maximum(high, box.upper)
        if goals.D is not None:
            moved = flat(torch.maximum(box.lower - low, high - box.upper), 1)
            lost = torch.einsum("bkri,bi->bkr", goals.D.abs(), moved) * (1 + 1e-9)
            goals = replace(goals, d=torch.where(lost > 0, down(goals.d - lost), goals.d))
        return replace(problem, region=Region(Interval(low, high)), goals=goals)

    def _execute(self, x: Tensor, group: int) -> Witness | None:
        # The first axis of one sample's output need not be a batch axis, for example after a transposition.
        y = self.file.run(x.reshape(1, *self.file.shape)).reshape(self.graph.output.shape)
        if not y.isfinite().all():
            return None
        # Exact arithmetic on thousands of inputs is slow, and most disjuncts are missed by more than rounding.
        [near], _ = _near_misses(self.goals.of(slice(group, group + 1)), x[None], y[None])
        cases = [case for case, maybe in zip(self._groups[group], near.tolist(), strict=False) if maybe]
        if not cases:
            return None
        point, ran, outputs = stated(x.numpy(), cases[0]), exactly(x.numpy()), exactly(y.numpy())
        holding = next((case for case in cases if case.holds(point, outputs, ran)), None)
        if holding is None or not all(map(decimal_text, point)):  # one third has no finite decimal
            return None
        return Witness(x.reshape(self.graph.shape).numpy(), y.numpy(), holding)

    def _promising(self, points: Tensor) -> Iterator[tuple[float, Tensor, int]]:
        """Candidates moved into a box: how far the graph is from a witness there, the point, and the box's number."""
        lower, upper = self._boxes
        points = flat(points.detach().to("cpu", self.file.dtype), 1).nan_to_num()
        goals = sum(part[0].numel() for part in (self.goals.C, self.goals.D) if part is not None)
        at_once = max(1, ENTRIES // max(self.graph.widest, goals))
        for point, group in self._near(points):
            for some, those in zip(*(part.split(at_once) for part in (point, group)), strict=True):
                x = points[some].maximum(lower[those]).minimum(upper[those])
                y = self.graph.forward(x.to(self.graph.dtype).reshape(-1, *self.graph.shape))
                worth, values = _near_misses(self.goals.of(those), x, y)
                margin = torch.where(worth, values, torch.inf).amin(1)
                best = margin.topk(min(RUNS, len(margin)), largest=False)
                for value, i in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                    if value < math.inf:
                        yield value, x[i], int(those[i])

    def _near(self, points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of a point and a box that it is in, up to rounding."""
        lower, upper = self._boxes
        if len(lower) == 1:
            numbers = torch.arange(len(points))
            yield numbers, torch.zeros_like(numbers)
            return
        # Compare first in the input in which the boxes overlap least: that excludes almost all pairs.
        reach = upper.amax(0) - lower.amin(0)
        i = int(torch.where(reach > 0, (upper - lower).mean(0) / reach, torch.inf).argmin())
        slack = 4 * torch.finfo(lower.dtype).eps * lower.abs().maximum(upper.abs())
        lower, upper = lower - slack, upper + slack
        first = 0
        for chunk in points.split(max(1, ENTRIES // lower.numel())):
            point, group = ((chunk[:, i, None] >= lower[:, i]) & (chunk[:, i, None] <= upper[:, i])).nonzero().T
            x = chunk[point]
            inside = ((x >= lower[group]) & (x <= upper[group])).all(1)
            yield first + point[inside], group[inside]
            first += len(chunk)

    @cached_property
    def _groups(self) -> tuple[tuple[Disjunct, ...], ...]:
        return self.query.together()

    @cached_property
    def _boxes(self) -> tuple[Tensor, Tensor]:
        """The least and greatest floats (groups, inputs) in each box; where there is none, its rounded ends."""
        low, high = ([end for cases in self._groups for end in getattr(cases[0], name)] for name in ("lower", "upper"))
        lower, upper = floats_of(low, high, self.file.dtype)
        return lower.reshape(len(self._groups), -1), upper.reshape(len(self._groups), -1)


def floats_of(low: Sequence[Fraction], high: Sequence[Fraction], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The least and greatest floats between pairs of numbers; where there is none, the lower number rounded."""
    lower, upper = _inward(low, -1, dtype), _inward(high, 1, dtype)
    none = (lower > upper).nonzero().squeeze(1)
    lower[none] = upper[none] = _nearest([low[i] for i in none], dtype)
    return lower, upper


def stated(x: NDArray[np.floating[Any]], case: Disjunct) -> list[Fraction]:
    """The point in the box of a disjunct that an executed input stands for: the one nearest to it.

    It is the input itself if that lies in the box. But many properties fix an input at a decimal like
    0.5137255191802979, which no float equals. The network can only be executed on the rounded decimal, and the witness
    has to state the decimal. Conditions on inputs have to hold for both numbers (:meth:`Disjunct.holds`).

    >>> third = Fraction("0.3333")
    >>> [point] = stated(np.float32([0.3333]), Disjunct((third,), (third,), ()))
    >>> point == third, Fraction(float(np.float32(0.3333))) == third
    (True, False)
    """
    return [min(max(v, low), high) for v, low, high in zip(exactly(x), case.lower, case.upper, strict=True)]


def exactly(values: NDArray[Any]) -> list[Fraction]:
    """Finite floats as exact fractions, flattened."""
    return [Fraction(v) for v in values.ravel().tolist()]


def executed(query: Query, file: OnnxFile, graph: Graph, claim: Claim) -> VerificationProblem:
    """The verification problem of a query about the network of a file.

    Args:
        query: in exact numbers.
        file: executes the candidates.
        graph: imported from the file, for search and bounds.
        claim: what proofs hold for.
    """
    problem = of_query(query, graph, claim, lambda points: None)
    execution = Execution(file, graph, query, problem.goals)
    return replace(execution.over(problem) if claim == "float32" else problem, examine=execution.examine)


def _near_misses(goals: Goals, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Which clauses (n, clauses) are violated at inputs and outputs, up to rounding; and their largest rows."""
    x, y = x.double(), y.double()
    rows = goals.values(x, y)
    return (rows <= TOLERANCE * goals.sizes(x, y)).all(2), rows.amax(2)


def _nearest(numbers: Sequence[Fraction], dtype: torch.dtype) -> Tensor:
    """The nearest finite floats, rounded via float64 as any reader of decimals would."""
    most = torch.finfo(dtype).max
    return torch.tensor([float(v) for v in numbers], dtype=torch.float64).clamp(-most, most).to(dtype)


def _inward(numbers: Sequence[Fraction], sign: int, dtype: torch.dtype) -> Tensor:
    """Exact ends rounded inward to floats: lower ends (sign -1) up, upper ends (sign 1) down."""
    found = _nearest(numbers, dtype)
    outside = torch.tensor([(Fraction(v) - exact) * sign > 0 for v, exact in zip(found.tolist(), numbers, strict=True)])
    return torch.where(outside, found.nextafter(torch.full_like(found, -sign * torch.inf)), found)
