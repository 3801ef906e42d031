"""How much memory bounds may take, whatever the batch."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

from certify.bounds.graph import Graph

__all__ = ["free_memory", "samples_within"]

KEPT = 12
"""Numbers kept for each entry of each result: two ends, planes, their errors, what they lean by, temporaries."""

SHARE = 0.5
"""The part of what is free that is taken without asking."""


def free_memory() -> int:
    """Bytes of memory that could be had now, as the system says."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 2**30


def samples_within(graph: Graph, max_memory: int | None) -> int:
    """How many samples can be bounded at a time within ``max_memory`` bytes, at least one.

    None stands for half of what is free. What a method keeps grows with the samples; the rows that it works on are cut
    into chunks of one size. A power of two, so that a little more or less memory changes no group.

    >>> from certify.bounds.torch_import import import_module
    >>> graph = import_module(torch.nn.Linear(1000, 10), torch.zeros(1, 1000))
    >>> samples_within(graph, 10_000_000)
    128
    """
    entries = sum(math.prod(shape) for shape in graph.shapes.values())
    each = KEPT * entries * torch.finfo(graph.dtype).bits // 8
    budget = int(SHARE * free_memory()) if max_memory is None else max_memory
    return 2 ** max(0, int(math.log2(max(1, budget // each))))
