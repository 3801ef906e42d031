"""``certify check`` of the file of a monitor: its digests, tolerances, e-values and alarms derived again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from certify.checker.life import Life, header_fault
from certify.checker.result import CheckedClaim, CheckResult, Standing, judged, refuted
from certify.core.monitoring import Header, Late, Row
from certify.core.threats.base import threat_from
from certify.errors import StoreError
from certify.store.life_log import LifeLog

__all__ = ["check_life"]

UNCHECKED: Final = {
    "monitor": (
        *("run", "model", "data", "threat", "certifier", "features", "group", "stated"),
        *("failures", "inputs", "scores"),
    ),
    "row": ("id", "digest", "prediction", "radius", "read", "scores", "group", "time", "label"),
    "columns": ("columns",),
    "label": ("id", "time", "label"),
}
"""Fields that a file alone does not show: whoever has the stream and the run makes them again with ``certify monitor``
and another ``--state``, and compares the last digest."""


def check_life(path: Path | str) -> CheckResult:
    """Derive everything in a monitor's file again that follows from the rest of it.

    Raises:
        StoreError: for a file that cannot be read at all.
    """
    log, claims = LifeLog(path), list[CheckedClaim]()
    life: Life | None = None
    try:
        for number, event in log.read():
            if isinstance(event, Header) and life is None:
                claims.append(judged("header", "tolerances and levels", header_fault(event)))
                if claims[-1].standing is Standing.REFUTED:
                    break
                life = Life(event)
                continue
            assert life is not None
            fault = life.follow(event)
            if fault or isinstance(event, Row | Late):
                claims.append(judged(f"line {number}", "e-values", fault))
            if fault:
                break
    except StoreError as problem:
        claims.append(refuted("file", "digests", str(problem)))
    if life is None:
        if not claims:
            raise StoreError(f"{path} holds no whole line: certify monitor begins such a file")
        return CheckResult(tuple(claims), {}, "", UNCHECKED)
    if not any(one.standing is Standing.REFUTED for one in claims):
        claims.append(judged("file", "digests", ""))
    head = {"threat": str(threat_from(life.header.threat)), "rows": f"{life.rows:,}", "labels": f"{life.labels:,}"}
    refused = any(one.standing is Standing.REFUTED for one in claims)
    statement = "" if refused else f"By its own losses and scores the certificate is {life.force.value}."
    return CheckResult(tuple(claims), {**head, "chain": log.chain}, statement, UNCHECKED)
