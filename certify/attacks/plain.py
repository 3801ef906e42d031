"""The classifier itself as a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from certify.attacks.base import Examination, OfClassifier
from certify.models.classifier import INVALID, Classifier

__all__ = ["Plain"]


@dataclass(frozen=True, slots=True)
class Plain(OfClassifier):
    """A deterministic classifier: an example counts if the classifier returns another class there.

    >>> import torch
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
        """The classifier's scores, or those of what it is asked to keep; the keys play no part."""
        return self.classifier.scores(x)

    def examine(self, x: Tensor, label: int, key: str, tries: int) -> Examination:
        """The classifier's class at ``x``, in a batch of one: the same whichever inputs are attacked beside it."""
        prediction = int(self.classifier.answers(x[None], torch.tensor([label]))[0])
        valid = prediction != INVALID
        return Examination(prediction if valid else None, valid and prediction != label, None, 1)
