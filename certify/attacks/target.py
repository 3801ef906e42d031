"""What can be attacked: the classifier itself, or another model that is made from one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from certify.core.input_box import InputBox
from certify.models.classifier import INVALID, Classifier

__all__ = ["Examination", "Plain", "Target"]


@dataclass(frozen=True, slots=True)
class Examination:
    """What a target answers at one point, outside any search.

    Args:
        prediction: its class there, or None if its scores are NaN.
        refuted: whether the class is shown to differ from the label: never for NaN, and for a smoothed classifier only
            with confidence.
        p_label_upper: for a smoothed classifier, the upper confidence bound on the label's probability.
        forward_passes: samples sent through the model to find out.
    """

    prediction: int | None
    refuted: bool
    p_label_upper: float | None
    forward_passes: int


class Target(ABC):
    """A model made from a classifier: it has scores to search on, and an examination that decides."""

    __slots__ = ()

    classifier: Classifier
    deterministic: ClassVar[bool]
    """Whether the scores do not depend on the keys."""

    @property
    @abstractmethod
    def passes(self) -> int:
        """Samples sent through the model for the scores of one input."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What a finding depends on besides model, input and attack, as plain values for JSON."""

    @abstractmethod
    def scores(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """Scores (B, K) of a batch; a random target seeds each input's randomness with its key, others get no keys."""

    @abstractmethod
    def examine(self, x: Tensor, label: int, key: str, tries: int) -> Examination:
        """Examine one input, without a batch axis, alone, with fresh randomness seeded by ``key``.

        ``tries`` is how often one input may be examined in all: error probabilities are split among them.
        """

    def about(self, target: float | str) -> Self:
        """The target of an input with a number, or a label map, of its own, for properties that are about one."""
        classifier = self.classifier.with_property(self.classifier.property.at(target))
        return replace(self, classifier=classifier)  # type: ignore[type-var]

    @property
    def digest(self) -> str:
        """SHA-256 of the classifier."""
        return self.classifier.digest

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return self.classifier.num_classes

    @property
    def input_box(self) -> InputBox | None:
        """Bounds of every feature, before any noise."""
        return self.classifier.input_box

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.classifier.device

    @property
    def differentiable(self) -> bool:
        """Whether gradients of the scores flow to the input: where the classifier is a module."""
        return self.classifier.differentiable


@dataclass(frozen=True, slots=True)
class Plain(Target):
    """A deterministic classifier: an example counts if the classifier returns another class there.

    >>> clf = Classifier(torch.nn.Linear(2, 2).eval(), num_classes=2)
    >>> Plain(clf).examine(torch.zeros(2), label=0, key="", tries=1).forward_passes
    1
    """

    classifier: Classifier
    deterministic = True
    passes = 1

    def settings(self) -> dict[str, Any]:
        """Nothing besides the model."""
        return {}

    def scores(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """The classifier's scores, or those of the property that it should keep."""
        return self.classifier.scores(x)

    def examine(self, x: Tensor, label: int, key: str, tries: int) -> Examination:
        """The classifier's class at ``x``, in a batch of one, so that it does not depend on other inputs."""
        prediction = int(self.classifier.answers(x[None], torch.tensor([label]))[0])
        valid = prediction != INVALID
        return Examination(prediction if valid else None, valid and prediction != label, None, 1)
