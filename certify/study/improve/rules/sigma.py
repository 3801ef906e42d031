"""A sigma that does not fit the declared radii: too small for any certificate there, or larger than they need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from certify.core.rounding import brief, round_down
from certify.study.improve.base import RULES, Advice, Case

__all__ = ["cap", "sigma_large", "sigma_small"]

_NEAR_CAP, _FAR_BELOW_CAP = 0.6, 1 / 3
"""Of the largest certifiable radius: above the one few inputs are certified, below the other hardly any is cut off."""

_FALL: Final = 0.2
"""Share of the inputs whose loss between two radii is called a collapse."""

_CLEAN: Final = 0.1
"""Share of the inputs whose loss to the noise itself is called large."""

_AFFORDABLE: Final = 1_000_000
"""Samples an input that somebody may draw."""


def _fitting(case: Case) -> float:
    """The sigma whose largest certifiable radius is twice the largest declared one, with two digits."""
    assert case.votes is not None
    sampling = case.votes.sampling
    return float(f"{2 * case.last.radius * sampling.sigma / sampling.cap:.2g}")


def _retrained(case: Case, sigma: float) -> tuple[str, ...]:
    recipe = case.origin.recipe if case.origin is not None and case.for_noise else "noise"
    return case.commands.trained(recipe, f"sigma{sigma:g}", sigma=sigma, run={"sigma": sigma})


def _priced(case: Case) -> str:
    """The same recipe at another sigma, for as many epochs as it usually has."""
    if case.origin is None or not case.for_noise:
        return case.training("noise")
    return case.training(case.origin.recipe, **{**case.origin.settings, "epochs": None})


@RULES.register("cap")
def cap(case: Case) -> Iterator[Advice]:
    """Radii that no input can have, whatever the model."""
    lost = case.mean("beyond")
    if case.votes is None or not case.votes.sampling.additive or not case.worth(lost):
        return
    sampling = case.votes.sampling
    beyond = [one.radius for one in case.losses if one.radius > sampling.cap]
    said = (
        f"at sigma={brief(sampling.sigma)}, n={sampling.n:,}, alpha={sampling.alpha:g} no input can be certified above "
        f"{round_down(sampling.cap)}; declared: {', '.join(map(brief, beyond))}"
    )
    needed = sampling.samples_for(case.last.radius)
    commands, costs = tuple[str, ...](), []
    if needed <= _AFFORDABLE:
        n = next(n for power in range(2, 7) if (n := 10**power) >= needed)
        commands = (case.commands.again(f"n{n}", n=n, looks=None, look_alphas=None),)
        costs.append(f"with n={n:,} {case.certifying(round(n / sampling.n, 1), 'at most')}")
        said += f"; {n:,} samples would reach it, for unanimous votes alone"
    sigma = _fitting(case)
    if case.trainable and not case.frozen:
        commands += _retrained(case, sigma)
        costs.append(f"sigma={sigma:g} takes {_priced(case)}")
    else:
        commands += (case.commands.again(f"sigma{sigma:g}", sigma=sigma),)
        costs.append(case.certifying())
    yield Advice(
        "cap",
        f"certify with a larger sigma, such as {sigma:g}; no training at this one can help",
        said,
        "even unanimous votes give a radius of sigma * Phi^-1(alpha^(1/n)) and no more",
        "Cohen, Rosenfeld and Kolter 2019, section 3.2.2 and appendix F",
        commands,
        "; ".join(costs),
        f"at sigma={sigma:g} no input is certified at {case.at(case.last.radius)} either",
        reach=lost,
        trains=case.trainable and not case.frozen,
    )


@RULES.register("sigma-small")
def sigma_small(case: Case) -> Iterator[Advice]:
    """Certified accuracy collapses where radii come near to the largest that sigma allows."""
    if case.votes is None or not case.trainable or case.frozen or case.for_noise is False or len(case.losses) < 2:
        return
    limit, before = case.votes.sampling.cap, case.losses[-2]
    near = [one for one in case.above if _NEAR_CAP * limit <= one.radius <= limit]
    lost = sum(one.of("open", "broken") for one in near) / len(case.above)
    if not (near and near[-1] is case.last and before.certified - case.last.certified >= _FALL and case.worth(lost)):
        return
    sigma = _fitting(case)
    yield Advice(
        "sigma-small",
        f"train and certify with sigma={sigma:g}",
        f"certified accuracy falls from {100 * before.certified:.1f} % at {brief(before.radius)} to "
        f"{100 * case.last.certified:.1f} % at {brief(case.last.radius)}, which is "
        f"{100 * case.last.radius / limit:.0f} % of the largest certifiable radius, {round_down(limit)}",
        "near its largest radius a certificate takes nearly unanimous votes; more noise moves the cliff outwards and "
        "costs clean accuracy",
        "Cohen, Rosenfeld and Kolter 2019, figure 7",
        _retrained(case, sigma),
        _priced(case),
        f"certified accuracy at {case.at(case.last.radius)} is not above {100 * case.last.certified:.1f} %",
        reach=lost,
        trains=True,
    )


@RULES.register("sigma-large")
def sigma_large(case: Case) -> Iterator[Advice]:
    """Inputs are lost to the noise itself, and the declared radii need less of it."""
    if case.votes is None or not case.trainable or case.frozen or case.for_noise is False:
        return
    sampling, first, last = case.votes.sampling, case.losses[0], case.last
    lost = case.mean("wrong", "abstained")
    clean, later = 1 - first.certified, first.certified - last.certified
    sigma = float(f"{max(sampling.sigma / 2, last.radius / 2):.2g}")
    if last.radius > _FAR_BELOW_CAP * sampling.cap or later > clean or lost < _CLEAN or sigma > 0.75 * sampling.sigma:
        return
    yield Advice(
        "sigma-large",
        f"train and certify with sigma={sigma:g}",
        f"{100 * clean:.1f} % of the inputs are lost at {brief(first.radius)} already and {100 * later:.1f} % more up "
        f"to {brief(last.radius)}, while radii up to {round_down(sampling.cap)} could be certified: the base model is "
        f"right on {100 * case.votes.accuracy:.1f} % of noisy copies",
        "noise hides what tells classes apart; for radii far below the largest certifiable one less of it is enough",
        "Cohen, Rosenfeld and Kolter 2019, figure 7",
        _retrained(case, sigma),
        _priced(case),
        f"certified accuracy at {case.at(last.radius)} falls below {100 * last.certified:.1f} %",
        reach=lost,
        trains=True,
    )
