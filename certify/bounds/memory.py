"""How much memory bounds may take, whatever the batch."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

import torch

from certify.bounds.graph import Graph
from certify.core.values import whole
from certify.errors import BadInput

__all__ = ["NoRoom", "check_memory", "check_room", "free_memory", "room", "samples_within"]


class NoRoom(BadInput):
    """What somebody else wrote takes more memory than there is to spare: it may be right, on a larger machine."""


KEPT = 12
"""Numbers kept for each entry of each result: two ends, planes, their errors, what they lean by, temporaries."""

SHARE = 0.5
"""The part of what is free that is taken without asking."""

ROOM = 0.25
"""The part that what somebody else wrote may make us take: a little text can ask for a great deal."""

MEMINFO, GROUPS = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
"""Where Linux says what is free, and what a container may take (cgroups, version 2 or 1)."""

_GROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Limit, usage and statistics of either version, and what the part is called that would be given up at once."""


def check_memory(max_memory: int | None) -> None:
    """Refuse a ``max_memory`` that is no number of bytes.

    Raises:
        BadInput: naming it.
    """
    if max_memory is not None and whole("max_memory", max_memory) < 1:
        raise BadInput(f"max_memory is in bytes and at least 1, got {max_memory}")


def free_memory() -> int:
    """Bytes of memory that could be had now: of the machine, or of the container if it may take less."""
    return min([_free_of_machine(), *_free_of_groups()])


def room() -> int:
    """Bytes that numbers which somebody else wrote may take: a quarter of what is free."""
    return int(ROOM * free_memory())


def check_room(what: str, size: int) -> None:
    """Refuse what somebody else wrote, before anything is allocated for it.

    Args:
        what: names it in the message.
        size: bytes that it would take.

    Raises:
        NoRoom: if that is more than :func:`room`.
    """
    if size > room():
        raise NoRoom(f"{what} takes {size:,} bytes, more than this machine has to spare for it")


def _free_of_machine() -> int:
    with contextlib.suppress(OSError, ValueError):
        return _field(MEMINFO, "MemAvailable:") * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 2**30


def _free_of_groups() -> list[int]:
    """What is left of the limits that are set; files that were read are no use of memory."""
    free = []
    for limit, usage, statistics, idle in _GROUP_FILES:
        try:
            most, used = (int((GROUPS / name).read_text()) for name in (limit, usage))
        except (OSError, ValueError):  # no such file; "max" where there is no limit
            continue
        with contextlib.suppress(OSError, ValueError):
            used -= _field(GROUPS / statistics, idle)
        free.append(max(0, most - used))
    return free


def _field(path: Path, name: str) -> int:
    """The first number in the line of a file that begins with a name."""
    for line in path.read_text().splitlines():
        first, _, number = line.partition(" ")
        if first == name:
            return int(number.split()[0])
    raise ValueError(name)


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
