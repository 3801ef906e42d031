"""``certify import`` as a user meets it: what is adopted, what is warned of, what is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from certify.cli import main
from certify.core.summary import FORMATS
from certify.report.wide import WIDE_FORMATS
from certify.stats.ladder import rungs


@pytest.fixture
def log(logs, tmp_path) -> Path:
    path = tmp_path / "sigma_0.25.tsv"
    path.write_text(logs.header + "".join(logs.lines()))
    return path


def summary_of(run: Path, capsys, *more: str) -> dict:
    main(["summary", str(run), "--format", "json", *more])
    return json.loads(capsys.readouterr().out)


def test_a_log_becomes_a_run_with_n_and_alpha_read_off_its_radii(logs, log, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["import", str(log), "--sigma", "0.25", "--out", str(run)]) == 0
    printed = capsys.readouterr()
    assert "n=10,000 and alpha=0.001 inferred" in printed.err
    assert "rounded up to reach theirs" in " ".join(printed.out.split())
    assert "published claims" in printed.out
    fields = [line.split("\t") for line in logs.lines()]
    summary = summary_of(run, capsys)
    assert [row["radius"] for row in summary["rows"]] == [0.0, 0.25, 0.5, 0.75]
    for row in summary["rows"]:
        certified = sum(one[4] == "1" and float(one[3]) >= row["radius"] for one in fields)
        assert row["certified"] == certified / 200
        assert row["certified_lower"] < row["certified"]
        assert 0 <= row["population_lower"] < row["certified_lower"]
        assert row["abstain"] == sum(one[2] == "-1" for one in fields)
    assert main(["import", str(log), "--sigma", "0.25", "--out", str(run)]) == 0
    assert len((run / "manifest.json").read_text()) > 100
    assert main(["import", str(log), "--sigma", "0.25", "--n", "10000", "--alpha", "0.001", "--out", str(run)]) == 2


def test_a_radius_that_may_have_been_rounded_up_is_not_counted_as_sure(logs, tmp_path, capsys):
    lines = logs.lines()
    lines[0] = "0\t1\t1\t0.25\t1\t1\n"
    (tmp_path / "log").write_text(logs.header + "".join(lines))
    settings = ["--sigma", "0.25", "--n", "10000", "--alpha", "0.001", "--out", str(tmp_path / "run")]
    assert main(["import", str(tmp_path / "log"), *settings]) == 0
    assert "1 correct rows print exactly a declared radius" in capsys.readouterr().err
    at = {radius: summary_of(tmp_path / "run", capsys, "--radii", radius)["rows"][0] for radius in ("0.249", "0.25")}
    assert at["0.249"]["certified"] == at["0.25"]["certified"]
    assert round(200 * (at["0.249"]["certified_lower"] - at["0.25"]["certified_lower"])) == 1


def test_an_attack_log_is_joined_by_index_and_impossible_pairs_end_with_code_4(logs, log, tmp_path, capsys):
    strong = [
        int(line.split("\t")[0])
        for line in logs.lines()
        if line.split("\t")[4] == "1" and float(line.split("\t")[3]) >= 0.5
    ]
    there = [index for index in strong if index % 4 == 0]
    weak = next(index for index in range(0, 200, 4) if index not in strong)
    (tmp_path / "attack").write_text(logs.attack({*there[:2], weak}))
    asked = ["import", str(log), "--sigma", "0.25", "--attack", f"{tmp_path / 'attack'}=0.5"]
    assert main([*asked, "--out", str(tmp_path / "run")]) == 4
    printed = capsys.readouterr()
    assert "attack at 0.5 has 50 inputs, the certification log 200: only the 50 in both are compared" in printed.err
    assert f"inputs {there[0]}, {there[1]}" in printed.out
    summary = summary_of(tmp_path / "run", capsys)
    [reported] = summary["reported"]
    assert (reported["rows"], reported["joined"], reported["certified"]) == (50, 50, len(there))
    assert reported["impossible"] == there[:2]
    assert reported["empirical_accuracy"] == (50 - 3) / 50
    assert [one["index"] for one in summary["contradictions"]] == there[:2]
    assert all(one["reported"] for one in summary["contradictions"])
    assert main(["merge", str(tmp_path / "run"), "--out", str(tmp_path / "merged")]) == 4
    capsys.readouterr()
    assert summary_of(tmp_path / "merged", capsys) == summary
    assert main(["export", str(tmp_path / "run"), "--attack-logs"]) == 4
    assert len(capsys.readouterr().out.splitlines()) == 50
    (tmp_path / "attack").write_text(logs.attack(set()).replace("\n0\t1\t1\t0\t1\t", "\n0\t2\t2\t0\t1\t"))
    assert main([*asked, "--out", str(tmp_path / "other")]) == 2
    assert "they come from different data" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_parts_of_a_log_make_one_run(logs, log, tmp_path, capsys):
    lines = logs.lines()
    (tmp_path / "a").write_text(logs.header + "".join(lines[:120]))
    (tmp_path / "b").write_text(logs.header + "".join(lines[120:]))
    for run, files in (("whole", [log]), ("parts", [tmp_path / "a", tmp_path / "b"])):
        assert main(["import", *map(str, files), "--sigma", "0.25", "--out", str(tmp_path / run)]) == 0
    capsys.readouterr()
    whole, parts = (summary_of(tmp_path / run, capsys) for run in ("whole", "parts"))
    assert (whole["rows"], whole["acr"]) == (parts["rows"], parts["acr"])


def test_a_regular_index_step_is_no_random_sample(logs, tmp_path, capsys):
    (tmp_path / "log").write_text(logs.header + "".join(logs.lines(step=20)))
    assert main(["import", str(tmp_path / "log"), "--sigma", "0.25", "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert "every 20th input is no random sample" in printed.err
    assert "random sample of a population" not in printed.out
    assert {row["population_lower"] for row in summary_of(tmp_path / "run", capsys)["rows"]} == {None}


def test_what_cannot_be_imported_is_one_line_with_code_2(logs, log, tmp_path, capsys):
    other = tmp_path / "other.tsv"
    other.write_text(
        logs.header
        + "".join(f"{1000 + place}{line[line.index(chr(9)) :]}" for place, line in enumerate(logs.lines(0.12)))
    )
    few = tmp_path / "few.tsv"
    few.write_text(logs.header + "0\t1\t1\t0.3\t1\t1\n")
    cut = tmp_path / "cut.tsv"
    cut.write_text(logs.header + logs.lines()[0] + "1\t1\t1")
    pair = ["--n", "10000", "--alpha", "0.001"]
    cases = [
        ([str(log), "--sigma", "0.5"], "do fit sigma=0.25 with n=10,000 alpha=0.001"),
        ([str(log), "--sigma", "0.12", *pair], "line 2: radius"),
        ([str(log), "--sigma", "0.12", *pair], "is it a log of another sigma?"),
        ([str(log), "--sigma", "0.5", *pair], "are those of sigma=0.25"),
        ([str(log), str(other), "--sigma", "0.25"], "other.tsv are those of sigma=0.12"),
        ([str(few), "--sigma", "0.25"], "give --n and --alpha"),
        ([str(few), "--sigma", "0"], "sigma must be a finite number > 0"),
        ([str(few), "--sigma", "1", "--norm", "linf"], "logs of gaussian smoothing hold l2 radii"),
        ([str(few), "--sigma", "1", "--n", "0", "--alpha", "0.1"], "n must be at least 1"),
        ([str(few), "--sigma", "1", "--attack", "x"], "is not FILE=EPS"),
        ([str(few), "--sigma", "1", "--attack", "x=-1"], "is not FILE=EPS"),
        ([str(few), "--sigma", "1", "--attack", "x=0_5"], "is not FILE=EPS"),
        ([str(few), "--sigma", "1", "--attack", "x=1", "--attack", "x=2"], "named twice"),
        ([str(few), "--sigma", "1", *pair, "--attack", f"{few}=1"], "is a certification log"),
        ([str(cut), "--sigma", "0.25"], "cut.tsv line 3 has 3 fields"),
    ]
    for arguments, words in cases:
        assert main(["import", *arguments, "--out", str(tmp_path / "run")]) == 2, arguments
        printed = capsys.readouterr()
        assert words in printed.err, arguments
        assert printed.err.count("\n") == 1, arguments
        assert not (tmp_path / "run").exists(), arguments


@pytest.mark.parametrize(
    ("given", "claimed"),
    [
        (["--n", "1000000", "--alpha", "1e-6"], None),
        (["--n", "10000", "--alpha", "0.0005"], None),
        (["--n", "1000000", "--alpha", "0.001"], 0.001),
        (["--n", "10000", "--alpha", "0.05"], 0.05),
    ],
)
def test_a_pair_that_the_radii_refute_never_claims_more_than_they_show(log, tmp_path, capsys, given, claimed):
    code = main(["import", str(log), "--sigma", "0.25", *given, "--out", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert "look like n=10,000 alpha=0.001, not the n=" in error
    if claimed is None:
        assert (code, error.count("\n")) == (2, 1)
        assert not (tmp_path / "run").exists()
    else:
        assert (code, error.count("warning: ")) == (0, 2)
        assert f"alpha={claimed:g}" in summary_of(tmp_path / "run", capsys)["head"]["smoothing"]


def test_radii_cut_to_two_places_are_not_taken_for_three_digits(logs, tmp_path, capsys):
    true = [line.split("\t") for line in logs.lines(0.5)]
    (tmp_path / "log").write_text(
        logs.header + "".join("\t".join([*one[:3], str(round(float(one[3]), 2)), *one[4:]]) for one in true)
    )
    settings = ["--sigma", "0.5", "--n", "10000", "--alpha", "0.001", "--out", str(tmp_path / "run")]
    assert main(["import", str(tmp_path / "log"), *settings]) == 0
    assert "at most 3 significant digits and 2 decimals" in capsys.readouterr().err
    radii = [place / 1000 for place in range(5, 1500, 5)]
    for row in summary_of(tmp_path / "run", capsys, "--radii", ",".join(map(str, radii)))["rows"]:
        assert row["certified_lower"] <= sum(one[4] == "1" and float(one[3]) >= row["radius"] for one in true) / 200


def test_parts_may_be_printed_differently(logs, log, tmp_path, capsys):
    lines = [line.split("\t") for line in logs.lines()]
    coarse = ["\t".join([*one[:3], f"{float(one[3]):.2f}", *one[4:]]) for one in lines[:100]]
    (tmp_path / "a").write_text(logs.header + "".join(coarse))
    (tmp_path / "b").write_text(logs.header + "".join("\t".join(one) for one in lines[100:]))
    settings = ["--sigma", "0.25", "--n", "10000", "--alpha", "0.001", "--out", str(tmp_path / "run")]
    assert main(["import", str(tmp_path / "a"), str(tmp_path / "b"), *settings]) == 0
    assert "printed to at most 2 significant digits and 2 decimals; 3 significant digits: " in capsys.readouterr().err


def test_the_envelope_names_the_best_run_and_pays_for_the_choice(logs, log, tmp_path, capsys):
    wide = tmp_path / "wide.tsv"
    wide.write_text(
        logs.header + "".join(logs.lines(0.5)[:150]) + "".join(f"{i}\t1\t-1\t0.0\t0\t1\n" for i in range(150, 200))
    )
    for sigma, file in (("0.25", log), ("0.5", wide)):
        assert main(["import", str(file), "--sigma", sigma, "--out", str(tmp_path / sigma)]) == 0
    runs = [str(tmp_path / sigma) for sigma in ("0.25", "0.5")]
    capsys.readouterr()
    assert main(["summary", *runs, "--envelope", "--radii", "0,1", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    best = shown["envelope"]
    assert [row["run"] for row in best["rows"]] == ["0.25", "0.5"]
    assert best["selected_on_the_test_set"]
    for row in best["rows"]:
        alone = next(one for one in shown["runs"][row["run"]]["rows"] if one["radius"] == row["radius"])
        assert (
            row["certified"]
            == alone["certified"]
            == max(
                one["certified"]
                for run in shown["runs"].values()
                for one in run["rows"]
                if one["radius"] == row["radius"]
            )
        )
        assert row["certified_lower"] <= alone["certified_lower"]
    assert main(["summary", *runs, "--envelope"]) == 0
    assert "selected on the test set: optimistic" in capsys.readouterr().out
    assert main(["summary", runs[0], "--envelope"]) == 2
    for format in FORMATS:
        assert main(["summary", *runs, "--envelope", "--radii", "0,1", "--format", format]) == 0
        out = capsys.readouterr().out
        assert "best" in out or "selected_on_the_test_set" in out or format in ("csv", "bibtex")
    assert main(["summary", *runs, "--envelope", "--radii", "0,1", "--format", "csv"]) == 0
    *_, first, second = capsys.readouterr().out.splitlines()
    assert (first.split(",")[0], first.split(",")[-1], second.split(",")[-1]) == ("l2", "0.25", "0.5")
    assert [share for radius, share in best["curve"] if radius in (0, 1)] == [row["certified"] for row in best["rows"]]
    for format in WIDE_FORMATS:
        assert main(["summary", *runs, "--wide", "--radii", "0,1", "--format", format]) == 0
        out = capsys.readouterr().out
        assert all(name in out for name in ("0.25", "0.5", "" if format in ("csv", "json") else "rounded down"))
    assert main(["summary", *runs, "--wide", "--radii", "0,1", "--format", "csv"]) == 0
    _, first, second = (line.split(",") for line in capsys.readouterr().out.splitlines())
    rows = {name: [row["certified"] for row in one["rows"]] for name, one in shown["runs"].items()}
    assert {line[0]: [float(share) for share in line[-2:]] for line in (first, second)} == rows
    assert main(["summary", *runs, "--wide", "--radii", "0,1", "--format", "json"]) == 0
    wide = json.loads(capsys.readouterr().out)
    assert {name: one["certified"] for name, one in wide["runs"].items()} == rows
    assert main(["summary", *runs, "--wide", "--format", "bibtex"]) == 2
    assert "unknown format of a wide table 'bibtex'" in capsys.readouterr().err
    assert main(["summary", runs[0], "--convert", "linf"]) == 2
    assert "how many features" in capsys.readouterr().err


def test_true_settings_are_not_refused_because_another_pair_fits_by_chance(tmp_path, capsys):
    """Few inputs, none of which got all votes, printed coarsely: other ladders explain the radii as well."""
    n, alpha, sigma, header = 100_000, 0.001, 0.5, "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"
    for seed in range(12):
        generator = np.random.default_rng(seed)
        k = generator.binomial(n, generator.beta(2, 0.5, 60))
        radii = np.maximum(rungs(np.maximum(k, 1), n, alpha, sigma), 0.0)
        rows = [f"{i}\t0\t{0 if r > 0 else -1}\t{r:.2f}\t{int(r > 0)}\t1.0\n" for i, r in enumerate(radii)]
        (tmp_path / f"log{seed}").write_text(header + "".join(rows))
        settings = ["--sigma", "0.5", "--n", str(n), "--alpha", str(alpha), "--out", str(tmp_path / f"run{seed}")]
        assert main(["import", str(tmp_path / f"log{seed}"), *settings]) == 0, capsys.readouterr().err
