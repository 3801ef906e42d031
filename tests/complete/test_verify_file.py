"""Files whose answers were once wrong, or errors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import certify
from certify.complete.proofs.file import check_proof, witness_fault, write_proof
from certify.complete.verify_file import posed, verify_file
from certify.errors import BadInput, ModelError

DECLARED = "(declare-const X_0 Real)(declare-const Y_0 Real)"
UNIT = DECLARED + "(assert (>= X_0 0))(assert (<= X_0 1))"


def node(kind: str, *inputs: str, to: str = "y", **attributes):
    return helper.make_node(kind, list(inputs), [to], **attributes)


@pytest.fixture
def files(tmp_path):
    """Writes a network of one input a column, and a property; gives both paths."""

    def write(prop: str, *nodes, inputs: int = 1, outputs: tuple[str, ...] = ("y",), **stored) -> tuple[Path, Path]:
        info = helper.make_tensor_value_info
        ends = [[info("x", TensorProto.FLOAT, [1, inputs])], [info(o, TensorProto.FLOAT, [1, 1]) for o in outputs]]
        arrays = [numpy_helper.from_array(np.float32(value), name) for name, value in stored.items()]
        graph = helper.make_graph(list(nodes or [node("Relu", "x")]), "net", *ends, arrays)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        (tmp_path / "n.onnx").write_bytes(model.SerializeToString())
        (tmp_path / "p.vnnlib").write_bytes(prop.encode())
        return tmp_path / "n.onnx", tmp_path / "p.vnnlib"

    return write


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timeout": "60"}, "timeout must be a number"),
        ({"timeout": 0}, "above 0 seconds"),
        ({"timeout": float("nan")}, "above 0 seconds"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"seed": 1.5}, "seed must be a whole number"),
    ],
)
def test_settings_that_mean_nothing_are_refused_in_one_line(files, settings, words):
    with pytest.raises(BadInput, match=words) as refused:
        verify_file(*files(UNIT + "(assert (>= Y_0 5))"), **settings)
    assert "\n" not in str(refused.value)


def test_a_second_output_is_refused(files):
    constant = node("Constant", to="c", value=numpy_helper.from_array(np.float32([[7]])))
    with pytest.raises(ModelError, match="has 2 outputs"):
        verify_file(*files(UNIT + "(assert (>= Y_0 1.5))", node("Relu", "x"), constant, outputs=("c", "y")))


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_a_comment_ends_with_its_line(files, end):
    assert verify_file(*files(f"{UNIT}{end}; unsafe{end}(assert (>= Y_0 5)){end}")).answer.outcome == "unsat"


def test_what_an_ignored_command_contains_is_not_asserted(files):
    text = UNIT + "(set-info :note (assert (>= Y_0 5)))(set-info :authors (a b))(assert (>= Y_0 0.5))"
    assert verify_file(*files(text)).answer.outcome == "sat"


def test_a_formula_that_is_not_asserted_is_refused(files):
    with pytest.raises(BadInput, match="outside of any command"):
        verify_file(*files(UNIT + "(>= Y_0 5)"))


def test_what_is_printed_is_the_point_that_was_judged(files):
    box = "(assert (>= X_0 0.4))(assert (<= X_0 0.40000000000000001))"
    found = verify_file(*files(f"{DECLARED}{box}(assert (>= (+ Y_0 (* 7 X_0)) 3.2000000059604645475390625))"))
    assert found.witness.startswith("((X_0 0.40000000000000001)")


def test_a_witness_of_one_of_several_boxes(files):
    boxes = "(assert (or (and (<= X_0 1) (>= Y_0 3)) (and (>= X_0 3.5) (>= Y_0 3))))"
    found = verify_file(*files(f"{DECLARED}(assert (>= X_0 0))(assert (<= X_0 4)){boxes}"))
    assert found.answer.outcome == "sat"


def test_a_network_without_nonlinear_operators(files):
    prop = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)" + "".join(
        f"(assert (>= X_{i} 0))(assert (<= X_{i} 0.1))" for i in (0, 1)
    )
    product = node("MatMul", "x", "w")
    for limit, outcome in (("0.1001", "unsat"), ("0.099", "sat")):
        network = files(f"{prop}(assert (>= Y_0 {limit}))", product, inputs=2, w=[[1], [-2]])
        assert verify_file(*network, timeout=20).answer.outcome == outcome


def test_an_input_without_decimals_is_no_witness(files):
    third = "(assert (>= (* 3 X_0) 1))(assert (<= (* 3 X_0) 1))"
    assert verify_file(*files(f"{DECLARED}{third}(assert (>= Y_0 0.1))"), timeout=2).answer.outcome != "sat"


def test_a_stated_input_that_rounds_out_of_its_box_is_not_confirmed(files, tmp_path):
    box = "(assert (>= X_0 0.5))(assert (<= X_0 0.99999999))"
    network, prop = files(f"{DECLARED}{box}(assert (>= Y_0 1))", node("Floor", "x"))
    proof = {"format": "", "outcome": "sat", "claim": "exact", "witness": "((X_0 0.99999999) (Y_0 1.0))"}
    honest, honest_prop = files(f"{DECLARED}{box}(assert (>= Y_0 0))", node("Floor", "x"))
    answer = verify_file(honest, honest_prop)
    write_proof(tmp_path / "a.json", answer, honest, honest_prop, claim="exact", seed=0)
    content = json.loads((tmp_path / "a.json").read_text())
    network, prop = files(f"{DECLARED}{box}(assert (>= Y_0 1))", node("Floor", "x"))
    digests = {
        kind: {**content[kind], "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for kind, path in (("network", network), ("property", prop))
    }
    forged = {**content, **digests, **{key: proof[key] for key in ("outcome", "claim", "witness")}}
    (tmp_path / "forged.json").write_text(json.dumps(forged))
    assert "outside of the box" in check_proof(tmp_path / "forged.json", network, prop).fault


LARGER = "(assert (>= X_0 {})) (assert (<= X_0 {})) (assert (>= (- Y_0 X_0) {}))"


@pytest.mark.parametrize(
    ("low", "high", "margin", "x", "y"),
    [
        ("0", "20000000", "0.9", "16777219", "16777220"),  # the float is the next one, and so is the output
        ("16777219", "16777219", "0.9", "16777219", "16777220"),
        ("0.3", "0.3", "1e-9", "0.3", "0.30000001192092896"),
    ],
)
def test_how_a_stated_input_rounds_makes_no_counterexample(files, low, high, margin, x, y):
    network, prop = files(DECLARED + LARGER.format(low, high, margin), node("Identity", "x"))
    assert verify_file(network, prop, timeout=20).answer.outcome == "unsat"
    text = f"((X_0 {x}) (Y_0 {y}))"
    assert witness_fault(posed(network, prop, "exact"), text) == "the stated input is no counterexample"
    _, easier = files(DECLARED + LARGER.format(low, high, "-0.5"), node("Identity", "x"))
    assert witness_fault(posed(network, easier, "exact"), text) == ""


@pytest.mark.parametrize(
    ("y", "fault"),
    [
        ("(Y_0 0.30000001192092896)", ""),
        ("(Y_0 0.3)", ""),  # the shortest decimal that reads back to it
        ("(Y_0 0.30000004)", ""),  # the next float, which another order of adding up may give
        ("(Y_0 0.3001)", "the output Y_0 = 0.3001, and onnxruntime gives 0.3"),
        ("(Y_0 123)", "the output Y_0 = 123"),
        ("(Y_0 1e40)", "the output Y_0 = 1e+40"),
        ("", "0 outputs, and the network has 1"),
        ("(Y_0 0.3) (Y_1 0.3)", "2 outputs, and the network has 1"),
    ],
)
def test_the_stated_output_is_what_executions_give(files, y, fault):
    network, prop = files(UNIT + "(assert (>= Y_0 0.1))", node("MatMul", "x", "w"), w=[[1]])
    found = witness_fault(posed(network, prop, "exact"), f"((X_0 0.3) {y})")
    assert fault in found
    assert bool(found) == bool(fault)


def test_an_output_of_one_number_a_sample(files):
    """A product with a vector leaves no axis but the batch's."""
    box = "".join(f"(declare-const X_{i} Real)(assert (>= X_{i} 0))(assert (<= X_{i} 1))" for i in range(3))
    for least, outcome in ((7, "unsat"), (5.5, "sat")):
        prop = f"{box}(declare-const Y_0 Real)(assert (>= Y_0 {least}))"
        found = verify_file(*files(prop, node("Relu", "x", to="r"), node("MatMul", "r", "w"), inputs=3, w=[1, 2, 3]))
        assert found.answer.outcome == outcome


def test_verify_takes_files_as_the_command_does(files) -> None:
    network, prop = files(UNIT + "(assert (>= Y_0 5))")
    assert certify.verify(network, prop, timeout=20).answer.outcome == "unsat"
    assert certify.verify(str(network), str(prop)).answer.outcome == "unsat"
    with pytest.raises(BadInput, match="go with classifiers"):
        certify.verify(network, prop, threat=certify.ThreatModel("linf", (0.1,)))
    with pytest.raises(BadInput, match=r"expected a certify\.ThreatModel"):
        certify.verify(certify.Classifier(torch.nn.Linear(1, 2).eval(), 2), [[0.5]])
