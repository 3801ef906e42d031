"""The looks at the votes that a run's settings prescribe, which must be fixed before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from certify.core.evidence import Sampled
from certify.errors import BadInput
from certify.stats.sequential import LAST_SHARE, Looks, geometric_looks

__all__ = ["LookTable", "schedule_fault", "schedule_of"]

KINDS: Final = ("declared", "fixed")

LookTable = tuple[tuple[int, float], ...]
"""(n, alpha) of every look, ascending."""


def schedule_of(evidence: Sampled) -> LookTable:
    """All looks of a certificate, including those that were no longer needed."""
    return (*((look.n, look.alpha) for look in evidence.looks), *evidence.later)


def schedule_fault(schedule: LookTable, settings: Mapping[str, Any], draws_alpha: float) -> str:
    """Why a schedule is not the one that the settings of a smoothing certifier lay down; empty where it is.

    >>> settings = {"n": 1000, "alpha": 0.001, "schedule": "fixed", "looks": None, "look_alphas": None}
    >>> schedule_fault(((1000, 0.001),), settings, 0.0), schedule_fault(((500, 0.001),), settings, 0.0)
    ('', 'looks at 500 samples, the settings ask for 1000')
    """
    if settings["schedule"] not in KINDS:
        return f"the settings name the schedule {settings['schedule']!r}, which there is none of"
    left = math.nextafter(settings["alpha"] - draws_alpha, 0.0) if draws_alpha else settings["alpha"]
    try:
        expected = _laid_down(schedule, settings, left)
    except (BadInput, ValueError) as problem:
        return f"no schedule follows from the settings ({problem})"
    found, asked = ([n for n, _ in looks] for looks in (schedule, zip(expected.n, expected.alpha, strict=True)))
    if found != asked:
        return f"looks at {_brief(found)} samples, the settings ask for {_brief(asked)}"
    for (n, alpha), due in zip(schedule, expected.alpha, strict=True):
        if alpha != due:
            return f"the look at {n} samples spends {alpha:.9g}, the settings give it {due:.9g}"
    return ""


def _laid_down(schedule: LookTable, settings: Mapping[str, Any], left: float) -> Looks:
    if settings["schedule"] == "fixed":
        return Looks((settings["n"],), (left,))
    if settings["looks"] is not None:
        shares = [share * (left / settings["alpha"]) for share in settings["look_alphas"]]
        return Looks.summing_to(left, settings["looks"], shares)
    if len(schedule) == 1:
        return Looks((settings["n"],), (left,))
    return geometric_looks(settings["n"], left, _least_shown(schedule, left))


def _least_shown(schedule: LookTable, alpha: float) -> float:
    """The probability of a miss that the first look with any alpha could show; it decides which looks have an alpha.

    Any choice that does not depend on the votes is sound. That it is the same for all inputs is checked elsewhere.
    """
    first = next((n for n, share in schedule if share), schedule[-1][0])
    if first == schedule[-1][0]:
        return 0.0
    early = alpha * (1.0 - LAST_SHARE)
    return -math.expm1(math.log(early / len(schedule)) / first) * (1 + 1e-9)


def _brief(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:4]))
    return shown if len(numbers) <= 4 else f"{shown}, .. {numbers[-1]}"
