"""What every registered attack promises, and what each refuses."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys

import numpy as np
import pytest
import torch

from certify.attacks.base import ATTACKS
from certify.attacks.pgd import LOSSES, _margin_and_slope
from certify.certifiers.attack import attack
from certify.core.norms import NORMS
from certify.core.properties.top_k import TopK
from certify.core.properties.within import Within
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput, CertifyError, MissingExtra, ModelError
from certify.models.classifier import Classifier
from certify.models.regressor import Regressor
from certify.registry import Written, make

EXAMPLES = {
    "fgsm": {"loss": "margin"},
    "pgd": {"steps": 10, "restarts": 2},
    "beam": {"steps": 3, "tries": 8},
    "autoattack": {"version": "custom", "attacks": ("apgd-ce",)},
    "grid": {"points": 10},
    "hopskipjump": {"steps": 5, "evaluations": 40, "starts": 20},
    "patch-pgd": {"steps": 5, "places": 2},
    "random-search": {"queries": 200},
    "sparse-rs": {"queries": 100},
}
"""Cheap settings of each member with which it breaks an undefended toy model. A new attack adds a line here."""

BALLS = sorted(name for name, one in ATTACKS.items() if one.knows("l2"))
"""Attacks in balls; of the others, test_patches.py, certifiers/test_transforms.py and test_erasing.py have tests."""

EASY = {"l1": (1.0, 8.0), "l2": (0.1, 1.5), "linf": (0.02, 0.3)}


def test_every_attack_has_an_example():
    assert set(ATTACKS) == set(EXAMPLES)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", BALLS)
def test_every_attack_respects_the_threat_model_and_finds_something(name, norm, image_clf, images):
    threat = ThreatModel(norm, EASY[norm], image_clf.input_box)
    x, y = images
    global_state = torch.get_rng_state()
    found = attack(image_clf, x[2:], y[2:], threat=threat, attack=name, seed=3, index=range(2, 7), **EXAMPLES[name])
    assert torch.equal(global_state, torch.get_rng_state())
    assert [f.index for f in found] == [2, 3, 4, 5, 6]
    assert found[-1].distance == 0.0
    assert any(f.succeeded for f in found[:-1])
    for f in [one for one in found if one.succeeded]:
        original = x[f.index].numpy()
        assert f.radius in threat.radii
        assert f.distance <= f.radius
        assert threat.contains(original, f.x_adv, f.radius)
        assert int(image_clf.predict(torch.from_numpy(f.x_adv)[None])) == f.adversarial_prediction != f.label
        assert f.attack == name


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_settings_are_json_and_rebuild_the_attack(name):
    member = make(ATTACKS, name, EXAMPLES[name])
    assert make(ATTACKS, name, json.loads(json.dumps(member.settings()))) == member
    assert member.name == name


@pytest.mark.parametrize("name", BALLS)
def test_a_function_is_attacked_without_gradients_or_refused_in_one_line(name, image_clf, images):
    function = Classifier(image_clf.predict, num_classes=4, input_box=(-1.0, 1.0))
    try:
        found = attack(function, *images, threat=ThreatModel("linf", EASY["linf"]), attack=name, **EXAMPLES[name])
    except ModelError as refusal:
        assert "needs gradients" in str(refusal)
        assert "hopskipjump" in str(refusal)
        assert "\n" not in str(refusal)
    else:
        assert any(one.succeeded for one in found)


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_attacks_by_gradients_refuse_functions(name, image_clf, images):
    function = Classifier(image_clf.predict, num_classes=4, input_box=(-1.0, 1.0))
    with pytest.raises(ModelError, match="needs gradients"):
        attack(function, *images, threat=ThreatModel("linf", (0.1,)), attack=name)


def test_a_walk_along_the_boundary_needs_classes_alone_and_ends_near_the_true_distance(linear):
    """Two features, the larger one wins: [0.9, 0.5] is 0.2 (linf) or 0.283 (l2) from the other class."""
    labels = linear(torch.eye(2), torch.zeros(2)).predict
    x, y = [[0.9, 0.5], [0.1, 0.7]], [0, 1]
    for box, weight in (((0.0, 1.0), None), (None, None), ((0.0, 1.0), [2.0, 2.0])):
        clf = Classifier(labels, num_classes=2, input_box=box)
        for norm, true in (("linf", 0.2), ("l2", 0.08**0.5)):
            radii = tuple(factor * true / (2.0 if weight else 1.0) for factor in (0.98, 1.05))
            found = attack(clf, x[:1], y[:1], threat=ThreatModel(norm, radii, scale=weight), attack="hopskipjump")
            assert found[0].radius == radii[1]
    frozen = ThreatModel("linf", (0.5,), scale=[1.0, 0.0])
    [found, other] = attack(clf, x, y, threat=frozen, attack="hopskipjump")
    assert found.x_adv[1] == np.float32(0.5)
    assert not other.succeeded  # the first feature alone would have to move by 0.6


def test_findings_of_a_walk_do_not_depend_on_the_batch_or_on_anybodys_generator(image_clf, images, normal):
    x, y = images[0][:3], images[1][:3]
    settings = {"threat": ThreatModel("l2", (0.3, 1.0)), "attack": "hopskipjump", **EXAMPLES["hopskipjump"]}
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    together = attack(image_clf, x, y, **settings)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    for row, one in enumerate(together):
        [alone] = attack(image_clf, x[row : row + 1], y[row : row + 1], **settings)
        np.testing.assert_array_equal(alone.x_adv, one.x_adv)
    function = Classifier(image_clf.predict, num_classes=4, input_box=(-1.0, 1.0))
    smoothed = attack(function, x[:1], y[:1], noise=normal(0.1), draws=8, n=200, **settings)
    assert smoothed[0].p_label_upper is None or smoothed[0].succeeded


@pytest.mark.parametrize(("norm", "true"), [("linf", 0.1), ("l2", 0.1 * 5**0.5), ("l1", 0.5)])
def test_a_random_search_breaks_answers_of_functions_that_are_no_classes(norm, true):
    """The sum of five features falls by 0.5 where each falls by 0.1."""
    function = Regressor(lambda x: x.sum(dim=1, keepdim=True), input_box=(0.0, 1.0))
    settings = {"property": Within(0.5), "attack": "random-search"}
    near, far = 0.98 * true, 1.1 * true
    [found] = attack(function, [[0.5] * 5], [2.5], threat=ThreatModel(norm, (near, far)), **settings)
    assert found.radius == far
    ranks = Classifier(lambda x: torch.stack([x[:, 0], x[:, 1] + 0.2, x[:, 1] + 0.3], dim=1), num_classes=3)
    asked = {"property": TopK(2), "attack": "random-search"}
    [found] = attack(ranks, [[1.0, 0.5]], [0], threat=ThreatModel("linf", (0.14, 0.18)), **asked)
    assert found.radius == 0.18


def test_a_random_search_does_not_depend_on_the_batch(image_clf, images, normal):
    function = Classifier(image_clf.scores, num_classes=4, input_box=(-1.0, 1.0))
    x, y = images[0][:3], images[1][:3]
    settings = {"threat": ThreatModel("l2", (0.3, 1.0)), "attack": "random-search", **EXAMPLES["random-search"]}
    together = attack(function, x, y, **settings)
    for row, one in enumerate(together):
        [alone] = attack(function, x[row : row + 1], y[row : row + 1], **settings)
        np.testing.assert_array_equal(alone.x_adv, one.x_adv)
    smoothed = attack(function, x[:1], y[:1], noise=normal(0.1), draws=8, n=200, **settings)
    assert smoothed[0].p_label_upper is None or smoothed[0].succeeded


def test_square_attacks_a_function(image_clf, images):
    function = Classifier(image_clf.scores, num_classes=4, input_box=(-1.0, 1.0))
    threat = ThreatModel("linf", (0.5,))
    settings = {"attack": "autoattack", "version": "custom", "attacks": ("square",)}
    [found] = attack(function, images[0][:1], images[1][:1], threat=threat, **settings)
    assert found.succeeded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_slope_of_a_margin_is_the_one_that_is_recorded(dtype):
    scores = torch.randn(50, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    scores[10:30] = scores[10:30].round()  # many ties
    scores[30] = 0.0
    scores[31, 2], scores[32, 0] = torch.nan, torch.inf
    labels = torch.arange(50) % 5
    leaf = scores.clone().requires_grad_()
    margins = LOSSES["margin"](leaf, labels)
    (recorded,) = torch.autograd.grad(margins.sum(), leaf)
    found, slope = _margin_and_slope(scores, labels[:, None])
    torch.testing.assert_close(found, margins.detach(), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(slope, recorded, rtol=0, atol=0, equal_nan=True)


def test_pgd_is_stronger_than_fgsm(image_clf, images):
    x, y = images[0][:6], images[1][:6]
    radii = tuple(np.linspace(0.01, 0.3, 30))
    threat = ThreatModel("linf", radii)
    fgsm, pgd = (attack(image_clf, x, y, threat=threat, attack=name) for name in ("fgsm", "pgd"))
    assert all(p.radius <= f.radius for p, f in zip(pgd, fgsm, strict=True) if f.succeeded)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("pdg", {}, "unknown attack 'pdg'; did you mean 'pgd'?"),
        ("pgd", {"restart": 3}, "'pgd' has no setting 'restart'; did you mean 'restarts'?"),
        ("pgd", {"steps": 0}, "pgd's steps must be a whole number of at least 1, got 0"),
        ("pgd", {"steps": "10"}, "pgd's steps must be a whole number"),
        ("pgd", {"step_scale": float("nan")}, "step_scale must be a positive number"),
        ("pgd", {"loss": "margins"}, "unknown loss 'margins'; did you mean 'margin'?"),
        ("fgsm", {"loss": "cw"}, "unknown loss 'cw'"),
        ("fgsm", {"steps": 3}, "'fgsm' has no setting 'steps'"),
        ("hopskipjump", {"steps": 0}, "hopskipjump's steps must be at least 1, got 0"),
        ("hopskipjump", {"starts": 2.5}, "hopskipjump's starts must be a whole number, got 2.5"),
        ("random-search", {"queries": 0}, "random-search's queries must be at least 1, got 0"),
        ("autoattack", {"version": "standart"}, "did you mean 'standard'?"),
        ("autoattack", {"attacks": ("square",)}, "with version='custom', and only with it"),
        ("autoattack", {"version": "custom", "attacks": ("squares",)}, "did you mean 'square'?"),
    ],
)
def test_wrong_settings_are_named(name, settings, message):
    with pytest.raises(BadInput) as refusal:
        make(ATTACKS, name, settings)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_parts_of_a_custom_version_are_read_from_a_command_line():
    told = {"version": Written("custom"), "attacks": Written("apgd-ce, square")}
    assert make(ATTACKS, "autoattack", told).attacks == ("apgd-ce", "square")


def test_autoattack_refuses_what_it_cannot_do(linear, image_clf, images, normal, monkeypatch):
    threat = ThreatModel("linf", (0.1,))
    three = linear(torch.eye(3), torch.zeros(3), (0.0, 1.0))
    unbounded = linear(torch.eye(4), torch.zeros(4), None)
    refusals = [
        ("apgd-t needs at least 4 classes", three, [[0.1, 0.2, 0.3]], [2], {}),
        ("needs an input box", unbounded, [[0.1, 0.2, 0.3, 0.4]], [3], {}),
        ("a smoothed one needs version='rand'", image_clf, *images, {"noise": normal(0.1)}),
        ("square needs images", three, [[0.1, 0.2, 0.3]], [2], {"version": "custom", "attacks": ("square",)}),
    ]
    for message, clf, x, y, settings in refusals:
        with pytest.raises(CertifyError) as refusal:
            attack(clf, x, y, threat=threat, attack="autoattack", **settings)
        assert message in str(refusal.value)
        assert "\n" not in str(refusal.value)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, extra in (("autoattack", "autoattack"), ("hopskipjump", "blackbox")):
        with pytest.raises(MissingExtra, match=rf"pip install 'certify\[{extra}\]'"):
            attack(image_clf, *images, threat=threat, attack=name)


def test_autoattack_is_quiet_and_leaves_no_trace(image_clf, images, caplog, capfd):
    def hook(frame, event, argument):
        return None

    logger, previous = logging.getLogger("auto-attack"), sys.gettrace()
    sys.settrace(hook)
    try:
        settings = {"attack": "autoattack", "version": "custom", "attacks": ("apgd-ce", "fab", "fab-t")}
        with caplog.at_level(logging.DEBUG):
            attack(image_clf, images[0][:2], images[1][:2], threat=ThreatModel("l2", (0.4,)), **settings)
        assert sys.gettrace() is hook
    finally:
        sys.settrace(previous)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert not logger.disabled


def test_autoattack_findings_do_not_depend_on_the_batch(image_clf, images):
    x, y = images[0][:3], images[1][:3]
    settings = {"attack": "autoattack", "version": "custom", "attacks": ("apgd-ce",), "seed": 5}
    threat = ThreatModel("linf", (0.05, 0.3))
    together = attack(image_clf, x, y, threat=threat, **settings)
    for row, one in enumerate(together):
        [alone] = attack(image_clf, x[row : row + 1], y[row : row + 1], threat=threat, **settings)
        assert alone.radius == one.radius
        np.testing.assert_array_equal(alone.x_adv, one.x_adv)


def test_autoattack_takes_flat_and_sequence_inputs(linear):
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    flat = linear(weight, torch.zeros(4), (0.0, 1.0))
    sequence = Classifier(torch.nn.Sequential(torch.nn.Flatten(), flat.module).eval(), num_classes=4)
    x = torch.full((1, 6), 0.5)
    y = flat.predict(x)
    settings = {"attack": "autoattack", "version": "custom", "attacks": ("apgd-t", "fab-t")}
    for clf, shaped in ((flat, x), (sequence, x.reshape(1, 2, 3))):
        [found] = attack(clf, shaped, y, threat=ThreatModel("linf", (0.5,)), **settings)
        assert found.succeeded
        assert found.x_adv.shape == shaped.shape[1:]
