"""Several classifiers as one: the mean of their scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from torch import nn

from certify.errors import BadInput, ModelError
from certify.models.arithmetic import FLOAT32
from certify.models.blocks import Mean
from certify.models.classifier import Classifier
from certify.models.folder import input_shape_in, load_folder

__all__ = ["ENSEMBLE", "ensemble", "folders_of", "load_ensemble"]

ENSEMBLE: Final = "ensemble:"
"""What a SPEC of several folders begins with."""

_SEED: Final = re.compile(r"seed-(\d+)", re.ASCII)


def ensemble(members: Sequence[Classifier]) -> Classifier:
    """The classifier whose scores are the mean of what the members answer (Horvath et al. 2022, section 3).

    Under noise the mean varies less than a member, so that more votes agree and smoothed radii are larger. It is an
    ordinary network: bounds of it hold in the same way.

    Args:
        members: at least two modules with the same classes and input box; each may normalize for itself.

    Raises:
        BadInput: for fewer members, or members that differ in these.
        ModelError: for a member that is a function, or is executed in another arithmetic than float32.

    >>> pair = [Classifier(nn.Linear(4, 3).eval(), num_classes=3) for _ in range(2)]
    >>> ensemble(pair)
    Classifier(ensemble of 2, 3 classes, sha256 ...)
    """
    if len(members) < 2:
        raise BadInput(f"an ensemble has at least two members, got {len(members)}")
    modules = []
    first = members[0]
    for one in members:
        if type(one) is not Classifier or one.module is None:
            raise ModelError(f"{one.name} is no module that returns the scores of classes: its scores have no mean")
        if one.arithmetic != FLOAT32:
            raise ModelError(f"{one.name} is executed in {one.arithmetic}: give members as they are")
        for what, its, others in (
            ("classes", one.num_classes, first.num_classes),
            ("input box", one.input_box, first.input_box),
            ("device", one.device, first.device),
        ):
            if its != others:
                raise BadInput(
                    f"members of an ensemble share their {what}: {first.name} has {others}, {one.name} {its}"
                )
        modules.append(one.module if isinstance(one.module, nn.Sequential) else nn.Sequential(one.module))
    made = Mean(modules).eval()
    return Classifier(made, first.num_classes, first.input_box, device=first.device, name=f"ensemble of {len(modules)}")


def load_ensemble(folders: str, device: str = "cpu") -> Classifier:
    """The ensemble of the models in folders that :func:`~certify.models.folder.save_folder` wrote.

    Args:
        folders: with commas between them; one that holds the models of several seeds, ``seed-0``, ``seed-1``, ...,
            stands for all of these.
        device: where it runs.

    Raises:
        BadInput: for a folder without a model, or models that do not fit together.
        ModelError: for files that are corrupt.
    """
    paths = folders_of(folders)
    if not paths or (missing := [one for one in paths if not one.is_dir()]):
        lacks = f"no folder {str(missing[0])!r}" if paths else "no folder is named"
        raise BadInput(f"{lacks}; an ensemble is {ENSEMBLE}FOLDER,FOLDER,.. of trained models")
    members = [load_folder(one, device) for one in paths]
    shapes = [input_shape_in(one) for one in paths]
    for path, shape in zip(paths, shapes, strict=True):
        if shape != shapes[0]:
            raise BadInput(
                f"members of an ensemble share the shape of inputs: {paths[0]} has {shapes[0]}, {path} {shape}"
            )
    return ensemble(members)


def folders_of(folders: str) -> list[Path]:
    """The folders of all members that are named with commas between them."""
    named = [Path(one.strip()) for one in folders.split(",") if one.strip()]
    return [member for one in named for member in _seeds_in(one) or [one]]


def _seeds_in(folder: Path) -> list[Path]:
    """The models of several seeds in a folder, in order; one whose training has not ended is refused by its reader."""
    if (folder / "model.json").exists() or not folder.is_dir():
        return []
    found = [(int(match[1]), one) for one in folder.iterdir() if (match := _SEED.fullmatch(one.name))]
    return [one for _, one in sorted(found)]
