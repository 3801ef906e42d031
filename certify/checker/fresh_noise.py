"""What a smoothed classifier returns at an example, examined on fresh noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from certify.attacks.smoothed import Smoothed, label_loses
from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.core.finding import Finding
from certify.core.threats.base import Threat
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.smoothing.noise.base import recorded_law
from certify.stats.binomial import binomial_at_least

__all__ = ["LEVEL", "Execution", "class_on_noise", "examined"]

LEVEL: Final = 1e-6
"""Probability at most with which fresh noise refutes a true claim."""

MAX_SAMPLES: Final = 10_000
"""Upper limit on the samples of a first examination, so that no record decides how long a check takes."""

ESCALATION: Final = 16
"""Factor by which the number of samples grows where the first examination does not decide: a deviation just beyond
chance is then four standard errors further out."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of executing an example.

    Args:
        claims: the finding's claims about classes and votes, with their standing.
        loses: tells of a class whether it was shown not to be the one returned at the example.
    """

    claims: list[CheckedClaim]
    loses: Callable[[int], bool]


def class_on_noise(finding: Finding, classifier: Classifier, threat: Threat, x: Tensor, seed: int) -> CheckedClaim:
    """Draw fresh noise at an input (...), and hold the votes against the class that a finding names there."""
    try:
        votes = _target(finding, classifier, threat, x).votes(x, f"{_key(finding, seed)}:input")
    except BadInput as problem:
        return judged(subject_of(finding), "prediction", str(problem))
    if finding.prediction is None:  # no class is returned where no sample votes for any
        said = f"the record says no class, and {sum(votes):,} fresh votes are for some" if any(votes) else ""
    else:
        said = _loser(votes, finding.prediction)
    return judged(subject_of(finding), "prediction", said)


def _key(finding: Finding, seed: int) -> str:
    return f"check:{seed}:{finding.input_digest}:{finding.attack}"


def examined(
    finding: Finding, classifier: Classifier, threat: Threat, x: Tensor, example: Tensor, seed: int
) -> Execution:
    """Draw fresh noise at an input and at its example (...), and hold the votes against what a finding says of both."""
    subject, label, named = subject_of(finding), finding.label, finding.adversarial_prediction
    try:
        target = _target(finding, classifier, threat, x)
    except BadInput as problem:
        return _refuted(subject, str(problem))
    if named is None or named == label or not {label, named} <= set(range(classifier.num_classes)):
        return _refuted(subject, f"label {label} and class {named} are not two of {classifier.num_classes} classes")
    key, alpha = _key(finding, seed), target.alpha
    claims = [class_on_noise(finding, classifier, threat, x, seed)]
    for part in (target, replace(target, n=ESCALATION * target.n)):
        votes = part.votes(example, f"{key}:{part.n}")
        if label_loses(votes, label, alpha):
            break
    claims.append(_example(subject, votes, label, named, alpha))
    claims.append(judged(subject, "label's probability", _too_many(votes, label, finding.p_label_upper)))
    return Execution(claims, lambda one: 0 <= one < len(votes) and label_loses(votes, one, alpha))


def _refuted(subject: str, said: str) -> Execution:
    return Execution([judged(subject, "example", said)], lambda one: False)


def _target(finding: Finding, classifier: Classifier, threat: Threat, x: Tensor) -> Smoothed:
    """The smoothed classifier that a finding names, with the positions of the run's threat where it hides any.

    Raises:
        BadInput: where its settings name none.
    """
    settings = finding.settings
    try:
        noise = recorded_law(settings).about(threat, tuple(x.shape))
        return Smoothed(classifier, noise, n=min(MAX_SAMPLES, settings["n"]), alpha=settings["alpha"])
    except (KeyError, TypeError) as problem:
        raise BadInput(f"its settings name no smoothed classifier: {problem} is missing or none") from problem


def _example(subject: str, votes: list[int], label: int, named: int, alpha: float) -> CheckedClaim:
    """Whether the label loses to the recorded class; refuted only where the opposite is shown."""
    top, said = max(range(len(votes)), key=votes.__getitem__), _loser(votes, named)
    if label_loses(votes, label, alpha):
        return judged(subject, "example", said)
    if top == label and said:
        return judged(subject, "example", f"the label, class {label}, is returned there: {said}")
    few = f"{votes[label]:,} of {sum(votes):,} fresh votes there are for the label, class {label}: that does not decide"
    return left_open(subject, "example", few)


def _loser(votes: list[int], named: int | None) -> str:
    """Why a recorded class is not the most probable one, in words; empty where votes do not show that."""
    if named is None or not 0 <= named < len(votes):
        return f"the record says class {named}, which is none"
    top = max(range(len(votes)), key=votes.__getitem__)
    if not label_loses(votes, named, LEVEL):
        return ""
    return f"the record says class {named}, which has {votes[named]:,} fresh votes, and class {top} has {votes[top]:,}"


def _too_many(votes: list[int], label: int, bound: float | None) -> str:
    """Why a recorded bound on the label's probability is none, in words."""
    if bound is None or not 0 <= bound < 0.5:
        return f"it is bounded by {bound} in the record, which is not below one half"
    if binomial_at_least(votes[label], sum(votes), bound) >= LEVEL:
        return ""
    return f"the label has {votes[label]:,} of {sum(votes):,} fresh votes, too many for at most {bound:.4g}"
