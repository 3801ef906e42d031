"""``certify verify`` as drivers of verification tools meet it: first lines, witnesses, exit codes, and bad input."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, helper, numpy_helper

from certify.bounds.deadline import Deadline
from certify.cli import main
from certify.complete.portfolio import Answer, decide
from certify.complete.reading.witness import read_witness

HEAVY = "sympy torch._dynamo scipy flint pandas statsmodels rich onnx.reference matplotlib".split()
"""Libraries that an answer does not need, and whose import would be waited for."""

BOX = "(assert (and (>= X_0 -1.0) (<= X_0 1.0) (>= X_1 -1.0) (<= X_1 1.0)))"


def network(operator: str = "Relu", dtype: type = np.float32) -> bytes:
    """``Y_0 = |X_0 - X_1|`` and ``Y_1 = X_0 + X_1``; another operator instead of ReLU says something else."""
    into = dtype([[1, -1, 1, -1], [-1, 1, 1, -1]])
    out = dtype([[1, 0], [1, 0], [0, 1], [0, -1]])
    nodes = [
        helper.make_node("MatMul", ["x", "into"], ["h"]),
        helper.make_node(operator, ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "out"], ["y"]),
    ]
    return model(nodes, 2, dtype, into=into, out=out)


def model(nodes: list[NodeProto], width: int, dtype: type = np.float32, **stored: np.ndarray) -> bytes:
    """A file that computes ``y`` of ``x``, both of that width."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ends = [helper.make_tensor_value_info(name, kind, [1, width]) for name in "xy"]
    weights = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return made.SerializeToString()


def text1(*asserted: str, box: str = BOX, inputs: int = 2) -> str:
    names = [f"X_{i}" for i in range(inputs)] + ["Y_0", "Y_1"]
    return "\n".join([*(f"(declare-const {name} Real)" for name in names), box, *asserted])


def text2(*asserted: str) -> str:
    declared = "(declare-network N (declare-input X float32 [1,2]) (declare-output Y float32 [1,2]))"
    bounds = "".join(f"(assert (>= X[0,{i}] -1.0)) (assert (<= X[0,{i}] 1.0))\n" for i in range(2))
    return "\n".join(["(vnnlib-version <2.0>)", declared, bounds, *asserted])


ANSWERS = {
    "unsat": ("(assert (>= Y_0 2.001))", "(assert (>= Y[0,0] 2.001))"),
    "sat": ("(assert (>= Y_0 1.5))", "(assert (>= Y[0,0] 1.5))"),
}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with a network; the limit on memory would outlast the test."""
    (tmp_path / "net.onnx").write_bytes(network())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("certify.cli.verify.limit_memory", lambda more: None)
    return tmp_path


@pytest.fixture
def run(here, capsys):
    """Runs the command on arguments: exit code, standard output in lines, standard error."""

    def call(*arguments: str) -> tuple[int, list[str], str]:
        code = main(["verify", *arguments])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return call


def decided_by(monkeypatch, decide) -> None:
    monkeypatch.setattr("certify.complete.verify_file.decide", decide)


@pytest.mark.parametrize("outcome", ANSWERS)
@pytest.mark.parametrize("packed", ["", ".gz", ".bin"])
def test_the_first_line_is_the_verdict(here, run, outcome, packed):
    (here / "p.vnnlib").write_text(text1(ANSWERS[outcome][0]))
    names = ["net.onnx", "p.vnnlib"]
    if packed:
        for name in names:
            (here / f"{name}{packed}").write_bytes(gzip.compress((here / name).read_bytes()))
        names = [f"{name}{packed}" for name in names]
    code, out, err = run(*names, "--timeout", "30")
    assert (code, out[0], err) == (0, outcome, "")
    if outcome == "unsat":
        assert len(out) == 1
    else:
        x, y = read_witness("\n".join(out[1:]))
        assert all(abs(value) <= 1 for value in x)
        assert y[0] >= Fraction(3, 2)
        assert abs(float(abs(x[0] - x[1]) - y[0])) < 1e-6


@pytest.mark.parametrize("outcome", ANSWERS)
def test_the_form_of_vnnlib_2(here, run, outcome):
    (here / "p.vnnlib").write_text(text2(ANSWERS[outcome][1]))
    code, out, err = run("p.vnnlib", "--network", "N=net.onnx", "--timeout", "30.0")
    assert (code, out[0], err) == (0, outcome, "")
    if outcome == "sat":
        assert out[1] == "X float32 [1,2]"
        assert len(read_witness("\n".join(out[1:]))[0]) == 2


@pytest.mark.parametrize("outcome", ["unknown", "timeout"])
def test_no_verdict_is_an_answer(here, run, monkeypatch, outcome):
    (here / "p.vnnlib").write_text(text1(ANSWERS["sat"][0]))
    answer = Answer(outcome, solver="neurons", subproblems=7, reason="all methods gave up")
    decided_by(monkeypatch, lambda *args, **settings: answer)
    code, out, err = run("net.onnx", "p.vnnlib", "--stats", "stats.json")
    assert (code, out, err) == (0, [outcome], "")
    told = json.loads((here / "stats.json").read_text())
    assert (told["outcome"], told["solver"], told["subproblems"]) == (outcome, "neurons", 7)
    assert set(told["seconds"]) == {"start_up", "reading", "deciding"}


BAD_PROPERTIES = {
    "malformed": (text1("(assert (>= Y_0"), "line"),
    "out of range": (text1("(declare-const Y_7 Real) (assert (>= Y_7 0))"), "Y_7"),
    "inputs": (text1("(assert (>= Y_0 1)) (assert (<= X_2 1)) (assert (>= X_2 0))", inputs=3), "inputs"),
    "empty box": (text1("(assert (>= X_0 2.0)) (assert (>= Y_0 1))"), "empty"),
    "unbounded": (text1("(assert (>= Y_0 1))", box="(assert (<= X_0 1.0))"), "X_"),
}


@pytest.mark.parametrize("case", BAD_PROPERTIES)
def test_a_property_that_cannot_be_read(here, run, case):
    text, fragment = BAD_PROPERTIES[case]
    (here / "p.vnnlib").write_text(text)
    code, out, err = run("net.onnx", "p.vnnlib")
    assert (code, out) == (2, ["error"])
    assert err.count("\n") == 1
    assert err.startswith("certify: p.vnnlib")
    assert fragment in err


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["torn.onnx", "p.vnnlib"], "torn.onnx cannot be read: its gzip is damaged"),
        (["odd.onnx", "p.vnnlib"], "Acosh"),
        (["odd.onnx", "p.vnnlib"], "`certify supports --onnx-operators` lists what can be read"),
        (["double.onnx", "p.vnnlib", "--claim", "float32"], "weights are float64"),
        (["p.vnnlib", "p.vnnlib"], "p.vnnlib"),
        (["net.onnx", "p.vnnlib", "--timeout", "0"], "above 0"),
        (["net.onnx", "p.vnnlib", "--timeout", "nan"], "above 0"),
        (["net.onnx", "p.vnnlib", "--timeout", "soon"], "--timeout"),
        (["net.onnx", "p.vnnlib", "--claim", "float16"], "float32"),
        (["net.onnx", "p.vnnlib", "--hurry"], "--hurry"),
        (["net.onnx"], "PROP.vnnlib"),
        ([], "name a network and a property"),
        (["p.vnnlib", "--network", "net.onnx"], "NAME=NET.onnx"),
        (["p.vnnlib", "--network", "A=net.onnx", "--network", "B=net.onnx"], "2 networks"),
        (["p2.vnnlib", "--network", "M=net.onnx"], "network N"),
    ],
)
def test_other_bad_input(here, run, arguments, fragment):
    (here / "p.vnnlib").write_text(text1(ANSWERS["unsat"][0]))
    (here / "p2.vnnlib").write_text(text2(ANSWERS["unsat"][1]))
    (here / "odd.onnx").write_bytes(network("Acosh"))
    (here / "double.onnx").write_bytes(network(dtype=np.float64))
    (here / "torn.onnx").write_bytes(gzip.compress(network())[:-9])
    code, out, err = run(*arguments)
    assert (code, out) == (2, ["error"])
    assert err.count("\n") == 1
    assert fragment in err


@pytest.mark.parametrize("claim", ["exact", "float32"])
def test_the_claim_reaches_the_problem(here, run, monkeypatch, claim):
    """``relu(x + base) - base`` is x; in float32, whose neighbours around ``base`` are 0.125 apart, it need not be."""
    nodes = [
        helper.make_node("Add", ["x", "base"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Sub", ["r", "base"], ["y"]),
    ]
    (here / "base.onnx").write_bytes(model(nodes, 1, base=np.float32([2**20])))
    declared = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0.03))(assert (<= X_0 0.03))"
    (here / "p.vnnlib").write_text(f"{declared}(assert (>= Y_0 0.05))")
    soon = Deadline(30.0 if claim == "exact" else 1.0)  # the command's own limit could end the tests
    decided_by(monkeypatch, lambda problem, deadline, **settings: decide(problem, soon, **settings))
    code, out, err = run("base.onnx", "p.vnnlib", "--claim", claim)
    assert (code, err) == (0, "")
    assert (out == ["unsat"]) == (claim == "exact")


def test_the_seed_reaches_the_search(here, run, monkeypatch):
    (here / "p.vnnlib").write_text(text1(ANSWERS["unsat"][0]))
    seeds = []

    def decide(*args, seed, **settings):
        seeds.append(seed)
        return Answer("unknown", reason="")

    decided_by(monkeypatch, decide)
    for seed in ("0", "7"):
        run("net.onnx", "p.vnnlib", "--seed", seed)
    assert seeds == [0, 7]


def refused(run, *arguments: str) -> str:
    """The one line that refuses arguments; nothing large has been imported for it."""
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, ["error"], 1)
    return err.removeprefix("certify: ").strip()


@pytest.fixture
def early(here, run, monkeypatch):
    """Refuses arguments before the libraries are imported."""
    (here / "p.vnnlib").write_text(text1(ANSWERS["unsat"][0]))
    monkeypatch.setattr("certify.cli.verify.importing", lambda: pytest.fail("too late"))
    return lambda *arguments: refused(run, *arguments)


def test_files_that_are_not_there(here, early):
    assert early("absent.onnx", "p.vnnlib") == "there is no file absent.onnx"
    assert early("net.onnx", "absent.vnnlib.gz") == "there is no file absent.vnnlib.gz"
    assert early("p.vnnlib", "--network", "N=absent.onnx") == "there is no file absent.onnx"
    assert early("net.onnx", "p.vnnlib", "--check", "absent.json") == "there is no file absent.json"
    assert early(".", "p.vnnlib") == ". is a folder; name a file"
    assert "Not a directory" in early("net.onnx/net.onnx", "p.vnnlib")


@pytest.mark.parametrize("option", ["--proof", "--stats"])
def test_targets_that_cannot_be_written(here, early, monkeypatch, option):
    (here / "link.json").symlink_to("absent.json")
    (here / "same.onnx").hardlink_to("net.onnx")
    before = {path.name: path.read_bytes() for path in (here / "net.onnx", here / "p.vnnlib")}
    for target, fragment in {
        ".": "no plain file",
        "/dev/null": "no plain file",
        "link.json": "no plain file",
        "absent/a.json": "there is no folder absent",
        "net.onnx": "would overwrite what is read",
        "../" + here.name + "/p.vnnlib": "would overwrite what is read",
        "same.onnx": "would overwrite what is read",
    }.items():
        message = early("net.onnx", "p.vnnlib", option, target)
        assert message.startswith(f"{option} {target}"), target
        assert fragment in message
    assert before == {name: (here / name).read_bytes() for name in before}
    monkeypatch.setattr("certify.cli.files.os.access", lambda path, mode: Path(path) != here)
    assert "cannot be written to" in early("net.onnx", "p.vnnlib", option, f"{here}/a.json")


def test_two_targets_are_two_files(here, early):
    (here / "a.json").write_text("kept")
    message = early("net.onnx", "p.vnnlib", "--proof", "a.json", "--stats", f"{here}/a.json")
    assert message.startswith("--proof and --stats both name")
    assert (here / "a.json").read_text() == "kept"


@pytest.mark.parametrize("option", ["--claim=exact", "--seed=0", "--timeout=60", "--proof=a.json", "--stats=a.json"])
def test_what_does_not_go_with_check(here, early, option):
    (here / "a.json").write_text("{}")
    message = early("net.onnx", "p.vnnlib", "--check", "a.json", option)
    assert message.startswith("--check searches nothing")
    assert option.partition("=")[0] in message
    assert (here / "a.json").read_text() == "{}"


def test_a_proof_cannot_be_checked_of_another_type(here, run):
    (here / "p.vnnlib").write_text(text1(ANSWERS["unsat"][0]))
    (here / "net.onnx").write_bytes(network(dtype=np.float64))
    assert run("net.onnx", "p.vnnlib", "--proof", "a.json")[1] == ["unsat"]
    proof = json.loads((here / "a.json").read_text())
    (here / "a.json").write_text(json.dumps({**proof, "claim": "float32"}))
    assert "weights are float64" in refused(run, "net.onnx", "p.vnnlib", "--check", "a.json")


def test_proof_and_statistics_are_both_written(here, run):
    (here / "p.vnnlib").write_text(text1(ANSWERS["unsat"][0]))
    for _ in range(2):  # over those of an earlier run, too
        assert run("net.onnx", "p.vnnlib", "--proof", "a.json", "--stats", "b.json") == (0, ["unsat"], "")
        told = [json.loads((here / name).read_text()) for name in ("a.json", "b.json")]
        assert [one["outcome"] for one in told] == ["unsat", "unsat"]
        assert ["proof" in one for one in told] == [True, False]
    assert not list(here.glob("*.tmp"))


@pytest.mark.parametrize(("lost", "kept"), [("a.json", "b.json"), ("b.json", "a.json")])
def test_one_file_is_not_lost_with_the_other(here, run, monkeypatch, lost, kept):
    (here / "p.vnnlib").write_text(text1(ANSWERS["unsat"][0]))

    def decide(*args, **settings):
        (here / lost).mkdir()  # while the search went on
        return Answer("unknown", reason="")

    decided_by(monkeypatch, decide)
    code, out, err = run("net.onnx", "p.vnnlib", "--proof", "a.json", "--stats", "b.json")
    assert (code, out, err.count("\n")) == (2, ["unknown"], 1)
    assert err.startswith(f"certify: cannot write {lost}")
    assert json.loads((here / kept).read_text())["outcome"] == "unknown"
    assert not list(here.glob("*.tmp"))


@pytest.mark.parametrize(
    ("failure", "fragment"),
    [
        (MemoryError(), "memory ran out"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "memory ran out"),
        (ZeroDivisionError("by zero"), "unexpected ZeroDivisionError"),
        (AssertionError(), "unexpected AssertionError"),
    ],
)
def test_a_failure_inside_is_no_verdict(here, run, monkeypatch, failure, fragment):
    def fail(*args, **settings):
        raise failure

    (here / "p.vnnlib").write_text(text1(ANSWERS["unsat"][0]))
    decided_by(monkeypatch, fail)
    code, out, err = run("net.onnx", "p.vnnlib")
    assert (code, out) == (2, ["error"])
    assert err.count("\n") == 1
    assert fragment in err


def test_a_false_witness_is_no_verdict(here, run, monkeypatch):
    from certify.complete.problem import Witness
    from certify.complete.query import Condition, Disjunct

    (here / "p.vnnlib").write_text(text1(ANSWERS["sat"][0]))
    case = Disjunct((Fraction(0),) * 2, (Fraction(1),) * 2, (Condition((), ((0, Fraction(-1)),), Fraction(-2)),))
    false = Answer("sat", witness=Witness(np.float32([0.5, 0.5]), np.float32([2.0, 1.0]), case))
    decided_by(monkeypatch, lambda *args, **settings: false)
    assert run("net.onnx", "p.vnnlib")[1][0] == "sat"  # as stated: what the output is, an execution has said before
    for x, y in (([1.5, 0.5], [2.0, 1.0]), ([0.5, 0.5], [1.5, 1.0])):  # outside of the box, and not what was asked
        answer = Answer("sat", witness=Witness(np.float32(x), np.float32(y), case))
        decided_by(monkeypatch, lambda *args, answer=answer, **settings: answer)
        code, out, err = run("net.onnx", "p.vnnlib")
        assert (code, out, err.count("\n")) == (2, ["error"], 1)


def test_an_interrupt_answers_nothing(here, run, monkeypatch):
    def interrupted(*args, **settings):
        raise KeyboardInterrupt

    (here / "p.vnnlib").write_text(text1(ANSWERS["sat"][0]))
    decided_by(monkeypatch, interrupted)
    assert run("net.onnx", "p.vnnlib") == (3, [], "certify: interrupted before there was an answer\n")


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_time_limit_is_kept_whatever_is_being_computed():
    done = python(
        "import time; from certify.cli.answering import answering\n"
        "with answering(0.3, 'late') as say: time.sleep(30); say('unsat')"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "timeout\n", "late")


def test_only_the_first_answer_counts():
    done = python(
        "import time; from certify.cli.answering import answering\n"
        "with answering(0.3) as say: say('unsat'); time.sleep(0.6); say('sat')"
    )
    assert (done.returncode, done.stdout) == (0, "unsat\n")


def test_memory_has_a_limit():
    code = "from certify.process import limit_memory; limit_memory(10**8); bytearray(10**9)"
    assert python(code).stderr.endswith("MemoryError\n")


def test_a_limit_that_start_up_takes_is_a_timeout(here):
    (here / "p.vnnlib").write_text(text1(ANSWERS["unsat"][0]))
    (here / "a.json").write_text("of an earlier run")
    command = [Path(sys.executable).with_name("certify"), "verify", "net.onnx", "p.vnnlib", "--timeout", "0.1"]
    done = subprocess.run(
        [*command, "--proof", "a.json"], capture_output=True, text=True, check=False, timeout=60, cwd=here
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "timeout\n", "")
    assert not (here / "a.json").exists()


def test_what_an_answer_does_not_need_is_not_imported(here):
    (here / "p.vnnlib").write_text(text1(ANSWERS["unsat"][0]))
    code = (
        "import sys; from certify.cli import main; code = main(['verify', *sys.argv[1:]])\n"
        f"print([name for name in {HEAVY} if name in sys.modules]); sys.exit(code)"
    )
    done = python(code, "net.onnx", "p.vnnlib")
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, ["unsat", "[]"], "")


CAPABILITIES = {
    "onnx-opset-versions": lambda lines: len(lines) == 2 and int(lines[0]) <= int(lines[1]),
    "onnx-element-types": lambda lines: lines[0] == "real",
    "onnx-operators": lambda lines: {"Relu", "Gemm", "Conv", "Constant"} < set(lines) and all(map(str.isalnum, lines)),
    "vnnlib-versions": lambda lines: lines == ["1.0", "2.0"],
    "hidden-node-theories": lambda lines: lines == ["NH"],
    "multiple-input-output-theories": lambda lines: lines == ["SIO"],
    "multiple-network-theories": lambda lines: lines == ["SNET"],
    "multiple-node-comparison-theories": lambda lines: lines == ["MNC"],
    "arithmetic-complexity-theories": lambda lines: lines == ["BND", "OUTC", "LIN"],
    "optimised-disjunctive-reasoning": lambda lines: lines == ["true"],
    "serialise-assignments": lambda lines: lines == ["false"],
}
"""What chapter 5 of the standard lets a driver ask, and what the answer looks like."""


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_capabilities(capsys, capability):
    assert main(["supports", f"--{capability}"]) == 0
    out, err = capsys.readouterr()
    assert CAPABILITIES[capability](out.splitlines())
    assert (err, out[-1]) == ("", "\n")


def test_an_unknown_capability_lists_the_known(capsys):
    assert main(["supports", "--onnx-operator"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "did you mean 'onnx-operators'?" in err


@pytest.mark.parametrize(("option", "shape"), [("--name", str.isalpha), ("--version", lambda text: text[0].isdigit())])
def test_name_and_version(capsys, option, shape):
    assert main([option]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert shape(lines[0])
