"""What a model costs under load, on the machine at hand: times and memory, which no statement is made from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from certify.core.stressed import Load
from certify.models.classifier import Classifier

__all__ = ["BATCHES", "loads"]

BATCHES: Final = (1, 8, 64, 256)

REPEATS: Final = 100
"""Batches that are timed at most."""

SECONDS: Final = 2.0
"""After so long, no further batch of a size is begun."""

FEWEST: Final = 5

_PROCESS: Final = Path("/proc/self")


def loads(classifier: Classifier, x: Tensor) -> tuple[Load, ...]:
    """Times and peak memory of the model for batches of each size, made of inputs x (n, ...) in turn."""
    found = []
    for size in BATCHES:
        batch = x[torch.arange(size) % len(x)]
        taken: list[float] = []
        classifier.predict(batch)  # what is made once is no part of the load
        with _peak(classifier.device) as peak:
            begin = time.perf_counter()
            while len(taken) < FEWEST or (len(taken) < REPEATS and time.perf_counter() - begin < SECONDS):
                start = time.perf_counter()
                classifier.predict(batch).cpu()
                taken.append(1000 * (time.perf_counter() - start))
        p50, p95, p99 = (float(one) for one in np.percentile(taken, (50, 95, 99), method="higher"))
        found.append(Load(size, len(taken), p50, p95, p99, 1000 * size / p50, peak[0]))
    return tuple(found)


@contextmanager
def _peak(device: torch.device) -> Iterator[list[int | None]]:
    """The largest memory inside, once it ends: of the accelerator, or of this process where Linux counts it."""
    found: list[int | None] = [None]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        found[0] = torch.cuda.max_memory_allocated(device)
        return
    try:
        (_PROCESS / "clear_refs").write_text("5")  # begins a new peak
        counted = True
    except OSError:
        counted = False
    yield found
    if counted:
        for line in (_PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                found[0] = 1024 * int(line.split()[1])
