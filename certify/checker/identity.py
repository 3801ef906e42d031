"""The input and the model that a claim is about, compared by digest, and the class that the model returns."""

from __future__ import annotations

import torch
from torch import Tensor

from certify.checker.result import CheckedClaim, Standing, judged, left_open, subject_of
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.properties.base import Property
from certify.data.dataset import input_digest
from certify.models.classifier import INVALID, Classifier

__all__ = ["class_claim", "class_name", "confirmed", "identity_claims", "ties"]


def confirmed(claims: list[CheckedClaim]) -> bool:
    """Whether all of these claims were confirmed."""
    return all(one.standing is Standing.CONFIRMED for one in claims)


def identity_claims(record: Certificate | Finding, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
    """Whether a record is about this input ``x`` (...), and about this classifier."""
    subject, here = subject_of(record), input_digest(x.numpy())
    return [
        judged(subject, "input digest", _differs("input", record.input_digest, here)),
        judged(subject, "model digest", _differs("model", record.model_digest, classifier.digest)),
    ]


def _differs(what: str, recorded: str, here: str) -> str:
    if recorded == here:
        return ""
    return f"the record is about {what} {recorded[:12] or '(none)'}, this {what} is {here[:12]}"


def class_claim(
    subject: str, prediction: int | None, classifier: Classifier, x: Tensor, label: int | None = None
) -> CheckedClaim:
    """Whether the classifier, executed on ``x`` alone, returns the class that a record names (None: no class).

    A label tells properties that are about one class which class that is. The claim stays open where the two classes
    tie within rounding, because a batch of another size may decide a tie the other way.
    """
    with torch.inference_mode():
        scores = classifier.scores(x[None])
    named = INVALID if prediction is None else prediction
    about = None if label is None or not 0 <= label < classifier.num_classes else torch.tensor([label])
    returned = int(classifier.answers(x[None], about)[0])
    if returned == named:
        return judged(subject, "prediction", "")
    said = f"the record says {class_name(named)}, the model returns {class_name(returned)}"
    if INVALID not in (returned, named) and named < classifier.num_classes:
        apart = classifier.property.margin(scores, torch.tensor([named], device=scores.device))
        if bool(apart <= classifier.arithmetic.tie * scores.abs().max()):
            return left_open(subject, "prediction", f"{said}, and the two tie within rounding")
    return judged(subject, "prediction", said)


def ties(property: Property, scores: Tensor, apart: float) -> int:
    """How many samples have two answers that tie within rounding of the model's scores.

    Args:
        property: what makes the answers.
        scores: of the model, (B, K).
        apart: how far they may be apart, relative to the largest score.
    """
    clear = property.clearance(property.scores(scores))
    return int((clear <= apart * scores.abs().amax(dim=1)).sum())


def class_name(label: int | None) -> str:
    """A class as messages name it; None and ``INVALID`` are no class."""
    return "no class" if label in (None, INVALID) else f"class {label}"
