"""Ablation: subsets without bias, a theorem that counts positions, and nothing else that stays as it was."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from flint import arb
from scipy import stats

import certify
from certify.checker.laws import LAWS, most_changed
from certify.cli import main
from certify.core.threats.categories import Categories
from certify.core.threats.features import Features
from certify.errors import BadInput
from certify.models.folder import save_folder
from certify.smoothing.noise import ablation
from certify.smoothing.noise.ablation import Ablation, delta
from certify.smoothing.noise.base import recorded_law
from certify.smoothing.theorem import Theorem

BOX = (0.0, 1.0)


def law_for(d: int, s: int) -> Ablation:
    return Ablation(s).about(Features((1,), input_box=BOX), (d,))


@pytest.mark.parametrize(("d", "s"), [(1, 1), (5, 1), (5, 2), (6, 3), (7, 6), (4, 4)])
def test_every_subset_is_as_probable_as_every_other(d, s):
    drawn = Ablation(s).sample((40_000, d), torch.Generator().manual_seed(d)).int()
    assert drawn.unique().tolist() == [1] if s == d else [0, 1]
    seen = Counter(map(tuple, drawn.tolist()))
    expected = {tuple(int(i in kept) for i in range(d)) for kept in itertools.combinations(range(d), s)}
    assert set(seen) == expected
    assert stats.chisquare([seen[one] for one in sorted(expected)]).pvalue > 1e-4 or s == d
    pairs = Counter(zip(map(tuple, drawn[::2].tolist()), map(tuple, drawn[1::2].tolist()), strict=True))
    if 1 < len(expected) <= 10:  # one sample says nothing of the next
        assert stats.chisquare([pairs[pair] for pair in itertools.product(sorted(expected), repeat=2)]).pvalue > 1e-4


def test_ties_between_kept_and_hidden_are_drawn_again_until_there_are_none(monkeypatch):
    """With keys of two bits, ties are everywhere: breaking them by place would favour the first positions."""
    keys = ablation._random_keys
    monkeypatch.setattr(ablation, "_random_keys", lambda count, generator: keys(count, generator) & 3)
    drawn = Ablation(2).sample((30_000, 4), torch.Generator().manual_seed(1)).int()
    assert drawn.sum(dim=1).eq(2).all()
    seen = Counter(map(tuple, drawn.tolist()))
    assert len(seen) == 6
    assert stats.chisquare(list(seen.values())).pvalue > 1e-4


def test_what_is_kept_stays_bit_for_bit_and_groups_stay_together():
    threat = Features((1,), groups=((0, 3), (4,), (5, 1)), input_box=(0.0, 2.0**25))
    law = Ablation(1, null=(-1.0, -2, -3, -4, -5, -6, -7)).about(threat, (7,))
    x = torch.tensor([2.0**24, 16_777_215.0, 3.0, -0.0, 255.0, 50_256.0, 7.0])  # whole numbers, as bytes and ids are
    drawn = law.sample((2000, 7), torch.Generator().manual_seed(0))
    shown = law.apply(x, drawn)
    assert torch.equal(law.apply(x, drawn, torch.empty(2000, 7)), shown)
    kinds = {tuple(row) for row in shown.tolist()}
    hidden = torch.tensor(law.null)
    expected = set()
    for group in threat.groups:
        kept = torch.zeros(7, dtype=torch.bool)
        kept[[*group, 2, 6]] = True  # 2 and 6 are in no group: they never change and are never hidden
        expected.add(tuple(torch.where(kept, x, hidden).tolist()))
    assert kinds == expected
    assert law.positions == 3
    slope = torch.ones(7, requires_grad=True)
    law.apply(slope, drawn[:1]).sum().backward()
    assert torch.equal(slope.grad, drawn[0])


def test_images_are_hidden_by_pixel():
    channels = tuple(tuple(c * 9 + pixel for c in range(3)) for pixel in range(9))
    law = Ablation(4).about(Features((1,), groups=channels, input_box=BOX), (3, 3, 3))
    drawn = law.sample((50, 3, 3, 3), torch.Generator().manual_seed(0))
    assert torch.equal(drawn[:, 0], drawn[:, 1])
    assert drawn[:, 0].sum(dim=(1, 2)).eq(4).all()


@pytest.mark.parametrize(("d", "s"), [(1, 1), (7, 1), (7, 3), (7, 7), (20, 11), (784, 50), (1000, 999)])
def test_delta_is_the_exact_share_rounded_up(d, s):
    for k in range(0, d + 1, max(1, d // 20)):
        exact = 1 - Fraction(math.comb(d - k, s), math.comb(d, s))
        assert exact <= Fraction(delta(d, s, k)) <= exact + Fraction(1, 2**50)


def test_delta_is_a_count_of_subsets():
    for d, s in itertools.product(range(1, 7), repeat=2):
        for k in range(d + 1) if s <= d else ():
            touched = sum(bool({*range(k)} & {*kept}) for kept in itertools.combinations(range(d), s))
            assert delta(d, s, k) == pytest.approx(touched / math.comb(d, s), abs=1e-15)


@pytest.mark.parametrize(("d", "s"), [(1, 1), (5, 2), (9, 9), (64, 10), (784, 50), (150_528, 2_000), (2**24, 2**20)])
def test_the_radius_is_the_largest_count_that_the_lead_pays_for(d, s):
    law, restated = law_for(d, s), LAWS["ablation"]
    generator = np.random.default_rng(d)
    for q, rival in [(0.5, 0.5), (0.4999, 0.4999), (0.0, 0.0), (0.3, 0.1), (0.6, 0.2), *generator.random((20, 2)) / 2]:
        radius = law.radius(q, rival, "features")
        lead = 1 - Fraction(q) - Fraction(rival)
        assert radius == int(radius)
        if radius:
            assert lead > 2 * Fraction(delta(d, s, int(radius)))
        if radius < min(d, 5000):
            avoiding = Fraction(math.perm(d - s, int(radius) + 1), math.perm(d, int(radius) + 1))
            assert not lead > 2 * (1 - avoiding) + Fraction(1, 2**50)
        assert radius <= most_changed((d, s), lead) == float(restated.radius((d, s), arb(q), arb(rival)))
        assert most_changed((d, s), lead) <= radius + 1  # where delta rounded up to the lead itself
    assert law.radius(math.nan, 0.1, "features") == 0
    assert law.radius(0.1, 0.9, "features") == 0


def test_a_lead_of_exactly_twice_delta_proves_nothing():
    law = law_for(4, 1)  # delta of one change is 1/4
    assert law.radius(0.25, 0.25, "features") == 0
    assert law.radius(math.nextafter(0.25, 0), 0.25, "features") == 1
    assert Theorem(law, "features", 4).most_missed(1) == math.nextafter(0.25, 0)


def test_nothing_hidden_proves_nothing():
    assert law_for(6, 6).radius(0.0, 0.0, "features") == 0
    assert law_for(1, 1).radius(0.0, 0.0, "features") == 0


def test_categories_are_positions():
    threat = Categories((1,), groups="0:3,3:5,5:9")
    law = Ablation(1).about(threat, (10,))
    assert law.positions == 3
    assert law.radius(0.1, 0.1, law.check_norm("categories")) == 1  # 1/3 of the subsets are touched


def test_the_null_value_suggested_from_data_says_missing():
    x = np.array([[0, 1, 65, 0.2], [1, 0, 90, 0.6], [0, 1, 66, 0.7]])
    assert Ablation.null_for(x) == (0.0, 0.0, 74.0, 0.5)
    law = Ablation(2, Ablation.null_for(x))
    assert recorded_law(law.settings()) == law
    assert Ablation(1, "0,0.5") == Ablation(1, (0.0, 0.5)) == Ablation(1, np.float32([0, 0.5]))
    assert Ablation(1, [0.1]).null == float(np.float32(0.1))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Ablation(0), "retention must be at least 1"),
        (lambda: Ablation(1.0), "retention must be a whole number"),
        (lambda: Ablation(True), "retention must be a whole number"),
        (lambda: Ablation(1, math.nan), "null must be finite"),
        (lambda: Ablation(1, 1e300), "null must be finite"),
        (lambda: Ablation(1, "a"), "null"),
        (lambda: Ablation(1, groups="0,0"), "overlap"),
        (lambda: Ablation(1).positions, "give their shape"),
        (lambda: law_for(4, 5), "retention=5 is more than the 4 positions"),
        (lambda: Ablation(1, (0.0, 1.0)).about(None, (3,)), "null has 2 values, an input has 3"),
        (lambda: Ablation(1, groups="0:4").about(None, (3,)), "groups name feature 3"),
        (lambda: Ablation(2).about(Features((1,), groups="0:3", input_box=BOX), (3,)), "more than the 1 positions"),
        (lambda: Ablation(1, groups="0").about(Features((1,), input_box=BOX), (3,)), "other groups than the threat"),
        (lambda: Ablation(1).check_norm("l2"), "ablation noise has no radius theorem in l2; .*certified by gaussian"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, said):
    with pytest.raises(BadInput, match=said) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_votes_do_not_depend_on_the_batch_and_predictions_know_the_groups():
    clf = certify.Classifier(lambda x: (x[:, :3].amax(dim=1) > 0.5).long(), 2)
    x, threat = np.random.default_rng(0).random((4, 6)).astype(np.float32), Features((0, 1), groups="0:3,3,4,5")
    options = {"threat": threat, "noise": "ablation", "retention": 1, "n": 1000, "seed": 5}
    made = [certify.smooth(clf, x, batch_size=size, **options) for size in (None, 1, 7)]
    assert made[0] == made[1] == made[2]
    every = [certify.certify(clf, x, threat=threat, certifier=certify.Enumeration(1))[row] for row in range(4)]
    for one, exact in zip(made[0], every, strict=True):
        share = one.evidence.looks[-1].counts.get(0, 0) / one.evidence.looks[-1].n
        assert share == pytest.approx(exact.evidence.votes.counts.get(0, 0) / 4, abs=0.2)
    # As one group the three features are kept a quarter of the time, by themselves half of the time.
    assert certify.predict(clf, np.full((1, 6), 0.9), noise=Ablation(1), threat=threat) == [0]
    assert certify.predict(clf, np.full((1, 6), 0.9), noise="ablation", retention=2, null=0) == [1]
    with pytest.raises(BadInput, match="retention=5 is more than the 4 positions"):
        certify.predict(clf, x, noise="ablation", retention=5, threat=threat)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retention": 65}, "retention=65 is more than the 64 positions"),
        ({"retention": 0}, "retention must be at least 1"),
        ({}, "noise 'ablation' needs retention"),
        ({"retention": 4, "null": "0,1"}, "null has 2 values, an input has 64 features"),
        ({"retention": 4, "sigma": 0.25}, "noise 'ablation' has no setting 'sigma'"),
        ({"retention": 4, "noise": "gaussian", "sigma": 0.25}, "noise 'gaussian' has no setting 'retention'"),
        ({"retention": 4, "threat": None, "radii": "0,0.5"}, "name the threat, features"),
        ({"retention": 40, "radii": "0,1"}, "no n up to a billion suffices, keep fewer positions"),
        ({"retention": 8, "certifier": "enumeration", "noise": None}, "more than 10,000 subsets of 8 of 64"),
        ({"retention": 2, "certifier": "enumeration", "noise": None, "radii": "0,40"}, "can certify at most radius 18"),
    ],
)
def test_what_cannot_be_is_one_line_on_the_command_line(tmp_path, capsys, options, said):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
    save_folder(tmp_path / "net", net, num_classes=10, input_box=BOX, input_shape=(1, 8, 8), recipe={})
    given = {"model": str(tmp_path / "net"), "data": "digits", "limit": 2, "out": str(tmp_path / "run")}
    given |= {"threat": "features", "radii": "0", "noise": "ablation", **options}
    words = [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]
    assert main(["run", *words]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert said in line
