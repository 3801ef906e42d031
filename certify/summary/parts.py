"""Which laws, bounds, searches and statistics made a table: what a bibliography looks up."""

from __future__ import annotations

from collections.abc import Iterable

from certify.core.certificate import Certificate
from certify.core.finding import Finding

__all__ = ["parts_of"]


def parts_of(certificates: Iterable[Certificate], findings: Iterable[Finding] = ()) -> tuple[str, ...]:
    """Names as ``family:member``, without repeats, in order of appearance; one of each kind of record is enough.

    A family is ``certifier``, ``noise``, ``attack`` or ``statistics``. An attack on a smoothed classifier brings
    ``attack:smoothed``, which is how it was aimed, besides its own name.

    >>> parts_of([])
    ()
    """
    names: dict[str, None] = {}
    for one in certificates:
        names[f"certifier:{one.method}"] = None
        names.update(dict.fromkeys(() if one.evidence is None else one.evidence.parts))
    for found in findings:
        if f"certifier:{found.attack}" not in names:  # what a complete search finds is its own
            names[f"attack:{found.attack}"] = None
            if "noise" in found.settings:
                names["attack:smoothed"] = None
    return tuple(names)
