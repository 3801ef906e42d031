"""A base model that does not know the noise: the first thing to know about a smoothed one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from certify.core.rounding import brief
from certify.study.improve.base import RULES, Advice, Case

__all__ = ["denoise", "noise"]

_NEAR: Final = 0.25
"""Of the way from chance to certainty: less is near chance."""


def _lost(case: Case) -> float:
    """What a base model that knows the noise might win: inputs that are lost although nobody pushes."""
    if case.votes is None or not case.trainable or case.for_noise or not case.worth(case.mean("wrong", "abstained")):
        return 0.0
    chance = 1 / (case.classes or 2)
    near = case.votes.accuracy_within()[0] <= chance + _NEAR * (1 - chance)
    return case.mean("wrong", "abstained", "open", "broken") if case.for_noise is False or near else 0.0


def _seen(case: Case) -> str:
    assert case.votes is not None
    low, high = case.votes.accuracy_within()
    trained = "how it was trained is unknown"
    if case.origin is not None:
        sigma = case.origin.number("sigma")
        trained = f"it was trained by {case.origin.recipe}" + ("" if sigma is None else f" at sigma={brief(sigma)}")
    chance = "" if case.classes is None else f"; guessing gives {100 / case.classes:.1f} %"
    return (
        f"the base model is right on {100 * case.votes.accuracy:.1f} % of noisy copies at sigma="
        f"{brief(case.votes.sampling.sigma)} ({100 * low:.1f} to {100 * high:.1f} % with 95 % confidence){chance}; "
        f"{trained}"
    )


def _refuted(case: Case) -> str:
    return f"certified accuracy at {case.at(case.last.radius)} is not above {100 * case.last.certified:.1f} %"


@RULES.register("noise")
def noise(case: Case) -> Iterator[Advice]:
    """Train on the noise that it is certified with."""
    if not (lost := _lost(case)) or case.frozen:
        return
    assert case.votes is not None
    sigma = case.votes.sampling.sigma
    yield Advice(
        "noise",
        f"train on noise of sigma={brief(sigma)}",
        _seen(case),
        "the smoothed model is a vote of the base model under noise; one that never saw this noise errs under it",
        "Cohen, Rosenfeld and Kolter 2019, section 3.3",
        case.commands.trained("noise", sigma=sigma),
        case.training("noise", sigma=sigma),
        _refuted(case),
        reach=lost,
        trains=True,
    )


@RULES.register("denoise")
def denoise(case: Case) -> Iterator[Advice]:
    """A denoiser in front of a model that may not be trained again."""
    if not (lost := _lost(case)) or not case.frozen:
        return
    assert case.votes is not None
    sigma = case.votes.sampling.sigma
    model = str(case.commands.study["model"])
    yield Advice(
        "denoise",
        f"put a denoiser for sigma={brief(sigma)} in front of the model",
        _seen(case),
        "a denoiser turns noisy copies into inputs that the model knows; the model itself stays as it is",
        "Salman et al. 2020",
        case.commands.trained("denoise", base=model, sigma=sigma),
        case.training("denoise", sigma=sigma),
        _refuted(case),
        reach=lost,
        trains=True,
    )
