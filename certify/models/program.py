"""What an exported program may not do: overwrite its weights or input, or compute with the size of its batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from certify.errors import ModelError

__all__ = ["check_sizes", "check_writes"]


def check_writes(network: nn.Module, shape: Sequence[int]) -> None:
    """Refuse to overwrite a weight or the input: the next forward pass would be another network's.

    The network is run on tensors without numbers, which share memory as real ones do, in both layouts of images.

    Args:
        network: a module of one tensor.
        shape: of a batch that it takes.

    Raises:
        ModelError: naming the operator.
    """
    for layout in (torch.contiguous_format, torch.channels_last):
        held = {name: _without_numbers(one, layout) for name, one in network.named_buffers()}
        x = _without_numbers(torch.empty(list(shape), device="meta"), layout)
        with torch.no_grad(), _Protected({"input": x, **held}):
            functional_call(network, held, (x,))


def _without_numbers(tensor: Tensor, layout: torch.memory_format) -> Tensor:
    empty = torch.empty_like(tensor, device="meta", memory_format=torch.contiguous_format)
    return empty.contiguous(memory_format=layout) if empty.dim() == 4 else empty


class _Protected(TorchDispatchMode):
    """While it is on, nothing writes to the memory of some tensors."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = {one.untyped_storage()._cdata: name for name, one in tensors.items()}

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = dict(zip((one.name for one in func._schema.arguments), args, strict=False)) | (kwargs or {})
        for argument in func._schema.arguments:
            if argument.alias_info and argument.alias_info.is_write:
                for one in tree_leaves(given.get(argument.name)):
                    name = self.names.get(one.untyped_storage()._cdata) if isinstance(one, Tensor) else None
                    if name is not None:
                        raise ModelError(f"overwrites its input or weight {name!r} in place ({func._opname})")
        return func(*args, **(kwargs or {}))


def check_sizes(nodes: Iterable[Mapping[str, Any]]) -> None:
    """Refuse to compute with sizes: what an input's class is must not depend on how many inputs stand beside it.

    Sizes may stand in the shape of a view or an expansion, and nowhere else.

    Args:
        nodes: the calls of a program as its file describes them.

    Raises:
        ModelError: naming the operator.
    """
    for node in nodes:
        shaped = node["target"].split(".")[3] in ("view", "reshape", "expand")
        for given in node["inputs"]:
            ((kind, value),) = given["arg"].items()
            if kind == "as_sym_int" and "as_name" in value:
                raise ModelError(f"computes with the size of its batch ({node['target']})")
            if kind == "as_sym_ints" and not shaped and any("as_name" in one for one in value):
                raise ModelError(f"computes with the size of its batch ({node['target']})")
