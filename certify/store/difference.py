"""Two sets of records, compared place by place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator

from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.reported import Reported
from certify.store.run_folder import flat

__all__ = ["Place", "Record", "Table", "differing"]

Record = Certificate | Finding | Reported
Table = Callable[[], Iterable[Record]]
Place = tuple[int, str]
"""The input that a record is about, and what it is: nothing stands twice at a place."""


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


def _fingerprint(record: Record) -> bytes:
    return hashlib.sha256(json.dumps(record.to_dict(), sort_keys=True).encode()).digest()
