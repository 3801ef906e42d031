"""Attacks in threat models with a per-feature scale, beside bounds in the same: what is immutable never moves."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from certify.attacks.ball import project, steepest
from certify.attacks.base import Search
from certify.certifiers.attack import attack
from certify.certifiers.bounds import bound
from certify.certifiers.smooth import smooth
from certify.core.norms import DUAL, NORMS
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.study.evaluate import study_from
from certify.study.settings import Settings
from certify.summary.convert import converted
from certify.summary.summarize import summarize

ORD = {"l1": 1, "l2": 2, "linf": np.inf}
RADII = {"linf": (0.05, 0.4), "l2": (0.2, 2.0), "l1": (0.5, 8.0)}


def half_masked(shape=(2, 6, 6)):
    """Zero for every other feature, otherwise from 0.5 to 2."""
    scale = torch.linspace(0.5, 2.0, int(np.prod(shape)), dtype=torch.float64)
    scale[::2] = 0.0
    return scale.reshape(shape)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["pgd", "fgsm"])
def test_attacks_succeed_without_moving_what_is_immutable(image_clf, images, norm, name):
    x, y = images
    scale = half_masked()
    threat = ThreatModel(norm, RADII[norm], (-1.0, 1.0), scale=scale)
    findings = attack(image_clf, x, y, threat=threat, attack=name)
    broken = [found for found in findings[:-1] if found.succeeded]
    assert broken or (name, norm) == ("fgsm", "l1")  # one step in l1 moves too few features
    for found in broken:
        step = found.x_adv.astype(np.float64) - x[found.index].double().numpy()
        assert (step[scale.numpy() == 0] == 0).all()
        exact = np.linalg.norm((step / np.where(scale == 0, 1, scale)).ravel(), ord=ORD[norm])
        assert exact * (1 - 1e-14) <= found.distance <= found.radius
        assert threat.contains(x[found.index].numpy(), found.x_adv, found.radius)
        assert found.settings["scale"] == threat.named["scale"]


@pytest.mark.parametrize("norm", NORMS)
def test_attacks_and_bounds_of_a_linear_classifier_meet(linear, norm):
    """Both answer to the scaled dual norm: certified just below the exact radius, broken just above it."""
    generator = torch.Generator().manual_seed(8)
    weight, scale = torch.randn(2, 6, generator=generator), torch.tensor([1.0, 0.0, 0.5, 2.0, 0.0, 1.5])
    weight[:, [1, 4]] *= 100  # the immutable ones matter most
    x = torch.randn(5, 6, generator=generator)
    clf = linear(weight, torch.zeros(2))
    y = clf.predict(x)
    difference = (weight[0] - weight[1]).double()
    exact = (x.double() @ difference).abs() / torch.linalg.vector_norm(scale * difference, ord=ORD[DUAL[norm]])
    for one, label, reach in zip(x, y, exact.tolist(), strict=True):
        threat = ThreatModel(norm, (0.99 * reach, 1.02 * reach), scale=scale)
        [certificate] = bound(clf, one[None], label[None], threat=threat)
        [found] = attack(clf, one[None], label[None], threat=threat, steps=200)
        assert 0.99 * reach <= certificate.radius <= reach * (1 + 1e-9)
        assert "scaled " + norm in str(certificate)
        assert found.radius == threat.radii[1]
        assert summarize([certificate], [found]).contradictions == ()


def test_an_attack_that_ignores_the_scale_invents_nothing(image_clf, images, monkeypatch):
    x, y = images
    threat = ThreatModel("linf", (0.4,), (-1.0, 1.0), scale=half_masked())
    monkeypatch.setattr(Search, "project", lambda self, z, rows: z)
    monkeypatch.setattr(Search, "climb", lambda self, z, gradient, share, rows: z + gradient.sign() * 100)
    for found in attack(image_clf, x, y, threat=threat)[:-1]:
        assert not found.succeeded or threat.contains(x[found.index].numpy(), found.x_adv)


@pytest.mark.parametrize("norm", NORMS)
def test_whatever_goes_in_comes_out_inside_a_scaled_ball(norm):
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(40, 30, generator=generator)
    scale = torch.rand(30, generator=generator, dtype=torch.float64) * 10.0 ** torch.arange(-27, 3)
    scale[5] = 0.0
    inside = project(x, x + torch.randn(40, 30, generator=generator), 0.3, norm, (0.0, 1.0), scale)
    threat = ThreatModel(norm, (0.3,), (0.0, 1.0), scale=scale)
    assert all(threat.contains(a.numpy(), b.numpy()) for a, b in zip(x, inside, strict=True))
    assert (inside != x).any(dim=1).all()
    assert torch.equal(inside[:, 5], x[:, 5])


@pytest.mark.parametrize("norm", NORMS)
def test_steepest_reaches_the_scaled_dual_norm(norm):
    generator = torch.Generator().manual_seed(4)
    gradient = torch.randn(10, 40, generator=generator, dtype=torch.float64)
    scale = half_masked((40,))
    direction = steepest(gradient, norm, scale)
    assert (direction[:, scale == 0] == 0).all()
    gained = (direction * gradient).sum(dim=1).numpy()
    np.testing.assert_allclose(gained, np.linalg.norm(gradient * scale, ord=ORD[DUAL[norm]], axis=1))


def test_who_cannot_honour_a_scale_refuses_it(image_clf, images, monkeypatch):
    x, y = images
    threat = ThreatModel("l2", (0.1,), scale=half_masked())
    monkeypatch.setitem(sys.modules, "pyautoattack", sys)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    plain = replace(threat, scale=None)
    certified, scaled = (bound(image_clf, x[:2], y[:2], threat=t, method="ibp") for t in (plain, threat))
    calls = {
        "use pgd": lambda: attack(image_clf, x, y, threat=threat, attack="autoattack"),
        "use bounds, for example crown": lambda: smooth(image_clf, x, y, threat=threat, sigma=0.5),
        "certify in that one": lambda: converted(summarize(scaled), "linf"),
        "different l2 threats": lambda: summarize(certified, attack(image_clf, x[:2], y[:2], threat=threat)),
        "different threat models": lambda: summarize([certified[0], scaled[1]]),
        "has 2 numbers": lambda: attack(image_clf, x, y, threat=replace(threat, scale=(1.0, 0.0))),
        "2 numbers": lambda: bound(image_clf, x, y, threat=replace(threat, scale=(1.0, 0.0))),
    }
    for words, call in calls.items():
        with pytest.raises(BadInput, match=words) as refused:
            call()
        assert "\n" not in str(refused.value)


def test_a_study_takes_its_scale_from_a_file(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=generator.random((3, 100), dtype=np.float32), y=np.array([0, 1, 1]))
    np.save(tmp_path / "scale.npy", np.arange(100) % 2)
    net = nn.Linear(100, 2).eval().requires_grad_(False)
    clf = Classifier(net, num_classes=2, input_box=(0.0, 1.0))
    monkeypatch.setattr("certify.study.subject.load_model", lambda *_, **__: clf)
    keys = {"model": "net", "data": f"npz:{tmp_path / 'data.npz'}", "certifier": "ibp", "radii": "0,0.01"}
    made = study_from(Settings.of(keys | {"scale": str(tmp_path / "scale.npy")}))
    result = made.run(tmp_path / "run")
    assert result.summary.threat.scale == tuple(float(i % 2) for i in range(100))
    assert "50 of 100 features immutable" in result.summary.table()
    with pytest.raises(Exception, match="other settings.*threat.scale is .* there, None now") as refused:
        study_from(Settings.of(keys)).run(tmp_path / "run")
    assert len(str(refused.value)) < 500
