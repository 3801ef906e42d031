"""A model asked again about every subset of the positions of an input."""

from __future__ import annotations

from collections import Counter
from typing import Final

import torch
from torch import Tensor

from certify.checker.fresh_noise import Execution
from certify.checker.identity import class_name, ties
from certify.checker.replay import RedrawnVotes, votes_of
from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.core.certificate import Certificate
from certify.core.evidence import MOST_SUBSETS, EnumerationEvidence
from certify.core.finding import Finding
from certify.core.threats.base import Threat
from certify.errors import BadInput
from certify.models.classifier import INVALID, Classifier
from certify.smoothing.noise.ablation import Ablation
from certify.smoothing.noise.base import recorded_law

__all__ = ["counted", "enumerates", "examined_on_all", "votes_claim"]

_BLOCK: Final = 97
"""Subsets per forward pass: another number than a run's, so that a model whose answers depend on it shows."""


def counted(law: Ablation, classifier: Classifier, x: Tensor) -> RedrawnVotes:
    """The votes of all subsets about one input (...).

    Raises:
        BadInput: where there are more than anybody counts.
    """
    if law.subsets > MOST_SUBSETS:
        raise BadInput(f"there are more than {MOST_SUBSETS:,} subsets of {law.retention} of {law.positions} positions")
    counts, close, centre = Counter[int](), 0, x.to(classifier.device)
    with torch.inference_mode():
        for drawn in law.every(tuple(x.shape), _BLOCK):
            scores = classifier.base.scores(law.apply(centre, drawn.to(classifier.device)))
            counts.update(classifier.answers_at(scores).tolist())
            finite = scores[torch.isfinite(scores).all(dim=1)]
            close += ties(classifier.property, finite, classifier.arithmetic.tie)
    return RedrawnVotes(counts, close)


def _law(settings: object, threat: Threat, x: Tensor) -> Ablation:
    law = recorded_law(settings)  # type: ignore[arg-type]
    if not isinstance(law, Ablation):
        raise BadInput(f"{law.name} noise has no subsets that could be counted")
    return law.about(threat, tuple(x.shape))


def votes_claim(certificate: Certificate, classifier: Classifier, x: Tensor) -> CheckedClaim:
    """Whether the votes of all subsets are the recorded ones, vote for vote.

    A difference that votes whose scores tie within rounding could explain leaves the claim open.
    """
    evidence, subject = certificate.evidence, subject_of(certificate)
    assert isinstance(evidence, EnumerationEvidence)
    try:
        found = counted(_law(evidence.smoothed, certificate.threat, x), classifier, x)
    except BadInput as problem:
        return judged(subject, "votes", str(problem))
    excess = found.counts - votes_of(evidence.votes)
    if not excess:
        return judged(subject, "votes", "")
    label = min(excess)
    said = (
        f"{found.counts[label]:,} of {found.counts.total():,} subsets return {class_name(label)}, the record has "
        f"{votes_of(evidence.votes)[label]:,}"
    )
    if excess.total() <= found.close:
        return left_open(subject, "votes", f"{said}; {found.close} tie within rounding")
    return judged(subject, "votes", said)


def enumerates(finding: Finding) -> bool:
    """Whether an attack examined its example on all subsets, so that nothing was left to chance."""
    return "noise" in finding.settings and "alpha" not in finding.settings


def examined_on_all(
    finding: Finding, classifier: Classifier, threat: Threat, x: Tensor, example: Tensor | None
) -> Execution:
    """Count all votes at an input, and at its example where there is one, and hold them against what a finding says."""
    subject = subject_of(finding)
    try:
        law = _law(finding.settings, threat, x)
        here = counted(law, classifier, x).counts
        there = None if example is None else counted(law, classifier, example).counts
    except (BadInput, KeyError, TypeError) as problem:
        said = f"its settings name no smoothed model: {problem}"
        return Execution([judged(subject, "example", said)], lambda _: False)
    claims = [judged(subject, "prediction", _other(here, finding.prediction))]
    if there is None:
        return Execution(claims, lambda _: False)
    said, label = _other(there, finding.adversarial_prediction), finding.label
    if not _loses(there, label):
        said = f"no class has more votes there than the label, class {label}"
    return Execution([*claims, judged(subject, "example", said)], lambda one: _loses(there, one))


def _loses(votes: Counter[int], label: int) -> bool:
    return max((count for other, count in votes.items() if other not in (label, INVALID)), default=0) > votes[label]


def _other(votes: Counter[int], named: int | None) -> str:
    """Why a recorded class is not the one with most votes, in words; empty where it is."""
    top = max((label for label in votes if label != INVALID), key=lambda label: (votes[label], -label), default=None)
    return "" if named == top else f"the record says {class_name(named)}, {class_name(top)} has most votes"
