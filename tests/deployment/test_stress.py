"""Stress tests: planted boundaries are found, falls have the shape that they have, empty labels are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.cli import main
from certify.core.stressed import STRESS_FORMATS
from certify.data.dataset import input_digest
from certify.data.loaders import load_data
from certify.deployment.stress.boundary import first_crossing
from certify.deployment.stress.falls import fall_of, level_of
from certify.deployment.stress.load import loads
from certify.deployment.stress.run import stress_run
from certify.errors import DataError, StoreError
from certify.stats.falls import fall_interval
from certify.stats.paired import PairedCounts

NETS = """
import torch
from torch import nn

def build():
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).requires_grad_(False).eval()
    net[1].weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 9) / 9)
    net[1].bias.copy_(torch.tensor([0.5, -0.5]))
    return net
"""
NET = {"model": "stress_nets:build"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stress")
    (folder / "stress_nets.py").write_text(NETS)
    generator = np.random.default_rng(0)
    level = np.concatenate([generator.uniform(0.1, 0.45, 20), generator.uniform(0.55, 0.9, 10)])
    x = np.clip(level[:, None, None, None] + generator.normal(0, 0.02, (30, 1, 3, 3)), 0, 1).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=(level > 0.5).astype(int))
    (folder / "groups.csv").write_text(
        "index,site\n" + "".join(f"{i},{'b' if i in (3, 7) else 'a'}\n" for i in range(30))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        run = ["run", "--model", "stress_nets:build", "--data", "npz:data.npz", "--quiet", "--radii", "0,0.02"]
        assert main([*run, "--norm", "linf", "--certifier", "ibp", "--out", "run"]) == 0
        light = ["--threat", "brightness", "--certifier", "crown", "--out", "light"]
        assert main([*run, *light]) == 0
    return folder


@pytest.fixture(autouse=True)
def there(made, monkeypatch):
    monkeypatch.chdir(made)
    monkeypatch.syspath_prepend(str(made))


def test_cases_lie_at_the_boundary_and_come_from_the_data():
    found = stress_run("run", ["brightness"], out="cases.json", count=24, **NET)
    x, data = np.load("cases.npz")["x"], np.load("data.npz")["x"]
    assert len(found.cases) == len(x) == 24
    assert {one.kind for one in found.cases} == {"between", "transform", "corner", "group"}
    for one in found.cases:
        assert one.digest == input_digest(x[one.row])
        assert one.expected is None
        assert one.prediction == int(x[one.row].astype(np.float64).mean() > 0.5)
        if one.kind == "between":
            first, second = one.parents
            step = (data[second] - data[first]).ravel().astype(np.float64)
            moved = (x[one.row] - data[first]).ravel()
            assert np.allclose(moved, step * (moved @ step) / (step @ step), atol=1e-6)
            assert abs(x[one.row].mean() - 0.5) <= abs(step.mean()) / 4096 + 1e-6
            assert one.prediction == int(data[first].mean() > 0.5)
            assert one.measure == pytest.approx(np.linalg.norm(moved), rel=1e-5)
        if one.kind == "transform":
            assert one.margin < 0.01
        if one.kind == "group":
            assert "the rarest group, label 1 (10 of 30)" in one.source
    for kind in ("between", "transform"):
        measures = [one.measure for one in found.cases if one.kind == kind]
        assert measures == sorted(measures)
    apart = np.abs(x[:, None] - x[None]).reshape(24, 24, -1).max(2) + np.eye(24)
    assert apart.min() >= 1 / 256


def test_a_stress_test_is_the_same_again_and_for_a_run_of_a_transform():
    one = stress_run("run", ["brightness"], out="one.json", count=8, **NET)
    again = stress_run("run", ["brightness"], out="again.json", count=8, **NET)
    assert one.to_dict() | {"inputs": ""} == again.to_dict() | {"inputs": ""}
    assert Path("one.npz").read_bytes() == Path("again.npz").read_bytes()
    light = stress_run("light", ["brightness"], out="light.json", count=8, **NET)
    assert [case.digest for case in light.cases] == [case.digest for case in one.cases]
    assert [fall.step for fall in light.falls] == [fall.step for fall in one.falls]


def test_the_rarest_group_of_a_column_is_taken():
    found = stress_run("run", ["brightness"], out="sites.json", group="groups.csv:site", **NET)
    rare = [one.parents for one in found.cases if one.kind == "group"]
    assert sorted(rare) == [(3,), (7,)]


def test_slices_may_overlap_and_the_rarest_is_taken():
    np.savez("slices.npz", dark=np.arange(30) < 20, odd=np.arange(30) % 2 == 1, last=np.arange(30) > 26)
    found = stress_run("run", ["brightness"], out="slices.json", group="slices:slices.npz", **NET)
    rare = [one for one in found.cases if one.kind == "group"]
    assert {one.parents[0] for one in rare} <= {27, 28, 29}
    assert "the rarest group, slice last (3 of 30)" in rare[0].source


def test_cases_load_as_data_once_people_have_labelled_them():
    stress_run("run", ["brightness"], out="labels.json", count=6, **NET)
    with pytest.raises(DataError, match="6 of 6 cases have no expected label"):
        load_data("stress:labels.json")
    record = json.loads(Path("labels.json").read_text())
    for case in record["cases"]:
        case["expected"] = 1
    record["cases"][2]["expected"] = "invalid"
    Path("labels.json").write_text(json.dumps(record))
    data = load_data("stress:labels.json")
    assert (len(data), data.num_classes, data.positions) == (5, 2, [0, 1, 3, 4, 5])
    assert data.y.tolist() == [1] * 5
    run = ["run", "--model", "stress_nets:build", "--data", "stress:labels.json", "--radii", "0", "--norm", "linf"]
    assert main([*run, "--certifier", "ibp", "--out", "again", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record["cases"][0].update(expected=2), "which is no class from 0 to 1"),
        (lambda record: record["cases"][0].update(expected=True), "which is no class from 0 to 1"),
        (lambda record: record["cases"][0].update(expected=[1]), "which is no class from 0 to 1"),
        (lambda record: record["cases"][0].update(digest="ab"), "is another one than that of the record"),
        (lambda record: record["cases"][0].update(row=99), "there is no input in row 99"),
        (lambda record: record["cases"][0].update(row=[1]), "cannot be read as edge cases"),
        (
            lambda record: record["cases"].append(record["cases"][0] | {"expected": 0}),
            "two of its cases name the same row",
        ),
        (lambda record: record.update(cases=[]), "no case with an expected label"),
        (lambda record: record.update(inputs="../x.npz"), "its file of inputs is none"),
        (lambda record: record.update(format="other"), "no record of certify stress"),
        (lambda record: record.pop("input_box"), "cannot be read as edge cases"),
    ],
)
def test_an_edited_record_is_refused(change, said, tmp_path):
    if not Path("edited.npz").exists():
        stress_run("run", ["brightness"], out="edited.json", count=2, **NET)
    record = json.loads(Path("edited.json").read_text())
    for case in record["cases"]:
        case["expected"] = 1
    change(record)
    (tmp_path / "edited.npz").write_bytes(Path("edited.npz").read_bytes())
    (tmp_path / "edited.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=said):
        load_data(f"stress:{tmp_path}/edited.json")


def test_a_file_without_rows_is_refused(tmp_path):
    if not Path("edited.npz").exists():
        stress_run("run", ["brightness"], out="edited.json", count=2, **NET)
    (tmp_path / "edited.json").write_text(Path("edited.json").read_text())
    np.savez(tmp_path / "edited.npz", x=np.float32(1))
    with pytest.raises(DataError, match="holds no inputs"):
        load_data(f"stress:{tmp_path}/edited.json")


def curve(*shares: float, n: int = 400) -> np.ndarray:
    return np.array([np.arange(n) < share * n for share in shares]).T


STRENGTHS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)


@pytest.mark.parametrize(
    ("shares", "shape"),
    [
        ((0.9, 0.89, 0.88, 0.3, 0.29, 0.28), "sudden"),
        ((0.9, 0.78, 0.66, 0.54, 0.42, 0.3), "graceful"),
        ((0.9, 0.9, 0.9, 0.9, 0.9, 0.9), "flat"),
        ((0.9, 0.87, 0.85, 0.82, 0.8, 0.78), "open"),
    ],
)
def test_a_fall_has_the_shape_that_its_intervals_show(shares, shape):
    amounts = {strength: f"{strength:g}" for strength in STRENGTHS}
    fall = fall_of("blur", curve(*shares), STRENGTHS, amounts, level_of(0.05, 1))
    assert fall.shape == shape
    assert fall.step_lower <= fall.step <= fall.step_upper
    assert fall.whole == pytest.approx(shares[0] - shares[-1], abs=0.01)
    if shape == "sudden":
        assert fall.amounts == ("2", "3")


def test_steepness_counts_strength_and_not_severity():
    """The same falls: over a long stretch of strength they are no sudden ones."""
    shares, strengths = (0.9, 0.88, 0.86, 0.84, 0.82, 0.3), (0.0, 1.0, 2.0, 3.0, 4.0, 40.0)
    fall = fall_of("x", curve(*shares), strengths, dict.fromkeys(strengths, ""), level_of(0.05, 1))
    assert fall.shape != "sudden"


def test_the_interval_of_a_fall_covers():
    """Of 2,000 simulated pairs of answers, no more than the stated share is missed; few are, as the bound is exact."""
    generator, missed, n = np.random.default_rng(0), 0, 40
    for _ in range(2000):
        p10, p01 = 0.5 * generator.uniform(0, 1, 2)
        n10, n01, rest = generator.multinomial(n, [p10, p01, 1 - p10 - p01]).tolist()
        lower, upper = fall_interval(PairedCounts(rest, n10, n01, 0), 0.1)
        missed += not lower <= p10 - p01 <= upper
    assert missed <= 200
    assert fall_interval(PairedCounts(0, 4, 0, 0), 0.05)[1] == 1.0


def test_a_crossing_is_found_where_it_is_planted():
    clf = certify.Classifier(lambda x: torch.cat([x - 0.3137, 0.3137 - x], 1), num_classes=2)
    found = first_crossing(clf, lambda shares: shares[:, None], 1)
    assert found is not None
    assert 0.3137 - 1 / 4096 <= found.at <= 0.3137
    assert float(found.x) == pytest.approx(found.at)
    assert first_crossing(clf, lambda shares: 0.2 * shares[:, None], 1) is None


def test_costs_are_measured_apart():
    clf = certify.Classifier(nn.Linear(3, 2).requires_grad_(False).eval(), num_classes=2)
    made = loads(clf, torch.zeros(3, 3))
    assert [one.batch for one in made] == [1, 8, 64, 256]
    assert all(0 < one.p50 <= one.p95 <= one.p99 for one in made)
    with_load = stress_run("run", ["brightness"], out="load.json", count=1, load=True, **NET)
    without = stress_run("run", ["brightness"], out="load.json", count=1, **NET)
    assert with_load.load
    assert without.load == ()
    assert with_load.statement == without.statement


def test_a_smoothed_model_is_asked_by_votes():
    run = [
        "run",
        "--model",
        "stress_nets:build",
        "--data",
        "npz:data.npz",
        "--quiet",
        "--radii",
        "0,0.1",
        "--limit",
        "5",
    ]
    assert main([*run, "--sigma", "0.25", "--n", "200", "--out", "noisy"]) == 0
    found = stress_run("noisy", ["brightness"], out="noisy.json", count=2, samples=50, **NET)
    assert "inputs and the votes (50 about each)" in found.statement[0]
    assert "accuracy of the vote of 50 draws on new inputs" in found.statement[0]
    assert {one.prediction for one in found.cases} <= {0, 1}
    assert found.contradictions == ()


def test_ends_of_intervals_are_rounded_outward():
    found = stress_run("run", ["brightness"], out="ends.json", count=1, **NET)
    (fall,) = found.falls
    told = next(line for line in found.table().splitlines() if line.split()[:1] == ["brightness"]).split()
    lower, upper = map(float, told[-2:])
    assert lower <= 100 * fall.whole_lower < lower + 0.11
    assert upper - 0.11 < 100 * fall.whole_upper <= upper


@pytest.mark.parametrize("format", list(STRESS_FORMATS))
def test_every_format_tells_falls_cases_and_the_statement(format):
    found = stress_run("run", ["brightness"], out="told.json", count=3, load=True, **NET)
    text = " ".join(found.render(format).replace("\\", "").split())
    assert "With probability at least 95.0 % over the draw of the 30 inputs" in text
    assert "of the way from input" in text
    assert "brightness" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--count", "0"], "count and samples must be at least 1"),
        (["--corruption", "typos"], "corruption typos is about texts"),
        (["--corruption", "nois"], "unknown corruption 'nois'"),
        (["--group", "sites"], "unknown group 'sites'"),
        (["--out", "a.txt"], "is a file .json"),
        (["--out", "nowhere/a.json"], "there is no folder nowhere"),
        (["--delta", "0"], "delta must lie strictly between 0 and 1"),
        (["--format", "csv"], "unknown stress format 'csv'"),
        (["--data", "digits"], "the data at hand are not those of the run"),
    ],
)
def test_bad_input_is_one_line(capsys, options, said):
    assert main(["stress", "run", "--model", "stress_nets:build", "--quiet", *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_json_stands_alone(capsys):
    ask = [
        "stress",
        "run",
        "--corruption",
        "blur",
        "--count",
        "4",
        "--out",
        "alone.json",
        "--quiet",
        "--format",
        "json",
    ]
    assert main([*ask, "--model", "stress_nets:build"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(Path("alone.json").read_text())
    with pytest.raises(StoreError, match="is not a run folder"):
        stress_run("nowhere", **NET)
