"""Certified pixels of a smoothed segmentation, derived again from the counts of each pixel.

Holm's procedure is run again in ball arithmetic: at each declared radius the pixels that count have to pass it, and the
pixel with the most hits among the others must not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np
from flint import arb
from numpy.typing import NDArray

from certify.checker.derivations.base import DERIVATIONS, Derivation, evidence_of
from certify.checker.laws import LAWS, Law
from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.core.certificate import Certificate
from certify.core.evidence.pixels import PixelsEvidence
from certify.core.properties.pixels import Pixels
from certify.core.rounding import brief
from certify.core.verdict import Verdict
from certify.errors import BadInput
from certify.stats.balls import binomial_tail, working_precision

if TYPE_CHECKING:
    from torch import Tensor

    from certify.models.classifier import Classifier

__all__ = ["PixelsDerivation"]

BITS: Final = 128
"""Working precision of the ball arithmetic, in bits."""

LEVEL_RTOL: Final = arb(1e-6)
"""Relative amount by which a level may lie below its share of alpha, for rounding."""

RADIUS_ATOL: Final = 1e-6
"""Amount by which the radius of a stated probability may lie above the declared one, in units of sigma."""


class PixelsDerivation(Derivation):
    """Certified pixels from their counts (Fischer et al. 2021); :mod:`certify.checker.pixels` draws those again."""

    unchecked = ("generator",)
    drawn = True
    with_model = ("features", "pixels")
    statement = (
        "What is confirmed of pixels: the recorded counts certify these pixels, and so these images ({threats}), for "
        "the SMOOTHED model and not the base model; of each image all of them are right together, but for probability "
        "at most {alpha} over the noise. That the counts were drawn from this model is taken on trust where no replay "
        "confirms it."
    )

    def alone(self, certificates: Sequence[Certificate], *, whole: bool) -> list[CheckedClaim]:
        """Each image from its own counts."""
        return [claim for one in certificates for claim in _claims(one)]

    def of_model(self, certificate: Certificate, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
        """The noise was drawn over all features of the input, and the model gives as many pixels a class of its own."""
        from certify.checker.pixels import model_claims

        return model_claims(certificate, evidence_of(certificate, PixelsEvidence), classifier, x)


def _claims(certificate: Certificate) -> list[CheckedClaim]:
    evidence, property = evidence_of(certificate, PixelsEvidence), certificate.property
    subject = subject_of(certificate)
    if wrong := _misfit(certificate, evidence):
        return [judged(subject, "counts", wrong)]
    assert isinstance(property, Pixels)
    law = LAWS.get(evidence.noise)
    spent = evidence.n0 + evidence.n
    other = f"{spent:,} samples are counted, {certificate.forward_passes:,} were sent through the model"
    claims = [judged(subject, "counts", "" if certificate.forward_passes == spent else other)]
    if law is None:
        said = f"no theorem of {evidence.noise!r} noise is known here"
        return claims + [left_open(subject, one, said) for one in ("noise", "confidence bound", "radius", "verdict")]
    with working_precision(BITS):
        claims.append(judged(subject, "noise", _noise(certificate, evidence, law)))
        claims.append(judged(subject, "confidence bound", _least(certificate, evidence, property.judged)))
    right = evidence.classes == property.right
    held = [
        radius
        for place, radius in enumerate(certificate.threat.radii)
        if int((right & property.judged & evidence.shown(place)).sum()) >= property.needed
    ]
    most, named = max(held, default=None), int((right & property.judged).sum()) < property.needed
    verdict = Verdict.ABSTAIN if most is None else Verdict.CERTIFIED
    predicted = f"the classes make it {property.word(int(named))}, the record says {certificate.prediction}"
    shown = "no declared radius" if most is None else f"radius {brief(most)}"
    stated = certificate.radius == most
    return [
        *claims,
        judged(subject, "prediction", "" if certificate.prediction == int(named) else predicted),
        judged(subject, "radius", "" if stated else f"the counts show {shown}, the record says {certificate.radius}"),
        judged(
            subject, "verdict", "" if certificate.verdict is verdict else f"it is {verdict}, not {certificate.verdict}"
        ),
    ]


def _misfit(certificate: Certificate, evidence: PixelsEvidence) -> str:
    """Why evidence and record are not about one image and the same radii; empty where they are."""
    property, radii = certificate.property, certificate.threat.radii
    if not isinstance(property, Pixels) or property.truth is None:
        return "the record is about no label map"
    if not len(radii) == len(evidence.missed) == len(evidence.least):
        return f"{len(radii)} radii are declared, the counts are about {len(evidence.least)}"
    try:
        shapes = property.right.shape, evidence.classes.shape, evidence.counts.shape
    except BadInput as problem:
        return str(problem)
    return "" if len(set(shapes)) == 1 else f"the label map, the classes and the hits are maps of {shapes} pixels"


def _noise(certificate: Certificate, evidence: PixelsEvidence, law: Law) -> str:
    """The law has a theorem about these balls, and each probability of a miss is the one that proves its radius."""
    if not law.added or law.slack(evidence.dimensions) > 0 or law.off(evidence.sigma) > 0:
        return f"{evidence.noise} noise certifies no pixels"
    if silence := law.silence(certificate.threat):
        return f"{evidence.noise}: {silence}"
    if evidence.assumption not in (trusted := law.trusted(certificate.threat)):
        return f"the record takes on trust {evidence.assumption!r}, the law {trusted[-1]!r}"
    for radius, missed in zip(certificate.threat.radii, evidence.missed, strict=True):
        if missed == 0:
            continue
        if not missed < 0.5:
            return f"a class that may be missed with probability {missed:.9g} need not be the most probable one"
        proven = law.radius(evidence.sigma, arb(missed), arb(missed))
        if not proven >= radius:
            return f"a class missed with probability {missed:.9g} is not kept up to radius {brief(radius)}"
        if not proven <= radius + RADIUS_ATOL * evidence.sigma:
            return f"a class may be missed with a larger probability than {missed:.9g} at radius {brief(radius)}"
    return ""


def _least(certificate: Certificate, evidence: PixelsEvidence, judged_pixels: NDArray[np.bool_]) -> str:
    """At each radius, Holm's procedure at an equal part of alpha rejects the pixels that count, and no others."""
    alpha, hits, n = certificate.alpha, evidence.counts[judged_pixels], evidence.n
    if alpha is None or not 0 < alpha < 1:
        return f"no alpha pays for them, the record says {alpha}"
    values, often = (one.tolist() for one in np.unique(hits, return_counts=True))
    part = Fraction(alpha) / len(evidence.least)
    level = arb(part.numerator) / arb(part.denominator)
    for radius, missed, least in zip(certificate.threat.radii, evidence.missed, evidence.least, strict=True):

        def passes(value: int, left: int, missed: float = missed) -> arb:
            return level - _tail(n - value, n, missed) * left

        # More hits have smaller tails: from the first value on that passes among all pixels, all larger ones do.
        sure, above = bisect_left(values, True, key=lambda value: bool(passes(value, hits.size) >= 0)), 0
        for place in reversed(range(len(values))):
            value, count = values[place], often[place]
            if value < least:
                if passes(value, hits.size - above) >= LEVEL_RTOL * level:
                    return f"pixels with {value:,} of {n:,} hits are certified as well at radius {brief(radius)}"
                break
            if place < sure and not passes(value, hits.size - above) >= 0:
                return f"pixels with {value:,} of {n:,} hits are not certified at radius {brief(radius)}"
            above += count
        if least != min((value for value in values if value >= least), default=n + 1):
            return f"no pixel has the fewest hits that are stated, {least:,}"
    return ""


def _tail(misses: int, n: int, missed: float) -> arb:
    """P[Binomial(n, missed) <= misses]."""
    if misses >= n or missed == 0:
        return arb(1)
    tail, _ = binomial_tail(n - misses, n, 1 - arb(missed), arb(missed))
    return tail


DERIVATIONS.register("pixels")(PixelsDerivation())
