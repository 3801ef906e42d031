"""Records as lines of JSON, and files of an archive that is the same bytes whenever it is written.

What reads an archive trusts nothing in it: whoever hands one over may have made it.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from certify.bounded.texts import strictly_from_json
from certify.store.difference import Record

__all__ = ["PART", "add_file", "digest_of", "entries_of", "inflated", "line_of", "lines_of", "unambiguous"]

PART: Final = 2**20
"""Bytes that are unpacked at a time."""

_HEADER: Final = struct.Struct("<4s5H3L2H")
"""Of a file: signature, version, flags, method, time, date, CRC, two sizes, lengths of name and extra field."""
_WIDE: Final = struct.Struct("<2H2Q")
"""The extra field with sizes of 64 bits."""
_END: Final = struct.Struct("<4s4H2LH")
"""What ends an archive; its last field is the length of a comment."""


def unambiguous(text: bytes) -> Any:
    """JSON in UTF-8 that every parser reads alike; ValueError for other text."""
    return strictly_from_json(text)


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


def entries_of(content: bytes) -> list[zipfile.ZipInfo]:
    """The files of an archive of which there is only one reading, in the order in which they lie in it.

    Their headers say what the archive's list says, and archive and list fill the file from its first byte to its last:
    a program that reads from the front, or looks for another list, finds nothing else.

    Raises:
        zipfile.BadZipFile: otherwise, or for a file that is compressed in another way than :func:`add_file` does.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries, begins = sorted(archive.infolist(), key=lambda info: info.header_offset), archive.start_dir
    if content[-_END.size :][:4] != b"PK\5\6" or _END.unpack(content[-_END.size :])[-1]:
        raise zipfile.BadZipFile("data follows the archive")
    place = 0
    for info in entries:
        if info.header_offset != place:
            raise zipfile.BadZipFile(f"{info.filename} begins at byte {info.header_offset:,} and not at {place:,}")
        place = _data_of(content, info) + info.compress_size
    if place != begins:
        raise zipfile.BadZipFile("data lies between the last file and the list of files")
    return entries


def inflated(content: bytes, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """A file of an archive in parts of at most :data:`PART` bytes; what is beyond its stated size is never unpacked.

    Raises:
        zipfile.BadZipFile: if there is more or less of it, or its checksum is wrong.
        zlib.error: if it is no such data.
    """
    begin, left, crc = _data_of(content, info), info.file_size, 0
    packed = memoryview(content)[begin : begin + info.compress_size]
    stream = None if info.compress_type == zipfile.ZIP_STORED else zlib.decompressobj(-zlib.MAX_WBITS)
    for place in range(0, len(packed), PART):
        rest: bytes | memoryview = packed[place : place + PART]
        # One byte more than there may be is asked for: it shows that there is more.
        while part := bytes(rest[: left + 1]) if stream is None else stream.decompress(rest, min(PART, left + 1)):
            left -= len(part)
            if left < 0:
                raise zipfile.BadZipFile(f"{info.filename} unpacks to more than {info.file_size:,} bytes")
            crc = zlib.crc32(part, crc)
            yield part
            rest = rest[len(part) :] if stream is None else stream.unconsumed_tail
        if stream is not None and stream.eof and (stream.unused_data or place + PART < len(packed)):
            raise zipfile.BadZipFile(f"data lies behind the end of {info.filename}")
    if left or not (stream is None or stream.eof):
        raise zipfile.BadZipFile(f"{info.filename} unpacks to less than {info.file_size:,} bytes")
    if crc != info.CRC:
        raise zipfile.BadZipFile(f"{info.filename} has another checksum")


def _data_of(content: bytes, info: zipfile.ZipInfo) -> int:
    """Where the data of a file begins, after a header that says the same as the list of files."""
    place = info.header_offset
    begins, _, flags, method, _, _, crc, packed, size, name, extra = _HEADER.unpack_from(content, place)
    names, begin = place + _HEADER.size, place + _HEADER.size + name + extra
    if (packed, size) == (2**32 - 1, 2**32 - 1) and extra == _WIDE.size:
        *_, size, packed = _WIDE.unpack_from(content, names + name)
    elif extra:
        raise zipfile.BadZipFile(f"the header of {info.filename} holds more than its size")
    if flags or info.flag_bits or method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(
            f"{info.filename} is packed by method {method} with flags {flags or info.flag_bits}, which no bundle is"
        )
    said = begins, method, crc, packed, size, content[names : names + name]
    if said != (b"PK\3\4", info.compress_type, info.CRC, info.compress_size, info.file_size, info.filename.encode()):
        raise zipfile.BadZipFile(f"the header of {info.filename} says otherwise than the list of files")
    return begin
