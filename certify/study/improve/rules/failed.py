"""Computations that failed: inputs without an answer, which count as not certified."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from certify.study.improve.base import RULES, Advice, Case, inputs_of

__all__ = ["failed"]


@RULES.register("failed")
def failed(case: Case) -> Iterator[Advice]:
    """Name the commonest reason; the same command tries errors again."""
    share = case.mean("failed")
    if not share:
        return
    (reason, often), *_ = case.spent.reasons.most_common(1) or [("no reason was recorded", 0)]
    yield Advice(
        "failed",
        "find out why computations failed",
        f"{inputs_of(case, case.losses[0].of('failed'))} without an answer; {often:,} of them: {reason}",
        "a failed computation counts as not certified, whatever the model would do",
        "the records of the run",
        (shlex.join(["certify", "status", case.commands.out]),),
        "nothing; the same run command computes the failed inputs again",
        "the same inputs fail again with the same reason: then the model or the data have to change",
        reach=share,
    )
