"""The possible answers about one input. Never a bool: unknown is not false."""

from __future__ import annotations

from enum import Enum

__all__ = ["Verdict"]


class Verdict(Enum):
    """Six different answers; only ``CERTIFIED`` claims anything.

    >>> Verdict("abstain").sentence
    'the samples drawn did not single out one class with the stated confidence'
    """

    CERTIFIED = "certified"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"
    ABSTAIN = "abstain"
    UNSUPPORTED = "unsupported"
    ERROR = "error"

    @property
    def sentence(self) -> str:
        """The answer in words, as reports print it."""
        return _SENTENCES[self]

    @property
    def failed(self) -> bool:
        """Whether nothing was computed: whatever else such a record says counts for nothing."""
        return self in (Verdict.UNSUPPORTED, Verdict.ERROR)

    def __str__(self) -> str:
        return self.value


_SENTENCES = {
    Verdict.CERTIFIED: "the prediction is proven constant within the radius, under the stated guarantee",
    Verdict.FALSIFIED: "a verified counterexample exists within the smallest declared radius",
    Verdict.UNKNOWN: "neither a proof nor a counterexample was found at the smallest declared radius",
    Verdict.ABSTAIN: "the samples drawn did not single out one class with the stated confidence",
    Verdict.UNSUPPORTED: "the method has no rule for this model or threat model",
    Verdict.ERROR: "the computation failed on this input",
}
