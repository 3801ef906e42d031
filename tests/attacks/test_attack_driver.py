"""The driver believes no attack, and its findings depend on nothing but seed, input, model and settings."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from certify.attacks.ball import Near
from certify.attacks.base import ATTACKS, Attack
from certify.attacks.run import run_attack
from certify.attacks.smoothed import Smoothed
from certify.attacks.target import Plain
from certify.certifiers.attack import attack
from certify.core.finding import Finding
from certify.core.threats.lp import ThreatModel
from certify.data.batch import Batch
from certify.errors import DataError
from certify.models.classifier import Classifier
from certify.registry import make


@dataclass(frozen=True)
class Cheat(Attack):
    """An attack that returns whatever its function makes of the search."""

    trick: object
    name = "cheat"

    def settings(self):
        return {}

    def check(self, target, threat):
        pass

    def perturb(self, search):
        return self.trick(search)


def far_away(search):
    return search.x + 100.0


def unchanged_class(search):
    return search.x + 0.5 * search.radius


def nan(search):
    return torch.full_like(search.x, torch.nan)


def move_the_input(search):
    return search.x.add_(0.5)


def forget_the_labels(search):
    search.labels.add_(1)
    return search.x.clone()


TRICKS = [far_away, unchanged_class, nan, move_the_input, forget_the_labels]


@pytest.mark.parametrize("trick", TRICKS)
def test_a_cheating_attack_reports_no_false_success(trick, linear):
    # Class 1 wins above x_0 = 0.7; the input sits at 0.3, at distance 0.4 in every norm.
    clf = linear(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.tensor([0.7, -0.7]), (0.0, 1.0))
    batch = Batch.of([[0.3, 0.5]], [0], num_classes=2)
    for norm in ("l1", "l2", "linf"):
        [found] = run_attack(Plain(clf), batch, ThreatModel(norm, (0.1, 0.39)), Cheat(trick), seed=0)
        assert not found.succeeded


def test_a_point_outside_is_projected_and_counts_where_it_still_fools(linear):
    clf = linear(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.tensor([0.7, -0.7]), (0.0, 1.0))
    batch = Batch.of([[0.3, 0.5]], [0], num_classes=2)
    [found] = run_attack(Plain(clf), batch, ThreatModel("linf", (0.1, 0.41, 0.6)), Cheat(far_away), seed=0)
    assert found.radius == 0.41
    assert 0.4 <= found.distance <= 0.41
    assert found.x_adv.max() <= 1.0


def test_a_point_that_leaves_ball_or_box_is_rejected_even_if_projection_were_wrong(linear, monkeypatch):
    monkeypatch.setattr(Near, "project", lambda self, z: z)
    clf = linear(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.tensor([0.7, -0.7]), (0.0, 1.0))
    batch = Batch.of([[0.3, 0.5]], [0], num_classes=2)
    for outside in (torch.tensor([[0.9, 0.5]]), torch.tensor([[0.71, 1.01]])):
        attack = Cheat(lambda search, outside=outside: outside)
        [found] = run_attack(Plain(clf), batch, ThreatModel("linf", (0.55,)), attack, seed=0)
        assert not found.succeeded
    [found] = run_attack(
        Plain(clf), batch, ThreatModel("linf", (0.55,)), Cheat(lambda search: torch.tensor([[0.71, 0.99]])), seed=0
    )
    assert found.succeeded


def without_time(finding):
    return {key: value for key, value in finding.to_dict().items() if key != "seconds"}


@pytest.mark.parametrize("smoothed", [False, True])
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_findings_do_not_depend_on_batch_size_or_order(name, smoothed, image_clf, images, normal):
    x, y = images
    target = Smoothed(image_clf, normal(0.2), draws=4, n=100) if smoothed else Plain(image_clf)
    threat = ThreatModel("l2", (0.0, 0.1, 0.6))
    settings = {"steps": 5} if name == "pgd" else {}

    def run(rows):
        batch = Batch.of(x[rows], y[rows], num_classes=4, index=rows)
        return {f.index: without_time(f) for f in run_attack(target, batch, threat, make(ATTACKS, name, settings), 7)}

    together = run([0, 1, 2, 3, 4, 5, 6])
    assert together == run([0, 1, 2, 3, 4, 5, 6])
    assert any(one["radius"] == 0.6 for one in together.values())
    split = run([5, 0, 6]) | run([1, 2, 4]) | run([3])
    for index, one in together.items():
        other = split[index]
        if one["distance"] is not None:
            # The model's float sums may be ordered otherwise in another batch.
            assert one.pop("distance") == pytest.approx(other.pop("distance"), rel=1e-4)
            for varying in ("distance_hex", "x_adv"):
                del one[varying], other[varying]
        assert one == other


def test_another_seed_searches_elsewhere(image_clf, images):
    # A radius at which nothing is found costs all restarts, so the random starts matter.
    x, y = images[0][:3], images[1][:3]
    threat = ThreatModel("linf", (0.5,))
    found = [attack(image_clf, x, y, threat=threat, steps=1, restarts=3, seed=seed, step_scale=1e-3) for seed in (0, 1)]
    assert [without_time(f)["x_adv"] for f in found[0]] != [without_time(f)["x_adv"] for f in found[1]]


def test_a_misclassified_input_is_its_own_example_and_radius_zero_is_not_searched(image_clf, images):
    found = attack(image_clf, *images, threat=ThreatModel("linf", (0.0,)))
    assert [f.succeeded for f in found] == [False] * 6 + [True]
    wrong = found[-1]
    assert (wrong.distance, wrong.radius, wrong.forward_passes) == (0.0, 0.0, 1)
    assert wrong.prediction == wrong.adversarial_prediction != wrong.label
    np.testing.assert_array_equal(wrong.x_adv, images[0][-1].numpy())
    [smallest] = attack(image_clf, images[0][-1:], images[1][-1:], threat=ThreatModel("linf", (0.1, 0.2)))
    assert (smallest.distance, smallest.radius) == (0.0, 0.1)


class Counting(nn.Module):
    """Counts the samples it is asked about."""

    def __init__(self, module):
        super().__init__()
        self.module, self.seen = module, 0

    def forward(self, x):
        self.seen += len(x)
        return self.module(x)


@pytest.mark.parametrize("smoothed", [False, True])
def test_forward_passes_are_counted_and_time_is_shared(smoothed, image_clf, images, normal):
    clf = Classifier(Counting(image_clf.module).eval(), num_classes=4, input_box=(-1.0, 1.0))
    target = Smoothed(clf, normal(0.2), draws=3, n=50) if smoothed else Plain(clf)
    batch = Batch.of(*images, num_classes=4)
    clf.module.seen = 0
    found = run_attack(target, batch, ThreatModel("l2", (0.05, 0.5)), make(ATTACKS, "pgd", {"steps": 4}), seed=0)
    assert sum(f.forward_passes for f in found) == clf.module.seen
    assert all(f.seconds > 0 for f in found)


class Broken(nn.Module):
    """Two classes told apart at x_0 = 0.5; NaN beyond it, or everywhere."""

    def __init__(self, everywhere):
        super().__init__()
        self.everywhere = everywhere

    def forward(self, x):
        scores = torch.stack([0.5 - x[:, 0], x[:, 0] - 0.5], dim=1)
        return scores * torch.nan if self.everywhere else scores.masked_fill(scores[:, 1:] > 0, torch.nan)


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize(
    ("name", "settings", "smoothed"),
    [
        ("pgd", {"steps": 5}, False),
        ("pgd", {"steps": 5}, True),
        ("fgsm", {}, False),
        ("autoattack", {"version": "custom", "attacks": ("apgd-ce", "fab")}, False),
    ],
)
def test_nan_scores_never_succeed(name, settings, smoothed, everywhere, normal):
    clf = Classifier(Broken(everywhere).eval(), num_classes=2, input_box=(0.0, 1.0))
    target = Smoothed(clf, normal(0.1), draws=4, n=50) if smoothed else Plain(clf)
    batch = Batch.of([[0.2, 0.5]], [0], num_classes=2)
    [found] = run_attack(target, batch, ThreatModel("l2", (0.0, 0.6)), make(ATTACKS, name, settings), seed=0)
    assert not found.succeeded
    assert found.prediction == (None if everywhere else 0)


def test_findings_survive_json_and_the_replayed_example_still_fools(image_clf, images):
    threat = ThreatModel("linf", (0.02, 0.3), image_clf.input_box)
    for found in attack(image_clf, *images, threat=threat, steps=10):
        again = Finding.from_dict(json.loads(json.dumps(found.to_dict())))
        assert without_time(again) == without_time(found)
        if again.succeeded:
            x = images[0][again.index].numpy()
            assert threat.contains(x, again.x_adv, again.radius)
            assert int(image_clf.predict(torch.from_numpy(again.x_adv)[None])) == again.adversarial_prediction
            assert again.adversarial_prediction != again.label


def test_labels_and_a_box_that_holds_the_data_are_needed(image_clf, images):
    threat = ThreatModel("linf", (0.1,))
    with pytest.raises(DataError, match="attacks need labels"):
        attack(image_clf, images[0], None, threat=threat)
    with pytest.raises(DataError, match="outside the declared input box"):
        attack(image_clf, images[0] + 1.0, images[1], threat=threat)


class Waves(nn.Module):
    """Two sums over so many features that torch splits each among its threads, bent so that their rounding shows."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weights", 0.005 * torch.randn(2, 70_000, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return torch.stack([(x * row).sum(dim=1).tanh() for row in self.weights], dim=1)


def test_examples_do_not_depend_on_the_number_of_threads():
    x, before = torch.rand(1, 70_000, generator=torch.Generator().manual_seed(1)), torch.get_num_threads()
    clf, far = Classifier(Waves().eval(), 2), ThreatModel("l2", (30.0,))
    y, found = clf.predict(x).tolist(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found += attack(clf, x, y, threat=far, attack="pgd", steps=8, restarts=1)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    one, two = (json.dumps({**each.to_dict(), "seconds": 0}) for each in found)
    assert found[0].succeeded
    assert one == two
