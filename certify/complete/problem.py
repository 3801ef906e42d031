"""What is to be proven, as tensors: over each region, of every clause one row must be positive."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from certify.bounds.graph import Graph
from certify.bounds.linear import Coefficients, LinearBounds
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.complete.query import Case, Condition, Query
from certify.core.evidence import Claim

__all__ = ["Goals", "Problem", "Witness", "of_query"]


@dataclass(frozen=True, slots=True, eq=False)
class Witness:
    """A counterexample that was executed again and examined in exact arithmetic.

    Args:
        x: the input, in the type that the network reads, the shape of one sample.
        y: the output that an execution of the deployed network gave.
    """

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Goals:
    """Rows ``C y + D x + d``. A clause is refuted where one of its rows is positive; every clause has to be.

    Args:
        C: (B, clauses, rows, outputs).
        D: (B, clauses, rows, inputs); None where no row reads the input.
        d: (B, clauses, rows). A clause with fewer rows is filled up with rows that are -1, a region with fewer
            clauses with clauses that are 1.
    """

    C: Tensor
    D: Tensor | None
    d: Tensor

    def of(self, which: Tensor | slice) -> Goals:
        """The goals of some regions."""
        return Goals(self.C[which], None if self.D is None else self.D[which], self.d[which])

    def to(self, dtype: torch.dtype) -> Goals:
        """The goals in another dtype, rounded to nearest: for a search, not for a claim."""
        return Goals(self.C.to(dtype), None if self.D is None else self.D.to(dtype), self.d.to(dtype))

    def rows(self, graph: Graph) -> LinearBounds:
        """All rows (B, clauses * rows) in terms of the network's output and input."""
        b = self.d.flatten(1)
        A: dict[str, Coefficients] = {graph.output.name: self.C.reshape(*b.shape, *graph.output.shape)}
        if self.D is not None:
            A[graph.input] = self.D.reshape(*b.shape, *graph.shape)
        return LinearBounds(A, b, torch.zeros_like(b))

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """The rows (B, clauses, rows) at inputs (B, ...) and their outputs (B, ...)."""
        found = torch.einsum("bkro,bo->bkr", self.C, y.flatten(1)) + self.d
        return found if self.D is None else found + torch.einsum("bkri,bi->bkr", self.D, x.flatten(1))

    def sizes(self, x: Tensor, y: Tensor) -> Tensor:
        """What the rows add up, all of it positive: rounding is in proportion to that."""
        D = None if self.D is None else self.D.abs()
        return Goals(self.C.abs(), D, self.d.abs()).values(x.abs(), y.abs())

    def refuted(self, lower: Tensor) -> Tensor:
        """Which clauses (B, clauses) lower bounds (B, clauses * rows) of the rows refute; NaN refutes nothing."""
        return (lower.reshape(self.d.shape) > 0).any(dim=2)


@dataclass(frozen=True, eq=False)
class Problem:
    """Regions of inputs, and what is to be proven over each, about one network.

    Args:
        graph: the network in the dtype in which its weights are exact.
        region: the inputs in float64, rounded outward, one region for each row of goals.
        goals: in float64, exact or rounded to what is harder to prove.
        claim: what proofs hold for: the network in exact arithmetic, or every float32 execution of it as well.
        examine: executes points (n, *shape), of the graph's dtype, moved into the region where rounding left them
            outside, and gives a witness if one of them is one.
    """

    graph: Graph
    region: Region
    goals: Goals
    claim: Claim
    examine: Callable[[Tensor], Witness | None]

    @cached_property
    def exact(self) -> Graph:
        """The network in float64: for claims."""
        return self.graph.to(torch.float64)

    @cached_property
    def quick(self) -> Graph:
        """The network in float32: for searches."""
        return self.graph.to(torch.float32)

    @property
    def wide(self) -> int:
        """The most inputs of one region that are not fixed."""
        box = self.region.box
        return int((box.lower < box.upper).flatten(1).sum(1).max())


def of_query(query: Query, graph: Graph, claim: Claim, examine: Callable[[Tensor], Witness | None]) -> Problem:
    """A query as a problem: cases of one box together, each a clause of its goals."""
    groups = query.together()
    lower, upper = (
        torch.tensor([[_outward(v, sign) for v in end] for end in ends], dtype=torch.float64).reshape(-1, *graph.shape)
        for sign, ends in ((-1, [cases[0].lower for cases in groups]), (1, [cases[0].upper for cases in groups]))
    )
    clauses = max(map(len, groups))
    rows = max(1, *(len(case.conditions) for case in query.cases))
    C = torch.zeros(len(groups), clauses, rows, query.outputs, dtype=torch.float64)
    D = torch.zeros(len(groups), clauses, rows, query.inputs, dtype=torch.float64)
    d = torch.ones(len(groups), clauses, rows, dtype=torch.float64)
    for g, cases in enumerate(groups):
        for k, case in enumerate(cases):
            d[g, k] = -1
            for r, condition in enumerate(case.conditions):
                for y, b in condition.y:
                    C[g, k, r, y] = float(b)
                for x, a in condition.x:
                    D[g, k, r, x] = float(a)
                d[g, k, r] = _offset(condition, case)
    return Problem(graph, Region(Interval(lower, upper)), Goals(C, D if bool(D.any()) else None, d), claim, examine)


def _offset(condition: Condition, case: Case) -> float:
    """``-bound`` rounded down, less what rounding the coefficients may cost: they are whole numbers, mostly exact."""
    if any(Fraction(float(b)) != b for _, b in condition.y):
        return -math.inf  # outputs have no known size here: such a condition is never refuted
    lost = (abs(a - Fraction(float(a))) * max(abs(case.lower[x]), abs(case.upper[x])) for x, a in condition.x)
    return _outward(-condition.bound - sum(lost, Fraction(0)), -1)


def _outward(value: Fraction, sign: int) -> float:
    """The nearest float64 that is not on the inner side of an exact number."""
    found = float(value)
    inside = Fraction(found) > value if sign < 0 else Fraction(found) < value
    return math.nextafter(found, sign * math.inf) if inside else found
