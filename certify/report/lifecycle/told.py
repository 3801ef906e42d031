"""The life cycle of one or several runs: each step, what the records show of it, and what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from certify.core.run import Run
from certify.errors import BadInput
from certify.report.lifecycle.steps import STEPS, Step
from certify.report.side_by_side import said_once

__all__ = ["LIFE_CYCLE", "Told", "life_cycle"]

LIFE_CYCLE: Final = (
    "From requirements to monitoring: what the records of these runs show of each step. A record is evidence towards "
    "the clauses named, for a reader to weigh; nothing here says that one of them is met. What no record shows is "
    "unknown or not measured, and the command that would measure it stands beside it."
)


@dataclass(frozen=True, slots=True)
class Told:
    """A step of the life cycle of runs.

    Args:
        name, asks: of the step.
        towards: the clauses that what is shown is evidence towards, in one sentence.
        shown: what the records show, a sentence each, which begins with the runs that it is about.
        open: what they do not.
    """

    name: str
    asks: str
    towards: str
    shown: tuple[str, ...]
    open: tuple[str, ...]


def life_cycle(runs: Sequence[Run]) -> list[Told]:
    """The five steps, in their order.

    Raises:
        BadInput: for no run.
    """
    if not runs:
        raise BadInput("a life cycle is about at least one run: name a run folder")
    return [_told(step, runs) for step in STEPS]


def _told(step: Step, runs: Sequence[Run]) -> Told:
    sources = (*step.facts, *(one.told for one in step.records))
    facts = said_once((run.name, one) for run in runs for fact in sources for one in fact(run))
    said = [(f"{', '.join(names)}: {one.text}", one.gap) for one, names in facts.items()]
    towards = "This is evidence towards " if any(not gap for _, gap in said) else "Records would be evidence towards "
    return Told(
        step.name,
        step.asks,
        f"{towards}{'; '.join(step.towards)}.",
        tuple(dict.fromkeys(text for text, gap in said if not gap)),
        tuple(dict.fromkeys([*(text for text, gap in said if gap), *step.beyond])),
    )
