"""What a check asks of each kind of evidence, and the registry of derivations by the kind's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from certify.checker.result import CheckedClaim
from certify.core.certificate import Certificate
from certify.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from certify.bounds.graph import Graph
    from certify.models.classifier import Classifier

__all__ = ["DERIVATIONS", "PROOFS", "Derivation", "Difference", "Proof", "derivation_of"]

Difference = tuple[str, object, object]
"""Name of a setting, what the record says, what the manifest says."""

Proof: TypeAlias = "Callable[[Graph, Tensor], list[CheckedClaim]]"
"""A network's graph and an input (...), to what becomes of a claim."""

PROOFS: Final = (
    "What is confirmed of proofs: they hold for this network ({threats}), in exact real arithmetic or in every float32 "
    "execution as each certificate states, and say nothing about another network or beyond a radius."
)


class Derivation:
    """How claims of one kind of evidence are derived again; the defaults are those of a proof about the network.

    A member is registered under the evidence's ``kind``. Nothing in it is taken from the certifier that made the claim.
    """

    unchecked: ClassVar[tuple[str, ...]] = ()
    """Fields of the evidence that nobody can derive from records, model and data; docs/check.md says why of each."""

    with_model: ClassVar[tuple[str, ...]] = ()
    """Claims about a run as a whole that stay open without the model."""

    drawn: ClassVar[bool] = False
    """Whether the run's seed decided anything of it."""

    translated: ClassVar[tuple[str, ...]] = ()
    """Settings of the certifier that the evidence holds under other names or in other forms."""

    statement: ClassVar[str] = PROOFS
    """What a confirmed claim proves, and what it does not, with places for ``threats`` and ``alpha``."""

    def alone(self, certificates: Sequence[Certificate], *, whole: bool) -> list[CheckedClaim]:
        """What follows from certificates of this kind alone, without model, data or torch.

        Args:
            certificates: none of them failed.
            whole: whether they are all that a run, or a log, holds.
        """
        return []

    def of_model(self, certificate: Certificate, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
        """What follows from the classifier and the input ``x`` (...), besides the claim that :meth:`proof` derives."""
        return []

    def proof(self, certificate: Certificate) -> Proof | None:
        """How the radius follows from the network's graph and the input; None where nothing is claimed, or cannot be.

        What it raises is a claim's standing: BadInput and ModelError refute it, UnsupportedOperator leaves it open.
        """
        return None

    def settings(
        self,
        certificate: Certificate,
        certifier: Mapping[str, Any],
        settings: Mapping[str, Any],
        shared: Mapping[str, object],
    ) -> Iterator[Difference]:
        """What the evidence says and the manifest lays down, for each setting that evidence and certifier name alike.

        Args:
            certificate: with evidence of this kind.
            certifier: the certifier's settings.
            settings: all of the run's.
            shared: what nearly all certificates of this kind say of :meth:`same_for_all`.
        """
        evidence = certificate.evidence
        assert evidence is not None
        for name in [one.name for one in fields(evidence)]:  # type: ignore[arg-type]
            if name in certifier and name not in self.translated:
                yield name, getattr(evidence, name), certifier[name]

    def same_for_all(self, certificate: Certificate) -> Mapping[str, object]:
        """What no setting spells out, and what is yet the same for all inputs of a run."""
        return {}


DERIVATIONS: Registry[Derivation] = Registry("derivation", package="certify.checker.derivations")


def derivation_of(certificate: Certificate) -> Derivation | None:
    """The derivation of a certificate's evidence; None without any."""
    return None if certificate.evidence is None else DERIVATIONS[certificate.evidence.kind]
