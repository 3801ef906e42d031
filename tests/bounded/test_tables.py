"""Parquet files that claim, or unpack to, more than there is memory for: refused before any page is unpacked."""

from __future__ import annotations

import io
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from certify.bounded import memory
from certify.bounded.memory import NoRoom
from certify.bounded.parquet import TOGETHER, _pages, _unpacked, table_parts

COLUMNS = {"number": "int64", "share": "double", "text": "string"}


def written(number: list[Any], share: list[Any], text: list[Any], **how: Any) -> bytes:
    schema = pyarrow.schema(list(COLUMNS.items()))
    out = io.BytesIO()
    parquet.write_table(pyarrow.table([number, share, text], schema=schema), out, compression="zstd", **how)
    return out.getvalue()


def read(content: bytes) -> list[dict[str, list[Any]]]:
    return list(table_parts(content, COLUMNS, "reading Parquet"))


@pytest.fixture
def little(monkeypatch) -> None:
    """There are 32 MiB of free memory, of which 8 may be taken."""
    monkeypatch.setattr(memory, "free_memory", lambda: 2**25)


@pytest.fixture
def packed_only(monkeypatch) -> None:
    """No page may be unpacked."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a page is unpacked")

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", refuse)


@pytest.mark.parametrize("how", [{}, {"use_dictionary": False}, {"compression": "none"}, {"row_group_size": 2}])
def test_values_come_back_exactly(how, little):
    columns = [1, None, -(2**63)], [0.1, None, float("inf")], ["a", None, "\0é"]
    how = {"compression": "zstd"} | how
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns, schema=pyarrow.schema(list(COLUMNS.items()))), out, **how)
    parts = read(out.getvalue())
    assert [[value for part in parts for value in part[name]] for name in COLUMNS] == [*columns]


def test_rows_come_in_parts():
    rows = TOGETHER + 7
    parts = read(written([*range(rows)], [0.5] * rows, [f"row {i % 9}" for i in range(rows)]))
    assert [len(part["text"]) for part in parts] == [TOGETHER, 7]
    assert [value for part in parts for value in part["number"]] == [*range(rows)]


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_small_file_of_one_long_text_is_not_unpacked(little, packed_only, dictionary):
    content = written([1], [1.0], ["0" * 2**24], use_dictionary=dictionary)
    assert len(content) < 2**14
    with pytest.raises(NoRoom, match=r"a table, unpacked, takes 16,\d+,\d+ bytes"):
        read(content)


def test_a_small_file_of_many_rows_is_not_unpacked(little, packed_only):
    content = written([None] * 50_000, [None] * 50_000, [None] * 50_000)
    assert len(content) < 2**12
    with pytest.raises(NoRoom, match="a table of 50,000 rows takes"):
        read(content)


def test_a_long_text_that_many_rows_name_is_held_once():
    content = written([1] * 2000, [1.0] * 2000, ["0" * 2**20] * 2000)
    tracemalloc.start()
    [part] = read(content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len({id(text) for text in part["text"]}) == 1
    assert most < 2**23


def header(*fields: int, nested: int = 5, inside: tuple[int, ...] = (1, 0)) -> bytes:
    """The header of a page: kind and sizes, then the number of values and their code."""
    numbers = b"".join(b"\x15" + number(value) for value in fields)
    values = b"".join(b"\x15" + number(value) for value in inside)
    return numbers + bytes([(nested - len(fields)) << 4 | 12]) + values + b"\0\0"


def number(value: int) -> bytes:
    value, parts = 2 * value if value >= 0 else -2 * value - 1, bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def test_the_headers_of_pages_are_added_up():
    page, places = header(0, 5, 2) + b"ab", header(2, 2**30, 1, nested=7, inside=(3, 2)) + b"c"
    assert list(_pages(places + page + page, 0, len(places + page + page))) == [2**30, 5, 5]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header(0, -1, 0), "claims what cannot be"),
        (header(0, 5, 1), "claims what cannot be"),
        (header(0, 5, -9), "claims what cannot be"),
        (header(0, 5, 0, inside=(-1, 0)), "claims what cannot be"),
        (header(2, 5, 0, nested=7, inside=(6, 0)), "claims what cannot be"),
        (header(0, 5, 0, inside=(1, 7)), "of a kind that"),
        (header(1, 5, 0, nested=6), "of a kind that"),
        (header(3, 5, 0, nested=8), "of a kind that"),
        (header(0, 5, 0, inside=(1,)), "of a kind that"),
        (b"\x15\0\x05\x02\0", "do not ascend"),
        (b"\x19\0\0", "of another type"),
        (b"\x10\0", "of another type"),
        (b"\x15" + b"\xff" * 20 + b"\0", "does not end"),
        (b"\x16\0\0", "of a kind that"),
    ],
)
def test_a_header_that_readers_could_read_otherwise_is_refused(content, said):
    with pytest.raises(ValueError, match=said):
        list(_pages(content, 0, len(content)))


@pytest.mark.parametrize("content", [b"\x15", b"\x18\x7f", b"\x1c" * 100])
def test_a_header_that_ends_early_is_refused(content):
    with pytest.raises(IndexError):
        list(_pages(content, 0, len(content)))


def footer(*chunks: tuple[int, int | None, int], writer: str = "parquet-cpp-arrow version 30") -> Any:
    columns = [
        SimpleNamespace(data_page_offset=data, dictionary_page_offset=places, total_compressed_size=size, num_values=1)
        for data, places, size in chunks
    ]
    group = SimpleNamespace(column=columns.__getitem__)
    return SimpleNamespace(created_by=writer, num_row_groups=1, num_columns=len(columns), row_group=lambda _: group)


def test_pages_that_lie_upon_each_other_or_outside_are_refused():
    content = header(0, 5, 0)
    whole = (0, None, len(content))
    assert _unpacked(content, footer(whole)) == 5
    for chunks in ([whole, whole], [(-1, None, 1)], [(0, -1, 1)], [(0, None, -1)], [(0, None, len(content) + 1)]):
        with pytest.raises(ValueError, match="outside the file, or one upon the other"):
            _unpacked(content, footer(*chunks))
    with pytest.raises(ValueError, match="of a kind that"):  # what does not fill its chunk is read on
        _unpacked(content, footer((1, None, len(content))))
    with pytest.raises(ValueError, match="was written by 'parquet-mr'"):
        _unpacked(content, footer(whole, writer="parquet-mr"))
