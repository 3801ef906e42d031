"""Generators seeded by a hash of what they are for: the same stream whatever was drawn before."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from certify.device import random_generator

__all__ = ["keyed_generator", "keyed_seed", "reseed"]

WORDS: Final = 624
STATE: Final = slice(24, 24 + 8 * WORDS)
"""Where torch's CPU generator, a Mersenne Twister, keeps its words: each in eight bytes, after 24 bytes of counters."""


def reseed(generator: torch.Generator, key: str) -> torch.Generator:
    """Put a generator into the state that ``key`` names, and return it.

    On a CPU the whole state of 19,937 bits is filled by the hash SHAKE-256: ``manual_seed`` keeps 32 bits of a seed,
    and among a few hundred thousand blocks of noise some would share theirs. CUDA's generator has 64-bit seeds.

    >>> first, again = (reseed(torch.Generator(), "a block") for _ in range(2))
    >>> torch.equal(torch.rand(3, generator=first), torch.rand(3, generator=again))
    True
    """
    if generator.device.type != "cpu":
        digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
        return generator.manual_seed(int.from_bytes(digest, "little") >> 1)
    state = _just_seeded().copy()
    state[STATE].view(np.uint64)[:] = np.frombuffer(hashlib.shake_256(key.encode()).digest(4 * WORDS), dtype="<u4")
    return generator.set_state(torch.from_numpy(state))


@cache
def _just_seeded() -> NDArray[np.uint8]:
    """The state of a seeded generator. Its counters say that all words are used up: the first draw mixes new ones."""
    state: NDArray[np.uint8] = torch.Generator().manual_seed(0).get_state().numpy()
    return state


def keyed_generator(key: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator in the state that ``key`` names."""
    return reseed(random_generator(device), key)


def keyed_seed(key: str) -> int:
    """A seed of 32 bits that ``key`` names, for other people's code: what a keyed generator calls its seed is always 0.

    >>> keyed_seed("one input") == keyed_seed("one input") != keyed_seed("another")
    True
    """
    return int.from_bytes(hashlib.shake_256(key.encode()).digest(4), "little")
