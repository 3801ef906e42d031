"""A model smoothed by a law with few draws as a target: searched on some of them, and examined on all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from certify.attacks.smoothed import NoiseLaw, Smoothed
from certify.attacks.target import Examination, Target
from certify.models.classifier import Classifier

__all__ = ["TOGETHER", "Enumerated", "FiniteLaw"]

TOGETHER: Final = 128
"""Draws per forward pass. A draw always has the same place in a batch of the same size, so that its vote depends on the
input alone, however batches round; changing this number may change votes."""


class FiniteLaw(NoiseLaw, Protocol):
    """A noise law whose draws are few, and equally probable."""

    def every(self, shape: Sequence[int], size: int = ...) -> Iterator[Tensor]:
        """All draws for inputs of a shape, ``size`` at a time, on the processor."""


@dataclass(frozen=True, slots=True)
class Enumerated(Target):
    """The class with most votes over all draws: an example counts if another class than the label has more votes.

    Scores for the search are those of :class:`Smoothed`, from ``draws`` of them.

    Args:
        classifier: the base classifier.
        noise: the law.
        draws: samples behind each score.

    Raises:
        BadInput: for a property whose answers cannot be voted on.
    """

    classifier: Classifier
    noise: FiniteLaw
    draws: int = 32
    search: Smoothed = field(init=False, repr=False)
    deterministic = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "search", Smoothed(self.classifier, self.noise, self.draws))

    @property
    def passes(self) -> int:
        """Samples behind each score."""
        return self.draws

    def settings(self) -> dict[str, Any]:
        """The noise law; no share of its votes is uncertain."""
        return {**self.noise.settings(), "draws": self.draws}

    def scores(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """Log of the mean softmax of some draws, (B, K)."""
        return self.search.scores(x, keys)

    def votes(self, x: Tensor) -> list[int]:
        """How many draws about one input have NaN scores, and how many return each class."""
        centre = x.to(self.device)
        counts = torch.zeros(self.num_classes + 1, dtype=torch.int64)
        with torch.inference_mode():
            for drawn in self.noise.every(tuple(x.shape), TOGETHER):
                noisy = self.noise.apply(centre, drawn.to(self.device))
                self.noise.project(noisy)
                counts += torch.bincount(self.classifier.predict(noisy) + 1, minlength=len(counts)).cpu()
        return counts.tolist()

    def examine(self, x: Tensor, label: int, key: str, tries: int) -> Examination:
        """Count all votes at ``x``; a tie shows nothing."""
        invalid, *votes = self.votes(x)
        top = max(range(self.num_classes), key=lambda c: votes[c])
        return Examination(
            prediction=top if votes[top] else None,
            refuted=votes[top] > votes[label],
            p_label_upper=None,
            forward_passes=sum(votes) + invalid,
        )
