"""The one schema of records: the annotations of the dataclasses themselves, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, ValidationError, convert

from certify.errors import BadInput

__all__ = ["Arithmetic", "Count", "Positive", "Probability", "Real", "Some", "read"]

Count = Annotated[int, Meta(ge=0)]
Some = Annotated[int, Meta(ge=1)]
Real = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Arithmetic = Literal["float64"]
"""In which all proofs are made and derived again."""

T = TypeVar("T")


def read(cls: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from its fields after a trip through JSON: every one of its type and in its range, and no other.

    Raises:
        BadInput: naming the field that is missing, unknown, or of another kind.

    >>> from certify.core.evidence import PublishedEvidence
    >>> read(PublishedEvidence, {"source": "log.tsv", "source_digest": "", "line": 1})
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: not a certificate record: Expected `int` >= 2 - at `$.line`
    """
    try:
        made = convert(values, cls, str_keys=True)
    except (ValidationError, OverflowError) as problem:
        raise BadInput(f"not a certificate record: {problem}") from problem
    if unknown := _unknown(values, made):
        raise BadInput(f"not a certificate record: there is no field {unknown!r}")
    return made


def _unknown(given: object, made: object) -> str:
    """The first name in what was given that no dataclass has; empty where there is none."""
    if isinstance(given, Mapping) and is_dataclass(made):
        known = {field.name: getattr(made, field.name) for field in fields(made)}
        return next((name for name in given if name not in known), "") or next(
            filter(None, (_unknown(given[name], known[name]) for name in given)), ""
        )
    if isinstance(given, list) and isinstance(made, tuple):
        return next(filter(None, map(_unknown, given, made)), "")
    return ""
