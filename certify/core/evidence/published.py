"""The line of a log that a radius was read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta
from typing_extensions import override

from certify.core.evidence.base import EVIDENCE, Evidence
from certify.core.schema import Positive, PositiveInt, Real

if TYPE_CHECKING:
    from certify.core.certificate import Certificate

__all__ = ["PublishedEvidence"]


@EVIDENCE.register("published")
@dataclass(frozen=True, slots=True)
class PublishedEvidence(Evidence):
    """Where a radius was read: a line of somebody's log. The counts behind it are not in the log.

    Args:
        source: name of the log file.
        source_digest: SHA-256 of the log file, unpacked.
        line: line of the file, the header being line 1.
        printed: the radius as the log prints it. Logs round to nearest, so it may be above the one computed.
        lowest: the smallest radius that prints like this; all that the line shows.
        noise, sigma, n: the smoothed model and its samples, as stated at the import; they are not in the log.
        inferred: whether alpha and n were read off the radii, which lie on a ladder that depends on both.
    """

    source: str
    source_digest: str
    line: Annotated[int, Meta(ge=2)]
    printed: str
    lowest: Real
    noise: Literal["gaussian"]
    sigma: Positive
    n: PositiveInt
    inferred: bool
    kind: Literal["published"] = "published"

    guarantee = "probabilistic"
    methods = ("published",)
    published = True

    def fault(self, certificate: Certificate) -> str:
        """The radius is the printed number, and the least that prints so is not above it."""
        radius = certificate.radius
        if radius is None or 0 <= self.lowest <= float(self.printed) == radius:
            return ""
        return f"radius {radius} is not the one that the log prints, {self.printed}"

    @property
    def subject(self) -> tuple[object, ...]:
        """The smoothed model as stated."""
        return self.kind, self.sampling

    @property
    def sampling(self) -> tuple[object, ...]:
        """What was stated at the import, or read off the radii."""
        return self.noise, self.sigma, self.n, self.inferred

    @property
    @override
    def sampling_in_words(self) -> str:
        inferred = " (n and alpha inferred from the radii)" if self.inferred else ""
        return f"{self.noise} noise, sigma={self.sigma}, n={self.n:,}{inferred}"

    @property
    @override
    def parts(self) -> tuple[str, ...]:
        return (f"noise:{self.noise}",)

    def sure(self, radius: float) -> float:
        """The smallest radius that prints like the stated one."""
        return self.lowest
