"""``certify.check``: certificates derived again, from their evidence and, for proofs, the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from certify.checker.derivations.base import derived_claims, needs_network, statement
from certify.checker.form import misformed, unchecked
from certify.checker.result import CheckedClaim, CheckResult, Standing, judged, subject_of
from certify.core.certificate import Certificate
from certify.core.threats.transform import Transform
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from certify.models.classifier import Classifier

__all__ = ["check"]


def check(
    certificate: Certificate | Sequence[Certificate], clf: Classifier | None = None, x: Any = None
) -> CheckResult:
    """Derive every claim of certificates again; the result is true only if all of them are confirmed.

    A smoothing radius follows from the counts alone. A proof is about a network and an input: it needs both.

    Args:
        certificate: one, or several.
        clf: the classifier they are about, not smoothed; its digest is compared with theirs.
        x: their inputs, in order: (B, ...), or (...) for a single certificate; the digests are compared.

    Returns:
        An outcome that is true or false, with the standing of each claim; what could not be derived is not confirmed.

    Raises:
        BadInput: for something that is no certificate, a proof without classifier and input, or another number of
            inputs than certificates.

    >>> from certify.certifiers.smooth import smooth
    >>> from certify.core.threats.lp import ThreatModel
    >>> from certify.models.classifier import Classifier
    >>> clf = Classifier(lambda x: (x.mean(1) > 0.5).long(), num_classes=2)
    >>> threat = ThreatModel("l2", (0.0, 0.25))
    >>> [certificate] = smooth(clf, [[0.9] * 16], [1], threat=threat, sigma=0.5, n=1000)
    >>> bool(check(certificate, clf))
    True
    >>> from dataclasses import replace
    >>> print(*check(replace(certificate, radius=0.9)).refuted)
    input 0, smoothing: radius refuted, 0.9 is above 0.26..., which is all that the counts show
    """
    certificates = [certificate] if isinstance(certificate, Certificate) else list(certificate)
    for one in certificates:
        if not isinstance(one, Certificate):
            raise BadInput(f"expected a certify.Certificate, got {type(one).__name__}: pass what a certifier returned")
    if any(map(needs_network, certificates)) and (clf is None or x is None):
        raise BadInput("a proof is about a network and an input: call certify.check(cert, clf, x)")
    claims = [judged(subject_of(one), "record", misformed(one)) for one in certificates]
    if all(one.standing is Standing.CONFIRMED for one in claims):  # nothing is derived from a record of the wrong form
        claims += derived_claims(certificates, whole=False)
        if clf is not None:
            claims += _with_classifier(certificates, clf, x)
    return CheckResult(tuple(claims), statement=statement(certificates), unchecked=unchecked(certificates))


def _with_classifier(certificates: Sequence[Certificate], clf: Classifier, x: Any) -> list[CheckedClaim]:
    from certify.checker.networks import network_claims
    from certify.models.classifier import need_classifier
    from certify.models.transformed import behind, beside

    need_classifier(clf)
    if x is None:
        return [_same_model(one, clf.digest) for one in certificates]
    inputs = _inputs(certificates, clf, x)
    if len(inputs) != len(certificates):
        raise BadInput(f"{len(certificates)} certificates and {len(inputs)} inputs: give one input a certificate")
    claims = []
    for one, of in zip(certificates, inputs, strict=True):
        claims += network_claims(one, behind(clf, one.threat, tuple(of.shape)), beside(of[None], one.threat)[0])
    return claims


def _inputs(certificates: Sequence[Certificate], clf: Classifier, x: Any) -> Tensor:
    """The inputs as a batch. A single input may lack the batch axis; its digest shows whether it does."""
    from certify.data.batch import as_inputs

    values = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)
    alone = len(certificates) == 1
    return as_inputs(values[None] if alone and (len(values) != 1 or _is(certificates[0], clf, values)) else values)


def _is(certificate: Certificate, clf: Classifier, x: Any) -> bool:
    """Whether an array (...) is the input of a certificate; behind a transform, the digest is that of its features."""
    from certify.data.dataset import input_digest
    from certify.models.transformed import behind

    if not isinstance(certificate.threat, Transform):
        return input_digest(x) == certificate.input_digest
    try:
        return behind(clf, certificate.threat, x.shape).digest == certificate.model_digest
    except BadInput:
        return False


def _same_model(certificate: Certificate, digest: str) -> CheckedClaim:
    same = certificate.model_digest == digest
    said = f"the record is about model {certificate.model_digest[:12] or '(none)'}, this model is {digest[:12]}"
    return judged(subject_of(certificate), "model digest", "" if same else said)
