"""A module that has not changed since it was read is not read again."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from certify.bounds.graph import Graph
from certify.bounds.importers.executed import calls_of
from certify.bounds.importers.torch_import import import_module
from certify.models.digest import all_tensors, module_digest

__all__ = ["read_once"]


@dataclass(frozen=True, slots=True)
class _State:
    """All that tells whether a module still computes what it did.

    Args:
        digest: of its structure, its code, its settings and its numbers.
        calls: of one run. They show what else its code reads, such as a global variable.
    """

    digest: str
    calls: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """What was read from a module, how it was then, and its tensors, which the graph may hold: not their copies."""

    example: tuple[torch.Size, torch.dtype, torch.device]
    state: _State
    tensors: dict[str, Tensor]
    graph: Graph


_READ: WeakKeyDictionary[nn.Module, _Read] = WeakKeyDictionary()
"""What was last read from each module that still exists."""


def read_once(module: nn.Module, example_batch: Tensor, max_memory: int | None = None) -> Graph:
    """The graph of a module as :func:`import_module` reads it, or the one that it read before.

    Arguments and errors are those of :func:`import_module`. The graph is for claims, not for training: it may hold
    numbers that follow from parameters.

    >>> layer, x = nn.Linear(2, 3), torch.zeros(1, 2)
    >>> graph = read_once(layer, x)
    >>> read_once(layer, x) is graph
    True
    >>> _ = layer.weight.data.fill_(1.0)
    >>> read_once(layer, x) is graph
    False
    """
    like = example_batch.shape[1:], example_batch.dtype, example_batch.device
    state, tensors, before = _state(module, example_batch), all_tensors(module), _READ.get(module)
    if before is not None and before.example == like and before.state == state and _same(before.tensors, tensors):
        return before.graph
    graph = import_module(module, example_batch, max_memory)
    if state is not None:
        _READ[module] = _Read(like, state, tensors, graph)
    return graph


def _state(module: nn.Module, example_batch: Tensor) -> _State | None:
    """The state of a module; None where it cannot be run."""
    example = torch.zeros((1, *example_batch.shape[1:]), dtype=example_batch.dtype, device=example_batch.device)
    try:
        return _State(module_digest(module), tuple(calls_of(module, example)))
    except Exception:  # the import says what is wrong
        return None


def _same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(one[name] is two[name] for name in one)
