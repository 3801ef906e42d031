"""After noise: recipes that make votes agree, or attack the smoothed model while it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from certify.core.rounding import brief
from certify.study.improve.base import RULES, Advice, Case, percents
from certify.study.improve.records import Sampling

__all__ = ["consistency", "smoothadv"]

_LATER: Final = ("consistency", "smoothadv")
"""Recipes that go beyond noise."""


def _room(case: Case) -> tuple[Sampling, float] | None:
    """The sampling of a run whose model knows its noise, and what is lost between clean and certified."""
    if case.votes is None or not case.trainable or case.frozen or case.for_noise is False:
        return None
    if case.origin is None and not case.worth(case.votes.accuracy - 2 / (case.classes or 2)):
        return None  # of unknown origin, and too near chance to know the noise
    lost = case.mean("open", "broken", "abstained")
    return (case.votes.sampling, lost) if case.worth(lost) else None


def _seen(case: Case) -> str:
    origin = "how it was trained is unknown" if case.origin is None else f"it was trained by {case.origin.recipe}"
    return (
        f"certified: {percents(case.losses, lambda one: one.certified)}; predicted correctly and lost on the way: "
        f"{percents(case.above, lambda one: one.of('open', 'broken', 'abstained'))}; {origin}"
    )


@RULES.register("consistency")
def consistency(case: Case) -> Iterator[Advice]:
    """The model knows the noise; its votes do not agree enough."""
    if (found := _room(case)) is None or any(map(case.known, _LATER)):
        return
    sampling, lost = found
    yield Advice(
        "consistency",
        f"train for votes that agree, at the same sigma={brief(sampling.sigma)}",
        _seen(case),
        "radii grow with the share of votes; the recipe pulls the answers to several noisy copies towards their "
        "mean, at twice the cost of noise and far less than attacking",
        "Jeong and Shin 2020",
        case.commands.trained("consistency", sigma=sampling.sigma),
        case.training("consistency", draws=2),
        f"certified accuracy at {case.at(case.last.radius)} is not above {100 * case.last.certified:.1f} %, by the "
        "paired test of certify compare",
        reach=lost,
        trains=True,
    )


@RULES.register("smoothadv")
def smoothadv(case: Case) -> Iterator[Advice]:
    """Votes agree as far as consistency brings them; the rest takes attacks on the smoothed model."""
    if (found := _room(case)) is None or not case.known("consistency"):
        return
    sampling, lost = found
    yield Advice(
        "smoothadv",
        f"train against attacks on the smoothed model, at the same sigma={brief(sampling.sigma)}",
        _seen(case),
        "the recipe moves inputs to where the vote is weakest and trains there, at draws * (steps + 1) times the cost",
        "Salman et al. 2019, section 2",
        case.commands.trained("smoothadv", sigma=sampling.sigma, eps=case.last.radius),
        case.training("smoothadv", draws=2, steps=2),
        f"certified accuracy at {case.at(case.last.radius)} is not above {100 * case.last.certified:.1f} %, by the "
        "paired test of certify compare",
        reach=lost,
        trains=True,
    )
