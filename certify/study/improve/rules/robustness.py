"""Models that break: no certifier proves what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from certify.core.rounding import brief
from certify.study.improve.base import BALLS, RULES, Advice, Case, percents

__all__ = ["breaks", "clean_loss", "eps", "lipschitz"]

_LARGE: Final = 0.1
"""Share of the inputs whose loss is called large."""

_INTERVALS: Final = ("ibp", "crown-ibp")
"""Recipes that train on interval bounds of the whole ball, at a price in clean accuracy."""


@RULES.register("breaks")
def breaks(case: Case) -> Iterator[Advice]:
    """Attacks succeed: train for robustness."""
    lost = case.mean("broken")
    if case.votes is not None or case.frozen or lost < _LARGE or not case.worth(lost) or not case.trainable:
        return
    if case.origin is not None and case.origin.recipe in BALLS:
        return  # trained for a ball already: its size, or the trade with clean accuracy, is what is left
    radius = case.last.radius
    if case.norm == "linf":
        recipe, settings = "ibp", dict[str, Any](eps=radius)
        more = case.commands.trained("pgd", eps=radius, norm="linf", steps=8)
        why = "ibp makes it robust and cheap to prove; pgd makes attacks fail, keeps more clean accuracy, proves little"
    else:
        recipe, settings = "pgd", {"eps": radius, "norm": case.norm}
        more, why = (), "adversarial training makes attacks fail; what of that can be proven is another question"
    trained = "how it was trained is unknown" if case.origin is None else f"it was trained by {case.origin.recipe}"
    yield Advice(
        "breaks",
        f"train for robustness in {case.at(radius)} ({recipe}{', or pgd' if more else ''})",
        f"broken by the attack: {percents(case.above, lambda one: one.of('broken'))}; {trained}",
        f"no certifier can prove an input that an attack breaks; {why}",
        "Madry et al. 2018; Gowal et al. 2018",
        (*case.commands.trained(recipe, **settings), *more),
        case.training(recipe, **settings) + (f"; the second: {case.training('pgd', steps=8)}" if more else ""),
        f"accuracy under the same attack at {case.at(radius)} rises by less than {100 * lost / 2:.1f} points",
        reach=lost,
        trains=True,
    )


@RULES.register("eps")
def eps(case: Case) -> Iterator[Advice]:
    """Certified beyond the ball that the model was trained for."""
    origin = case.origin
    trained = None if origin is None or origin.recipe not in BALLS else origin.number("eps")
    if origin is None or trained is None or case.votes is not None or case.frozen:
        return
    if origin.settings.get("norm", "linf") != case.norm or not case.last.radius > trained * 1.001:
        return
    beyond = [one for one in case.above if one.radius > trained * 1.001]
    lost = sum(one.of("open", "broken") for one in beyond) / len(case.above)
    if not case.worth(lost):
        return
    radius = case.last.radius
    settings = {**{name: origin.settings[name] for name in ("norm",) if name in origin.settings}, "eps": radius}
    yield Advice(
        "eps",
        f"train for the largest declared radius, eps={brief(radius)}",
        f"{origin.recipe} was trained at eps={brief(trained)}; beyond it {percents(beyond, lambda one: one.certified)} "
        f"are certified and {percents(beyond, lambda one: one.of('open', 'broken'))} lost though predicted correctly",
        "outside of the ball that it was trained for, nothing keeps the bounds of a network from growing",
        "Gowal et al. 2018, section 4",
        case.commands.trained(origin.recipe, f"eps{radius:.3g}", **settings),
        case.training(origin.recipe, **{**origin.settings, "epochs": None}),
        f"certified accuracy at {case.at(radius)} is not above {100 * case.last.certified:.1f} %",
        reach=lost,
        trains=True,
    )


@RULES.register("clean-loss")
def clean_loss(case: Case) -> Iterator[Advice]:
    """Interval bounds of the whole ball cost more clean accuracy than they are worth."""
    origin, lost = case.origin, case.mean("wrong")
    if origin is None or case.votes is not None or case.frozen or lost < _LARGE or lost < case.mean("open", "broken"):
        return
    radius = case.last.radius
    if origin.recipe in _INTERVALS:
        weight, do = 0.05, "train with a small weight on bounds"
    elif origin.recipe == "mtl-ibp" and (origin.number("weight") or 0) > 0.01:
        weight = max(0.01, (origin.number("weight") or 0) / 4)
        do = "train with less weight on bounds"
    else:
        return
    small = case.commands.trained("sabr", eps=radius) if origin.recipe in _INTERVALS else ()
    yield Advice(
        "clean-loss",
        f"{do} (mtl-ibp, weight={weight:g}{'; or sabr' if small else ''}), and certify with a tight method",
        f"{100 * lost:.1f} % of the inputs are misclassified without any change, more than the "
        f"{100 * case.mean('open', 'broken'):.1f} % lost on the way to the radii; it was trained by {origin.recipe}",
        "interval bounds of the whole ball over-regularise; a small box, or a small weight, keeps accuracy, and "
        "tighter methods prove the rest",
        "Mueller et al. 2023; De Palma et al. 2024",
        (
            *case.commands.trained(
                "mtl-ibp", eps=radius, weight=weight, run={"certifier": "complete", "max_memory": None}
            ),
            *small,
        ),
        case.training("mtl-ibp", eps=radius, weight=weight) + ", by complete many times that",
        f"clean accuracy of the new model is not above {100 * case.run.summary.clean:.1f} %",
        reach=lost,
        trains=True,
    )


@RULES.register("lipschitz")
def lipschitz(case: Case) -> Iterator[Advice]:
    """Proofs in l2 are what networks that stretch no distance are for."""
    lost = case.mean("open", "broken")
    if case.votes is not None or case.norm != "l2" or case.frozen or lost < _LARGE:
        return
    if case.known("lipschitz") or not case.worth(lost):
        return
    radius = case.last.radius
    yield Advice(
        "lipschitz",
        "train a network that stretches no distance, or smooth one",
        f"certified: {percents(case.above, lambda one: one.certified)}; predicted correctly and not certified: "
        f"{percents(case.above, lambda one: one.of('open', 'broken'))}",
        "bounds of ordinary networks are loose in l2; with orthogonal weights the margin itself is the certificate",
        "Trockman and Kolter 2021; Prach and Lampert 2022",
        case.commands.trained("lipschitz", margin=radius, run={"certifier": "lipschitz"}),
        case.training("lipschitz"),
        f"certified accuracy at {case.at(radius)} is not above {100 * case.last.certified:.1f} %",
        reach=lost,
        trains=True,
    )
