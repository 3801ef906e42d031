"""Inputs that no attack breaks and no proof reaches: a tighter certifier first, then a model that is easy to prove."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from certify.study.improve.base import RULES, Advice, Case, inputs_of, percents

__all__ = ["provable", "tighter", "timeouts"]

_TIGHTER: Final = {
    "lipschitz": ("crown", 10.0, "Zhang et al. 2018"),
    "ibp": ("crown", 10.0, "Zhang et al. 2018"),
    "crown-ibp": ("crown", 5.0, "Zhang et al. 2018"),
    "crown": ("alpha-crown", 50.0, "Xu et al. 2021"),
    "alpha-crown-last": ("alpha-crown", 3.0, "Xu et al. 2021"),
    "alpha-crown": ("complete", 10.0, "Wang et al. 2021"),
    "auto": ("complete", 10.0, "Wang et al. 2021"),
}
"""From loose to tight: the next certifier, about how many times as long it takes, and who introduced it."""

_GAP: Final = 0.05
"""Share of the inputs whose loss to loose proofs is called large."""

_FOR_PROOFS: Final = ("ibp", "crown-ibp", "sabr", "mtl-ibp")
"""Recipes that train on bounds."""


def _open(case: Case) -> float:
    """What is neither proven nor broken, of a run of proofs."""
    lost = case.mean("open")
    return lost if case.votes is None and lost >= _GAP and case.worth(lost) else 0.0


def _gap(case: Case) -> str:
    said = "no attack tried them all" if not case.attacked else "after the attack of the run"
    return (
        f"certified: {percents(case.above, lambda one: one.certified)}; open, neither proven nor broken "
        f"({said}): {percents(case.above, lambda one: one.of('open'))}"
    )


@RULES.register("tighter")
def tighter(case: Case) -> Iterator[Advice]:
    """The same model by the next certifier, which proves no less."""
    chain = list(_TIGHTER)
    known = [method for method in case.methods if method in _TIGHTER]
    if not (lost := _open(case)) or not known or "complete" in case.methods:
        return
    method = max(known, key=chain.index)
    better, times, source = _TIGHTER[method]
    left_out = {"max_memory": None} if better == "complete" else {}
    yield Advice(
        "tighter",
        f"certify with {better} before anything is trained",
        _gap(case),
        f"{method} loses what it cannot express about the network; {better} follows it more closely, and whatever "
        "it proves was there all along",
        source,
        (case.commands.again(better, certifier=better, **left_out),),
        case.certifying(times, "very roughly") + "; certify plan finds it out",
        f"certified accuracy at {case.at(case.last.radius)} rises by less than two points",
        reach=lost,
    )


@RULES.register("timeouts")
def timeouts(case: Case) -> Iterator[Advice]:
    """A complete search that ran out of time on inputs that may be provable."""
    late, given = case.spent.late, case.setting.get("timeout")
    if "complete" not in case.methods or not case.worth(late / case.n) or not isinstance(given, int | float):
        return
    yield Advice(
        "timeouts",
        f"give each input {5 * given:g} seconds",
        f"{late:,} of {case.n:,} inputs ran out of their {given:g} seconds undecided",
        "branch and bound decides every input in the end; each doubling of time decides fewer than the one before",
        "Bunel et al. 2020",
        (case.commands.again(f"timeout{5 * given:g}", timeout=5 * given),),
        f"at most {late:,} inputs times {5 * given:g} s of one core; the others as before",
        f"fewer than half of these {inputs_of(case, late / case.n)} are decided",
        reach=min(case.mean("open"), late / case.n),
    )


@RULES.register("provable")
def provable(case: Case) -> Iterator[Advice]:
    """A model that is trained so that its robustness can be proven."""
    if not (lost := _open(case)) or case.frozen or case.norm != "linf":
        return
    eps, origin = case.last.radius, case.origin
    cheap = set(case.methods) <= {"ibp", "crown-ibp"}
    if origin is not None and origin.recipe == "mtl-ibp":
        weight = min(1.0, 4 * (origin.number("weight") or 0.05))
        recipe, settings = "mtl-ibp", {"eps": eps, "weight": weight}
        do, suffix = f"train with more weight on bounds, weight={weight:g}", f"weight{weight:g}"
    elif origin is not None and origin.recipe in _FOR_PROOFS:
        if cheap or origin.recipe == "ibp":
            return  # trained for bounds already: a tighter certifier is what is left
        recipe, settings, do, suffix = "ibp", {"eps": eps}, "train on interval bounds of the whole ball", ""
    else:
        recipe = "ibp" if cheap else "mtl-ibp"
        settings, suffix = {"eps": eps}, ""
        do = "train a model whose robustness can be proven"
    trained = "how it was trained is unknown" if origin is None else f"it was trained by {origin.recipe}"
    yield Advice(
        "provable",
        f"{do} ({recipe})",
        f"{_gap(case)}; {trained}",
        "networks that were not trained on bounds have many unstable neurons in a ball, and every method loses some at "
        "each of them; a small weight on interval bounds makes proofs tight at little cost in accuracy",
        "De Palma et al. 2024; Mueller et al. 2023; Gowal et al. 2018",
        case.commands.trained(recipe, suffix, **settings),
        case.training(recipe, **settings),
        f"certified accuracy at {case.at(eps)} is not above {100 * case.last.certified:.1f} %",
        reach=lost,
        trains=True,
    )
