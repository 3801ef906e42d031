"""How runs were made, and what it takes to make them again: a list of names with a value for each run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from certify.core.rounding import round_down, round_up
from certify.core.run import Run
from certify.core.summary import Summary
from certify.named import is_named

__all__ = ["averages", "commands", "protocol", "reproduction"]

Facts = list[list[str]]
"""Lines of a name, then a value for each run."""


def protocol(runs: Sequence[Run]) -> Facts:
    """The head of each run's table, and the settings of its certifiers."""
    return _side_by_side([{**run.summary.head, **_certifiers(run.settings)} for run in runs])


def reproduction(runs: Sequence[Run]) -> Facts:
    """Digests, seed, versions and everything else that identifies a run."""
    return _side_by_side([_pins(run) for run in runs])


def averages(runs: Sequence[Run]) -> Facts:
    """The figures of each run that belong to no single radius: contradictions, average radius, gaps."""
    return _side_by_side([_averages(run.summary) for run in runs])


def commands(runs: Sequence[Run], asked: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """What to type to make runs again, to check their claims, and to make their page again; each with its purpose.

    Args:
        runs: those of the page.
        asked: the words after the run folders with which the page was asked for, where they are known. Else what can
            be read off the runs: other radii than the declared ones, and by what inputs are grouped.
    """
    made = []
    for run in runs:
        if trained := _trained(run.context):
            made.append((f"train the model of {run.name} again", shlex.join(trained)))
        if typed := _typed(run.context):
            made.append((f"make {run.name} again", shlex.join(typed)))
        made.append((f"derive every claim of {run.name} again", f"certify check {_folder(run)}"))
    words = shlex.join(_asked(runs[0]) if asked is None else asked)
    again = f"certify report {' '.join(map(_folder, runs))} {words}".rstrip()
    return [*made, ("make this page again", f"{again} --html report.html")]


def _typed(context: Mapping[str, Any]) -> list[str]:
    """The words that make a run again: every setting as a flag, also those that stood in a study file.

    Runs of older versions recorded what was typed and no more.
    """
    study = context.get("study")
    if not isinstance(study, Mapping):
        typed = [str(word) for word in context.get("command", ())]
        return [PurePath(typed[0]).name, *typed[1:]] if typed else []
    words = ["certify", "run"]
    return words + _flags({name: value for name, value in study.items() if name != "train"})


def _trained(context: Mapping[str, Any]) -> list[str]:
    """The words that train a run's model again, where its study file says how; nothing where it does not."""
    study = context.get("study")
    if not (isinstance(study, Mapping) and isinstance(train := study.get("train"), Mapping)):
        return []
    model = str(study.get("model"))
    function, _, weights = model.partition("@")
    folder = PurePath(weights).parent if is_named(function) else PurePath(model)
    folder = folder.parent if {"seeds", "folds"} & train.keys() else folder
    settings = {name: value for name, value in train.items() if name != "recipe"}
    return ["certify", "train", str(train.get("recipe")), *_flags(settings), "--out", str(folder)]


def _flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings as flags: those that are tables with a word for each of their entries."""
    words: list[str] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            words += [word for key, one in value.items() for word in (f"--{name}", f"{key}={_word(one)}")]
        else:
            words += [f"--{name}"] if value is True else [f"--{name}", _word(value)]
    return words


def _word(value: Any) -> str:
    """A setting as it is typed: lists with commas, numbers with every digit."""
    if isinstance(value, list | tuple):
        return ",".join(map(_word, value))
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _asked(run: Run) -> list[str]:
    """The options with which ``certify report`` shows this run as it is; all runs of a page share them."""
    summary = run.summary
    radii = _word(summary.threat.radii)
    # A table by group keeps the name of a column, not the file it came from.
    groups = ["label" if one.name == "label" else f"FILE:{one.name}" for one in summary.groups]
    other = summary.declared and summary.declared != summary.threat.radii
    return [*(["--radii", radii] if other else []), *(word for group in groups for word in ("--group", group))]


def _folder(run: Run) -> str:
    return "RUN" if run.path is None else shlex.quote(str(run.path))


def _side_by_side(columns: Sequence[Mapping[str, str]]) -> Facts:
    names = dict.fromkeys(name for column in columns for name in column)
    return [[name, *(column.get(name, "") for column in columns)] for name in names]


def _averages(summary: Summary) -> dict[str, str]:
    gaps, amount = summary.sandwich.gaps(), summary.threat.amount
    numbers = {
        "contradictions": f"{len(summary.contradictions):,}",
        "average certified radius": amount(summary.acr, round_down),
    }
    if gaps.median is None or gaps.largest is None:
        return numbers
    return numbers | {
        "inputs with proof and example": f"{gaps.both:,}",
        "gap between the two, median": amount(gaps.median, round_up),
        "gap between the two, largest": amount(gaps.largest, round_up),
        "other inputs predicted correctly": f"{gaps.open:,}",
    }


def _certifiers(settings: Mapping[str, Any]) -> dict[str, str]:
    return {f"certifier {one['method']}": _listed(one, without="method") for one in settings.get("certifiers", ())}


def _pins(run: Run) -> dict[str, str]:
    settings, context = run.settings, run.context
    model, data = settings["model"], settings["data"]
    shard, count = settings.get("shard", (0, 1))
    pins = {
        "run folder": "none: the records were kept in memory" if run.path is None else str(run.path),
        "model": str(model["name"]),
        "model SHA-256": str(model["digest"]),
        "data": str(data["name"]),
        "data SHA-256": str(data["digest"]),
        "inputs": f"{data['inputs']:,} of {data['of']:,}"
        + (", a seeded random subset" * (data["inputs"] < data["of"])),
        "shard": "all of it" if count == 1 else f"{shard} of {count}, counted from 0",
        "seed": "none" if settings.get("seed") is None else str(settings["seed"]),
        "device": str(settings.get("device", "not recorded")),
    }
    return pins | {f"version of {name}": str(version) for name, version in context.get("versions", {}).items()}


def _listed(settings: Mapping[str, Any], without: str) -> str:
    given = {name: value for name, value in settings.items() if name != without and value is not None}
    return ", ".join(f"{name}={value}" for name, value in given.items()) or "no settings"
