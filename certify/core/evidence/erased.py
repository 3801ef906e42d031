"""How many tokens were erased until a filter flagged a text: what a radius of erase-and-check is derived from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from certify.core.evidence.base import EVIDENCE, Evidence
from certify.core.schema import Count, PositiveInt
from certify.core.threats.insertions import MODES, Insertions
from certify.errors import BadInput

if TYPE_CHECKING:
    from certify.core.certificate import Certificate

__all__ = ["ErasedEvidence"]


@EVIDENCE.register("erased")
@dataclass(frozen=True, slots=True)
class ErasedEvidence(Evidence):
    """The fewest tokens that were erased from a text until the filter flagged it.

    With ``tokens`` erased at most, a text that is flagged as it is stays so under as many insertions (Kumar et al.
    2023, Theorem 1). If it takes e erased tokens at its end, or anywhere, r more that were inserted there can be erased
    together with them while e + r is at most ``tokens``. Of blocks this is not true: two of them are no block.

    Args:
        tokens: that are erased at most.
        mode: where: ``"suffix"``, ``"block"`` or ``"subset"``.
        pad: the token id that stands for no token.
        flagged: the class that flags a text.
        length: tokens of the text.
        erased: the fewest that had to be erased; None where no text that is left is flagged.

    Raises:
        BadInput: for more erased tokens than there may be.

    >>> ErasedEvidence(3, "subset", 0, 1, 9, 2).holds(1), ErasedEvidence(3, "block", 0, 1, 9, 2).holds(1)
    (True, False)
    """

    tokens: Count
    mode: Literal["suffix", "block", "subset"]
    pad: Count
    flagged: Count
    length: PositiveInt
    erased: Count | None
    kind: Literal["erased"] = "erased"

    methods = ("erase-and-check",)

    def __post_init__(self) -> None:
        if self.erased is not None and self.erased > min(self.tokens, self.length - 1):
            raise BadInput(f"at most {min(self.tokens, self.length - 1)} tokens are erased, not {self.erased}")

    def holds(self, radius: float) -> bool:
        """Whether the class stays although so many tokens are inserted; without any it always does."""
        if radius == 0:
            return True
        if self.erased is None or (self.mode == "block" and self.erased > 0):
            return False
        return self.erased + radius <= self.tokens

    def fault(self, certificate: Certificate) -> str:
        """Flagged with so few erased tokens, under insertions of the same kind."""
        label, radius, threat = certificate.prediction, certificate.radius, certificate.threat
        if not isinstance(threat, Insertions) or (threat.mode, threat.pad) != (self.mode, self.pad):
            return f"erasing with mode {self.mode} and pad {self.pad} says nothing of {threat.noun}"
        if radius and (label != self.flagged or not self.holds(radius)):
            return (
                f"{self.erased} of at most {self.tokens} erased tokens do not show class {label} at radius {radius:g}"
            )
        return ""

    @property
    def defence(self) -> Mapping[str, Any]:
        """The settings of the filter that is asked so often."""
        asked = {"tokens": self.tokens, "mode": self.mode, "pad": self.pad, "flagged": self.flagged}
        return {"kind": "erasing", **asked}

    @property
    def about(self) -> str:
        """The wrapper."""
        return (
            f"the filter, as it is executed, about a text and about what is left without up to {self.tokens} tokens "
            f"{MODES[self.mode]}, which flags a text (class {self.flagged}) if it flags one of these"
        )
