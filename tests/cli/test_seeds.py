"""Several models at once: seeds and folds certified, checked, resumed and summarized; a study that trains its model."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certify
from certify.cli import main
from certify.errors import BadInput
from certify.stats.replicates import corrected_interval, shared_inputs_interval, student_interval
from certify.study.read import certificates_of, summarize_run
from certify.study.replicates import replicates_of_runs, runs_in
from certify.training.folds import in_fold

TRAIN = ["--setting", "epochs=2", "--network", "mlp", "--network-option", "hidden=16", "--quiet"]
RUN = ["--certifier", "ibp", "--radii", "0,0.005,0.01", "--decide", "--quiet"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of two seeds and of three folds, trained on all and with a validation part, and their runs."""
    folder = tmp_path_factory.mktemp("seeds")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "ibp", "--data", "digits:train", "--seeds", "2", "--out", "models/s", *TRAIN]) == 0
        folds = ["--folds", "3", "--validation", "0.1"]
        assert main(["train", "ibp", "--data", "digits", *folds, "--out", "models/f", *TRAIN]) == 0
        run = ["--data", "digits", "--limit", "60", *RUN]
        assert main(["run", "--model", "models/s", *run, "--attack", "fgsm", "--out", "runs/s"]) == 0
        assert main(["run", "--model", "models/f", "--data", "digits", *RUN, "--out", "runs/f"]) == 0
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy in the working folder, to be damaged."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command that is refused in one line, which holds some words."""

    def command(words: list[str], said: str) -> None:
        capsys.readouterr()
        assert main(words) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1

    return command


def manifest(run: str) -> dict[str, Any]:
    return json.loads((Path(run) / "manifest.json").read_text())


def edit(path: str, change: Any) -> None:
    content = json.loads(Path(path).read_text())
    change(content)
    Path(path).write_text(json.dumps(content))


def test_each_seed_has_a_run_that_says_how_its_model_was_trained(here: Path) -> None:
    for seed in (0, 1):
        run = manifest(f"runs/s/seed-{seed}")
        assert run["context"]["training"]["seed"] == seed
        assert run["context"]["specs"]["model"] == f"models/s/seed-{seed}"
        assert "met" not in run["context"]
        assert "fold" not in run["settings"]["data"]
    assert main(["check", "runs/s/seed-1", "--quiet"]) == 0


def test_the_table_over_seeds_holds_the_intervals(here: Path) -> None:
    table, runs = replicates_of_runs(["runs/s"]), [summarize_run(f"runs/s/seed-{seed}") for seed in (0, 1)]
    assert (table.kind, table.n, table.runs) == ("seed", 60, ("seed-0", "seed-1"))
    for place, row in enumerate(table.rows):
        shares = [one.rows[place].certified for one in runs]
        assert row.certified.mean == pytest.approx(np.mean(shares))
        assert (row.certified.least, row.certified.most) == (min(shares), max(shares))
        assert (row.certified.lower, row.certified.upper) == pytest.approx(student_interval(shares) or (None, None))
        pairs = round(60 * sum(shares))
        assert (row.inputs_lower, row.inputs_upper) == pytest.approx(shared_inputs_interval(pairs, 60, 2))
        assert row.attacked is not None
        assert row.attacked.mean == pytest.approx(np.mean([one.rows[place].empirical for one in runs]))
    assert table.clean.mean == pytest.approx(np.mean([one.clean for one in runs]))
    assert "does not cover other inputs" in table.statements[0]
    assert "does not cover other seeds" in table.statements[1]


def test_the_table_over_seeds_in_every_format(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = {}
    for format in ("table", "json", "csv", "markdown", "latex", "html"):
        assert main(["summary", "runs/s", "--format", format]) == 0
        printed[format] = capsys.readouterr().out
    named = replicates_of_runs(["runs/s"])
    about = "ibp on digits train, certified by ibp on digits test: at each linf radius, n=60"
    assert printed["table"].startswith(f"Mean over 2 seeds of {about}\n")
    assert "=== seed-1 ===" in printed["table"]
    assert json.loads(printed["json"])["replicates"] == [json.loads(named.render("json"))]
    rows = list(csv.DictReader(io.StringIO(printed["csv"].split("\n\n")[1])))
    assert [float(row["certified_mean"]) for row in rows] == [row.certified.mean for row in named.rows]
    assert r"\label{tab:seeds}" in printed["latex"]
    assert "### Mean over 2 seeds" in printed["markdown"]
    assert "Mean over 2 seeds" in printed["html"]
    assert main(["summary", "runs/s/seed-0", "runs/s/seed-1"]) == 0
    assert capsys.readouterr().out == printed["table"]
    for other in (["--format", "curve"], ["--format", "bibtex"], ["--wide"], ["--envelope"], ["--radii", "0.005"]):
        assert main(["summary", "runs/s", *other]) == 0
    assert main(["summary", "runs/s/seed-0"]) == 0
    capsys.readouterr()
    assert list(named.to_frame().index) == [0, 0.005, 0.01]


def test_a_page_shows_the_table_over_seeds(here: Path) -> None:
    pytest.importorskip("jinja2")
    assert main(["report", "runs/s", "--html", "page.html"]) == 0
    assert "Mean over 2 seeds" in Path("page.html").read_text()


def test_a_paper_has_the_table_over_seeds(here: Path, capsys: pytest.CaptureFixture[str], refused: Any) -> None:
    pytest.importorskip("matplotlib")
    assert main(["summary", "runs/s", "--format", "latex"]) == 0
    printed = capsys.readouterr().out
    assert main(["report", "runs/s", "--latex", "paper"]) == 0
    written = Path("paper/seeds.tex").read_text()
    assert written.removeprefix("% needs \\usepackage{booktabs}\n\n") in printed
    assert r"\label{tab:seeds}" in written
    assert "\\input{table}\n\\input{seeds}\n" in Path("paper/main.tex").read_text()
    assert "wrote paper/seeds.tex" in capsys.readouterr().out
    assert main(["report", "runs/s/seed-0", "--latex", "alone"]) == 0
    assert "seeds" not in Path("alone/main.tex").read_text()
    assert not Path("alone/seeds.tex").exists()
    shutil.rmtree("runs/s/seed-1")
    refused(["report", "runs/s", "--latex", "one"], "an interval over seeds or folds needs at least two")
    assert not Path("one").exists()


def test_each_fold_is_certified_on_its_own_part(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = certify.load_data("digits")
    for fold in range(3):
        run = manifest(f"runs/f/fold-{fold}")
        chosen = np.flatnonzero(in_fold(data, fold, 3))
        assert run["settings"]["data"]["fold"] == [fold, 3]
        assert run["settings"]["data"]["of"] == run["settings"]["inputs"] == len(chosen)
        assert [one.index for one in certificates_of(f"runs/f/fold-{fold}")] == chosen.tolist()
    assert main(["check", "runs/f/fold-1", "--quiet"]) == 0
    capsys.readouterr()
    again = ["run", "--model", "models/f", "--data", "digits", "--out", "runs/f", *RUN[:-1]]
    assert main(again) == 0
    printed = capsys.readouterr()
    assert "digits test (fold 1 of 3, which training left out)" in printed.err
    assert printed.out.startswith("Mean over 3 folds")


def test_the_table_over_folds_is_corrected(here: Path) -> None:
    table = replicates_of_runs(["runs/f"])
    sizes = [167, 167, 166]
    ratio = max(size / (500 - size - round(0.1 * (500 - size))) for size in sizes)
    assert (table.kind, table.n) == ("fold", 500)
    for place, row in enumerate(table.rows):
        shares = [summarize_run(f"runs/f/fold-{fold}").rows[place].certified for fold in range(3)]
        found = corrected_interval(shares, ratio) or (None, None)
        assert (row.certified.lower, row.certified.upper) == pytest.approx(found)
        assert row.inputs_lower is None
    assert "approximate" in table.statements[0]


@pytest.mark.parametrize(("fold", "standing"), [([1, 3], "REFUTED"), ([7, 3], "OPEN"), ([0, 10**9], "OPEN")])
def test_a_run_of_a_fold_is_about_no_other_inputs(fold: list[int], standing: str, here: Path) -> None:
    edit("runs/f/fold-0/manifest.json", lambda it: it["settings"]["data"].update(fold=fold))
    [sample] = [one for one in certify.check_run("runs/f/fold-0").claims if one.claim == "sample"]
    assert sample.standing.name == standing
    assert "digest" in sample.said or "fold" in sample.said


def test_a_fold_that_is_not_finished_misses_nothing_that_it_need_not_have(here: Path) -> None:
    """Without the data nobody knows which positions a fold has; with them, everybody."""
    with sqlite3.connect("runs/f/fold-0/run.sqlite") as store:
        store.execute("delete from certificates where position > 60")
    store.close()
    for context in ({}, {"specs": {"model": "none", "data": "npz:none.npz"}}):
        edit("runs/f/fold-0/manifest.json", lambda it, context=context: it.update(context={**it["context"], **context}))
        result = certify.check_run("runs/f/fold-0")
        assert not [claim for claim in result.claims if claim.standing.name == "REFUTED"]
        assert [claim for claim in result.claims if claim.standing.name != "CONFIRMED"]


def test_several_sigmas_of_several_seeds(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smoothing = ["--sigma", "0.1,0.2", "--n", "200", "--radii", "0,0.05", "--limit", "8", "--quiet", "--label", "mine"]
    assert main(["run", "--model", "models/s", "--data", "digits", *smoothing, "--out", "runs/n"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("Mean over 2 seeds") == 2
    assert "certified by smoothing with sigma=0.1 on digits test" in printed
    assert "'>=': with probability at least 95%" in printed.replace("\n", " ")
    parts = [f"seed-{seed}/sigma-{sigma}" for seed in (0, 1) for sigma in ("0.1", "0.2")]
    assert [str(run.relative_to("runs/n")) for run in runs_in("runs/n")] == parts
    assert manifest("runs/n/seed-1/sigma-0.2")["context"]["label"] == "mine, seed-1, sigma-0.2"
    with pytest.raises(BadInput, match=r"differ in more than the seed|are both of seed 0"):
        replicates_of_runs(["runs/n"])


def test_runs_that_differ_otherwise_name_the_first_difference(here: Path, refused: Any) -> None:
    others = {
        "epochs of settings of training is 2 and 3": lambda it: it["context"]["training"]["settings"].update(epochs=3),
        "recipe of training is 'ibp' and 'noise'": lambda it: it["context"]["training"].update(recipe="noise"),
        "digest of data of training is": lambda it: it["context"]["training"]["data"].update(digest="0" * 64),
        "are both of seed 0: name each once": lambda it: it["context"]["training"].update(seed=0),
        "does not say how its model was trained": lambda it: it["context"].pop("training"),
        "says nothing that can be read": lambda it: it["context"].update(training=[1]),
        "are no replicates": lambda it: it["context"]["training"].update(fold=[0, 2]),
    }
    path, before = "runs/s/seed-1/manifest.json", Path("runs/s/seed-1/manifest.json").read_text()
    for said, change in others.items():
        edit(path, change)
        refused(["summary", "runs/s"], said)
        Path(path).write_text(before)


def test_runs_named_one_by_one_are_shown_though_they_make_no_table(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("runs/s/seed-1/manifest.json", lambda it: it["context"].pop("training"))
    assert main(["summary", "runs/s/seed-0", "runs/s/seed-1"]) == 0
    printed = capsys.readouterr()
    assert "no table over runs/s: seed-1 does not say how its model was trained" in printed.err
    assert "=== seed-1 ===" in printed.out


def test_too_few_or_missing_runs_are_refused(here: Path, refused: Any) -> None:
    shutil.rmtree("runs/f/fold-1")
    refused(["summary", "runs/f"], "fold 1 of 3 is missing: certify its model as well")
    shutil.rmtree("runs/s/seed-1")
    refused(["summary", "runs/s"], "runs/s holds one run, runs/s/seed-0: an interval over seeds or folds needs")
    with pytest.raises(BadInput, match="needs at least two runs, got 1 \\(seed-0\\)"):
        replicates_of_runs(["runs/s"])
    refused(["summary", "runs"], "is not a run folder")


def test_one_model_is_no_two_seeds(here: Path, refused: Any) -> None:
    shutil.rmtree("runs/s/seed-1")
    shutil.copytree("runs/s/seed-0", "runs/s/seed-1")
    edit("runs/s/seed-1/manifest.json", lambda said: said["context"]["training"].update(seed=1))
    refused(["summary", "runs/s"], "seed-0 and seed-1 are of one model")


def test_folds_of_other_numbers_and_models_that_are_missing_are_refused(here: Path, refused: Any) -> None:
    run = ["run", "--model", "models/f", "--data", "digits", *RUN, "--out", "runs/other"]
    shutil.copytree("models/f/fold-2", "away")
    shutil.rmtree("models/f/fold-2")
    refused(run, "models/f lacks fold 2 of 3: the certify train command that began it goes on")
    shutil.copytree("away", "models/f/fold-2")
    edit("models/f/fold-2/training.json", lambda it: it["asked"].update(fold=[2, 5]))
    refused(run, "fold-0 is one of 3 folds, fold-2 of 5")
    edit("models/f/fold-2/training.json", lambda it: it["asked"].update(fold="all"))
    refused(["run", "--model", "models/f/fold-2", *run[3:]], "fold-2/training.json is corrupt")
    shutil.rmtree("models/f/fold-2")
    shutil.copytree("models/s/seed-0", "models/f/seed-0")
    refused(run, "holds models of seeds and of folds")
    (Path("models/s/seed-1") / "training.json").rename("models/s/seed-1/checkpoint.safetensors")
    refused(["run", "--model", "models/s", "--data", "digits", *RUN, "--out", "runs/o"], "is not trained to its end")
    assert not Path("runs/other").exists()


def test_what_chose_a_model_is_not_certified_and_what_trained_it_is_warned_of(
    here: Path, refused: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["train", "ibp", "--data", "digits:train", "--validation", "0.2", "--out", "models/v", *TRAIN]
    assert main(chosen) == 0
    run = ["run", "--model", "models/v", "--data", "digits:train", *RUN, "--limit", "40", "--out", "runs/v"]
    refused(run, "of the 40 inputs to certify, which its training held out: accuracy on them is optimistic; certify on")
    assert not Path("runs/v").exists()
    trained = ["run", "--model", "models/s/seed-0", "--data", "digits:train", *RUN, "--limit", "20", "--out", "runs/t"]
    assert main(trained) == 0
    assert "was trained on 20 of the 20 inputs to certify" in capsys.readouterr().err
    assert manifest("runs/t")["context"]["met"] == {"trained": 20, "held_out": 0}
    assert summarize_run("runs/t").head["met"].startswith("the model was trained on 20 of these inputs")
    # The test part is none of it.
    assert main(["run", "--model", "models/v", "--data", "digits", *RUN, "--limit", "8", "--out", "runs/w"]) == 0
    assert capsys.readouterr().err == ""


STUDY = """
data = "digits"
certifier = "ibp"
radii = [0, 0.01]
decide = true
limit = 12
out = "runs/study"

[train]
recipe = "ibp"
data = "digits:train"
network = "mlp"
seeds = 2

[train.setting]
epochs = 1
eps = "1/255"

[train.network-option]
hidden = [8]
"""


def test_one_command_trains_and_certifies(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("study.toml").write_text(STUDY)
    assert main(["plan", "study.toml"]) == 2
    assert "is not trained yet" in capsys.readouterr().err
    assert main(["run", "study.toml", "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("Mean over 2 seeds")
    before = {path: path.stat().st_mtime_ns for path in Path("runs/study/model").rglob("*") if path.is_file()}
    assert {path.parent.name for path in before} == {"seed-0", "seed-1"}
    assert main(["run", "study.toml", "--quiet"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    study = manifest("runs/study/seed-1")["context"]["study"]
    assert study["train"]["setting"] == {"epochs": 1, "eps": "1/255"}
    assert study["model"] == "runs/study/model/seed-1"
    from certify.report.protocol import commands
    from certify.study.read import read_run

    first, second, *_ = commands([read_run("runs/study/seed-1")])
    assert first[1] == (
        "certify train ibp --data digits:train --setting epochs=1 --setting eps=1/255 --network mlp "
        "--network-option hidden=8 --seeds 2 --out runs/study/model"
    )
    assert "--train" not in second[1]
    assert main(["plan", "study.toml"]) == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds = 2", "seads = 2", "unknown setting 'seads' in [train]; did you mean 'seeds'?"),
        ("epochs = 1", "epoch = 1", "recipe 'ibp' has no setting 'epoch'; did you mean 'epochs'"),
        ('recipe = "ibp"', 'recipe = "ibq"', "unknown recipe 'ibq'; did you mean 'ibp'"),
        ('recipe = "ibp"\n', "", "[train] names no recipe"),
        ("seeds = 2", "seeds = 1", "seeds must be a whole number of at least 2"),
        ("seeds = 2", 'seeds = "two"', "seeds in [train] must be a whole number"),
        ("seeds = 2", "seeds = 2\nfolds = 2", "seeds and folds each ask for several models"),
        ('certifier = "ibp"', 'certifier = "ibb"', "unknown certifier 'ibb'"),
        ('data = "digits"\n', 'data = "digit"\n', "digit"),
        ("[train]", '[train]\nout = "models"', "unknown setting 'out' in [train]"),
        ('out = "runs/study"\n', "", "no run folder given"),
    ],
)
def test_a_study_that_cannot_be_right_is_refused_before_it_trains(
    old: str, new: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("study.toml").write_text(STUDY.replace(old, new, 1))
    assert main(["run", "study.toml", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("runs/study").exists()
