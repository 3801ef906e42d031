"""A digest that pins the model a claim is about."""

from __future__ import annotations

import hashlib
import io
import pickle
import types
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from certify.models.overrides import FUNCTIONS, attributes, code_of, hooks, ours, source_of

__all__ = [
    "all_tensors",
    "apart",
    "function_digest",
    "integers",
    "module_digest",
    "structure_digest",
    "tensor_bytes",
    "weights_digest",
]


def module_digest(module: nn.Module) -> str:
    """SHA-256 over a module's structure, the source of its own classes, and every tensor it holds.

    Layers are named by class and plain attributes (stride, padding, eps, ...); classes from outside torch add their
    source text, because the same weights under another ``forward`` are another model. So do hooks around the forward
    pass with what they hold, methods put in place of a class's own, functions and settings in attributes, compiled
    TorchScript, and weights packed for int8. What code reads from elsewhere (a global, a file) is not covered.
    """
    return _module_digest(module, frozenset())


def structure_digest(module: nn.Module) -> str:
    """The same for a comparison within this process: of the tensors that stand :func:`apart`, how they lie in memory.

    Two modules with equal structures and equal numbers in those tensors have equal digests.
    """
    return _module_digest(module, frozenset(), frozenset(map(id, apart(module).values())))


def _module_digest(module: nn.Module, seen: frozenset[int], elsewhere: frozenset[int] = frozenset()) -> str:
    digest, seen = hashlib.sha256(), seen | {id(module)}
    code: dict[type, tuple[bytes, list[tuple[str, object]]]] = {}  # of a class, however many layers are of it
    for name, child in module.named_modules():
        kind = type(child)
        if kind not in code:
            code[kind] = code_of(kind)
        source, replaced = code[kind]
        digest.update(f"{name}:{kind.__module__}.{kind.__qualname__}({_settings(child)})\n".encode())
        digest.update(source)
        for label, value in _beyond(child, replaced):
            digest.update(f"{label}\n".encode() + _content(value, seen))
    tensors = all_tensors(module)
    for name, tensor in sorted(tensors.items()):
        if id(tensor) in elsewhere:
            digest.update(
                f"{name}:{tensor.dtype}:{tuple(tensor.shape)}{tensor.stride()}{tensor.storage_offset()}{tensor.device}\n".encode()
            )
        else:
            digest.update(f"{name}:".encode() + _numbers(tensor))
    known = {id(tensor) for tensor in tensors.values()}
    for name, value in sorted(module.state_dict(keep_vars=True).items()):
        if id(value) not in known:  # packed for int8, or a state of the module's own making
            digest.update(f"saved {name}\n".encode() + _content(value, seen))
    return digest.hexdigest()


def _beyond(module: nn.Module, replaced: list[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    """What one module runs or reads beside its class's own code, plain attributes and tensors; usually nothing."""
    yield from hooks(module)
    yield from replaced
    if isinstance(module, torch.jit.ScriptModule):
        with zipfile.ZipFile(io.BytesIO(module.save_to_buffer())) as archive:
            names = sorted(name for name in archive.namelist() if not name.endswith(".debug_pkl"))  # paths of sources
            yield "TorchScript", [(name, archive.read(name)) for name in names]
    else:
        yield from sorted(attributes(module).items())


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over a module's parameters, saved buffers and hooks: what no forward pass in eval mode changes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(f"{name}:".encode() + _numbers(tensor))
    for name, child in module.named_modules():
        own = [child.forward] if "forward" in vars(child) and not isinstance(child, torch.jit.ScriptModule) else []
        for value in [*(hook for _, hook in hooks(child)), *own]:
            digest.update(f"{name}: {id(value)}".encode())
    return digest.hexdigest()


def tensor_bytes(tensor: Tensor) -> bytes:
    """A tensor's numbers in row-major order, whatever its strides.

    >>> tensor_bytes(torch.tensor([1, 2, 3], dtype=torch.uint8)[::2])
    b'\\x01\\x03'
    """
    # A copy: torch calls a single number contiguous whatever its stride, but does not view it as bytes then.
    values = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return values.reshape(-1).view(torch.uint8).numpy().tobytes()


def all_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Every tensor that a module holds by name: parameters, buffers (saved or not), and plain attributes."""
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, child in module.named_modules():
        for attribute, value in vars(child).items():
            if isinstance(value, Tensor):
                tensors[f"{name}.{attribute}"] = value
    return tensors


def apart(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of :func:`all_tensors` that are plain numbers, as many as their memory holds."""
    return {
        name: tensor
        for name, tensor in all_tensors(module).items()
        if type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout == torch.strided
        and not (tensor.is_quantized or tensor.is_complex() or tensor.is_neg() or tensor.is_meta)
        and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    }


def integers(tensor: Tensor) -> Tensor:
    """The memory of a tensor that stands :func:`apart`, 64 bits at once where it can be: -0 is not 0, NaN is itself."""
    held = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
    return held.view(torch.int64) if len(held) % 8 == 0 else held


def function_digest(function: Callable[..., object]) -> str:
    """SHA-256 over a function's name and source, and what it holds: closure, defaults, bound arguments, its object.

    What it reads from elsewhere (a global, a file) is not covered: nobody can see that from outside. Give
    :class:`~certify.models.classifier.Classifier` a ``digest`` of your own to pin it.
    """
    return _function_digest(function, frozenset())


def _function_digest(function: Callable[..., object], seen: frozenset[int]) -> str:
    seen = seen | {id(function)}
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    digest = hashlib.sha256(f"{name}\n{source_of(function)}".encode())
    held = [*map(_cell, getattr(function, "__closure__", None) or ())]
    held += [getattr(function, part, None) for part in ("__defaults__", "__kwdefaults__", "__self__")]
    held += [getattr(function, part, None) for part in ("func", "args", "keywords")]
    for value in held:
        digest.update(_content(value, seen))
    if isinstance(code := getattr(function, "__code__", None), types.CodeType):
        if source_of(code) not in (source_of(function) or None, ""):
            digest.update(source_of(code).encode())  # a decorator's own code
        elif not source_of(function):
            digest.update(_bytecode(code))
    elif not isinstance(function, (*FUNCTIONS, type)):
        digest.update(source_of(type(function)).encode() + _content(getattr(function, "__dict__", None), seen))
    return digest.hexdigest()


def _cell(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is not bound yet
        return None


def _bytecode(code: types.CodeType) -> bytes:
    """What runs, where no source tells it."""
    constants = [_bytecode(one) if isinstance(one, types.CodeType) else repr(one).encode() for one in code.co_consts]
    return b"\n".join([code.co_code, repr(code.co_names).encode(), *constants])


def _settings(module: nn.Module) -> str:
    """Plain attributes by name. ``extra_repr`` would not do: torch leaves settings out of it."""
    plain = (bool, int, float, str, tuple, list, type(None))
    return ", ".join(
        f"{name}={value!r}"
        for name, value in sorted(vars(module).items())
        if isinstance(value, plain) and not name.startswith("_") and name != "training"
    )


def _numbers(tensor: Tensor) -> bytes:
    """Type, shape and bytes of a tensor."""
    if tensor.is_quantized:
        return _numbers(tensor.int_repr()) + _numbers(tensor.dequantize())
    own = source_of(type(tensor)).encode() if ours(type(tensor)) else b""
    return f"{tensor.dtype}:{tuple(tensor.shape)}\n".encode() + own + tensor_bytes(tensor)


def _content(value: object, seen: frozenset[int]) -> bytes:
    """The bytes of something that code holds; of what cannot be pickled, its type and source."""
    if id(value) in seen:
        return b"itself"
    if isinstance(value, nn.Module):
        return _module_digest(value, seen).encode()
    if callable(value) and not isinstance(value, type):
        return _function_digest(value, seen).encode()
    if isinstance(value, Tensor):
        return _numbers(value)
    seen = seen | {id(value)}
    # A pickle names functions without their code; tensors and sets look different in every process.
    if isinstance(value, set | frozenset):
        return b"set".join(sorted(_content(one, seen) for one in value))
    if isinstance(value, Mapping) and any(map(_needs_code, value.values())):
        return b"map".join(_content(key, seen) + _content(one, seen) for key, one in value.items())
    if isinstance(value, tuple | list) and _needs_code(value):
        return b"list".join(_content(one, seen) for one in value)
    try:
        return pickle.dumps(value)
    except (AttributeError, TypeError, RuntimeError, pickle.PicklingError):
        return f"{type(value).__qualname__} {source_of(value)}".encode()


def _needs_code(value: object) -> bool:
    """Whether a pickle of a value would say too little, or another thing in another process."""
    if isinstance(value, tuple | list | set | frozenset):
        return isinstance(value, set | frozenset) or any(map(_needs_code, value))
    if isinstance(value, Mapping):
        return any(map(_needs_code, value.values()))
    return callable(value) or isinstance(value, Tensor)
