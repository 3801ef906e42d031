"""Bound propagation: one pass in float64 with error terms, by the recorded method and planes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from certify.checker.derivations.base import DERIVATIONS, Derivation, Difference, Proof
from certify.core.certificate import BoundEvidence, Certificate

__all__ = ["BoundDerivation"]


class BoundDerivation(Derivation):
    """All margins over other classes are positive at the recorded radius, and they are the recorded margins.

    So a radius that was made smaller is found too, although it is true: the margins are those of another radius.
    """

    unchecked = ("slack", "evaluations", "certificate.forward_passes")

    def proof(self, certificate: Certificate) -> Proof | None:
        """The margins at the radius."""
        from certify.checker.margins import margin_claims

        evidence, kept, radius = certificate.evidence, certificate.prediction, certificate.radius
        assert isinstance(evidence, BoundEvidence)
        return None if kept is None or radius is None else partial(margin_claims, certificate, evidence, kept, radius)

    def settings(
        self,
        certificate: Certificate,
        certifier: Mapping[str, Any],
        settings: Mapping[str, Any],
        shared: Mapping[str, object],
    ) -> Iterator[Difference]:
        """The input box is the threat model's, and the method is the certifier's."""
        yield from super().settings(certificate, certifier, settings, shared)
        evidence = certificate.evidence
        assert isinstance(evidence, BoundEvidence)
        yield "input box", evidence.input_box, certificate.threat.input_box
        if not evidence.by(certificate):
            yield "bound method", evidence.bound_method, certifier["method"]


DERIVATIONS.register("bounds")(BoundDerivation())
