"""Ablation smoothing by all subsets of positions: a proof about the vote, without statistics."""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from certify.attacks.enumerated import TOGETHER, Enumerated
from certify.attacks.target import Target
from certify.certifiers.base import CERTIFIERS, Certifier, Shape, failed, settle
from certify.core.certificate import Certificate
from certify.core.evidence import MOST_SUBSETS, EnumerationEvidence, Look
from certify.core.guarantee import Guarantee
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat
from certify.core.verdict import Verdict
from certify.data.batch import Batch
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.models.rows import check_size
from certify.smoothing.noise.ablation import Ablation, Null, null_of

__all__ = ["Enumeration"]


@CERTIFIERS.register("enumeration")
@dataclass(frozen=True, slots=True)
class Enumeration(Certifier):
    """Certify the vote of a model over all subsets of kept positions, each of which is shown to it.

    The smoothed model is that of :class:`~certify.certifiers.smoothing.Smoothing` with ``noise="ablation"``. Its
    probabilities are counted instead of estimated, so a certificate is true with certainty: about the votes as the
    network is executed, in float32. A change of k positions touches C(d, s) - C(d - k, s) subsets, each of which may
    take a vote from the class and give it to a rival; k is certified while the lead is more than twice that (Levine and
    Feizi 2020, Theorem 1, with counts for probabilities).

    Args:
        retention: how many positions each subset keeps.
        null: what stands in place of hidden features; see :class:`~certify.smoothing.noise.ablation.Ablation`.

    Raises:
        BadInput: for settings that cannot be right.

    >>> clf = Classifier(lambda x: (x.sum(1) > 0.5).long(), num_classes=2)
    >>> from certify import Features
    >>> batch, threat = Batch.of([[0.9] * 8], None, 2), Features((0, 1, 2, 3, 4), input_box=(0.0, 1.0))
    >>> [certificate] = Enumeration(retention=1).certify(clf, batch, threat)
    >>> certificate.radius, str(certificate.guarantee), certificate.evidence.votes.counts
    (3.0, 'deterministic: a proof', {1: 8})
    """

    retention: int
    null: Null | str = 0.0
    method = "enumeration"
    limits = "counts votes for answers that follow from the scores alone, and knows changed positions only"

    def __post_init__(self) -> None:
        law = self.law()
        object.__setattr__(self, "retention", law.retention)
        object.__setattr__(self, "null", law.null)

    def law(self) -> Ablation:
        """The noise law, all of whose draws are counted."""
        return Ablation(self.retention, null_of(self.null))

    @classmethod
    @override
    def knows(cls, norm: str) -> bool:
        return norm in Ablation.norms

    @classmethod
    @override
    def handles(cls, property: type[Property]) -> bool:
        return property.like_classes

    @override
    def target(self, classifier: Classifier, threat: Threat) -> Target:
        return Enumerated(classifier, self.law().about(threat))

    def settings(self) -> dict[str, Any]:
        """The method, how much is kept, and what stands in place of the rest."""
        return {"method": self.method, **self.law().settings()}

    def describe(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """How many subsets there are, and the largest radius that they can show."""
        law, cap = self._law(threat, shape), self.largest_radius(threat, shape)
        return (
            f"all {law.subsets:,} subsets, {law.scale}, largest certifiable radius {threat.number(cap)}; the claim is "
            "about the SMOOTHED model, as executed in float32"
        )

    def _law(self, threat: Threat, shape: Shape) -> Ablation:
        """The law for these inputs.

        Raises:
            BadInput: for a threat without a theorem, and more subsets than anybody counts.
        """
        law = self.law()
        law.check_norm(threat.norm)
        law = law.about(threat, shape)
        if law.subsets > MOST_SUBSETS:
            raise BadInput(
                f"there are more than {MOST_SUBSETS:,} subsets of {law.retention} of {law.positions} positions: use "
                "certifier smoothing with noise ablation, which draws some of them"
            )
        return law

    @override
    def largest_radius(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> float:
        return float(self._shown(self._law(threat, shape), self._law(threat, shape).subsets))

    @override
    def shortfall(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        law, cap = self._law(threat, shape), self.largest_radius(threat, shape)
        if cap >= threat.largest:
            return ""
        return (
            f"{law.scale} positions can certify at most radius {threat.number(cap)}, but radius "
            f"{threat.number(threat.largest)} is declared: {law.remedy}, or declare smaller radii"
        )

    def check(self, classifier: Classifier, threat: Threat, x: Tensor) -> None:
        """Refuse a threat without a theorem, too many subsets, and radii that even equal votes cannot show.

        Raises:
            BadInput: it says what works instead.
            ModelError: for a model whose answers depend on the size of a batch.
        """
        if said := self.shortfall(threat, tuple(x.shape[1:])):
            raise BadInput(said)
        with torch.inference_mode():
            check_size(classifier.scores, x, min(self._law(threat, tuple(x.shape[1:])).subsets, TOGETHER))

    @staticmethod
    def _shown(law: Ablation, lead: int) -> int:
        """The most changed positions that a lead of so many votes pays for."""
        d, s, every = law.positions, law.retention, law.subsets

        def lost(k: int) -> bool:
            return lead <= 2 * (every - math.comb(d - k, s))

        return bisect.bisect_left(range(1, d + 1), True, key=lost)

    def certify(self, classifier: Classifier, batch: Batch, threat: Threat) -> Iterator[Certificate]:
        """Yield a certificate for each input; the class with most votes is certified, unless another one ties."""
        law = self._law(threat, batch.shape)
        target = Enumerated(classifier, law)
        for row, x in enumerate(batch.x):
            begin = time.perf_counter()
            invalid, *votes = target.votes(x)
            counts = {label: count for label, count in enumerate(votes) if count}
            evidence = EnumerationEvidence(
                law.name, law.retention, law.null, x.numel(), Look(law.subsets, counts, invalid=invalid)
            )
            top = max(counts, key=lambda label: (counts[label], -label), default=None)
            lead = evidence.lead(top)
            if 2 * invalid > law.subsets:
                reason = f"the model's scores contain NaN or infinity on {invalid} of {law.subsets} subsets"
                yield failed(classifier, batch.rows(slice(row, row + 1)), 0, threat, self.method, reason)
                continue
            verdict, radius, reason = settle(self._shown(law, lead) if lead > 0 else None, threat, Verdict.UNKNOWN)
            yield Certificate(
                index=batch.index[row],
                input_digest=batch.digests[row],
                label=None if batch.labels is None else batch.labels[row],
                prediction=top,
                verdict=verdict,
                radius=None if radius is None else float(radius),
                threat=threat,
                guarantee=Guarantee.deterministic(),
                method=self.method,
                evidence=evidence,
                model_digest=classifier.digest,
                seconds=time.perf_counter() - begin,
                forward_passes=law.subsets,
                reason=reason or ("" if lead > 0 else "no class has more votes than every other"),
                property=classifier.property,
            )
