"""``certify summary``: several runs, groups, and output for machines."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from certify.cli import main


@pytest.fixture
def runs(logs, tmp_path, monkeypatch, capsys) -> list[str]:
    """Two imported logs of different sigma about the same 200 inputs, all of class 1."""
    monkeypatch.chdir(tmp_path)
    for sigma in (0.25, 0.5):
        Path(f"log{sigma}").write_text(logs.header + "".join(logs.lines(sigma)))
        imported = ["import", f"log{sigma}", "--sigma", str(sigma), "--n", "10000", "--alpha", "0.001"]
        assert main([*imported, "--out", f"sigma{sigma}"]) == 0
    capsys.readouterr()
    return ["sigma0.25", "sigma0.5"]


def test_several_runs_are_side_by_side_first_and_nothing_is_lost(runs, capsys):
    alone = []
    for run in runs:
        assert main(["summary", run]) == 0
        alone.append(capsys.readouterr().out)
    assert main(["summary", *runs]) == 0
    text = capsys.readouterr().out
    assert text.startswith("l2 radius in input units")
    assert all(one in text for one in alone)
    assert text.index("sigma0.5: ") < text.index(alone[0])


def test_machines_get_every_run(runs, capsys):
    alone = {}
    for run in runs:
        assert main(["summary", run, "--format", "json"]) == 0
        alone[run] = json.loads(capsys.readouterr().out)
    assert main(["summary", *runs, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": alone}
    assert set("threat n clean rows acr contradictions statement groups gaps".split()) <= set(alone[runs[0]])
    assert main(["summary", *runs, "--format", "csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(line["run"], line["norm"]) for line in lines] == [(run, "l2") for run in runs for _ in alone[run]["rows"]]
    shares = [row["certified"] for run in runs for row in alone[run]["rows"]]
    assert [float(line["certified"]) for line in lines] == shares


def test_groups_from_a_file(runs, capsys):
    Path("site.csv").write_text("index,site\n" + "".join(f"{index},S{index % 3}\n" for index in range(200)))
    np.savez("extra.npz", half=np.arange(200) >= 100)
    asked = ["--group", "label", "--group", "site.csv:site", "--group", "extra.npz:half"]
    assert main(["summary", runs[0], *asked, "--format", "json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert [(one["name"], len(one["rows"])) for one in groups] == [("label", 1), ("site", 3), ("half", 2)]
    whole = groups[0]["rows"][0]["certified"]
    for one in groups:
        for place, share in enumerate(whole):
            assert sum(row["n"] * row["certified"][place] for row in one["rows"]) == pytest.approx(200 * share)
            lower = one["worst"][place]["lower"]
            assert lower <= min(row["certified"][place] for row in one["rows"])
    assert main(["summary", *runs, *asked]) == 0
    assert capsys.readouterr().out.count("worst site at l2") == 4 + 7  # declared radii of the two runs


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--group", "labels"], "did you mean 'label'"),
        (["--group", "short.csv:site"], "site has no entry for input 1 (199 such inputs)"),
        (["--group", "short.csv:sit"], "did you mean 'site'"),
        (["--group", "short.npz:half"], "one entry for each of the 200 inputs"),
    ],
)
def test_a_bad_group_is_one_line(runs, capsys, asked, message):
    Path("short.csv").write_text("index,site\n0,a\n")
    np.savez("short.npz", half=np.zeros(201))
    assert main(["summary", runs[0], *asked]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_run_is_named_once(runs, capsys):
    assert main(["summary", runs[0], runs[0]]) == 2
    assert "each of them once" in capsys.readouterr().err
