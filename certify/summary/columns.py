"""Certificates and findings in memory as columns; the store reads its own columns straight from the file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from certify.core.certificate import Certificate
from certify.core.columns import NO_CLASS, CertificateColumns, Digests, FindingColumns
from certify.core.finding import Finding
from certify.core.verdict import Verdict

__all__ = ["certificate_columns", "finding_columns"]

R = TypeVar("R")

_PLACE: Final = {verdict: place for place, verdict in enumerate(Verdict)}


def certificate_columns(certificates: Sequence[Certificate]) -> CertificateColumns:
    """Certificates as columns, in their order."""
    kind, kinds = _by_kind(certificates, _certificate_kind)
    return CertificateColumns(
        index=np.array([one.index for one in certificates], dtype=np.int64),
        digest=Digests(one.about for one in certificates),
        label=np.array([_class(one.label) for one in certificates], dtype=np.int64),
        prediction=np.array([_class(one.prediction) for one in certificates], dtype=np.int64),
        verdict=np.array([_PLACE[one.verdict] for one in certificates], dtype=np.int8),
        radius=np.array([_number(one.radius) for one in certificates]),
        sure=np.array([_sure(one) for one in certificates]),
        p_lower=np.array([_p_lower(one) for one in certificates]),
        seconds=np.array([one.seconds for one in certificates], dtype=np.float64),
        forward_passes=np.array([one.forward_passes for one in certificates], dtype=np.int64),
        kind=kind,
        kinds=kinds,
        fetch=certificates.__getitem__,
    )


def finding_columns(findings: Sequence[Finding]) -> FindingColumns:
    """Findings as columns, in their order."""
    kind, kinds = _by_kind(findings, _finding_kind)
    return FindingColumns(
        index=np.array([one.index for one in findings], dtype=np.int64),
        digest=Digests(one.about for one in findings),
        label=np.array([one.label for one in findings], dtype=np.int64),
        distance=np.array([_number(one.distance) for one in findings], dtype=np.float64),
        error=np.array([bool(one.error) for one in findings], dtype=bool),
        kind=kind,
        kinds=kinds,
        fetch=findings.__getitem__,
    )


def _by_kind(records: Sequence[R], kind_of: Callable[[R], Hashable]) -> tuple[NDArray[np.int64], tuple[R, ...]]:
    """The number of each record's kind, and the first record of every kind, which represents it."""
    numbers: dict[Hashable, int] = {}
    kind = np.array([numbers.setdefault(kind_of(one), len(numbers)) for one in records], dtype=np.int64)
    _, first = np.unique(kind, return_index=True)
    return kind, tuple(records[row] for row in first.tolist())


def _certificate_kind(one: Certificate) -> Hashable:
    subject = None if one.evidence is None else one.evidence.subject
    return one.method, one.threat, one.property, one.guarantee, one.model_digest, subject


def _finding_kind(one: Finding) -> Hashable:
    return one.attack, json.dumps(dict(one.settings), sort_keys=True), one.norm, one.radii, one.model_digest


def _class(label: int | None) -> int:
    return NO_CLASS if label is None else label


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _sure(one: Certificate) -> float:
    if one.radius is None or one.evidence is None:
        return math.nan
    return one.evidence.sure(one.radius)


def _p_lower(one: Certificate) -> float:
    return math.nan if one.evidence is None else one.evidence.p_lower
