"""Reading weights without running code."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from certify.bounded.memory import check_room
from certify.errors import BadInput, ModelError, one_line

__all__ = ["load_weights", "read_weights"]

CHECKPOINT = ("state_dict", "model_state_dict", "model", "net", "network")
"""Where checkpoints keep the weights."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, or of a ``.pt`` or ``.pth`` file that holds a state_dict.

    A checkpoint that keeps the state_dict beside other things, under one of ``CHECKPOINT``, is accepted.

    Raises:
        BadInput: if there is no such file, or its suffix is another one.
        NoRoom: if it takes nearly all the memory that is free.
        ModelError: if it is corrupt, holds something else, or could run code while it is read.
    """
    if not path.is_file():
        raise BadInput(f"no weights file {str(path)!r}")
    check_room(str(path), _size_of(path), share=0.8)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix not in (".pt", ".pth"):
        raise BadInput(f"{path} is not a kind of weights that is read; use .safetensors, .pt or .pth")
    found = _read_pickle(path)
    if isinstance(found, dict) and (inner := [found[key] for key in CHECKPOINT if isinstance(found.get(key), dict)]):
        found = inner[0]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ModelError(f"{path} holds no state_dict of tensors; save one with torch.save(model.state_dict(), FILE)")
    return {str(name): value for name, value in found.items()}


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy the weights in ``path`` into ``module``, every one of them.

    Weights that were saved from the network inside a wrapper (a normalization in front of it, say) go to that part of
    ``module``, if nothing outside of it waits for weights; and a prefix that ``torch.compile``, ``DataParallel`` or a
    training framework puts before every name is taken off, if what is left fits.

    Raises:
        ModelError: naming the first weight that is missing, unexpected or of another shape.
    """
    given, part = _placed(read_weights(path), module)
    wanted = part.state_dict()
    for name, tensor in wanted.items():
        if name not in given:
            raise ModelError(f"{path} has no weight {name!r}; these weights belong to another model")
        if given[name].shape != tensor.shape:
            raise ModelError(
                f"{path}: weight {name!r} has shape {tuple(given[name].shape)}, the model's is {tuple(tensor.shape)}"
            )
    for name in given:
        if name not in wanted:
            raise ModelError(f"{path} has a weight {name!r} that the model does not; it belongs to another model")
    part.load_state_dict(given)


def _placed(given: dict[str, Tensor], module: nn.Module) -> tuple[dict[str, Tensor], nn.Module]:
    """The weights under the names of the part of ``module`` that they fit; as they are, and all of it, if none fits."""
    name, dot, _ = next(iter(given), "").partition(".")
    bare = {full.removeprefix(name + dot): tensor for full, tensor in given.items()}
    spelled = [given, bare] if dot and all(full.startswith(name + dot) for full in given) else [given]
    for weights in spelled:
        shapes = {full: tensor.shape for full, tensor in weights.items()}
        for part in module.modules():  # the outermost first
            fits = shapes == {full: tensor.shape for full, tensor in part.state_dict().items()}
            if fits and _learned(module) == _learned(part):
                return weights, part
    return given, module


def _learned(module: nn.Module) -> set[int]:
    """What training sets: parameters, and the statistics of normalization layers."""
    layers = (layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._NormBase))
    return {id(tensor) for tensor in (*module.parameters(), *(one for layer in layers for one in layer.buffers()))}


def _size_of(path: Path) -> int:
    """Bytes that the file takes in memory; what torch saves is an archive, which may be packed."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(info.file_size for info in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):  # whoever reads it says what is wrong
        return path.stat().st_size


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as problem:
        raise ModelError(f"{path} is no safetensors file, or a corrupt one: {one_line(problem)}") from problem


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on pickle protocols; what counts is whether it can be read
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        raise ModelError(
            f"{path} cannot be read without running code, or is corrupt; load it where you trust it and save the "
            "weights with safetensors.torch.save_file(model.state_dict(), FILE)"
        ) from problem
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError, TypeError) as problem:
        raise ModelError(f"{path} is no file of weights, or a corrupt one: {one_line(problem)}") from problem
