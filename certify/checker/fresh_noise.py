"""What a smoothed classifier returns at an example, examined on fresh noise."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from certify.attacks.smoothed import PixelExamination, Smoothed, SmoothedPixels, label_loses, smoothed
from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.core.finding import Finding
from certify.core.properties.base import Property
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
        target = _target(finding, classifier, threat, x)
        key = f"{_key(finding, seed)}:input"
        if isinstance(target, SmoothedPixels):
            return judged(subject_of(finding), "prediction", _other_pixels(target.pixels(x, key), finding.prediction))
        fresh = _Fresh(classifier.property, target.votes(x, key), target.n)
    except BadInput as problem:
        return judged(subject_of(finding), "prediction", str(problem))
    if finding.prediction is None:  # no class is returned where no sample votes for any
        said = f"the record says no class, and {fresh.cast:,} fresh votes are for some" if fresh.cast else ""
    else:
        said = fresh.loser(finding.prediction)
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
    if isinstance(target, SmoothedPixels):
        return _examined_pixels(finding, target, example, key, claims)
    for part in (target, replace(target, n=ESCALATION * target.n)):
        fresh = _Fresh(classifier.property, part.votes(example, f"{key}:{part.n}"), part.n)
        if fresh.loses(label, alpha):
            break
    claims.append(_example(subject, fresh, label, named, alpha))
    claims.append(judged(subject, "label's probability", fresh.too_many(label, finding.p_label_upper)))
    return Execution(claims, lambda one: 0 <= one < classifier.num_classes and fresh.loses(one, alpha))


def _examined_pixels(
    finding: Finding, target: SmoothedPixels, example: Tensor, key: str, claims: list[CheckedClaim]
) -> Execution:
    """Whether too few pixels of the example keep their right class; refuted only where the opposite is shown."""
    subject, named = subject_of(finding), finding.adversarial_prediction
    for part in (target, replace(target, n=ESCALATION * target.n)):
        fresh = part.pixels(example, f"{key}:{part.n}")
        if fresh.loses(finding.label, target.alpha):
            break
    said = _other_pixels(fresh, named)
    if fresh.loses(finding.label, target.alpha) or said:
        claims.append(judged(subject, "example", said))
    else:
        right = int((fresh.right & fresh.property.judged).sum())
        few = f"{right:,} pixels are right by fresh samples there, {fresh.property.needed:,} are needed"
        claims.append(left_open(subject, "example", f"{few}: that does not decide"))
    return Execution(claims, lambda one: fresh.loses(one, target.alpha))


def _other_pixels(fresh: PixelExamination, named: int | None) -> str:
    """Why a recorded answer about pixels is not that of the smoothed model, in words; empty where that is not shown."""
    if named is None:
        return "" if fresh.answer is None else "the record says no class, and fresh samples return some"
    if not fresh.loses(named, LEVEL):
        return ""
    right, word = int((fresh.right & fresh.property.judged).sum()), fresh.property.word
    return f"the record says {word(named)}, {right:,} are right by fresh samples and {fresh.property.needed:,} needed"


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
        return smoothed(classifier, noise, n=min(MAX_SAMPLES, settings["n"]), alpha=settings["alpha"])
    except (KeyError, TypeError) as problem:
        raise BadInput(f"its settings name no smoothed classifier: {problem} is missing or none") from problem


@dataclass(frozen=True, slots=True)
class _Fresh:
    """Fresh votes about one point: what they show of a property's answers.

    Args:
        property: whose answers they are for.
        votes: for each thing that can be voted for.
        n: samples, with those that voted for nothing.
    """

    property: Property
    votes: list[int]
    n: int

    @builtins.property
    def cast(self) -> int:
        """How many votes there are."""
        return sum(self.votes)

    @builtins.property
    def top(self) -> int | None:
        """The answer that they speak for."""
        return self.property.elected(self._counts)

    @builtins.property
    def _counts(self) -> dict[int, int]:
        return {answer: count for answer, count in enumerate(self.votes) if count}

    def hits(self, label: int) -> int:
        """The votes that are not against an answer, on the side that has fewest of them."""
        return self.cast - max(self.property.against(label, self._counts))

    def loses(self, label: int, alpha: float) -> bool:
        """Whether an answer is shown not to be the one returned."""
        return label_loses(self.votes, label, alpha, self.property, self.n)

    def loser(self, named: int | None) -> str:
        """Why a recorded answer is not the one returned, in words; empty where votes do not show that."""
        if named is None or not 0 <= named < len(self.votes):
            return f"the record says class {named}, which is none"
        if not self.loses(named, LEVEL):
            return ""
        top = self.top
        return (
            f"the record says class {named}, which has {self.hits(named):,} fresh votes, and class {top} has "
            f"{0 if top is None else self.hits(top):,}"
        )

    def too_many(self, label: int, bound: float | None) -> str:
        """Why a recorded bound on the label's probability is none, in words."""
        if bound is None or not 0 <= bound < 0.5:
            return f"it is bounded by {bound} in the record, which is not below one half"
        if binomial_at_least(self.hits(label), self.cast, bound) >= LEVEL:
            return ""
        return f"the label has {self.hits(label):,} of {self.cast:,} fresh votes, too many for at most {bound:.4g}"


def _example(subject: str, fresh: _Fresh, label: int, named: int, alpha: float) -> CheckedClaim:
    """Whether the label loses to the recorded class; refuted only where the opposite is shown."""
    said = fresh.loser(named)
    if fresh.loses(label, alpha):
        return judged(subject, "example", said)
    if fresh.top == label and said:
        return judged(subject, "example", f"the label, class {label}, is returned there: {said}")
    few = f"{fresh.hits(label):,} of {fresh.cast:,} fresh votes there are for the label, class {label}"
    return left_open(subject, "example", f"{few}: that does not decide")
