"""No attack: nobody can tell whether what is not proven is broken, or only hard to prove."""

from __future__ import annotations

from collections.abc import Iterator

from certify.study.improve.base import RULES, Advice, Case, percents

__all__ = ["no_attack"]


@RULES.register("no-attack")
def no_attack(case: Case) -> Iterator[Advice]:
    """An attack tells models that break from proofs that are loose; which rules apply depends on it."""
    if case.attacked or not case.worth(case.mean("open")):
        return
    yield Advice(
        "no-attack",
        "attack the open inputs",
        f"open, neither proven nor broken: {percents(case.above, lambda one: one.of('open'))}; no attack tried them",
        "an open input is either not robust, which training changes, or robust and not proven, which a tighter "
        "certifier changes",
        "Carlini et al. 2019",
        (case.commands.again("pgd", attack="pgd"),),
        f"{case.certifying()}; and the attack: 80 passes, forward and backward, an input and radius, for smoothing 32 "
        "times that",
        "the attack breaks less than two points at the largest radius: then it is the proofs that are loose",
        reach=0.0,
    )
