"""How much memory bounds may take, whatever the batch."""

from __future__ import annotations

import math

import torch

from certify.bounded.memory import NoRoom, free_memory
from certify.bounds.graph import Graph
from certify.bounds.rules.base import Affine
from certify.core.values import whole
from certify.errors import BadInput

__all__ = ["check_fits", "check_memory", "samples_within"]

KEPT = 12
"""Numbers kept for each entry of each result: two ends, planes, their errors, what they lean by, temporaries."""

PASS = 10
"""Numbers that a backward pass holds for each coefficient of its rows: what it reads, writes and weighs."""

LEAST = 2**27
"""Bytes that are taken whatever ``max_memory`` says: the libraries alone take more."""

WORK = 2**31
"""Multiply-adds of one operator on all samples at a time: about a second on one core, until somebody looks at a
deadline. More samples would be no faster."""

SHARE = 0.5
"""The part of what is free that is taken without asking."""


def check_memory(max_memory: int | None) -> None:
    """Refuse a ``max_memory`` that is no number of bytes.

    Raises:
        BadInput: naming it.
    """
    if max_memory is not None and whole("max_memory", max_memory) < 1:
        raise BadInput(f"max_memory is in bytes and at least 1, got {max_memory}")


def check_fits(graph: Graph, max_memory: int | None) -> None:
    """Refuse a network of which one sample cannot be bounded within ``max_memory`` bytes, before anything is allocated.

    Args:
        graph: the network.
        max_memory: None for half of what is free.

    Raises:
        NoRoom: with what it takes, about.
    """
    size = torch.finfo(graph.dtype).bits // 8
    needed = size * (KEPT * _entries(graph) + 2 * PASS * graph.widest)
    if needed > max(LEAST, _budget(max_memory)):
        limit = "half of what is free" if max_memory is None else f"max_memory = {max_memory / 2**20:,.0f} MB"
        raise NoRoom(
            f"bounding this network takes about {needed / 2**20:,.0f} MB for one input, which is more than {limit}: "
            "allow more, or use smoothing"
        )


def _budget(max_memory: int | None) -> int:
    return int(SHARE * free_memory()) if max_memory is None else max_memory


def _entries(graph: Graph) -> int:
    return sum(math.prod(shape) for shape in graph.shapes.values())


def samples_within(graph: Graph, max_memory: int | None) -> int:
    """How many samples can be bounded at a time within ``max_memory`` bytes, at least one.

    None stands for half of what is free. What a method keeps grows with the samples; the rows that it works on are cut
    into chunks of one size. One operator on all of them takes no more than :data:`WORK`. A power of two, so that a
    little more or less memory changes no group.

    >>> from certify.bounds.importers.torch_import import import_module
    >>> graph = import_module(torch.nn.Linear(1000, 10), torch.zeros(1, 1000))
    >>> samples_within(graph, 10_000_000)
    128
    """
    each = KEPT * _entries(graph) * torch.finfo(graph.dtype).bits // 8
    products = [math.prod(n.shape) * n.operator.forward_terms for n in graph.nodes if isinstance(n.operator, Affine)]
    most = min(_budget(max_memory) // each, WORK // max(1, *products, 1))
    return 2 ** max(0, int(math.log2(max(1, most))))
