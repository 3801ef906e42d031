"""What every condition of a policy is: what it asks, which probability statement it rests on, how it is judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from certify.core.rounding import brief
from certify.core.run import Run
from certify.core.summary import Row
from certify.gate.outcome import Outcome, Result
from certify.gate.values import THESE, fraction, of_whom, radius_of
from certify.registry import Registry
from certify.summary.words import percent

__all__ = ["CONDITIONS", "Case", "Condition", "ShareAtRadius"]


@dataclass(frozen=True, slots=True)
class Case:
    """What conditions look at.

    Args:
        run: the run on trial, summarized at the policy's radii, with bounds that fail with probability at most
            ``share``.
        share: what each probability statement may spend of the policy's delta.
        baseline: the run to compare with, on the same inputs; None where no condition asks for one.
    """

    run: Run
    share: float
    baseline: Run | None = None

    @property
    def declared(self) -> tuple[float, ...]:
        """The radii that the run declared before it began."""
        return tuple(self.run.settings["threat"]["radii"])

    def row(self, radius: float) -> Row:
        """The line of the table at a radius of the policy."""
        return next(row for row in self.run.summary.rows if row.radius == radius)

    def at(self, radius: float) -> str:
        """A radius as titles name it, with its norm."""
        return f"{self.run.summary.threat.measure} {brief(radius)}"

    def with_confidence(self, over: str) -> str:
        """What an interval end means that was made with this case's share.

        >>> Case(None, 0.025).with_confidence("the draw of the inputs")
        'with probability at least 97.5% over the draw of the inputs'
        """
        return f"with probability at least {percent(1 - self.share)} over {over}"

    @property
    def drawn(self) -> str:
        """What statements about a population are over."""
        noise = "" if self.run.summary.guarantee.alpha is None else " and the sampling noise"
        return f"the draw of the inputs, if it was random,{noise}".removesuffix(",")

    def no_population(self, radius: float) -> str:
        """Why there is no bound for a population at this radius."""
        if radius > self.declared[-1]:
            return f"beyond the largest declared radius, {brief(self.declared[-1])}, nothing follows for a population"
        return "these inputs are no random sample: some occur several times, or they were chosen at regular steps"


class Condition(ABC):
    """One requirement of a policy: a frozen dataclass whose fields are the keys that the policy sets.

    It is registered in :data:`CONDITIONS` under its ``kind``, and compares interval ends, never point estimates.
    """

    kind: ClassVar[str]
    on_part: ClassVar[bool] = False
    """Whether it can be judged while the run is incomplete."""

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii that the run has to be summarized at."""
        return ()

    @property
    def statement(self) -> str | None:
        """Name of the probability statement it rests on: conditions that share one pay once. None spends nothing."""
        return None

    @property
    def needs_baseline(self) -> bool:
        """Whether it compares with an earlier run."""
        return False

    @abstractmethod
    def title(self, case: Case) -> str:
        """What it is about, with the threat model."""

    @abstractmethod
    def judge(self, case: Case) -> Outcome:
        """Hold it against a run."""

    def lower(self, case: Case, estimate: float, end: float, at_least: float, **words: Any) -> Outcome:
        """The outcome where a lower end has to reach a threshold."""
        result = Result.PASSED if end >= at_least else Result.FAILED
        return Outcome(self.kind, self.title(case), result, estimate, end, at_least, "lower", **words)

    def upper(self, case: Case, estimate: float, end: float, at_most: float, **words: Any) -> Outcome:
        """The outcome where an upper end must not exceed a threshold."""
        result = Result.PASSED if end <= at_most else Result.FAILED
        return Outcome(self.kind, self.title(case), result, estimate, end, at_most, "upper", **words)

    def undecided(self, case: Case, reason: str) -> Outcome:
        """The outcome where the run cannot say."""
        return Outcome(self.kind, self.title(case), Result.UNDECIDED, reason=reason)


@dataclass(frozen=True, slots=True)
class ShareAtRadius(Condition):
    """A condition on the share of inputs for which something holds at a radius.

    Args:
        radius: in the run's input units.
        at_least: a fraction.
        of: ``"these inputs"`` or ``"population"``.
    """

    radius: float
    at_least: float
    of: str = THESE

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", radius_of(self.radius))
        object.__setattr__(self, "at_least", fraction("at_least", self.at_least, least=True))
        of_whom(self.of)

    @property
    def radii(self) -> tuple[float, ...]:
        """Its radius."""
        return (self.radius,)


CONDITIONS: Registry[Callable[..., Condition]] = Registry("condition", package="certify.gate.conditions")
