"""Random torch modules against their own float32 executions."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from adversary.claims import SHAPES, SIZES, broken_claim, drawn_box
from adversary.steps import Chain, grown
from certify.data.dataset import seeded_generator

__all__ = ["attempt", "executions"]


def attempt(seed: int) -> str | None:
    """One random module: None if every claim about it holds, otherwise what does not, in a sentence."""
    g = seeded_generator("adversary", "modules", seed)
    shape = SHAPES[int(g.integers(len(SHAPES)))]
    steps = grown(g, shape, int(g.integers(1, 6)), float(g.choice(SIZES)))
    if not steps:
        return None
    chain = Chain(steps).eval().requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = broken_claim(chain, drawn_box(g, shape), lambda points: executions(chain, points))
    return found and f"{chain.names}: {found}"


def executions(module: torch.nn.Module, points: Tensor) -> list[Tensor]:
    """Answers for a batch, for single rows, and for other memory: each takes other loops, and rounds otherwise."""
    strided = points.transpose(0, -1).contiguous().transpose(0, -1)
    return [module(points), torch.cat([module(row) for row in points.split(1)]), module(strided)]
