"""What a rule is: it reads a case, which is a run with all that is known of it, and says what to do next, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

from certify.core.legible import many
from certify.core.rounding import brief
from certify.core.run import Run
from certify.progress.stage import clock
from certify.registry import Registry
from certify.study.improve.commands import Commands
from certify.study.improve.losses import Loss
from certify.study.improve.origin import Origin
from certify.study.improve.prices import PRICES
from certify.study.improve.records import Spent, Votes

__all__ = ["BALLS", "RULES", "SMOOTHED", "WORTH", "Advice", "Case", "Rule", "inputs_of", "percents"]

WORTH: Final = 0.02
"""Share of certified accuracy below which no advice is given: two points."""

SMOOTHED: Final = ("noise", "consistency", "smoothadv", "denoise")
"""Recipes that train for smoothing, with a setting sigma."""

BALLS: Final = ("pgd", "trades", "ibp", "crown-ibp", "sabr", "mtl-ibp")
"""Recipes that train for a ball, with a setting eps."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What one rule says.

    Args:
        rule: its name.
        do: what to do, in a few words.
        sees: what it saw, in numbers.
        why: what causes that.
        source: where that is known from.
        commands: what to type, in order.
        cost: what the commands are expected to cost.
        refuted: which result of them would show that the advice was wrong.
        reach: share of the inputs that it is about, on average over the declared radii above 0: no more than that can
            be gained there. 0 for advice that finds out more and gains nothing by itself.
        trains: whether a model is trained.
        projected: whether ``reach`` is what the votes of the run lead to expect, and no mere upper limit.
    """

    rule: str
    do: str
    sees: str
    why: str
    source: str
    commands: tuple[str, ...]
    cost: str
    refuted: str
    reach: float
    trains: bool = False
    projected: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "commands": list(self.commands)}


@dataclass(frozen=True, eq=False)
class Case:
    """A run, and all that is known of it.

    Args:
        run: with its summary.
        losses: where certified accuracy is lost, one entry a declared radius.
        votes: of a smoothed model; None for proofs.
        spent: what the certificates cost.
        origin: how the model was trained; None where that is unknown.
        commands: the next ones.
        groups: certified inputs and all inputs of each group at each declared radius, by what they are grouped by.
        frozen: whether the model may not be trained again.
    """

    run: Run
    losses: tuple[Loss, ...]
    votes: Votes | None
    spent: Spent
    origin: Origin | None
    commands: Commands
    groups: Mapping[str, Sequence[Mapping[str, tuple[int, int]]]]
    frozen: bool = False

    @cached_property
    def above(self) -> tuple[Loss, ...]:
        """The declared radii above 0; all of them where there is none."""
        return tuple(one for one in self.losses if one.radius > 0) or self.losses

    @property
    def last(self) -> Loss:
        """The largest declared radius."""
        return self.losses[-1]

    @property
    def n(self) -> int:
        """How many inputs there are."""
        return self.run.summary.n

    @property
    def methods(self) -> tuple[str, ...]:
        """The certifiers."""
        return self.run.summary.methods

    @property
    def setting(self) -> Mapping[str, Any]:
        """The settings of the first certifier."""
        first: Mapping[str, Any] = self.run.settings["certifiers"][0]
        return first

    @property
    def norm(self) -> str:
        """What radii are measured in."""
        return self.run.summary.threat.norm

    @property
    def classes(self) -> int | None:
        """How many classes the model has, where the manifest says so."""
        said = self.run.context.get("num_classes")
        return said if type(said) is int and said > 1 else None

    @property
    def attacked(self) -> bool:
        """Whether an attack, or a complete search, tried the largest radius on every input."""
        return self.run.summary.rows[-1].empirical is not None

    @cached_property
    def trainable(self) -> bool:
        """Whether recipes train for this threat and certifier."""
        if self.votes is not None:
            return self.votes.sampling.gaussian and self.norm == "l2"
        return self.norm in ("linf", "l2")

    @cached_property
    def for_noise(self) -> bool | None:
        """Whether the model was trained on the noise it is certified with; None where its origin is unknown."""
        if self.votes is None or self.origin is None or not self.votes.sampling.additive:
            return None
        sigma = self.origin.number("sigma")
        return (
            self.origin.recipe in SMOOTHED and sigma is not None and abs(sigma / self.votes.sampling.sigma - 1) < 0.01
        )

    def mean(self, *kinds: str) -> float:
        """The share lost in any of these ways, on average over the radii above 0."""
        return sum(one.of(*kinds) for one in self.above) / len(self.above)

    def worth(self, share: float) -> bool:
        """Whether a share of the inputs is worth an advice: two points, and two inputs."""
        return share >= WORTH and round(share * self.n * len(self.above)) >= 2

    def known(self, recipe: str) -> bool:
        """Whether the model was trained by a recipe."""
        return self.origin is not None and self.origin.recipe == recipe

    def at(self, radius: float) -> str:
        """A radius as the threat names it."""
        return self.run.summary.threat.amount(radius)

    def training(self, recipe: str, **settings: Any) -> str:
        """What a training by a recipe is expected to cost, and certifying as before after it."""
        price = PRICES.get(recipe)
        if price is None:
            return f"the training, whose steps nobody has priced here; then {self.certifying()}"
        step = price.step(settings)
        epochs = int(settings.get("epochs") or price.epochs)
        times = "the step" if step == 1 else f"about {step:g} times the step"
        said = f"{epochs} epochs at {times} of ordinary training ({price.because})"
        origin = self.origin
        before = None if origin is None else PRICES.get(origin.recipe)
        if origin is None or before is None or not origin.curve or not origin.cpu_seconds:
            return f"{said}; then {self.certifying()}"
        one = origin.cpu_seconds / len(origin.curve) / before.step(origin.settings)
        return (
            f"about {_time(one * step * epochs)} of processor time: {said}; this model's {len(origin.curve)} "
            f"epochs of {origin.recipe} took {_time(origin.cpu_seconds)}; then {self.certifying()}"
        )

    def certifying(self, times: float = 1.0, about: str = "about") -> str:
        """What certifying is expected to cost, as a multiple of this run."""
        seconds, passes = float(self.run.summary.sandwich.seconds.sum()) * times, self.spent.passes * times
        so_many = f"{about} {times:g} times " if times != 1 else ""
        return f"certifying costs {so_many}what this run took: {_time(seconds)}, {passes:,.0f} forward passes"


Rule = Callable[[Case], Iterator[Advice]]
"""A generator of what is to be done about one kind of loss: nothing where it is not there."""

RULES: Registry[Rule] = Registry("rule", package="certify.study.improve.rules")


def percents(losses: Sequence[Loss], of: Callable[[Loss], float]) -> str:
    """A share at each radius, in percent.

    >>> percents([Loss(0.0, 1.0, {}), Loss(0.25, 0.5, {})], lambda one: one.certified)
    '100.0 % at 0, 50.0 % at 0.25'
    """
    return ", ".join(f"{100 * of(one):.1f} % at {brief(one.radius)}" for one in losses)


def inputs_of(case: Case, share: float) -> str:
    """A share of the inputs as a number of them."""
    return many(round(share * case.n), "input")


def _time(seconds: float) -> str:
    return clock(seconds) if seconds >= 60 else f"{seconds:.2g} s"
