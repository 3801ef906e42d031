"""A study in words: the flags of ``certify run``, or the same names as keys of a TOML file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from certify.bounded.files import content_of, text_room
from certify.bounded.texts import from_toml
from certify.core.input_box import InputBox, check_box, read_box
from certify.core.legible import legible_line
from certify.core.values import number, plain, whole
from certify.core.written import numbers, radii_of
from certify.errors import BadInput
from certify.registry import Written, nearest
from certify.training.asked import Asked
from certify.training.record import specs_of

__all__ = ["Settings", "box_of", "label_of", "model_folder", "read_toml", "sweep"]

LONGEST_LABEL: Final = 60

WHERE: Final = ("shard", "engine", "workers", "ray_address", "input_timeout", "order", "time_budget")
"""Settings that say where and when the work is done: no record depends on them, and no manifest names them."""

_DURATIONS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``certify run`` was asked to do. None means: the default of the part concerned.

    ``option`` holds the settings of the threat, the property and the certifier by name, or by whose they are and their
    name: ``groups`` or ``threat.groups``. Those with a flag of their own are the certifier's. ``train`` says how the
    model comes about, where the study trains it first.

    >>> Settings.of({"model": "net", "data": "digits", "radii": "0,0.25", "sigma": 0.25}).radii
    (0.0, 0.25)
    """

    model: str
    data: str
    mean: str | tuple[float, ...] | None = None
    std: str | tuple[float, ...] | None = None
    certifier: tuple[str, ...] = ("smoothing",)
    threat: str = "lp"
    property_: str = "top-class"  # without the underscore it would hide the decorator
    norm: str | None = None
    radii: tuple[float, ...] = ()
    input_box: InputBox | None = None
    scale: str | None = None
    units: str | None = None
    option: Mapping[str, Any] = field(default_factory=dict)
    attack: str = "none"
    attack_option: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    seed: int | None = None
    shard: str | None = None
    device: str = "cpu"
    precision: str | None = None
    compile: bool | None = None
    engine: str | None = None
    workers: int | None = None
    ray_address: str | None = None
    input_timeout: float | None = None
    order: str | None = None
    time_budget: float | None = None
    train: Asked | None = None
    out: str | None = None
    label: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """Settings from flags or TOML keys; lists may also be text with commas.

        Raises:
            BadInput: for an unknown key (the nearest known one is named), a missing one, one given in both spellings,
                or a value of the wrong kind.
        """
        _check_spelling(given)
        known = {one.name.rstrip("_"): one.name for one in fields(cls)}
        values: dict[str, Any] = {}
        flags: dict[str, Any] = {}
        for key, value in given.items():
            name = key.replace("-", "_")
            if name not in known and name not in FLAGS:
                names = [one.replace("_", "-") for one in (*known, *FLAGS)]
                raise BadInput(f"unknown setting {key!r}{nearest(key, names)} known: {', '.join(names)}")
            if value is None:
                continue
            if name in FLAGS:
                flags[f"certifier.{name}"] = Written(value) if isinstance(value, str) else value
            else:
                values[known[name]] = _READ.get(name, _text)(key, value)
        for name, example in (("model", "a folder that `certify train` wrote"), ("data", "digits")):
            if name not in values:
                raise BadInput(f"no {name} given: name one with --{name}, for example {example}")
        if not values.get("radii"):
            raise BadInput("no radii declared: name them with --radii, for example 0,0.25,0.5")
        option = values.pop("option", {})
        if twice := [name for name in flags if {name, name.removeprefix("certifier.")} & option.keys()]:
            raise BadInput(f"{', '.join(twice)} is given as an option and as a flag of its own: give it once")
        return cls(**values, option={**option, **flags})

    @property
    def given(self) -> dict[str, Any]:
        """What was set to anything but its default, by the flags' names: flags and study file together."""
        flags = {name: self.option[key] for name in FLAGS if (key := f"certifier.{name}") in self.option}
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        own["train"] = None if self.train is None else self.train.given
        own["option"] = {
            key: value for key, value in self.option.items() if key.removeprefix("certifier.") not in flags
        }
        defaults = {one.name: one.default for one in fields(self)}
        given = {name: value for name, value in own.items() if value not in (defaults[name], {}) and name not in WHERE}
        return {name.rstrip("_").replace("_", "-"): plain(value) for name, value in (given | flags).items()}

    @property
    def engine_settings(self) -> dict[str, Any]:
        """Where the work is done, for :func:`~certify.engines.base.engine_from`."""
        return {
            "name": self.engine,
            "workers": self.workers,
            "ray_address": self.ray_address,
            "input_timeout": self.input_timeout,
        }

    @property
    def specs(self) -> dict[str, Any]:
        """From what a check loads model and data again."""
        inside = {"mean": self.mean, "std": self.std}
        given = {name: value for name, value in inside.items() if value is not None}
        return {"model": self.model, "data": self.data, **given}

    @property
    def shard_of(self) -> tuple[int, int]:
        """Shard number, from 0, and how many there are."""
        if self.shard is None:
            return 0, 1
        number, _, count = self.shard.partition("/")
        counted = self.shard.isascii() and number.isdecimal() and count.isdecimal()
        if not (counted and int(number) < int(count)):
            raise BadInput(f"shard {self.shard!r} is not i/n with 0 <= i < n, for example 0/4")
        return int(number), int(count)


def sweep(given: Mapping[str, Any]) -> list[tuple[Settings, str]]:
    """The runs that flags or TOML keys ask for, each with its folder: one for each model and each sigma that is named.

    One is a run in the folder ``out`` itself. Several have folders of their own in it, and what tells them apart in the
    label: ``seed-0`` where the model is a folder of several trainings, ``sigma-0.12``, ``seed-0/sigma-0.12``. Where the
    study trains the model first, it is in the folder ``model``, or in that of this name in ``out``.

    Raises:
        BadInput: as :meth:`Settings.of`; without a folder, for the same sigma twice, or several models that are not all
            there.

    >>> study = {"model": "net", "data": "digits", "radii": "0,0.25", "out": "runs", "sigma": "0.12,0.25"}
    >>> [(settings.option["certifier.sigma"], folder) for settings, folder in sweep(study)]
    [(0.12, 'runs/sigma-0.12'), (0.25, 'runs/sigma-0.25')]
    """
    scales = given.get("sigma")
    named = (None,) if scales is None else numbers("sigma", [scales] if isinstance(scales, int | float) else scales)
    if len(set(named)) != len(named) or not named:
        raise BadInput(f"sigma must be one number, or different ones separated by commas, got {scales!r}")
    runs = []
    for of_model, model in _models(given).items():
        for sigma in named:
            settings = Settings.of({**given, "model": model, "sigma": sigma})
            if settings.out is None:
                raise BadInput("no run folder given: name one with --out, for example --out runs/first")
            of_sigma = f"sigma-{sigma!r}".removesuffix(".0") if len(named) > 1 else ""
            if parts := [part for part in (of_model, of_sigma) if part]:
                label = None if settings.label is None else label_of("label", ", ".join([settings.label, *parts]))
                settings = replace(settings, out=str(Path(settings.out, *parts)), label=label)
            runs.append((settings, str(settings.out)))
    return runs


def model_folder(given: Mapping[str, Any]) -> str:
    """Where a study that trains its model keeps it: the folder that ``model`` names, or ``model`` in ``out``.

    Raises:
        BadInput: where neither is named.
    """
    model, out = given.get("model"), given.get("out")
    if model is None and out is None:
        raise BadInput("no run folder given: name one with --out, for example --out runs/first")
    return str(Path(_text("out", out)) / "model") if model is None else _text("model", model)


def _models(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The models of a study, by the names of their folders; one alone by ""."""
    if given.get("train") is not None:
        return Asked.of(given["train"]).specs(model_folder(given))
    return specs_of(given["model"]) if isinstance(given.get("model"), str) else {"": given.get("model")}


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a study file; of the tables [threat], [property] and [certifier], as flags and options say them.

    Raises:
        BadInput: if it is missing, gives a key twice or in both spellings, or is no TOML; the message names line and
            column.
    """
    try:
        given = from_toml(content_of(path, text_room()))
    except OSError as problem:
        raise BadInput(f"cannot read study {path} ({problem.strerror}); check the path") from problem
    except ValueError as problem:
        raise BadInput(f"{path} is not a valid TOML file: {problem}") from problem
    return _without_tables(given)


def _without_tables(given: Mapping[str, Any]) -> dict[str, Any]:
    """``[threat] name = "features", groups = "0:3"`` as ``threat = "features"`` and an option ``threat.groups``.

    Settings with a key of their own, such as radii, sigma and norm, become that key: flags go before them.
    """
    _check_spelling(given)
    flat = {key: value for key, value in given.items() if key not in _TABLES or not isinstance(value, Mapping)}
    option = dict(_options("option", given.get("option", {})))
    for role, flags in _TABLES.items():
        table = given.get(role)
        for key, value in table.items() if isinstance(table, Mapping) else ():
            name = key.replace("-", "_")
            own = role if name == "name" else key if name in flags else None
            where, place = (option, f"{role}.{name}") if own is None else (flat, own)
            if place in where:
                raise BadInput(f"{place} is in [{role}] and outside of it; give it once")
            where[place] = value
    _check_spelling(flat)
    return {**flat, "option": option} if option else flat


def _check_spelling(given: Mapping[str, Any]) -> None:
    for key in given:
        if "_" in key and (other := key.replace("_", "-")) in given:
            raise BadInput(f"{key} and {other} are one setting; give it once")


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{key} must be text, got {value!r}")
    return value


def duration(key: str, value: Any) -> float:
    """Seconds from a number, or from text with s, m, h or d behind it; ``key`` is what a message calls it.

    Raises:
        BadInput: for anything else, or nothing above 0.

    >>> duration("time-budget", "2h"), duration("time-budget", 90)
    (7200.0, 90.0)
    """
    if isinstance(value, str):
        plain = _DURATION.fullmatch(value.strip())
        if plain is None:
            raise BadInput(f"{key} must be seconds, or a number with s, m, h or d, for example 2h, got {value!r}")
        value = float(plain[1]) * _DURATIONS[plain[2]]
    if not number(key, value) > 0:
        raise BadInput(f"{key} must be above 0 seconds, got {value}")
    return float(value)


def label_of(key: str, value: Any) -> str:
    """A name of one line for a run, as tables show it.

    Raises:
        BadInput: for anything else.

    >>> label_of("label", "sigma 0.25, retrained")
    'sigma 0.25, retrained'
    """
    text = _text(key, value)
    if not 0 < len(text) <= LONGEST_LABEL or text != legible_line(text) or text != text.strip():
        raise BadInput(f"{key} must be one line of 1 to {LONGEST_LABEL} characters that can be shown, got {value!r}")
    return text


def box_of(key: str, value: Any) -> InputBox | None:
    """An input box from text, as a flag gives it, or from two numbers or two rows of them, as a study file does.

    Raises:
        BadInput: for anything else.

    >>> box_of("input-box", "0,1") == box_of("input-box", [0, 1])
    True
    """
    return read_box(value) if isinstance(value, str) else check_box(value)


def _truth(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"{key} must be true or false, got {value!r:.60}")
    return value


def _statistic(key: str, value: Any) -> str | tuple[float, ...]:
    if isinstance(value, str) and value.strip()[:1].isalpha():
        return value.strip()
    return numbers(key, [value] if isinstance(value, int | float) else value)


def _texts(key: str, value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts or not all(isinstance(part, str) and part for part in parts):
        raise BadInput(f"{key} must be one name or several separated by commas, got {value!r}")
    return tuple(part.strip() for part in parts)


def _asked(key: str, value: Any) -> Asked:
    return Asked.of(value)


def _options(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise BadInput(f"{key} must be a table of names and values, got {value!r}")
    return dict(value)


FLAGS: Final = (
    *("sigma", "n", "n0", "alpha", "noise", "schedule", "selection", "bound", "looks", "look_alphas", "batch_size"),
    *("retention", "null"),
    *("claim", "decide", "timeout", "gap", "max_memory"),
)
"""Settings of certifiers that have a flag of their own; which of them a certifier has, it says itself."""

_READ: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "certifier": _texts,
    "radii": radii_of,
    "mean": _statistic,
    "std": _statistic,
    "input_box": box_of,
    "option": _options,
    "attack_option": _options,
    "compile": _truth,
    "limit": whole,
    "seed": whole,
    "workers": whole,
    "input_timeout": duration,
    "time_budget": duration,
    "train": _asked,
    "label": label_of,
}
"""How settings are read that are no text."""

_TABLES: Final = {
    "threat": ("norm", "radii", "scale", "units", "input_box"),
    "property": (),
    "certifier": (*FLAGS, "seed"),
}
"""Settings that may be tables in a study file: the name, and settings beside it; these have flags of their own."""
