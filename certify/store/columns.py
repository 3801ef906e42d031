"""What a table counts, read straight from a run's records: a million in seconds, and no object for any of them.

Only as much of each record is decoded as counts, and held against what it says twice. One of each kind and of each
number of fields is read whole, and so is every record that looks impossible: reading it says what is wrong.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Hashable, Iterable
from functools import cache, lru_cache, reduce
from operator import or_
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from certify.core.certificate import RECORD, Certificate
from certify.core.columns import NO_CLASS, CertificateColumns, Digests, FindingColumns
from certify.core.digests import about, target_of
from certify.core.evidence import EVIDENCE, Evidence
from certify.core.finding import Finding
from certify.core.schema import reading_struct
from certify.core.threats.base import Threat, threat_from
from certify.core.verdict import Verdict
from certify.errors import CertifyError, StoreError
from certify.store.opening import SALVAGE

__all__ = ["Rows", "read_certificates", "read_findings"]

Rows = Iterable[tuple[int, int, str]]
"""Number in the file, position of the input, and text of every record, in order."""

_PLACE: Final = {verdict.value: place for place, verdict in enumerate(Verdict)}
_CERTIFIED: Final = _PLACE[Verdict.CERTIFIED.value]


_DISGUISED: Final = re.compile(r"\\u00[2-7]").search
"""Finds a printable character of ASCII that is spelled in hex: no record of ours has one."""

_Held = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A number that has a place in a column: JSON knows no largest one."""

_WRONG: Final = (
    msgspec.MsgspecError,
    CertifyError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What looking at a record raises that somebody else wrote."""


@lru_cache(maxsize=64)
def _threat(text: bytes) -> Threat:
    """What evidence is held against: the positions of groups, for example, of which there are fewer than features."""
    return threat_from(msgspec.json.decode(text, type=dict))


@cache
def _reader(kinds: tuple[tuple[str, type[Evidence]], ...]) -> Callable[[str], Any]:
    """Reads of a certificate what counts, with evidence of one of these kinds."""
    structs = [reading_struct(kind, name) for name, kind in kinds]
    held = {"index": _Held, "label": _Held | None, "prediction": _Held | None, "forward_passes": _Held}
    types = {**RECORD, **held, "evidence": reduce(or_, structs, None), "threat": msgspec.Raw}
    counted = [(name, types[name]) for name in RECORD if name != "property"]
    optional = ("property", msgspec.Raw, msgspec.Raw(b""))
    return msgspec.json.Decoder(msgspec.defstruct("Certificate", [*counted, optional], gc=False)).decode


class _Example(msgspec.Struct, gc=False):
    """That there is one; nothing of it is read."""


class _Finding(msgspec.Struct, gc=False):
    index: _Held
    input_digest: str
    label: _Held
    norm: str
    radii: msgspec.Raw
    attack: str
    settings: msgspec.Raw
    radius: float | None
    distance: float | None
    distance_hex: str | None
    x_adv: _Example | None
    model_digest: str
    prediction: _Held | None
    error: str = ""


def _target(table: bytes, *names: bytes) -> float | str | None:
    """The target of an input in a table of JSON that is seldom there, under the first of its names."""
    if not any(name in table for name in names) and b"\\" not in table:
        return None
    fields = msgspec.json.decode(table, type=dict)
    return next((target for name in names if (target := target_of(fields.get(name.decode()))) is not None), None)


class _Kinds:
    """The place of each kind, by when the first of it appears."""

    def __init__(self) -> None:
        self._places: dict[Hashable, int] = {}
        self._rows = 0
        self._shapes: set[tuple[int, int]] = set()
        self.first: list[int] = []

    def place(self, key: Hashable) -> int:
        """The place of the next row's kind."""
        place = self._places.setdefault(key, len(self.first))
        if place == len(self.first):
            self.first.append(self._rows)
        self._rows += 1
        return place

    def is_new(self, place: int, text: str, said: str = "") -> bool:
        """Whether no record of this kind had as many fields, by its colons beside those of what it ``said``.

        Fields that are repeated or unknown are more than there were in the records that were read whole; colons that
        are disguised could make up for them.
        """
        shape = place, text.count(":") - said.count(":")
        new = shape not in self._shapes or ("\\" in text and _DISGUISED(text) is not None)
        self._shapes.add(shape)
        return new


def read_certificates(rows: Rows, whole: Callable[[int, int], Certificate]) -> CertificateColumns:
    """Certificates as columns.

    Args:
        rows: all records.
        whole: the certificate with a number, about the input at a position; or an error that says what is wrong with
            the record.

    Raises:
        StoreError: from ``whole``, for a record that cannot be.
    """
    decode, kinds, digest = _reader(tuple(EVIDENCE.items())), _Kinds(), Digests()
    index, label, prediction, kind, passes, numbers = (array("q") for _ in range(6))
    verdict = array("b")
    radius, sure, p_lower, seconds = (array("d") for _ in range(4))
    for number, position, text in rows:
        try:
            one = decode(text)
            proven = None if one.radius_hex is None else float.fromhex(one.radius_hex)
            place = _PLACE[one.verdict]
            evidence = one.evidence
            subject = None if evidence is None else evidence.subject
            sure.append(math.nan if evidence is None or proven is None else evidence.sure(proven))
            p_lower.append(math.nan if evidence is None else evidence.p_lower)
            property, threat = bytes(one.property), bytes(one.threat)
            of_input = about(one.input_digest, _target(property, b"around", b"truth") if property else None)
            try:
                if evidence is not None:
                    one.threat = _threat(threat)
                fault = "" if evidence is None else evidence.fault(one)
            except AttributeError:  # a kind from elsewhere asks more than is read here
                fault = ""
                whole(number, position)
            if (
                fault
                or one.index != position
                or one.radius != proven
                or (proven is not None) != (place == _CERTIFIED)
                or (proven is not None and (evidence is None or one.prediction is None or not 0 <= proven < math.inf))
            ):
                raise ValueError(one.index)
        except _WRONG as problem:
            raise _damaged(whole, number, position) from problem
        claim = threat, property, one.norm, one.guarantee, one.alpha, one.model_digest, subject
        of_kind = kinds.place((one.method, *claim))
        if kinds.is_new(of_kind, text, one.reason):
            whole(number, position)
        numbers.append(number)
        index.append(one.index)
        digest.append(of_input)
        label.append(NO_CLASS if one.label is None else one.label)
        prediction.append(NO_CLASS if one.prediction is None else one.prediction)
        verdict.append(place)
        radius.append(math.nan if proven is None else proven)
        seconds.append(one.seconds)
        passes.append(one.forward_passes)
        kind.append(of_kind)

    def fetch(row: int) -> Certificate:
        return whole(numbers[row], index[row])

    return CertificateColumns(
        index=_column(index),
        digest=digest,
        label=_column(label),
        prediction=_column(prediction),
        verdict=_column(verdict),
        radius=_column(radius),
        sure=_column(sure),
        p_lower=_column(p_lower),
        seconds=_column(seconds),
        forward_passes=_column(passes),
        kind=_column(kind),
        kinds=tuple(fetch(row) for row in kinds.first),
        fetch=fetch,
    )


def read_findings(rows: Rows, whole: Callable[[int, int], Finding]) -> FindingColumns:
    """Findings as columns; see :func:`read_certificates`. Their examples stay where they are."""
    decode, kinds, digest = msgspec.json.Decoder(_Finding).decode, _Kinds(), Digests()
    index, label, kind, numbers, distance = array("q"), array("q"), array("q"), array("q"), array("d")
    error = list[bool]()
    for number, position, text in rows:
        try:
            one = decode(text)
            found = None if one.distance_hex is None else float.fromhex(one.distance_hex)
            settings = bytes(one.settings)
            of_input = about(one.input_digest, _target(settings, b"target"))
            if (
                one.index != position
                or one.distance != found
                or len({found is None, one.radius is None, one.x_adv is None}) > 1
                or (one.error and (found is not None or one.prediction is not None))
            ):
                raise ValueError(one.index)
            if found is not None and one.radius is not None and not 0 <= found <= one.radius:
                raise ValueError(one.index)
        except _WRONG as problem:
            raise _damaged(whole, number, position) from problem
        of_kind = kinds.place((one.attack, settings, one.norm, bytes(one.radii), one.model_digest))
        if kinds.is_new(of_kind, text, one.error):
            whole(number, position)
        numbers.append(number)
        index.append(one.index)
        digest.append(of_input)
        label.append(one.label)
        error.append(bool(one.error))
        distance.append(math.nan if found is None else found)
        kind.append(of_kind)

    def fetch(row: int) -> Finding:
        return whole(numbers[row], index[row])

    return FindingColumns(
        index=_column(index),
        digest=digest,
        label=_column(label),
        distance=_column(distance),
        error=np.array(error, dtype=bool),
        kind=_column(kind),
        kinds=tuple(fetch(row) for row in kinds.first),
        fetch=fetch,
    )


def _damaged(whole: Callable[[int, int], object], number: int, position: int) -> StoreError:
    """Reading the record whole says what is wrong with it; this is for what only the columns notice."""
    whole(number, position)
    return StoreError(f"the record about input {position} has fields of another kind; {SALVAGE}")


def _column(values: array[Any]) -> NDArray[Any]:
    """The same memory as an array of numpy."""
    return np.frombuffer(values, dtype=values.typecode) if values else np.empty(0, dtype=values.typecode)
