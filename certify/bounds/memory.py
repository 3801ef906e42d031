"""How much memory bounds may take, whatever the batch."""

from __future__ import annotations

import math

import torch

from certify.bounded.memory import free_memory
from certify.bounds.graph import Graph
from certify.core.values import whole
from certify.errors import BadInput

__all__ = ["check_memory", "samples_within"]

KEPT = 12
"""Numbers kept for each entry of each result: two ends, planes, their errors, what they lean by, temporaries."""

SHARE = 0.5
"""The part of what is free that is taken without asking."""


def check_memory(max_memory: int | None) -> None:
    """Refuse a ``max_memory`` that is no number of bytes.

    Raises:
        BadInput: naming it.
    """
    if max_memory is not None and whole("max_memory", max_memory) < 1:
        raise BadInput(f"max_memory is in bytes and at least 1, got {max_memory}")


def samples_within(graph: Graph, max_memory: int | None) -> int:
    """How many samples can be bounded at a time within ``max_memory`` bytes, at least one.

    None stands for half of what is free. What a method keeps grows with the samples; the rows that it works on are cut
    into chunks of one size. A power of two, so that a little more or less memory changes no group.

    >>> from certify.bounds.importers.torch_import import import_module
    >>> graph = import_module(torch.nn.Linear(1000, 10), torch.zeros(1, 1000))
    >>> samples_within(graph, 10_000_000)
    128
    """
    entries = sum(math.prod(shape) for shape in graph.shapes.values())
    each = KEPT * entries * torch.finfo(graph.dtype).bits // 8
    budget = int(SHARE * free_memory()) if max_memory is None else max_memory
    return 2 ** max(0, int(math.log2(max(1, budget // each))))
