"""What a folder says of how its model was trained, and which models belong together. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from certify.bounded.files import content_of, text_room
from certify.bounded.texts import from_json
from certify.errors import BadInput, ModelError, one_line
from certify.named import is_named

__all__ = ["CHECKPOINT", "RECORD", "asked_of", "folder_of", "members_of", "specs_of"]

RECORD: Final = "training.json"
"""The file's name in the folder of a model: what was asked, the curve and the cost."""

CHECKPOINT: Final = "checkpoint.safetensors"
"""The file's name in the folder of a model whose training has not ended."""

_MEMBER: Final = re.compile(r"(seed|fold)-(\d+)", re.ASCII)


def asked_of(folder: Path) -> dict[str, Any]:
    """What the training in a folder was: recipe, settings, network, seed, data, fold, as plain values.

    Raises:
        ModelError: if the file is missing or corrupt.
    """
    path = folder / RECORD
    try:
        asked = dict(from_json(content_of(path, text_room()))["asked"])
        digest, fold = asked["data"]["digest"], asked["fold"]
        if not isinstance(digest, str) or not (fold is None or [*map(type, fold)] == [int, int]):
            raise ValueError("data or fold cannot be")
        return asked
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ModelError(f"{path} is corrupt ({one_line(problem)}); delete it and train again") from problem


def folder_of(spec: str) -> Path | None:
    """The folder of a training that a model SPEC names: itself, or where the weights of a function's network lie.

    None where it names something else, or the training has not ended.
    """
    folder = Path(spec)
    if not folder.is_dir():
        function, _, weights = spec.partition("@")
        if not (weights and is_named(function)):
            return None
        folder = Path(weights).parent
    return folder if (folder / RECORD).is_file() else None


def specs_of(spec: str) -> dict[str, str]:
    """The SPECs of all models that one SPEC names, by the names of their folders; of one model alone, by "".

    ``package.module:function@FOLDER`` stands for the weights in the folder, or in those of its members.

    Raises:
        BadInput: as :func:`members_of`.
    """
    if Path(spec).is_dir():
        return {one.name: str(one) for one in members_of(Path(spec))} or {"": spec}
    function, _, folder = spec.partition("@")
    if not (folder and is_named(function) and Path(folder).is_dir()):
        return {"": spec}
    found = {one.name: one for one in members_of(Path(folder))} or {"": Path(folder)}
    return {name: f"{function}@{one / 'model.safetensors'}" for name, one in found.items()}


def members_of(folder: Path) -> list[Path]:
    """The models of several trainings in a folder, in order; none where it holds one model, or something else.

    Raises:
        BadInput: for seeds beside folds, a training that has not ended, and folds of which some are missing.
        ModelError: for a member whose record is corrupt.
    """
    if (folder / RECORD).exists() or not folder.is_dir():
        return []
    found = sorted((match[1], int(match[2]), one) for one in folder.iterdir() if (match := _MEMBER.fullmatch(one.name)))
    members = [one for _, _, one in found if (one / RECORD).is_file()]
    for _, _, one in found:
        if (one / CHECKPOINT).is_file() and one not in members:
            raise BadInput(f"{one} is not trained to its end: the certify train command that began it goes on")
    if len({kind for kind, _, one in found if one in members}) > 1:
        raise BadInput(f"{folder} holds models of seeds and of folds: name one of them, such as {members[0]}")
    if members and members[0].name.startswith("fold"):
        _check_whole(folder, {one.name: asked_of(one)["fold"] for one in members})
    return members


def _check_whole(folder: Path, folds: Mapping[str, Any]) -> None:
    """Cross-validation needs every fold once."""
    if others := [name for name, fold in folds.items() if fold is None]:
        raise BadInput(f"{folder / others[0]} was trained without leaving out a fold: name it by itself")
    counts = {name: count for name, (_, count) in folds.items()}
    (first, count), *rest = counts.items()
    if other := [name for name, one in rest if one != count]:
        raise BadInput(f"{folder / first} is one of {count} folds, {other[0]} of {counts[other[0]]}: train all anew")
    there = {fold for fold, _ in folds.values()}
    if (missing := next((fold for fold in range(count) if fold not in there), None)) is not None:
        raise BadInput(f"{folder} lacks fold {missing} of {count}: the certify train command that began it goes on")
