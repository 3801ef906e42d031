"""Properties that a stored input violates: no method may prove them."""

from __future__ import annotations

import csv
import gzip
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch

from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.methods import METHODS
from certify.bounds.region import Region
from certify.bounds.rounding import down, up
from certify.bounds.tensors import Interval

BOUND = re.compile(r"\(assert \((<=|>=) ([XY])_(\d+) (\S+?)\)\)")
VALUE = re.compile(r"\(([XY])_(\d+) (\S+?)\)")

QUICK = ("ibp", "crown-ibp")
"""Methods for the largest networks, where others take long."""


def text(path: Path) -> str:
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()


def outward(number: str, sign: int) -> float:
    """The nearest float64 that is not inside of a decimal."""
    value = float(number)
    inside = Decimal(value) > Decimal(number) if sign < 0 else Decimal(value) < Decimal(number)
    return float((down if sign < 0 else up)(torch.tensor(value, dtype=torch.float64))) if inside else value


def read(path: Path) -> tuple[torch.Tensor, torch.Tensor, int, float]:
    """Box of inputs, rounded outward, and the output that reaches a threshold somewhere in it."""
    ends: dict[tuple[str, int], str] = {}
    [output] = [found for found in BOUND.findall(text(path)) if found[1] == "Y"]
    for relation, name, index, number in BOUND.findall(text(path)):
        if name == "X":
            ends[relation, int(index)] = number
    size = len(ends) // 2
    lower = [outward(ends[">=", i], -1) for i in range(size)]
    upper = [outward(ends["<=", i], 1) for i in range(size)]
    assert output[0] == ">="
    return torch.tensor(lower).double(), torch.tensor(upper).double(), int(output[2]), float(output[3])


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
    lower, upper, output, threshold = read(planted / one["vnnlib"])
    graph = import_onnx(planted / one["onnx"]).to(torch.float64)
    values = {(name, int(i)): float(v) for name, i, v in VALUE.findall(text(planted / one["witness"]))}
    witness = torch.tensor([values["X", i] for i in range(len(lower))]).double()
    assert ((lower <= witness) & (witness <= upper)).all()
    reached = float(graph.forward(witness.reshape(1, *graph.shape)).flatten()[output])
    assert reached >= threshold
    region = Region(Interval(lower.reshape(1, *graph.shape), upper.reshape(1, *graph.shape)))
    C = torch.zeros(1, 2, int(np.prod(graph.output.shape)), dtype=torch.float64)
    C[0, :, output] = torch.tensor([-1.0, 1.0])
    neurons = sum(int(np.prod(node.shape)) for node in graph.nodes)
    point = Region(Interval(*(witness.reshape(1, *graph.shape),) * 2))
    for name in QUICK if neurons > 5000 else [name for name in METHODS if neurons < 1500 or "alpha" not in name]:
        # The property says that the output stays below the threshold.
        assert float(METHODS[name](graph, region, C).lower[0, 0]) <= -reached, name
        below, above = METHODS[name](graph, point, C).lower[0].tolist()
        assert below <= -reached <= -above, name
