"""A witness is one in exact arithmetic, whatever the graph or a rounding says."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from certify.bounds.importers.onnx_file import read_onnx
from certify.bounds.importers.onnx_import import import_file
from certify.complete.query import Condition, Disjunct, Query
from certify.complete.witnesses.execution import RUNS, executed, stated
from certify.data.dataset import seeded_generator

ANY = Condition((), ((0, Fraction(1)),), Fraction(10**6))


class Session:
    """A runtime whose outputs are made up, and which counts its runs."""

    def __init__(self, outputs) -> None:
        self.outputs = outputs
        self.runs: list[np.ndarray] = []

    def run(self, names, feed):
        [x] = feed.values()
        self.runs.append(x)
        return [np.float32(self.outputs(x))]


def examine(file, cases, points):
    problem = executed(Query(3, 3, tuple(cases)), file, import_file(file), "exact")
    return problem.examine(torch.tensor(np.asarray(points), dtype=torch.float32).reshape(-1, 3))


def box(lower, upper, *conditions) -> Disjunct:
    return Disjunct(tuple(map(Fraction, lower)), tuple(map(Fraction, upper)), conditions or (ANY,))


def decimals(rng, kind):
    """Ends of a box in decimals: wide, about one float wide, or a single float."""
    if kind == "wide":
        low = rng.normal(size=3)
        return [f"{v:.17f}" for v in low], [f"{v:.17f}" for v in low + rng.random(3)]
    floats = np.float32(rng.normal(size=3))
    if kind == "float":
        return floats.tolist(), floats.tolist()
    step = np.spacing(np.abs(floats)).astype(float)
    return [f"{v:.17f}" for v in floats - 0.6 * step], [f"{v:.17f}" for v in floats + 0.6 * step]


@pytest.mark.parametrize("kind", ["wide", "narrow", "float"])
def test_witnesses_are_inside_the_exact_box(identity, kind):
    rng = seeded_generator("inside", kind)
    problem = executed(Query(3, 3, (box([0] * 3, [1] * 3),)), identity, import_file(identity), "exact")
    execution = problem.examine.__self__
    for _ in range(150):
        case = box(*decimals(rng, kind))
        # The ends rounded to nearest are outside half of the time; others are far away.
        ends = [np.float32([float(v) for v in end]) for end in (case.lower, case.upper)]
        points = [*ends, rng.normal(size=3) * 10, [np.nan, np.inf, -np.inf]]
        for point in points:
            one = replace(execution, query=Query(3, 3, (case,)))
            witness = one.examine(torch.tensor(np.float32(point)).reshape(1, 3))
            x = [Fraction(v) for v in witness.x.tolist()]
            assert witness.x.dtype == np.float32
            assert case.holds(x, [Fraction(v) for v in witness.y.tolist()])
            assert stated(witness.x, case) == x


def test_fixed_inputs_that_no_float_equals_are_stated_as_decimals(identity):
    tenth = Fraction("0.1")
    fixed = box(["0.1", "-1", "0.5"], ["0.1", "1", "0.5"], Condition(((1, Fraction(1)),), (), tenth * 3))
    witness = examine(identity, [fixed], [[0.0, 0.25, 0.0]])
    assert witness.x.tolist() == [np.float32(0.1), 0.25, 0.5]
    assert Fraction(float(witness.x[0])) > tenth
    assert stated(witness.x, fixed) == [tenth, Fraction(1, 4), Fraction(1, 2)]


@pytest.mark.parametrize("margin", ["1e-9", "0", "-1e-9", "-1e-7"])
def test_conditions_on_inputs_hold_for_the_executed_number_and_for_the_stated_one(identity, margin):
    """0.1 is executed as 0.1 + 1.5e-9, which is also the output: only that much is gained by how it rounds."""
    for sign in (1, -1):  # y - x >= margin, and x - y >= margin
        condition = Condition(((0, Fraction(sign)),), ((0, Fraction(-sign)),), -Fraction(margin))
        fixed = box(["0.1", "-1", "0.5"], ["0.1", "1", "0.5"], condition)
        found = examine(identity, [fixed], [[0.0, 0.25, 0.0]]) is not None
        assert found == (margin == "-1e-7" or (sign, margin) in [(1, "0"), (1, "-1e-9")])


def test_ends_beyond_the_largest_float(identity):
    assert examine(identity, [box([-(10**50)] * 3, [10**50] * 3)], np.ones((1, 3))) is not None


@pytest.mark.parametrize(
    ("y", "at_most", "below"), [(0.0, True, False), (2.0**-149, False, False), (-(2.0**-149), True, True)]
)
def test_the_last_bit_of_the_execution_decides(identity, y, at_most, below):
    """The graph says 0 each time."""
    file = replace(identity, session=Session(lambda x: np.full((1, 3), y)))
    for strict, expected in ((False, at_most), (True, below)):
        condition = Condition((), ((1, Fraction(1)),), Fraction(0), strict)
        graph = import_file(identity)
        problem = executed(Query(3, 3, (box([0] * 3, [0] * 3, condition),)), file, graph, "exact")
        assert (problem.examine(torch.zeros(1, 3)) is not None) == expected


def test_outputs_whose_first_axis_is_no_batch():
    """A transposition of the only sample: onnxruntime gives (3, 1), which is one output of three numbers."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 3]), ("y", [3, 1])))
    graph = helper.make_graph([helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])], "net", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    last = Condition((), ((2, Fraction(-1)),), Fraction(-2))
    file = read_onnx(model.SerializeToString())
    query = Query(3, 3, (box([0] * 3, [1, 2, 3], last),))
    witness = executed(query, file, import_file(file), "exact").examine(torch.tensor([[1.0, 1.5, 2.5]]))
    assert witness.y.ravel().tolist() == [1.0, 1.5, 2.5]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_no_witness(identity, bad):
    session = Session(lambda x: np.float32([[0, 0, bad]]))
    problem = executed(
        Query(3, 3, (box([0] * 3, [1] * 3),)), replace(identity, session=session), import_file(identity), "exact"
    )
    assert problem.examine(torch.rand(8, 3, generator=torch.Generator().manual_seed(0))) is None
    assert session.runs


def test_few_points_are_executed_and_the_best_first(identity):
    session = Session(lambda x: np.ones((1, 3)))
    condition = Condition((), ((0, Fraction(1)),), Fraction(1, 2))
    query = Query(3, 3, (box([0] * 3, [1] * 3, condition),))
    problem = executed(query, replace(identity, session=session), import_file(identity), "exact")
    points = torch.rand(5000, 3, generator=torch.Generator().manual_seed(0))
    assert problem.examine(points) is None
    assert [run[0, 0] for run in session.runs] == points[:, 0].sort().values[:RUNS].tolist()
    session.runs.clear()
    assert problem.examine(points.clamp(min=0.51)) is None
    assert not session.runs


def test_as_trying_every_case_on_every_point(identity):
    """Boxes that overlap, touch, repeat, and share a fixed input; conditions that few points satisfy."""
    rng = seeded_generator("every case")
    found = []
    for _ in range(60):
        corners = rng.integers(0, 8, size=(25, 2, 3)) / 8
        corners[:, :, 1] = 0.25
        ends = np.sort(corners, axis=1)
        cases = [
            box(low, high, Condition(((2, Fraction(1)),), ((0, Fraction(-1)), (2, Fraction(1))), Fraction(bound)))
            for low, high, bound in zip(*ends.swapaxes(0, 1), rng.integers(-8, 4, size=25) / 8, strict=True)
        ]
        points = rng.integers(0, 17, size=(6, 3)) / 16
        points[:, 1] = 0.25
        exact = [[Fraction(v) for v in point] for point in points.tolist()]
        expected = any(case.holds(x, x) for case in cases for x in exact)
        witness = examine(identity, cases, points)
        assert (witness is not None) == expected
        found.append(expected)
        if witness is not None:
            assert witness.x.tolist() in points.tolist()
    assert 10 < sum(found) < 50


def test_thousands_of_boxes(identity):
    """Only one is of the asked kind, and only one of the points is in it."""
    none = Condition((), ((0, Fraction(1)),), Fraction(-1))
    cases = [box([i, 0, 0], [i + 1, 1, 1], none) for i in range(3000)]
    cases[1234] = box([1234, 0, 0], [1235, 1, 1])
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([2000.0, 0, 0])
    points += torch.tensor([2000.0, 0, 0])
    points[1977, 0] -= 4000 - 1234
    witness = examine(identity, cases, points)
    assert witness.x.tolist() == points[1977].tolist()


def test_points_that_rounding_moved_out_of_one_of_several_boxes(identity):
    cases = [box(["0.7"] * 3, ["0.8"] * 3), box([5] * 3, [6] * 3)]
    outside = np.float32([0.7] * 3)
    assert Fraction(float(outside[0])) < Fraction("0.7")
    assert examine(identity, cases, [outside]).x.tolist() == [np.nextafter(outside[0], np.float32(1))] * 3
    assert examine(identity, cases, [[0.69, 0.75, 0.75]]) is None
