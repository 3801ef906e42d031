"""Verdicts against searches: a false "unsat" is refuted by an input that runs, and a true one is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from certify.cli import main
from certify.complete.proofs.file import witness_fault
from certify.complete.verify_file import posed
from certify.core.audited import Standing
from certify.errors import BadInput
from certify.study import audit_verdicts as module
from certify.study.audit_verdicts import audit_verdicts
from certify.study.claims import sampled

BOX = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)" + "".join(
    f"(assert (>= X_{i} -1))(assert (<= X_{i} 1))" for i in (0, 1)
)
NOT_REFUTED, NOT_CONFIRMED = Standing.HELD, Standing.OPEN


@pytest.fixture
def folder(tmp_path) -> Path:
    """A network that computes ``|X_0 - X_1|``, at most 2; properties that ask for more than 1.9 and more than 2.1."""
    from onnx import TensorProto, helper, numpy_helper

    weights = {"A": np.float32([[1, -1], [-1, 1]]), "B": np.float32([[1], [1]])}
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, s]) for n, s in (("x", 2), ("y", 1)))
    for name, operator in (("net", "Relu"), ("odd", "Hardmax")):
        nodes = [
            helper.make_node("MatMul", ["x", "A"], ["a"]),
            helper.make_node(operator, ["a"], ["h"]),
            helper.make_node("MatMul", ["h", "B"], ["y"]),
        ]
        graph = helper.make_graph(nodes, "net", [x], [y], [numpy_helper.from_array(w, n) for n, w in weights.items()])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
    for name, limit in (("sat", 1.9), ("unsat", 2.1)):
        (tmp_path / f"{name}.vnnlib").write_text(f"{BOX}(assert (>= Y_0 {limit}))")
    (tmp_path / "instances.csv").write_text(
        "net.onnx,sat.vnnlib,60\nnet.onnx,unsat.vnnlib,60\nodd.onnx,sat.vnnlib,60\n"
    )
    return tmp_path


def results(folder: Path, *rows: str) -> Path:
    """The competition's table of rows ``NET PROP VERDICT``."""
    lines = ("own,./b/{}.onnx,./b/{}.vnnlib,0.1,{},1.0\n".format(*row.split()) for row in rows)
    (folder / "results.csv").write_text("".join(lines))
    return folder / "results.csv"


def test_a_false_unsat_is_refuted_by_a_witness_that_others_can_execute(folder, capsys):
    table = results(folder, "net sat unsat", "net unsat unsat")
    asked = ["audit", str(table), "--instances", str(folder / "instances.csv"), "--timeout", "0.3", "--quiet"]
    assert main([*asked, "--out", str(folder / "out"), "--format", "json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert [(one["standing"], one["lines"]) for one in found["claims"]] == [("refuted", [1]), ("not refuted", [2])]
    assert found["complete"]
    [file] = (folder / "out").iterdir()
    assert file.name == found["claims"][0]["witness"] == "net_sat.counterexample"
    assert not witness_fault(posed(folder / "net.onnx", folder / "sat.vnnlib", "exact"), file.read_text())
    assert "1 instance of" in found["notes"][0]
    for format in ("table", "markdown"):
        assert main([*asked, "--format", format]) == 4
        assert "unsat (line 1) is refuted: a counterexample" in " ".join(capsys.readouterr().out.split())


def test_a_clean_table_is_not_contradicted_and_a_sample_is_proven(folder, capsys):
    table = results(folder, "net sat sat", "net unsat holds", "odd sat timeout")
    asked = ["audit", str(table), "--instances", str(folder / "instances.csv"), "--timeout", "20", "--prove", "1"]
    assert main(asked) == 0
    out, err = capsys.readouterr()
    assert "auditing  2/2  in" in err
    assert "1 instance with no claim but timeout, unknown or error" in out
    rows = [line.split() for line in out.splitlines() if line.strip().startswith("own")]
    assert rows == [["own", "sat", *"110000"], ["own", "unsat", *"110000"]]


def test_a_false_sat_is_refuted_by_a_proof(folder):
    found = audit_verdicts(results(folder, "net unsat sat"), instances=folder / "instances.csv", timeout=20)
    assert [one.standing for one in found.claims] == [Standing.REFUTED]
    assert "no input of the exact box is one" in found.claims[0].how
    assert found.contradicted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sat\n((X_0 1) (X_1 -1) (Y_0 2))", "the counterexample beside the table, executed again"),
        ("((X_0 0) (X_1 0) (Y_0 0))", "beside the table is none (the stated input is no counterexample)"),
        ("((X_0 1.5) (X_1 -1) (Y_0 2.5))", "beside the table is none"),
        ("((X_0 1e999) (X_1 -1) (Y_0 2))", "beside the table is none"),
        ("((X_0 1", "beside the table is none"),
    ],
)
def test_a_counterexample_beside_the_table_counts_only_if_it_holds(folder, text, words):
    (folder / "own").mkdir()
    (folder / "own" / "net_sat.counterexample").write_text(text)
    found = audit_verdicts(results(folder, "net sat sat"), instances=folder / "instances.csv", timeout=20)
    [claim] = found.claims
    assert claim.standing is Standing.CONFIRMED  # by the search where the file is none
    assert words in claim.how


def test_tools_that_contradict_each_other_are_named_and_the_instance_is_decided(folder):
    (folder / "t.csv").write_text(
        "tool,onnx,vnnlib,result,witness\none,net.onnx,unsat.vnnlib,unsat,\ntwo,net.onnx,unsat.vnnlib,sat,\n"
        "two,net.onnx,sat.vnnlib,unsat,\n"
    )
    found = audit_verdicts(folder / "t.csv", timeout=20)
    [dispute] = found.disputes
    assert "unsat by one (line 2) and sat by two (line 3)" in dispute
    standings = {(one.claim, one.by): one.standing for one in found.claims}
    assert standings == {
        ("unsat", ("one",)): Standing.CONFIRMED,
        ("sat", ("two",)): Standing.REFUTED,
        ("unsat", ("two",)): Standing.REFUTED,
    }
    assert not audit_verdicts(folder / "t.csv", tool="one", timeout=0.1).contradicted
    with pytest.raises(BadInput, match="no row of the tool 'three'; it has one, two"):
        audit_verdicts(folder / "t.csv", tool="three")


def test_what_cannot_be_read_is_not_examined_and_the_others_are(folder):
    table = results(folder, "odd sat unsat", "net sat unsat")
    found = audit_verdicts(table, instances=folder / "instances.csv", timeout=5)
    assert [one.standing for one in found.claims] == [Standing.FAILED, Standing.REFUTED]
    assert "Hardmax" in found.claims[0].how
    assert not found.complete


def test_an_interrupt_keeps_what_is_known_and_says_that_it_is_partial(folder, monkeypatch, capsys):
    def once(*arguments):
        if arguments[1].name == "unsat.vnnlib":
            raise KeyboardInterrupt
        return posed(*arguments)

    monkeypatch.setattr(module, "posed", once)
    table, instances = results(folder, "net sat sat", "net unsat unsat"), str(folder / "instances.csv")
    asked = ["audit", str(table), "--instances", instances, "--timeout", "5", "--quiet"]
    assert main(asked) == 3
    assert "PARTIAL: interrupted after 1 of 2 claims" in capsys.readouterr().out
    assert main(["audit", str(results(folder, "net sat unsat", "net unsat unsat")), *asked[2:]]) == 4


def test_a_name_from_a_table_writes_nowhere_else(folder):
    (folder / "t.csv").write_text("onnx,vnnlib,result\nnet.onnx,a b/../sat.vnnlib,unsat\nnet.onnx,./sat.vnnlib,unsat\n")
    (folder / "a b").mkdir()
    found = audit_verdicts(folder / "t.csv", timeout=5, out=folder / "new" / "out")
    assert sorted(one.witness for one in found.claims) == ["net_sat.counterexample", "net_sat_2.counterexample"]
    assert len(list((folder / "new" / "out").iterdir())) == 2


def test_bad_input_is_one_line_with_code_2(folder, capsys):
    instances = ["--instances", str(folder / "instances.csv")]
    for rows, options, words in [
        (["net sat maybe"], instances, "line 1: result 'maybe' is not a verdict"),
        (["net other unsat"], instances, "line 1: "),
        (["net sat unsat"], [], "line 1: there is no file"),
        (["net sat unsat"], [*instances, "--root", str(folder / "b")], "name the folder of its files with --root"),
        (["net sat unsat"], [*instances, "--prove", "-1"], "prove must be at least 0"),
        (["net sat unsat"], [*instances, "--timeout", "0"], "above 0 seconds"),
        (["net sat unsat"], [*instances, "--format", "xml"], "unknown audit format"),
        (["net sat unsat"], [*instances, "--sigma", "0.5"], "--sigma goes with a smoothing log"),
        (["net sat unsat"], [*instances, "--out", str(folder / "net.onnx")], "choose another --out"),
    ]:
        assert main(["audit", str(results(folder, *rows)), *options]) == 2
        printed = capsys.readouterr().err
        assert words in printed
        assert printed.count("\n") == 1


def test_the_draw_is_even_over_families_and_ignores_the_order():
    keys = [("a", f"a{i}") for i in range(20)] + [("b", "b0"), ("c", "c0"), ("c", "c1")]
    drawn = sampled(keys, 5, seed=1)
    assert drawn == sampled(keys[::-1], 5, seed=1)
    assert sorted(key[0] for key in drawn) == ["a", "a", "b", "c", "c"]
    assert drawn != sampled(keys, 5, seed=2)
    assert len(sampled(keys, 100, seed=1)) == len(keys)
