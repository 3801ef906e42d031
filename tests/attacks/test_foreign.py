"""Attacks of other libraries: found examples are examined like ours, settings are recorded, and no trace is left."""

from __future__ import annotations

import json
import pickle
import random
import sys

import cloudpickle
import numpy as np
import pytest
import torch

from certify.attacks.base import ATTACKS
from certify.attacks.function import attack_of
from certify.certifiers.attack import attack
from certify.core.finding import Finding
from certify.core.properties.within import Within
from certify.core.threats.features import Features
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput, CertifyError, MissingExtra, ModelError
from certify.models.classifier import Classifier
from certify.models.regressor import Regressor
from certify.registry import Written
from certify.report.references import cited_for
from certify.study.evaluate import evaluate

LIBRARIES = {
    "art:ProjectedGradientDescent": {"max_iter": 5},
    "art:FastGradientMethod": {},
    "foolbox:LinfPGD": {"steps": 5},
    "foolbox:LinfFastGradientAttack": {"random_start": False},
}
"""One class of each kind, with cheap settings."""

LINF = ThreatModel("linf", (0.02, 0.3))


def fast_gradient_method(model_fn, x, eps, norm, clip_min=None, clip_max=None, y=None, targeted=False):
    """A stand-in with the arguments of CleverHans: one step along the sign of the slope of the loss."""
    assert norm == np.inf
    x = x.detach().clone().requires_grad_()
    torch.nn.functional.cross_entropy(model_fn(x), y).backward()
    return (x + eps * x.grad.sign()).clamp(clip_min, clip_max)


def basic_iterative_method(model_fn, x, eps, eps_iter, nb_iter, norm, y=None):
    """Steps of the same."""
    assert eps_iter == eps / 4
    start = x
    for _ in range(nb_iter):
        moved = fast_gradient_method(model_fn, x, eps_iter, norm, -1.0, 1.0, y)
        x = start + (moved - start).clamp(-eps, eps)
    return x


def noise(model_fn, x, eps, scale=1.0):
    """Draws from all three generators that libraries draw from, and tells the world."""
    print("looking for examples")  # noqa: T201
    drawn = torch.rand(x.shape) + float(np.random.rand()) + random.random()  # noqa: NPY002
    return x + eps * (drawn / 1.5 - 1.0).sign() * scale


def liar(model_fn, x, eps):
    """Leaves the ball and the box."""
    return torch.full_like(x, 50.0)


def nowhere(model_fn, x, eps):
    """Is no point at all."""
    return torch.full_like(x, torch.nan)


def silent(model_fn, x, eps):
    """Returns nothing."""


def broken(model_fn, x):
    """Raises what no library should."""
    raise KeyError("first\nsecond")


def thin(model_fn, x):
    """Returns no dense tensor."""
    return (x + 0.1).to_sparse()


def relabel(model_fn, x, y):
    """Writes into what it was given."""
    y.add_(1)
    x.zero_()
    return x


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_a_library_finds_is_examined_like_ours(name, image_clf, images):
    x, y = images
    found = attack(image_clf, x[2:5], y[2:5], threat=LINF, attack=name, seed=3, **LIBRARIES[name])
    assert any(one.succeeded for one in found)
    for row, one in enumerate(found):
        assert (one.attack, one.settings["options"]) == (name, LIBRARIES[name])
        assert one.settings["library"].split()[0] in ("adversarial-robustness-toolbox", "foolbox")
        assert Finding.from_dict(json.loads(json.dumps(one.to_dict()))).settings == one.settings
        if one.succeeded:
            assert LINF.contains(x[2 + row].numpy(), one.x_adv, one.radius)
            assert int(image_clf.predict(torch.from_numpy(one.x_adv)[None])) == one.adversarial_prediction != one.label


@pytest.mark.parametrize("name", ["art:ProjectedGradientDescent", "foolbox:LinfPGD", noise])
def test_findings_do_not_depend_on_the_batch_and_leave_no_trace(name, image_clf, images, capfd):
    x, y = images[0][2:4], images[1][2:4]
    settings = {"threat": LINF, "attack": name, **LIBRARIES.get(name if isinstance(name, str) else "", {})}
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    together = attack(image_clf, x, y, **settings)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]
    assert not capfd.readouterr().out
    random.seed(5)
    for row, one in enumerate(together):
        [alone] = attack(image_clf, x[row : row + 1], y[row : row + 1], **settings)
        assert alone.radius == one.radius
        np.testing.assert_array_equal(alone.x_adv, one.x_adv)


def test_functions_in_the_manner_of_cleverhans_get_what_they_ask_for(image_clf, images):
    x, y = images[0][2:5], images[1][2:5]
    for function, settings in ((fast_gradient_method, {}), (basic_iterative_method, {"nb_iter": 4})):
        found = attack(image_clf, x, y, threat=LINF, attack=function, **settings)
        assert any(one.succeeded for one in found)
        assert found[0].attack == f"{__name__}:{function.__name__}"
        assert found[0].settings["options"] == settings


def test_a_function_that_leaves_ball_and_box_invents_nothing(image_clf, images):
    x, y = images[0][2:4], images[1][2:4]
    found = attack(image_clf, x, y, threat=ThreatModel("linf", (1e-6,)), attack=liar)
    assert not any(one.succeeded for one in found)
    assert not any(one.succeeded for one in attack(image_clf, x, y, threat=LINF, attack=nowhere))
    for one, original in zip(attack(image_clf, x, y, threat=LINF, attack=liar), x, strict=True):
        assert not one.succeeded or LINF.contains(original.numpy(), one.x_adv, one.radius)


def test_a_function_may_write_into_what_it_is_given(image_clf, images):
    x, y = images[0][2:4], images[1][2:4]
    for one, label in zip(attack(image_clf, x, y, threat=LINF, attack=relabel), y.tolist(), strict=True):
        assert one.label == label
        assert not one.succeeded or one.adversarial_prediction != label


def test_a_named_function_is_found_in_the_current_folder(image_clf, images, tmp_path, monkeypatch):
    (tmp_path / "mine_for_this_test.py").write_text(
        "def walk(model_fn, x, eps, clip_min=None, clip_max=None, steps=1):\n"
        "    return x + (eps if clip_max is not None else 0.0) * (steps == 3)\n"
    )
    monkeypatch.chdir(tmp_path)
    name = "mine_for_this_test:walk"
    [one] = attack(image_clf, images[0][2:3], images[1][2:3], threat=LINF, attack=name, steps=3)
    assert (one.attack, one.settings["options"]) == (name, {"steps": 3})
    assert attack_of(name, {"steps": 3}) == attack_of(name, {"steps": 3})
    sys.modules.pop("mine_for_this_test")


def test_a_scale_stretches_the_space_and_immutable_features_stay(linear):
    """Two features, the larger one wins: only the second may move, and it takes twice the step."""
    clf = linear(torch.eye(2), torch.zeros(2), (0.0, 1.0))
    scaled = ThreatModel("linf", (0.1, 0.25), scale=[0.0, 2.0])
    for name in ("foolbox:LinfPGD", "art:ProjectedGradientDescent", fast_gradient_method):
        [found] = attack(clf, [[0.9, 0.5]], [0], threat=scaled, attack=name)
        assert found.radius == 0.25
        assert found.x_adv[0] == np.float32(0.9)


def test_a_walk_that_asks_for_classes_attacks_functions(linear):
    clf = Classifier(linear(torch.eye(2), torch.zeros(2)).predict, num_classes=2, input_box=(0.0, 1.0))
    settings = {"threat": ThreatModel("l2", (0.5,)), "attack": "foolbox:BoundaryAttack", "steps": 200}
    [found] = attack(clf, [[0.6, 0.5]], [0], **settings)
    assert found.succeeded
    nowhere = Classifier(lambda x: torch.zeros(len(x), dtype=torch.long), num_classes=2, input_box=(0.0, 1.0))
    assert not attack(nowhere, [[0.6, 0.5]], [0], **settings)[0].succeeded  # no first example: nothing was found


def test_smoothed_models_are_attacked_too(image_clf, images, normal):
    settings = {"noise": normal(0.1), "draws": 4, "n": 100, "attack": "foolbox:L2PGD", "steps": 3}
    [found] = attack(image_clf, images[0][:1], images[1][:1], threat=ThreatModel("l2", (1.0,)), **settings)
    assert found.settings["sigma"] == 0.1
    assert found.settings["options"] == {"steps": 3}
    assert found.p_label_upper is None or found.succeeded


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("art:ProjectedGradientDecent", {}, "did you mean 'ProjectedGradientDescent'?"),
        ("art:ProjectedGradientDescent", {"eps": 0.1}, "has no setting 'eps'"),
        ("art:ProjectedGradientDescent", {"max_iter": -3}, "art:ProjectedGradientDescent refuses these settings"),
        ("art:DeepFool", {"epsilon": object()}, "must be a number, text, true, false or a list of these"),
        ("foolbox:LinfPgd", {}, "did you mean 'LinfPGD'?"),
        ("foolbox:L2PGD", {}, "foolbox:L2PGD searches in l2, and the threat is in linf"),
        ("foolbox:LinfPGD", {"step": 3}, "has no setting 'step'; did you mean 'steps'?"),
        ("foolbox:VirtualAdversarialAttack", {}, "needs steps: give it a value"),
        ("nowhere_at_all:walk", {}, "no module 'nowhere_at_all'"),
        ("os:getpid", {}, "it must take a model and inputs first"),
        ("pgd:fast", {}, "no module 'pgd'"),
        ("art:", {}, "unknown attack 'art:'"),
        (basic_iterative_method, {}, "needs nb_iter: give it a value"),
        (fast_gradient_method, {"eps": 0.1}, "has no setting 'eps'"),
        (silent, {}, "returned NoneType for an input of shape (1, "),
        (broken, {}, ":broken raised KeyError: 'first"),
        (thin, {}, ":thin returned a torch.sparse_coo tensor"),
        ("foolbox:GenAttack", {}, "foolbox:GenAttack raised ValueError: unsupported criterion"),
        ("foolbox:LinfPGD", {"steps": "many"}, "foolbox:LinfPGD raised TypeError"),
        (7, {}, "an attack is a name or a function"),
    ],
)
def test_what_cannot_be_right_is_one_line(name, settings, message, image_clf, images):
    with pytest.raises(CertifyError) as refusal:
        attack(image_clf, images[0][2:3], images[1][2:3], threat=LINF, attack=name, **settings)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_attacks_that_follow_gradients_refuse_functions(image_clf, images):
    function = Classifier(image_clf.predict, num_classes=4, input_box=(-1.0, 1.0))
    for name in ("art:ProjectedGradientDescent", "foolbox:LinfPGD", fast_gradient_method):
        with pytest.raises(ModelError, match="gradients"):
            attack(function, images[0][2:3], images[1][2:3], threat=LINF, attack=name)


def test_other_threats_and_properties_are_refused(image_clf, images):
    with pytest.raises(BadInput, match="in balls of the three norms only"):
        attack(image_clf, images[0][:1], images[1][:1], threat=Features((1,)), attack="foolbox:LinfPGD")
    numbers = Regressor(torch.nn.Linear(2, 1).eval())
    with pytest.raises(BadInput, match="looks for another top class"):
        attack(numbers, [[0.1, 0.2]], [0.0], threat=LINF, property=Within(0.5), attack="art:DeepFool")


def test_a_missing_library_is_named_with_its_extra(image_clf, images, monkeypatch):
    for name, module, extra in (
        ("art:DeepFool", "art.attacks.evasion", "blackbox"),
        ("foolbox:PGD", "foolbox.attacks", "foolbox"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
        with pytest.raises(MissingExtra, match=rf"pip install 'certify\[{extra}\]'"):
            attack(image_clf, images[0][:1], images[1][:1], threat=LINF, attack=name)


def test_a_study_records_the_attack_resumes_and_sends_it_to_workers(image_clf, images, tmp_path):
    data = images[0][:3].numpy(), images[1][:3].numpy()
    settings = {"threat": LINF, "certifier": "ibp", "attack": "foolbox:LinfPGD", "attack_option": {"steps": 3}}
    first, again = (evaluate(image_clf, data, out=tmp_path / "run", **settings) for _ in range(2))
    assert first.summary.to_dict() == again.summary.to_dict()
    assert "foolbox:LinfPGD (steps=3, library=foolbox" in first.summary.head["attack"]
    assert "attack:foolbox:LinfPGD" in first.summary.parts
    for one in (attack_of("foolbox:LinfPGD", {"steps": 3}), attack_of(basic_iterative_method, {"nb_iter": 3})):
        assert pickle.loads(cloudpickle.dumps(one)).settings() == one.settings()


def test_text_of_a_command_line_is_read_as_it_looks():
    told = {"nb_iter": Written("4")}
    assert attack_of(basic_iterative_method, told).settings() == {"options": {"nb_iter": 4}}
    assert ATTACKS.forms == ["art:CLASS", "foolbox:CLASS", "MODULE:FUNCTION"]


def test_the_library_is_cited():
    assert cited_for(["attack:art:DeepFool", "attack:foolbox:LinfPGD"]) == ["nicolae2018", "rauber2017", "rauber2020"]
