"""What every condition of a policy is: what it asks, which probability statement it rests on, how it is judged."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from certify.core.rounding import brief
from certify.core.run import Run
from certify.core.summary import Row
from certify.core.values import number, one_of
from certify.core.written import radii_of
from certify.errors import BadInput
from certify.gate.outcome import ConditionOutcome, Result
from certify.registry import Registry
from certify.summary.words import percent

__all__ = [
    "CONDITIONS",
    "POPULATION",
    "THESE",
    "Condition",
    "ShareAtRadius",
    "Trial",
    "checked_radius",
    "checked_subject",
    "fraction",
    "subject_in_words",
]

THESE: Final = "these inputs"
POPULATION: Final = "population"
"""What a condition is about: the inputs of the run, or what they were drawn from at random."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A run on trial: everything that conditions look at.

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
        """A radius with its norm, as titles name it."""
        return self.run.summary.threat.amount(radius)

    def with_confidence(self, over: str) -> str:
        """How sure an interval end is that was made with this trial's share, over the randomness named.

        >>> Trial(None, 0.025).with_confidence("the draw of the inputs")
        'with probability at least 97.5% over the draw of the inputs'
        """
        return f"with probability at least {percent(1 - self.share)} over {over}"

    @property
    def drawn(self) -> str:
        """The randomness that statements about a population are over, in words."""
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
    """Whether it can be judged while the run is still incomplete."""

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii that the run has to be summarized at."""
        return ()

    @property
    def statement(self) -> str | None:
        """The probability statement it rests on: conditions with the same one share its cost; None costs nothing."""
        return None

    @property
    def needs_baseline(self) -> bool:
        """Whether it compares with an earlier run."""
        return False

    @abstractmethod
    def title(self, trial: Trial) -> str:
        """What it is about, with the threat model."""

    @abstractmethod
    def judge(self, trial: Trial) -> ConditionOutcome:
        """Hold it against a run."""

    def lower(self, trial: Trial, estimate: float, end: float, at_least: float, **words: Any) -> ConditionOutcome:
        """The outcome where a lower end has to reach a threshold."""
        result = Result.PASSED if end >= at_least else Result.FAILED
        return ConditionOutcome(self.kind, self.title(trial), result, estimate, end, at_least, "lower", **words)

    def upper(self, trial: Trial, estimate: float, end: float, at_most: float, **words: Any) -> ConditionOutcome:
        """The outcome where an upper end must not exceed a threshold."""
        result = Result.PASSED if end <= at_most else Result.FAILED
        return ConditionOutcome(self.kind, self.title(trial), result, estimate, end, at_most, "upper", **words)

    def without_figures(self, trial: Trial, result: Result, reason: str) -> ConditionOutcome:
        """The outcome where no number is compared."""
        return ConditionOutcome(self.kind, self.title(trial), result, reason=reason)

    def undecided(self, trial: Trial, reason: str) -> ConditionOutcome:
        """The outcome where the run cannot say."""
        return self.without_figures(trial, Result.UNDECIDED, reason)


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
        object.__setattr__(self, "radius", checked_radius(self.radius))
        object.__setattr__(self, "at_least", fraction("at_least", self.at_least, least=True))
        checked_subject(self.of)

    @property
    def radii(self) -> tuple[float, ...]:
        """Its radius."""
        return (self.radius,)


def checked_subject(value: Any) -> str:
    """Whether a condition is about these inputs or the population."""
    return one_of("of", value, (THESE, POPULATION))


def subject_in_words(of: str) -> str:
    """The subject of a condition as its title states it.

    >>> subject_in_words("population")
    'of the population'
    """
    return "of the population" if of == POPULATION else f"of {of}"


def checked_radius(value: Any) -> float:
    """A radius of the policy, as a run declares one: a number, or text such as ``"8/255"``.

    Raises:
        BadInput: for anything but a finite number >= 0.
    """
    radius = radii_of("radius", [value])[0]
    if not 0 <= radius < math.inf:
        raise BadInput(f"radius must be a finite number >= 0, got {radius:g}")
    return radius


def fraction(name: str, value: Any, *, least: bool) -> float:
    """A threshold that requires something: a ``least`` share in (0, 1], or a greatest one in [0, 1).

    Raises:
        BadInput: for anything else.

    >>> fraction("at_least", 60, least=True)
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: at_least must be a fraction above 0 and at most 1 (60 % is 0.6), got 60
    """
    share = number(name, value)
    if not (0 < share <= 1 if least else 0 <= share < 1):
        allowed = "above 0 and at most 1 (60 % is 0.6)" if least else "of at least 0 and below 1 (5 % is 0.05)"
        raise BadInput(f"{name} must be a fraction {allowed}, got {share:g}")
    return share


CONDITIONS: Registry[Callable[..., Condition]] = Registry("condition", package="certify.gate.conditions")
