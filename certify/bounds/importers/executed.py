"""Check that a traced program makes the same calls as the module makes when it is run.

``torch.export`` runs the module's Python code once, on tensors without values. Code can detect this
(``torch.compiler.is_compiling()``, the type of a tensor, a counter in an attribute) and compute something else.
Comparing answers would miss that if it makes no difference on the compared inputs.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from certify.errors import ModelError
from certify.models.digest import apart, integers

__all__ = ["calls_of", "check_executed", "without_fast_path"]


def check_executed(module: nn.Module, program: ExportedProgram, example: Tensor) -> None:
    """Compare the calls of two runs of a module and of its program one by one, with all arguments.

    Arguments that do not depend on the input are compared by value, however they were computed. The module is not
    changed.

    Args:
        module, program: a module and what ``torch.export`` made of it.
        example: a batch (B, ...) of the size that was traced.

    Raises:
        ModelError: naming the first call that differs.

    >>> layer, x = nn.Linear(2, 3), torch.zeros(1, 2)
    >>> check_executed(layer, torch.export.export(layer, (x,)), x)
    """
    own = _copy(module)
    first, second = _calls(own, example), _calls(own, example)
    for run, traced, advice in (
        (first, second, "the second time it is run; look for state that changes between calls"),
        (first, _calls(program.module(), example), "when torch.export traces it; look for code that asks which it is"),
    ):
        if run != traced:
            place = next((i for i, (a, b) in enumerate(zip(run, traced, strict=False)) if a != b), None)
            place = min(len(run), len(traced)) if place is None else place
            names = [run[place][0] if place < len(run) else "nothing" for run in (run, traced)]
            told = "with other numbers" if names[0] == names[1] else f"{names[1]} instead"
            raise ModelError(f"the model calls {names[0]} when it is run, and {told} {advice}, or use smoothing")


def calls_of(module: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """The calls of one run of a module, each with its arguments, and what it returns; the module is not changed.

    Tensors that stand :func:`~certify.models.digest.apart` are named instead of hashed, where they hold what they held
    before the run: whoever compares calls compares their numbers as well. The last entry names everything that the
    module's code asked of tensors, with what is no call, such as ``x.numpy()``.

    >>> calls_of(nn.Sequential(nn.Flatten(), nn.ReLU()), torch.zeros(1, 2, 2))[0][0]
    'aten.relu.default'
    """
    own, asked = _copy(module), _Asked()
    calls = _calls(own, example, asked, apart(own))
    return [*calls, ("asked", " ".join(asked.names))]


def _copy(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module, {id(one): one for one in module.parameters()})


@contextlib.contextmanager
def without_fast_path() -> Iterator[None]:
    """Run attention operator by operator, as torch.export traces it, instead of with torch's fused kernel."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _calls(
    function: Callable[[Tensor], Any],
    example: Tensor,
    around: contextlib.AbstractContextManager[Any] = contextlib.nullcontext(),  # noqa: B008
    named: Mapping[str, Tensor] = MappingProxyType({}),
) -> list[tuple[str, str]]:
    x = example.clone()
    with torch.no_grad(), without_fast_path(), _Calls(x, named) as seen, around:
        out = function(x)
    return [*seen.calls, ("return", str(tree_map(seen.known, out)))]


class _Asked(TorchFunctionMode):
    """Records the name of everything that Python code asks of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(getattr(func, "__name__", type(func).__name__))
        return func(*args, **(kwargs or {}))


class _Calls(TorchDispatchMode):
    """Records each call on tensors that depend on the input: its operator, and its arguments in a comparable form.

    Calls that only make views or assertions are left out; views are recorded where they are used.
    """

    def __init__(self, x: Tensor, named: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []
        self.named = {_memory(one): (name, integers(one), integers(one).clone()) for name, one in named.items()}
        self.made: dict[int, int] = {}
        self.held: list[Tensor] = []  # kept alive, so that an address of memory identifies one tensor
        self._made(x)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # saying to torch's compiler to leave this alone would load it, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = args, kwargs or {}
        if not any(_memory(one) in self.made for one in _tensors(given)):
            return func(*args, **(kwargs or {}))
        known = str(tree_map(self.known, given))
        result = func(*args, **(kwargs or {}))
        schema, fresh = func._schema, [one for one in _tensors(result) if _memory(one) not in self.made]
        if fresh or schema.is_mutable:
            self.calls.append((str(func), known))
            values = dict(zip((one.name for one in schema.arguments), args, strict=False)) | (kwargs or {})
            overwritten = [one.name for one in schema.arguments if one.alias_info and one.alias_info.is_write]
            for one in fresh + _tensors([values.get(name) for name in overwritten]):
                self._made(one)
        return result

    def _made(self, one: Tensor) -> None:
        self.held.append(one)
        self.made[_memory(one)] = len(self.calls)

    def known(self, one: Any) -> Any:
        """A tensor as the call that wrote its memory plus the view of it; a constant as a hash of its values."""
        if not isinstance(one, Tensor):
            return one
        maker = self.made.get(_memory(one))
        if maker is not None:
            return maker, one.storage_offset(), one.stride(), one.shape, one.dtype
        self.held.append(one)
        name, now, before = self.named.get(_memory(one), ("", one, None))
        if before is not None and torch.equal(now, before):
            return name, one.storage_offset(), one.stride(), one.shape, one.dtype, one.is_conj(), one.is_neg()
        numbers = one.detach().resolve_conj().resolve_neg().contiguous().cpu().reshape(-1).view(torch.uint8)
        return hashlib.blake2b(numbers.numpy().tobytes()).hexdigest(), one.shape, one.dtype


def _tensors(values: Any) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor)]


def _memory(one: Tensor) -> int:
    return one.untyped_storage()._cdata
