"""What a module computes beyond its layers' own code: hooks, methods put in place, values held out of sight."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
import operator
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeGuard, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from certify.errors import ModelError

__all__ = [
    "FUNCTIONS",
    "attributes",
    "code_of",
    "hooks",
    "is_plain",
    "methods",
    "ours",
    "refuse_global_hooks",
    "source_of",
    "unchanged_by_hand",
]

M = TypeVar("M", bound=nn.Module)

PLAIN: Final = (bool, int, float, str, tuple, list, type(None))
"""Types whose ``repr`` says all, if what they hold is of these types as well."""

FUNCTIONS: Final = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)
"""Forms of functions that can be taken apart; other callables are objects of some class."""

_INTERNAL: Final = frozenset(vars(nn.Module()))
_GLOBAL: Final = ("_global_forward_pre_hooks", "_global_forward_hooks")
_TORCH: Final = str(Path(torch.__file__).parent)
_STATED: Final = {1: nn.functional.relu, 2: nn.functional.gelu}
"""Functions in torch's transformer layers that a plain attribute names already."""
_HARMLESS: Final = frozenset({"__init__", "__repr__", "__eq__", "__hash__", "__doc__"})


def refuse_global_hooks() -> None:
    """Refuse hooks that torch runs around every module: no module shows them, so no digest could.

    Raises:
        ModelError: if there are any.
    """
    if any(getattr(torch_module, name) for name in _GLOBAL):
        raise ModelError(
            "a forward hook is registered for all modules (torch.nn.modules.module.register_module_forward_hook or "
            "..._pre_hook) and may change what every model answers: remove it, or register it on the model itself"
        )


def hooks(module: nn.Module) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The hooks around one module's forward pass in the order in which torch runs them, each with its kind.

    >>> layer = nn.ReLU()
    >>> handle = layer.register_forward_hook(lambda module, inputs, output: -output)
    >>> [kind for kind, hook in hooks(layer)]
    ['forward hook']
    """
    for kind, held, keywords in (
        ("forward pre-hook", module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs),
        ("forward hook", module._forward_hooks, module._forward_hooks_with_kwargs),
    ):
        for number, hook in held.items():
            yield f"{kind} with keywords" if number in keywords else kind, hook


def unchanged_by_hand(module: nn.Module, kind: type[M]) -> TypeGuard[M]:
    """Whether calling ``module`` runs the code of ``kind`` and nothing else: no subclass, hook or method put in."""
    own = any(callable(value) for name, value in vars(module).items() if name not in _INTERNAL)
    return type(module) is kind and not own and not any(hooks(module)) and not any(methods(kind))


def is_plain(value: object) -> bool:
    """Whether the ``repr`` of a value says all that it is."""
    if isinstance(value, (tuple, list)):
        return all(map(is_plain, value))
    return isinstance(value, PLAIN)


def attributes(module: nn.Module) -> dict[str, object]:
    """What one module holds in attributes, beside what a list of its public plain ones shows, tensors and submodules.

    That is functions, containers of anything, settings objects and arrays; of a class from outside torch, the plain
    values in private attributes as well. Other objects are left out: loggers and clocks would be among them.
    """
    own = ours(type(module))
    return {
        name: value
        for name, value in vars(module).items()
        if name not in _INTERNAL
        and not isinstance(value, Tensor)
        and not (is_plain(value) and not name.startswith("_"))
        and (isinstance(value, FUNCTIONS) or ((own or not name.startswith("_")) and _telling(value, own)))
        and value is not _STATED.get(getattr(module, "activation_relu_or_gelu", 0))
    }


def _telling(value: object, own: bool) -> bool:
    if isinstance(value, FUNCTIONS):
        return True
    if isinstance(value, (tuple, list)):
        return is_plain(value) or any(_telling(one, own) or isinstance(one, Tensor | nn.Module) for one in value)
    settings = isinstance(value, Mapping | set | frozenset | types.SimpleNamespace | argparse.Namespace)
    arrays = isinstance(value, np.ndarray | np.generic | torch.dtype)
    return own and (settings or arrays or is_plain(value) or dataclasses.is_dataclass(value) or callable(value))


def ours(kind: type) -> bool:
    """Whether a class comes from outside torch and this package, so that its version says nothing about its code."""
    return kind.__module__.partition(".")[0] not in ("torch", "certify")


_CODE: Final[dict[type, tuple[list[object], bytes, list[tuple[str, object]]]]] = {}
"""The code of classes, with what it was read from; up to CLASSES of them, which cannot be freed meanwhile."""

CLASSES: Final = 256


def code_of(kind: type) -> tuple[bytes, list[tuple[str, object]]]:
    """The source of a class from outside torch, and its :func:`methods`; read once, until an attribute is replaced.

    Reading sources takes milliseconds, comparing what a class holds takes microseconds.
    """
    bodies = list(_bodies(kind))
    known = _CODE.get(kind)
    if known is None or len(known[0]) != len(bodies) or not all(map(operator.is_, known[0], bodies)):
        own = kind.__module__.partition(".")[0] != "torch"
        if len(_CODE) >= CLASSES:
            _CODE.clear()
        _CODE[kind] = known = bodies, source_of(kind).encode() if own else b"", list(methods(kind))
    return known[1], known[2]


def _bodies(kind: type) -> Iterator[object]:
    """All that a class and those that it inherits from hold, and the code of functions among that."""
    for base in kind.__mro__[:-1]:
        yield base
        for held in vars(base).values():
            yield held
            if type(held) is types.FunctionType:
                yield held.__code__
            else:
                yield from [function.__code__ for function in _functions(held)]


def methods(kind: type) -> Iterator[tuple[str, object]]:
    """Code that runs in objects of a class and that the class's own source does not show, by name.

    The source of further classes that it inherits from, and methods that were put in place of others:
    ``Net.forward = patched``, for Net and for torch's own classes alike.
    """
    for base in kind.__mro__[:-1]:
        from_torch = base.__module__.startswith("torch.")
        text = "" if from_torch else source_of(base)
        if base is not kind and ours(base):
            yield base.__qualname__, text
        for name, held in vars(base).items():
            for function in () if name in _HARMLESS else _functions(held):
                code = function.__code__  # not the function: a decorator may name another one as its source
                shown = code.co_filename.startswith(_TORCH) if from_torch else source_of(code) in text
                if not (shown and (from_torch or source_of(code))):
                    yield f"{base.__qualname__}.{name}", function


def _functions(held: object) -> list[types.FunctionType]:
    parts = [held, *(getattr(held, part, None) for part in ("__func__", "fget", "func"))]
    return [part for part in parts if isinstance(part, types.FunctionType)]


def source_of(thing: object) -> str:
    """The source text of a class, function or code object; empty where there is none."""
    try:
        return inspect.getsource(thing)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""
