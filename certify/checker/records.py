"""The records of a run as a whole: each input has exactly one, under its own key, and together they give the data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from certify.bounded.texts import strictly_from_json
from certify.checker.form import misformed
from certify.checker.result import CheckedClaim, judged, left_open, refuted, subject_of
from certify.core.certificate import Certificate
from certify.core.digests import data_digest
from certify.core.finding import Finding
from certify.core.reported import Reported
from certify.core.rounding import to_hex
from certify.errors import BadInput, CertifyError, one_line

__all__ = ["Stored", "presence_claims", "read_rows", "subjects_of"]

R = TypeVar("R", Certificate, Finding, Reported)


class Stored(NamedTuple):
    """The records of a table, and one claim for each of its rows."""

    records: list[Any]
    claims: list[CheckedClaim]


def read_rows(rows: Iterable[Mapping[str, Any]], of: type[R], digest: str) -> Stored:
    """Records from the rows of a table; rows that cannot be read, or stand under a wrong key, are refuted.

    Args:
        rows: column names to values, as stored.
        of: what the rows hold.
        digest: of the run's settings, under which all rows stand.
    """
    records, claims, others = [], [], Counter[str]()
    for row in rows:
        subject = f"input {row.get('position')}, {row.get('method') or row.get('attack') or row.get('source')}"
        try:
            given = strictly_from_json(row["record"])
            record = of.from_dict(given)
            if fault := misformed(record, row["record"]):
                raise BadInput(fault)  # nothing is derived from what is of another type than it should be
            fault = _another_key(row, record, given)
        except (CertifyError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as problem:
            claims.append(refuted(subject, "record", _said(problem)))
            continue
        records.append(record)
        claims.append(judged(subject, "record", fault))
        if row.get("settings") != digest:
            others[subject] += 1
    if others and len(others) == len(records):
        said = f"all {len(records)} records were made under other settings than manifest.json states"
        claims.append(refuted("manifest", "settings digest", said))
    elif others:
        said = "the record was made under other settings than manifest.json states"
        claims += [refuted(subject, "settings digest", said) for subject in others]
    return Stored(records, claims)


def _said(problem: Exception) -> str:
    return str(problem) if isinstance(problem, CertifyError) else f"it cannot be read ({one_line(problem)})"


def _another_key(row: Mapping[str, Any], record: Certificate | Finding | Reported, given: object) -> str:
    """Why a row's columns, or fields of its text that are repeated there, are not the record's own."""
    stated: dict[str, object] = {"position": record.index}
    if isinstance(record, Certificate):
        stated |= {"method": record.method, "verdict": record.verdict.value}
    elif isinstance(record, Finding):
        stated["attack"] = record.attack
    else:
        stated |= {"source": record.source_digest, "radius": to_hex(record.radius)}
    for name, value in stated.items():
        if row[name] != value:
            return f"its row says {name} {row[name]!r}, the record says {value!r}"
    field = next(_unlike(given, json.loads(json.dumps(record.to_dict())), ""), None)
    return "" if field is None else f"{field} does not follow from the rest of the record"


def _unlike(given: object, derived: object, name: str) -> Iterator[str]:
    """Fields of a record's text that differ from what the record itself writes; older records may lack some."""
    if isinstance(given, dict) and isinstance(derived, dict):
        for key, value in given.items():
            if key in derived:
                yield from _unlike(value, derived[key], f"{name}.{key}" if name else key)
            else:
                yield f"{name}.{key}" if name else key
    elif given != derived:
        yield name


def presence_claims(
    certificates: Sequence[Certificate],
    findings: Sequence[Finding],
    settings: Mapping[str, Any],
    positions: Sequence[int] | None = None,
) -> list[CheckedClaim]:
    """Whether every input of a run is there exactly once for each method and the attack, and is the same everywhere.

    ``inputs`` for each method: none is missing, repeated or too many. Where some are missing because the run is not
    finished, or nobody can tell, that is open. ``data digest`` for each method: the positions, labels and digests of
    a whole run give the digest that pins its data. ``label`` and ``input digest``: two records of one input agree.

    Args:
        certificates, findings: the records of one run.
        settings: those of its manifest.
        positions: of all inputs of the run, or of which this is a shard, in order; None where the data are not at hand.
    """
    groups: dict[str, list[Certificate | Finding]] = {one["method"]: [] for one in settings["certifiers"]}
    for certificate in certificates:
        groups.setdefault(certificate.method, []).append(certificate)
    if settings["attack"] is not None:
        groups[_attack(settings["attack"]["attack"])] = list(findings)
    present = {name: Counter(record.index for record in records) for name, records in groups.items()}
    known = _known(set().union(*present.values()), settings, positions)
    claims: list[CheckedClaim] = []
    asked, whole = settings["inputs"], settings["data"]["inputs"]
    if asked != whole and not _is_shard(settings):
        said = f"a run that is no shard is about all of its {whole:,} inputs, not {asked:,}"
        claims.append(refuted("manifest", "inputs", said))
    number, of = settings["shard"]
    if not 0 <= number < of:
        claims.append(refuted("manifest", "inputs", f"there is no shard {number} of {of}"))
    for place, (name, counts) in enumerate(present.items()):
        begun = any(list(present.values())[place + 1 :])
        found = [*_repeated(name, counts), *_missing(name, counts, known, settings, begun=begun)]
        claims += found or [judged(f"records, {name}", "inputs", "")]
        claims.append(_data_digest(name, groups[name], settings, whole=not found))
    return claims + _disagreements([*certificates, *findings])


def subjects_of(record: Certificate | Finding | Reported) -> tuple[set[str], str]:
    """The subjects of claims about a record: of those about it alone, and of the one about all of its method."""
    if isinstance(record, Reported):
        return {f"input {record.index}, {record.source}"}, f"records, {record.source}"
    name = record.method if isinstance(record, Certificate) else _attack(record.attack)
    return {f"input {record.index}", subject_of(record), f"input {record.index}, {name}"}, f"records, {name}"


def _attack(name: str) -> str:
    """What a group of findings is called; a method of proof may have the same name."""
    return f"{name} (attack)"


def _is_shard(settings: Mapping[str, Any]) -> bool:
    return bool(settings["shard"] != [0, 1])


def _known(seen: set[int], settings: Mapping[str, Any], positions: Sequence[int] | None) -> Sequence[int]:
    """The positions that are certain to belong to the run, in its order: without the data, those of any record.

    Where all positions below the number of inputs are there, or no others, these are the ones.
    """
    if positions is not None and not _is_shard(settings):
        return positions
    asked = settings["inputs"]
    beyond = sum(not 0 <= one < asked for one in seen)
    first = asked == settings["data"]["of"] and "fold" not in settings["data"]  # a fold may be any of the positions
    return range(asked) if first and beyond in (0, len(seen) - asked) else sorted(seen)


def _repeated(name: str, counts: Counter[int]) -> Iterator[CheckedClaim]:
    for index, times in sorted(counts.items()):
        if times > 1:
            yield refuted(f"input {index}, {name}", "inputs", f"there are {times} records of it")


def _missing(
    name: str, counts: Counter[int], known: Sequence[int], settings: Mapping[str, Any], *, begun: bool
) -> Iterator[CheckedClaim]:
    """Missing and surplus inputs. Methods run one after another, each in the order of ``known``, attacks last.

    Args:
        begun: whether a later method or the attack has begun, so that this one had finished.
    """
    asked, there, place = settings["inputs"], len(counts), {index: place for place, index in enumerate(known)}
    last = max((place[index] for index in counts.keys() & place.keys()), default=-1)
    for index in sorted(counts.keys() - place.keys()):
        yield refuted(f"input {index}, {name}", "inputs", "it is none of the inputs of the run")
    if there > asked:
        yield refuted(f"records, {name}", "inputs", f"{there} inputs, the run asks for {asked}")
    missing = [index for index in known if index not in counts] if len(known) <= asked else []
    dropped = [index for index in missing if begun or place[index] < last]
    for index in dropped:
        said = "no record, though later ones were made: it was dropped, or unfinished shards were merged"
        yield refuted(f"input {index}, {name}", "inputs", said)
    if (rest := asked - there - len(dropped)) > 0:
        said = f"{rest} of {asked} inputs have no record: the run is unfinished, or the last ones were dropped"
        yield (refuted if begun else left_open)(f"records, {name}", "inputs", said)


def _data_digest(
    name: str, records: Sequence[Certificate | Finding], settings: Mapping[str, Any], *, whole: bool
) -> CheckedClaim:
    subject, claim, pinned = f"records, {name}", "data digest", str(settings["data"]["digest"])
    if pinned.startswith("published:"):
        said = ""
        if pinned != settings["model"]["digest"]:
            said = f"the manifest names two logs, {pinned} and {settings['model']['digest']}"
        elif settings["data"]["of"] != settings["data"]["inputs"]:
            said = "a log is no sample of what nobody has"
        return judged(subject, claim, said)
    if not whole or settings["inputs"] != settings["data"]["inputs"]:
        said = "it is that of the whole run, and not every input is here once"
        if _is_shard(settings):
            said = f"these are the records of shard {settings['shard'][0]}/{settings['shard'][1]}: merge all shards"
        return left_open(subject, claim, said)
    rows = [(one.index, -1 if one.label is None else one.label, one.about) for one in records]
    if (found := data_digest(rows)) == pinned:
        return judged(subject, claim, "")
    said = f"labels and input digests give {found[:12]}, the run is about {pinned[:12]}: one of them was changed"
    return judged(subject, claim, said)


def _disagreements(records: Sequence[Certificate | Finding]) -> list[CheckedClaim]:
    """Records of one input that name two labels or digests; nobody can tell from them which one was changed."""
    by_input: dict[int, list[Certificate | Finding]] = {}
    for record in records:
        by_input.setdefault(record.index, []).append(record)
    of: dict[str, Callable[[Certificate | Finding], object]] = {
        "label": lambda record: record.label,
        "input digest": lambda record: record.about,
    }
    claims = []
    for index, several in sorted(by_input.items()):
        for claim, value in of.items():
            values = [value(record) for record in several]
            if len({*values}) > 1:
                said = f"its records do not agree: {' and '.join(sorted({str(one)[:20] for one in values}))}"
                claims.append(refuted(f"input {index}", claim, said))
    return claims
