"""The files that commands read and write, looked at before anything is computed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from certify.core.whole import writing
from certify.errors import BadInput, needs
from certify.store.run_folder import EVIDENCE

__all__ = [
    "evidence_files",
    "remove_earlier",
    "replacing",
    "require_distinct",
    "require_files",
    "require_picture",
    "require_writable",
    "save_picture",
]

PICTURES: Final[Mapping[str, Mapping[str, None]]] = {".svg": {"Date": None}, ".png": {}, ".pdf": {"CreationDate": None}}
"""Kinds of picture, and what keeps the time of day out of them: the same runs make the same bytes."""


def require_files(*files: Path) -> None:
    """Refuse input files that do not exist.

    Raises:
        BadInput: for the first one that is missing or a folder.
    """
    for file in files:
        mode = _mode(file, follow=True)
        if mode is None:
            raise BadInput(f"there is no file {file}")
        if stat.S_ISDIR(mode):
            raise BadInput(f"{file} is a folder; name a file")


def evidence_files(*runs: Path) -> list[Path]:
    """The files of run folders that no command may overwrite: without them nobody can read or check a run."""
    return [run / name for run in runs for name in EVIDENCE]


def require_distinct(targets: Mapping[str, Path | None], sources: Iterable[Path]) -> None:
    """Refuse to overwrite a file that is read, or one that another option writes.

    Args:
        targets: the file that each option names; None where the option was not given.
        sources: files that are read, where they exist.

    Raises:
        BadInput: for a target that is a source or another target.
    """
    sources, taken = list(sources), dict[str, str]()
    for option, path in _given(targets):
        if any(_same(path, source) for source in sources):
            raise BadInput(f"{option} {path} would overwrite what is read; choose another file")
        if (other := taken.setdefault(os.path.realpath(path), option)) != option:
            raise BadInput(f"{other} and {option} both name {path}; choose two files")


def require_writable(targets: Mapping[str, Path | None], sources: Iterable[Path]) -> None:
    """Make sure that files can be made, or replaced as a whole.

    Args:
        targets: the file that each option names; None where the option was not given.
        sources: files that are read, where they exist.

    Raises:
        BadInput: for a target that is a source, another target, no plain file, or in a folder that is missing or cannot
            be written to.
    """
    for option, path in _given(targets):
        mode, folder = _mode(path, follow=False), path.parent
        if mode is not None and not stat.S_ISREG(
            mode
        ):  # otherwise a device could be replaced, or a link followed unseen
            raise BadInput(f"{option} {path} is no plain file; choose another")
        if not folder.is_dir():
            raise BadInput(f"{option} {path}: there is no folder {folder}; make it, or choose another file")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise BadInput(f"{option} {path}: the folder {folder} cannot be written to; choose another file")
    require_distinct(targets, sources)


def remove_earlier(targets: Mapping[str, Path | None], sources: Iterable[Path]) -> None:
    """Make sure that files can be written, and remove what an earlier run left there: it would look current.

    Nothing is removed before all of them are found to be right.

    Raises:
        BadInput: as :func:`require_writable`, or for a file that cannot be removed.
    """
    require_writable(targets, sources)
    for option, path in _given(targets):
        try:
            path.unlink(missing_ok=True)
        except OSError as problem:
            raise BadInput(f"{option} {path} cannot be replaced ({problem.strerror}); choose another file") from problem


@contextmanager
def replacing(option: str, path: Path) -> Iterator[BinaryIO]:
    """A file to write bytes to; what was there before stays until all of them are written.

    Raises:
        BadInput: if that fails, naming the option that named the file.
    """
    try:
        with writing(path) as file:
            yield file
    except OSError as problem:
        raise BadInput(f"cannot write {path} ({problem.strerror}); choose another {option}") from problem


def require_picture(option: str, path: Path | None) -> None:
    """Refuse a file whose name is that of no kind of picture.

    Raises:
        BadInput: naming the kinds.
    """
    if path is not None and path.suffix not in PICTURES:
        raise BadInput(f"{option} {path} is none of {', '.join(PICTURES)}; name the file so")


def save_picture(option: str, path: Path, draw: Callable[[Any], object], inches: tuple[float, float]) -> None:
    """Write what ``draw`` draws on a fresh figure; the same drawing makes the same bytes.

    Raises:
        BadInput: if the file cannot be written, naming the option that named it.
        MissingExtra: without matplotlib.
    """
    with needs("matplotlib", "plot", "drawing a picture"):
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    with rc_context({"svg.hashsalt": "certify", "svg.fonttype": "none"}):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        with replacing(option, path) as target:
            figure.savefig(target, format=path.suffix[1:], metadata=PICTURES[path.suffix])


def _given(targets: Mapping[str, Path | None]) -> Iterator[tuple[str, Path]]:
    return ((option, path) for option, path in targets.items() if path is not None)


def _same(one: Path, other: Path) -> bool:
    """Whether both lead to one file, or would if it were made."""
    there = os.path.exists(one) and os.path.exists(other)
    return os.path.samefile(one, other) if there else os.path.realpath(one) == os.path.realpath(other)


def _mode(file: Path, *, follow: bool) -> int | None:
    """What kind of file this is; None if there is none."""
    try:
        return file.stat(follow_symlinks=follow).st_mode
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise BadInput(f"cannot look at {file} ({problem.strerror}); choose another file") from problem
