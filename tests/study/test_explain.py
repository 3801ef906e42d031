"""Explanations of weak inputs: parts of a margin that are known, examples that hold, and what cannot be explained."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from certify.cli import main
from certify.errors import BadInput, MissingExtra, ModelError
from certify.plots.explanations import draw_explanations, inches
from certify.study.explain import explain, weakest
from certify.study.read import read_run

SOURCE = """
import torch
from torch import nn

WEIGHT = torch.linspace(-1, 1, {features}).reshape({shape})

class Sign(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", WEIGHT)

    def forward(self, x):
        margin = ((x - 0.5) * self.weight).flatten(1).sum(1)
        return torch.stack([-margin / 2, margin / 2, torch.full_like(margin, -100.0)], dim=1)

def build():
    return Sign().eval()

def function():
    import certify

    return certify.Classifier(lambda x: build()(x), num_classes=3)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    """Runs of a linear network on images and on tables: each part of a margin is a weight times a difference."""
    folder = tmp_path_factory.mktemp("explain")
    found = SimpleNamespace(folder=folder)
    for name, shape in (("image", (1, 4, 4)), ("table", (6,))):
        features = int(np.prod(shape))
        (folder / f"{name}_nets.py").write_text(SOURCE.format(features=features, shape=shape))
        x = np.random.default_rng(1).uniform(0, 1, (20, *shape)).astype(np.float32)
        weight = np.linspace(-1, 1, features).reshape(shape)
        margin = ((x - 0.5) * weight).reshape(20, -1).sum(1)
        y = np.append((margin > 0).astype(np.int64), 2)  # one input of a third class, which is never predicted
        x = np.append(x, x[:1], axis=0)
        np.savez(folder / f"{name}.npz", x=x, y=y)
        setattr(found, name, SimpleNamespace(x=x, y=y, weight=weight, run=folder / name, model=f"{name}_nets:build"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shared = ["--input-box", "0,1", "--quiet", "--attack", "pgd", "--attack-option", "restarts=1"]
        for one, name in ((found.image, "image"), (found.table, "table")):
            args = ["run", "--model", one.model, "--data", f"npz:{name}.npz", *shared]
            assert main([*args, "--certifier", "ibp", "--radii", "0,0.02,0.5", "--out", name]) == 0
        args = ["run", "--model", found.table.model, "--data", "npz:table.npz", *shared, "--attack-option", "steps=5"]
        main([*args, "--sigma", "0.1", "--n", "200", "--radii", "0,0.1", "--out", "smoothed"])
        found.smoothed = folder / "smoothed"
    return found


@pytest.fixture(autouse=True)
def there(made, monkeypatch):
    monkeypatch.chdir(made.folder)


@pytest.mark.parametrize("name", ["image", "table"])
def test_the_parts_of_a_linear_margin_are_weights_times_differences(made, name):
    one, run = getattr(made, name), read_run(getattr(made, name).run)
    found = explain(run, 3, model=one.model)
    assert [each.index for each in found] == [layer.index for layer in weakest(run, 3)]
    for each in found:
        sign = 1 if each.label == 1 else -1
        expected = sign * one.weight * (each.x - one.x.mean(0))
        np.testing.assert_allclose(each.adds, expected, atol=1e-4)
        assert (each.label, each.runner_up) in ((0, 1), (1, 0))
        assert abs(each.missed) < 1e-4
        assert each.adds.sum() == pytest.approx(each.margin - each.start, abs=1e-4)
        assert np.abs(each.top(1)[0].adds) == pytest.approx(np.abs(expected).max(), abs=1e-4)


def test_examples_are_those_of_the_attack_and_hold(made):
    run = read_run(made.image.run)
    for each in explain(run, 3, model=made.image.model):
        assert each.example is not None
        assert "(executed again)" in each.said
        moved = ((each.example - 0.5) * made.image.weight).sum()
        assert (moved > 0) != (each.label == 1)


def test_an_example_that_does_not_hold_is_not_shown(made, tmp_path):
    forged = Path(shutil.copytree(made.table.run, tmp_path / "forged"))
    [weak] = weakest(read_run(forged), 1)
    with sqlite3.connect(forged / "run.sqlite") as store:
        [[number, text]] = store.execute(
            "SELECT rowid, record FROM findings WHERE position = ?", [weak.index]
        ).fetchall()
        record = json.loads(text)
        record["adversarial_prediction"] = 2
        store.execute("UPDATE findings SET record = ? WHERE rowid = ?", [json.dumps(record), number])
    store.close()
    [each] = explain(read_run(forged), 1, model=made.table.model)
    assert each.example is None
    assert "NOT SHOWN, the record is refuted" in each.said


def test_weak_inputs_are_right_ones_of_least_radius(made):
    run = read_run(made.table.run)
    layers = weakest(run, 100)
    assert 20 not in [layer.index for layer in layers]  # misclassified
    radii = [layer.certified for layer in layers]
    assert radii == sorted(radii)


def test_the_smoothed_model_is_explained_by_its_mean_under_noise(made):
    run = read_run(made.smoothed)
    first, second = (explain(run, 2, model=made.table.model) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.adds, other.adds)
        assert -1 <= one.margin <= 1  # between probabilities
        sign = 1 if one.label == 1 else -1
        np.testing.assert_array_equal(
            np.sign(one.adds), np.sign(sign * made.table.weight * (one.x - made.table.x.mean(0)))
        )


@pytest.mark.parametrize("name", ["image", "table"])
def test_figures_have_a_line_of_panels_for_each_input(made, name):
    found = explain(read_run(getattr(made, name).run), 2, model=getattr(made, name).model)
    figure = Figure(figsize=inches(found))
    draw_explanations(found, figure)
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == 2 * (4 if name == "image" else 2)
    assert f"input {found[0].index}" in panels[0].get_ylabel()
    if name == "image":
        np.testing.assert_allclose(panels[1].get_images()[0].get_array(), found[0].adds[0])


def test_the_command_writes_the_same_picture_twice(made, tmp_path, capsys):
    files = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for file in files:
        words = ["improve", str(made.image.run), "--explain", "2", "--model", made.image.model, "--plot", str(file)]
        assert main(words) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    out = capsys.readouterr()
    assert "part of the margin" in out.out
    assert f"wrote {files[0]}" in out.err


def test_what_cannot_be_explained_is_said_in_one_line(made, monkeypatch):
    run = read_run(made.table.run)
    with pytest.raises(ModelError, match="which only you may let run: --model table_nets:build"):
        explain(run, 1)
    with pytest.raises(ModelError, match="name the right one with --model"):
        explain(run, 1, model="image_nets:build")
    with pytest.raises(ModelError, match="is a function without gradients"):
        explain(run, 1, model="table_nets:function")
    with pytest.raises(BadInput, match="1 or more, got 0"):
        explain(run, 0, model=made.table.model)
    np.savez("other.npz", x=made.table.x[::-1], y=made.table.y[::-1])
    with pytest.raises(BadInput, match="is another one in the data at hand"):
        explain(run, 1, model=made.table.model, data="npz:other.npz")
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExtra, match=r"explaining inputs needs captum.*pip install 'certify\[explain\]'"):
        explain(run, 1, model=made.table.model)
