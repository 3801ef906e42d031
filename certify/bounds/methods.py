"""The registry of bound methods, and their application to batches of any size."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from certify.bounds.backward import RowBounds
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph
from certify.bounds.memory import check_fits, samples_within
from certify.bounds.region import Region
from certify.core.evidence import Claim
from certify.registry import Registry

__all__ = ["METHODS", "Method", "bounds_of_rows"]


class Method(Protocol):
    """Lower bounds of rows ``C y`` of a network's outputs over regions of inputs."""

    def __call__(
        self, graph: Graph, region: Region, C: Tensor, *, claim: Claim | None = "exact", deadline: Deadline = NEVER
    ) -> RowBounds:
        """Bound ``C y`` for C (B, rows, outputs) of the graph's dtype. Without a claim, rounding errors are ignored.

        Raises:
            OutOfTime: soon after the deadline passed, which is checked between any two operators.
        """


METHODS: Registry[Method] = Registry("bound method", package="certify.bounds")


def bounds_of_rows(
    method: str | Method,
    graph: Graph,
    region: Region,
    C: Tensor,
    *,
    claim: Claim | None,
    max_memory: int | None = None,
    deadline: Deadline = NEVER,
    in_turn: bool = False,
) -> RowBounds:
    """Apply a method to a batch of any size, in parts that fit into memory.

    Args:
        method: a method, or its name in :data:`METHODS`.
        graph, region, C, claim: as for every method.
        max_memory: bytes; None for half of what is free.
        deadline: when to give up.
        in_turn: whether each part has a share of the time, rather than as much as the parts before it left.

    Raises:
        NoRoom: where one sample alone takes more memory.
        OutOfTime: once the deadline passed.
    """
    check_fits(graph, max_memory, C.device)
    most, bound = samples_within(graph, max_memory, C.device), METHODS[method] if isinstance(method, str) else method
    found = []
    for begin in range(0, len(C), most):
        part, share = slice(begin, begin + most), min(1.0, most / (len(C) - begin))
        limit = deadline.part(share) if in_turn else deadline
        found.append(bound(graph, region.rows(part), C[part], claim=claim, deadline=limit))
    return RowBounds.join(found)
