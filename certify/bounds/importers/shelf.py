"""A folder in which networks that were read wait for other processes; there is none unless the user names one.

Whoever can write to the folder can make bounds wrong: it is trusted like the code itself, and refused where other users
may write to it. Damage is noticed by a digest, and such a file is ignored, as if it were not there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import platform
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load, save
from torch import Tensor

import certify
from certify.bounds.graph import Graph, Node
from certify.bounds.rules.base import Operator
from certify.core.whole import writing
from certify.errors import BadInput
from certify.version import __version__

__all__ = ["VARIABLE", "Shelf", "named_shelf"]

VARIABLE: Final = "CERTIFY_NETWORKS"
"""The environment variable that names the folder."""

OWN: Final = "certify.bounds.rules."
"""Where operators come from that are kept: a plug-in's code is not part of the name of a file."""

KEPT: Final = (torch.float32, torch.float64, torch.int64, torch.int32, torch.bool, torch.uint8)
"""The types of tensors that are kept."""


def named_shelf() -> Shelf | None:
    """The folder that the environment names now, made if it is not there; None if it names none.

    Raises:
        BadInput: if it is not the user's own, others may write to it, or it cannot be made.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as problem:
        raise BadInput(f"{VARIABLE} names {folder}, which is no folder to use ({problem.strerror})") from problem
    if _others_write(found):
        raise BadInput(
            f"{VARIABLE} names {folder}, which others may write to, and a forged network gives wrong bounds: use a "
            "folder of your own, chmod 700"
        )
    return Shelf(folder)


@dataclasses.dataclass(frozen=True, slots=True)
class Shelf:
    """A folder of graphs, each in a file named by a digest of all that it was read from, and by which code.

    Args:
        folder: where it is.
    """

    folder: Path

    def place(self, *parts: str) -> Path:
        """The file of a network, from texts that tell it apart."""
        text = json.dumps([*parts, _code(), torch.__version__, platform.machine()])
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.network"

    def get(self, place: Path, device: torch.device) -> Graph | None:
        """The graph in a file; None if there is no such file, or it is damaged."""
        try:
            digest, head, body = _own_bytes(place).split(b"\n", 2)
            if hashlib.sha256(head + b"\n" + body).hexdigest().encode() != digest:
                return None
            return _graph(json.loads(head), {name: one.to(device) for name, one in load(body).items()})
        except Exception:  # whatever a file holds
            return None

    def put(self, place: Path, graph: Graph) -> None:
        """Write a graph to a file, all of it or nothing; not one with operators of a plug-in, nor to a full disk."""
        with suppress(OSError, _Foreign):
            held: dict[str, Tensor] = {}
            head = json.dumps(_described(graph, held)).encode()
            body = head + b"\n" + save(held)
            with writing(place, mode=0o600) as file:
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def _own_bytes(place: Path) -> bytes:
    """What a plain file of the user's own holds, to which nobody else may write.

    Raises:
        OSError: for any other.
    """
    with open(os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or _others_write(found):
            raise PermissionError(place)
        return file.read()


def _others_write(found: os.stat_result) -> bool:
    if os.name != "posix":
        return False
    return found.st_uid != os.getuid() or bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


class _Foreign(Exception):
    """Something that no file here describes."""


@cache
def _code() -> str:
    """A digest of the code that reads and bounds networks, besides the version, which an edit does not change."""
    digest, root = hashlib.sha256(__version__.encode()), Path(certify.__file__).parent
    for file in sorted([*(root / "bounds").rglob("*.py"), *(root / "models").rglob("*.py")]):
        digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _described(graph: Graph, held: dict[str, Tensor]) -> dict[str, Any]:
    """A graph as plain values; the memory of its tensors goes into ``held``, once where several share it."""
    if graph.narrow is not None or any(not type(node.operator).__module__.startswith(OWN) for node in graph.nodes):
        raise _Foreign
    nodes = [
        {
            "name": node.name,
            "operator": f"{type(node.operator).__module__}:{type(node.operator).__qualname__}",
            "fields": {
                field.name: _plain(getattr(node.operator, field.name), held)
                for field in dataclasses.fields(node.operator)  # type: ignore[arg-type]
            },
            "inputs": node.inputs,
            "shape": node.shape,
            "source": node.source,
        }
        for node in graph.nodes
    ]
    return {"input": graph.input, "shape": graph.shape, "dtype": str(graph.dtype), "nodes": nodes}


def _plain(value: Any, held: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = f"{value.untyped_storage().data_ptr()} {value.dtype}"
        if value.dtype not in KEPT:
            raise _Foreign
        if name not in held:
            whole = torch.empty(0, dtype=value.dtype, device=value.device).set_(value.untyped_storage())
            held[name] = whole.cpu().clone()
        return {"tensor": name, "size": value.shape, "stride": value.stride(), "offset": value.storage_offset()}
    if type(value) is tuple:
        return [_plain(one, held) for one in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise _Foreign


def _graph(described: dict[str, Any], held: dict[str, Tensor]) -> Graph:
    nodes = tuple(
        Node(
            one["name"],
            _operator(one["operator"])(**{name: _value(value, held) for name, value in one["fields"].items()}),
            tuple(one["inputs"]),
            tuple(one["shape"]),
            one["source"],
        )
        for one in described["nodes"]
    )
    dtype = {"torch.float32": torch.float32, "torch.float64": torch.float64}[described["dtype"]]
    return Graph(described["input"], tuple(described["shape"]), nodes, dtype)


def _operator(name: str) -> type[Operator]:
    """The class of a name; nothing is imported but rules."""
    module, _, kind = name.partition(":")
    if not module.startswith(OWN):
        raise ValueError(name)
    found = getattr(importlib.import_module(module), kind)
    if not (isinstance(found, type) and issubclass(found, Operator)):
        raise ValueError(name)
    return found


def _value(value: Any, held: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        return held[value["tensor"]].as_strided(value["size"], value["stride"], value["offset"])
    return tuple(_value(one, held) for one in value) if isinstance(value, list) else value
