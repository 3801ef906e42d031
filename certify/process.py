"""Settings of a whole process: the command line makes them for itself; a script or notebook asks for them."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

__all__ = ["age", "began", "end_with_parent", "importing", "leave", "limit_memory", "out_of_memory", "tune_process"]

PR_SET_PDEATHSIG = 1
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
GIBIBYTE = 1 << 30


def tune_process() -> None:
    """Keep freed memory, and let idle threads sleep soon. Results do not depend on it; time may, by a factor of two.

    Call it once at the top of a script or notebook, best before torch is imported: threads take notice only then.

    By default glibc returns large temporaries at once, and every operation faults its pages in again: a small network
    ran at a third of its speed. And OpenMP's threads spin while they wait, which on a machine with other work made the
    same run three to five times slower; a short spin costs little on a quiet one. What the environment says goes first.

    >>> tune_process()
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, GIBIBYTE)
            mallopt(M_TRIM_THRESHOLD, GIBIBYTE)


@contextmanager
def importing() -> Iterator[None]:
    """Import large libraries inside: nobody looks for garbage in them, neither now nor when the process ends.

    For a process that lives for seconds: half a second of torch's two was that.

    >>> with importing():
    ...     import json
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def age(pid: int | None = None) -> float | None:
    """Seconds since a process was started, this one if None; None where Linux does not say.

    >>> (age() or 0.0) >= 0
    True
    """
    try:
        stat = Path(f"/proc/{'self' if pid is None else pid}/stat").read_text(encoding="utf-8", errors="replace")
        ticks = int(stat.rpartition(")")[2].split()[19])  # field 22 of proc(5): start time since boot
    except (OSError, ValueError, IndexError):
        return None
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def began() -> float:
    """When this process was started, on the clock of ``time.monotonic``; where Linux does not say, when it asks.

    >>> began() <= time.monotonic()
    True
    """
    return time.monotonic() - (age() or 0.0)


def leave(code: int) -> NoReturn:
    """End this process now, with everything printed: taking torch apart takes a tenth of a second, more when busy."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_with_parent(parent: int | None = None) -> None:
    """Let the kernel kill this process once the thread that started it is gone (Linux).

    Args:
        parent: the process that started this one, if known: should it be gone already, this one ends at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os._exit(1)


def limit_memory(more: int) -> None:
    """Let this process map at most so many bytes more (Linux): beyond, it gets an exception and is not killed."""
    if sys.platform == "linux":
        import resource

        mapped = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        limits = resource.getrlimit(resource.RLIMIT_AS)
        wanted = [mapped + more, *(limit for limit in limits if limit != resource.RLIM_INFINITY)]
        resource.setrlimit(resource.RLIMIT_AS, (min(wanted), limits[1]))


def out_of_memory(problem: BaseException) -> bool:
    """Whether an exception says that memory ran out. For a CPU torch has no class for that, only words.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("shape '[2]' is invalid"))
    (True, False)
    """
    said = str(problem)
    return isinstance(problem, MemoryError) or (
        isinstance(problem, RuntimeError) and any(words in said for words in _OUT_OF_MEMORY)
    )


_OUT_OF_MEMORY = "allocate memory", "not enough memory", "out of memory"
"""What torch says of a CPU, of both, and of an accelerator."""
