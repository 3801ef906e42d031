"""Smoothing over the strength of a transform: closed forms, planted lies, records; which transforms are additive."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import certify
from certify.checker.laws import LAWS
from certify.checker.replay import replay_claims
from certify.checker.result import Standing
from certify.core.rounding import one_in
from certify.core.threats.base import THREATS, threat_from
from certify.core.threats.transform import Transform
from certify.errors import BadInput
from certify.models.transformed import Transformed, behind, beside
from certify.smoothing.noise.base import NOISES, Noise, OfStrength
from certify.study.checking import check_run
from certify.study.evaluate import study_from
from certify.study.settings import Settings
from tests.certifiers.test_transforms import MEMBERS, images, made, shape_of

SIGMA = 0.3
ADDED = ("gaussian", "laplace", "uniform")
BRIGHT = certify.Brightness((0.0, 0.1), cut=False)


def light(x: torch.Tensor) -> torch.Tensor:
    """Class 1 where the mean is above 0.5: under brightness it turns at the distance of the mean from there."""
    return (x.double().flatten(1).mean(dim=1) > 0.5).long()


def seen() -> nn.Module:
    """The same as a network."""
    net = nn.Linear(3, 2).requires_grad_(False).eval()
    net.weight.copy_(torch.tensor([[-1.0] * 3, [1.0] * 3]))
    net.bias.copy_(torch.tensor([1.5, -1.5]))
    return net


@pytest.fixture
def clf() -> certify.Classifier:
    return certify.Classifier(light, num_classes=2)


def grey(*margins: float) -> np.ndarray:
    return np.repeat(0.5 + np.array(margins)[:, None], 3, axis=1).astype(np.float32)


def closed_forms() -> dict[str, tuple[certify.Classifier, Transform, np.ndarray, float]]:
    """Models whose smoothed answer turns at a known strength: threshold models, for each additive transform."""
    floor = certify.NoiseFloor((0.0, 0.1), cut=False)
    noise = torch.as_tensor(floor.constants((3,), None)["noise"]).double()
    along, bright = (certify.Classifier(net, num_classes=2) for net in (seen(), seen()))
    along.module.weight[:] = torch.stack([-noise, noise]).float()
    along.module.bias[:] = 0.5 * along.module.weight.sum(dim=1).neg()
    return {
        "brightness": (bright, BRIGHT, grey(0.2), 0.2),
        "noise-floor": (along, floor, (0.5 + 0.2 * noise.numpy())[None].astype(np.float32), 0.2),
        "gain": (bright, certify.Gain((0.0, 0.1)), grey(0.2), math.log(0.7 / 0.5)),
    }


@pytest.mark.parametrize("kind", closed_forms())
@pytest.mark.parametrize("noise", ADDED)
def test_the_radius_of_a_threshold_is_its_distance(kind, noise):
    """One number against a threshold is the worst case of every law, so the proven radius tends to the true one."""
    clf, threat, x, true = closed_forms()[kind]
    threat = threat.at((0.0, 0.9 * true, 1.1 * true))
    [one] = certify.smooth(clf, x, [1], threat=threat, sigma=SIGMA, noise=noise, n=20_000, schedule="fixed", seed=1)
    assert 0.85 * true < one.radius < true
    assert certify.check(one, clf, x)
    assert certify.check(one)


@pytest.mark.parametrize("noise", ADDED)
def test_a_certificate_is_false_as_seldom_as_alpha_says_and_a_lie_would_be_seen(noise):
    """With one look, a radius is above the true one with a probability of alpha at most; one of 1.5 times it is not."""
    alpha, true, n, count = 0.1, 0.15, 200, 400
    ends = certify.Classifier(light, num_classes=2)
    x = grey(true) + np.linspace(-0.2, 0.2, count)[:, None] * np.array(
        [[1, -1, 0]]
    )  # of one mean, with noise of their own
    settings = {"threat": certify.Brightness((0.0,), cut=False), "noise": noise, "n": n, "schedule": "fixed"}
    made = certify.smooth(ends, x.astype(np.float32), [1] * count, sigma=SIGMA, alpha=alpha, **settings)
    false = sum((one.radius or 0.0) > true + 1e-6 for one in made)
    assert stats.binom(count, alpha).sf(false - 1) > 1e-6
    lies = sum(1.5 * (one.radius or 0.0) > true for one in made)
    assert stats.binom(count, alpha).sf(lies - 1) < 1e-6


def test_noise_is_about_the_strength_and_nothing_else():
    law = NOISES["gaussian"](0.5).about(BRIGHT, (5,))
    assert isinstance(law, OfStrength)
    assert law.about(BRIGHT, (5,)) is law
    drawn = law.sample((4000, 5), torch.Generator().manual_seed(0))
    assert torch.equal(law.sample((4000, 5), torch.Generator().manual_seed(0), torch.ones(4000, 5)), drawn)
    assert not drawn[:, :4].any()
    assert stats.kstest(drawn[:, 4].numpy() / 0.5, "norm").pvalue > 1e-4
    assert law.radius(0.1, 0.1, "brightness") == NOISES["gaussian"](0.5).radius(0.1, 0.1, "l2")
    assert law.settings() == {"noise": "gaussian", "sigma": 0.5}
    assert NOISES["gaussian"](0.5).about(certify.ThreatModel("l2", (0.1,)), (5,)) == NOISES["gaussian"](0.5)


def everything_behind(threat: Transform, shape: tuple[int, ...]) -> Transformed:
    return Transformed(nn.Identity(), threat, shape, certify.Classifier(light, num_classes=2).input_box).double()


def uncut(name: str) -> Transform:
    return made(name, 0.3, **{"cut": False} if "cut" in THREATS[name].__dataclass_fields__ else {})


@pytest.mark.parametrize("name", MEMBERS)
def test_what_is_called_additive_is_and_what_is_not_has_a_reason(name):
    threat, shape = uncut(name), shape_of(name)
    assert THREATS[name].additive == (threat.unadditive == "")
    assert bool(made(name).unadditive) == (name != "gain")
    count = len(threat.parameters)
    twice, x = everything_behind(threat, shape), images(4, 2, shape).double()

    def at(x: torch.Tensor, strength: float) -> torch.Tensor:
        return twice(torch.cat([x.flatten(1), torch.full((len(x), count), strength, dtype=x.dtype)], dim=1))

    apart = (at(at(x, 0.11), 0.17) - at(x, 0.28)).abs().max()
    back = (at(at(x, 0.11), -0.11) - x).abs().max()
    if threat.unadditive:
        assert max(apart, back) > 1e-4
    else:
        assert max(apart, back) < 1e-12


@pytest.mark.parametrize("name", [name for name in MEMBERS if name != "gain"])
def test_what_is_not_additive_is_refused_with_the_reason(name, clf):
    x = images(0, 1, shape_of(name))
    for call in (
        lambda: certify.smooth(clf, x, threat=made(name), sigma=SIGMA),
        lambda: certify.predict(clf, x, threat=made(name), sigma=SIGMA),
        lambda: certify.evaluate(clf, (x, [0]), threat=made(name), certifier=certify.Smoothing(sigma=SIGMA)),
    ):
        with pytest.raises(BadInput) as refused:
            call()
        assert made(name).unadditive in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"noise": "gaussian-grid", "sigma": SIGMA}, "inputs on a grid, and strengths lie on none"),
        ({"noise": "ablation", "retention": 1}, "no radius theorem in brightness"),
        ({"sigma": SIGMA, "threat": certify.Brightness((2.0,), cut=False), "n": 1000}, "radius 2"),
        ({}, "sigma must be a number"),
    ],
)
def test_noise_that_says_nothing_of_strengths_is_refused(clf, settings, said):
    with pytest.raises(BadInput, match=said):
        certify.smooth(clf, grey(0.2), **{"threat": BRIGHT} | settings)


def test_two_additive_strengths_would_need_another_theorem(monkeypatch):
    monkeypatch.setattr(certify.Brightness, "parameters", certify.Brightness.parameters * 2)
    with pytest.raises(BadInput, match="about one strength, a brightness has 2"):
        NOISES["gaussian"](0.5).about(BRIGHT)


def test_an_answer_is_asked_for_at_the_input_as_it_is(clf):
    """The smoothed model knows no strength: it answers about the brighter input, which may leave the box."""
    assert certify.predict(clf, grey(0.2, 0.45) + np.float32(0.1), threat=BRIGHT, sigma=SIGMA) == [1, 1]
    assert certify.predict(clf, grey(0.2) - np.float32(0.4), threat=BRIGHT, sigma=SIGMA) == [0]
    assert certify.predict(clf, grey(0.3), threat=certify.Gain((0.0,)), sigma=SIGMA) == [1]


@pytest.mark.parametrize("kind", closed_forms())
def test_attacks_break_the_smoothed_model_beyond_its_radius_and_nowhere_else(kind):
    clf, threat, x, true = closed_forms()[kind]
    threat = threat.at((0.0, 0.5 * true, 1.5 * true))
    result = certify.evaluate(
        clf,
        (x, [1]),
        threat=threat,
        certifier=certify.Smoothing(sigma=SIGMA, n=2000),
        attack="grid",
        attack_option={"points": 7, "steps": 1},
    )
    [found] = [one for one in result.findings if one.succeeded]
    assert found.distance > true
    assert result.certificates[0].radius < true
    assert not result.summary.contradictions
    assert "smoothed" in result.summary.table().lower()


def test_a_record_is_replayed_and_what_is_forged_in_it_is_refuted(clf):
    x = grey(0.2)
    [one] = certify.smooth(clf, x, [1], threat=BRIGHT, sigma=SIGMA, n=2000, seed=3)
    there, posed = behind(clf, BRIGHT, (3,)), beside(torch.from_numpy(x), BRIGHT)[0]
    replayed = replay_claims(one, there, posed, blocks=[0, 1], level=1e-6, seed=1)
    assert {claim.standing for claim in replayed} == {Standing.CONFIRMED}
    assert threat_from(one.threat.to_dict()) == BRIGHT
    evidence = partial(replace, one.evidence)
    forged = {
        "radius": {"radius": one.radius + 0.01},
        "cut": {"threat": certify.Brightness((0.0, 0.1))},
        "gain": {"threat": certify.Gain((0.0, 0.1))},
        "sigma": {"evidence": evidence(sigma=2 * SIGMA)},
        "grid": {"evidence": evidence(noise="gaussian-grid")},
        "dimensions": {"evidence": evidence(dimensions=3)},
        "assumption": {"evidence": evidence(assumption=NOISES["gaussian"].assumption)},
        "slack": {"evidence": evidence(slack=1e-9)},
    }
    for name, changes in forged.items():
        assert not certify.check(replace(one, **changes), clf, x), name
    for name in ("radius", "cut", "sigma", "grid", "assumption", "slack"):  # follow without the model
        assert not certify.check(replace(one, **forged[name])), name
    assert not certify.check(replace(one, threat=certify.Rotation((0.0, 0.1))))
    [ball] = certify.smooth(clf, x, [1], threat=certify.ThreatModel("l2", (0.0,)), sigma=SIGMA, n=2000)
    assert not certify.check(replace(ball, threat=BRIGHT), clf, x)


@pytest.mark.parametrize("noise", ADDED)
def test_the_top_k_reach_as_far_about_a_strength_as_the_law_says(noise):
    """Five shades of grey, a tenth wide each: the radius that the checker derives is the one that is claimed."""
    shades = certify.Classifier(lambda z: (z.mean(1) * 10).floor().clamp(0, 4).long(), num_classes=5)
    top = certify.TopK(2)
    [one] = certify.smooth(
        shades, [[0.25] * 3], [2], threat=BRIGHT.at((0.0,)), property=top, sigma=0.04, noise=noise, n=2000
    )
    law = NOISES[noise](0.04)
    assert one.radius == law.radius_above(one.evidence.q_upper, one_in(3), law.norms[0]) > 0
    assert [str(claim) for claim in certify.check(one).refuted] == []


def test_a_run_is_confirmed_and_its_noise_drawn_again(tmp_path):
    data = tmp_path / "data.npz"
    np.savez(data, x=grey(0.2, -0.1, 0.3), y=np.array([1, 0, 0]))
    asked = {"model": f"{__name__}:seen", "data": f"npz:{data}", "threat": "brightness"}
    asked |= {"radii": "0,0.1", "certifier": "smoothing", "sigma": SIGMA, "n": 1000, "option": {"cut": False}}
    asked |= {"attack": "grid", "attack_option": {"points": 5, "steps": 1}}
    study_from(Settings.of(asked)).run(tmp_path / "run")
    found = check_run(tmp_path / "run", replay=2, model=asked["model"])
    assert [*map(str, found.refuted)] == []
    assert {one.claim for one in found.open} <= {"attack failed"}


def test_laws_that_add_are_those_whose_noise_the_checker_knows_about_strengths():
    added = {name for name, law in LAWS.items() if law.added}
    assert added == {*ADDED}
    for name in added:
        assert isinstance(law := NOISES[name](0.5), Noise)
        assert law.about(BRIGHT).assumption in LAWS[name].trusted(BRIGHT)
