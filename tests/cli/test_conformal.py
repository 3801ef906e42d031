"""``certify conformal`` on real run folders: sets, their record and its check; bad input is one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from certify.cli import main

NETS = """
import torch
from torch import nn

def build():
    net = nn.Linear(2, 3)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 3.0], [1.0, 1.0]]))
        net.bias.zero_()
    return net.eval()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("conformal")
    (folder / "conformal_nets.py").write_text(NETS)
    generator = np.random.default_rng(0)
    for name, n, low in (("data", 200, 0.0), ("other", 60, 0.0), ("outside", 20, 2.0)):
        x = (low + generator.uniform(0, 1, (n, 2))).astype(np.float32)
        y = (9 * x @ np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 0.3]]) + generator.gumbel(size=(n, 3))).argmax(1)
        np.savez(folder / f"{name}.npz", x=x, y=y)
    np.savez(folder / "wide.npz", x=np.zeros((20, 3), np.float32), y=np.zeros(20, int))
    np.savez(folder / "labels.npz", x=np.zeros((20, 2), np.float32), y=np.full(20, 7))
    run = ["run", "--model", "conformal_nets:build", "--input-box", "0,1", "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        common = [*run, "--data", "npz:data.npz", "--radii", "0,0.05"]
        assert main([*common, "--limit", "50", "--certifier", "crown", "--attack", "fgsm", "--out", "part"]) == 0
        assert main([*common, "--limit", "9", "--certifier", "complete", "--out", "complete"]) == 0
        noisy = [*common, "--limit", "20", "--sigma", "0.25", "--n", "200"]
        assert main([*noisy, "--out", "noisy"]) == 0
        assert main([*run, "--data", "npz:other.npz", "--radii", "0,0.05", "--certifier", "ibp", "--out", "all"]) == 0
    return folder


@pytest.fixture(autouse=True)
def there(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(made))
    for name in ("part", "complete", "all", "noisy"):
        shutil.copytree(made / name, name)
    for file in made.glob("*.npz"):
        shutil.copy(file, file.name)


ASK = ["conformal", "part", "--model", "conformal_nets:build", "--quiet"]


def test_sets_are_written_and_made_again(capsys):
    assert main([*ASK, "--calibration", "rest", "--plot", "sets.svg"]) == 0
    text = capsys.readouterr().out
    assert "calibrated on 150 other inputs of data.npz" in text
    assert Path("sets.svg").stat().st_size > 1000
    record = json.loads(Path("part/conformal.json").read_text())
    assert (len(record["calibration"]), len(record["inputs"]), record["rank"]) == (150, 50, 136)
    assert sorted(record["calibration"])[135] == record["threshold"]
    assert main(["check", "part/conformal.json", "--model", "conformal_nets:build", "--quiet"]) == 0
    assert "Nothing is refuted" in (said := capsys.readouterr().out)
    assert "With probability at least 90 %" in said
    assert main(["check", "part/conformal.json", "--quiet"]) == 3  # reading a file runs no code
    said = capsys.readouterr().out
    assert "which only you may let run" in " ".join(said.split())
    assert "With probability" not in said
    assert main(["conformal", "part", "--calibration", "rest", "--quiet"]) == 2


def test_other_data_calibrate_as_well(capsys):
    assert main([*ASK, "--calibration", "npz:other.npz", "--radii", "0.1", "--score", "margin", "--out", "a.json"]) == 0
    record = json.loads(Path("a.json").read_text())
    assert (len(record["calibration"]), [row["radius"] for row in record["rows"]]) == (60, [0.1])
    assert record["rows"][0]["plain_proven"] <= record["rows"][0]["plain_attacked"]


def test_votes_calibrate_a_run_of_smoothing_and_are_drawn_again(capsys):
    ask = ["conformal", "noisy", "--model", "conformal_nets:build", "--quiet", "--calibration", "rest"]
    assert main([*ask, "--samples", "120"]) == 0
    assert "120 draws of gaussian noise" in " ".join(capsys.readouterr().out.split())
    assert main(["check", "noisy/conformal.json", "--model", "conformal_nets:build", "--quiet"]) == 0
    record = json.loads(Path("noisy/conformal.json").read_text())
    assert (record["paid"], record["rank"]) == ("1/100", 165)
    Path("bad.json").write_text(json.dumps(record | {"samples": 400}))
    assert main(["check", "bad.json", "--model", "conformal_nets:build", "--quiet"]) == 1
    Path("bad.json").write_text(json.dumps(record | {"generator": "torch-9.9-tpu"}))
    capsys.readouterr()
    assert main(["check", "bad.json", "--model", "conformal_nets:build", "--quiet"]) == 3
    assert "torch-9.9-tpu" in " ".join(capsys.readouterr().out.split())


def test_votes_that_nobody_gave_a_number_of_are_drawn_again():
    ask = ["--model", "conformal_nets:build", "--quiet"]
    assert main(["conformal", "noisy", *ask, "--calibration", "rest", "--coverage", "0.8"]) == 0
    assert main(["check", "noisy/conformal.json", *ask]) == 0


def test_equal_inputs_of_one_data_set_are_two_inputs(made):
    """Where values are whole numbers, some input that was left out equals one of the run: both were drawn."""
    x, y = (np.load("data.npz")[name] for name in ("x", "y"))
    np.savez("data.npz", x=np.round(x, 1), y=y)
    run = ["run", "--model", "conformal_nets:build", "--input-box", "0,1", "--quiet", "--data", "npz:data.npz"]
    assert main([*run, "--radii", "0", "--limit", "60", "--certifier", "ibp", "--out", "whole"]) == 0
    assert main(["conformal", "whole", *ASK[2:], "--calibration", "rest"]) == 0
    assert main(["conformal", "whole", *ASK[2:], "--calibration", "npz:data.npz"]) == 2


def damaged(record: dict, how: str) -> str:
    """Change one thing of a record; return the claim that should not hold any more."""
    one = next(one for one in record["inputs"] if len(one["sets"][1]) > 1)
    if how == "class left out":
        one["sets"][1] = one["sets"][1][:1]
        return "sets"
    if how == "threshold":
        record["threshold"] -= 0.5
        return "threshold"
    if how == "rank":
        record["rank"] -= 10
        return "rank"
    if how == "score":
        record["calibration"][3] -= 1.0
        return "calibration scores"
    if how == "coverage":
        record["coverage"] = 0.99
        return "rank"
    if how == "radius":
        record["threat"]["radii"] = [0.0, 0.2]
        return "sets"
    if how == "seed":
        record["seed"] += 1
        return "seed"
    if how == "model":
        record["model"]["digest"] = "0" * 64
        return "model digest"
    if how == "delta":
        record["delta"] = 0.5
        return "delta"
    if how == "plain":
        record["plain"]["plain_proven"] = 1.0
        return "plain"
    if how == "radius of a row":
        record["rows"][1]["radius"] = 0.2
        return "radii"
    record["given"] = 0.99
    return "given"


CHANGES = [
    *("class left out", "threshold", "rank", "score", "coverage", "radius", "seed", "given"),
    *("model", "delta", "plain", "radius of a row"),
]


@pytest.mark.parametrize("how", CHANGES)
def test_a_record_that_was_changed_is_refuted(how, capsys):
    assert main([*ASK, "--calibration", "rest"]) == 0
    record = json.loads(Path("part/conformal.json").read_text())
    claim = damaged(record, how)
    Path("bad.json").write_text(json.dumps(record))
    capsys.readouterr()
    assert main(["check", "bad.json", "--model", "conformal_nets:build", "--quiet", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert claim in {one["claim"] for one in found["refuted"]}
    assert found["statement"] == ""


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "certify prediction sets, version 1"}', "[" * 10_000, '{"format": NaN}', "\x00\x01"],
)
def test_what_is_no_record_is_one_line(text, capsys):
    Path("bad.json").write_text(text)
    assert main(["check", "bad.json"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("certify: bad.json")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("paid", "1/0"),
        ("paid", "1e999999999"),
        ("paid", 0.5),
        ("calibration", [True]),
        ("inputs", []),
        ("rows", [{}]),
        ("delta", 7),
        ("coverage", "x"),
        ("threat", {"threat": "no"}),
        ("run", []),
        ("inputs", [{"label": [], "plain": 3, "sets": None}]),
    ],
)
def test_a_record_of_the_wrong_types_is_one_line(change, value, capsys):
    assert main([*ASK, "--calibration", "rest"]) == 0
    record = json.loads(Path("part/conformal.json").read_text()) | {change: value}
    Path("bad.json").write_text(json.dumps(record))
    capsys.readouterr()
    assert main(["check", "bad.json", "--quiet"]) in (1, 2, 3)
    out = capsys.readouterr()
    assert out.err.count("\n") <= 1
    assert "Traceback" not in out.err + out.out
    assert "unexpected" not in out.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*ASK, "--calibration", "npz:data.npz"], "50 inputs among the calibration inputs are also among those"),
        ([*ASK, "--calibration", "rest", "--coverage", "1.5"], "coverage must lie strictly between 0 and 1"),
        ([*ASK, "--calibration", "rest", "--score", "aps"], "unknown nonconformity score 'aps'"),
        ([*ASK, "--calibration", "rest", "--format", "yaml"], "unknown set format 'yaml'"),
        ([*ASK, "--calibration", "npz:wide.npz"], "calibration inputs have shape (3,)"),
        ([*ASK, "--calibration", "npz:labels.npz"], "label 7"),
        ([*ASK, "--calibration", "npz:outside.npz"], "outside"),
        ([*ASK, "--calibration", "npz:nowhere.npz"], "nowhere.npz"),
        ([*ASK, "--calibration", "rest", "--out", "part/manifest.json"], "--out"),
        ([*ASK, "--calibration", "rest", "--plot", "sets.txt"], "--plot"),
        (["conformal", "nowhere", "--calibration", "rest"], "nowhere"),
        (["conformal", "all", "--model", "conformal_nets:build", "--calibration", "rest"], "so there is no rest"),
        (["conformal", "complete", "--model", "conformal_nets:build", "--calibration", "rest"], "complete bounds no"),
        ([*ASK, "--data", "npz:other.npz", "--calibration", "rest"], "the data at hand are not those of the run"),
    ],
)
def test_bad_input_is_one_line(arguments, words, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not Path("part/conformal.json").exists()
