"""Records of prediction sets: what follows from a record alone, and what its sets are when they are made again."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from certify.bounded.files import check_text, content_of
from certify.bounded.texts import strictly_from_json
from certify.checker.result import CONTRADICTION, NO_PROMISE, CheckedClaim, judged, left_open
from certify.core.prediction_sets import SETS, PredictionSets, set_row
from certify.errors import StoreError, one_line
from certify.stats.conformal import as_written, conformal_rank, coverage_given, order_statistic

__all__ = ["UNCHECKED", "is_set_record", "made_again", "read_set_record", "record_alone"]

CLOSE: Final = 1e-9
"""Relative distance of two machines' rounding of one bound."""

CLOSE_DRAWS: Final = 1e-4
"""The same of a score that a model computes in float32."""


UNCHECKED: Final = {"prediction sets": ("model.name", "run", "notes", "rows.attacked", "rows.plain_attacked")}
"""Fields of a record that nobody can derive: how its maker called things and came by the sets, what a search found."""

_SAME: Final = (
    *("paid", "seed", "certifiers", "calibrated_on", "sets_of", "threat", "method"),
    *("score", "coverage", "delta", "plain", "statement"),
)
"""Fields that are the same on every machine."""


def is_set_record(path: Path | str) -> bool:
    """Whether a path is that of a record of prediction sets by its name, which no export of certificates has."""
    return Path(path).suffix == ".json" and Path(path).is_file()


def read_set_record(path: Path | str) -> dict[str, Any]:
    """A record of prediction sets, unread apart from being one.

    Raises:
        StoreError: for anything else.
    """
    try:
        text = content_of(path).decode("utf-8")
        check_text(text)
        record = strictly_from_json(text)
    except OSError as problem:
        raise StoreError(f"{path} cannot be read ({problem.strerror})") from problem
    except ValueError as problem:
        raise StoreError(f"{path} is no record of prediction sets ({one_line(problem)})") from problem
    if not isinstance(record, dict) or record.get("format") != SETS:
        raise StoreError(f"{path} is no record of prediction sets: certify conformal writes one")
    return record


def record_alone(record: Mapping[str, Any]) -> list[CheckedClaim]:
    """Threshold, rank, and shares of sets, derived from the record itself.

    Raises:
        AttributeError, ArithmeticError, LookupError, TypeError, ValueError: for a record that lacks what it needs.
    """
    scores, paid = [_number(one) for one in record["calibration"]], _share(record["paid"])
    n = len(scores)
    rank = conformal_rank(n, as_written(record["coverage"]) + paid)
    threshold, given = order_statistic(scores, rank), coverage_given(rank, n, record["delta"]) - float(paid)
    claims = [
        judged("record", "rank", _apart(record["rank"], rank)),
        judged("record", "threshold", _apart(_number(record["threshold"]), threshold)),
        judged("record", "given", "" if record["given"] <= max(0.0, given) else f"it is {given:.6f}"),
        judged("record", "inputs calibrated on", _apart(record["calibrated_on"]["inputs"], n)),
        judged("record", "radii", _apart([row["radius"] for row in record["rows"]], record["threat"]["radii"])),
    ]
    labels = [one["label"] for one in record["inputs"]]
    rows = [("plain", record["plain"], [one["plain"] for one in record["inputs"]])]
    rows += [
        (f"radius {row['radius']}", row, [one["sets"][place] for one in record["inputs"]])
        for place, row in enumerate(record["rows"])
    ]
    for subject, row, sets in rows:
        again = set_row(row["radius"], sets, labels)
        said = [name for name in ("size", "empty", "single", "covered") if row[name] != getattr(again, name)]
        claims.append(judged(subject, "shares", f"{', '.join(said)} do not follow from the sets" if said else ""))
        if row["attacked"] is not None:
            claims.append(left_open(subject, NO_PROMISE, "what a search did not find nobody can derive"))
    if record["contradictions"]:
        claims.append(judged("record", CONTRADICTION, f"sets lack labels that are proven: {record['contradictions']}"))
    return claims


def made_again(record: Mapping[str, Any], again: PredictionSets) -> list[CheckedClaim]:
    """A record against what was computed from model and data anew.

    Calibration scores may differ by what machines round differently, and then in no set.

    Raises:
        AttributeError, ArithmeticError, LookupError, TypeError, ValueError: for a record that lacks what it needs.
    """
    whole = json.loads(json.dumps(again.to_dict()))
    if (drawn := whole.get("generator")) != record.get("generator"):
        said = f"its noise is that of {record.get('generator')!s:.40}, here it would be that of {drawn}"
        return [left_open("record", "sets", said)]
    claims = [judged("record", name, "" if record[name] == whole[name] else "it is another one") for name in _SAME]
    claims.append(judged("record", "model digest", _apart(record["model"]["digest"], whole["model"]["digest"])))
    scores, close = [_number(one) for one in record["calibration"]], CLOSE if drawn is None else CLOSE_DRAWS
    wrong = sum(not _close(one, other, close) for one, other in zip(scores, again.scores, strict=False))
    wrong += abs(len(scores) - len(again.scores))
    claims.append(judged("record", "calibration scores", f"{wrong} of {len(scores)} are others" if wrong else ""))
    claims.append(judged("record", "proven", _apart(record["proven"], again.proven)))
    left_out = [note for note in again.notes if note not in record["notes"]]
    claims.append(judged("record", "notes", f"it leaves out: {left_out[0]}" if left_out else ""))
    if hidden := sorted({*again.contradictions} - {*record["contradictions"]}):
        claims.append(judged("record", CONTRADICTION, f"sets lack labels that are proven: {hidden}"))
    for row, other in zip(record["rows"], again.rows, strict=False):
        said = _apart(row["plain_proven"], other.plain_proven)
        claims.append(judged(f"radius {row['radius']}", "plain sets proven", said))
    if len(record["inputs"]) != len(again.inputs):
        claims.append(judged("record", "inputs", f"there are {len(again.inputs)}"))
    for one, made in zip(record["inputs"], whole["inputs"], strict=False):
        claims.append(judged(f"input {made['index']}", "sets", "" if one == made else _differing(one, made)))
    return claims


def _differing(one: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    names = [name for name in made if one.get(name) != made[name]]
    return f"{', '.join(names)}: the record says {_brief(one, names)}, made again {_brief(made, names)}"


def _brief(one: Mapping[str, Any], names: Sequence[str]) -> str:
    return json.dumps([one.get(name) for name in names])[:60]


def _apart(said: object, found: object) -> str:
    return "" if said == found else f"the record says {said!s:.40}, it is {found}"


def _share(text: Any) -> Fraction:
    """A fraction between 0 and 1, in as many digits as one is written here."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,29}/[1-9][0-9]{0,29}", text) or not Fraction(text) < 1:
        raise ValueError(f"{text!r:.40} is no share")
    return Fraction(text)


def _number(value: Any) -> float:
    if value is None:
        return math.inf
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r:.40} is no number")
    return float(value)


def _close(one: float, other: float, relative: float) -> bool:
    return one == other or abs(one - other) <= relative * (1.0 + abs(other))
