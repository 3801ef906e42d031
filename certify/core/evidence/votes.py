"""The votes of copies with hidden pixels that a radius of derandomized smoothing is derived from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from certify.core.evidence.base import EVIDENCE, Evidence
from certify.core.schema import Count, PositiveInt, Probability
from certify.core.threats.budget import MOST_FEATURES
from certify.errors import BadInput

if TYPE_CHECKING:
    from certify.core.certificate import Certificate

__all__ = ["VotesEvidence", "check_image", "nothing"]


@EVIDENCE.register("votes")
@dataclass(frozen=True, slots=True)
class VotesEvidence(Evidence):
    """How many copies of an image, of which all but a band or a block is hidden, vote for each class.

    A patch of side m is seen in at most ``m + size - 1`` bands, or in as many blocks squared. No other copy changes,
    so no count moves by more (Levine and Feizi 2020, de-randomized smoothing, Theorem 1).

    Args:
        ablation: ``"band"`` or ``"block"``.
        size: columns of a band, or the side of a block.
        null: the value of hidden pixels; None for the middle of the input box.
        threshold: the softmax probability from which on a copy votes for a class; None where it votes for its top one.
        height, width: of the image.
        counts: votes per class; classes without a vote may be left out.

    Raises:
        BadInput: for more votes than copies, a part that is larger than the image, or more pixels than any image has.

    >>> votes = VotesEvidence("band", 2, None, None, 8, 20, {3: 15, 7: 5})
    >>> votes.seen(3), votes.holds(3, 3), votes.holds(3, 4), votes.holds(7, 0)
    (4, True, True, False)
    """

    ablation: Literal["band", "block"]
    size: PositiveInt
    null: float | None
    threshold: Probability | None
    height: PositiveInt
    width: PositiveInt
    counts: Mapping[Count, Count]
    kind: Literal["votes"] = "votes"

    methods = ("derandomized",)

    def __post_init__(self) -> None:
        votes = {int(label): int(count) for label, count in sorted(self.counts.items()) if count}
        object.__setattr__(self, "counts", votes)
        check_image(self.height, self.width)
        if self.size > (self.width if self.ablation == "band" else min(self.height, self.width)):
            raise BadInput(f"a {self.ablation} of size {self.size} is larger than {self.height} x {self.width} pixels")
        most = max(votes.values(), default=0) if self.threshold is not None else sum(votes.values())
        if min(votes.values(), default=0) < 0 or most > self.copies:
            raise BadInput(f"{self.copies} copies cannot have the votes {votes}")

    @property
    def copies(self) -> int:
        """How many copies there are: one a column, or one a pixel."""
        return self.width * (1 if self.ablation == "band" else self.height)

    @property
    def prediction(self) -> int | None:
        """The class with the most votes, the smallest of those in a tie; None without votes."""
        return min(self.counts, key=lambda label: (-self.counts[label], label), default=None)

    def seen(self, side: float) -> int:
        """In how many copies a patch of a side is seen at most."""
        if side == 0:
            return 0
        along = [min(length, int(side) + self.size - 1) for length in (self.width, self.height)]
        return along[0] * (1 if self.ablation == "band" else along[1])

    def holds(self, label: int, side: float) -> bool:
        """Whether a class stays the one with the most votes under every patch of a side.

        A class with a smaller number wins ties, so it must be ahead by one vote more.
        """
        own, moved = self.counts.get(label, 0), 2 * self.seen(side)
        rivals = [count + (other < label) for other, count in self.counts.items() if other != label]
        return own > 0 and own >= max([int(label > 0), *rivals]) + moved

    def fault(self, certificate: Certificate) -> str:
        """The class has the most votes, by enough for the radius."""
        label, radius = certificate.prediction, certificate.radius
        if radius is None:
            return ""
        if label is None or label != self.prediction or not self.holds(label, radius):
            return f"votes {dict(self.counts)} of {self.copies} copies do not show class {label} at side {radius:g}"
        return ""

    @property
    def defence(self) -> Mapping[str, Any]:
        """The settings of the vote."""
        asked = {"ablation": self.ablation, "size": self.size, "null": self.null, "threshold": self.threshold}
        return {"kind": "votes", **asked}

    @property
    def about(self) -> str:
        """The vote."""
        part = f"{self.size} columns" if self.ablation == "band" else f"{self.size} x {self.size} pixels"
        least = "" if self.threshold is None else f", from a probability of {self.threshold:g} on"
        shown = f"copies of the image that show {part} each, {nothing(self.null)} elsewhere"
        return f"the vote of the model, as it is executed, over {shown}{least}"


def check_image(height: int, width: int) -> None:
    """Refuse images with more pixels than any input has features.

    Raises:
        BadInput: for them.
    """
    if height * width > MOST_FEATURES:
        raise BadInput(f"no image has {height} x {width} pixels")


def nothing(null: float | None) -> str:
    """What hidden pixels are, in words."""
    return "the middle of the input box" if null is None else f"{null:g}"
