"""Memory limits for bounds, independent of the batch size."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final

import torch

from certify.bounded.memory import NoRoom
from certify.bounds.graph import Graph
from certify.bounds.rules.base import Affine
from certify.core.values import whole
from certify.device import free_memory
from certify.errors import BadInput
from certify.registry import Reader

__all__ = ["Bytes", "amount", "budget", "check_fits", "check_memory", "samples_within"]

KEPT = 14
"""Numbers kept for each entry of each result: two ends, planes, their gap and errors, leans, a point, temporaries."""

DEVIATIONS = 6
"""The same for deviations in float32: a point, what it is off by, planes, their gap and errors."""

PASS = 10
"""Numbers that a backward pass holds for each coefficient of its rows: read, written and weighed."""

LEAST_BYTES = 2**27
"""Never refused, whatever ``max_memory`` says: the libraries alone take more."""

WORK = 2**31
"""The most multiply-adds of one operator on all samples at a time: about a second on one core between two checks of a
deadline. More samples at a time would not be faster."""

SHARE = 0.5
"""The share of free memory that is used by default."""


_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_AMOUNT: Final = re.compile(r"([0-9]+)([KMG]?)", re.ASCII)


def amount(key: str, value: Any) -> int:
    """A number of bytes from a whole number, or from text with K, M or G behind it; ``key`` is what a message calls it.

    Raises:
        BadInput: for anything else.

    >>> amount("max-memory", "4G") == 4 * amount("max-memory", 2**30)
    True
    """
    if not isinstance(value, str):
        return whole(key, value)
    plain = _AMOUNT.fullmatch(value.strip())
    if plain is None:
        raise BadInput(f"{key} must be a whole number of bytes, or of K, M or G (2**30), for example 4G, got {value!r}")
    return int(plain[1]) * _UNITS[plain[2]]


Bytes = Annotated[int, Reader(amount)]
"""A number of bytes, in settings that may be written with K, M or G."""


def check_memory(max_memory: int | None) -> None:
    """Refuse a ``max_memory`` that is no number of bytes.

    Raises:
        BadInput: naming it.
    """
    if max_memory is not None and whole("max_memory", max_memory) < 1:
        raise BadInput(f"max_memory is in bytes and at least 1, got {max_memory}")


def check_fits(graph: Graph, max_memory: int | None, device: torch.device) -> None:
    """Refuse a network if bounding one sample takes more than ``max_memory`` bytes, before anything is allocated.

    Args:
        graph: the network.
        max_memory: None for half of what is free.
        device: where that is.

    Raises:
        NoRoom: with an estimate of what it takes.
    """
    size = torch.finfo(graph.dtype).bits // 8
    needed = size * (_kept(graph) + 2 * PASS * graph.widest)
    if needed > max(LEAST_BYTES, budget(max_memory, device)):
        limit = "half of what is free" if max_memory is None else f"max_memory = {max_memory / 2**20:,.0f} MB"
        raise NoRoom(
            f"bounding this network takes about {needed / 2**20:,.0f} MB for one input, which is more than {limit}: "
            "allow more, or use smoothing"
        )


def budget(max_memory: int | None, device: torch.device) -> int:
    """Bytes that may be used on a device: ``max_memory``, or half of what is free there."""
    return int(SHARE * free_memory(device)) if max_memory is None else max_memory


def _kept(graph: Graph) -> int:
    entries = sum(math.prod(shape) for shape in graph.shapes.values())
    return (KEPT if graph.narrow is None else KEPT + DEVIATIONS) * entries


def samples_within(graph: Graph, max_memory: int | None, device: torch.device) -> int:
    """How many samples to bound at a time within ``max_memory`` bytes (None for half of what is free), at least one.

    Boxes and planes grow with the samples, while rows are processed in chunks of fixed size. One operator on all
    samples takes at most :data:`WORK`. The result is a power of two, so that a little more or less free memory does not
    change how samples are grouped.

    >>> from certify.bounds.importers.torch_import import import_module
    >>> graph = import_module(torch.nn.Linear(1000, 10), torch.zeros(1, 1000))
    >>> samples_within(graph, 10_000_000, torch.device("cpu"))
    128
    """
    each = _kept(graph) * torch.finfo(graph.dtype).bits // 8
    products = [math.prod(n.shape) * n.operator.forward_terms for n in graph.nodes if isinstance(n.operator, Affine)]
    most = min(budget(max_memory, device) // each, WORK // max(1, *products, 1))
    return 2 ** max(0, int(math.log2(max(1, most))))
