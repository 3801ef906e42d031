"""The smoothed classifier as a target: searched by expectation over noise, and examined on fresh noise."""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.attacks.target import Examination, Target
from certify.core.properties.base import Property
from certify.core.properties.pixels import Pixels
from certify.core.properties.top_class import TOP_CLASS
from certify.data.generators import keyed_generator
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.models.segmenter import pixel_votes
from certify.stats.binomial import check_alpha, clopper_pearson_lower, clopper_pearson_upper
from certify.stats.pixels import at_least, not_on_top, on_top

__all__ = ["NoiseLaw", "PixelExamination", "Smoothed", "SmoothedPixels", "label_loses", "smoothed"]

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


def label_loses(
    votes: Sequence[int], label: int, alpha: float, property: Property = TOP_CLASS, n: int | None = None
) -> bool:
    """Whether votes show that another class is more probable than the label; wrongly so with probability <= alpha.

    Among votes for the label and its strongest rival alone, the upper Clopper-Pearson bound on the label's share must
    lie below 1/2, at level alpha / (K - 1): where the label is the most probable class no rival's true share exceeds
    1/2, and a union over rivals gives alpha. The same bound among all votes is smaller, so the label's probability is
    shown to be below 1/2 as well, which alone would not make another class win. Without votes nothing is shown.

    Of the top k classes, k rivals have to win such a duel each: the one with the k-th most votes is compared. What has
    several sides is lost where one of them is shown to be more probable than 1/2, at its part of alpha.

    Args:
        votes: for each thing that can be voted for.
        label: the answer that may lose.
        alpha: level.
        property: whose answer it is.
        n: samples, with those that voted for nothing; None where all voted.

    >>> label_loses([400, 600], label=0, alpha=0.001), label_loses([400, 300, 300], label=0, alpha=0.001)
    (True, False)
    """
    if property.sides > 1:
        against = max(property.against(label, {answer: count for answer, count in enumerate(votes) if count}))
        return clopper_pearson_lower(against, sum(votes) if n is None else n, alpha / property.sides) > 0.5
    rival = sorted((count for c, count in enumerate(votes) if c != label), reverse=True)[property.places - 1]
    duel = votes[label] + rival
    return duel > 0 and clopper_pearson_upper(votes[label], duel, alpha / (len(votes) - 1)) < 0.5


@dataclass(frozen=True, slots=True)
class Smoothed(Target):
    """The class that a classifier most probably returns under noise (Cohen et al. 2019, equation 1).

    Scores for the search are the logarithm of the mean softmax over ``draws`` noise samples (Salman et al. 2019,
    section 2.2), drawn anew at each step; the mean of the scores for properties whose answers are not like classes.
    They only guide the search: an example counts after ``n`` further samples.

    Args:
        classifier: the base classifier.
        noise: the noise law of the smoothing.
        draws: noise samples behind each score.
        n: noise samples of each examination.
        alpha: probability, over the noise of all examinations of one input together, that an example is accepted
            although the smoothed classifier returns the label there.

    Raises:
        BadInput: unless draws and n are at least 1 and alpha lies strictly between 0 and 1.
    """

    classifier: Classifier
    noise: NoiseLaw
    draws: int = 32
    n: int = 1000
    alpha: float = 0.001
    deterministic = False

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
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
            scores.append(self._mean(self.classifier.scores(noisy).unflatten(0, (len(points), self.draws))))
        return torch.cat(scores)

    def _mean(self, scores: Tensor) -> Tensor:
        """Of scores (..., draws, K) under noise, what the search climbs on, (..., K)."""
        if not self.classifier.property.like_classes:
            return scores.mean(dim=-2)
        return scores.log_softmax(dim=-1).logsumexp(dim=-2) - math.log(self.draws)

    def _log_mean_softmax(self, x: Tensor, key: str) -> Tensor:
        # The law's projection is left out: rounding has no gradient, and a search may be inexact.
        noise = self.noise.sample_anywhere((self.draws, *x.shape), keyed_generator(key, self.device)).to(self.device)
        return self._mean(self.classifier.scores(self.noise.apply(x.to(self.device), noise)))

    def votes(self, x: Tensor, key: str) -> list[int]:
        """How often each class is voted for in ``n`` samples about one input; samples with NaN scores vote for none."""
        counts = torch.zeros(self.classifier.ballots + 1, dtype=torch.int64)
        for scores in self._samples(x, key):
            counts += torch.bincount(self.classifier.votes_at(scores) + 1, minlength=len(counts)).cpu()
        return [int(count) for count in counts[1:]]

    def _samples(self, x: Tensor, key: str) -> Iterator[Tensor]:
        """The base model's scores of ``n`` samples about one input, some at a time."""
        generator, centre = keyed_generator(key, self.device), x.to(self.device)
        for first in range(0, self.n, _BLOCK):
            drawn = self.noise.sample_anywhere((min(_BLOCK, self.n - first), *x.shape), generator)
            noisy = self.noise.apply(centre, drawn.to(self.device))
            self.noise.project(noisy)
            with torch.inference_mode():
                yield self.classifier.base.scores(noisy)

    def examine(self, x: Tensor, label: int, key: str, tries: int) -> Examination:
        """Draw fresh noise at ``x`` and test, at level alpha / tries, whether the label loses."""
        votes, level, property = self.votes(x, key), self.alpha / tries, self.classifier.property
        counts = {answer: count for answer, count in enumerate(votes) if count}
        refuted = label_loses(votes, label, level, property, self.n)
        return Examination(
            prediction=property.elected(counts, None if refuted else label),
            refuted=refuted,
            p_label_upper=clopper_pearson_upper(
                sum(votes) - max(property.against(label, counts)), self.n, level / property.sides
            ),
            forward_passes=self.n,
        )


@dataclass(frozen=True, slots=True)
class PixelExamination:
    """What samples about one image show of its pixels.

    Args:
        property: about the image.
        votes: for each class at each pixel (K, H, W).
    """

    property: Pixels
    votes: NDArray[np.int64]

    @builtins.property
    def right(self) -> NDArray[np.bool_]:
        """The pixels (H, W) that most samples give their right class."""
        return (self.votes.argmax(axis=0) == self.property.right) & (self.votes.max(axis=0) > 0)

    @builtins.property
    def answer(self) -> int | None:
        """The property's answer by these samples; None where none of them returns any class."""
        return None if not self.votes.any() else 0 if self.property.enough(self.right) else 1

    def loses(self, answer: int, alpha: float) -> bool:
        """Whether an answer is shown not to be that of the smoothed model, wrongly so with probability <= alpha."""
        own, rival = self._duels()
        judged, needed = own.size, self.property.needed
        if answer == 0:
            return at_least(not_on_top(own, rival, len(self.votes)), judged - needed + 1) <= alpha
        return answer == 1 and at_least(on_top(own, rival), needed) <= alpha

    def lost(self, alpha: float) -> NDArray[np.bool_]:
        """The judged pixels, one after the other, that are shown not to keep their right class, each at a level."""
        return not_on_top(*self._duels(), len(self.votes)) <= alpha

    def _duels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Votes for the right class of each judged pixel, and for its strongest rival."""
        judged = self.property.judged
        votes, right = self.votes[:, judged], self.property.right[judged][None]
        own = np.take_along_axis(votes, right, axis=0)[0]
        others = votes.copy()
        np.put_along_axis(others, right, -1, axis=0)
        return own, others.max(axis=0)


@dataclass(frozen=True, slots=True)
class SmoothedPixels(Smoothed):
    """The classes that a model most probably gives the pixels of an image under noise (Fischer et al. 2021).

    An example counts where so many pixels are shown to have lost their right class that too few are left.
    """

    def pixels(self, x: Tensor, key: str) -> PixelExamination:
        """Draw fresh noise at one image and count the classes of its pixels."""
        property, votes = self.classifier.property, None
        assert isinstance(property, Pixels)
        for scores in self._samples(x, key):
            new = pixel_votes(scores)
            votes = new if votes is None else votes + new
        assert votes is not None
        return PixelExamination(property, votes[1:].numpy())

    def examine(self, x: Tensor, label: int, key: str, tries: int) -> Examination:
        """Draw fresh noise at ``x`` and test, at level alpha / tries, whether too few pixels keep their class."""
        found = self.pixels(x, key)
        return Examination(found.answer, found.loses(label, self.alpha / tries), None, self.n)


def smoothed(classifier: Classifier, noise: NoiseLaw, **settings: Any) -> Smoothed:
    """The classifier under noise as a target: of its property, or of its pixels."""
    kind = SmoothedPixels if classifier.property.by_pixel else Smoothed
    return kind(classifier, noise, **settings)
