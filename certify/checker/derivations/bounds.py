"""Bound propagation: one pass in float64 with error terms, by the recorded method and planes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from certify.checker.derivations.base import DERIVATIONS, Derivation, Difference, RunSettings, evidence_of
from certify.checker.result import CheckedClaim
from certify.core.certificate import BoundEvidence, Certificate

if TYPE_CHECKING:
    from torch import Tensor

    from certify.bounds.graph import Graph

__all__ = ["BoundDerivation"]


class BoundDerivation(Derivation):
    """All margins over other classes are positive at the recorded radius, and they are the recorded margins.

    So a radius that was made smaller is found too, although it is true: the margins are those of another radius.
    """

    unchecked = ("slack", "evaluations", "certificate.forward_passes")

    def proven(self, certificate: Certificate) -> float | None:
        """The certified radius."""
        return certificate.radius

    def proof_claims(
        self, certificate: Certificate, kept: int, radius: float, graph: Graph, x: Tensor
    ) -> list[CheckedClaim]:
        """The margins at the radius."""
        from certify.checker.margins import margin_claims

        return margin_claims(certificate, evidence_of(certificate, BoundEvidence), kept, radius, graph, x)

    def settings(self, certificate: Certificate, asked: RunSettings) -> Iterator[Difference]:
        """The input box must be the threat model's, and the method the certifier's."""
        yield from super().settings(certificate, asked)
        evidence = evidence_of(certificate, BoundEvidence)
        yield "input box", evidence.input_box, certificate.threat.input_box
        if not evidence.by(certificate):
            yield "bound method", evidence.bound_method, asked.certifier["method"]


DERIVATIONS.register("bounds")(BoundDerivation())
