"""Strict conditions: met with equality, they are refuted; and only they."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from certify.bounds.tensors import Interval
from certify.complete.problem import Goals
from certify.complete.verify_file import verify_file
from certify.data.dataset import seeded_generator


def goals_of(rng, count, outputs=3, inputs=2) -> Goals:
    """Rows about one output, about several, and about inputs too, with few numbers, so that many are tied."""
    shape = (count, 2, 2)
    C = np.eye(outputs)[rng.integers(0, outputs, shape)] * rng.choice([-2, -1, 1, 1, 0.5], (*shape, 1))
    C += rng.choice([0, 0, 0, 1], (*shape, outputs)) * rng.choice([-1, 1], (*shape, outputs))
    D = rng.choice([0, 1], (*shape, 1), p=[0.8, 0.2]) * rng.integers(-1, 2, (*shape, inputs))
    d, strict = rng.integers(-2, 3, shape), rng.random(shape) < 0.5
    return Goals(*(torch.as_tensor(part).double() for part in (C, D, d)), torch.as_tensor(strict))


def test_ranges_refute_what_they_exclude_exactly():
    rng = seeded_generator("strict")
    goals = goals_of(rng, 2000)
    ends = torch.as_tensor(rng.integers(-2, 3, (2, 2000, 3))).double()
    y = Interval(ends.amin(0), ends.amax(0))
    least = goals.C.clamp(min=0) @ y.lower[:, None, :, None] + goals.C.clamp(max=0) @ y.upper[:, None, :, None]
    about_one = ((goals.C.abs() == 1).sum(3) == 1) & ((goals.C != 0).sum(3) == 1) & (goals.D == 0).all(3)
    expected = (goals.strict & about_one & (least.squeeze(3) + goals.d >= 0)).any(2)
    found = goals.refuted_by_box(y)
    assert torch.equal(found, expected)
    assert 100 < found.sum() < 2000
    assert not replace(goals, strict=None).refuted_by_box(y).any()


def test_a_bound_of_zero_refutes_strict_rows_only():
    d = torch.zeros(1, 1, 3, dtype=torch.float64)
    goals = Goals(torch.ones(1, 1, 3, 1).double(), None, d, torch.tensor([[[False, True, False]]]))
    rows = {(0.0, -1.0, -1.0): False, (-1.0, 0.0, -1.0): True, (1.0, -1.0, 0.0): True, (0.0, -5e-324, 0.0): False}
    for lower, refuted in rows.items():
        assert bool(goals.refuted(torch.tensor([lower], dtype=torch.float64))) == refuted
    assert not bool(goals.refuted(torch.full((1, 3), torch.nan)))


def one_operator(folder, kind, size):
    """Network and property files of an operator of ONNX on so many inputs."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in "xy")
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"])], "net", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx", folder / "p.vnnlib"


@pytest.mark.parametrize(
    ("kind", "size", "reach", "asked", "expected"),
    [
        ("Softmax", 2, 1000, "(or (< Y_0 0) (> Y_0 1) (< Y_1 0) (> Y_1 1))", "unsat"),
        ("Softmax", 3, 1000, "(or (< Y_0 0) (> Y_0 1) (< Y_2 0) (> Y_2 1))", "unsat"),
        ("Softmax", 25, 1000, "(or (< Y_0 0) (> Y_0 1))", "unsat"),
        ("Softmax", 2, 10, "(> (+ Y_0 Y_1) 1.01)", "unsat"),
        ("Softmax", 2, 10, "(< (+ Y_0 Y_1) 1.01)", "sat"),
        ("Relu", 2, 1, "(> Y_0 1)", "unsat"),
        ("Relu", 2, 1, "(>= Y_0 1)", "sat"),
        ("Relu", 2, 1, "(< Y_0 0)", "unsat"),
        ("Relu", 2, 1, "(<= Y_0 0)", "sat"),
    ],
)
def test_what_no_output_reaches(tmp_path, kind, size, reach, asked, expected):
    network, prop = one_operator(tmp_path, kind, size)
    names = [f"X_{i}" for i in range(size)]
    declared = "".join(f"(declare-const {name} Real)" for name in (*names, *(f"Y_{i}" for i in range(size))))
    box = "".join(f"(assert (<= {name} {reach})) (assert (>= {name} -{reach}))" for name in names)
    prop.write_text(f"{declared}{box}(assert {asked})")
    found = verify_file(network, prop, timeout=20)
    assert (found.answer.outcome, found.answer.subproblems < 40) == (expected, True)
