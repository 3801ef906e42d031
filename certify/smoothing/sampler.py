"""Votes of the base classifier under noise: one pass, memory that does not grow with the number of samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from certify.core.certificate import Look
from certify.models.classifier import Classifier
from certify.process import out_of_memory
from certify.smoothing.noise.base import Noise
from certify.smoothing.streams import Stream

__all__ = ["Ballot", "Sampler", "Votes", "default_batch_size", "in_batches_that_fit"]

R = TypeVar("R")

ON_ACCELERATOR: Final = 1024
"""Samples per forward pass on an accelerator, which is idle with fewer."""

FEW: Final = 2**13
"""Weights up to which the layers of a network are taken to be narrow."""

_FITTED: Final[WeakKeyDictionary[Classifier, int]] = WeakKeyDictionary()
"""The largest batch that each classifier had memory for, where a larger one found none."""


class Ballot(NamedTuple):
    """Samples ``start .. stop - 1`` about the input at ``row``."""

    row: int
    start: int
    stop: int


class Votes(Protocol):
    """Whatever can count the classes that a base classifier returns under noise about some inputs."""

    def __len__(self) -> int:
        """Number of inputs."""

    def count(self, stage: str, ballots: Sequence[Ballot]) -> list[Look]:
        """The votes of each ballot; alpha is 0. NaN scores vote for no class."""


def default_batch_size(classifier: Classifier, x: Tensor) -> int:
    """Samples per forward pass for inputs (B, ...).

    The rule is fixed, because a choice by timing could change the last digit of a score. On a CPU a batch of about 384
    KiB of input keeps the activations of a small network in cache; batches several times larger were measured two to
    three times slower per sample. A network of few weights on a few features computes for a microsecond a sample: in
    batches of 1,024 it is twice as fast as in those of 256. Where memory runs out, :func:`in_batches_that_fit` takes
    less.
    """
    if classifier.device.type != "cpu":
        return ON_ACCELERATOR
    fitting = 384 * 1024 / (4 * max(1, x[0].numel()))
    most = 1024 if x.dim() == 2 and 0 < _weights(classifier) <= FEW else 256
    return int(min(most, max(16, 2 ** math.floor(math.log2(max(1.0, fitting))))))


def _weights(classifier: Classifier) -> int:
    """How many weights a model is known to have."""
    module = classifier.base.module
    return 0 if module is None else sum(one.numel() for one in module.parameters())


def in_batches_that_fit(classifier: Classifier, size: int, use: Callable[[int], R]) -> R:
    """What ``use`` returns for batches of ``size``, or of half as many for as long as memory runs out.

    What fitted is remembered for the classifier, so that only the first call tries in vain.

    >>> def use(size: int) -> int:
    ...     if size > 300:
    ...         raise MemoryError
    ...     return size
    >>> in_batches_that_fit(Classifier(lambda x: x, 2), 1024, use)
    256
    """
    size = min(size, _FITTED.get(classifier.base, size))
    while True:
        try:
            return use(size)
        except (MemoryError, RuntimeError) as problem:
            if size == 1 or not out_of_memory(problem):
                raise
        size = _FITTED[classifier.base] = size // 2


class Sampler:
    """Counts votes about several inputs at once; batches are filled across inputs.

    Args:
        classifier: the base classifier f.
        x: inputs (B, ...).
        digests: identity of each input, which seeds its streams.
        noise: the noise law.
        seed: master seed.
        batch_size: samples per forward pass; it does not change the noise. None: a rule by input size.
    """

    def __init__(
        self,
        classifier: Classifier,
        x: Tensor,
        digests: Sequence[str],
        noise: Noise,
        *,
        seed: int,
        batch_size: int | None = None,
    ) -> None:
        self._classifier, self._x, self._digests = classifier, x.to(classifier.device), digests
        self._noise, self._seed = noise, seed
        self._size = batch_size or default_batch_size(classifier, x)
        self._streams: dict[str, Stream] = {}

    def __len__(self) -> int:
        return len(self._x)

    @property
    def generator(self) -> str:
        """Which generator draws the noise, for the record."""
        return self._stream("estimation").generator

    def _stream(self, stage: str) -> Stream:
        if stage not in self._streams:
            shape, device = tuple(self._x.shape[1:]), self._classifier.device
            # Stages follow one another, so only the stream of the current stage is kept.
            self._streams = {stage: Stream(self._noise, shape, seed=self._seed, stage=stage, device=device)}
        return self._streams[stage]

    def count(self, stage: str, ballots: Sequence[Ballot]) -> list[Look]:
        """The votes of each ballot; see :class:`Votes`."""
        size = min(self._size, sum(ballot.stop - ballot.start for ballot in ballots))
        return in_batches_that_fit(self._classifier, size, lambda size: self._count(stage, ballots, size))

    def _count(self, stage: str, ballots: Sequence[Ballot], size: int) -> list[Look]:
        stream, classes = self._stream(stage), self._classifier.num_classes + 1
        noisy = self._classifier.to_layout(
            torch.empty((size, *self._x.shape[1:]), dtype=torch.float32, device=self._x.device)
        )
        owner = torch.empty(size, dtype=torch.int64, device=self._x.device)
        votes = torch.zeros(len(ballots) * classes, dtype=torch.int64, device=self._x.device)
        filled = 0

        def vote() -> None:
            labels = self._classifier.predict(noisy[:filled], scratch=True)  # the buffer is refilled for every pass
            votes.add_(torch.bincount(owner[:filled] * classes + labels + 1, minlength=len(votes)))

        with torch.inference_mode():
            for number, (row, start, stop) in enumerate(ballots):
                while start < stop:
                    end = filled + min(size - filled, stop - start)
                    stream.perturb(self._x[row], self._digests[row], start, out=noisy[filled:end])
                    owner[filled:end] = number
                    start, filled = start + end - filled, end
                    if filled == size:
                        vote()
                        filled = 0
            if filled:
                vote()
        return [_look(row) for row in votes.view(len(ballots), classes).tolist()]


def _look(votes: Sequence[int]) -> Look:
    """The votes of one ballot, counted as ``invalid, class 0, class 1, ...``."""
    counts = {label: count for label, count in enumerate(votes[1:]) if count}
    return Look(n=sum(votes), counts=counts, invalid=votes[0])
