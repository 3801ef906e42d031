"""A trained model as a folder: ``model.json`` (architecture and provenance) beside ``model.safetensors`` (weights)."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from certify.bounded.files import content_of, text_room
from certify.bounded.texts import from_json
from certify.core.input_box import BoxLike, check_box
from certify.core.whole import writing
from certify.errors import BadInput, ModelError, one_line
from certify.models.architecture import build, describe
from certify.models.classifier import Classifier
from certify.models.weights import load_weights

__all__ = ["FORMAT", "input_shape_in", "load_folder", "save_folder"]

FORMAT = 1
"""The version of ``model.json``; it rises when a reader of older files would misunderstand newer ones."""


def save_folder(
    folder: Path,
    module: nn.Sequential,
    *,
    num_classes: int,
    input_box: BoxLike,
    input_shape: tuple[int, ...],
    recipe: Mapping[str, Any],
) -> Path:
    """Write a network so that :func:`load_folder` brings back the same one.

    Each file appears whole or not at all, the weights first: a folder without ``model.json`` is no model, and the
    digest in it tells a mixture of two models from either.

    Args:
        folder: made if it is missing; a model already in it is replaced.
        module: layers from the vocabulary of :mod:`certify.models.architecture`.
        num_classes, input_box: as in :class:`Classifier`.
        input_shape: shape of one input, without the batch.
        recipe: how the model was trained, as plain values for JSON.

    Raises:
        ModelError: if the network cannot be described, or is not finite.
        BadInput: if the folder cannot be written.
    """
    from safetensors.torch import save

    module = module.eval()
    record = {
        "format": FORMAT,
        "layers": describe(module),
        "num_classes": num_classes,
        "input_box": None if (box := check_box(input_box)) is None else box.to_json(),
        "input_shape": list(input_shape),
        "recipe": dict(recipe),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        "digest": Classifier(module, num_classes, input_box).digest,
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "model.safetensors", save(weights))
        _write(folder / "model.json", (json.dumps(record, indent=2) + "\n").encode())
    except OSError as problem:
        raise BadInput(f"cannot write a model to {folder}: {one_line(problem)}") from problem
    return folder


def load_folder(folder: Path, device: str = "cpu") -> Classifier:
    """The classifier in a folder that :func:`save_folder` wrote, in eval mode.

    Raises:
        BadInput: if the folder holds no model.
        ModelError: if a file is corrupt, or the model is not the one whose digest ``model.json`` records.
    """
    path = folder / "model.json"
    if not path.is_file():
        raise BadInput(f"{folder} has no model.json; name a folder that `certify train` wrote")
    try:
        record = from_json(content_of(path, text_room()))
        version, layers, digest = record["format"], list(record["layers"]), str(record["digest"])
        num_classes, input_box = int(record["num_classes"]), check_box(record["input_box"])
    except (BadInput, OSError, ValueError, TypeError, KeyError, IndexError) as problem:
        raise ModelError(f"{path} is corrupt ({one_line(problem)}); train the model again") from problem
    if version != FORMAT:
        raise ModelError(f"{path} has format {version!r}, this version reads {FORMAT}; train the model again")
    try:
        module = build(layers)
    except ModelError as problem:
        raise ModelError(f"{path}: {problem}; train the model again") from problem
    load_weights(module, folder / "model.safetensors")
    classifier = Classifier(module, num_classes, input_box, device=device, name=folder.resolve().name)
    if classifier.digest != digest:
        raise ModelError(
            f"{folder} was altered: model.json records digest {digest[:12]}, the model in it has "
            f"{classifier.digest[:12]}; restore the folder or train again"
        )
    return classifier


def input_shape_in(folder: Path) -> tuple[int, ...]:
    """The shape of one input of the model in a folder, without the batch.

    Raises:
        ModelError: if the folder does not say.
    """
    path = folder / "model.json"
    try:
        return tuple(map(int, from_json(content_of(path, text_room()))["input_shape"]))
    except (BadInput, OSError, ValueError, TypeError, KeyError) as problem:
        raise ModelError(f"{path} is corrupt ({one_line(problem)}); train the model again") from problem


def _write(path: Path, content: bytes) -> None:
    with writing(path) as file:
        file.write(content)
