"""Properties that a stored input violates: no method may prove them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.methods import METHODS
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.complete.problem import of_query
from certify.complete.reading.files import read_query, text_of
from certify.complete.reading.witness import read_witness

QUICK = ("ibp", "crown-ibp")
"""Methods for the largest networks, where others take long."""


def instances(root: Path) -> list[dict[str, str]]:
    with (root / "expected.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def planted(bench_data) -> Path:
    if not (bench_data / "planted").is_dir():
        pytest.skip(f"no planted instances in {bench_data}")
    return bench_data / "planted"


@pytest.mark.parametrize("number", range(16))
def test_a_property_that_a_stored_input_violates_is_not_proven(planted, number):
    one = instances(planted)[number]
    graph = import_onnx(planted / one["onnx"]).to(torch.float64)
    outputs = math.prod(graph.output.shape)
    query = read_query(planted / one["vnnlib"], math.prod(graph.shape), outputs)
    [[condition]] = [case.conditions for case in query.cases]
    [(output, sign)] = condition.y
    assert sign == -1  # the output reaches a threshold
    x, _ = read_witness(text_of(planted / one["witness"]))
    witness = torch.tensor([float(v) for v in x], dtype=torch.float64).reshape(1, *graph.shape)
    region = of_query(query, graph, "exact", lambda points: None).region
    assert ((region.box.lower <= witness) & (witness <= region.box.upper)).all()
    reached = float(graph.forward(witness).flatten()[output])
    assert reached >= -condition.bound
    C = torch.zeros(1, 2, outputs, dtype=torch.float64)
    C[0, :, output] = torch.tensor([-1.0, 1.0])
    neurons = sum(math.prod(node.shape) for node in graph.nodes)
    point = Region(Interval(witness, witness))
    for name in QUICK if neurons > 5000 else [name for name in METHODS if neurons < 1500 or "alpha" not in name]:
        # The property says that the output stays below the threshold.
        assert float(METHODS[name](graph, region, C).lower[0, 0]) <= -reached, name
        below, above = METHODS[name](graph, point, C).lower[0].tolist()
        assert below <= -reached <= -above, name
