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
from certify.bounds.importers.shelf import named_shelf
from certify.bounds.importers.torch_import import import_module
from certify.bounds.rules.base import ATEN
from certify.models.digest import apart, integers, module_digest, structure_digest

__all__ = ["read_once"]

MOST: Final = 2**28
"""Bytes of networks that are kept; those that nobody asked for longest give way."""


@dataclass(frozen=True, slots=True)
class _State:
    """All that tells whether a module computes what another one did, or the same one earlier, except its numbers.

    Args:
        shape, dtype, device: of an input.
        structure: a digest of its structure, its code, its settings and what else it holds.
        calls: a digest of the calls of one run. They show what else its code reads, such as a global variable.
        sums: of the numbers, to tell most other networks of this structure apart.
        plugins: import rules that are not this package's own, which may read the same calls in another way.
    """

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    structure: str
    calls: str
    sums: tuple[int, ...]
    plugins: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """A network that was read, and copies of its numbers: nothing is faster, or surer, than to compare them all."""

    graph: Graph
    numbers: list[Tensor]

    @property
    def bytes(self) -> int:
        """What it holds in memory."""
        tensors = [tensor for node in self.graph.nodes for tensor in node.operator.tensors.values()]
        held = [tensor.untyped_storage() for tensor in tensors + self.numbers]
        return sum({one.data_ptr(): one.nbytes() for one in held}.values())


_READ: OrderedDict[_State, _Read] = OrderedDict()
"""Networks that were read, those asked for last at the end; of several in one state, the one that was read last."""

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
    state, numbers = _state(module, example_batch)
    with _LOCK:
        if state is not None and (known := _READ.get(state)) is not None:
            pairs = zip(known.numbers, numbers, strict=True)
            if all(torch.equal(one, other) for one, other in pairs):
                _READ.move_to_end(state)
                return known.graph
    if state is None or 2 * sum(one.nbytes for one in numbers) > MOST:
        return import_module(module, example_batch, max_memory)
    copies = [one.clone() for one in numbers]
    read = _Read(_from_shelf(state, module, example_batch, max_memory), copies)
    if read.bytes > MOST:
        return read.graph
    with _LOCK:
        _READ[state] = read
        while sum(one.bytes for one in _READ.values()) > MOST:
            _READ.popitem(last=False)
    return read.graph


def _from_shelf(state: _State, module: nn.Module, example_batch: Tensor, max_memory: int | None) -> Graph:
    """A copy of what the import gives, from the folder that the environment names if there is one."""
    if (folder := named_shelf()) is None or state.plugins:
        return copy.deepcopy(import_module(module, example_batch, max_memory))
    kind = f"{tuple(state.shape)} {state.dtype} {state.device}"
    place = folder.place(kind, state.calls, module_digest(module))
    if (graph := folder.get(place, state.device)) is None:
        graph = copy.deepcopy(import_module(module, example_batch, max_memory))
        folder.put(place, graph)
    return graph


def _state(module: nn.Module, example_batch: Tensor) -> tuple[_State | None, list[Tensor]]:
    """The state of a module, and its numbers as integers; None where it cannot be run."""
    shape, dtype, device = example_batch.shape[1:], example_batch.dtype, example_batch.device
    try:
        calls = calls_of(module, torch.zeros((1, *shape), dtype=dtype, device=device))
        run = hashlib.sha256(repr(calls).encode()).hexdigest()
        numbers = [integers(one) for _, one in sorted(apart(module).items())]
        sums = tuple(int(one.sum()) for one in numbers)
        plugins = tuple(rule for rule in ATEN.values() if not rule.__module__.startswith("certify.bounds.rules."))
        return _State(shape, dtype, device, structure_digest(module), run, sums, plugins), numbers
    except Exception:  # the import says what is wrong
        return None, []
