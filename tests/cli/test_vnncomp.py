"""The three scripts that VNN-COMP calls, with its arguments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper

SCRIPTS = Path(__file__).parents[2] / "scripts/vnncomp"

CERTIFY = Path(sys.executable).with_name("certify")

PROPERTY = """(declare-const X_0 Real) (declare-const Y_0 Real)
(assert (>= X_0 -1)) (assert (<= X_0 1)) (assert (>= Y_0 0.5))
"""


@pytest.fixture
def here(tmp_path) -> Path:
    """A network that is one ReLU, and a property that half of its inputs are witnesses of."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "my net.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "p.vnnlib").write_text(PROPERTY)
    return tmp_path


def script(name: str, *arguments: str | Path, certify: Path = CERTIFY) -> subprocess.CompletedProcess[str]:
    command = [SCRIPTS / f"{name}.sh", *map(str, arguments)]
    environment = {**os.environ, "CERTIFY": str(certify)}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


def test_an_instance_is_decided(here):
    files = here / "my net.onnx", here / "p.vnnlib"
    assert script("prepare_instance", "v1", "tiny", *files).returncode == 0
    done = script("run_instance", "v1", "tiny", *files, here / "results.txt", "30")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = (here / "results.txt").read_text().splitlines()
    assert lines[0] == "sat"
    assert lines[1].startswith("((X_0 ")


@pytest.mark.parametrize("certify", [CERTIFY, Path("/bin/false")], ids=["bad input", "dies without a word"])
def test_a_failure_is_an_error_in_the_results(here, certify):
    results = here / "results.txt"
    done = script("run_instance", "v1", "tiny", here / "no.onnx", here / "p.vnnlib", results, "9", certify=certify)
    assert (done.returncode, results.read_text()) == (0, "error\n")


@pytest.mark.parametrize("name", ["install_tool", "prepare_instance", "run_instance"])
def test_another_version_of_the_protocol_is_refused(name):
    done = script(name, "v2", "tiny", "net.onnx", "p.vnnlib", "results.txt", "9")
    assert done.returncode == 1
    assert done.stderr.startswith(f"usage: {name}.sh v1")


def test_missing_files_are_noticed_before(here):
    done = script("prepare_instance", "v1", "tiny", here / "absent.onnx", here / "p.vnnlib")
    assert done.returncode == 1
    assert "absent.onnx" in done.stderr
