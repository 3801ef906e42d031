"""Blocked, seeded noise: the noise of a sample depends on seed, stage, input and sample number, and on nothing else.

Samples are numbered from 0 within a stage (selection, estimation, ...) of one input. Sample ``i`` is row ``i % 128`` of
block ``i // 128``, and each block has a generator of its own, seeded by a hash. So votes do not depend on batch size,
on worker, on the order of inputs, on an interruption, or on how many samples are drawn in the end.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from certify.data.generators import reseed
from certify.device import random_generator
from certify.smoothing.noise.base import Law

__all__ = ["BLOCK", "Stream"]

MAX_HELD_BYTES: Final = 64 * 2**20
"""Bytes of noise that may be kept: inputs that advance together return to the block that they left in the middle."""

BLOCK: Final = 128
"""Samples per seeded block. It is part of the definition of every stream: changing it changes all results."""


class Stream:
    """The noise of one stage for any input; it keeps the last block of as many inputs as fit in little memory.

    Args:
        noise: the law.
        shape: shape of one input.
        seed: master seed.
        stage: what the samples are for; stages are independent of each other.
        device: where the noise is drawn. CPU and CUDA generators differ, so certificates record the device.

    >>> from certify.smoothing.noise.gaussian import Gaussian
    >>> stream = Stream(Gaussian(1.0), (3,), seed=0, stage="estimation")
    >>> first = stream.block("ab", 5).clone()
    >>> torch.equal(first, stream.block("cd", 5)), torch.equal(first, stream.block("ab", 5))
    (False, True)
    """

    def __init__(
        self, noise: Law, shape: tuple[int, ...], *, seed: int, stage: str, device: torch.device | str = "cpu"
    ) -> None:
        self._noise, self._seed, self._stage = noise, seed, stage
        self._generator, self._device = random_generator(device), device
        self._shape = (BLOCK, *shape)
        self._held: dict[str, tuple[int, Tensor]] = {}
        self._most = max(1, MAX_HELD_BYTES // (4 * math.prod(self._shape)))

    @property
    def generator(self) -> str:
        """Library, version and device of the generator, for the record."""
        return f"torch-{torch.__version__.split('+')[0]}-{self._generator.device.type}"

    def block(self, digest: str, number: int) -> Tensor:
        """Block ``number`` of the input called ``digest``: (128, *shape). It is valid until the next call.

        Two inputs never share noise, unless they are the same input.
        """
        held, buffer = self._held.pop(digest, (-1, None))
        if buffer is None:
            # The least recently used block is overwritten.
            oldest = next(iter(self._held)) if len(self._held) >= self._most else None
            buffer = (
                torch.empty(self._shape, dtype=torch.float32, device=self._device)
                if oldest is None
                else self._held.pop(oldest)[1]
            )
        if held != number:
            key = f"{self._seed}:{digest}:{self._stage}:{number}"
            self._noise.sample(self._shape, reseed(self._generator, key), out=buffer)
        self._held[digest] = (number, buffer)
        return buffer

    def perturb(self, x: Tensor, digest: str, start: int, out: Tensor) -> None:
        """Write what the base model is shown at samples ``start, start + 1, ...`` about ``x`` to ``out``.

        ``x`` is one input; ``out`` has shape (samples, *shape).
        """
        done = 0
        while done < len(out):
            number, row = divmod(start + done, BLOCK)
            count = min(BLOCK - row, len(out) - done)
            self._noise.apply(x, self.block(digest, number)[row : row + count], out=out[done : done + count])
            done += count
        self._noise.project(out)
