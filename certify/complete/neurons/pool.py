"""The parts that wait to be split."""

from __future__ import annotations

import torch
from torch import Tensor

from certify.complete.neurons.parts import Parts

__all__ = ["Pool"]

BYTES = 2**30
"""What waiting parts may take before those that are nearly proven go first, which keeps their number down."""


class Pool:
    """Parts with their bounds, nodes of the tree, and where to split them."""

    def __init__(self) -> None:
        self.parts: Parts | None = None
        self.columns: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return 0 if self.parts is None else len(self.parts)

    def put(self, parts: Parts, lower: Tensor, nodes: Tensor, entries: Tensor, at: Tensor) -> None:
        """Add parts (b,)."""
        columns = lower, nodes, entries, at
        if self.parts is None:
            self.parts, self.columns = parts, columns
        else:
            self.parts = Parts.join([self.parts, parts])
            self.columns = tuple(torch.cat(pair) for pair in zip(self.columns, columns, strict=True))

    def take(self, count: int) -> tuple[Parts, Tensor, Tensor, Tensor]:
        """Remove parts, the furthest from proven first: their nodes, and the entries and values to split them at."""
        assert self.parts is not None
        full = len(self) * self.parts.shares.shape[1] > BYTES
        chosen = self.columns[0].topk(min(count, len(self)), largest=full).indices
        rest = torch.ones(len(self), dtype=torch.bool).index_fill(0, chosen, False)
        taken, columns = self.parts.of(chosen), tuple(column[chosen] for column in self.columns[1:])
        self.parts, self.columns = self.parts.of(rest), tuple(column[rest] for column in self.columns)
        nodes, entries, at = columns
        return taken.deep(int(taken.depth.max()) if len(taken) else 0), nodes, entries, at
