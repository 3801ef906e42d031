"""What a model returns for changed copies of an input, executed again."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from certify.checker.result import CheckedClaim, judged, subject_of
from certify.core.certificate import Certificate
from certify.core.evidence.erased import ErasedEvidence
from certify.core.evidence.masks import MasksEvidence
from certify.core.evidence.votes import VotesEvidence
from certify.errors import BadInput
from certify.models.classifier import INVALID, Classifier
from certify.models.defences.base import defence_from
from certify.models.defences.erasing import Erasing
from certify.models.defences.two_rounds import TwoRounds
from certify.models.defences.votes import Votes

__all__ = ["defended_claim", "erased_claims", "masks_claims", "votes_claims"]


def defended_claim(
    subject: str, named: int | None, settings: object, classifier: Classifier, x: Tensor
) -> tuple[CheckedClaim, int]:
    """Whether a defended model returns the class that a record names for an image, and which it returns."""
    try:
        defence = defence_from(settings)
        defence.check_shape(tuple(x.shape))
        returned = defence.returned(classifier, x)
    except BadInput as problem:
        return judged(subject, "prediction", str(problem)), INVALID
    found = None if returned == INVALID else returned
    said = f"the record says {_class(named)}, the defended model returns {_class(found)}"
    return judged(subject, "prediction", "" if named == found else said), returned


def votes_claims(
    certificate: Certificate, evidence: VotesEvidence, classifier: Classifier, x: Tensor
) -> list[CheckedClaim]:
    """Whether the model gives the recorded votes."""
    subject = subject_of(certificate)
    if wrong := _misfit(evidence.height, evidence.width, x):
        return [judged(subject, "votes", wrong)]
    defence = defence_from(evidence.defence)
    assert isinstance(defence, Votes)
    counts = {label: count for label, count in enumerate(defence.counts(classifier, x)) if count}
    if counts == evidence.counts:
        return [judged(subject, "votes", "")]
    return [judged(subject, "votes", f"the model gives {counts}, the record has {dict(evidence.counts)}")]


def masks_claims(
    certificate: Certificate, evidence: MasksEvidence, classifier: Classifier, x: Tensor
) -> list[CheckedClaim]:
    """Whether the masks cover every patch, and the model returns the recorded classes and the recorded answer."""
    subject = subject_of(certificate)
    if wrong := _misfit(evidence.height, evidence.width, x):
        return [judged(subject, "copies", wrong)]
    defence = defence_from(evidence.defence)
    assert isinstance(defence, TwoRounds)
    if wrong := _uncovered(defence, tuple(x.shape)):
        return [judged(subject, "masks", wrong)]
    claim, _ = defended_claim(subject, certificate.prediction, evidence.defence, classifier, x)
    first = defence.round(classifier, x)
    found, rounds = list(first), defence.after(classifier, x, first)[1]
    for mask in range(len(first) if len(set(first)) == 1 else 0):
        found += defence.round(classifier, x, mask)
        if len(set(found)) > 1:
            break
    counts = {label: found.count(label) for label in sorted(set(found))}
    invalid, passes = counts.pop(INVALID, 0), len(found) + rounds * len(first)
    said = f"the model returns {counts} and {invalid} invalid ones, the record has {dict(evidence.counts)}"
    same = (counts, invalid) == (dict(evidence.counts), evidence.invalid)
    spent = f"the model was shown {passes} copies, the record says {certificate.forward_passes}"
    return [
        claim,
        judged(subject, "masks", ""),
        judged(
            subject, "copies", (said if not same else "") or ("" if passes == certificate.forward_passes else spent)
        ),
    ]


def erased_claims(
    certificate: Certificate, evidence: ErasedEvidence, classifier: Classifier, x: Tensor
) -> list[CheckedClaim]:
    """Whether the filter flags the text with as few erased tokens as the record says, and no text with fewer."""
    subject = subject_of(certificate)
    try:
        defence = defence_from(evidence.defence)
        assert isinstance(defence, Erasing)
        defence.check_shape(tuple(x.shape))
        label, erased, asked = defence.asked(classifier, x)
        length = len(defence.text(x))
    except BadInput as problem:
        return [judged(subject, "erased", str(problem))]
    found = None if label == INVALID else label
    said = f"the record says {_class(certificate.prediction)}, the wrapper returns {_class(found)}"
    named = (evidence.length, evidence.erased, certificate.forward_passes)
    counts = (
        f"of {length} tokens, {erased} have to be erased, and {asked} texts are asked about; the record says "
        f"{named[1]} of {named[0]}, and {named[2]}"
    )
    return [
        judged(subject, "prediction", "" if certificate.prediction == found else said),
        judged(subject, "erased", "" if (length, erased, asked) == named else counts),
    ]


def _misfit(height: int, width: int, x: Tensor) -> str:
    if x.dim() != 3 or tuple(x.shape[1:]) != (height, width):
        return f"the record is about {height} x {width} pixels, the input has shape {tuple(x.shape)}"
    return ""


def _uncovered(defence: TwoRounds, shape: tuple[int, ...]) -> str:
    """The first place at which no mask hides a whole patch, in words; empty for none. Each place is looked at."""
    hidden = ~defence.seen(shape, torch.arange(defence.count(shape)))
    _, height, width = shape
    side = defence.side
    for top, left in product(range(height - side + 1), range(width - side + 1)):
        if not bool(hidden[:, top : top + side, left : left + side].all(dim=2).all(dim=1).any()):
            return f"no mask hides the patch at line {top}, column {left}"
    return ""


def _class(label: int | None) -> str:
    return "no class" if label is None else f"class {label}"
