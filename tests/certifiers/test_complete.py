"""Brackets of true radii: exact on tiny networks, whose true radii are known by enumeration."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

import certify
from certify.certifiers.base import CERTIFIERS
from certify.certifiers.bounds import bound
from certify.certifiers.complete import Complete, verify
from certify.complete import radius as radius_module
from certify.complete.portfolio import Answer
from certify.core.certificate import Certificate
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.data.generators import keyed_generator
from certify.errors import BadInput, ModelError, UnsupportedOperator
from certify.models.classifier import Classifier
from certify.study.evaluate import evaluate
from certify.study.read import summarize_run
from certify.summary.summarize import summarize

GAP = 0.01
ANY = ThreatModel("linf", (0.0, 0.05))


class Sorted(nn.Module):
    """No rule covers it."""

    def forward(self, x):
        return x.sort(1).values


def tiny(name: str, *sizes: int) -> Classifier:
    """A random ReLU network on [0, 1] whose scores are close to one another at the middle."""
    generator = keyed_generator(name)
    parts: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layer = nn.Linear(inputs, outputs).requires_grad_(False)
        layer.weight.copy_(torch.randn(outputs, inputs, generator=generator) * 1.5 / math.sqrt(inputs))
        layer.bias.copy_(torch.randn(outputs, generator=generator) * 0.3)
        parts += [layer, nn.ReLU()]
    net = nn.Sequential(*parts[:-1]).eval()
    net[-1].bias -= net(torch.full((1, sizes[0]), 0.5))[0]
    return Classifier(net, num_classes=sizes[-1])


def inputs(name: str, count: int, features: int) -> torch.Tensor:
    return torch.rand(count, features, generator=keyed_generator(f"inputs {name}"))


def true_radius(clf: Classifier, x: torch.Tensor, norm: str, scale: tuple[float, ...] | None = None) -> float:
    """The distance of the nearest other class in linf or l1, by a linear program for each pattern of activations."""
    layers = [(one.weight.double().numpy(), one.bias.double().numpy()) for one in clf.module if hasattr(one, "weight")]
    features, x0 = x.numel(), x.double().numpy()
    kept, weight = int(clf.predict(x[None])[0]), np.ones(features) if scale is None else np.array(scale)
    moves = 1 if norm == "linf" else features  # variables: the input, then how far it is moved
    spread = np.ones((features, 1)) if norm == "linf" else np.eye(features)
    away = [np.hstack([sign * np.eye(features), -weight[:, None] * spread]) for sign in (1, -1)]
    bounds = [sign * x0 for sign in (1, -1)]
    best = math.inf
    for pattern in itertools.product(*(itertools.product((0.0, 1.0), repeat=len(b)) for _, b in layers[:-1])):
        A, b = np.eye(features), np.zeros(features)
        rows, limits = [], []
        for (W, c), active in zip(layers, (*pattern, None), strict=True):
            A, b = W @ A, W @ b + c
            if active is not None:
                sign = 1 - 2 * np.array(active)
                rows.append(sign[:, None] * A)
                limits.append(-sign * b)
                A, b = np.array(active)[:, None] * A, np.array(active) * b
        for other in {*range(len(b))} - {kept}:
            fixed = np.vstack([*rows, A[kept] - A[other]])
            found = linprog(
                np.r_[np.zeros(features), np.ones(moves)],
                A_ub=np.vstack([np.hstack([fixed, np.zeros((len(fixed), moves))]), *away]),
                b_ub=np.r_[np.concatenate([*limits, [b[other] - b[kept]]]), np.concatenate(bounds)],
                bounds=[(0, 1)] * features + [(0, None)] * moves,
            )
            if found.status == 0:
                best = min(best, found.fun)
    return best


@pytest.mark.parametrize(
    ("sizes", "norm", "scale"),
    [
        ((2, 6, 3), "linf", None),
        ((2, 6, 3), "l1", None),
        ((3, 4, 3, 2), "linf", None),
        ((3, 4, 3, 2), "l1", None),
        ((3, 5, 2), "linf", (1.0, 0.0, 3.0)),
    ],
)
def test_brackets_hold_the_true_radius(sizes, norm, scale):
    clf, x = tiny(f"bracket {sizes}", *sizes), inputs(f"bracket {sizes}", 3, sizes[0])
    threat = ThreatModel(norm, (0.0, 2.0), scale=scale)
    for one, certificate in zip(x, verify(clf, x, threat=threat, gap=GAP, timeout=20), strict=True):
        true, evidence = true_radius(clf, one, norm, scale), certificate.evidence
        if math.isinf(true):
            assert evidence.falsified is None
            continue
        assert certificate.radius == evidence.certified <= true * (1 + 1e-6)
        assert true * (1 - 1e-6) <= evidence.falsified
        assert evidence.falsified - evidence.certified <= GAP * evidence.falsified, evidence.reason
        assert evidence.reason == ""


def test_brackets_in_l2_fit_those_of_other_norms_and_every_sampled_point():
    clf, x = tiny("l2", 2, 6, 3), inputs("l2", 3, 2)
    grid = torch.cartesian_prod(*[torch.linspace(0, 1, 1001)] * 2)
    labels = clf.predict(grid)
    for one, certificate in zip(x, verify(clf, x, threat=ThreatModel("l2", (0.0, 2.0)), gap=GAP), strict=True):
        evidence, linf, l1 = certificate.evidence, true_radius(clf, one, "linf"), true_radius(clf, one, "l1")
        assert evidence.falsified - evidence.certified <= GAP * evidence.falsified
        assert evidence.certified <= min(math.sqrt(2) * linf, l1) * (1 + 1e-6)
        assert evidence.falsified >= max(linf, l1 / math.sqrt(2)) * (1 - 1e-6)
        distance = (grid.double() - one.double()).square().sum(1).sqrt()
        nearest = float(distance[labels != certificate.prediction].min())
        assert evidence.certified < nearest
        assert evidence.falsified <= nearest * (1 + 2 * GAP)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_declared_radii_are_decided(norm):
    clf, x = tiny("declared", 3, 5, 2), inputs("declared", 2, 3)
    brackets = verify(clf, x, threat=ThreatModel(norm, (0.0, 2.0)), gap=GAP)
    low, high = (torch.tensor([getattr(one.evidence, end) for one in brackets]) for end in ("certified", "falsified"))
    radii = tuple(sorted({0.0, *(0.9 * low).tolist(), *(1.1 * high).tolist()}))
    found = verify(clf, x, threat=ThreatModel(norm, radii))
    for one, proven, broken in zip(found, low.tolist(), high.tolist(), strict=True):
        assert max(radius for radius in radii if radius <= proven) <= one.radius < broken
        assert proven < one.evidence.falsified <= min(radius for radius in radii if radius >= broken)
        assert (one.evidence.gap, one.evidence.reason) == (None, "")
    for one, proven, broken in zip(x, low.tolist(), high.tolist(), strict=True):
        [safe] = verify(clf, one[None], threat=ThreatModel(norm, (0.9 * proven,)))
        [unsafe] = verify(clf, one[None], threat=ThreatModel(norm, (1.1 * broken,)))
        assert (safe.verdict, unsafe.verdict) == (Verdict.CERTIFIED, Verdict.FALSIFIED)
        assert (unsafe.radius, unsafe.evidence.reason) == (None, "")
        assert unsafe.reason.startswith("an example at distance")


def test_a_time_limit_that_is_over_claims_nothing():
    clf, x = tiny("late", 4, 20, 20, 3), inputs("late", 3, 4)
    for certificate in verify(clf, x, threat=ThreatModel("l2", (0.01, 0.5)), timeout=1e-9, gap=GAP):
        assert certificate.verdict is Verdict.UNKNOWN
        assert certificate.evidence.proof == ""
        assert certificate.reason.startswith("time limit of 1e-09 s: no radius proven, and ")
        assert "\n" not in certificate.reason
    [certificate] = verify(clf, x[:1], threat=ThreatModel("l2", (0.01,)), timeout=1e-9)
    assert certificate.verdict is Verdict.UNKNOWN


def test_neither_workers_nor_company_change_an_answer():
    clf, x = tiny("order", 3, 8, 3), inputs("order", 3, 3)
    threat = ThreatModel("linf", (0.0, 0.5))
    first = verify(clf, x, threat=threat, gap=GAP)
    other = verify(clf, x.flip(0), threat=threat, gap=GAP, workers=2, index=[2, 1, 0])
    assert [one.to_dict() | {"seconds": 0} for one in first] == [
        one.to_dict() | {"seconds": 0} for one in reversed(other)
    ]


def test_a_network_that_never_changes_is_proven_as_far_as_is_tried():
    with torch.no_grad():
        net = nn.Linear(2, 2)
        net.weight.fill_(0.0)
        net.bias.copy_(torch.tensor([1.0, 0.0]))
    [certificate] = verify(Classifier(net.eval(), 2), [[0.5, 0.5]], threat=ThreatModel("linf", (0.1,)), gap=GAP)
    assert certificate.radius == 0.4
    assert certificate.evidence.falsified is None
    assert certificate.evidence.reason == "no larger radius was tried: proven up to 0.4000, and no example found"


def test_a_relu_network_that_never_changes_is_proven_beyond_what_one_bound_proves():
    clf, x = tiny("constant", 4, 12, 3), inputs("constant", 2, 4)
    clf.module[-1].bias[0] += 2.5
    clf, threat = Classifier(clf.module, 3), ThreatModel("linf", (0.3, 1.0), (0.0, 1.0))
    for one, certificate in zip(bound(clf, x, threat=threat), verify(clf, x, threat=threat, gap=0.05), strict=True):
        assert one.radius < 0.9
        assert (certificate.radius, certificate.evidence.falsified) == (1.0, None)
        assert certificate.evidence.reason.startswith("no larger radius was tried")


@pytest.mark.parametrize("gap", [None, 0.1])
@pytest.mark.parametrize("enough", [0.9, 1.1])
def test_a_radius_that_failed_is_tried_with_all_that_is_left_and_named(halves, monkeypatch, gap, enough):
    """``enough``: the part of the time that a wide region needs; nothing waits for it."""

    def decide(problem, deadline, **settings):
        wide = float((problem.region.box.upper - problem.region.box.lower).max()) > 0.4
        return Answer("timeout") if wide and deadline.seconds < 20 * enough else decided(problem, deadline, **settings)

    decided = radius_module.decide
    monkeypatch.setattr(radius_module, "decide", decide)
    threat = ThreatModel("linf", (0.05, 0.1, 0.15, 0.3, 0.35))
    [certificate] = verify(halves, [[0.9, 0.1]], threat=threat, gap=gap, timeout=20)
    if enough < 1:
        assert certificate.radius >= 0.35  # the true one is 0.4
        assert certificate.evidence.reason == ""
    else:
        assert 0.15 <= certificate.radius < 0.31
        assert re.match(
            r"radius 0\.[23]\d* given up after (20|1\d\.\d) s: (proven up to|between) 0\.", certificate.evidence.reason
        )


def test_both_ends_are_in_the_summary_without_an_attack(halves, tmp_path):
    x = [[0.9, 0.1], [0.6, 0.4], [0.5, 0.45], [0.1, 0.9]]
    threat, labels = ThreatModel("linf", (0.05, 0.2, 0.5)), np.array([0, 0, 0, 0])
    study = {"threat": threat, "certifier": "complete", "gap": 0.001, "timeout": 10.0, "seed": 0}
    result = evaluate(halves, (x, labels), out=tmp_path / "run", **study)
    rows = [(row.certified, row.empirical) for row in result.summary.rows]
    assert rows == [(0.5, 0.5), (0.25, 0.25), (0.0, 0.0)]  # true radii 0.4, 0.1, 0.025; one misclassified
    assert (result.summary.complete, result.summary.contradictions) == (True, ())
    assert "complete (claim=exact, timeout=10.0, gap=0.001)" in result.summary.table()
    again = evaluate(halves, (x, labels), out=tmp_path / "run", **study)  # nothing is left to do
    assert [one.to_dict() for one in again.certificates] == [one.to_dict() for one in result.certificates]
    assert summarize_run(tmp_path / "run").to_dict() == result.summary.to_dict()
    wrong = result.certificates[3]
    assert (wrong.verdict, wrong.finding.distance, wrong.finding.radius) == (Verdict.FALSIFIED, 0.0, 0.05)
    falsified = result.certificates[2]
    assert (falsified.verdict, falsified.finding.radius) == (Verdict.FALSIFIED, 0.05)
    assert halves.predict(torch.tensor(falsified.finding.x_adv)[None]).item() == 1


def test_an_example_inside_a_certified_radius_is_a_contradiction(halves):
    [certificate] = verify(halves, [[0.9, 0.1]], [0], threat=ThreatModel("linf", (0.1, 0.5)), gap=0.01)
    [nearer] = verify(halves, [[0.9, 0.1]], [0], threat=ThreatModel("linf", (0.5,)))
    assert not summarize([certificate]).contradictions
    further = replace(certificate, radius=0.45, evidence=replace(certificate.evidence, certified=0.45))
    [found] = summarize([further]).contradictions
    assert (found.method, found.attack) == ("complete", "complete")
    assert nearer.finding.distance <= 0.5


def test_certificates_survive_a_trip_through_json(halves):
    for certificate in verify(halves, [[0.9, 0.1], [0.5, 0.5]], threat=ANY, gap=0.01):
        assert Certificate.from_dict(certificate.to_dict()) == certificate
    tie = certificate
    assert (tie.verdict, tie.evidence.certified) == (Verdict.UNKNOWN, None)
    assert tie.reason.startswith("the margins at the input itself do not exceed their rounding errors")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"certified": None}, "a proof belongs to a proven radius"),
        ({"proof": ""}, "a proof belongs to a proven radius"),
        ({"example": None}, "an example has a distance"),
        ({"falsified": math.inf}, "finite and not below 0"),
        ({"claim": "half"}, "unknown claim"),
    ],
)
def test_evidence_that_contradicts_itself_is_refused(halves, changes, words):
    [certificate] = verify(halves, [[0.9, 0.1]], threat=ThreatModel("linf", (0.0, 0.5)), gap=0.1)
    with pytest.raises(BadInput, match=words):
        replace(certificate.evidence, **changes)
    with pytest.raises(BadInput, match="not the one that was proven"):
        replace(certificate, radius=certificate.radius * 1.01)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timeout": 0}, "time limit must be finite and above 0"),
        ({"timeout": math.inf}, "time limit must be finite and above 0"),
        ({"timeout": "soon"}, "timeout must be a number"),
        ({"gap": 0}, "between 0 and 1"),
        ({"gap": -0.1}, "between 0 and 1"),
        ({"gap": math.nan}, "between 0 and 1"),
        ({"claim": "half"}, "unknown claim"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"gap": 0.1, "decide": True}, "leave one of them out"),
        ({"decide": 1}, "decide must be true or false"),
        ({"gaps": 0.1}, "gaps"),
    ],
)
def test_settings_that_mean_nothing_are_refused_in_one_line(halves, settings, words):
    with pytest.raises(BadInput, match=words) as refused:
        evaluate(halves, ([[0.9, 0.1]], [0]), threat=ANY, certifier="complete", **settings)
    assert "\n" not in str(refused.value)


def test_what_cannot_be_certified_is_refused(halves):
    with pytest.raises(ModelError, match="smoothing"):
        verify(Classifier(lambda x: x, 2), [[0.1, 0.2]], threat=ANY)
    with pytest.raises(UnsupportedOperator, match="sort"):
        verify(Classifier(nn.Sequential(nn.Linear(2, 2), Sorted()).eval(), 2), [[0.1, 0.2]], threat=ANY)
    with pytest.raises(BadInput, match="expected a certify.ThreatModel, got a tuple"):
        verify(halves, [[0.1, 0.2]], threat=("linf", 0.1))
    with pytest.raises(BadInput, match="scale has 3 numbers"):
        verify(halves, [[0.1, 0.2]], threat=ThreatModel("linf", (0.1,), scale=(1.0, 1.0, 1.0)))


def test_it_says_what_it_does():
    assert certify.verify is verify
    certifier = CERTIFIERS["complete"](timeout=5, gap=0.02)
    assert certifier == Complete(timeout=5.0, gap=0.02)
    assert "at most 5 s per input, radii to 0.02 relative" in certifier.describe(ANY, (2,))
    assert certifier.settings() != replace(certifier, timeout=6.0).settings()
    assert certifier.settings() == replace(certifier, workers=2).settings()
    assert "declared radii only" in Complete(decide=True).describe(ANY, (2,))
