"""Where a training stands, in a file: the same command goes on from there as if it had not been interrupted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from certify.bounded.memory import check_room
from certify.bounded.texts import from_json
from certify.core.values import first_difference
from certify.core.whole import writing
from certify.errors import BadInput, ModelError, one_line
from certify.training.loop import Epoch, State
from certify.training.record import CHECKPOINT

__all__ = ["differing", "resume", "save"]


def save(folder: Path, state: State, asked: Mapping[str, Any]) -> None:
    """Write the state of a training whole, in place of an older one.

    Args:
        folder: where; made if it is missing.
        state: module, optimiser, best state and curve.
        asked: what the training is: recipe, settings, data, network, seed, as plain values for JSON.

    Raises:
        BadInput: if the folder cannot be written.
    """
    from safetensors.torch import save as packed

    kept = {"module": state.module.state_dict(), "best": state.best or {}}
    for place, remembered in state.optimiser.state_dict()["state"].items():
        kept[f"optimiser.{place}"] = remembered
    tensors = {
        f"{part}/{name}": tensor.detach().cpu().clone().contiguous()
        for part, named in kept.items()
        for name, tensor in named.items()
    }
    about = {"asked": asked, "curve": state.curve, "best_epoch": state.best_epoch, "seconds": state.seconds}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / CHECKPOINT) as file:
            file.write(packed(tensors, {"training": json.dumps(about)}))
    except OSError as problem:
        raise BadInput(f"cannot write to {folder}: {one_line(problem)}") from problem


def resume(folder: Path, state: State, asked: Mapping[str, Any]) -> bool:
    """Bring ``state`` to where the training in a folder stands; whether there was one.

    Raises:
        BadInput: if that was another training: the first thing that differs is named.
        ModelError: if the file is corrupt.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return False
    try:
        check_room(str(path), path.stat().st_size)
        about, tensors = _read(path)
        if difference := differing(dict(about["asked"]), asked):
            raise BadInput(
                f"{folder} holds a training that was begun otherwise: {difference}; choose another folder, or repeat "
                "the command that began it"
            )
        curve = [Epoch(float(loss), None if kept is None else float(kept)) for loss, kept in about["curve"]]
        best_epoch, seconds = int(about["best_epoch"]), float(about["seconds"])
        numbers = [seconds, *(number for epoch in curve for number in epoch if number is not None)]
        if not (0 <= best_epoch <= len(curve) and all(map(math.isfinite, numbers))):
            raise ValueError("its curve cannot be")
        if bool(best_epoch) != ("best" in tensors):
            raise ValueError("its best epoch has no weights")
        _restore(state, tensors)
        state.curve, state.best_epoch, state.seconds = curve, best_epoch, seconds
    except BadInput:
        raise
    except Exception as problem:  # whatever is wrong with a file
        raise ModelError(f"{path} is corrupt ({one_line(problem)}); delete it and train again") from problem
    return True


def differing(before: Any, now: Any) -> str:
    """The first thing that differs between two descriptions, in words; empty if nothing does.

    >>> differing({"recipe": {"epochs": 3}}, {"recipe": {"epochs": 4}})
    'epochs of recipe was 3 and is 4'
    """
    if (found := first_difference(before, now)) is None:
        return ""
    name, then, today = found
    return f"{name} was {then!r:.60} and is {today!r:.60}"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    from safetensors import safe_open

    parts: dict[str, dict[str, Tensor]] = {}
    with safe_open(path, framework="pt") as file:
        about = from_json((file.metadata() or {})["training"])
        for key in file.keys():  # noqa: SIM118 (no mapping)
            part, _, name = key.partition("/")
            parts.setdefault(part, {})[name] = file.get_tensor(key)
    return about, parts


def _restore(state: State, parts: dict[str, dict[str, Tensor]]) -> None:
    for part in ("module", "best"):
        if part in parts:
            _check_like(part, parts[part], state.module.state_dict())
    state.module.load_state_dict(parts["module"])
    remembered = {int(part.removeprefix("optimiser.")): parts[part] for part in parts if part.startswith("optimiser.")}
    for place, parameter in enumerate(state.module.parameters()):
        if place in remembered:
            moments = {"exp_avg": parameter, "exp_avg_sq": parameter, "step": torch.zeros(())}
            _check_like(f"optimiser.{place}", remembered[place], moments)
            if not remembered[place]["step"] >= 0:
                raise ValueError(f"optimiser.{place}/step cannot be")
    groups = state.optimiser.state_dict()["param_groups"]
    with torch.no_grad():
        state.optimiser.load_state_dict({"state": remembered, "param_groups": groups})
    state.best = parts.get("best")


def _check_like(part: str, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    if wrong := given.keys() ^ wanted.keys():
        raise ValueError(f"{part} has other tensors: {min(wrong)}")
    for name, tensor in wanted.items():
        if (given[name].shape, given[name].dtype) != (tensor.shape, tensor.dtype):
            raise ValueError(f"{part}/{name} has another shape or type")
