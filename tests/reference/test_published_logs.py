"""Every number of the published tables, from the published logs, to the last digit."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from certify.cli import main
from certify.core.summary import Summary
from certify.core.threats.lp import ThreatModel
from certify.errors import DataError
from certify.store.log_records import certificates_of_log, reported_of_log
from certify.store.logs import CertificationLog, read_attack_log, read_certification_log
from certify.study.audit import AttackAudit, LogAudit, audit_log
from certify.summary.envelope import envelope
from certify.summary.reported import beside
from certify.summary.summarize import summarize

N, ALPHA = 100_000, 0.001


@pytest.fixture(scope="module")
def logs(bench_data) -> Path:
    folder = bench_data / "published_logs"
    if not folder.is_dir():
        pytest.skip(f"no published logs at {folder}")
    return folder


@pytest.fixture(scope="module")
def expected(logs) -> dict[str, Any]:
    return json.loads((logs / "expected_tables.json").read_text())


@cache
def read(path: Path) -> CertificationLog:
    return read_certification_log(path)


def table(path: Path, sigma: float, radii: tuple[float, ...], delta: float = 0.05) -> Summary:
    threat = ThreatModel("l2", radii)
    made_with = {"sigma": sigma, "n": N, "alpha": ALPHA, "inferred": False}
    return summarize(certificates_of_log(read(path), threat, **made_with), delta=delta)


def test_every_table_is_reproduced(logs, expected):
    grid = tuple(expected["grid"])
    tables = {name: facts for name, facts in expected["certify_logs"].items() if facts["rows"]}
    assert len(tables) == 32
    for name, facts in tables.items():
        summary = table(logs / name, facts["sigma"], grid)
        accuracy = {f"{row.radius:.2f}": row.certified for row in summary.rows}
        assert (summary.n, accuracy) == (facts["rows"], facts["certified_accuracy"]), name
        assert round(summary.acr, 6) == facts["acr"], name
        assert {row.abstain / summary.n for row in summary.rows} == {facts["abstain_rate"]}, name
        assert all(row.certified_lower <= row.certified - 1 / summary.n for row in summary.rows if row.certified), name


def test_every_audit_names_the_pair_and_the_facts(logs, expected):
    for name, facts in expected["certify_logs"].items():
        if not facts["rows"]:
            with pytest.raises(DataError, match=r"header_only.*holds a header and no row"):
                audit_log(logs / name, facts["sigma"])
            continue
        found = audit_log(logs / name, facts["sigma"])
        assert isinstance(found, LogAudit)
        assert [[one.n, one.alpha] for one in found.consistent] == facts["ladder_fits"] == [[N, ALPHA]], name
        seen = {
            "rows": found.rows,
            "idx_first": found.index_first,
            "idx_last": found.index_last,
            "idx_step": list(found.index_steps),
            "time_format": found.time_format,
            "radius_digits": found.printing.digits,
            "rows_radius_exactly_on_grid": found.rows_on_grid,
            "rows_at_max_radius": found.rows_at_max,
            "max_radius_over_sigma": round(found.max_radius_over_sigma, 4),
            "acr": round(found.acr, 6),
            "abstain_rate": found.abstain_rate,
        }
        assert seen == {fact: facts[fact] for fact in seen}, name


def test_every_attack_log_has_its_accuracies(logs, expected):
    assert len(expected["attacks"]) == 50
    for name, facts in expected["attacks"].items():
        found = audit_log(logs / name)
        assert isinstance(found, AttackAudit)
        seen = {"rows", "empirical_accuracy", "base_accuracy", "abstain_rate"}
        assert {fact: getattr(found, fact) for fact in seen} == {fact: facts[fact] for fact in seen}, name


def test_every_join_finds_the_impossible_pairs_and_none_with_the_right_model(logs, expected):
    def join(attack: str, log: str, eps: float):
        rows, log_read = reported_of_log(read_attack_log(logs / attack), "l2", eps), read(logs / log)
        radii = np.where(log_read.correct, log_read.radius, np.nan).tolist()
        pairs = zip(log_read.index.tolist(), log_read.label.tolist(), radii, strict=True)
        return beside(rows, {index: (label, None if radius != radius else radius) for index, label, radius in pairs})

    totals: dict[str, list[int]] = {"cohen": [0, 0], "smoothadv": [0, 0]}
    for one in expected["joins"]:
        found = join(one["attack"], one["envelope_model"], one["eps"])
        named = (found.joined, found.certified, len(found.impossible), found.empirical_accuracy)
        assert named == tuple(one[x] for x in ("joined", "certified_correct", "violations", "empirical_accuracy"))
        total = totals[one["envelope_model"].partition("_cifar10")[0]]
        total[0] += len(found.impossible)
        total[1] += found.certified
        for log, certified in one.get("logs_with_zero_violations", []):
            right = join(one["attack"], log, one["eps"])
            assert (right.certified, right.impossible) == (certified, ())
    assert totals == {"cohen": [22, 2752], "smoothadv": [116, 3950]}


@pytest.mark.parametrize("name", ["cifar10_original", "cifar10_ours", "imagenet_original"])
def test_the_published_envelopes_are_reproduced(logs, expected, name):
    with (logs / "envelopes" / f"{name}.tsv").open() as file:
        published = [
            (float(r["radius"]), float(r["best_cert_accuracy"]), r["best_model"])
            for r in csv.DictReader(file, delimiter="\t")
        ]
    radii = tuple(radius for radius, _, _ in published)
    models = sorted({model for _, _, model in published})
    runs = {}
    for model in models:
        [(log, facts)] = [
            (log, facts) for log, facts in expected["certify_logs"].items() if f"/{model}/test/" in facts["source_path"]
        ]
        runs[model] = table(logs / log, facts["sigma"], radii, 0.05 / len(models))
    best = envelope(runs)
    assert [(row.radius, row.certified, row.run) for row in best.rows] == published
    assert all(row.certified_lower < row.certified for row in best.rows)
    assert "Selected on the test set" in best.statement


def test_the_commands_say_the_same(logs, expected, tmp_path, capsys):
    name, attack = "cohen_cifar10/sigma_0.50.tsv.gz", "attacks_cifar10/cohen_num_128_eps_0.500.tsv.gz"
    facts = expected["certify_logs"][name]
    imported = [
        "import",
        str(logs / name),
        "--sigma",
        "0.5",
        "--attack",
        f"{logs / attack}=0.5",
        "--out",
        str(tmp_path),
    ]
    assert main(imported) == 4
    printed = capsys.readouterr()
    assert "14 impossible pairs of 207 certified among 500 joined: inputs 220, 280" in " ".join(printed.out.split())
    assert "only the 500 in both are compared" in printed.err
    assert "n=100,000 and alpha=0.001 inferred" in printed.err
    radii = ",".join(map(str, expected["grid"]))
    assert main(["summary", str(tmp_path), "--radii", radii, "--format", "json"]) == 4
    summary = json.loads(capsys.readouterr().out)
    assert {f"{row['radius']:.2f}": row["certified"] for row in summary["rows"]} == facts["certified_accuracy"]
    assert round(summary["acr"], 6) == facts["acr"]
    assert len(summary["contradictions"]) == 14
    [reported] = summary["reported"]
    assert reported["empirical_accuracy"] == expected["attacks"][attack]["empirical_accuracy"]
    assert main(["audit", str(logs / name), "--sigma", "0.5", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["consistent"] == [[100_000, 0.001]]
