"""The next commands, word for word: those of the run with what an advice changes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from certify.core.rounding import brief
from certify.core.written import radii_of
from certify.named import is_named
from certify.study.improve.origin import Origin

__all__ = ["UNKNOWN", "Commands", "commands_of", "training_data"]

UNKNOWN: Final = {"model": "MODEL", "data": "DATA", "training": "TRAINING_DATA"}
"""What stands in a command where the run does not say it."""

_SPLIT: Final = ("digits", "mnist5k", "idx")
"""Forms of data with a training part of the same name."""

_CARRIED: Final = {"batch_size": 64, "weight_decay": 0.0, "shift": 0, "flip": False}
"""Settings that every recipe has, which a model keeps where they are not the default."""

_OWN_NETWORK: Final = ("denoise", "lipschitz")
"""Recipes that bring their network."""

_INSIDE: Final = ("mean", "std")
"""Of a model that expects normalized inputs; ours take them as they are."""


def training_data(spec: str) -> str:
    """The SPEC of the training part of the data; a stand-in where their form does not tell.

    >>> training_data("digits"), training_data("idx:fashion"), training_data("npz:test.npz")
    ('digits:train', 'idx:fashion:train', 'TRAINING_DATA')
    """
    word, _, rest = spec.partition(":")
    if word not in _SPLIT:
        return UNKNOWN["training"]
    return spec if rest == "train" or rest.endswith(":train") else f"{spec}:train"


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands that differ from those of a run in what is named.

    Args:
        study: what the run was asked, by the names of flags.
        origin: how its model was trained; None where that is unknown.
        out: its folder.
    """

    study: Mapping[str, Any]
    origin: Origin | None
    out: str

    def again(self, suffix: str, **changes: Any) -> str:
        """The run into a folder of its own, with other settings; None leaves one out."""
        given = {**self.study, **{name.replace("_", "-"): value for name, value in changes.items()}}
        given["out"] = f"{self.out}-{suffix}"
        return shlex.join(["certify", "run", *_flags(given)])

    def trained(self, recipe: str, suffix: str = "", **settings: Any) -> tuple[str, ...]:
        """A model by another recipe, and the run on it; a setting ``run`` holds changes of the run."""
        changes = settings.pop("run", {})
        suffix = suffix or recipe
        model = spec = self.folder(suffix)
        origin, words = self.origin, ["certify", "train", recipe, "--data", self.training]
        if origin is not None:
            settings = {
                **{
                    name: origin.settings[name]
                    for name, usual in _CARRIED.items()
                    if origin.settings.get(name, usual) != usual
                },
                **settings,
            }
            if recipe not in _OWN_NETWORK or origin.recipe == recipe:
                words += ["--network", origin.network]
                if is_named(origin.network):  # the folder then holds weights alone
                    spec = f"{origin.network}@{model}"
                options = origin.network_option.items()
                words += [word for pair in options for word in ("--network-option", "=".join(pair))]
        words += [word for name, value in settings.items() for word in ("--setting", f"{name}={_text(value)}")]
        if origin is not None:
            words += ["--seed", str(origin.seed)] * bool(origin.seed)
            words += ["--validation", str(origin.held_out[1])] * bool(origin.held_out[1])
        train = shlex.join([*words, "--out", model])
        inside = dict.fromkeys(_INSIDE)
        return train, self.again(suffix, **{**inside, **changes, "model": spec})

    def folder(self, suffix: str) -> str:
        """The folder of a new model, beside that of the old one."""
        model = str(self.study["model"])
        return (
            f"{Path(model)}-{suffix}" if self.origin is not None and "@" not in model else f"{self.out}-{suffix}-model"
        )

    @property
    def training(self) -> str:
        """The SPEC of the training data."""
        return training_data(str(self.study["data"]))


def commands_of(settings: Mapping[str, Any], context: Mapping[str, Any], origin: Origin | None, out: str) -> Commands:
    """Commands after the study in a manifest; one that was begun from Python has stand-ins where it says nothing."""
    study = context.get("study")
    if isinstance(study, Mapping) and {"model", "data"} <= study.keys():
        left_out = ("out", "label", "shard")
        return Commands({name: value for name, value in study.items() if name not in left_out}, origin, out)
    certifiers, attack = settings["certifiers"], settings["attack"]
    known = ("sigma", "retention", "null", "n", "alpha", "noise", "schedule", "timeout")
    given: dict[str, Any] = {
        "model": UNKNOWN["model"],
        "data": UNKNOWN["data"],
        "certifier": [one["method"] for one in certifiers],
        "radii": settings["threat"]["radii"],
        **{name: certifiers[0][name] for name in known if certifiers[0].get(name) is not None},
    }
    if "norm" in settings["threat"]:
        given["norm"] = settings["threat"]["norm"]
    if attack is not None:
        given["attack"] = attack["attack"]
    return Commands(given, origin, out)


def _flags(given: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in given.items():
        if value is None or value is False:
            continue
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, Mapping):
            words += [word for key, one in value.items() for word in (f"--{name}", f"{key}={_text(one)}")]
        else:
            words += [f"--{name}", _text(value)]
    return words


def _text(value: Any) -> str:
    """A value as a flag takes it: a float as short as it is read back."""
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = brief(value)
        return short if radii_of("value", [short])[0] == value else repr(value)
    return str(value)
