"""Records out of a store: one a line, for git, for spreadsheets, for data frames, for strangers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, BinaryIO, Final, TextIO

from certify.core.certificate import Certificate
from certify.core.legible import cell
from certify.core.reported import Reported
from certify.core.rounding import round_down
from certify.errors import MissingExtra
from certify.registry import Registry

__all__ = ["EXPORTS", "Export"]

Exported = Iterable[Certificate | Reported]


@dataclass(frozen=True, slots=True)
class Export:
    """A format of records: reads them one after the other, so that they need not all fit into memory.

    Args:
        write: writes records to an open file.
        binary: whether that file takes bytes; text otherwise.
    """

    write: Callable[[Exported, Any], None]
    binary: bool = False

    def __call__(self, records: Exported, out: Any) -> None:
        """Write records to an open file of the right kind."""
        self.write(records, out)


EXPORTS: Registry[Export] = Registry("export format")

CERTIFICATE: Final = (
    *("index", "input_digest", "label", "prediction", "verdict", "radius", "radius_hex", "norm", "guarantee"),
    *("alpha", "method", "model_digest", "seconds", "forward_passes", "reason"),
)
REPORTED: Final = (
    *("index", "label", "prediction", "base_prediction", "norm", "radius", "radius_hex", "source", "source_digest"),
)
NESTED: Final = ("threat", "evidence")
"""Fields of a certificate that are tables themselves: as JSON in Parquet, left out of CSV."""

TYPES: Final = {
    **dict.fromkeys(("index", "label", "prediction", "base_prediction", "forward_passes"), "int64"),
    **dict.fromkeys(("radius", "alpha", "seconds"), "float64"),
}
"""Of Parquet columns; all others are text."""

BATCH: Final = 10_000
"""Records in a row group."""


@EXPORTS.register("jsonl")
@Export
def jsonl(records: Exported, out: TextIO) -> None:
    """One JSON object a line with every field of the record, evidence included."""
    for record in records:
        out.write(json.dumps(record.to_dict(), allow_nan=False) + "\n")


@EXPORTS.register("csv")
@Export
def csv_rows(records: Exported, out: TextIO) -> None:
    """One line a record without its evidence; a decimal radius is rounded down, the hex one is exact.

    Texts were written by others: control characters are shown, and what a spreadsheet would run as a formula is quoted.
    """
    writer = csv.writer(out, lineterminator="\n")
    for line, record in enumerate(records):
        fields = CERTIFICATE if isinstance(record, Certificate) else REPORTED
        if line == 0:
            writer.writerow(fields)
        row = record.to_dict()
        row["radius"] = None if record.radius is None else round_down(record.radius, 6)
        values = (row[name] for name in fields)
        writer.writerow([cell(value) if isinstance(value, str) else value for value in values])


@EXPORTS.register("parquet")
@partial(Export, binary=True)
def parquet_table(records: Exported, out: BinaryIO) -> None:
    """Typed columns with every field of the record; threat model and evidence as JSON text. Floats are exact.

    No record at all makes the columns of certificates, and no row.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as absent:
        raise MissingExtra("pyarrow", "parquet", "export --format parquet") from absent
    batches = _batches(records)
    first = next(batches, [])
    names = REPORTED if first and isinstance(first[0], Reported) else (*CERTIFICATE, *NESTED)
    types = {"int64": pyarrow.int64(), "float64": pyarrow.float64(), "text": pyarrow.string()}
    schema = pyarrow.schema([(name, types[TYPES.get(name, "text")]) for name in names])
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in chain([first], batches):
            rows = [_flat(record.to_dict()) for record in batch]
            columns = {name: [row[name] for row in rows] for name in names}
            writer.write_table(pyarrow.table(columns, schema=schema))


def _batches(records: Exported) -> Iterator[list[Certificate | Reported]]:
    remaining = iter(records)
    return iter(lambda: list(islice(remaining, BATCH)), [])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: json.dumps(row[name], allow_nan=False) for name in NESTED if row.get(name) is not None}
