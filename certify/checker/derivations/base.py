"""How claims are derived again: what each kind of evidence defines, the registry of kinds, and claims that follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, TypeVar

from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.core.certificate import Certificate, Evidence
from certify.core.evidence import EVIDENCE
from certify.core.rounding import brief_up
from certify.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from certify.bounds.graph import Graph
    from certify.models.classifier import Classifier

__all__ = [
    "DERIVATIONS",
    "Derivation",
    "Difference",
    "RunSettings",
    "Underived",
    "derivation_for",
    "derivation_of",
    "derived_claims",
    "evidence_of",
    "needs_network",
    "statement",
]

E = TypeVar("E", bound=Evidence)

Difference = tuple[str, object, object]
"""Name of a setting, its value in the record, its value in the manifest."""

PROOFS: Final = (
    "What is confirmed of proofs: they hold for this network ({threats}), in exact real arithmetic or in every float32 "
    "execution as each certificate states, and say nothing about another network or beyond a radius."
)


class RunSettings(NamedTuple):
    """What a run's manifest prescribes for the certificates of one certifier.

    Args:
        certifier: the certifier's settings.
        run: all settings of the run.
        shared: the most frequent value of each entry of :meth:`Derivation.same_for_all` among the run's certificates.
    """

    certifier: Mapping[str, Any]
    run: Mapping[str, Any]
    shared: Mapping[str, object]


class Derivation:
    """How claims of one kind of evidence are derived again; the defaults are those of a proof about the network.

    A member is registered under the evidence's ``kind``. It takes nothing from the certifier that made the claim.
    """

    unchecked: ClassVar[tuple[str, ...]] = ()
    """Fields of the evidence that nobody can derive from records, model and data; docs/check.md gives the reasons."""

    with_model: ClassVar[tuple[str, ...]] = ()
    """Claims about a run as a whole that stay open without the model."""

    drawn: ClassVar[bool] = False
    """Whether random draws, and so the run's seed, had a part in the evidence."""

    translated: ClassVar[tuple[str, ...]] = ()
    """Settings of the certifier that the evidence holds under other names or in other forms."""

    statement: ClassVar[str] = PROOFS
    """What a confirmed claim proves and what it does not, with places for ``threats`` and ``alpha``."""

    def alone(self, certificates: Sequence[Certificate], *, whole: bool) -> list[CheckedClaim]:
        """What follows from certificates of this kind alone, without model, data or torch.

        Args:
            certificates: none of them failed.
            whole: whether they are all certificates of a run, or of a log.
        """
        return []

    def of_model(self, certificate: Certificate, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
        """What follows from the classifier and the input ``x`` (...), besides the proven radius."""
        return []

    def proven(self, certificate: Certificate) -> float | None:
        """The radius that :meth:`proof_claims` derives again; None where nothing is claimed, or nothing can be.

        A certified radius that is not derived here, or confirmed in :meth:`alone`, stays open.
        """
        return None

    def proof_claims(
        self, certificate: Certificate, kept: int, radius: float, graph: Graph, x: Tensor
    ) -> list[CheckedClaim]:
        """Whether ``radius``, the one that :meth:`proven` names, follows from the network's graph and the input.

        Args:
            certificate: with evidence of this kind.
            kept: the class, or other answer of the property, that should not change.
            radius: the radius to derive.
            graph: the network.
            x: the input (...).

        Raises:
            BadInput, ModelError: the claim is refuted.
            UnsupportedOperator: the claim is left open.
        """
        raise NotImplementedError

    def settings(self, certificate: Certificate, asked: RunSettings) -> Iterator[Difference]:
        """The value in the evidence and in the manifest of each setting that evidence and certifier name alike."""
        evidence = evidence_of(certificate, Evidence)
        for name in [one.name for one in fields(evidence)]:  # type: ignore[arg-type]
            if name in asked.certifier and name not in self.translated:
                yield name, getattr(evidence, name), asked.certifier[name]

    def same_for_all(self, certificate: Certificate) -> Mapping[str, object]:
        """Values that are the same for all inputs of a run although no setting states them."""
        return {}


class Underived(Derivation):
    """Stands in for the derivation of a kind of evidence that has none: all that rests on the evidence stays open.

    Args:
        kind: of the evidence.
    """

    statement = "Nothing is confirmed of claims whose evidence has no derivation."

    def __init__(self, kind: str) -> None:
        self.why = f"there is no derivation of {kind} evidence: register one in DERIVATIONS, certify.extend has it"
        self.unchecked = tuple(one.name for one in fields(EVIDENCE[kind]) if one.name != "kind")  # type: ignore[misc, arg-type]

    def alone(self, certificates: Sequence[Certificate], *, whole: bool) -> list[CheckedClaim]:
        """The evidence of each stays open."""
        return [left_open(subject_of(one), "evidence", self.why) for one in certificates]

    def settings(self, certificate: Certificate, asked: RunSettings) -> Iterator[Difference]:
        """Nobody knows which fields of the evidence are settings."""
        return iter(())


DERIVATIONS: Registry[Derivation] = Registry("derivation", package="certify.checker.derivations")


def evidence_of(certificate: Certificate, kind: type[E]) -> E:
    """The evidence of a certificate that is known to have evidence of this kind."""
    assert isinstance(certificate.evidence, kind)
    return certificate.evidence


def derivation_for(kind: str) -> Derivation:
    """The derivation for a kind of evidence; :class:`Underived` where none is registered."""
    return DERIVATIONS[kind] if kind in DERIVATIONS else Underived(kind)


def derivation_of(certificate: Certificate) -> Derivation | None:
    """The derivation for a certificate's evidence; None without evidence."""
    return None if certificate.evidence is None else derivation_for(certificate.evidence.kind)


def needs_network(certificate: Certificate) -> bool:
    """Whether a certificate can only be derived from the network, because it is a proof or says what that returns."""
    evidence = certificate.evidence
    of_votes = evidence is not None and (evidence.smoothed is not None or evidence.defence is not None)
    return certificate.guarantee.kind == "deterministic" and not certificate.verdict.failed and not of_votes


def derived_claims(certificates: Iterable[Certificate], *, whole: bool = True) -> list[CheckedClaim]:
    """What follows from the certificates alone; nothing about those that need the network.

    Args:
        certificates: by any method.
        whole: whether the published ones among them are all lines of their logs.
    """
    claims, of_kind = list[CheckedClaim](), dict[str, list[Certificate]]()
    for certificate in certificates:
        if certificate.verdict.failed:
            claims.append(_failure(certificate))
        elif certificate.evidence is not None:
            of_kind.setdefault(certificate.evidence.kind, []).append(certificate)
    for kind, several in of_kind.items():
        found = derivation_for(kind).alone(several, whole=whole)
        told, said = {one.subject for one in found}, f"the derivation of {kind} evidence says nothing about it"
        claims += found
        claims += [
            left_open(subject_of(one), "radius", said)
            for one in several
            if not (one.radius is None or needs_network(one) or subject_of(one) in told)
        ]
    return claims


def _failure(certificate: Certificate) -> CheckedClaim:
    """A computation that failed has neither a class nor evidence nor samples to state."""
    subject, claim = subject_of(certificate), "failed computation"
    left = {
        f"class {certificate.prediction}": certificate.prediction,
        "evidence": certificate.evidence,
        f"{certificate.forward_passes:,} samples": certificate.forward_passes or None,
    }
    stated = [name for name, value in left.items() if value is not None]
    if stated:
        return judged(subject, claim, f"nothing was computed, yet it states {' and '.join(stated)}")
    return left_open(subject, claim, certificate.reason or certificate.verdict.sentence)


def statement(certificates: Sequence[Certificate]) -> str:
    """What confirmed claims prove, and what they do not, in a sentence or two."""
    alpha = brief_up(max((one.alpha for one in certificates if one.alpha is not None), default=0.0))
    threats = " and ".join(sorted({one.threat.noun for one in certificates}))
    said = {derivation.statement: None for one in certificates if (derivation := derivation_of(one)) is not None}
    if any(map(needs_network, certificates)):
        said[PROOFS] = None
    return " ".join(one.format(threats=threats, alpha=alpha) for one in said)
