"""How runs were made, and what it takes to make them again: names, with a value for each run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from certify.core.run import Run

__all__ = ["commands", "protocol", "reproduction"]

Facts = list[list[str]]
"""Lines of a name, then a value for each run."""


def protocol(runs: Sequence[Run]) -> Facts:
    """What was asked of certifiers and attack, beside what each table's head says."""
    return _side_by_side([{**run.summary.head, **_certifiers(run.settings)} for run in runs])


def reproduction(runs: Sequence[Run]) -> Facts:
    """Digests, seed, versions and whatever else pins a run."""
    return _side_by_side([_pins(run) for run in runs])


def commands(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What to type to make runs again, to check their claims, and to make their page again; each with its purpose."""
    made = []
    for run in runs:
        if asked := [str(word) for word in run.context.get("command", ())]:
            made.append((f"make {run.name} again", shlex.join([PurePath(asked[0]).name, *asked[1:]])))
        made.append((f"derive every claim of {run.name} again", f"certify check {_folder(run)}"))
    return [*made, ("make this page again", f"certify report {' '.join(map(_folder, runs))} --html report.html")]


def _folder(run: Run) -> str:
    return "RUN" if run.path is None else shlex.quote(str(run.path))


def _side_by_side(columns: Sequence[Mapping[str, str]]) -> Facts:
    names = dict.fromkeys(name for column in columns for name in column)
    return [[name, *(column.get(name, "") for column in columns)] for name in names]


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
