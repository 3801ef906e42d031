"""Two manifests compared name by name, and two sets of records place by place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from certify.bounded.texts import from_json
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.reported import Reported
from certify.store.run_folder import abridged, flat

__all__ = ["Place", "Record", "Table", "contrary", "differing", "otherwise"]

Record = Certificate | Finding | Reported
Table = Callable[[], Iterable[Record]]
Place = tuple[int, str]
"""The input that a record is about, and what it is: nothing stands twice at a place."""


_ABSENT: Final = object()


def otherwise(signed: bytes, found: bytes) -> Iterator[str]:
    """In what one manifest says otherwise than another, a line each; nothing if they are the same bytes.

    >>> list(otherwise(b'{"a": {}, "b.c": 1}', b'{"b": {"c": 1}}'))
    ['a is {} there, absent now', 'b is absent there, {"c": 1} now', '"b.c" is 1 there, absent now']
    >>> list(otherwise(b'{"a": 1}', b'{"a":1}'))
    ['it says the same in other bytes (order, spaces, or a name that stands twice)']
    """
    if signed == found:
        return
    lines = list(_apart(from_json(signed), from_json(found), ""))
    yield from lines or ["it says the same in other bytes (order, spaces, or a name that stands twice)"]


def _apart(signed: Any, found: Any, at: str) -> Iterator[str]:
    if isinstance(signed, dict) and isinstance(found, dict):
        for name in sorted(signed.keys() | found.keys()):
            # A name that has a dot in it is quoted: it is no path.
            part = json.dumps(name) if "." in str(name) else str(name)
            yield from _apart(signed.get(name, _ABSENT), found.get(name, _ABSENT), f"{at}.{part}" if at else part)
    elif _tables(signed) and _tables(found):
        yield from _apart(dict(enumerate(signed)), dict(enumerate(found)), at)
    elif (was := _text(signed)) != (now := _text(found)):
        yield f"{at} is {abridged(was)} there, {abridged(now)} now"


def _tables(value: Any) -> bool:
    """Whether it is a list of objects, such as certifiers; one of numbers is a value as a whole."""
    return isinstance(value, list) and all(isinstance(part, dict) for part in value)


def _text(value: Any) -> str:
    """JSON, which tells 1 from 1.0 and true."""
    return "absent" if value is _ABSENT else json.dumps(value, sort_keys=True)


def differing(signed: Table, found: Table) -> Iterator[tuple[Place, str]]:
    """Where two tables differ, and how. Digests are kept of all records, and whole ones only of those that differ."""
    (ours, repeated), (theirs, doubled) = _digests(signed()), _digests(found())
    yield from ((place, "stands twice in the bundle") for place in repeated)
    yield from ((place, "stands twice in the run") for place in doubled)
    yield from ((place, "is missing from the run") for place in ours.keys() - theirs.keys())
    yield from ((place, "was added to the run") for place in theirs.keys() - ours.keys())
    changed = {place for place in ours.keys() & theirs.keys() if ours[place] != theirs[place]}
    if changed:
        before, after = _chosen(signed(), changed), _chosen(found(), changed)
        for place in changed:
            one, other = before[place], after[place]
            names = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
            # Fields of evidence by name, what lies deeper as a whole: not every count of every look.
            yield place, f"differs in {', '.join(sorted({'.'.join(name.split('.')[:2]) for name in names}))}"


def contrary(folders: Mapping[str, Iterable[Record]]) -> Iterator[tuple[Place, str, str]]:
    """Places at which records of two folders say different things, with the names of the first and the other folder.

    How long it took is no difference, and a computation that failed says nothing: a later one takes its place.
    """
    first: dict[Place, tuple[str, bytes]] = {}
    for name, records in folders.items():
        for record in records:
            if (
                record.verdict.failed
                if isinstance(record, Certificate)
                else isinstance(record, Finding) and record.error
            ):
                continue
            place, found = _place(record), _fingerprint(record, "seconds")
            other, known = first.setdefault(place, (name, found))
            if known != found:
                yield place, other, name


def _digests(records: Iterable[Record]) -> tuple[dict[Place, bytes], set[Place]]:
    digests: dict[Place, bytes] = {}
    twice = set()
    for record in records:
        place = _place(record)
        if place in digests:
            twice.add(place)
        digests[place] = _fingerprint(record)
    return digests, twice


def _chosen(records: Iterable[Record], places: set[Place]) -> dict[Place, dict[str, str]]:
    return {place: flat(record.to_dict()) for record in records if (place := _place(record)) in places}


def _place(record: Record) -> Place:
    match record:
        case Certificate():
            return record.index, f"{record.method} certificate"
        case Finding():
            return record.index, f"{record.attack} finding"
        case Reported():
            return record.index, f"row of the log {record.source} ({record.source_digest[:12]}) at {record.radius}"


def _fingerprint(record: Record, without: str = "") -> bytes:
    fields = {name: value for name, value in record.to_dict().items() if name != without}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).digest()
