"""Float32 executions on inputs of all magnitudes, in torch and in onnxruntime, against what is claimed about them."""

from __future__ import annotations

import pytest
from adversary.magnitudes import FILES, TORCH, outside, rows, run_file, run_module
from torch import Tensor


@pytest.fixture(scope="module")
def x() -> Tensor:
    return rows(200)


NOTHING = frozenset({"over a small number", "Div", "batch norm, small variance", "batch norm, products overflow"})
"""Those whose constants leave what float32 can hold: nothing is claimed about their executions."""


@pytest.mark.parametrize("name", [*TORCH, *FILES])
def test_what_is_executed_is_claimed(name, x):
    graph, results = run_module(TORCH[name], x) if name in TORCH else run_file(FILES[name], x)
    wrong, void = outside(graph, x, results)
    assert not len(wrong), f"{len(wrong)} inputs, the first {wrong[0].tolist()}"
    assert bool(void.all()) == (name in NOTHING)
