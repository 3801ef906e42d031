"""The smoothed classifier as a target: searched by expectation over noise, and examined on fresh noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from certify.attacks.target import Examination, Target
from certify.data.generators import keyed_generator
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.stats.binomial import check_alpha, clopper_pearson_upper

__all__ = ["NoiseLaw", "Smoothed", "label_loses"]

_BLOCK: Final = 128
"""Samples per forward pass of an examination. It is part of the noise stream: changing it changes results."""

_SEARCH_SAMPLES: Final = 4096
"""Samples per forward pass of a search. It bounds memory and changes no result."""


class NoiseLaw(Protocol):
    """As much of a noise law as an attack needs; every smoothing noise is one."""

    def settings(self) -> dict[str, Any]:
        """The registered name as ``noise``, and what besides makes the law, as plain values for JSON."""

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Inputs changed as drawn; both broadcast, and gradients flow to ``x``."""

    def sample_anywhere(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Independent noise of ``shape`` about any real point, on the generator's device."""

    def project(self, noisy: Tensor) -> None:
        """Turn changed inputs into what the base model is shown, in place."""


def label_loses(votes: Sequence[int], label: int, alpha: float) -> bool:
    """Whether votes show that another class is more probable than the label; wrongly so with probability <= alpha.

    Among votes for the label and its strongest rival alone, the upper Clopper-Pearson bound on the label's share must
    lie below 1/2, at level alpha / (K - 1): where the label is the most probable class no rival's true share exceeds
    1/2, and a union over rivals gives alpha. The same bound among all votes is smaller, so the label's probability is
    shown to be below 1/2 as well, which alone would not make another class win. Without votes nothing is shown.

    >>> label_loses([400, 600], label=0, alpha=0.001), label_loses([400, 300, 300], label=0, alpha=0.001)
    (True, False)
    """
    rival = max(count for c, count in enumerate(votes) if c != label)
    duel = votes[label] + rival
    return duel > 0 and clopper_pearson_upper(votes[label], duel, alpha / (len(votes) - 1)) < 0.5


@dataclass(frozen=True, slots=True)
class Smoothed(Target):
    """The class that a classifier most probably returns under noise (Cohen et al. 2019, equation 1).

    Scores for the search are the logarithm of the mean softmax over ``draws`` noise samples (Salman et al. 2019,
    section 2.2), drawn anew at each step. They only guide the search: an example counts after ``n`` further samples.

    Args:
        classifier: the base classifier.
        noise: the noise law of the smoothing.
        draws: noise samples behind each score.
        n: noise samples of each examination.
        alpha: probability, over the noise of all examinations of one input together, that an example is accepted
            although the smoothed classifier returns the label there.

    Raises:
        BadInput: for a property whose answers cannot be voted on; unless draws and n are at least 1 and alpha lies
            strictly between 0 and 1.
    """

    classifier: Classifier
    noise: NoiseLaw
    draws: int = 32
    n: int = 1000
    alpha: float = 0.001
    deterministic = False

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if not self.classifier.property.votes:
            raise BadInput(
                f"noise votes for answers, and {self.classifier.property.kind} has none: attack the model itself"
            )
        if self.draws < 1 or self.n < 1:
            raise BadInput(f"draws and n must be at least 1, got draws={self.draws} and n={self.n}")

    @property
    def passes(self) -> int:
        """Samples behind each score."""
        return self.draws

    def settings(self) -> dict[str, Any]:
        """The noise law, and what an acceptance rests on."""
        return {**self.noise.settings(), "draws": self.draws, "n": self.n, "alpha": self.alpha}

    def scores(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """Log of the mean softmax under noise, (B, K).

        One forward pass an input, so that an input's scores are the same in any batch.
        """
        if len(x) > 1 and len(set(keys)) == 1:
            return self._of_one_draw(x, keys[0])
        return torch.stack([self._log_mean_softmax(one, key) for one, key in zip(x, keys, strict=True)])

    def _of_one_draw(self, x: Tensor, key: str) -> Tensor:
        """Scores of points that one search asks about together, all with the same noise."""
        noise = self.noise.sample_anywhere((self.draws, *x.shape[1:]), keyed_generator(key, self.device)).to(
            self.device
        )
        scores = []
        for points in x.to(self.device).split(max(1, _SEARCH_SAMPLES // self.draws)):
            noisy = self.noise.apply(points.unsqueeze(1), noise).flatten(0, 1)
            log_softmax = self.classifier.scores(noisy).log_softmax(dim=1).unflatten(0, (len(points), self.draws))
            scores.append(log_softmax.logsumexp(dim=1) - math.log(self.draws))
        return torch.cat(scores)

    def _log_mean_softmax(self, x: Tensor, key: str) -> Tensor:
        # The law's projection is left out: rounding has no gradient, and a search may be inexact.
        noise = self.noise.sample_anywhere((self.draws, *x.shape), keyed_generator(key, self.device)).to(self.device)
        log_softmax = self.classifier.scores(self.noise.apply(x.to(self.device), noise)).log_softmax(dim=1)
        return log_softmax.logsumexp(dim=0) - math.log(self.draws)

    def votes(self, x: Tensor, key: str) -> list[int]:
        """How often each class is returned in ``n`` samples about one input; samples with NaN scores vote for none."""
        generator, centre = keyed_generator(key, self.device), x.to(self.device)
        counts = torch.zeros(self.num_classes + 1, dtype=torch.int64)
        for first in range(0, self.n, _BLOCK):
            drawn = self.noise.sample_anywhere((min(_BLOCK, self.n - first), *x.shape), generator)
            noisy = self.noise.apply(centre, drawn.to(self.device))
            self.noise.project(noisy)
            labels = self.classifier.predict(noisy)
            counts += torch.bincount(labels + 1, minlength=len(counts)).cpu()
        return [int(count) for count in counts[1:]]

    def examine(self, x: Tensor, label: int, key: str, tries: int) -> Examination:
        """Draw fresh noise at ``x`` and test, at level alpha / tries, whether the label loses."""
        votes, level = self.votes(x, key), self.alpha / tries
        top = max(range(self.num_classes), key=lambda c: votes[c])
        return Examination(
            prediction=top if votes[top] else None,
            refuted=label_loses(votes, label, level),
            p_label_upper=clopper_pearson_upper(votes[label], self.n, level),
            forward_passes=self.n,
        )
