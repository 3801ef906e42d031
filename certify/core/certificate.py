"""One input's certificate and the evidence from which a stranger can derive it again."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from certify.core.digests import about
from certify.core.evidence import (
    BoundEvidence,
    CompleteEvidence,
    Evidence,
    LipschitzEvidence,
    Look,
    PublishedEvidence,
    SmoothingEvidence,
    evidence_from,
)
from certify.core.finding import Finding
from certify.core.guarantee import Guarantee
from certify.core.properties.base import Property, property_from
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import round_down, stated_twice, to_hex
from certify.core.shown import VIEWS
from certify.core.threats.base import Threat, threat_from
from certify.core.values import plain
from certify.core.verdict import Verdict
from certify.errors import BadInput

__all__ = [
    "RECORD",
    "BoundEvidence",
    "Certificate",
    "CompleteEvidence",
    "Evidence",
    "LipschitzEvidence",
    "Look",
    "PublishedEvidence",
    "SmoothingEvidence",
]

RECORD: Final[Mapping[str, Any]] = {
    "index": int,
    "input_digest": str,
    "label": int | None,
    "prediction": int | None,
    "verdict": str,
    "radius": float | None,
    "radius_hex": str | None,
    "norm": str,
    "guarantee": str,
    "alpha": float | None,
    "method": str,
    "threat": dict,
    "model_digest": str,
    "evidence": dict | None,
    "seconds": float,
    "forward_passes": int,
    "reason": str,
    "property": dict | None,
}
"""What :meth:`Certificate.to_dict` writes, in its order: the schema of exports, and of whatever reads records fast.

There is no property where it is the top class, as in records from before there were others."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The claim about one input: the prediction is constant within ``radius``.

    Args:
        index: position of the input in its data set.
        input_digest: SHA-256 of the input's values.
        label: the true class, or None where unknown.
        prediction: the class the claim is about, or None where no class could be named.
        verdict: ``CERTIFIED`` if a radius is proven that reaches the smallest declared one; see :class:`Verdict`.
        radius: the proven radius in input units, rounded down; None where nothing is certified. It may lie between
            declared radii: compare it with the radius you need, or ask :meth:`holds_at`.
        threat: the threat model the claim was made for; its norm is the norm of the radius.
        guarantee: proof or confidence.
        method: the certifier, for example ``"smoothing"`` or ``"crown"``.
        evidence: everything needed to derive the radius again; None where the computation did not get that far.
        model_digest: SHA-256 of the model the claim is about.
        seconds: time spent on this input.
        forward_passes: samples sent through the model for this input.
        reason: why, in words, where the verdict's own sentence does not say enough.
        property: what is claimed; label and prediction are its answers, which for the top class are classes.

    Raises:
        BadInput: if verdict, radius, guarantee or evidence contradict each other, or the radius is NaN, infinite or
            negative.
    """

    index: int
    input_digest: str
    label: int | None
    prediction: int | None
    verdict: Verdict
    radius: float | None
    threat: Threat
    guarantee: Guarantee
    method: str
    evidence: Evidence | None
    model_digest: str
    seconds: float = field(default=0.0, compare=False)
    forward_passes: int = 0
    reason: str = ""
    property: Property = TOP_CLASS

    def __post_init__(self) -> None:
        for name, value in (("index", self.index), ("label", self.label), ("prediction", self.prediction)):
            if type(value) is not int and (value is not None or name == "index"):
                raise BadInput(f"the {name} of a certificate is a whole number, got {value!r}")
        for name, text in (("input_digest", self.input_digest), ("model_digest", self.model_digest)):
            if not isinstance(text, str):
                raise BadInput(f"the {name} of a certificate is text, got {text!r}")
        if (self.verdict is Verdict.CERTIFIED) != (self.radius is not None):
            raise BadInput(f"a certificate has a radius if, and only if, it is certified (verdict {self.verdict})")
        if self.radius is not None and not 0 <= self.radius < float("inf"):
            raise BadInput(f"a certified radius is a finite number >= 0, got {self.radius}")
        if self.evidence is not None:
            self._check_evidence(self.evidence)
        if self.verdict is not Verdict.CERTIFIED:
            return
        if self.prediction is None:
            raise BadInput("a certificate without a prediction certifies nothing")
        if self.guarantee.kind == "empirical":
            raise BadInput("an observation certifies nothing; a certificate is deterministic or probabilistic")
        if self.evidence is None:
            raise BadInput("a certified input has evidence from which its radius can be derived again")

    def _check_evidence(self, evidence: Evidence) -> None:
        """Refuse evidence that contradicts the claim on its face; the radius is not derived again here."""
        if self.guarantee.kind != evidence.guarantee:
            made = f"{evidence.kind} evidence makes a {evidence.guarantee} guarantee"
            raise BadInput(f"{made}, got a {self.guarantee.kind} one")
        if fault := evidence.fault(self):
            raise BadInput(fault)

    @builtins.property  # the class has a field of that name
    def about(self) -> str:
        """What tells the input from others: its digest, and its target in a regression."""
        return about(self.input_digest, self.property.target)

    @builtins.property
    def _kept(self) -> str:
        if self.property == TOP_CLASS:
            return f"class {self.prediction} constant"
        return f"proven to {self.property} ({self.property.word(self.prediction or 0)})"

    @builtins.property
    def finding(self) -> Finding | None:
        """What a search found on its way, as the attack that it is as well; None for other methods."""
        return None if self.evidence is None else self.evidence.finding(self)

    @builtins.property
    def norm(self) -> str:
        """The norm of the radius, or the name of the threat that it counts."""
        return self.threat.norm

    @builtins.property
    def alpha(self) -> float | None:
        """Probability of a false claim, or None for a proof."""
        return self.guarantee.alpha

    @builtins.property
    def radius_hex(self) -> str | None:
        """The exact radius as a hexadecimal float."""
        return to_hex(self.radius)

    @builtins.property
    def correct(self) -> bool:
        """Whether the prediction is the label."""
        return self.label is not None and self.prediction == self.label

    def holds_at(self, radius: float) -> bool:
        """Whether the claim covers ``radius``: certified, and proven at least that far."""
        return self.radius is not None and self.radius >= radius

    def to_dict(self) -> dict[str, Any]:
        """The exported fields, ready for JSON. ``radius`` is the exact float, ``radius_hex`` the same in hex."""
        return {
            "index": self.index,
            "input_digest": self.input_digest,
            "label": self.label,
            "prediction": self.prediction,
            "verdict": self.verdict.value,
            "radius": self.radius,
            "radius_hex": self.radius_hex,
            "norm": self.norm,
            "guarantee": self.guarantee.kind,
            "alpha": self.alpha,
            "method": self.method,
            "threat": self.threat.to_dict(),
            "model_digest": self.model_digest,
            "evidence": plain(self.evidence),
            "seconds": self.seconds,
            "forward_passes": self.forward_passes,
            "reason": self.reason,
            **({} if self.property == TOP_CLASS else {"property": self.property.to_dict()}),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Certificate:
        """Inverse of :meth:`to_dict`.

        Raises:
            BadInput: if a field is missing or holds something else than :meth:`to_dict` writes.
        """
        try:
            evidence = fields["evidence"]
            threat = threat_from(fields["threat"])
            if fields["norm"] != threat.norm:
                raise BadInput(f"norm {fields['norm']!r} is not that of its threat, {threat.norm}")
            return cls(
                index=fields["index"],
                input_digest=fields["input_digest"],
                label=fields["label"],
                prediction=fields["prediction"],
                verdict=Verdict(fields["verdict"]),
                radius=stated_twice(fields, "radius"),
                threat=threat,
                guarantee=Guarantee(fields["guarantee"], fields["alpha"]),
                method=fields["method"],
                model_digest=fields["model_digest"],
                evidence=None if evidence is None else evidence_from(evidence),
                seconds=fields["seconds"],
                forward_passes=fields["forward_passes"],
                reason=fields["reason"],
                property=property_from(fields.get("property")),
            )
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as problem:
            raise BadInput(f"not a certificate record: {type(problem).__name__} {problem}") from problem

    def __str__(self) -> str:
        named = f"input {self.index}: {self.verdict}"
        if self.radius is None:
            return f"{named} ({self.reason or self.verdict.sentence})"
        return f"{named}, {self._kept} within {self.threat.amount(self.radius, round_down)}; {self.guarantee}"

    def to_frame(self) -> Any:
        """All fields but threat model and evidence, as a pandas DataFrame of one line; ``concat`` joins several."""
        import pandas

        fields = {name: value for name, value in self.to_dict().items() if name not in ("threat", "evidence")}
        return pandas.DataFrame([fields]).set_index("index")

    def bibtex(self) -> str:
        """BibTeX entries of the method behind the claim."""
        return VIEWS["certificate.bibtex"](self)

    def _repr_html_(self) -> str:
        return VIEWS["certificate.html"](self)
