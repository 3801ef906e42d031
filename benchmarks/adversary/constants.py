"""Constants shown at the output, as they are folded: files of stored numbers, and modules of parameters and numbers."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from adversary.claims import SHAPES, SIZES, broken_claim, drawn_box
from adversary.draft import Draft
from adversary.graphs import broken_file
from adversary.modules import executions
from adversary.steps import Chain, grown
from certify.data.dataset import seeded_generator

__all__ = ["attempt"]


class Shown(nn.Module):
    """An input beside what a chain makes of a parameter, which no input changes."""

    def __init__(self, chain: Chain, stored: Tensor) -> None:
        super().__init__()
        self.chain, self.stored = chain, nn.Parameter(stored, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Entries of the input, and the same constants beside each."""
        x = x.flatten(1)
        made = self.chain(self.stored)
        return torch.cat([x, made.expand(len(x), -1)], dim=1)


def attempt(seed: int) -> str | None:
    """Constants of one file or module: None if every claim about them holds, otherwise what does not."""
    g = seeded_generator("adversary", "constants", seed)
    return (_file if seed % 2 else _module)(g)


def _file(g: np.random.Generator) -> str | None:
    draft = Draft(g, int(g.integers(8, 23)), float(g.choice(SIZES)), (2,))
    leaves = ["x"]
    for _ in range(3):
        value = draft.numbers(1, *SHAPES[int(g.integers(len(SHAPES)))])
        for _ in range(int(g.integers(1, 4))):
            value = draft.grow(value)
        leaves.append(value)
    try:
        content = draft.content(leaves)
    except ValueError:
        return None
    return broken_file(content, drawn_box(g, (2,)))


def _module(g: np.random.Generator) -> str | None:
    shape, size = SHAPES[int(g.integers(len(SHAPES)))], float(g.choice(SIZES))
    steps = grown(g, shape, int(g.integers(1, 5)), size)
    stored = torch.as_tensor(np.clip(g.normal(size=(1, *shape)) * size, -3e38, 3e38), dtype=torch.float32)
    shown = Shown(Chain(steps), stored).eval().requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = broken_claim(shown, drawn_box(g, (2,)), lambda points: executions(shown, points))
    return found and f"{shown.chain.names} on a parameter: {found}"
