"""What certifiers share whose claims are about a defended model: one that answers from changed copies of an input."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from certify.attacks.defended import Defended
from certify.attacks.target import Target
from certify.certifiers.base import Certifier, settle
from certify.core.certificate import Certificate, Evidence
from certify.core.guarantee import Guarantee
from certify.core.properties.base import Property
from certify.core.properties.top_class import TopClass
from certify.core.threats.base import Threat
from certify.core.verdict import Verdict
from certify.data.batch import Batch
from certify.device import as_alone
from certify.models.classifier import Classifier, need_classifier
from certify.models.defences.base import TOGETHER, Defence
from certify.models.rows import check_size

__all__ = ["OfDefence", "Shown"]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the copies of one input show.

    Args:
        prediction: the class that the model made of them returns; None for none.
        radius: the largest declared radius at which it stays; None where that is shown for none.
        evidence: what both follow from.
        passes: copies that the network was shown.
        reason: why no radius is shown, where that is so for every input with this prediction.
    """

    prediction: int | None
    radius: float | None
    evidence: Evidence
    passes: int
    reason: str = ""


class OfDefence(Certifier):
    """Certify a defended model: no sampling, and no look inside the network, which may be any function."""

    __slots__ = ()
    limits = "hides parts of images, and proves patches and the top class only"
    threats: ClassVar[tuple[str, ...]] = ("patch",)

    @property
    @abstractmethod
    def defence(self) -> Defence:
        """The model that the certificates are about."""

    @abstractmethod
    def show(self, classifier: Classifier, x: Tensor, threat: Threat) -> Shown:
        """What is shown about one input (...)."""

    @classmethod
    @override
    def knows(cls, norm: str) -> bool:
        return norm in cls.threats

    @classmethod
    @override
    def handles(cls, property: type[Property]) -> bool:
        return property is TopClass

    def target(self, classifier: Classifier, threat: Threat) -> Target:
        """The defended model."""
        return Defended(classifier, self.defence)

    def predict(self, classifier: Classifier, x: Any) -> list[int | None]:
        """The class that the certified model returns for each of some inputs (B, ...).

        To profit from the certificates, answer with this. None stands for no class.
        """
        return _predicted(self.defence, need_classifier(classifier), x)

    def check(self, classifier: Classifier, threat: Threat, x: Tensor) -> None:
        """Refuse inputs that are no images, and a model whose answers change in batches of copies.

        Raises:
            BadInput, ModelError: each in one line.
        """
        threat.check_inputs(x.cpu().numpy())
        shape = tuple(x.shape[1:])
        self.defence.check_shape(shape)
        copies = self.defence.copies(classifier, x[0].to(classifier.device), torch.zeros(1, dtype=torch.long))
        with torch.inference_mode():
            several = torch.cat([copies, x[:2].to(copies)])
            check_size(classifier.scores, several, min(TOGETHER, self.defence.count(shape)))

    def certify(self, classifier: Classifier, batch: Batch, threat: Threat) -> Iterator[Certificate]:
        """Yield a certificate for each input, in order."""
        self.check_scope(threat, classifier.property)
        for row in range(len(batch)):
            begin = time.perf_counter()
            shown = self.show(classifier, batch.x[row], threat)
            label = None if batch.labels is None else batch.labels[row]
            if shown.prediction is None:
                verdict, radius, reason = Verdict.ABSTAIN, None, "no class follows from the copies"
            elif label is not None and label != shown.prediction:
                verdict, radius, reason = Verdict.FALSIFIED, None, "the input itself is misclassified"
            else:
                verdict, radius, reason = settle(shown.radius, threat, Verdict.UNKNOWN)
                reason = reason or (shown.reason if radius is None else "")
            yield Certificate(
                index=batch.index[row],
                input_digest=batch.digests[row],
                label=label,
                prediction=shown.prediction,
                verdict=verdict,
                radius=radius,
                threat=threat,
                guarantee=Guarantee.deterministic(),
                method=self.method,
                evidence=shown.evidence,
                model_digest=classifier.digest,
                seconds=time.perf_counter() - begin,
                forward_passes=shown.passes,
                reason=reason,
            )


@as_alone()
def _predicted(defence: Defence, classifier: Classifier, x: Any) -> list[int | None]:
    batch = Batch.of(x, None, classifier.num_classes)
    defence.check_shape(batch.shape)
    classifier.check(batch.x)
    return [None if label < 0 else label for label in defence.classes(classifier, batch.x).tolist()]
