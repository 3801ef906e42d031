"""Votes of a base classifier drawn again, block by block, from a seed and a stage."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.checker.identity import ties
from certify.core.certificate import Look
from certify.models.classifier import INVALID, Classifier
from certify.smoothing.noise.base import Noise
from certify.smoothing.streams import BLOCK, Stream

__all__ = ["Booth", "Votes", "votes_of"]


@dataclass(frozen=True, slots=True)
class Votes:
    """Votes by class, those for no class under -1, and how many of them tie with another class within rounding."""

    counts: Counter[int]
    close: int = 0


def votes_of(look: Look) -> Counter[int]:
    """The recorded votes of a look by class, those for no class under -1."""
    return Counter({**look.counts, INVALID: look.invalid})


@dataclass(frozen=True, slots=True, eq=False)
class Booth:
    """Where votes about one input (...) are drawn, in the order of their numbers.

    The passes have sizes from 1 to ``BLOCK``, by chance: a run has one size for all, and a model whose answers depend
    on how many inputs it gets answers otherwise here.
    """

    classifier: Classifier
    x: Tensor
    digest: str
    noise: Noise

    @property
    def generator(self) -> str:
        """Library, version and device of the generator that draws here."""
        return self._stream(0, "estimation").generator

    def votes(self, seed: int, stage: str, samples: Sequence[range]) -> Votes:
        """The votes of some samples of a stage, by their numbers."""
        stream, x, counts, close = self._stream(seed, stage), self.x.to(self.classifier.device), Counter[int](), 0
        sizes = random.Random(f"{self.digest} {seed} {stage}")
        with torch.inference_mode():
            for part in samples:
                start = part.start
                while start < part.stop:
                    size = min(int(BLOCK ** sizes.random()), part.stop - start)
                    noisy = torch.empty((size, *x.shape), device=x.device)
                    stream.perturb(x, self.digest, start, out=noisy)
                    scores = self.classifier.scores(noisy)
                    valid = torch.isfinite(scores).all(dim=1)
                    counts.update(torch.where(valid, scores.argmax(dim=1), INVALID).tolist())
                    close += ties(scores[valid])
                    start += size
        return Votes(counts, close)

    def _stream(self, seed: int, stage: str) -> Stream:
        return Stream(self.noise, tuple(self.x.shape), seed=seed, stage=stage, device=self.classifier.device)
