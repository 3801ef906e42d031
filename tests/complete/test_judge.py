"""The benchmark's judge of answers: it believes no witness that it cannot replay, and no unsat against one."""

from __future__ import annotations

import gzip

import instances
import pytest
from instances import Instance, verdict
from onnx import TensorProto, helper

BOX = "0.1"
"""The float32 next to this decimal is above it, outside of the box."""

PROPERTY = f"""(declare-const X_0 Real) (declare-const Y_0 Real)
(assert (>= X_0 -1)) (assert (<= X_0 {BOX})) (assert (>= Y_0 0.05))
"""


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """An instance about a ReLU whose label can be chosen; a witness has an input from 0.05 to 0.1."""
    monkeypatch.setattr(instances, "FOLDER", tmp_path)
    folder = tmp_path / "verification"
    folder.mkdir()
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    (folder / "p.vnnlib.gz").write_bytes(gzip.compress(PROPERTY.encode()))
    return lambda expected, evidence="witness_exact": Instance("tiny", "net.onnx", "p.vnnlib.gz", expected, evidence)


def witness(x: str, y: str = "0.0625") -> str:
    return f"sat\n((X_0 {x})\n (Y_0 {y}))\n"


@pytest.mark.parametrize(
    ("printed", "expected", "counts_as"),
    [
        (witness("0.0625"), "sat", "solved"),
        (witness("0.0625"), "unknown", "solved"),
        (witness("0.0625"), "unsat", "relabelled"),
        (witness("0.0625", y="7"), "sat", "solved"),  # what was stated as output is not asked
        (witness("0.03125"), "sat", "wrong"),  # a valid input, and not the output that is looked for
        (witness("0.1000000015"), "sat", "wrong"),  # outside of the decimal box
        (witness("0.1"), "sat", "wrong"),  # inside as printed, but not as the float32 that is executed
        (witness("0.0625 0.5"), "sat", "wrong"),
        ("sat\n", "sat", "wrong"),
        ("sat\n((X_0 0.0625))\n", "sat", "wrong"),
        ("unsat\n", "unsat", "solved"),
        ("unsat\n", "sat", "wrong"),
        ("unsat\n", "unknown", "unscored"),
        ("unknown\n", "sat", "unknown"),
        ("timeout\n", "unsat", "timeout"),
        ("error\n", "unsat", "error"),
        ("", "unsat", "error"),
    ],
)
def test_answers(ask, printed, expected, counts_as):
    assert verdict(ask(expected), printed)[0] == counts_as


@pytest.mark.parametrize("evidence", instances.NO_EXACT_WITNESS)
def test_unsat_is_disputed_where_no_exact_witness_is_known(ask, evidence):
    assert verdict(ask("sat", evidence), "unsat\n")[0] == "disputed"
    assert verdict(ask("sat", evidence), witness("0.1"))[0] == "wrong"
