"""How much memory there is to spare, and the refusal of inputs that would take more."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from certify.errors import BadInput

__all__ = ["NoRoom", "check_room", "free_memory", "memory_of", "room"]


class NoRoom(BadInput):
    """Something takes more memory than there is to spare; it may be fine on a larger machine."""


ROOM = 0.25
"""Share of the free memory that foreign files may make us allocate: a short text can ask for a great deal."""

MEMINFO, GROUPS = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
"""Where Linux states the free memory, and the limit of a container (cgroups, version 2 or 1)."""

_GROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Files with limit, usage and statistics in either version, and the name of the usage that is only cache."""


def free_memory() -> int:
    """Bytes of memory that are free now: those of the machine, or of the container if its limit is lower."""
    return min([_free_of_machine(), *_free_of_groups()])


def memory_of(process: int | None) -> int:
    """Bytes that a process has filled and that no file holds; 0 where it has ended, or nobody says."""
    with contextlib.suppress(OSError, ValueError):
        _, resident, of_files, *_ = map(int, Path(f"/proc/{process}/statm").read_text().split())
        return (resident - of_files) * os.sysconf("SC_PAGE_SIZE")
    return 0


def room(share: float = ROOM) -> int:
    """Bytes that what somebody else wrote may take: a quarter of the free memory, or another share of it."""
    return int(share * free_memory())


def check_room(what: str, size: int, share: float = ROOM) -> None:
    """Refuse something that somebody else wrote and that takes too much memory, before anything is allocated for it.

    Args:
        what: names it in the message.
        size: bytes that it would take.
        share: the share of the free memory that it may take.

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
    """What is left of each limit that is set; cached files do not count as use."""
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
