"""Bound methods by name: one file in this package each."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from certify.bounds.backward import RowBounds
from certify.bounds.graph import Graph
from certify.bounds.region import Region
from certify.core.evidence import Claim
from certify.registry import Registry

__all__ = ["METHODS", "Method"]


class Method(Protocol):
    """Lower bounds of rows ``C y`` of a network's outputs over regions of inputs."""

    def __call__(self, graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact") -> RowBounds:
        """``C``: (B, rows, outputs), of the graph's dtype. Without a claim, rounding errors are not subtracted."""


METHODS: Registry[Method] = Registry("bound method", package="certify.bounds")
