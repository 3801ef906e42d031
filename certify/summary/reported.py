"""Attack logs beside certificates, compared input by input: aggregates would hide impossible pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from certify.core.reported import Reported, ReportedAttack
from certify.core.sandwich import Sandwich
from certify.core.summary import Contradiction
from certify.core.threats.base import Threat
from certify.errors import BadInput

__all__ = ["beside", "beside_logs"]


def beside(rows: Sequence[Reported], certified: Mapping[int, tuple[int | None, float | None]]) -> ReportedAttack:
    """One attack log beside certificates, joined by index.

    Args:
        rows: all of one log.
        certified: for each input attempted, by index: its label, and the radius certified around the right class, None
            where there is none.

    Raises:
        BadInput: if log and certificates disagree about a label: then they are about different data.
    """
    for row in rows:
        if row.index in certified and certified[row.index][0] != row.label:
            raise BadInput(
                f"{row.source} says that input {row.index} is of class {row.label}, the certificates say "
                f"{certified[row.index][0]}: they come from different data"
            )
    joined = [(row, certified[row.index][1]) for row in rows if row.index in certified]
    within = [row for row, radius in joined if radius is not None and radius >= row.radius]
    return ReportedAttack(
        source=rows[0].source,
        norm=rows[0].norm,
        radius=rows[0].radius,
        rows=len(rows),
        empirical_accuracy=sum(row.correct for row in rows) / len(rows),
        base_accuracy=sum(row.base_prediction == row.label for row in rows) / len(rows),
        abstain_rate=sum(row.prediction is None for row in rows) / len(rows),
        joined=len(joined),
        certified=len(within),
        impossible=tuple(row.index for row in within if not row.correct),
    )


def beside_logs(
    sandwich: Sandwich, method: str, reported: Sequence[Reported], threat: Threat
) -> tuple[tuple[ReportedAttack, ...], list[Contradiction]]:
    """Each attack log beside the certificates of a table, and a contradiction for every impossible pair.

    Raises:
        BadInput: as :func:`beside`, or where logs and certificates are in different norms.
    """
    if not reported:
        return (), []
    if reported[0].norm != threat.norm:
        raise BadInput(f"{reported[0].source} is in {reported[0].norm}, the certificates in {threat.norm}")
    if threat.named:
        raise BadInput(f"{reported[0].source} knows no per-feature scale, the certificates have one")
    places = np.flatnonzero(np.isin(sandwich.index, [row.index for row in reported]))
    certified = {one.index: (one.label, one.certified) for one in (sandwich[int(place)] for place in places)}
    logs = tuple(beside(rows, certified) for rows in _by_log(reported))
    return logs, [
        Contradiction(index, method, certified[index][1] or 0.0, log.source, log.radius, reported=True)
        for log in logs
        for index in log.impossible
    ]


def _by_log(reported: Iterable[Reported]) -> list[list[Reported]]:
    """The rows of each log on its own, in the order in which the logs first appear."""
    logs: dict[tuple[str, float], list[Reported]] = {}
    for row in reported:
        logs.setdefault((row.source_digest, row.radius), []).append(row)
    return list(logs.values())
