"""The files that ``certify verify`` reads and writes, looked at before anything is computed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from certify.errors import BadInput

__all__ = ["clear", "named_files", "present"]


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


def clear(targets: Mapping[str, Path], sources: Sequence[Path]) -> None:
    """Make sure that files can be written, and remove what an earlier run left there: it would look current.

    Nothing is removed before all of them are found to be right.

    Args:
        targets: the files, each under the option that named it.
        sources: files that are read, and exist.

    Raises:
        BadInput: for a target that is a source, another target, no plain file, or in a folder that is missing or cannot
            be written to.
    """
    taken: dict[Path, str] = {}
    for option, path in targets.items():
        mode, folder = _mode(path, follow=False), path.parent
        if mode is not None and not stat.S_ISREG(mode):  # a device is removed as easily, a link followed unseen
            raise BadInput(f"{option} {path} is no plain file; choose another")
        if not folder.is_dir():
            raise BadInput(f"{option} {path}: there is no folder {folder}; make it, or choose another file")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise BadInput(f"{option} {path}: the folder {folder} cannot be written to; choose another file")
        if mode is not None and any(path.samefile(source) for source in sources):
            raise BadInput(f"{option} {path} would overwrite what is read; choose another file")
        if (other := taken.setdefault(path.resolve(), option)) != option:
            raise BadInput(f"{other} and {option} both name {path}; choose two files")
    for option, path in targets.items():
        try:
            path.unlink(missing_ok=True)
        except OSError as problem:
            raise BadInput(f"{option} {path} cannot be replaced ({problem.strerror}); choose another file") from problem


def _mode(file: Path, *, follow: bool) -> int | None:
    """What kind of file this is; None if there is none."""
    try:
        return file.stat(follow_symlinks=follow).st_mode
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise BadInput(f"cannot look at {file} ({problem.strerror}); choose another file") from problem
