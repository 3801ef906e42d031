"""What became of one claim when it was derived again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from certify.core.certificate import Certificate
from certify.core.finding import Finding

__all__ = ["Checked", "Standing", "judged", "subject_of"]


class Standing(Enum):
    """Three answers: what could not be derived again is neither confirmed nor refuted."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    OPEN = "not checked"


@dataclass(frozen=True, slots=True)
class Checked:
    """One claim, and where it stands.

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
    """How a report names what a claim is about: ``"input 17, smoothing"``."""
    return f"input {record.index}, {record.method if isinstance(record, Certificate) else record.attack}"


def judged(subject: str, claim: str, wrong: str) -> Checked:
    """Refuted with the sentence that says what is wrong, confirmed where there is none.

    >>> print(judged("input 17, crown", "radius", ""))
    input 17, crown: radius confirmed
    """
    return Checked(subject, claim, Standing.REFUTED if wrong else Standing.CONFIRMED, wrong)
