"""Robustness by radius against attacks and proofs, on a classifier whose robust radii are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from certify.attacks.pgd import PGD
from certify.cli import main
from certify.core.audited import Standing
from certify.core.finding import Finding
from certify.core.threats.lp import ThreatModel
from certify.data.dataset import Dataset
from certify.errors import CertifyError
from certify.models.classifier import Classifier
from certify.study import radius_search as module
from certify.study.audit_brackets import audit_brackets

POINTS = Dataset("points", np.float32([[0.75, 0.25], [0.2, 0.8], [0.9, 0.5]]), np.array([0, 1, 1]), 2, (0.0, 1.0))
"""Robust up to linf 0.25 and 0.3; the third is misclassified."""


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Searches that suffice for a linear classifier."""
    monkeypatch.setattr(module, "PIECES", 3)
    monkeypatch.setattr(module, "ATTACKS", (PGD(steps=10, restarts=1), PGD(steps=10, restarts=1, loss="ce")))


@pytest.fixture
def table(tmp_path):
    def write(*rows: str, columns: str = "index,eps,verdict"):
        (tmp_path / "t.csv").write_text("\n".join([columns, *rows]) + "\n")
        return tmp_path / "t.csv"

    return write


def standings(found):
    return {(one.subject, one.claim): one.standing for one in found.claims}


def test_claims_beyond_the_true_radius_are_refuted_by_examples(halves, table, tmp_path):
    path = table("0,0.24,robust", "0,0.26,robust", "0,0.3,not", "0,0.5,unknown", "1,0.29,not", "2,0.01,robust")
    found = audit_brackets(path, halves, POINTS, "linf", out=tmp_path / "out")
    assert standings(found) == {
        ("input 0 at linf 0.24", "robust"): Standing.HELD,
        ("input 0 at linf 0.26", "robust"): Standing.REFUTED,
        ("input 0 at linf 0.3", "not robust"): Standing.CONFIRMED,
        ("input 1 at linf 0.29", "not robust"): Standing.OPEN,
        ("input 2 at linf 0.01", "robust"): Standing.REFUTED,
    }
    assert "at the input itself" in found.claims[-1].how
    lines = (tmp_path / "out" / "examples.jsonl").read_text().splitlines()
    first, second = (Finding.from_dict(json.loads(line)) for line in lines)
    threat = ThreatModel("linf", (0.26,), (0.0, 1.0))
    assert threat.contains(POINTS.x[0], first.x_adv)
    assert int(halves.predict(torch.from_numpy(first.x_adv)[None])) == first.adversarial_prediction == 1
    assert (second.index, second.distance) == (2, 0.0)


def test_a_sample_is_proven_again_and_a_proof_refutes_what_is_called_broken(halves, table):
    path = table("0,0.24,robust", "1,0.29,not", "1,0.1,robust")
    found = audit_brackets(path, halves, POINTS, "linf", prove=2, timeout=20)
    assert standings(found) == {
        ("input 0 at linf 0.24", "robust"): Standing.CONFIRMED,
        ("input 1 at linf 0.1", "robust"): Standing.CONFIRMED,
        ("input 1 at linf 0.29", "not robust"): Standing.REFUTED,
    }
    assert found.contradicted
    assert found.complete


def test_radii_are_in_the_norm_that_is_named(halves, table):
    path = table("0,0.34,robust", "0,0.36,not")  # 0.5 / sqrt(2) = 0.3536
    found = audit_brackets(path, halves, POINTS, "l2", prove=1, timeout=20)
    assert [one.standing for one in found.claims] == [Standing.CONFIRMED, Standing.CONFIRMED]


def test_robust_at_a_larger_radius_and_not_at_a_smaller_one_is_named(halves, table):
    columns = "index,label,largest_verified,smallest_falsified"
    found = audit_brackets(table("0,0,0.2,0.1", "1,1,0.2,0.31", columns=columns), halves, POINTS, "linf")
    assert found.disputes == ("input 0: robust at linf 0.2 (line 2) and not robust at 0.1 (line 2)",)
    assert found.contradicted
    assert not found.refuted


def test_inputs_that_the_data_do_not_hold_are_counted(halves, table):
    found = audit_brackets(table("0,0.1,robust", "17,0.1,robust"), halves, POINTS, "linf")
    assert found.notes == ("1 input of the table that the data do not hold",)
    assert len(found.claims) == 1


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        (["0,0.1,robust,1"], "index,eps,verdict,label", "line 2: input 0 has label 1, and in the data 0"),
        (["0,,,1"], "index,lower,upper,label", "t.*: input 0 has label 1, and in the data 0"),
        (["0,8,robust"], "index,eps,verdict", r"radius 8 is wider than the input box \[0, 1\].*write 8/255"),
        (["17,0.1,robust"], "index,eps,verdict", "states nothing about any input of the data, which hold 3 inputs"),
    ],
)
def test_tables_about_other_inputs_or_in_other_units_are_refused(halves, table, rows, columns, words):
    with pytest.raises(CertifyError, match=words):
        audit_brackets(table(*rows, columns=columns), halves, POINTS, "linf")


def test_a_function_is_attacked_and_cannot_be_proven(table):
    function = Classifier(lambda x: x, num_classes=2)
    path = table("0,0.26,robust", "0,0.1,robust")
    with pytest.raises(CertifyError, match="function"):
        audit_brackets(path, function, POINTS, "linf", prove=1)


def test_the_search_of_complete_verification_finds_what_the_attacks_miss(halves, table, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "ATTACKS", ())
    found = audit_brackets(table("0,0.26,robust", "0,0.2,robust"), halves, POINTS, "linf", out=tmp_path)
    assert [one.standing for one in found.claims] == [Standing.HELD, Standing.REFUTED]
    example = Finding.from_dict(json.loads((tmp_path / "examples.jsonl").read_text()))
    assert (example.prediction, example.adversarial_prediction, example.attack) == (0, 1, "witness search")
    assert 0.25 <= ThreatModel("linf", (0.26,), (0.0, 1.0)).distance(POINTS.x[0], example.x_adv) <= example.distance
    assert example.distance <= 0.26


def test_an_interrupt_keeps_what_is_known(halves, table, monkeypatch):
    attacks = []

    def once(*arguments):
        attacks.append(arguments)
        if len(attacks) > len(module.ATTACKS):
            raise KeyboardInterrupt
        return attack(*arguments)

    attack = module.run_attack
    monkeypatch.setattr(module, "run_attack", once)
    found = audit_brackets(table("0,0.1,robust", "1,0.1,robust"), halves, POINTS, "linf")
    assert (len(found.claims), found.expected, found.complete) == (1, 2, False)


def test_the_command_reads_an_onnx_file_whose_inputs_have_another_shape(tmp_path, table, capsys):
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 2, 1]), ("y", [1, 2])))
    graph = helper.make_graph([helper.make_node("Flatten", ["x"], ["y"])], "net", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    np.savez(tmp_path / "d.npz", x=POINTS.x, y=POINTS.y)
    asked = ["--model", str(tmp_path / "net.onnx"), "--data", f"npz:{tmp_path / 'd.npz'}", "--norm", "linf", "--quiet"]
    path = table("net.onnx,0,0.2,0.3", "other.onnx,0,0.4,0.5", columns="network,index,lower,upper")
    assert main(["audit", str(path), *asked, "--only", "network=net.onnx"]) == 0
    assert "rows with network=net.onnx" in capsys.readouterr().out
    assert main(["audit", str(path), *asked, "--only", "network=other.onnx", "--format", "markdown"]) == 4
    assert "| robust | 1 | 0 | 0 | 1 | 0 | 0 |" in capsys.readouterr().out
    for options, words in [
        (asked, "choose the rows of one network, for example --only network=net.onnx"),
        (asked[:4], "--norm is missing"),
        ([*asked, "--only", "network"], "is not COLUMN=VALUE"),
        ([*asked[:4], "--norm", "l7"], "l7"),
        ([*asked, "--instances", "i.csv"], "--instances goes with a table of verdicts"),
    ]:
        assert main(["audit", str(path), *options]) == 2
        printed = capsys.readouterr().err
        assert words in printed
        assert printed.count("\n") == 1
