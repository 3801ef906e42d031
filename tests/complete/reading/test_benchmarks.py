"""Every published property reads, and every planted witness is one."""

from __future__ import annotations

import csv
import re

from certify.complete.reading.files import read_query, text_of
from certify.complete.reading.witness import read_witness


def read(path):
    """The query of a file, for a network with as many inputs and outputs as the file declares."""
    text = text_of(path)
    inputs, outputs = (len(re.findall(rf"declare-const {letter}_\d+", text)) for letter in "XY")
    return read_query(path, inputs, outputs)


def test_every_published_property_reads(bench_data):
    folder = bench_data / "verification"
    # The largest files of a family differ in their numbers only: a few of each keep this short.
    families = [sorted(path.glob("vnnlib/*")) for path in sorted(folder.glob("*/"))]
    queries = {path.name: read(path) for family in families for path in family[:: max(1, len(family) // 4)]}
    assert len(queries) > 50
    assert all(len(case.lower) == query.inputs for query in queries.values() for case in query.cases)
    assert not any(case.empty for query in queries.values() for case in query.cases)


def test_disjunctions_over_input_boxes_are_all_there(bench_data):
    query = read(bench_data / "verification/nn4sys/vnnlib/lindex_1000.vnnlib.gz")
    assert len(query.cases) == 2000
    assert len({id(case.lower) for case in query.cases}) == 1000
    assert len(read(bench_data / "verification/acasxu/vnnlib/prop_6.vnnlib").cases) == 8


def test_planted_witnesses_satisfy_their_properties(bench_data):
    folder = bench_data / "planted"
    with (folder / "expected.csv").open() as file:
        rows = [(row["vnnlib"], row["witness"]) for row in csv.DictReader(file)]
    assert len(rows) == 16
    for vnnlib, witness in rows:
        x, y = read_witness(text_of(folder / witness))
        assert any(case.holds(x, y) for case in read(folder / vnnlib).cases), vnnlib
