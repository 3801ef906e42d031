"""Parquet tables: what their pages unpack to is added up from the header of each page before any of them is unpacked.

A few bytes may be compressed from gigabytes, and name one long text a million times. So columns of text are read as
places in their dictionary, and nothing that a footer says of sizes is believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from certify.bounded.memory import check_room
from certify.errors import needs, one_line

__all__ = ["table_parts"]

TOGETHER: Final = 10_000
"""Rows that are unpacked at a time, whatever row groups a file has."""

ROW: Final = 256
"""Bytes of memory that a row takes at least, once its values are objects of Python."""

MOST_PARTS: Final = 2**16
"""Columns, row groups and the like in a footer: a short one may claim more than there is memory for."""

_BOOLS, _I32, _I64, _BINARY, _STRUCT = (1, 2), 5, 6, 8, 12
"""Types of Thrift's compact protocol that the header of a page may hold."""

_KIND, _UNPACKED, _PACKED = (1,), (2,), (3,)
_DATA, _DICTIONARY = 0, 2
_VALUES: Final = {_DATA: (5, 1), _DICTIONARY: (7, 1)}
_CODED: Final = {_DATA: (5, 2), _DICTIONARY: (7, 2)}
"""Where a header says of what kind its page is, how large, how many values it holds, and how they are coded."""

_CODES: Final = {_DATA: (0, 2, 8), _DICTIONARY: (0, 2)}
"""Plain, or places in a dictionary. Other codes build a text on the one before it, so that long ones are short."""


def table_parts(content: bytes, columns: dict[str, str], purpose: str) -> Iterator[dict[str, list[Any]]]:
    """The rows of a Parquet file, part by part: the values of each column by its name, equal texts as one object.

    Args:
        content: of the file.
        columns: name to type (``int64``, ``double`` or ``string``) of every column, in order; values may be missing.
        purpose: what needs pyarrow, for the message where it is not installed.

    Raises:
        ValueError: for other content or columns, or a damaged file.
        NoRoom: where it would take more than a quarter of the memory that is free.
        MissingExtra: without pyarrow.
    """
    with needs("pyarrow", "parquet", purpose):
        import pyarrow
        from pyarrow import parquet
    limits = {"thrift_string_size_limit": max(1, len(content)), "thrift_container_size_limit": MOST_PARTS}
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content), **limits)
        metadata = file.metadata
        _check_columns([(field.name, str(field.type)) for field in file.schema_arrow], columns)
        check_room(f"a table of {metadata.num_rows:,} rows", ROW * metadata.num_rows)
        check_room("a table, unpacked,", _unpacked(content, metadata))
        texts = [name for name, kind in columns.items() if kind == "string"]
        file = parquet.ParquetFile(pyarrow.BufferReader(content), read_dictionary=texts, **limits)
        for batch in file.iter_batches(TOGETHER, use_threads=False):
            batch.validate(full=True)
            yield {name: _values(batch.column(name)) for name in columns}
    except (pyarrow.ArrowException, LookupError, OSError, OverflowError, RecursionError, UnicodeDecodeError) as problem:
        raise ValueError(f"as Parquet it cannot be read: {one_line(problem)}") from problem


def _check_columns(found: list[tuple[str, str]], wanted: dict[str, str]) -> None:
    """Refuse columns that are others, or of other types."""
    for name, kind in found:
        if name not in wanted:
            raise ValueError(f"its column {name!r:.40} is none of such a record")
        if kind != wanted[name]:
            raise ValueError(f"its column {name!r} is of type {kind:.40} and not {wanted[name]}")
    if found != list(wanted.items()):
        raise ValueError(f"its columns are not {', '.join(wanted)}, in this order")


def _values(column: Any) -> list[Any]:
    """The values of a column; None where one is missing."""
    if not hasattr(column, "dictionary"):
        return list(column.to_pylist())
    places = column.indices.to_pylist()
    texts = {place: None if place is None else column.dictionary[place].as_py() for place in {*places}}
    return [texts[place] for place in places]


def _unpacked(content: bytes, metadata: Any) -> int:
    """Bytes that all pages of a file unpack to, by their headers; ValueError for pages that Arrow does not write."""
    if not str(metadata.created_by).startswith("parquet-cpp-arrow"):  # Arrow reads beyond the chunks of some writers
        raise ValueError(f"it was written by {metadata.created_by!r:.40}, and certify export writes by Arrow")
    packed = unpacked = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(metadata.num_columns)):
            begin = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
            packed += chunk.total_compressed_size
            if begin < 0 or chunk.total_compressed_size < 0 or packed > len(content):
                raise ValueError("its pages lie outside the file, or one upon the other")
            if chunk.num_values > 0:  # otherwise no page is read, and Arrow writes none that begins there
                unpacked += sum(_pages(content, begin, begin + chunk.total_compressed_size))
    return unpacked


def _pages(content: bytes, place: int, end: int) -> Iterator[int]:
    """Bytes that each page unpacks to, of the pages that fill a part of a file."""
    while place < end:
        header, place = _numbers(content, place)
        kind = header.get(_KIND, -1)
        if kind not in _CODES or header.get(_CODED[kind]) not in _CODES[kind]:
            raise ValueError("it holds a page of a kind that certify export does not write")
        packed, unpacked, values = (header.get(field, -1) for field in (_PACKED, _UNPACKED, _VALUES[kind]))
        place += packed
        if min(packed, unpacked, values) < 0 or place > end or (kind == _DICTIONARY and values > unpacked):
            raise ValueError("the header of a page claims what cannot be")
        yield unpacked


def _numbers(content: bytes, place: int, inside: tuple[int, ...] = ()) -> tuple[dict[tuple[int, ...], int], int]:
    """The whole numbers in a structure of Thrift's compact protocol, by the fields that lead there; and where it ends.

    Fields ascend, so that none stands twice: readers need not agree on which one counts then.
    """
    found: dict[tuple[int, ...], int] = {}
    field = 0
    while head := content[place]:
        step, kind, place = head >> 4, head & 15, place + 1
        if not step:
            raise ValueError("the fields in the header of a page do not ascend")
        field += step
        if kind == _STRUCT:
            more, place = _numbers(content, place, (*inside, field))
            found |= more
        elif kind in (_I32, _I64, _BINARY):
            number, place = _varint(content, place)
            place += number if kind == _BINARY else 0
            if kind == _I32:
                found[*inside, field] = (number >> 1) ^ -(number & 1)
        elif kind not in _BOOLS:
            raise ValueError("the header of a page holds a field of another type")
    return found, place + 1


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """A number in bytes of seven bits, the lowest first, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        byte, place = content[place], place + 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise ValueError("a number in the header of a page does not end")
