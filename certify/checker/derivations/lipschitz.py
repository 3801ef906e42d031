"""Lipschitz constants: norms, constants and margins are computed again, and the radius is their quotient."""

from __future__ import annotations

from functools import partial

from certify.checker.derivations.base import DERIVATIONS, Derivation, Proof
from certify.core.certificate import Certificate, LipschitzEvidence

__all__ = ["LipschitzDerivation"]


class LipschitzDerivation(Derivation):
    """Margins over constants (Tsuzuku et al. 2018)."""

    unchecked = ("slack", "certificate.forward_passes")

    def proof(self, certificate: Certificate) -> Proof | None:
        """The quotient."""
        from certify.checker.constants import quotient_claims

        evidence, kept, radius = certificate.evidence, certificate.prediction, certificate.radius
        assert isinstance(evidence, LipschitzEvidence)
        return None if kept is None or radius is None else partial(quotient_claims, certificate, evidence, kept, radius)


DERIVATIONS.register("lipschitz")(LipschitzDerivation())
