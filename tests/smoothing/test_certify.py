"""CERTIFY: the radius follows from the counts, the counts travel with it, and bad settings are refused early."""

from __future__ import annotations

import json
import math
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from certify.certifiers.smooth import smooth
from certify.certifiers.smoothing import Smoothing
from certify.core.certificate import Certificate
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.errors import BadInput, DataError, ModelError
from certify.models.classifier import Classifier
from certify.smoothing.noise.base import NOISES
from certify.study.evaluate import evaluate


def derived(certificate: Certificate) -> tuple[float, float]:
    """q_upper and the radius, derived from nothing but the evidence, with scipy's arithmetic."""
    evidence = certificate.evidence
    share = 0.5 if evidence.chosen_by == "votes" else 1.0 - evidence.rival_share
    missed = [
        (look.n - look.counts.get(certificate.prediction, 0), look.n, look.alpha * share)
        for look in evidence.looks
        if look.alpha
    ]
    q = min(stats.beta.isf(alpha, k + 1, n - k) if k < n else 1.0 for k, n, alpha in missed)
    rival = q
    if evidence.rival_share:
        [look] = evidence.looks
        most = max([look.invalid, *(count for label, count in look.counts.items() if label != certificate.prediction)])
        rival = min(q, stats.beta.isf(look.alpha * evidence.rival_share, most + 1, look.n - most))
    return q, evidence.sigma / 2 * (stats.norm.isf(q) + stats.norm.isf(rival)) - evidence.slack


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "fixed"},
        {"schedule": "fixed", "selection": "label"},
        {"schedule": "fixed", "selection": "votes"},
        {"schedule": "fixed", "bound": "runner-up"},
        {"schedule": "declared"},
        {"schedule": "declared", "selection": "draws"},
        {"schedule": "declared", "looks": [300, 2000], "look_alphas": [0.0004, 0.0006]},
        {"noise": "gaussian-grid"},
        {"noise": "gaussian-grid", "schedule": "fixed"},
        {"noise": "gaussian-grid", "looks": [300, 2000], "look_alphas": [0.0004, 0.0006]},
    ],
)
def test_a_radius_can_be_derived_from_its_evidence_alone(halves, l2, settings):
    x = torch.tensor([[204.0, 51.0], [140.0, 115.0], [230.0, 26.0]]) / 255
    for certificate in smooth(halves, x, [0, 0, 0], threat=l2, sigma=0.3, n=2000, **settings):
        evidence = certificate.evidence
        q, radius = derived(certificate)
        assert evidence.q_upper == pytest.approx(q, rel=1e-9)
        assert evidence.q_upper >= q * (1 - 1e-12)
        if certificate.radius is None:
            assert q > 0.5 - 1e-9
        else:
            assert certificate.radius == pytest.approx(radius, abs=1e-9)
        n0 = 0 if evidence.selection is None else evidence.selection.n
        assert n0 == (100 if evidence.chosen_by == "draws" else 0)
        assert certificate.forward_passes == evidence.looks[-1].n + n0
        assert evidence.n_most == 2000
        assert certificate.alpha == 0.001
        noise = NOISES[evidence.noise](evidence.sigma)
        assert evidence.slack == noise.slack(2, "l2")
        assert evidence.draws_alpha >= 2000 * noise.total_variation(2)
        # The whole schedule is in the evidence, and all of alpha is accounted for.
        assert evidence.alpha_spent <= 0.001
        assert evidence.alpha_spent == pytest.approx(0.001, rel=1e-9)
        assert Fraction(evidence.p_lower) <= 1 - Fraction(evidence.q_upper)


def test_numbers_of_numpy_make_radii_of_full_precision(halves, l2):
    x = [[0.9, 0.1]]
    [plain] = smooth(halves, x, [0], threat=l2, sigma=float(np.float32(0.3)), n=1000, alpha=float(np.float32(0.001)))
    [single] = smooth(
        halves, x, [0], threat=l2, sigma=np.float32(0.3), n=np.int64(1000), alpha=np.float32(0.001), seed=np.int64(0)
    )
    assert single.to_dict() | {"seconds": 0} == plain.to_dict() | {"seconds": 0}
    assert type(single.radius) is float
    json.dumps(single.to_dict())


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "fixed"},
        {"schedule": "fixed", "selection": "votes"},
        {"schedule": "fixed", "bound": "runner-up"},
        {"schedule": "declared"},
        {"schedule": "declared", "looks": [999, 1000], "look_alphas": [0.0009, 0.0001]},
        {"schedule": "fixed", "noise": "gaussian-grid"},
    ],
)
def test_the_cap_that_is_announced_is_what_agreeing_votes_reach(settings):
    always = Classifier(lambda x: x[:, 0].long() * 0 + 1, num_classes=2, input_box=(0.0, 1.0))
    x, threat = torch.zeros(1, 2), ThreatModel("l2", (0.6,))
    certifier = Smoothing(0.25, n=1000, **settings)
    said = float(re.search(r"largest certifiable radius ([\d.]+)", certifier.describe(threat, (2,))).group(1))
    [one] = smooth(always, x, [1], threat=threat, sigma=0.25, n=1000, **settings)
    assert said <= one.radius < said + 1e-4
    with pytest.raises(BadInput, match=f"at most radius {said}"):
        certifier.check(always, ThreatModel("l2", (math.nextafter(one.radius, 1),)), x)


def test_invalid_samples_of_every_look_are_kept():
    clf = Classifier(lambda x: torch.where(x[:, :1] > 1.0, torch.nan, torch.cat([x, -x], 1)), num_classes=2)
    [one] = smooth(clf, [[0.9]], [0], threat=ThreatModel("l2", (0.0,)), sigma=0.3, n=5000)
    for look in one.evidence.looks:
        assert look.invalid + sum(look.counts.values()) == look.n
    assert one.evidence.looks[-1].invalid > 0.25 * one.evidence.looks[-1].n


def test_inputs_off_the_grid_are_refused_before_any_work(l2, tmp_path):
    clf = Classifier(lambda x: (x[:, 0] > 0.5).long(), num_classes=2, input_box=(0.0, 1.0))
    x = torch.full((40, 2), 51 / 255)
    x[37, 1] = 0.123
    settings = {"threat": l2, "sigma": 0.25, "noise": "gaussian-grid"}
    with pytest.raises(DataError, match=r"input 37 has 0.12\d* at 1"):
        smooth(clf, x, [0] * 40, **settings)
    with pytest.raises(DataError, match="input 37"):
        evaluate(clf, (x, torch.zeros(40, dtype=torch.int64)), out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_labels_choose_the_class_where_they_are_given(halves, l2):
    settings = {"threat": l2, "sigma": 0.3, "n": 2000}
    [right] = smooth(halves, [[0.8, 0.2]], [0], **settings)
    assert (right.evidence.chosen_by, right.prediction, right.verdict) == ("label", 0, Verdict.CERTIFIED)
    # The smoothed model is wrong here: its class is seen, but it is not what was tested.
    [wrong] = smooth(halves, [[0.8, 0.2]], [1], **settings)
    assert (wrong.prediction, wrong.verdict, wrong.radius) == (0, Verdict.ABSTAIN, None)
    [unlabelled] = smooth(halves, [[0.8, 0.2]], **settings)
    assert (unlabelled.evidence.chosen_by, unlabelled.verdict) == ("draws", Verdict.CERTIFIED)
    [cohen] = smooth(halves, [[0.8, 0.2]], [1], schedule="fixed", **settings)
    assert (cohen.evidence.chosen_by, cohen.prediction, cohen.verdict) == ("draws", 0, Verdict.CERTIFIED)


def test_sampling_stops_when_the_declared_radii_are_proven_or_hopeless(halves):
    threat = ThreatModel("l2", (0.0, 0.25))
    x = [[0.99, 0.01], [0.52, 0.48], [0.1, 0.9]]
    far, near, wrong = smooth(halves, x, [0, 0, 0], threat=threat, sigma=0.3)
    assert far.holds_at(0.25)
    assert far.forward_passes < 300
    assert wrong.forward_passes < 100
    assert not near.holds_at(0.25)
    assert near.forward_passes < 50_000


def test_results_do_not_depend_on_which_inputs_advance_together(halves, l2):
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(1))
    x[7] = x[3]
    labels = [0] * 40
    together = smooth(halves, x, labels, threat=l2, sigma=0.3, n=3000)
    alone = [smooth(halves, x[i : i + 1], [0], threat=l2, sigma=0.3, n=3000)[0] for i in range(40)]
    assert [c.evidence for c in together] == [c.evidence for c in alone]
    assert together[7].evidence == together[3].evidence
    other_batch = smooth(halves, x, labels, threat=l2, sigma=0.3, n=3000, batch_size=999)
    assert [c.evidence for c in other_batch] == [c.evidence for c in together]


def test_selection_and_estimation_use_different_draws(l2):
    seen = []

    def remember(x):
        seen.append(x.clone())
        return (x[:, 0] > 0.5).long()

    clf = Classifier(remember, num_classes=2)
    smooth(clf, [[0.6, 0.0]], [1], threat=l2, sigma=0.5, n=256, n0=64, schedule="fixed")
    samples = torch.cat(seen)[-64 - 256 :]  # the calls before check the model
    assert len(samples) == 64 + 256
    assert len(samples.unique(dim=0)) == len(samples)


def test_what_falls_short_of_the_smallest_declared_radius_is_unknown(halves):
    settings = {"threat": ThreatModel("l2", (0.5,)), "sigma": 0.3, "n": 1000}
    [near] = smooth(halves, [[0.52, 0.48]], [0], schedule="fixed", **settings)
    assert near.verdict in (Verdict.UNKNOWN, Verdict.ABSTAIN)
    [middle] = smooth(halves, [[0.7, 0.3]], [0], schedule="fixed", **settings)
    assert (middle.verdict, middle.radius) == (Verdict.UNKNOWN, None)
    assert "below the smallest declared radius 0.5" in middle.reason
    [hopeless] = smooth(halves, [[0.52, 0.48]], [0], **settings)
    assert (hopeless.verdict, hopeless.radius) == (Verdict.ABSTAIN, None)
    assert f"given up after {hopeless.forward_passes} samples" in hopeless.reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sigma": 0.0}, "sigma must be"),
        ({"sigma": math.nan}, "sigma must be"),
        ({"sigma": "0.3"}, "sigma must be a number"),
        ({"sigma": None}, "sigma must be a number"),
        ({"alpha": "0.001"}, "alpha must be a number"),
        ({"n": 1000.0}, "n must be a whole number"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"selection": 5}, "unknown selection 5"),
        ({"schedule": None}, "unknown schedule None"),
        ({"bound": None}, "unknown bound None"),
        ({"noise": 5}, "named by text, got 5"),
        ({"looks": 5, "look_alphas": [0.001]}, "looks must be several numbers"),
        ({"looks": [10_000], "look_alphas": ["x"]}, "look_alphas must be a number"),
        ({"alpha": 0.0}, "alpha must lie"),
        ({"alpha": 1.0}, "alpha must lie"),
        ({"n": 0}, "n must be at least 1"),
        ({"n0": 0}, "n0 must be at least 1"),
        ({"n": 100, "radii": (0.5,), "schedule": "fixed"}, "use n >= 301"),
        ({"n": 100}, "use n >= 3[0-9][0-9]"),
        ({"n": 5, "radii": (0.0,), "schedule": "fixed"}, "certify nothing.*use n >= 10"),
        ({"radii": (0.0, 9.0)}, "raise sigma"),
        ({"norm": "l1"}, "gaussian noise has no radius theorem in l1; it certifies l2"),
        ({"norm": "linf"}, "knows the norms of its noise laws and additive transforms only, got linf: use .*crown"),
        ({"noise": "gausian"}, "did you mean 'gaussian'"),
        ({"schedule": "declare"}, "unknown schedule 'declare'; did you mean 'declared'"),
        ({"selection": "labels"}, "unknown selection 'labels'; did you mean 'label'"),
        ({"bound": "rival"}, "unknown bound"),
        ({"selection": "votes"}, "add schedule='fixed'"),
        ({"bound": "runner-up"}, "add schedule='fixed'"),
        ({"bound": "runner-up", "selection": "votes", "schedule": "fixed"}, "named before the votes"),
        ({"looks": [100, 10_000]}, "give both or neither"),
        ({"looks": [100, 10_000], "look_alphas": [0.0005, 0.0004]}, "sum to 0.0009, not to alpha=0.001"),
        ({"looks": [100, 10_000], "look_alphas": [0.0005, 0.0006]}, "sum to 0.0011, not to alpha=0.001"),
        ({"looks": [100, 9_000], "look_alphas": [0.0005, 0.0005]}, "last look is at 9000 samples, but n=10000"),
        ({"looks": [10_000, 100], "look_alphas": [0.0005, 0.0005]}, "looks must ascend"),
        ({"looks": [10_000], "look_alphas": [0.0005, 0.0005]}, "as many alphas as sample numbers"),
        ({"looks": [10_000], "look_alphas": [0.001], "schedule": "fixed"}, "leave out looks"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_bad_settings_are_one_clear_line(halves, changes, words):
    threat = ThreatModel(changes.pop("norm", "l2"), changes.pop("radii", (0.0, 0.5)))
    settings = {"sigma": 0.25, "n": 10_000, **changes}
    with pytest.raises(BadInput, match=words) as refused:
        smooth(halves, [[0.8, 0.2]], [0], threat=threat, **settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([[math.nan, 0.2]], [0], "NaN or infinity"),
        ([[math.inf, 0.2]], [0], "NaN or infinity"),
        ([[1.2, 0.2]], [0], "outside the declared input box"),
        ([[0.8, 0.2]], [2], "out of range"),
        ([[0.8, 0.2]], [-1], "out of range"),
        ([[0.8, 0.2]], [0, 1], "one label an input"),
        ([[0.8, 0.2]], [0.5], "must be integers"),
        ([[0.8, 0.2, 0.1]], [0], "refuses inputs of shape"),
        ([], [], "at least one input"),
        ("text", [0], "must be an array of numbers"),
    ],
)
def test_bad_data_are_one_clear_line(halves, l2, x, y, words):
    with pytest.raises(DataError, match=words) as refused:
        smooth(halves, x, y, threat=l2, sigma=0.25, n=1000)
    assert "\n" not in str(refused.value)


class Dropping(nn.Module):
    """Dropout that ignores eval mode."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.5, training=True)


def test_models_that_cannot_be_certified_are_one_clear_line(l2):
    with pytest.raises(ModelError, match="train mode"):
        Classifier(nn.Linear(2, 2), num_classes=2)
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    model[1].train()
    with pytest.raises(ModelError, match=r"train mode \(its part '1'\)"):
        Classifier(model, num_classes=2)
    with pytest.raises(ModelError, match="float32"):
        Classifier(nn.Linear(2, 2).half().eval(), num_classes=2)
    broken = nn.Linear(2, 2).eval()
    broken.weight.data[0, 0] = math.nan
    with pytest.raises(ModelError, match="NaN"):
        Classifier(broken, num_classes=2)
    wrong = {
        "answers differently": Classifier(Dropping().eval(), num_classes=64),
        "must return scores .*: if there are 4 classes": Classifier(lambda x: torch.cat([x, x], dim=1), num_classes=2),
        "not an integer": Classifier(lambda x: x[:, 0] * 0 + 7, num_classes=2),
    }
    for words, clf in wrong.items():
        x = [[0.5] * 64] if clf.num_classes == 64 else [[0.5, 0.5]]
        with pytest.raises(ModelError, match=words):
            smooth(clf, x, [0], threat=l2, sigma=0.25, n=1000)


@pytest.mark.parametrize("schedule", ["fixed", "declared"])
def test_the_fewest_samples_for_a_radius_are_the_fewest(schedule):
    threat, clf = ThreatModel("l2", (0.5,)), Classifier(lambda x: x, 2)
    with pytest.raises(BadInput, match="use n >= ") as refused:
        Smoothing(0.25, n=50, schedule=schedule).check(clf, threat, torch.zeros(1, 2))
    n = int(re.search(r"n >= (\d+)", str(refused.value)).group(1))
    Smoothing(0.25, n=n, schedule=schedule).check(clf, threat, torch.zeros(1, 2))
    with pytest.raises(BadInput, match=f"use n >= {n}"):
        Smoothing(0.25, n=n - 1, schedule=schedule).check(clf, threat, torch.zeros(1, 2))


def test_labels_cannot_choose_the_class_where_there_are_none(halves, l2):
    with pytest.raises(BadInput, match="selection='label' needs labels"):
        smooth(halves, [[0.8, 0.2]], threat=l2, sigma=0.25, n=1000, selection="label")


def test_a_classifier_is_a_snapshot(halves, l2):
    module = nn.Linear(2, 2, bias=False).eval()
    clf = Classifier(module, num_classes=2)
    before = clf.predict(torch.tensor([[0.9, 0.1]])), clf.digest
    module.weight.data.neg_()
    assert torch.equal(clf.predict(torch.tensor([[0.9, 0.1]])), before[0])
    assert Classifier(module, num_classes=2).digest != before[1]
    assert pickle.dumps(Smoothing(0.25))


def test_a_declared_radius_that_no_certificate_can_reach_is_a_warning(halves):
    threat = ThreatModel("l2", (0.0, 0.25, 5.0))
    with pytest.warns(UserWarning, match=r"can certify at most radius 0\.\d+, but radius 5 is declared: .*; no certif"):
        [made] = smooth(halves, [[0.8, 0.2]], [0], threat=threat, sigma=0.25, n=1000, n0=64, schedule="fixed")
    assert made.holds_at(0.25)
    assert not made.holds_at(5.0)
