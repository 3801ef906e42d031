"""POLICY.toml: what a release has to show, and with what confidence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from certify.bounded.files import content_of, text_room
from certify.bounded.texts import from_toml
from certify.core.input_box import BoxLike, check_box
from certify.core.norms import NORMS
from certify.core.properties.base import Property, property_from
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import THREATS, Threat
from certify.core.values import number, one_of
from certify.errors import BadInput
from certify.gate.conditions.base import CONDITIONS, Condition
from certify.registry import make, nearest
from certify.stats.simultaneous import share

__all__ = ["Policy", "PolicyThreat", "read_policy"]

_DIGITS_STATED: Final = 8
"""Hexadecimal digits of a scale's SHA-256: a policy has to state at least this many."""


@dataclass(frozen=True, slots=True)
class PolicyThreat:
    """The threat model that the policy's radii are about.

    A field that the policy leaves out is not compared with the run's; the norm and the scale always are, and the input
    box where changes reach its ends.

    Args:
        norm: ``"l1"``, ``"l2"`` or ``"linf"``; or the name of another threat, such as ``"features"``.
        input_box: (lower, upper) bound of every feature, two numbers or two rows of numbers. A threat that fills its
            box has to have one, as without it a radius says nothing.
        units: the inputs' units, in the words of the run.
        scale: SHA-256 of the per-feature scale, or of another threat's groups of features, or how it begins; None for
            radii without one.
        property: the property that has to be certified; the top class where a policy names none.
    """

    norm: str
    input_box: BoxLike = None
    units: str | None = None
    scale: str | None = None
    property: Property = TOP_CLASS

    def __post_init__(self) -> None:
        one_of("norm", self.norm, (*NORMS, *(name for name in THREATS if name != "lp")))
        object.__setattr__(self, "input_box", check_box(self.input_box))
        if self.input_box is None and self.norm not in NORMS and THREATS[self.norm].fills_box:
            raise BadInput(f"{self.norm}: changes reach the ends of the input box, so state the input_box in [threat]")
        if self.units is not None and not isinstance(self.units, str):
            raise BadInput(f"units must be text, got {self.units!r}")
        if self.scale is not None and (not isinstance(self.scale, str) or len(self.scale) < _DIGITS_STATED):
            raise BadInput(
                f"scale must be the SHA-256 of one, at least {_DIGITS_STATED} digits of it, got {self.scale!r}"
            )

    def difference(self, run: Threat, property: Property) -> str:
        """The first difference between the run's threat model or property and the policy's, in words; else empty."""
        if property != self.property:
            return f"it asks inputs to {self.property}, the run to {property} (state the property in [threat])"
        if run.norm != self.norm:
            return f"it is about {self.norm}, the run about {run.norm}"
        named = next(iter(run.named.values()), None)
        if not (named or "").startswith(self.scale or "") or (named is None) != (self.scale is None):
            has = "none" if named is None else f"{named[:_DIGITS_STATED]}.."
            return f"its scale is {self.scale or 'none'}, the run's {has}"
        stated = {"input_box": self.input_box, "units": self.units}
        asked = replace(run, **{name: value for name, value in stated.items() if value is not None})  # type: ignore[type-var]
        said = asked.difference(run)
        return f"{said} in the run" if said else ""


@dataclass(frozen=True, slots=True)
class Policy:
    """Conditions that share one probability of error.

    Args:
        threat: what the radii mean.
        require: the conditions.
        confidence: the probability with which all interval ends of the gate hold at once.
        digest: SHA-256 of the file.
        name: what messages call it.

    >>> clause = {"kind": "certified_accuracy", "radius": 0.25, "at_least": 0.6}
    >>> Policy.of({"threat": {"norm": "l2"}, "require": [clause, {**clause, "of": "population"}]}).share
    0.0249999...
    """

    threat: PolicyThreat
    require: tuple[Condition, ...]
    confidence: float = 0.95
    digest: str = field(default="", compare=False)
    name: str = field(default="the policy", compare=False)

    def __post_init__(self) -> None:
        if not 0.5 <= number("confidence", self.confidence) < 1:
            raise BadInput(f"confidence must be at least 0.5 and below 1 (95 % is 0.95), got {self.confidence:g}")
        if not self.require:
            raise BadInput(
                "a policy requires something: add a [[require]] table, for example kind = 'no_contradiction'"
            )

    @property
    def delta(self) -> float:
        """The probability of error that all conditions share."""
        return float(1 - Decimal(repr(float(self.confidence))))

    @property
    def statements(self) -> tuple[str, ...]:
        """The probability statements that the conditions rest on, each once."""
        return tuple(dict.fromkeys(one.statement for one in self.require if one.statement is not None))

    @property
    def share(self) -> float:
        """What each statement may spend (Bonferroni); all of delta if there is none."""
        return share(self.delta, max(1, len(self.statements)))

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii that conditions name, ascending."""
        return tuple(sorted({radius for one in self.require for radius in one.radii}))

    @property
    def needs_baseline(self) -> bool:
        """Whether a condition compares with an earlier run."""
        return any(one.needs_baseline for one in self.require)

    @classmethod
    def of(cls, given: Mapping[str, Any], *, name: str = "the policy", digest: str = "") -> Policy:
        """A policy from the keys of a TOML file.

        Raises:
            BadInput: for an unknown key (the nearest known one is named), a missing one, or a value that cannot be
                meant; the message says in which condition.
        """
        _check_keys(given, ("confidence", "threat", "require"), name)
        threat = _table(given, "threat", f"{name}: state the [threat] that radii are about, at least its norm")
        _check_keys(threat, ("norm", "input_box", "units", "scale", "property"), f"{name}, threat")
        if "norm" not in threat:
            raise BadInput(f"{name}: threat states no norm; give l1, l2 or linf")
        clauses = given.get("require", [])
        if not isinstance(clauses, list) or not all(isinstance(one, Mapping) for one in clauses):
            raise BadInput(f"{name}: require must be tables, each begun with [[require]]")
        try:
            conditions = tuple(_condition(place, clause) for place, clause in enumerate(clauses, 1))
            confidence = number("confidence", given.get("confidence", 0.95))
            return cls(_about(threat), conditions, confidence, digest, name)
        except BadInput as problem:
            raise BadInput(f"{name}: {problem}") from problem


def read_policy(path: Path | str) -> Policy:
    """The policy in a TOML file.

    Raises:
        BadInput: if it is missing, no TOML, or no policy; the message names the file.
    """
    path = Path(path)
    try:
        content = content_of(path, text_room())
        given = from_toml(content)
    except OSError as problem:
        raise BadInput(f"cannot read policy {path} ({problem.strerror}); check the path") from problem
    except ValueError as problem:
        raise BadInput(f"{path} is not a valid TOML file: {problem}") from problem
    return Policy.of(given, name=str(path), digest=hashlib.sha256(content).hexdigest())


def _about(threat: Mapping[str, Any]) -> PolicyThreat:
    """The [threat] of a policy; its property is a name, or a table with the name and its settings."""
    given = threat.get("property")
    fields = {"property": given} if isinstance(given, str) else given
    return PolicyThreat(
        **{key: value for key, value in threat.items() if key != "property"}, property=property_from(fields)
    )


def _condition(place: int, clause: Mapping[str, Any]) -> Condition:
    settings = dict(clause)
    kind = settings.pop("kind", None)
    if kind is None:
        raise BadInput(f"condition {place} has no kind; known: {', '.join(CONDITIONS)}")
    try:
        return make(CONDITIONS, kind, settings)
    except BadInput as problem:
        raise BadInput(f"condition {place}: {problem}") from problem


def _table(given: Mapping[str, Any], key: str, missing: str) -> Mapping[str, Any]:
    value = given.get(key)
    if not isinstance(value, Mapping):
        raise BadInput(missing)
    return value


def _check_keys(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            raise BadInput(f"{where}: unknown key {key!r}{nearest(key, list(known))} known: {', '.join(known)}")
