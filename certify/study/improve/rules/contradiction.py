"""An adversarial example inside a certified radius: nothing else matters before it is explained."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from certify.study.improve.base import RULES, Advice, Case

__all__ = ["contradiction"]


@RULES.register("contradiction")
def contradiction(case: Case) -> Iterator[Advice]:
    """One of certificate and attack is wrong, or about another model."""
    found = case.run.summary.contradictions
    if found:
        yield Advice(
            "contradiction",
            "explain the contradictions before anything else",
            f"{len(found):,} adversarial examples lie inside certified radii; the first: {found[0]}",
            "a certificate or an attack is wrong, or they are about two models: the other numbers cannot be trusted",
            "the definition of a certificate",
            (shlex.join(["certify", "check", case.commands.out]),),
            "executing every example once, and deriving every certificate",
            "the check confirms both sides of a contradiction: then it is a bug of certify, to be reported",
            reach=1.0,
        )
