"""What became of one claim when it was derived again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Checked", "Standing"]


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
