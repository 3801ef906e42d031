"""Whole studies of threats that are no balls: certified, attacked, summarized, reported, checked and gated."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.bounds.radii.recheck import rechecked_margins
from certify.certifiers.deterministic import graph_of
from certify.errors import BadInput
from certify.study.settings import Settings


@pytest.fixture(scope="module")
def classifier():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    return certify.Classifier(network, num_classes=3, input_box=(0.0, 1.0))


def one_hot(rows):
    """All pairs of two categorical inputs of three categories."""
    eye = np.eye(3, dtype=np.float32)
    return np.array([np.concatenate([eye[i], eye[j]]) for i, j in itertools.product(range(3), range(3))])[:rows]


def data(threat, classifier):
    """Inputs of the threat, each with the class that it is given."""
    x = one_hot(9) if isinstance(threat, certify.Categories) else np.random.default_rng(0).random((8, 6), np.float32)
    return x, classifier.predict(torch.from_numpy(x)).numpy()


def true_radii(threat, classifier, x):
    """What complete verification has to find: for features, corners of the box are where a ReLU network of one hidden
    layer may change first, but not always; so an upper end. For categories all inputs are listed: exact."""
    labels = classifier.predict(torch.from_numpy(x)).numpy()
    radii = []
    for one, label in zip(x, labels, strict=True):
        held = 0.0
        for radius in (1, 2):
            if isinstance(threat, certify.Categories):
                points = [other for other in one_hot(9) if threat.distance(one, other) <= radius]
            else:
                points = []
                for changed in itertools.combinations(range(6), radius):
                    for values in itertools.product((0.0, 1.0), repeat=radius):
                        point = one.copy()
                        point[list(changed)] = values
                        points.append(point)
            if (classifier.predict(torch.from_numpy(np.array(points))).numpy() != label).any():
                break
            held = float(radius)
        radii.append(held)
    return radii


THREATS = {
    "features": certify.Features((0, 1, 2)),
    "categories": certify.Categories((0, 1, 2), groups="0:3,3:6"),
}


@pytest.mark.parametrize("name", THREATS)
def test_certificates_lie_between_cheap_proofs_and_examples(name, classifier):
    threat = THREATS[name]
    x, y = data(threat, classifier)
    radii = {
        certifier.method: [one.radius for one in certify.certify(classifier, x, y, threat=threat, certifier=certifier)]
        for certifier in (certify.Bounds("ibp"), certify.Bounds("crown"), certify.Complete(timeout=30.0))
    }
    true = true_radii(threat, classifier, x)
    assert radii["complete"] == true
    assert all(a <= b <= c for a, b, c in zip(radii["ibp"], radii["crown"], true, strict=True))
    assert sum(radii["crown"]) > 0
    found = certify.attack(classifier, x, y, threat=threat, attack="pgd", seed=0)
    assert all(one.radius is None or one.radius > least for one, least in zip(found, true, strict=True))
    assert any(one.succeeded for one in found)


@pytest.mark.parametrize("name", THREATS)
def test_a_run_is_checked_reported_and_gated(name, classifier, tmp_path):
    threat = THREATS[name]
    x, y = data(threat, classifier)
    result = certify.evaluate(
        classifier,
        (x, y),
        threat=threat,
        certifier=["crown", certify.Complete(timeout=30.0)],
        attack="pgd",
        out=tmp_path / "run",
    )
    assert result.summary.threat.measure == name
    assert "under every change of " in result.summary.statement
    run = certify.read_run(tmp_path / "run")
    assert f"threat     {name}" in run.summary.table()
    assert f"declared radii 0, 1, 2 ({name} changed)" in run.summary.table()
    policy = tmp_path / "policy.toml"
    box = "input_box = [0, 1]\n" if threat.fills_box else ""
    policy.write_text(f'[threat]\nnorm = "{name}"\n{box}[[require]]\nkind = "no_contradiction"\n')
    if threat.named:
        with pytest.raises(BadInput, match="scale"):
            certify.judge_run(certify.read_policy(policy), tmp_path / "run")
        [digest] = threat.named.values()
        policy.write_text(policy.read_text().replace("[[", f'scale = "{digest[:8]}"\n[['))
    assert certify.judge_run(certify.read_policy(policy), tmp_path / "run").passed
    assert all(certify.check(one, classifier, x[one.index]) for one in result.certificates)
    assert not certify.check_run(tmp_path / "run").refuted


def test_a_radius_that_is_enlarged_is_refuted(classifier):
    threat = THREATS["features"]
    x, y = data(threat, classifier)
    certificates = certify.certify(classifier, x, y, threat=threat, certifier=certify.Complete(timeout=30.0))
    for certificate, one in zip(certificates, x, strict=True):
        if certificate.radius < 2:
            evidence = dataclasses.replace(
                certificate.evidence, certified=2.0, falsified=None, example=None, adversarial_prediction=None
            )
            if not evidence.proof:
                continue
            forged = dataclasses.replace(certificate, radius=2.0, evidence=evidence)
            assert not certify.check(forged, classifier, one)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"threat": "features", "norm": "l2"}, "leave them out"),
        ({"threat": "features", "option": {"groops": "0:3"}}, "groops"),
        ({"threat": "categories"}, "needs groups"),
        ({"threat": "features", "option": {"timeout": 3}, "timeout": 2.0}, "give it once"),
        (
            {"threat": "features", "certifier": "smoothing", "sigma": 0.5},
            "no radius theorem in features; .*certified by ablation",
        ),
        ({"threat": "features", "attack": "autoattack"}, "balls of the three norms only"),
        ({"threat": "feature"}, "did you mean 'features'"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(settings, said, tmp_path):
    from certify.study.evaluate import study_from

    given = {"model": "tests.study.test_threats:network", "data": "digits", "radii": "0,1", "certifier": "crown"}
    with pytest.raises(BadInput, match=said):
        study_from(Settings.of({**given, "limit": 3, **settings}))


def network():
    """Of digits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()


@pytest.mark.parametrize("name", THREATS)
@pytest.mark.parametrize("radius", [1e19, 1e300, 3.0])
def test_a_radius_that_no_whole_number_holds_proves_nothing(name, radius, classifier):
    threat = THREATS[name]
    x, y = data(threat, classifier)
    graph = graph_of(classifier, (6,))
    for certifier in (certify.Bounds("crown"), certify.Complete(timeout=30.0)):
        for one in certify.certify(classifier, x, y, threat=threat, certifier=certifier):
            if not (one.radius or 0.0) < 2:
                continue
            evidence = one.evidence
            if isinstance(certifier, certify.Complete):
                nothing = {"falsified": None, "example": None, "adversarial_prediction": None}
                evidence = dataclasses.replace(evidence, certified=radius, **nothing)
            else:
                given = torch.from_numpy(x[one.index]), one.prediction, threat.within((0.0, 1.0)), radius
                evidence = dataclasses.replace(evidence, margins=rechecked_margins(graph, *given, evidence))
            with contextlib.suppress(BadInput):  # margins that are not positive are no evidence at all
                forged = dataclasses.replace(one, radius=radius, evidence=evidence)
                assert not certify.check(forged, classifier, x[one.index])


@pytest.mark.parametrize("groups", [[[0], [999]], [[2**24 - 1]], None])
def test_a_threat_that_does_not_fit_the_inputs_is_refuted(groups, classifier):
    x, y = data(THREATS["features"], classifier)
    for certifier in (certify.Bounds("crown"), certify.Complete(timeout=30.0)):
        one = certify.certify(classifier, x[:1], y[:1], threat=THREATS["features"], certifier=certifier)[0]
        record = one.to_dict()
        if groups is None:
            record["threat"]["input_box"] = None
        else:
            record["threat"] |= {"groups": groups, "radii": [0.0]}
        assert not certify.check(certify.Certificate.from_dict(record), classifier, x[0])


def test_groups_are_named_where_radii_are(classifier):
    threat = certify.Features((0, 1), groups="0:2,2:4")
    x, y = data(threat, classifier)
    summary = certify.summarize(certify.certify(classifier, x, y, threat=threat, certifier="crown"))
    assert "features in 2 groups of features (sha256 " in summary.table()
    assert "under every change of 2 groups of features" in summary.statement
