"""Certificates that ``certify export`` wrote, read again: a file of records, and the manifest of their run beside it.

Somebody else may have made both, so nothing in them is believed here, and neither takes more memory than there is to
spare.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from certify.bounded.files import check_text, content_of
from certify.bounded.memory import NoRoom, room
from certify.bounded.texts import strictly_from_json
from certify.core.certificate import RECORD
from certify.errors import BadInput, StoreError
from certify.store.export import EXPORTS
from certify.store.run_folder import Manifest, read_manifest

__all__ = ["is_exported", "manifest_beside", "read_exported", "refuse_shared"]

SHARE: Final = 0.5
"""Share of the free memory that a check of foreign records may take."""

AS_OBJECTS: Final = 6
"""Bytes of memory that each byte of a record's text takes while it is checked, the claims about it included."""


def manifest_beside(file: Path) -> Path:
    """Where the manifest of the records in a file is.

    >>> manifest_beside(Path("results/digits.parquet")).as_posix()
    'results/digits.manifest.json'
    """
    return file.with_name(f"{file.stem}.manifest.json")


def refuse_shared(file: Path, manifest: Path) -> None:
    """Refuse to put the manifest of one run where records of another have theirs: nobody could check them any more.

    Args:
        file: where records are about to be written.
        manifest: of their run.

    Raises:
        BadInput: naming the other file.
    """
    beside = manifest_beside(file)
    if not beside.exists() or filecmp.cmp(beside, manifest, shallow=False):
        return
    for other in (file.with_suffix(f".{name}") for name in EXPORTS if EXPORTS[name].read is not None):
        if other.name != file.name and other.exists():
            raise BadInput(f"{beside} is that of another run, and {other} needs it; choose another file than {file}")


def is_exported(path: Path | str) -> bool:
    """Whether a path is that of a file of records, or would be, and not that of a run folder."""
    return os.path.isfile(path) or (Path(path).suffix[1:] in EXPORTS and not os.path.isdir(path))


def read_exported(file: Path) -> tuple[Manifest, list[dict[str, Any]]]:
    """The manifest beside a file of certificates, and the certificates as rows of a store, unread.

    A store knows under which settings each of its rows was made. A file does not: its rows stand under those of the
    manifest, and whether they are what it asked for is to be checked record by record.

    Raises:
        StoreError: for a file that cannot be read, is damaged or no export of certificates, or holds none; for a
            manifest that is missing or damaged.
        BadInput: for a format that leaves out the evidence, or more records than there is memory for.
        MissingExtra: where the format needs a library that is not installed.
    """
    read, most = _reader_of(file), room(SHARE) // AS_OBJECTS
    try:
        content = content_of(file, most)
    except OSError as problem:
        raise StoreError(f"cannot read {file} ({problem.strerror}); name what certify export wrote") from problem
    beside = manifest_beside(file)
    if not os.path.lexists(beside):
        raise StoreError(f"{file} has no manifest beside it: certify export wrote one as {beside}, get it as well")
    manifest, rows = read_manifest(beside), list[dict[str, Any]]()
    try:
        for text in read(content):
            if (most := most - len(text)) < 0:
                raise NoRoom(f"it holds more records than this machine has memory for, which is {len(rows):,}")
            rows.append(_row(text, manifest.digest))
    except NoRoom as problem:
        raise NoRoom(f"{file} cannot be read here: {problem}") from problem
    except ValueError as problem:
        said = f"{file} is no file of certificates, or damaged at record {len(rows) + 1:,}"
        raise StoreError(f"{said} ({str(problem)[:200]}); get it again") from problem
    if not rows:
        raise StoreError(f"{file} holds no certificate; export the run again")
    return manifest, rows


def _reader_of(file: Path) -> Callable[[bytes], Iterator[str]]:
    """What reads a file of this name."""
    readers = {f".{name}": one.read for name, one in EXPORTS.items() if one.read is not None}
    if file.suffix not in readers:
        known = " or ".join(f"--format {name[1:]}" for name in readers)
        raise BadInput(f"{file} is of no kind that can be checked: that is a run folder, or {known} of certify export")
    return readers[file.suffix]


def _row(text: str, settings: str) -> dict[str, Any]:
    """A certificate as a store holds it; ValueError for what is none at first sight."""
    check_text(text)
    fields = strictly_from_json(text)
    if not isinstance(fields, dict):
        raise ValueError("it is no record")
    if missing := [name for name in RECORD if name not in fields and name != "property"]:
        raise ValueError(f"it has no {missing[0]}, as every certificate has")
    return {
        "position": fields["index"],
        "method": fields["method"],
        "settings": settings,
        "verdict": fields["verdict"],
        "record": text,
    }
