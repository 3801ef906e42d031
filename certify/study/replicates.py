"""The runs that a folder of several models holds, and their mean. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from certify.errors import BadInput
from certify.store.run_folder import MANIFEST
from certify.study.read import read_runs
from certify.summary.replicates import Replicates, replicates
from certify.summary.summarize import DELTA

__all__ = ["over_seeds", "replicates_of_runs", "runs_in"]

_PART: Final = re.compile(r"(seed|fold|sigma)-([0-9]+(?:\.[0-9]+)?(?:e-[0-9]+)?)")
"""Names that ``certify run`` gives the folders of several runs."""


def replicates_of_runs(paths: Sequence[Path | str], radii: Sequence[float] | None = None) -> Replicates:
    """The mean over run folders whose models differ in their seed alone, or in their fold, with intervals.

    Args:
        paths: the run folders, or one folder that holds them, such as ``OUT`` with ``OUT/seed-0``, ``OUT/seed-1``.
        radii: other radii than the declared ones.

    Raises:
        BadInput: for runs that differ otherwise, and as :func:`~certify.summary.replicates.replicates`.
        StoreError: if a folder cannot be read.
    """
    found = [run for path in paths for run in runs_in(path)]
    return replicates(read_runs(found, radii, DELTA / max(1, len(found))), 1 - DELTA)


def runs_in(path: Path | str) -> list[Path]:
    """The run folders in a folder that ``certify run`` made for several models or sigmas; a run folder by itself.

    A folder without any is handed back too: opening it says what it is not.
    """
    return _runs_in(Path(path), depth=2) or [Path(path)]


def _runs_in(path: Path, depth: int) -> list[Path]:
    if (path / MANIFEST).exists():
        return [path]
    if not depth or not path.is_dir():
        return []
    parts = sorted((match[1], float(match[2]), one) for one in path.iterdir() if (match := _PART.fullmatch(one.name)))
    return [run for _, _, one in parts for run in _runs_in(one, depth - 1)]


def over_seeds(paths: Sequence[Path | str], radii: Sequence[float] | None = None) -> tuple[list[Replicates], list[str]]:
    """A table for the runs of each folder ``OUT`` that are ``OUT/seed-0``, ``OUT/seed-1``, .., or folds; by sigma.

    Args:
        paths: folders as :func:`runs_in` takes them; one that was named itself has to make a table.
        radii: other radii than the declared ones.

    Returns:
        The tables; and why other runs make none, a line each.

    Raises:
        BadInput: where a folder was named that makes no table.
        StoreError: if a folder cannot be read.
    """
    groups: dict[tuple[Path, str], list[Path]] = {}
    for run in (run for path in paths for run in runs_in(path)):
        sigma = run.name if run.name.startswith("sigma-") else ""
        member = run.parent if sigma else run
        if (match := _PART.fullmatch(member.name)) and match[1] != "sigma":
            groups.setdefault((member.parent, sigma), []).append(run)
    tables, notes = [], []
    for (folder, _), runs in groups.items():
        named = folder in map(Path, paths)
        if len(runs) == 1:
            if named:
                raise BadInput(f"{folder} holds one run, {runs[0]}: an interval over seeds or folds needs at least two")
            continue
        try:
            tables.append(replicates_of_runs(runs, radii))
        except BadInput as problem:
            if named:
                raise
            notes.append(f"no table over {folder}: {problem}")
    return tables, notes
