"""Audits of published claims: planted instances that are called unsat, and brackets that plain attacks contradict."""

from __future__ import annotations

import csv

import pytest

from certify.core.audited import Standing
from certify.data.loaders import load_data
from certify.models.loaders import load_model
from certify.study.audit_brackets import audit_brackets
from certify.study.audit_verdicts import audit_verdicts

QUICK = ("acasxu_0", "acasxu_1", "mnist_fc_2", "rl_benchmarks_7", "rl_benchmarks_8", "safenlp_15", "tllverifybench_13")
"""Instances whose witness is found in a moment."""


def test_planted_instances_that_are_called_unsat_are_refuted(bench_data, tmp_path):
    pytest.importorskip("onnxruntime")
    folder = bench_data / "planted"
    with (folder / "instances.csv").open() as file:
        rows = [row for row in csv.reader(file) if any(name in row[1] for name in QUICK)]
    table = tmp_path / "results.csv"
    table.write_text("".join(f"planted,{net},{prop},0,unsat,1\n" for net, prop, _ in rows))
    found = audit_verdicts(table, instances=folder / "instances.csv", timeout=20, out=tmp_path / "out")
    assert len(rows) == len(QUICK)
    assert {one.standing for one in found.claims} == {Standing.REFUTED}
    assert len(list((tmp_path / "out").iterdir())) == len(QUICK)


@pytest.mark.parametrize(("network", "refuted"), [("mnist-net_256x2.onnx", 0), ("mnist-net_256x4.onnx", 1)])
def test_published_brackets_of_one_network_do_not_hold(bench_data, tmp_path, network, refuted):
    pytest.importorskip("onnxruntime")
    folder = bench_data / "robustness_distributions"
    with (folder / "published_brackets.csv").open() as file:
        header, *rows = csv.reader(file)
    chosen = [row for row in rows if row[:3] == [network, "train", "0"]]
    table = tmp_path / "brackets.csv"
    table.write_text("\n".join(map(",".join, [header, *chosen])))
    model, data = load_model(str(folder / "onnx" / network)), load_data(f"npz:{folder / 'mnist_train_first100.npz'}")
    found = audit_brackets(table, model, data, "linf")
    assert len(found.refuted) == refuted
    assert len(found.claims) == 2
