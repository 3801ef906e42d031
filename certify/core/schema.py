"""The one schema of records: the annotations of the dataclasses themselves, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import reduce
from inspect import isfunction
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct, ValidationError, convert, defstruct

from certify.errors import BadInput

__all__ = ["Arithmetic", "Count", "Positive", "PositiveInt", "Probability", "Real", "read", "reading_struct"]

Count = Annotated[int, Meta(ge=0)]
PositiveInt = Annotated[int, Meta(ge=1)]
Real = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Arithmetic = Literal["float64"]
"""In which all proofs are made and derived again."""

_PLAIN = (None, Annotated, Literal)
"""Origins of the annotations of a number or a text."""

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


def reading_struct(cls: type, kind: str = "") -> type[Struct]:
    """A struct of the fields and the behaviour of a dataclass, to look at a record of it without making one.

    Fields are of the types, in the ranges and of the words in their annotations. Of dataclasses among them, only
    numbers and texts are read: tables of votes and examples take most of the time, and no summary asks for them.

    Args:
        cls: a dataclass whose properties and methods ask its fields and each other.
        kind: what its field ``kind`` holds, by which a decoder of several structs tells them apart; empty without one.
    """
    hints = get_type_hints(cls, include_extras=True)
    shown = [(one.name, _read_as(hints[one.name])) for one in fields(cls) if one.name != "kind"]
    if not kind:
        return defstruct(cls.__name__, [one for one in shown if get_origin(one[1]) in _PLAIN], gc=False)
    said = {
        name: value
        for base in reversed(cls.__mro__[:-1])
        for name, value in vars(base).items()
        if isinstance(value, property) or (isfunction(value) and not name.startswith("__"))
    }
    return defstruct(cls.__name__, shown, namespace={**said, "kind": kind}, tag_field="kind", tag=kind, gc=False)


def _read_as(hint: Any) -> Any:
    """An annotation with a struct in place of each dataclass."""
    if isinstance(hint, type) and is_dataclass(hint):
        return reading_struct(hint)
    if get_origin(hint) in _PLAIN:
        return hint
    parts = tuple(map(_read_as, get_args(hint)))
    return reduce(or_, parts) if isinstance(hint, UnionType) else get_origin(hint)[parts]


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
