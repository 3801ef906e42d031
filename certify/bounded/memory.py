"""How much memory there is to spare, and what that much is refused."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from certify.errors import BadInput

__all__ = ["NoRoom", "check_room", "free_memory", "room"]


class NoRoom(BadInput):
    """Something takes more memory than there is to spare: it may be right, on a larger machine."""


ROOM = 0.25
"""The part of what is free that what somebody else wrote may make us take: a little text can ask for a great deal."""

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


def free_memory() -> int:
    """Bytes of memory that could be had now: of the machine, or of the container if it may take less."""
    return min([_free_of_machine(), *_free_of_groups()])


def room(share: float = ROOM) -> int:
    """Bytes that numbers which somebody else wrote may take: a quarter of what is free, or another share of it."""
    return int(share * free_memory())


def check_room(what: str, size: int, share: float = ROOM) -> None:
    """Refuse what somebody else wrote, before anything is allocated for it.

    Args:
        what: names it in the message.
        size: bytes that it would take.
        share: the part of what is free that it may take.

    Raises:
        NoRoom: if that is more than :func:`room`.
    """
    if size > (spare := room(share)):
        raise NoRoom(f"{what} takes {size:,} bytes, more than this machine has to spare for it: {spare:,}")


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
