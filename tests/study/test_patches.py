"""A whole study of patches: certified, attacked, summarized, reported, checked and gated; and what does not fit."""

from __future__ import annotations

import pytest
import torch

import certify
from certify.errors import BadInput
from certify.study.evaluate import study_from
from certify.study.settings import Settings
from tests.certifiers.test_patches import images, network


def test_a_run_is_checked_reported_and_gated(tmp_path):
    clf, x = network(3, (1, 4, 4)), images((1, 4, 4), 6)
    result = certify.evaluate(
        clf,
        (x.numpy(), clf.predict(x).numpy()),
        threat=certify.Patch((0, 1, 2)),
        certifier=["crown", certify.Complete(timeout=30.0)],
        attack="pgd",
        out=tmp_path / "run",
    )
    assert result.summary.threat.measure == "patch"
    assert "under every change inside a square of side" in result.summary.statement
    run = certify.read_run(tmp_path / "run")
    assert "threat     square patch, declared radii 0, 1, 2 (pixels)" in run.summary.table()
    policy = tmp_path / "policy.toml"
    asked = '[threat]\nnorm = "patch"\ninput_box = [0, 1]\n[[require]]\nkind = "no_contradiction"\n'
    policy.write_text(asked)
    assert certify.judge_run(certify.read_policy(policy), tmp_path / "run").passed
    assert not certify.check_run(tmp_path / "run").refuted
    assert all(certify.check(one, clf, x[one.index]) for one in result.certificates)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"radii": "0,9"}, "side 9 is larger than the image of 8 x 8"),
        ({"radii": "0.5"}, "no whole number"),
        ({"norm": "l2"}, "leave them out"),
        ({"certifier": "lipschitz"}, "got patch: use .*complete, crown"),
        ({"attack": "autoattack"}, "balls of the three norms only"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(settings, said):
    given = {"model": "tests.study.test_threats:network", "data": "digits", "threat": "patch", "certifier": "crown"}
    with pytest.raises(BadInput, match=said) as problem:
        study_from(Settings.of({"radii": "0,1", **given, "limit": 3, **settings}))
    assert "\n" not in str(problem.value)


def test_tables_without_places_are_refused():
    clf = certify.Classifier(torch.nn.Linear(4, 2).eval(), num_classes=2, input_box=(0.0, 1.0))
    with pytest.raises(BadInput, match="a patch lies in images"):
        certify.evaluate(clf, (torch.zeros(1, 4).numpy(), [0]), threat=certify.Patch((1,)), certifier="ibp")
