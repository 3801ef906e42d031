"""Parquet exports: every field, exactly, in typed columns, without holding all records at once."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from dataclasses import replace

import pyarrow
import pytest
from pyarrow import parquet

from certify.certifiers.bounds import bound
from certify.certifiers.smooth import smooth
from certify.cli import main
from certify.core.certificate import RECORD, Certificate
from certify.core.reported import Reported
from certify.core.threats.lp import ThreatModel
from certify.store import export
from certify.store.export import EXPORTS
from certify.store.run_folder import Manifest, RunFolder


@pytest.fixture
def certificates(halves, l2) -> list[Certificate]:
    x, y = [[0.8, 0.2], [0.55, 0.45], [0.5, 0.5]], [0, 0, 1]
    linf = ThreatModel("linf", (0.0, 0.1))
    return [*smooth(halves, x, y, threat=l2, sigma=0.25, n=1000), *bound(halves, x, y, threat=linf, method="ibp")]


def table_of(records) -> pyarrow.Table:
    out = io.BytesIO()
    EXPORTS["parquet"](records, out)
    return parquet.read_table(io.BytesIO(out.getvalue()))


def test_rows_are_the_certificates_exactly(certificates):
    rows = table_of(certificates).to_pylist()
    for row in rows:
        row |= {
            name: None if row[name] is None else json.loads(row[name]) for name in ("threat", "evidence", "property")
        }
    assert [Certificate.from_dict(row) for row in rows] == certificates
    assert [row["seconds"] for row in rows] == [one.seconds for one in certificates]
    assert set(rows[0]) == {*certificates[0].to_dict(), "property"} == set(RECORD)


def test_columns_are_typed_whatever_is_missing(certificates):
    schema = table_of(certificates).schema
    assert {schema.field(name).type for name in ("index", "label", "prediction", "forward_passes")} == {pyarrow.int64()}
    assert {schema.field(name).type for name in ("radius", "alpha", "seconds")} == {pyarrow.float64()}
    assert {schema.field(name).type for name in ("verdict", "radius_hex", "evidence")} == {pyarrow.string()}
    nothing = [replace(certificates[2], label=None, prediction=None, evidence=None)]
    assert table_of(nothing).schema == schema == table_of([]).schema
    assert table_of([]).num_rows == 0


def test_rows_of_attack_logs_have_their_own_columns():
    rows = [Reported(3, 1, None, 2, "l2", 0.1, "log", "d"), Reported(4, 1, 1, 1, "l2", 0.1, "log", "d")]
    read = table_of(rows).to_pylist()
    assert [Reported.from_dict(row) for row in read] == rows


def test_records_are_read_batch_by_batch(certificates, monkeypatch):
    monkeypatch.setattr(export, "BATCH", 10)
    written = io.BytesIO()
    seen = []

    def many():
        for index in range(95):
            seen.append(written.tell())
            yield replace(certificates[0], index=index)

    EXPORTS["parquet"](many(), written)
    assert seen[9] == 0 < seen[20] < seen[90]  # what came first is on its way out before the last is read
    file = parquet.ParquetFile(io.BytesIO(written.getvalue()))
    assert (file.metadata.num_rows, file.num_row_groups) == (95, 10)


def test_the_same_records_make_the_same_bytes(certificates):
    first, second = io.BytesIO(), io.BytesIO()
    EXPORTS["parquet"](certificates, first)
    EXPORTS["parquet"](iter(certificates), second)
    assert first.getvalue() == second.getvalue()


def test_text_and_binary_formats_are_told_apart():
    assert {name: EXPORTS[name].binary for name in EXPORTS} == {"csv": False, "jsonl": False, "parquet": True}


def test_the_command_writes_files_and_pipes_but_no_terminal(tmp_path, certificates, capfdbinary):
    smoothed = certificates[:3]
    settings = {
        "model": {"name": "halves", "digest": "m"},
        "data": {"name": "points", "digest": "d", "inputs": 3, "of": 3},
        "threat": smoothed[0].threat.to_dict(),
        "certifiers": [{"method": "smoothing"}],
        "attack": None,
        "shard": [0, 1],
        "inputs": 3,
    }
    with RunFolder.create(tmp_path / "run", Manifest(settings)) as folder:
        folder.records.add(smoothed)
    run, out = str(tmp_path / "run"), tmp_path / "run.parquet"
    assert main(["export", run, "--format", "parquet", "--out", str(out)]) == 0
    assert parquet.read_table(out).num_rows == 3
    assert main(["export", run, "--format", "parquet"]) == 0
    assert capfdbinary.readouterr().out == out.read_bytes()
    main_end, terminal = pty.openpty()
    command = "import sys; from certify.cli import main; sys.exit(main())"
    arguments = [sys.executable, "-c", command, "export", run, "--format", "parquet"]
    refused = subprocess.run(arguments, check=False, stdout=terminal, stderr=subprocess.PIPE, text=True)
    os.close(terminal)
    os.close(main_end)
    assert refused.returncode == 2
    assert refused.stderr == "certify: parquet is not text for a terminal; name a file: --out FILE\n"
