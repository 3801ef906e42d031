"""What a check found: each claim with its standing, and the result of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from typing import Any, Final

from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.shown import VIEWS

__all__ = [
    "CONTRADICTION",
    "NO_PROMISE",
    "UNDERIVABLE",
    "CheckResult",
    "CheckedClaim",
    "Standing",
    "judged",
    "left_open",
    "refuted",
    "subject_of",
]

NO_PROMISE: Final = "attack failed"
"""Nobody can derive that a search found nothing, but it promises nothing either: such claims never fail a check."""

CONTRADICTION: Final = "contradiction"
"""The claim that no executed example lies inside a certified radius; it is listed only where it is refuted."""

UNDERIVABLE: Final = frozenset({"published radius", "failed computation", NO_PROMISE})
"""Claims that nobody can derive: a log holds no counts, and a failed computation or search leaves nothing."""


class Standing(Enum):
    """The three answers of a check. A claim that could not be derived again is neither confirmed nor refuted."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    OPEN = "not checked"


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """One claim and its standing.

    Args:
        subject: what the claim is about: ``"input 17, smoothing"``, ``"manifest"``, ``"records"``.
        claim: which one: ``"radius"``, ``"counts"``, ``"example"``, ``"label"``, ``"data digest"``, ...
        standing: confirmed, refuted, or not checked.
        said: why it is refuted or could not be checked, in words; empty where it is confirmed.
    """

    subject: str
    claim: str
    standing: Standing
    said: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: {self.claim} {self.standing.value}" + (f", {self.said}" if self.said else "")


def subject_of(record: Certificate | Finding) -> str:
    """The input and method (or attack) of a record, as reports name them: ``"input 17, smoothing"``."""
    return f"input {record.index}, {record.method if isinstance(record, Certificate) else record.attack}"


def judged(subject: str, claim: str, wrong: str) -> CheckedClaim:
    """Refuted with the sentence that says what is wrong, confirmed where there is none.

    >>> print(judged("input 17, crown", "radius", ""))
    input 17, crown: radius confirmed
    """
    return refuted(subject, claim, wrong) if wrong else CheckedClaim(subject, claim, Standing.CONFIRMED)


def refuted(subject: str, claim: str, why: str) -> CheckedClaim:
    """A claim that is false, or not what its evidence shows, with the sentence that says why."""
    return CheckedClaim(subject, claim, Standing.REFUTED, why)


def left_open(subject: str, claim: str, why: str) -> CheckedClaim:
    """A claim that could not be derived again, with the sentence that says why.

    >>> print(left_open("input 17, crown", "radius", "the model is not at hand"))
    input 17, crown: radius not checked, the model is not at hand
    """
    return CheckedClaim(subject, claim, Standing.OPEN, why)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The standing of every claim of a run, or of some certificates. True only if all of them are confirmed.

    Args:
        claims: one entry each.
        head: model, data, threat model and methods, as name and text.
        statement: what the confirmed claims prove, and what they do not.
        unchecked: fields of the manifest and of each kind of record that nobody can derive, by name.
        absent: what else the run found and is not here, so that nothing is said about it, in a sentence; mostly empty.

    >>> radius = CheckedClaim("input 3, ibp", "radius", Standing.CONFIRMED)
    >>> label = CheckedClaim("input 3", "label", Standing.OPEN)
    >>> bool(CheckResult((radius,))), bool(CheckResult((radius, label))), CheckResult((radius, label)).complete
    (True, False, False)
    """

    claims: tuple[CheckedClaim, ...] = field(repr=False)
    head: Mapping[str, str] = field(default_factory=dict)
    statement: str = ""
    unchecked: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    absent: str = ""

    @property
    def refuted(self) -> tuple[CheckedClaim, ...]:
        """The claims that are false, or not what their evidence shows."""
        return tuple(one for one in self.claims if one.standing is Standing.REFUTED)

    @property
    def contradicted(self) -> bool:
        """Whether an example that was executed again lies inside a certified radius of the same model."""
        return any(one.claim == CONTRADICTION for one in self.refuted)

    @property
    def open(self) -> tuple[CheckedClaim, ...]:
        """The claims that could not be derived again."""
        return tuple(one for one in self.claims if one.standing is Standing.OPEN)

    @property
    def confirmed(self) -> bool:
        """Whether there are claims, and every one that promises anything was derived again."""
        promises = [one for one in self.claims if one.claim != NO_PROMISE]
        return bool(promises) and all(one.standing is Standing.CONFIRMED for one in promises)

    @property
    def complete(self) -> bool:
        """Whether nothing is left that somebody with model and data at hand could derive."""
        return all(one.claim in UNDERIVABLE for one in self.open)

    @property
    def counts(self) -> dict[str, dict[Standing, int]]:
        """How many claims of each kind stand where, in the order in which the kinds first appear."""
        found = Counter((one.claim, one.standing) for one in self.claims)
        return {claim: {standing: found[claim, standing] for standing in Standing} for claim, _ in found}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: counts of all claims; those that are not confirmed one by one."""

        def told(claims: tuple[CheckedClaim, ...]) -> list[dict[str, str]]:
            return [{"subject": one.subject, "claim": one.claim, "said": one.said} for one in claims]

        return {
            "confirmed": self.confirmed,
            "complete": self.complete,
            "head": dict(self.head),
            "counts": {
                claim: {standing.value: count for standing, count in row.items()} for claim, row in self.counts.items()
            },
            "refuted": told(self.refuted),
            "not_checked": told(self.open),
            "statement": self.statement,
            "unchecked_fields": {kind: list(names) for kind, names in self.unchecked.items()},
            "absent": self.absent,
        }

    def to_frame(self) -> Any:
        """A pandas DataFrame, one line a claim."""
        import pandas

        lines = [(one.subject, one.claim, one.standing.value, one.said) for one in self.claims]
        return pandas.DataFrame(lines, columns=["subject", "claim", "standing", "said"])

    def __bool__(self) -> bool:
        return self.confirmed

    def __str__(self) -> str:
        return VIEWS["outcome.text"](self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
