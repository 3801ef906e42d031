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
from certify.smoothing.noise.base import Law
from certify.smoothing.streams import Stream

__all__ = ["Asked", "Ballot", "Sampler", "Votes", "default_batch_size", "in_batches_that_fit"]

R = TypeVar("R")
A = TypeVar("A", bound="Asked")

ON_ACCELERATOR: Final = 1024
"""Samples per forward pass on an accelerator, which is idle with fewer."""

IN_CACHE: Final = 384 * 2**10
"""Bytes of input in a batch on a processor, so that what layers make of it stays in the cache."""

OF_VECTORS: Final = 4 * 2**20
"""The same for networks that make vectors out of vectors, which read all weights once a batch."""

FEW: Final = 2**13
"""Weights up to which the layers of a network are taken to be narrow."""

HELD_SCORES: Final = 2**18
"""Scores that are held, a mebibyte, before their votes are counted."""

_FITTED: Final[WeakKeyDictionary[Classifier, int]] = WeakKeyDictionary()
"""The largest batch that each classifier had memory for, where a larger one found none."""


class Ballot(NamedTuple):
    """Samples ``start .. stop - 1`` about the input at ``row``."""

    row: int
    start: int
    stop: int


class Asked(Protocol):
    """Whoever takes what the model returns."""

    def ask(self, scores: Tensor) -> None:
        """Take the scores of the next samples, in the order of the ballots."""


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
    three times slower per sample. Layers on vectors make nothing that is much larger than their input, and read all
    their weights for each batch: 256 vectors at once are up to 1.4 times as fast as 384 KiB of them. A network of few
    weights computes for a microsecond a sample: in batches of 1,024 it is twice as fast as in those of 256. Where
    memory runs out, :func:`in_batches_that_fit` takes less.
    """
    if classifier.device.type != "cpu":
        return ON_ACCELERATOR
    module = classifier.base.module
    weights = [] if module is None else [*module.parameters()]
    on_vectors = x.dim() == 2 and bool(weights) and all(one.dim() <= 2 for one in weights)  # no kernels of convolutions
    fitting = (OF_VECTORS if on_vectors else IN_CACHE) / (4 * max(1, x[0].numel()))
    most = 1024 if on_vectors and sum(one.numel() for one in weights) <= FEW else 256
    return int(min(most, max(16, 2 ** math.floor(math.log2(max(1.0, fitting))))))


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
        noise: Law,
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
        return self.asked(stage, ballots, lambda: _Tally(self._classifier, ballots)).looks()

    def outputs(self, stage: str, ballots: Sequence[Ballot]) -> list[Tensor]:
        """What the model returns for the samples of each ballot, (samples, K) on the CPU."""
        every = torch.cat(self.asked(stage, ballots, _Outputs).batches)
        return list(every.split([ballot.stop - ballot.start for ballot in ballots]))

    def asked(self, stage: str, ballots: Sequence[Ballot], start: Callable[[], A]) -> A:
        """Whoever ``start`` makes, who then took the scores of all samples in the order of the ballots."""
        size = min(self._size, sum(ballot.stop - ballot.start for ballot in ballots))
        return in_batches_that_fit(self._classifier, size, lambda size: self._ask(stage, ballots, size, start()))

    def _ask(self, stage: str, ballots: Sequence[Ballot], size: int, asked: A) -> A:
        stream = self._stream(stage)
        noisy = self._classifier.to_layout(
            torch.empty((size, *self._x.shape[1:]), dtype=torch.float32, device=self._x.device)
        )
        filled = 0
        with torch.inference_mode():
            for row, start, stop in ballots:
                while start < stop:
                    end = filled + min(size - filled, stop - start)
                    stream.perturb(self._x[row], self._digests[row], start, out=noisy[filled:end])
                    start, filled = start + end - filled, end
                    if filled == size:
                        asked.ask(self._classifier.base.scores(noisy, scratch=True))
                        filled = 0
            if filled:
                asked.ask(self._classifier.base.scores(noisy[:filled], scratch=True))
            return asked


class _Outputs:
    """Keeps what the model returns."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []

    def ask(self, scores: Tensor) -> None:
        """Take the scores of the next samples."""
        self.batches.append(scores.cpu().clone())


class _Tally:
    """Counts the votes of many batches at once.

    Between two passes the code and the numbers of small operations have left the cache: they take five to eight times
    as long as one after the other.
    """

    def __init__(self, classifier: Classifier, ballots: Sequence[Ballot]) -> None:
        self._classifier, self._classes = classifier, classifier.ballots + 1
        self._ends = torch.tensor([stop - start for _, start, stop in ballots], device=classifier.device).cumsum(0)
        self._votes = torch.zeros(len(ballots) * self._classes, dtype=torch.int64, device=classifier.device)
        # One buffer: small tensors kept between the large ones of a pass would leave holes all over the memory.
        self._scores = torch.empty((0, classifier.base.num_classes), device=classifier.device)
        self._asked = self._counted = 0

    def ask(self, scores: Tensor) -> None:
        """Take the scores of the next samples, in the order of the ballots."""
        held = self._asked - self._counted
        if held + len(scores) > len(self._scores) or scores.dtype != self._scores.dtype:
            self._count()
            held, rows = 0, max(len(scores), HELD_SCORES // scores.shape[1])
            if rows != len(self._scores) or scores.dtype != self._scores.dtype:
                self._scores = scores.new_empty((rows, scores.shape[1]))
        self._scores[held : held + len(scores)] = scores
        self._asked += len(scores)

    def looks(self) -> list[Look]:
        """The votes of all ballots, once every sample was asked about."""
        self._count()
        return [_look(votes) for votes in self._votes.view(-1, self._classes).tolist()]

    def _count(self) -> None:
        if self._asked == self._counted:
            return
        labels = self._classifier.votes_at(self._scores[: self._asked - self._counted])
        samples = torch.arange(self._counted, self._asked, device=labels.device)
        ballot = torch.searchsorted(self._ends, samples, right=True)
        self._votes += torch.bincount(ballot * self._classes + labels + 1, minlength=len(self._votes))
        self._counted = self._asked


def _look(votes: Sequence[int]) -> Look:
    """The votes of one ballot, counted as ``invalid, class 0, class 1, ...``."""
    counts = {label: count for label, count in enumerate(votes[1:]) if count}
    return Look(n=sum(votes), counts=counts, invalid=votes[0])
