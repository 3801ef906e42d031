"""The files that commands read and write, looked at before anything is computed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from certify.core.whole import writing
from certify.errors import BadInput
from certify.store.run_folder import EVIDENCE

__all__ = ["clear", "evidence", "named_files", "present", "replacing", "spare", "writable"]


def named_files(files: Sequence[Path], networks: Sequence[str]) -> tuple[Path, Path, str | None]:
    """The network, the property, and what the property should call the network if that was said.

    Raises:
        BadInput: unless there is one of each.

    >>> named_files([Path("net.onnx"), Path("p.vnnlib")], [])
    (PosixPath('net.onnx'), PosixPath('p.vnnlib'), None)
    >>> named_files([Path("p.vnnlib")], ["N=net.onnx"])
    (PosixPath('net.onnx'), PosixPath('p.vnnlib'), 'N')
    """
    pairs = [text.partition("=") for text in networks]
    for name, equals, path in pairs:
        if not (name and equals and path):
            raise BadInput(f"--network {name}{equals}{path} is not NAME=NET.onnx")
    match files, pairs:
        case [net, prop], []:
            return net, prop, None
        case [prop], [(name, _, path)]:
            return Path(path), prop, name
        case _, [_, _, *_]:
            raise BadInput(f"{len(pairs)} networks; properties of one are decided")
    raise BadInput("name a network and a property: NET.onnx PROP.vnnlib, or PROP.vnnlib --network NAME=NET.onnx")


def present(*files: Path) -> None:
    """Refuse files that cannot be read because they are not there.

    Raises:
        BadInput: for the first one that is missing or a folder.
    """
    for file in files:
        mode = _mode(file, follow=True)
        if mode is None:
            raise BadInput(f"there is no file {file}")
        if stat.S_ISDIR(mode):
            raise BadInput(f"{file} is a folder; name a file")


def evidence(*runs: Path) -> list[Path]:
    """The files of run folders without which nobody can read or check them."""
    return [run / name for run in runs for name in EVIDENCE]


def spare(targets: Mapping[str, Path], sources: Iterable[Path]) -> None:
    """Keep what is read, and what another option writes, from being written over.

    Args:
        targets: the files, each under the option that named it.
        sources: files that are read, where they exist.

    Raises:
        BadInput: for a target that is a source or another target.
    """
    sources, taken = list(sources), dict[str, str]()
    for option, path in targets.items():
        if any(_same(path, source) for source in sources):
            raise BadInput(f"{option} {path} would overwrite what is read; choose another file")
        if (other := taken.setdefault(os.path.realpath(path), option)) != option:
            raise BadInput(f"{other} and {option} both name {path}; choose two files")


def writable(targets: Mapping[str, Path], sources: Iterable[Path]) -> None:
    """Make sure that files can be made, or replaced as a whole.

    Args:
        targets: the files, each under the option that named it.
        sources: files that are read, where they exist.

    Raises:
        BadInput: for a target that is a source, another target, no plain file, or in a folder that is missing or cannot
            be written to.
    """
    for option, path in targets.items():
        mode, folder = _mode(path, follow=False), path.parent
        if mode is not None and not stat.S_ISREG(mode):  # a device is replaced as easily, a link followed unseen
            raise BadInput(f"{option} {path} is no plain file; choose another")
        if not folder.is_dir():
            raise BadInput(f"{option} {path}: there is no folder {folder}; make it, or choose another file")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise BadInput(f"{option} {path}: the folder {folder} cannot be written to; choose another file")
    spare(targets, sources)


def clear(targets: Mapping[str, Path], sources: Iterable[Path]) -> None:
    """Make sure that files can be written, and remove what an earlier run left there: it would look current.

    Nothing is removed before all of them are found to be right.

    Raises:
        BadInput: as :func:`writable`, or for a file that cannot be removed.
    """
    writable(targets, sources)
    for option, path in targets.items():
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
