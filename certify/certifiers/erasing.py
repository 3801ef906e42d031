"""Erase-and-check: a filter that no inserted tokens make blind (Kumar et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from typing_extensions import override

from certify.certifiers.base import CERTIFIERS, Shape
from certify.certifiers.defended import OfDefence, Shown
from certify.core.evidence.erased import ErasedEvidence
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat
from certify.core.threats.insertions import MODES, Insertions
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.models.defences.erasing import Erasing

__all__ = ["EraseAndCheck"]


@CERTIFIERS.register("erase-and-check")
@dataclass(frozen=True, slots=True)
class EraseAndCheck(OfDefence):
    """Certify a filter that is asked about a text and about all that is left of it without up to so many tokens.

    It flags a text if the filter, any model, flags one of these. So a text that the filter flags stays flagged,
    whatever tokens are inserted: erasing them again is one of the ways that are tried. The certificate costs one
    question; the answer to a text that is not flagged costs them all. Certificates are about texts that are flagged; of
    all others nothing is said but their class itself (radius 0).

    Args:
        tokens: that are erased, at most; None for the largest declared radius.
        erase: ``"suffix"``, ``"block"`` or ``"subset"``, as the mode of :class:`certify.Insertions`; None for that of
            the threat.
        padding: the token id that stands for no token; None for that of the threat.
        flagged: the class that flags a text.

    Raises:
        BadInput: for settings that cannot be right.

    >>> from certify.data.batch import Batch
    >>> clf = Classifier(lambda x: (x == 7).any(1).long(), num_classes=2, input_box=(0.0, 9.0))
    >>> batch, threat = Batch.of([[3.0, 7.0, 0.0, 0.0]], None, 2), Insertions((0, 2))
    >>> [certificate] = EraseAndCheck().fitted(threat).certify(clf, batch, threat)
    >>> certificate.radius, certificate.prediction, certificate.forward_passes
    (2.0, 1, 1)
    """

    tokens: int | None = None
    erase: str | None = None
    padding: int | None = None
    flagged: int = 1
    method = "erase-and-check"
    limits = "erases tokens, and proves insertions and the top class only"
    threats = ("insertions",)

    def __post_init__(self) -> None:
        Erasing(self.tokens or 0, self.erase or "subset", self.padding or 0, self.flagged)

    @override
    def fitted(self, threat: Threat) -> EraseAndCheck:
        if not isinstance(threat, Insertions):
            return self
        return replace(
            self,
            tokens=int(threat.largest) if self.tokens is None else self.tokens,
            erase=self.erase or threat.mode,
            padding=threat.pad if self.padding is None else self.padding,
        )

    @property
    def defence(self) -> Erasing:
        """The filter that is asked so often.

        Raises:
            BadInput: where nobody has said what is erased.
        """
        if self.tokens is None or self.erase is None or self.padding is None:
            raise BadInput(
                "say what is erased: give tokens, erase and padding, for example "
                'certify.EraseAndCheck(tokens=3, erase="suffix", padding=0)'
            )
        return Erasing(self.tokens, self.erase, self.padding, self.flagged)

    def settings(self) -> dict[str, Any]:
        """What is erased, and which class flags."""
        asked = {"tokens": self.tokens, "erase": self.erase, "padding": self.padding, "flagged": self.flagged}
        return {"method": self.method, **asked}

    def describe(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """What is erased, how many texts there are, and what the claim is about."""
        defence = self.defence
        return (
            f"erase-and-check: a text is flagged (class {defence.flagged}) if the filter flags it, or what is left of "
            f"it without up to {defence.tokens} tokens {MODES[defence.mode]}, {defence.count(shape):,} texts at "
            "most for one answer; the claim is about this WRAPPER, and about the flagged class alone"
        )

    def check(self, classifier: Classifier, threat: Threat, x: Tensor) -> None:
        """Refuse inputs that are no texts, another mode than the threat's, and a class that the filter has not."""
        assert isinstance(threat, Insertions)
        threat.check_inputs(x.cpu().numpy())
        defence = self.defence
        defence.check_shape(tuple(x.shape[1:]))
        if (defence.mode, defence.pad) != (threat.mode, threat.pad):
            raise BadInput(
                f"erase-and-check erases with mode {defence.mode} and pad {defence.pad}, the threat inserts with mode "
                f"{threat.mode} and pad {threat.pad}: leave them out of the certifier"
            )
        if defence.flagged >= classifier.num_classes:
            raise BadInput(
                f"class {defence.flagged} flags a text, and the classes are 0 to {classifier.num_classes - 1}"
            )

    def shortfall(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """Which declared radii are more than what is erased."""
        tokens = self.defence.tokens
        return f"at most {tokens} tokens are erased" if threat.largest > tokens else ""

    @override
    def largest_radius(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> float | None:
        return float(self.defence.tokens)

    def show(self, classifier: Classifier, x: Tensor, threat: Threat) -> Shown:
        """Whether the text is flagged, and how many tokens had to be erased for that."""
        defence = self.defence
        label, erased, asked = defence.asked(classifier, x)
        length = len(defence.text(x))
        asked_for = defence.tokens, defence.mode, defence.pad, defence.flagged
        evidence = ErasedEvidence(*asked_for, length, erased)  # type: ignore[arg-type]
        held = [radius for radius in threat.radii if label >= 0 and evidence.holds(radius)]
        reason = "only texts that the filter flags are certified" if erased is None else "erasing more is not tried"
        return Shown(None if label < 0 else label, max(held, default=None), evidence, asked, reason)
