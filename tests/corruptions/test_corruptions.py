"""Every corruption: severity 0 changes nothing, the box is kept, and what is drawn depends on seed and input alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.core.input_box import check_box
from certify.core.threats.substitutions import Substitutions
from certify.corruptions.base import CORRUPTIONS, SEVERITIES, Form, corrupted, fitting, severities_of
from certify.corruptions.transforms import AlongThreat
from certify.corruptions.typos import mistyped
from certify.errors import BadInput
from certify.models.transformed import behind, beside

IMAGE = Form((1, 8, 8), check_box((0.0, 1.0)))
TABLE = Form((7,), check_box((np.zeros(7), np.arange(1.0, 8.0))))
SERIES = Form((2, 12), check_box((-1.0, 1.0)))
WORDS = ("<pad>", "<unknown>", "good", "god", "bad", "bade", "film", "a", "the", "not", "very")
TEXT = Form((9,), check_box((0.0, 10.0)), WORDS)
MEMBERS = sorted(CORRUPTIONS)


def form_of(name: str) -> Form:
    return TEXT if name == "typos" else IMAGE


def some(form: Form, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if form is TEXT:
        return torch.tensor([2.0, 4, 6, 7, 8, 9, 10, 0, 0])
    lower, upper = form.ends
    return lower + (upper - lower) * torch.rand(form.shape, generator=generator)


@pytest.mark.parametrize("name", MEMBERS)
def test_severity_0_is_the_input_and_the_others_are_not(name):
    form = form_of(name)
    kind, x = CORRUPTIONS[name](), some(form)
    found = corrupted(x, kind, (0, *SEVERITIES), form, seed=3)
    assert torch.equal(found[0], x)
    assert all(not torch.equal(one, x) for one in found[1:])
    assert found.dtype == torch.float32
    assert form.input_box is not None
    assert form.input_box.fault(found.numpy()) == ""
    strengths = [kind.strength(one, form) for one in (0, *SEVERITIES)]
    assert all(one < other for one, other in itertools.pairwise(strengths))


@pytest.mark.parametrize("name", MEMBERS)
def test_what_is_drawn_depends_on_seed_and_input_alone(name):
    form = form_of(name)
    kind, x = CORRUPTIONS[name](), some(form)
    whole = corrupted(x, kind, SEVERITIES, form, seed=3)
    torch.manual_seed(5)
    torch.rand(9)
    corrupted(some(form, 1), kind, SEVERITIES, form, seed=3)
    for severity in (4, 1):
        assert torch.equal(corrupted(x, kind, (severity,), form, seed=3)[0], whole[severity - 1])
    random = not isinstance(kind, AlongThreat)
    assert torch.equal(corrupted(x, kind, SEVERITIES, form, seed=4), whole) != random


@pytest.mark.parametrize("name", [name for name in MEMBERS if issubclass(CORRUPTIONS[name], AlongThreat)])
def test_a_transform_is_that_of_its_threat_within_the_radius_of_its_strength(name):
    kind, x = CORRUPTIONS[name](), some(IMAGE)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).requires_grad_(False).eval()
    clf = certify.Classifier(net, num_classes=3)
    threat = kind.transform
    model = behind(clf, threat, IMAGE.shape)
    for severity in SEVERITIES:
        strength = kind.strength(severity, IMAGE)
        point = beside(x[None], threat)
        point[:, 64] = kind.parameter(strength)
        at = threat.distance(beside(x[None], threat)[0].numpy(), point[0].numpy())
        assert strength * (1 - 1e-6) <= at <= strength
        changed = corrupted(x, kind, (severity,), IMAGE, seed=0)
        assert torch.allclose(model.scores(point), clf.scores(changed), atol=1e-5)
    assert kind.along(threat.at((0.5,))).transform.radii == (0.5,)


def test_settings_of_a_threat_are_taken_where_it_is_the_same_transform():
    dark = CORRUPTIONS["fade"]().along(certify.Fade((0.5,), towards=0.0))
    x = some(IMAGE)
    assert (
        corrupted(x, dark, (5,), IMAGE, 0).sum() < x.sum() < corrupted(x, CORRUPTIONS["fade"](), (5,), IMAGE, 0).sum()
    )
    assert dark.noun == "fade (towards 0.0)"
    blur = CORRUPTIONS["blur"]()
    assert blur.along(certify.Fade((0.5,))) is blur


@pytest.mark.parametrize(
    ("name", "form"), [("missing", TABLE), ("stuck", TABLE), ("impulse-noise", IMAGE), ("typos", TEXT)]
)
def test_what_is_stronger_holds_what_is_weaker(name, form):
    x = some(form)
    changed = corrupted(x, CORRUPTIONS[name](), SEVERITIES, form, seed=1)
    for weak, strong in itertools.pairwise(changed):
        assert torch.equal(weak[weak != x], strong[weak != x])


@pytest.mark.parametrize("name", ["missing", "stuck"])
def test_severities_of_places_are_radii_of_features(name):
    threat, x = certify.Features((1, 2, 3, 4, 5), input_box=TABLE.input_box), some(TABLE)
    for severity, changed in zip(SEVERITIES, corrupted(x, CORRUPTIONS[name](), SEVERITIES, TABLE, 0), strict=True):
        assert threat.distance(x.numpy(), changed.numpy()) == severity


def test_a_stuck_sensor_is_the_same_one_for_all_inputs_and_a_missing_one_is_not():
    stuck, missing = (
        [corrupted(some(SERIES, seed), CORRUPTIONS[name](), (5,), SERIES, 0)[0] for seed in range(6)]
        for name in ("stuck", "missing")
    )
    same = (torch.stack(stuck) == stuck[0]).all(dim=0)
    assert same.sum() == 2 * 5
    assert {int((one == 0).sum()) for one in missing} == {10}
    assert len({tuple((one[0] == 0).tolist()) for one in missing}) > 1


def test_typos_are_of_letters_and_stay_in_the_substitution_sets_that_allow_them():
    sets = {token: sorted({*range(1, len(WORDS))}) for token in range(2, len(WORDS))}
    threat, x = Substitutions((1, 2, 3, 4, 5), sets), some(TEXT)
    for severity, changed in zip(SEVERITIES, corrupted(x, CORRUPTIONS["typos"](), SEVERITIES, TEXT, 2), strict=True):
        assert threat.distance(x.numpy(), changed.numpy()) <= severity
        assert torch.equal(changed[7:], x[7:])
    assert mistyped("good", 0, 2, "x") == "god"
    for kind, place in itertools.product(range(4), range(3)):
        assert mistyped("bad", kind, place, "x") != "bad"


def test_noise_has_its_law():
    form = Form((1, 100, 100), check_box((0.0, 2.0)))
    x = torch.ones(form.shape)
    noisy = corrupted(x, CORRUPTIONS["gaussian-noise"](), SEVERITIES, form, 0) - x
    assert torch.allclose(noisy.std(dim=(1, 2, 3)), 2 * torch.tensor([0.04, 0.06, 0.08, 0.09, 0.1]), rtol=0.03)
    shot = corrupted(x, CORRUPTIONS["shot-noise"](), SEVERITIES, form, 0) - x
    assert torch.allclose(
        shot.std(dim=(1, 2, 3)), 2 * (0.5 / torch.tensor([500.0, 250, 100, 75, 50])).sqrt(), rtol=0.03
    )
    jumps = (corrupted(x, CORRUPTIONS["impulse-noise"](), SEVERITIES, form, 0) != x).float().mean(dim=(1, 2, 3))
    assert torch.allclose(jumps, torch.tensor([0.01, 0.02, 0.03, 0.05, 0.07]), rtol=0.3)


@pytest.mark.parametrize(
    ("name", "form", "said"),
    [
        ("typos", IMAGE, "texts whose words are known"),
        ("brightness", TEXT, "choose typos"),
        ("missing", TEXT, "choose typos"),
        ("brightness", TABLE, "one pair of bounds"),
        ("rotation", SERIES, "images"),
        ("gamma", SERIES, "from 0 to 1"),
        ("gaussian-noise", Form((4,), None), "declare an input box"),
        ("stuck", Form((5,), check_box((0.0, 1.0))), "up to 5 places"),
    ],
)
def test_a_corruption_that_does_not_fit_is_refused(name, form, said):
    with pytest.raises(BadInput, match=said):
        CORRUPTIONS[name]().check(form)
    assert name not in [one.name for one in fitting(form)]


@pytest.mark.parametrize("given", [[0], [6], [-1], [1, 1], [], [1.0], [True]])
def test_severities_are_from_1_to_5(given):
    with pytest.raises(BadInput, match="severity"):
        severities_of(given)
    with pytest.raises(BadInput, match="severity"):
        CORRUPTIONS["blur"]().strength(6, IMAGE)
