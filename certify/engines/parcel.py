"""Work on its way to another process: pickled once, with the large arrays in a file that all workers map."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Final

import cloudpickle
import numpy as np
import torch
from torch import Tensor

from certify.errors import BadInput, ModelError, one_line
from certify.models.classifier import Classifier

__all__ = ["parcel", "unpacked", "written"]

MAPPED: Final = 2**16
"""Bytes from which a numpy array is stored beside the weights, which workers map, and is not copied into each."""


def parcel(work: Callable[..., Any], file: BinaryIO) -> None:
    """Write work to an open file.

    Functions and classes of scripts and notebooks travel by value; weights and data as they lie in memory. A model that
    cannot travel is made again where it arrives, by the function that made it here, if that has a name.

    Raises:
        BadInput: for what holds something that cannot leave its process, such as an open file or a session; or if the
            disk is full.
    """
    try:
        _pickle(work, file, _Pickler)
    except Exception as problem:  # somebody else's objects may raise anything when they are pickled
        with suppress(Exception):
            return _pickle(work, file, _MakingAgain)
        disk = problem if isinstance(problem, OSError) else problem.__context__  # torch raises an error of its own
        if isinstance(disk, OSError):
            with suppress(OSError):  # it holds what could not be written, and would try again
                file.close()
            raise BadInput(
                f"this model cannot be written to {tempfile.gettempdir()} for the workers ({disk.strerror or disk}): "
                "make room there, or name another folder by TMPDIR"
            ) from problem
        raise BadInput(
            f"this model cannot be sent to another process ({one_line(problem)}): use --engine serial, or write a "
            "function in a file that makes the model, and name it as package.module:function"
        ) from problem


def _pickle(work: Callable[..., Any], file: BinaryIO, pickler: type[cloudpickle.Pickler]) -> None:
    file.seek(0)
    file.truncate()
    torch.save(work, file, pickle_module=SimpleNamespace(Pickler=pickler, __name__="cloudpickle"))
    file.flush()


@contextmanager
def written(work: Callable[..., Any]) -> Iterator[Path]:
    """A file that holds the work as long as the context lasts; only this user may read it.

    On Linux it has no name in any folder, and workers reach it by this process: however that ends, nothing is left.

    Raises:
        BadInput: as :func:`parcel`.
    """
    nameless = sys.platform == "linux"
    with tempfile.TemporaryFile() if nameless else tempfile.NamedTemporaryFile(prefix="certify-") as file:
        parcel(work, file)  # type: ignore[arg-type]
        yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}" if nameless else file.name)


def unpacked(source: Path | bytes) -> Callable[..., Any]:
    """The work in a file, whose arrays are mapped and not read, or in bytes."""
    if isinstance(source, bytes):
        return torch.load(io.BytesIO(source), weights_only=False)
    return torch.load(source, mmap=True, weights_only=False)  # a file of our own, just written


class _Pickler(cloudpickle.Pickler):
    """Large numpy arrays travel as tensors, which torch stores beside the pickle."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is np.ndarray and obj.nbytes >= MAPPED and obj.dtype.kind in "biuf" and obj.dtype.isnative:
            try:
                return Tensor.numpy, (torch.from_numpy(np.ascontiguousarray(obj)),)
            except TypeError:  # a type that torch does not have
                pass
        return super().reducer_override(obj)


class _MakingAgain(_Pickler):
    """Models that were named travel as their names."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Classifier) and obj.base is obj and obj.maker is not None:
            return _made_again, (obj.maker, obj.digest)
        return super().reducer_override(obj)


def _made_again(maker: Callable[[], Classifier], digest: str) -> Classifier:
    made = maker()
    if made.digest != digest:
        raise ModelError(f"{made.name} is another model each time it is made: fix its seed, or load its weights")
    return made
