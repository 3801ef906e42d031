"""Records out of a store: one a line, for git, for spreadsheets, for data frames, for strangers who check them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import chain, islice
from typing import Any, BinaryIO, Final, TextIO, get_args, get_type_hints

from certify.bounded.files import check_text
from certify.bounded.parquet import table_parts
from certify.bounded.texts import strictly_from_json
from certify.core.certificate import RECORD, Certificate
from certify.core.legible import cell
from certify.core.reported import Reported
from certify.core.rounding import round_down
from certify.errors import needs
from certify.registry import Registry

__all__ = ["EXPORTS", "Export", "Exported"]

Exported = Iterable[Certificate | Reported]


@dataclass(frozen=True, slots=True)
class Export:
    """A format of records: reads them one after the other, so that they need not all fit into memory.

    Args:
        write: writes records to an open file.
        binary: whether that file takes bytes; text otherwise.
        read: from the content of such a file, which somebody else may have made, to the JSON text of each certificate;
            a ValueError says what is wrong. None where the evidence is left out: nobody can check such a file.
    """

    write: Callable[[Exported, Any], None]
    binary: bool = False
    read: Callable[[bytes], Iterator[str]] | None = None

    def __call__(self, records: Exported, out: Any) -> None:
        """Write records to an open file of the right kind."""
        self.write(records, out)


EXPORTS: Registry[Export] = Registry("export format")

BATCH: Final = 10_000
"""Records in a row group."""


def lines_of(content: bytes) -> Iterator[str]:
    """The lines of a file in UTF-8, with their ends."""
    return (line.decode("utf-8") for line in BytesIO(content))


@EXPORTS.register("jsonl")
@partial(Export, read=lines_of)
def jsonl(records: Exported, out: TextIO) -> None:
    """One JSON object a line with every field of the record, evidence included."""
    for record in records:
        out.write(json.dumps(record.to_dict(), allow_nan=False) + "\n")


@EXPORTS.register("csv")
@Export
def csv_rows(records: Exported, out: TextIO) -> None:
    """One line a record without its evidence; a decimal radius is rounded down, the hex one is exact.

    Threat and property are in words; ``target`` is the number of the input that its property is about, empty where it
    is about none. Every setting of both is in the other formats.
    Texts were written by others: control characters are shown, and what a spreadsheet would run as a formula is quoted.
    """
    writer = csv.writer(out, lineterminator="\n")
    for line, record in enumerate(records):
        row = {name: value for name, value in record.to_dict().items() if name not in _nested(RECORD)}
        if isinstance(record, Certificate):
            property = record.property
            row |= {"threat": str(record.threat), "property": str(property.family), "target": property.target}
        if line == 0:
            writer.writerow(row)
        row["radius"] = None if record.radius is None else round_down(record.radius, 6)
        writer.writerow([cell(value) if isinstance(value, str) else value for value in row.values()])


def texts_of_table(content: bytes) -> Iterator[str]:
    """The JSON text of each certificate in a Parquet file."""
    for part in table_parts(content, _columns(RECORD), "reading Parquet"):
        for values in zip(*part.values(), strict=True):
            row = dict(zip(part, values, strict=True))
            for name in _nested(RECORD):
                if row[name] is not None:
                    check_text(row[name])
                    row[name] = strictly_from_json(row[name])
            if row["property"] is None:
                del row["property"]  # as it was in the record
            yield json.dumps(row, allow_nan=False)


@EXPORTS.register("parquet")
@partial(Export, binary=True, read=texts_of_table)
def parquet_table(records: Exported, out: BinaryIO) -> None:
    """Typed columns with every field of the record; threat, property and evidence as JSON text. Floats are exact.

    No record at all makes the columns of certificates, and no row.
    """
    with needs("pyarrow", "parquet", "export --format parquet"):
        import pyarrow
        from pyarrow import parquet
    batches = _batches(records)
    first = next(batches, [])
    record = get_type_hints(Reported) | {"radius_hex": str} if first and isinstance(first[0], Reported) else RECORD
    schema = pyarrow.schema(list(_columns(record).items()))
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in chain([first], batches):
            rows = [_flat(record.to_dict()) for record in batch]
            columns = {name: [row.get(name) for row in rows] for name in schema.names}
            writer.write_table(pyarrow.table(columns, schema=schema))


def _batches(records: Exported) -> Iterator[list[Certificate | Reported]]:
    remaining = iter(records)
    return iter(lambda: list(islice(remaining, BATCH)), [])


def _columns(record: Mapping[str, Any]) -> dict[str, str]:
    """The type of each column of a table of such records, as Arrow calls it."""
    types = {int: "int64", float: "double"}
    return {name: types.get(_kind(hint), "string") for name, hint in record.items()}


def _kind(hint: Any) -> Any:
    """A type, also where the field may be empty."""
    return next((part for part in get_args(hint) if part is not type(None)), hint)


def _nested(record: Mapping[str, Any]) -> list[str]:
    """Fields that are tables themselves: JSON text in Parquet, left out of CSV."""
    return [name for name, hint in record.items() if _kind(hint) is dict]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    tables = {name: row[name] for name in _nested(RECORD) if row.get(name) is not None}
    return row | {name: json.dumps(table, allow_nan=False) for name, table in tables.items()}
