"""The line of a log that a radius was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["PublishedEvidence"]


@dataclass(frozen=True, slots=True)
class PublishedEvidence:
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
    line: int
    printed: str
    lowest: float
    noise: str
    sigma: float
    n: int
    inferred: bool
    kind: Literal["published"] = "published"

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> PublishedEvidence:
        """Inverse of ``dataclasses.asdict`` after a trip through JSON."""
        return cls(**fields)
