"""A digest that pins the model a claim is about."""

from __future__ import annotations

import hashlib
import inspect
import pickle
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["all_tensors", "function_digest", "module_digest", "tensor_bytes", "weights_digest"]


def module_digest(module: nn.Module) -> str:
    """SHA-256 over a module's structure, the source of its own classes, and every tensor it holds.

    Layers are named by class and plain attributes (stride, padding, eps, ...); classes from outside torch add their
    source text, because the same weights under another ``forward`` are another model.
    """
    digest = hashlib.sha256()
    for name, child in module.named_modules():
        kind = type(child)
        digest.update(f"{name}:{kind.__module__}.{kind.__qualname__}({_settings(child)})\n".encode())
        if not kind.__module__.startswith("torch."):
            digest.update(_source(kind).encode())
    for name, tensor in sorted(all_tensors(module).items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n".encode() + tensor_bytes(tensor))
    return digest.hexdigest()


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over a module's parameters and saved buffers alone: what no forward pass in eval mode changes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n".encode() + tensor_bytes(tensor))
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


def function_digest(function: Callable[..., object]) -> str:
    """SHA-256 over a function's name and source, and what it holds: closure, defaults, bound arguments, its object.

    What it reads from elsewhere (a global, a file) is not covered: nobody can see that from outside. Give
    :class:`~certify.models.classifier.Classifier` a ``digest`` of your own to pin it.
    """
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    digest = hashlib.sha256(f"{name}\n{_source(function)}".encode())
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    held = [*cells, getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None)]
    held += [
        getattr(function, "__self__", None),
        *(getattr(function, part, None) for part in ("func", "args", "keywords")),
    ]
    for value in held:
        digest.update(_content(value))
    return digest.hexdigest()


def _settings(module: nn.Module) -> str:
    """Plain attributes by name. ``extra_repr`` would not do: torch leaves settings out of it."""
    plain = (bool, int, float, str, tuple, list, type(None))
    return ", ".join(
        f"{name}={value!r}"
        for name, value in sorted(vars(module).items())
        if isinstance(value, plain) and not name.startswith("_") and name != "training"
    )


def _content(value: object) -> bytes:
    """The bytes of something a function holds; of what cannot be pickled, its type and source."""
    if isinstance(value, nn.Module):
        return module_digest(value).encode()
    try:
        return pickle.dumps(value)
    except (AttributeError, TypeError, pickle.PicklingError):
        return f"{type(value).__qualname__} {_source(value)}".encode()


def _source(thing: object) -> str:
    try:
        return inspect.getsource(thing)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""
