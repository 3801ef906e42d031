"""A verification query as tensors: over each region, every clause must have a row that is positive everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from certify.bounds.graph import Graph
from certify.bounds.linear import Coefficients, LinearBounds
from certify.bounds.region import Region
from certify.bounds.tensors import Interval, flat
from certify.complete.inputs.chain import Chain
from certify.complete.query import Condition, Disjunct, Query
from certify.core.evidence import Claim
from certify.errors import BadInput

__all__ = ["Goals", "Steps", "VerificationProblem", "Witness", "of_query", "outcome"]

FIXED_WIDTH = 2.0**-20
"""An input whose interval is narrower than this part of its size counts as fixed: only rounding made it an interval."""


@dataclass(frozen=True, slots=True, eq=False)
class Witness:
    """A counterexample that was executed again and examined in exact arithmetic.

    Args:
        x: the input, in the type that the network reads, the shape of one sample.
        y: the output that an execution of the deployed network gave.
        case: the disjunct of the query that they satisfy.
    """

    x: np.ndarray
    y: np.ndarray
    case: Disjunct | None = None


P = TypeVar("P")

Steps = Generator[int | P | Witness, None, None]
"""A search in steps: yields how many subproblems each bounded, at last a proof or a witness; none if it gives up."""


def outcome(steps: Iterator[int | P | Witness]) -> P | Witness | None:
    """Run a search to its end: its proof or witness; None if it gave up.

    >>> outcome(iter([1, 2, "proof"]))
    'proof'
    """
    return next((found for found in steps if not isinstance(found, int)), None)


@dataclass(frozen=True, slots=True, eq=False)
class Goals:
    """Rows ``C y + D x + d`` of outputs y and inputs x, grouped into clauses.

    A clause is refuted where one of its rows is positive; a region is proven when all its clauses are refuted. A strict
    row also refutes its clause where it is 0.

    Args:
        C: (B, clauses, rows, outputs).
        D: (B, clauses, rows, inputs); None where no row reads the input.
        d: (B, clauses, rows). Missing rows of a clause are padded with the constant -1, which never refutes; missing
            clauses of a region with the constant 1, which always does.
        strict: (B, clauses, rows) mask of the strict rows; None where there is none.
    """

    C: Tensor
    D: Tensor | None
    d: Tensor
    strict: Tensor | None = None

    def of(self, which: Tensor | slice) -> Goals:
        """The goals of some regions."""
        D, strict = (None if part is None else part[which] for part in (self.D, self.strict))
        return Goals(self.C[which], D, self.d[which], strict)

    def to(self, dtype: torch.dtype) -> Goals:
        """The goals in another dtype, rounded to nearest: for a search, not for a claim."""
        D = None if self.D is None else self.D.to(dtype)
        return Goals(self.C.to(dtype), D, self.d.to(dtype), self.strict)

    def rows(self, graph: Graph) -> LinearBounds:
        """All rows (B, clauses * rows) in terms of the network's output and input."""
        b = self.d.flatten(1)
        A: dict[str, Coefficients] = {graph.output.name: self.C.reshape(*b.shape, *graph.output.shape)}
        if self.D is not None:
            A[graph.input] = self.D.reshape(*b.shape, *graph.shape)
        return LinearBounds(A, b, torch.zeros_like(b))

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """The rows (B, clauses, rows) at inputs (B, ...) and their outputs (B, ...)."""
        found = torch.einsum("bkro,bo->bkr", self.C, flat(y, 1)) + self.d
        return found if self.D is None else found + torch.einsum("bkri,bi->bkr", self.D, flat(x, 1))

    def sizes(self, x: Tensor, y: Tensor) -> Tensor:
        """The sums of the absolute values of all terms of the rows, to which rounding errors are proportional."""
        D = None if self.D is None else self.D.abs()
        return Goals(self.C.abs(), D, self.d.abs()).values(x.abs(), y.abs())

    def refuted(self, lower: Tensor) -> Tensor:
        """Which clauses (B, clauses) lower bounds (B, clauses * rows) of the rows refute; NaN refutes nothing."""
        lower = lower.reshape(self.d.shape)
        found = lower > 0
        return (found if self.strict is None else found | (self.strict & (lower == 0))).any(dim=2)

    def refuted_by_box(self, y: Interval) -> Tensor:
        """Which clauses (B, clauses) a strict row about one output refutes, for outputs in boxes (B, *shape).

        ``y > 1`` is refuted by ``y <= 1``, which the rounding errors of a bound on ``1 - y`` would hide. The sum of two
        floats rounds to 0 only if it is 0, and keeps its sign, so the comparison here is exact.
        """
        if self.strict is None:
            return torch.zeros(self.d.shape[:2], dtype=torch.bool)
        plain = (self.C.abs().sum(dim=3) == 1) & (self.C.abs().amax(dim=3) == 1)
        if self.D is not None:
            plain &= (self.D == 0).all(dim=3)
        output = self.C.abs().argmax(dim=3)
        lower, upper = (flat(end, 1).gather(1, output.flatten(1)).reshape(output.shape) for end in (y.lower, y.upper))
        least = torch.where(self.C.gather(3, output.unsqueeze(3)).squeeze(3) > 0, lower, -upper)
        return (self.strict & plain & (least + self.d >= 0)).any(dim=2)


@dataclass(frozen=True, eq=False)
class VerificationProblem:
    """Regions of inputs, and what is to be proven over each, about one network.

    Args:
        graph: the network in the dtype in which its weights are exact.
        region: the inputs in float64, rounded outward, one region for each row of goals.
        goals: in float64, exact or rounded so that they are harder to prove.
        claim: what proofs hold for: the network in exact arithmetic, or also every float32 execution of it.
        examine: executes candidates (n, *shape) of the graph's dtype, moving those into the region that rounding left
            outside, and returns the first that is a witness, if any.
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
    def mixed(self) -> Graph:
        """The network in float64, whose bounds may hold coefficients in float32: for claims over many regions."""
        return self.graph.mixed()

    @cached_property
    def quick(self) -> Graph:
        """The network in float32: for searches."""
        return self.graph.to(torch.float32)

    @cached_property
    def chain(self) -> Chain | None:
        """The network for searches as a chain, if it is one."""
        return Chain.of(self.quick)

    @property
    def wide(self) -> int:
        """The most inputs that can vary in one region. An input fixed at a number that is no float does not vary."""
        box = self.region.box
        return int(flat(box.upper - box.lower > FIXED_WIDTH * box.magnitude(), 1).sum(1).max())


def of_query(
    query: Query, graph: Graph, claim: Claim, examine: Callable[[Tensor], Witness | None]
) -> VerificationProblem:
    """A query as tensors: disjuncts with the same box share a region, and each is one clause of its goals.

    Raises:
        BadInput: for numbers beyond the range of float64.
    """
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
    strict = torch.zeros(d.shape, dtype=torch.bool)
    for g, cases in enumerate(groups):
        for k, case in enumerate(cases):
            d[g, k] = -1
            for r, condition in enumerate(case.conditions):
                for y, b in condition.y:
                    C[g, k, r, y] = _nearest(b)
                for x, a in condition.x:
                    D[g, k, r, x] = _nearest(a)
                d[g, k, r] = _offset(condition, case)
                strict[g, k, r] = condition.strict
    goals = Goals(C, D if bool(D.any()) else None, d, strict if bool(strict.any()) else None)
    return VerificationProblem(graph, Region(Interval(lower, upper)), goals, claim, examine)


def _offset(condition: Condition, case: Disjunct) -> float:
    """``-bound`` rounded down, less the error of rounded coefficients of the input (most are small integers: exact)."""
    if any(Fraction(float(b)) != b for _, b in condition.y):
        return -math.inf  # the error is unbounded, as outputs are not bounded yet: never refuted
    lost = (abs(a - Fraction(float(a))) * max(abs(case.lower[x]), abs(case.upper[x])) for x, a in condition.x)
    return _outward(-condition.bound - sum(lost, Fraction(0)), -1)


def _outward(value: Fraction, sign: int) -> float:
    """An exact number as float64, rounded up (sign 1) or down (-1)."""
    found = _nearest(value)
    inside = Fraction(found) > value if sign < 0 else Fraction(found) < value
    return math.nextafter(found, sign * math.inf) if inside else found


def _nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        raise BadInput(
            "once its fractions are cleared, a condition has numbers beyond every floating-point format: "
            "scale its coefficients to similar sizes"
        ) from None
