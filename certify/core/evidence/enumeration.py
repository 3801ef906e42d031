"""The votes of all subsets of positions, which a radius follows from without any statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from typing_extensions import override

from certify.core.evidence.ablation import Null, check_null, null_in_words, plain_null, positions_kept
from certify.core.evidence.base import EVIDENCE, Evidence
from certify.core.evidence.sampled import Look
from certify.core.schema import PositiveInt
from certify.core.threats.base import Threat

if TYPE_CHECKING:
    from certify.core.certificate import Certificate

__all__ = ["MOST_SUBSETS", "EnumerationEvidence", "subsets"]

MOST_SUBSETS: Final = 10_000
"""As many forward passes an input as anybody makes without asking for fewer."""


def subsets(positions: int, retention: int) -> int:
    """How many subsets there are, C(d, s); anything above :data:`MOST_SUBSETS` where there are more than that.

    >>> subsets(8, 2), subsets(10**6, 10**5) > MOST_SUBSETS
    (28, True)
    """
    found = 1
    for i in range(min(retention, positions - retention)):
        found = found * (positions - i) // (i + 1)  # C(d, i + 1), which grows up to the middle
        if found > MOST_SUBSETS:
            break
    return found


@EVIDENCE.register("enumeration")
@dataclass(frozen=True, slots=True)
class EnumerationEvidence(Evidence):
    """What the radius of a model smoothed by ablation was derived from where every subset was counted.

    The positions are those of the threat: its groups, or all ``dimensions`` features.

    Args:
        noise: registered name of the law.
        retention: how many positions each subset keeps.
        null: what stands in place of the others.
        dimensions: features of one input.
        votes: those of all subsets.

    Raises:
        BadInput: for null values that do not fit.
    """

    noise: str
    retention: PositiveInt
    null: Null
    dimensions: PositiveInt
    votes: Look
    kind: Literal["enumeration"] = "enumeration"

    methods = ("enumeration",)

    def __post_init__(self) -> None:
        check_null(self.null, self.dimensions)

    def measure(self, threat: Threat) -> tuple[int, int]:
        """Positions, and how many of them are kept."""
        return positions_kept(threat, self.dimensions, self.retention)

    def fault(self, certificate: Certificate) -> str:
        """Every subset has one vote, and the class has more than any other."""
        positions, kept = self.measure(certificate.threat)
        if kept > positions or self.votes.n > MOST_SUBSETS or self.votes.n != subsets(positions, kept):
            return f"{self.votes.n} votes are not one for each subset of {kept} of {positions} positions"
        if certificate.radius is not None and self.lead(certificate.prediction) <= 0:
            return f"class {certificate.prediction} has no more votes than another one"
        return ""

    def lead(self, label: int | None) -> int:
        """By how many votes a class is ahead of every other, and of those for no class."""
        own = 0 if label is None else self.votes.counts.get(label, 0)
        return own - max([self.votes.invalid, *(n for other, n in self.votes.counts.items() if other != label)])

    @property
    def subject(self) -> tuple[object, ...]:
        """The smoothed model."""
        return self.kind, self.retention, self.null, self.votes.n

    @property
    @override
    def smoothed(self) -> Mapping[str, Any]:
        return {"noise": self.noise, "retention": self.retention, "null": plain_null(self.null)}

    @property
    @override
    def proven_of(self) -> str:
        return (
            f"the SMOOTHED model, not the base model: its votes on all {self.votes.n:,} subsets of kept positions "
            f"(retention={self.retention}, {null_in_words(self.null)}), as executed in float32"
        )

    @property
    @override
    def parts(self) -> tuple[str, ...]:
        return (f"noise:{self.noise}",)

    @property
    @override
    def of_label(self) -> bool:
        return False

    @property
    @override
    def features(self) -> int:
        return self.dimensions
