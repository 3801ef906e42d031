"""Bound methods by name: one file in this package each."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from certify.bounds.backward import RowBounds
from certify.bounds.graph import Graph
from certify.bounds.memory import samples_within
from certify.bounds.region import Region
from certify.core.evidence import Claim
from certify.registry import Registry

__all__ = ["METHODS", "Method", "bounds_of_rows"]


class Method(Protocol):
    """Lower bounds of rows ``C y`` of a network's outputs over regions of inputs."""

    def __call__(self, graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact") -> RowBounds:
        """``C``: (B, rows, outputs), of the graph's dtype. Without a claim, rounding errors are not subtracted."""


METHODS: Registry[Method] = Registry("bound method", package="certify.bounds")


def bounds_of_rows(
    method: str, graph: Graph, region: Region, C: Tensor, *, claim: Claim | None, max_memory: int | None = None
) -> RowBounds:
    """What a method gives for a batch of any size, in parts that fit into memory.

    Args:
        method: name in :data:`METHODS`.
        graph, region, C, claim: as for every method.
        max_memory: bytes; None for half of what is free.
    """
    most = samples_within(graph, max_memory)
    parts = [slice(begin, begin + most) for begin in range(0, len(C), most)]
    return RowBounds.join([METHODS[method](graph, region.rows(part), C[part], claim=claim) for part in parts])
