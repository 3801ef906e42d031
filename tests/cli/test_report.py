"""``certify report``: files whole or not at all, and the exit codes of what the runs have to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.cli import main
from certify.models.classifier import Classifier
from certify.store.run_folder import RunFolder
from certify.study.read import certificates_of

pytest.importorskip("matplotlib", reason="matplotlib comes with certify[plot]")

X, Y = np.float32([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.6, 0.5]]), np.array([0, 1, 1, 0])


def findings_of(path):
    with RunFolder.open(path) as folder:
        return folder.records.findings()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Four points, of two features each, under a linear model."""
    out, module = tmp_path_factory.mktemp("report") / "run", nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.eye(2))
    threat = certify.ThreatModel("linf", (0.0, 0.1))
    clf = Classifier(module.eval(), num_classes=2)
    certify.evaluate(clf, (X, Y), threat=threat, certifier="ibp", attack="pgd", out=out, seed=0)
    return out


def copied(run: Path, out: Path, certificates, findings) -> Path:
    """A run folder with the same manifest and these records."""
    with RunFolder.open(run) as folder:
        manifest = folder.manifest
    with RunFolder.create(out, manifest) as folder:
        folder.records.add(certificates)
        folder.records.add(findings)
    return out


def test_every_kind_of_file_is_written_and_named(run, tmp_path, capsys):
    files = {"--html": "page.html", "--card": "card.md", "--markdown": "comment.md"}
    options = [text for option, name in files.items() for text in (option, str(tmp_path / name))]
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    options += ["--data", f"npz:{tmp_path / 'data.npz'}", "--latex", str(tmp_path / "paper")]
    assert main(["report", str(run), *options]) == 0
    told = capsys.readouterr().out
    for name in [*files.values(), "paper/table.tex", "paper/figure.pdf"]:
        assert (tmp_path / name).stat().st_size > 100
        assert f"wrote {tmp_path / name} (" in told
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "Features that moved most: 0 from" in page  # two features are no image
    assert not list(tmp_path.glob("*.tmp"))


def test_without_an_option_the_terminal_is_the_page(run, capsys):
    assert main(["report", str(run)]) == 0
    assert "certified %" in capsys.readouterr().out


def test_other_radii_and_groups(run, tmp_path):
    page = tmp_path / "page.html"
    assert main(["report", str(run), "--html", str(page), "--radii", "0,0.03125", "--group", "label"]) == 0
    assert "0.03125" in page.read_text()
    assert "by label" in page.read_text()


def test_an_unfinished_run_ends_with_3(run, tmp_path):
    part = copied(run, tmp_path / "part", list(certificates_of(run))[:2], findings_of(run)[:2])
    assert main(["report", str(part), "--html", str(tmp_path / "page.html")]) == 3
    assert "2 of 4" in (tmp_path / "page.html").read_text()


def test_a_contradiction_ends_with_4(run, tmp_path):
    findings = findings_of(run)
    near = [
        replace(one, radius=0.1, distance=0.1, x_adv=np.float32([0, 0]), adversarial_prediction=1)
        if one.index == 0
        else one
        for one in findings
    ]
    wrong = copied(run, tmp_path / "wrong", certificates_of(run), near)
    assert main(["report", str(wrong), str(run), "--html", str(tmp_path / "page.html")]) == 4
    page = (tmp_path / "page.html").read_text()
    assert page.index("do not rely") < page.index("What can be promised")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "--html", "TMP/no/page.html"], "there is no folder"),
        (["RUN", "--html", "TMP"], "is no plain file; choose another"),
        (["RUN", "--html", "TMP/one", "--card", "TMP/one"], "--html and --card both name"),
        (["RUN", "--data", "digits"], "--data is for the pictures of a page"),
        (["RUN", "--html", "TMP/page.html", "--data", "digitz"], "did you mean 'digits'"),
        (["RUN", "RUN", "--html", "TMP/page.html"], "each of them once"),
        (["TMP", "--html", "TMP/page.html"], "is not a run folder"),
    ],
)
def test_what_cannot_be_is_one_line_and_writes_nothing(run, tmp_path, capsys, arguments, said):
    places = {"RUN": str(run), "TMP": str(tmp_path)}
    texts = [text.replace("RUN", places["RUN"]).replace("TMP", places["TMP"]) for text in arguments]
    assert main(["report", *texts]) == 2
    problem = capsys.readouterr().err
    assert said in problem
    assert problem.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_made_leaves_the_old_one(run, tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    page.write_text("old")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert main(["report", str(run), "--html", str(page)]) == 2
    assert page.read_text() == "old"
