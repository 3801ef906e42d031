"""Corruptions of real run folders: worst case below average case, planted contradictions, intervals that cover."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.cli import main
from certify.core.corrupted import CORRUPT_FORMATS
from certify.deployment.corrupt import corrupt_run
from certify.errors import BadInput
from certify.stats.binomial import clopper_pearson_lower, clopper_pearson_upper
from certify.stats.simultaneous import share

NETS = """
import os
import torch
from torch import nn
import certify

def build():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).requires_grad_(False).eval()
    net[1].weight.copy_(torch.tensor([[1.0], [-1.0], [0.0]]).expand(3, 36) / 6)
    net[1].bias.copy_(torch.tensor([-3.0, 3.0, -0.3]))
    return net

def planted():
    # A model that pins itself with a digest of its own choice, and answers differently once it is deployed.
    net = build()
    if os.environ.get("PLANTED"):
        net[1].weight.neg_()
    return certify.Classifier(lambda x: net(x), num_classes=3, digest="ab" * 32)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corrupt")
    (folder / "corrupt_nets.py").write_text(NETS)
    generator = np.random.default_rng(0)
    level = generator.uniform(0, 1, (40, 1, 1, 1))
    x = np.clip(level + generator.normal(0, 0.1, (40, 1, 6, 6)), 0, 1).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=(level < 0.5).astype(int).ravel(), num_classes=3)
    run = ["run", "--data", "npz:data.npz", "--quiet", "--model"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        plain = [*run, "corrupt_nets:build"]
        assert main([*plain, "--norm", "linf", "--radii", "0,0.05", "--certifier", "ibp", "--out", "linf"]) == 0
        part = ["--norm", "linf", "--radii", "0,0.05", "--certifier", "ibp", "--limit", "7", "--out", "part"]
        assert main([*plain, *part]) == 0
        light = ["--threat", "brightness", "--radii", "0,0.05,0.1,0.3", "--certifier", "crown", "--out", "light"]
        assert main([*plain, *light]) == 0
        noisy = ["--sigma", "0.25", "--n", "300", "--radii", "0,0.1", "--limit", "6", "--out", "noisy"]
        assert main([*plain, *noisy]) == 0
        lone = ["--sigma", "0.25", "--n", "2000", "--radii", "0,0.5", "--limit", "12", "--out", "planted"]
        assert main([*run, "corrupt_nets:planted", *lone]) == 0
    return folder


@pytest.fixture(autouse=True)
def there(made, monkeypatch):
    monkeypatch.chdir(made)
    monkeypatch.syspath_prepend(str(made))


NET = {"model": "corrupt_nets:build"}


def test_worst_case_below_average_case_on_one_axis():
    found = corrupt_run("light", ["brightness", "blur"], beside=["linf"], **NET)
    assert [run.axes for run in found.runs] == [("brightness",), ()]
    assert found.contradictions == ()
    assert "The strength of brightness (run light) is a radius" in found.notes[0]
    summary = certify.read_run("light").summary
    for row in found.of("brightness"):
        light, linf = row.certified
        assert light == summary.certified_at(row.strength)
        assert linf is not None
        assert linf <= light <= row.accuracy
    assert {row.certified[0] for row in found.of("blur")[1:]} == {None}
    assert found.clean.accuracy == summary.clean
    assert found.of("brightness")[-1].accuracy < found.clean.accuracy
    for row in found.rows:
        assert row.lower <= row.accuracy <= row.upper
        assert row.right + len(row.missed) == found.n == 40


@pytest.mark.parametrize("run", ["light", "linf"])
def test_a_record_is_about_the_certified_model_and_its_data(run, tmp_path):
    """Of a transform that is the model behind it, and the life cycle of the run knows its record again."""
    found, settings = corrupt_run(run, ["blur"], **NET).to_dict(), certify.read_run(run).settings
    assert found["model_digest"] == settings["model"]["digest"]
    assert found["data_digest"] == settings["data"]["digest"]


def test_intervals_are_exact_binomial_ones_that_share_the_error():
    found = corrupt_run("linf", ["gaussian-noise", "missing"], severities=(2, 5), delta=0.1, **NET)
    level = share(0.1, 2 * 5)
    assert len(found.rows) == 5
    for row in found.rows:
        assert row.lower == clopper_pearson_lower(row.right, 40, level)
        assert row.upper == clopper_pearson_upper(row.right, 40, level)
    assert "in all 5 rows at once" in found.statement[0]
    assert found.statement[0].startswith("With probability at least 90.0 % over the draw of the 40 inputs")


def test_intervals_cover_simulated_models_at_once():
    """1,000 models whose answers under 6 corruptions depend on each other: some row misses in at most 5 % of them."""
    generator = np.random.default_rng(0)
    level, n = share(0.05, 2 * 6), 30
    ends = np.array([[f(k, n, level) for f in (clopper_pearson_lower, clopper_pearson_upper)] for k in range(n + 1)])
    missed = 0
    for _ in range(1000):
        true = np.sort(generator.uniform(0, 1, 6))
        counts = (generator.uniform(0, 1, (n, 1)) < true).sum(0)
        missed += bool(((true < ends[counts, 0]) | (true > ends[counts, 1])).any())
    assert missed <= 50


def test_rows_depend_on_no_other_input_and_no_other_corruption():
    whole, part = (corrupt_run(name, ["stuck"], **NET) for name in ("linf", "part"))
    fewer = corrupt_run("linf", ["missing", "stuck"], severities=(3,), **NET)
    drawn = set(certify.read_run("part").summary.sandwich.index.tolist())
    for row, small in zip(whole.rows, part.rows, strict=True):
        assert small.missed == tuple(index for index in row.missed if index in drawn)
    assert fewer.of("stuck")[1].missed == whole.of("stuck")[3].missed
    assert whole.rows[-1].missed != ()
    again = corrupt_run("linf", ["stuck"], **NET)
    assert again.to_dict() == whole.to_dict()


def test_a_planted_model_is_caught_inside_its_certified_radius(monkeypatch):
    """Certified while it behaved: once deployed, it answers otherwise under changes that are covered."""
    honest = corrupt_run("planted", ["sensor-noise"], severities=(1,), samples=200, model="corrupt_nets:planted")
    assert honest.contradictions == ()
    assert (honest.rows[1].certified[0] or 0) > 0.3
    monkeypatch.setenv("PLANTED", "1")
    found = corrupt_run("planted", ["sensor-noise"], severities=(1,), samples=200, model="corrupt_nets:planted")
    assert len(found.contradictions) >= 2
    one = found.contradictions[0]
    assert one.distance <= one.radius
    assert one.prediction != one.label
    assert one.run == "planted"
    assert "CONTRADICTION: input" in found.table()
    ask = ["corrupt", "planted", "--model", "corrupt_nets:planted", "--corruption", "sensor-noise", "--severity", "1"]
    assert main([*ask, "--out", "caught.json", "--quiet"]) == 4


def test_votes_are_drawn_about_the_smoothed_model():
    found = corrupt_run("noisy", ["sensor-noise"], severities=(1,), samples=40, **NET)
    assert found.to_dict()["samples"] == 40
    assert "the accuracy of the vote of 40 draws" in found.statement[0]
    assert "over the votes (40 about each input)" in found.statement[0]
    assert "not of the network alone" in found.statement[0]
    with pytest.raises(BadInput, match="smoothed or defended"):
        corrupt_run("noisy", ["sensor-noise"], beside=["linf"], **NET)
    with pytest.raises(BadInput, match="has no certificate of input"):
        corrupt_run("linf", ["sensor-noise"], beside=["part"], **NET)


@pytest.mark.parametrize("format", list(CORRUPT_FORMATS))
def test_every_format_tells_the_rows_and_the_statement(format):
    found = corrupt_run("light", ["brightness"], severities=(1, 5), **NET)
    text = " ".join(found.render(format).replace("\\", "").split())
    assert "With probability at least 95.0 %" in text.replace("{", "").replace("}", "")
    assert ("brightness 5" in text) or ('"severity": 5' in text)
    assert found.to_frame()["certified light"].iloc[0] == found.clean.certified[0]


def test_accuracy_is_drawn():
    found = corrupt_run("light", ["brightness", "blur"], **NET)
    axes = found.plot(corruption="brightness")
    assert [line.get_label() for line in axes.get_lines()] == ["accuracy", "certified"]
    assert [line.get_label() for line in found.plot().get_lines()] == ["blur", "brightness"][::-1]


def test_texts_get_typos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("\n".join(["<pad>", "<unknown>", "good", "bad", "film", "a", "very"]) + "\n")
    rows = [("a good film", 1), ("a very bad film", 0), ("good good film", 1), ("bad film", 0)]
    Path("texts.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    Path("corrupt_texts.py").write_text(
        "import certify, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.words = torch.nn.Embedding(7, 2)\n"
        "    def forward(self, x):\n"
        "        return self.words(x.long()).sum(dim=1)\n"
        "def build():\n"
        "    net = Net().requires_grad_(False).eval()\n"
        "    net.words.weight.zero_()[3, 0] = 1.0\n"
        "    net.words.weight[:, 0] += 0.01\n"
        "    net.words.weight[2, 1] = 1.0\n"
        "    return certify.Classifier(net, num_classes=2, input_box=(0.0, 6.0))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("sets.json").write_text(json.dumps({"2": [1, 2], "3": [1, 3], "4": [1, 4], "5": [1, 5], "6": [1, 6]}))
    spec = "csv:texts.csv:text,label:words.txt"
    run = ["run", "--model", "corrupt_texts:build", "--data", spec, "--threat", "substitutions", "--quiet"]
    options = ["--option", "synonyms=sets.json", "--radii", "0,1", "--certifier", "ibp", "--out", "run"]
    assert main([*run, *options]) == 0
    found = corrupt_run("run", model="corrupt_texts:build")
    assert found.corruptions == ("typos",)
    assert found.contradictions == ()
    clean, first, *_, last = found.rows
    assert clean.accuracy == 1.0
    assert last.accuracy == 0.5
    assert first.certified[0] is not None
    assert first.certified[0] <= first.accuracy
    with pytest.raises(BadInput, match="choose typos"):
        corrupt_run("run", ["gaussian-noise"], model="corrupt_texts:build")
    rows = np.float32([[5, 2, 4, 0], [5, 6, 3, 4], [2, 2, 4, 0], [3, 4, 0, 0]])  # the same without their words
    np.savez("ids.npz", x=rows, y=np.array([1, 0, 1, 0]), input_box=(0.0, 6.0))
    bare = [*run[:3], "--data", "npz:ids.npz", *run[5:], *options[:-1], "bare"]
    assert main(bare) == 0
    with pytest.raises(BadInput, match="token ids whose words are not known"):
        corrupt_run("bare", model="corrupt_texts:build")


def test_missing_features_of_a_table_are_on_the_axis_of_the_threat_features(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("corrupt_table.py").write_text(
        "import torch\n"
        "def build():\n"
        "    net = torch.nn.Linear(8, 2).requires_grad_(False).eval()\n"
        "    net.weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 8))\n"
        "    net.bias.copy_(torch.tensor([4.0, -4.0]))\n"
        "    return net\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    level = np.linspace(0.02, 0.98, 30)[:, None]
    x = np.clip(level + np.random.default_rng(0).normal(0, 0.05, (30, 8)), 0.01, 1).astype(np.float32)
    np.savez("table.npz", x=x, y=(x.sum(1) > 4).astype(int))
    run = ["run", "--model", "corrupt_table:build", "--data", "npz:table.npz", "--quiet", "--out", "run"]
    assert main([*run, "--threat", "features", "--radii", "0,1,2,3", "--certifier", "crown"]) == 0
    found, summary = corrupt_run("run", model="corrupt_table:build"), certify.read_run("run").summary
    assert found.contradictions == ()
    assert {"missing", "stuck", "gaussian-noise"} <= set(found.corruptions)
    for name in ("missing", "stuck"):
        for row in found.of(name)[1:]:
            (share,) = row.certified
            assert share == summary.certified_at(row.strength)
            assert share <= row.accuracy
    assert 0 < (found.of("missing")[2].certified[0] or 0) < found.of("missing")[2].accuracy


BAD = [
    (["--severity", "6"], "a severity is 1, 2, 3, 4 or 5, got 6"),
    (["--severity", "0"], "a severity is 1, 2, 3, 4 or 5, got 0"),
    (["--corruption", "brightnes"], "unknown corruption 'brightnes'; did you mean 'brightness'?"),
    (["--corruption", "typos"], "corruption typos is about texts whose words are known"),
    (["--corruption", "blur", "--corruption", "blur"], "name each corruption once"),
    (["--samples", "0"], "samples must be at least 1"),
    (["--delta", "1"], "delta must lie strictly between 0 and 1"),
    (["--beside", "nowhere"], "nowhere"),
    (["--format", "xml"], "unknown corruption format 'xml'"),
    (["--plot", "a.txt"], "is none of .svg, .png, .pdf"),
    (["--out", "linf/run.sqlite"], "would overwrite what is read"),
    (["--data", "digits"], "the data at hand are not those of the run"),
]


@pytest.mark.parametrize(("options", "said"), BAD)
def test_bad_input_is_one_line(capsys, options, said):
    assert main(["corrupt", "linf", "--model", "corrupt_nets:build", "--quiet", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_json_stands_alone_and_other_models_are_refused(capsys):
    ask = [
        "corrupt",
        "linf",
        "--corruption",
        "blur",
        "--severity",
        "5",
        "--format",
        "json",
        "--quiet",
        "--out",
        "a.json",
    ]
    assert main([*ask, "--model", "corrupt_nets:build"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(Path("a.json").read_text())
    assert main([*ask, "--model", "corrupt_nets:planted"]) == 2
    assert "name the right one with --model" in capsys.readouterr().err
    assert main(ask) == 2  # reading a run folder runs no code
    assert "which only you may let run" in capsys.readouterr().err


def test_a_run_about_another_property_is_refused():
    net = nn.Linear(4, 3).requires_grad_(False).eval()
    clf, property = certify.Classifier(net, num_classes=3), certify.TopK(2)
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    threat = certify.ThreatModel("linf", (0.0, 0.01))
    certify.evaluate(clf, (x, np.array([0, 1, 2])), threat=threat, certifier="ibp", property=property, out="topk")
    with pytest.raises(BadInput, match="another property"):
        corrupt_run("topk", **NET)
