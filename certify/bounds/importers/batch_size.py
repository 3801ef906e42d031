"""Whether what a module computes depends on how many inputs it is given at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves

from certify.errors import ModelError, one_line

__all__ = ["check_batch_size"]

SIZES: Final = (1, 2, 3)

SHAPED: Final = frozenset(
    "view reshape expand broadcast_to unflatten repeat tile as_strided zeros ones empty new_zeros new_ones new_empty "
    "randn rand".split()
)
"""Functions whose numbers say how large a tensor is: a batch of another size has other ones."""

FILLED: Final = frozenset({"full", "new_full"})
"""Functions of which only the first argument says that."""


@dataclass(frozen=True, slots=True)
class _Called:
    """A function with the numbers it was given, and how many entries the tensors have that it reads and makes."""

    name: str
    numbers: tuple[object, ...]
    read: tuple[int, ...]
    made: tuple[int, ...]


class _Log(TorchFunctionMode):
    """Writes down every function of torch that is called while it is on, and makes a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_Called] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if results := _entries(made):
            name = resolve_name(func) or str(func)
            last = name.rpartition(".")[2]
            filled = last in FILLED
            rest = {key: one for key, one in kwargs.items() if not (filled and key == "size")}
            numbers = () if last in SHAPED else tree_leaves((args[filled and "size" not in kwargs :], rest))
            self.calls.append(
                _Called(
                    name,
                    tuple(str(one) for one in numbers if not isinstance(one, Tensor)),
                    _entries((args, kwargs)),
                    results,
                )
            )
        return made


def _entries(values: object) -> tuple[int, ...]:
    return tuple(one.numel() for one in tree_leaves(values) if isinstance(one, Tensor))


def check_batch_size(module: nn.Module, example_batch: Tensor) -> None:
    """Refuse a module that calls other functions, or with other numbers, on batches of another size.

    A program that was traced with one size has that size written into it.

    Raises:
        ModelError: naming the first call that differs.

    >>> class ByCount(nn.Module):
    ...     def forward(self, x):
    ...         return x * len(x)
    >>> check_batch_size(ByCount(), torch.zeros(1, 2))
    Traceback (most recent call last):
    ...
    certify.errors.ModelError: what the model computes depends on how many inputs are in a batch (torch.Tensor.mul): ...
    """
    logs = []
    for size in SIZES:
        own = copy.deepcopy(module)
        x = torch.zeros((size, *example_batch.shape[1:]), dtype=example_batch.dtype, device=example_batch.device)
        try:
            with torch.no_grad(), _Log() as log:
                own(x)
        except Exception as problem:  # somebody else's code may raise anything
            raise ModelError(f"the model refuses a batch of shape {tuple(x.shape)}: {one_line(problem)}") from problem
        logs.append(log.calls)
    longest = max(logs, key=len)
    for place, called in enumerate(longest):
        if not (all(len(log) > place for log in logs) and _same([log[place] for log in logs])):
            raise ModelError(
                f"what the model computes depends on how many inputs are in a batch ({called.name}): write it for one "
                "input at a time, or use smoothing"
            )


def _same(calls: Sequence[_Called]) -> bool:
    """Whether calls on batches of :data:`SIZES` are the same, and make as many entries for each input as they read."""
    first = calls[0]
    if any((one.name, one.numbers) != (first.name, first.numbers) for one in calls):
        return False
    reads, makes = (
        list(map(_by_input, _beside(each))) for each in zip(*((one.read, one.made) for one in calls), strict=True)
    )
    return None not in (*reads, *makes) and (not any(reads) or all(makes))


def _beside(counts: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Tensor by tensor; all together where there is one for each input."""
    if len(set(map(len, counts))) > 1:
        return [tuple(map(sum, counts))]
    return list(zip(*counts, strict=True))


def _by_input(counts: tuple[int, ...]) -> bool | None:
    """Whether entries belong to the inputs of a batch, False if they are as many in each, None if they are neither."""
    if len(set(counts)) == 1:
        return False
    return True if counts == tuple(counts[0] * size for size in SIZES) else None
