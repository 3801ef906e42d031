"""A network is read once in a process, whichever modules and classifiers hold it."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Final

import torch
from torch import Tensor, nn

from certify.bounds.graph import Graph
from certify.bounds.importers.executed import calls_of
from certify.bounds.importers.torch_import import import_module
from certify.models.digest import module_digest

__all__ = ["read_once"]

MOST: Final = 2**28
"""Bytes of networks that are kept; those that nobody asked for longest give way."""


@dataclass(frozen=True, slots=True)
class _State:
    """All that tells whether a module computes what another one did, or the same one earlier.

    Args:
        shape, dtype, device: of an input.
        digest: of its structure, its code, its settings and its numbers.
        calls: a digest of the calls of one run. They show what else its code reads, such as a global variable.
    """

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    digest: str
    calls: str


_READ: OrderedDict[_State, Graph] = OrderedDict()
"""Networks that were read, those asked for last at the end."""

_LOCK: Final = Lock()
"""Of those: several threads may ask."""


def read_once(module: nn.Module, example_batch: Tensor, max_memory: int | None = None) -> Graph:
    """The graph of a module as :func:`import_module` reads it, or as it read an equal one before.

    Arguments and errors are those of :func:`import_module`. The graph holds copies of the module's numbers, which
    nobody changes: it is for claims, not for training.

    >>> layer, x = nn.Linear(2, 3), torch.zeros(1, 2)
    >>> graph = read_once(layer, x)
    >>> read_once(copy.deepcopy(layer), x) is graph
    True
    >>> _ = layer.weight.data.fill_(1.0)
    >>> read_once(layer, x) is graph
    False
    """
    state = _state(module, example_batch)
    with _LOCK:
        if state is not None and state in _READ:
            _READ.move_to_end(state)
            return _READ[state]
    graph = import_module(module, example_batch, max_memory)
    if state is None or _bytes(graph) > MOST:
        return graph
    graph = copy.deepcopy(graph)
    with _LOCK:
        _READ[state] = graph
        while sum(map(_bytes, _READ.values())) > MOST:
            _READ.popitem(last=False)
    return graph


def _state(module: nn.Module, example_batch: Tensor) -> _State | None:
    """The state of a module; None where it cannot be run."""
    shape, dtype, device = example_batch.shape[1:], example_batch.dtype, example_batch.device
    try:
        calls = calls_of(module, torch.zeros((1, *shape), dtype=dtype, device=device))
        run = hashlib.sha256(repr(calls).encode()).hexdigest()
        return _State(shape, dtype, device, module_digest(module), run)
    except Exception:  # the import says what is wrong
        return None


def _bytes(graph: Graph) -> int:
    held = {
        one.untyped_storage().data_ptr(): one.untyped_storage().nbytes()
        for node in graph.nodes
        for one in node.operator.tensors.values()
    }
    return sum(held.values())
