"""A segmentation on the command line: label maps in a file, run, check with replay, report and gate."""

from __future__ import annotations

import json

import numpy as np
import pytest
from adversary.forgeries import make_runs

from certify.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run about pixels with its model and its data."""
    return make_runs(tmp_path_factory.mktemp("pixels"), ["pixels"])


def test_a_run_about_pixels_is_checked_with_replay(folder, capsys):
    assert main(["check", str(folder / "pixels"), "--replay", "2", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not found["refuted"]
    assert {"confidence bound", "pixels", "hits", "selection votes", "fresh samples", "label"} <= found["counts"].keys()


def test_tables_and_pages_tell_the_share_of_pixels(folder, tmp_path, capsys):
    assert main(["report", str(folder / "pixels"), "--html", str(tmp_path / "a.html")]) == 0
    assert "truly keep" in (tmp_path / "a.html").read_text()
    capsys.readouterr()
    assert main(["summary", str(folder / "pixels"), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["pixels"]
    assert [row["radius"] for row in rows] == [0.0, 0.05, 0.3]
    assert rows[0]["certified"] >= rows[1]["certified"] >= rows[2]["certified"]


@pytest.mark.parametrize(("least", "code"), [(0.05, 0), (0.99, 1)])
def test_a_gate_compares_the_lower_end_of_the_share_of_pixels(folder, tmp_path, capsys, least, code):
    policy = tmp_path / "policy.toml"
    property = '{property = "pixels", share = 0.75}'
    policy.write_text(
        f'[threat]\nnorm = "l2"\nproperty = {property}\n[[require]]\nkind = "certified_pixels"\nradius = 0.05\n'
        f"at_least = {least}\n"
    )
    assert main(["gate", str(folder / "pixels"), "--policy", str(policy)]) == code
    assert "certified pixels of these inputs at l2 0.05" in capsys.readouterr().out


def test_label_maps_of_another_size_are_refused_in_one_line(folder, tmp_path, capsys):
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 1, 2, 2), np.float32), y=np.zeros((4, 3, 2), np.int64))
    asked = ["run", "--model", str(folder / "model-of-pixels"), "--radii", "0", "--norm", "l2", "--sigma", "0.25"]
    asked += ["--certifier", "pixelwise", "--property", "pixels", "--n", "100", "--out", str(tmp_path / "a")]
    assert main([*asked, "--data", f"npz:{tmp_path / 'data.npz'}"]) == 2
    printed = capsys.readouterr()
    assert "3 x 2 pixels, and the model gives a class to 2 x 2" in printed.err
    assert len(printed.err.strip().splitlines()) == 1


def test_new_images_are_compared_by_their_features(folder, tmp_path, capsys):
    """Their label maps are read as those of the run were, and no single class of an image has a margin."""
    generator = np.random.default_rng(0)
    x = generator.random((12, 1, 2, 2)).astype(np.float32)
    for name, part in (("old", x), ("new", 0.9 * x[::-1])):
        np.savez(tmp_path / f"{name}.npz", x=part, y=(part[:, 0] > 0.5).astype(np.int64))
    asked = [
        "run",
        "--model",
        str(folder / "model-of-pixels"),
        "--radii",
        "0",
        "--norm",
        "l2",
        "--sigma",
        "0.25",
        "--quiet",
    ]
    asked += ["--certifier", "pixelwise", "--property", "pixels", "--n", "100", "--out", str(tmp_path / "run")]
    assert main([*asked, "--data", f"npz:{tmp_path / 'old.npz'}"]) == 0
    capsys.readouterr()
    assert main(["compare-data", str(tmp_path / "run"), f"npz:{tmp_path / 'new.npz'}", "--format", "json"]) in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert {one["test"] for one in found["tests"]} == {"features", "classifier"}
    assert any("one for each pixel" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["improve", "pixels"], "about the pixels of images"),
        (["conformal", "pixels", "--calibration", "npz:maps.npz"], "about another property"),
        (["train", "noise", "--data", "npz:maps.npz", "--out", "t"], "these data hold label maps"),
    ],
)
def test_commands_about_one_class_an_input_refuse_pixels_in_one_line(folder, monkeypatch, capsys, command, says):
    monkeypatch.chdir(folder)
    assert main(command) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("certify: ")
    assert says in last
