"""A defended model as a target: searched by expectation over its copies, and examined as it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from certify.attacks.target import Examination, Target
from certify.data.generators import keyed_generator
from certify.models.classifier import INVALID, Classifier
from certify.models.defences.base import Defence

__all__ = ["Defended"]

_DRAWN: Final = 32
"""Copies behind each score of a search."""


@dataclass(frozen=True, slots=True)
class Defended(Target):
    """What a classifier answers through a defence, as a model of its own.

    Its answer is no smooth function of the input. Scores for a search are made from those of some copies, drawn anew at
    each step; an example counts where the model itself, executed in full, returns another class than the label.

    Args:
        classifier: the classifier that is shown the copies.
        defence: how they are made, and what follows from their classes.
    """

    classifier: Classifier
    defence: Defence
    deterministic = False  # what is drawn are the copies of a search; no examination draws anything
    passes = _DRAWN

    def settings(self) -> dict[str, Any]:
        """The defence."""
        return {"defence": self.defence.to_dict()}

    def scores(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """Scores from some of the copies, (B, K); one forward pass an input, as its scores have copies of theirs.

        Raises:
            BadInput: for inputs of which there are no copies.
        """
        self.defence.check_shape(tuple(x.shape[1:]))
        return torch.stack([self._score(one, key) for one, key in zip(x, keys, strict=True)])

    def _score(self, x: Tensor, key: str) -> Tensor:
        count = self.defence.count(tuple(x.shape))
        drawn = torch.randperm(count, generator=keyed_generator(key))[:_DRAWN]
        return self.defence.together(
            self.classifier.scores(self.defence.copies(self.classifier, x.to(self.device), drawn))
        )

    def examine(self, x: Tensor, label: int, key: str, tries: int) -> Examination:
        """The answer at ``x``."""
        returned = self.defence.returned(self.classifier, x)
        valid = returned != INVALID
        return Examination(
            returned if valid else None, valid and returned != label, None, self.defence.count(tuple(x.shape))
        )
