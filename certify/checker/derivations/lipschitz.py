"""Lipschitz constants: norms, constants and margins are computed again, and the radius is their quotient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certify.checker.derivations.base import DERIVATIONS, Derivation, evidence_of
from certify.checker.result import CheckedClaim
from certify.core.certificate import Certificate, LipschitzEvidence

if TYPE_CHECKING:
    from torch import Tensor

    from certify.bounds.graph import Graph

__all__ = ["LipschitzDerivation"]


class LipschitzDerivation(Derivation):
    """Margins over constants (Tsuzuku et al. 2018)."""

    unchecked = ("slack", "certificate.forward_passes")

    def proven(self, certificate: Certificate) -> float | None:
        """The certified radius."""
        return certificate.radius

    def proof_claims(
        self, certificate: Certificate, kept: int, radius: float, graph: Graph, x: Tensor
    ) -> list[CheckedClaim]:
        """The quotient of margins and constants."""
        from certify.checker.lipschitz_quotients import quotient_claims

        return quotient_claims(certificate, evidence_of(certificate, LipschitzEvidence), kept, radius, graph, x)


DERIVATIONS.register("lipschitz")(LipschitzDerivation())
