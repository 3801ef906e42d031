"""A training in words: the flags of ``certify train``, or the table ``[train]`` of a study file. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from certify.core.values import number, plain, whole
from certify.errors import BadInput
from certify.named import is_named
from certify.registry import Written, nearest

__all__ = ["Asked"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be trained, from what; see :func:`~certify.training.train.train` for what the parts mean.

    Args:
        recipe: its name.
        data: SPEC of what to train on.
        setting: of the recipe, by name.
        network: the name of an architecture, or ``package.module:function``; None for the usual one.
        network_option: settings of the architecture, by name.
        seed: of one training, or the first of several.
        seeds: train so many models, that differ in their seed alone; None for one.
        folds: train so many models, each without one fold of the data; None for one.
        validation: share of the data that is held out.
        patience: epochs without a better one after which training ends.
        workers: how many models are trained at once.

    Raises:
        BadInput: for both seeds and folds.
    """

    recipe: str
    data: str
    setting: Mapping[str, Any] = field(default_factory=dict)
    network: str | None = None
    network_option: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    seeds: int | None = None
    folds: int | None = None
    validation: float = 0.0
    patience: int | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.seeds is not None and self.folds is not None:
            raise BadInput("seeds and folds each ask for several models: choose one of them")

    @classmethod
    def of(cls, given: Any) -> Asked:
        """From the table of a study file.

        Raises:
            BadInput: for an unknown key (the nearest known one is named), a missing one, or a value of the wrong kind.

        >>> Asked.of({"recipe": "noise", "data": "digits:train", "setting": {"sigma": 0.25}}).setting
        {'sigma': 0.25}
        >>> Asked.of({"recipe": "noise", "data": "digits:train", "seads": 3})
        Traceback (most recent call last):
        ...
        certify.errors.BadInput: unknown setting 'seads' in [train]; did you mean 'seeds'? known: recipe, data, ...
        """
        if isinstance(given, Asked):
            return given
        if not isinstance(given, Mapping):
            raise BadInput(f"train must be a table, [train] with recipe and data, got {given!r:.60}")
        known = [one.name.replace("_", "-") for one in fields(cls)]
        values: dict[str, Any] = {}
        for key, value in given.items():
            name = str(key).replace("_", "-")
            if name not in known:
                raise BadInput(f"unknown setting {key!r} in [train]{nearest(name, known)} known: {', '.join(known)}")
            if (place := name.replace("-", "_")) in values:
                raise BadInput(f"{name} is in [train] in both spellings; give it once")
            values[place] = _read(name, value)
        for name, example in (("recipe", "noise"), ("data", "digits:train")):
            if name not in values:
                raise BadInput(f"[train] names no {name}: give one, for example {example}")
        return cls(**values)

    @property
    def given(self) -> dict[str, Any]:
        """What was set to anything but its default, by the flags' names."""
        default = Asked(self.recipe, self.data)
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "workers"}
        always = ("recipe", "data")
        return {
            name.replace("_", "-"): plain(value)
            for name, value in values.items()
            if name in always or value != getattr(default, name)
        }

    def specs(self, folder: str) -> dict[str, str]:
        """The SPECs of the models that will be in ``folder``, by the names of their folders; of one alone, by ""."""
        parts = [""]
        if self.seeds is not None:
            parts = [f"seed-{seed}" for seed in range(self.seed, self.seed + self.seeds)]
        if self.folds is not None:
            parts = [f"fold-{fold}" for fold in range(self.folds)]
        if self.network is None or not is_named(self.network):
            return {part: str(Path(folder) / part) for part in parts}
        return {part: f"{self.network}@{Path(folder) / part / 'model.safetensors'}" for part in parts}


def _read(name: str, value: Any) -> Any:
    """The value of a key of the table."""
    where = f"{name} in [train]"
    if name in ("setting", "network-option"):
        if not isinstance(value, Mapping):
            raise BadInput(f"{where} must be a table of names and values, got {value!r:.60}")
        return {key: Written(one) if isinstance(one, str) else one for key, one in value.items()}
    if name in ("recipe", "data", "network"):
        if not isinstance(value, str):
            raise BadInput(f"{where} must be text, got {value!r:.60}")
        return value
    return number(where, value) if name == "validation" else whole(where, value)
