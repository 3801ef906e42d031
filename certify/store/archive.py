"""Records as lines of JSON, and files of an archive that is the same bytes whenever it is written."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from certify.store.difference import Record

__all__ = ["add_file", "digest_of", "file_digest", "line_of", "lines_of"]


def line_of(fields: Mapping[str, Any]) -> bytes:
    """JSON in one line of ASCII without spaces: names in the order of the record, floats as they read back the same."""
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode("ascii")


def lines_of(records: Iterable[Record]) -> Iterator[bytes]:
    """The lines of records, with their ends."""
    return (line_of(record.to_dict()) + b"\n" for record in records)


def add_file(archive: zipfile.ZipFile, name: str, parts: Iterable[bytes]) -> dict[str, Any]:
    """Add a file to the archive, undated; return its digest, its size, and how many parts it was made of."""
    info = zipfile.ZipInfo(name)  # of 1980, where such dates begin
    info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
    digest, size, count = hashlib.sha256(), 0, 0
    with archive.open(info, "w", force_zip64=True) as file:
        for count, part in enumerate(parts, 1):  # noqa: B007
            digest.update(part)
            size += file.write(part)
    return {"sha256": digest.hexdigest(), "bytes": size, "records": count}


def digest_of(parts: Iterable[bytes]) -> str:
    """SHA-256 of all parts together."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def file_digest(archive: zipfile.ZipFile, name: str) -> str:
    """SHA-256 of a file of an archive, unpacked."""
    with archive.open(name) as file:
        return digest_of(iter(lambda: file.read(2**20), b""))
