"""Ablation certificates against the truth: all subsets, and all inputs within a radius, enumerated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch

import certify
from certify.checker.derivations.smoothing import smoothing_claims
from certify.checker.examples import example_claims
from certify.checker.replay import replay_claims
from certify.checker.result import Standing
from certify.core.evidence import Look, subsets
from certify.core.threats.budget import groups_of
from certify.core.verdict import Verdict

NULL = -1.0
VALUES = (0.0, 1.0, 2.0)
BOX = (0.0, 2.0)

Base = Callable[[torch.Tensor], torch.Tensor]


def shown(x: Sequence[float], kept: Sequence[int], groups: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """What is left of an input: positions that are not kept are hidden, features in none of them stay."""
    hidden = {feature for place, group in enumerate(groups) if place not in kept for feature in group}
    return tuple(NULL if i in hidden else value for i, value in enumerate(x))


def votes(base: Base, x: Sequence[float], s: int, groups: Sequence[Sequence[int]], classes: int) -> list[int]:
    """How many of all subsets vote for each class; NaN scores, answered as -1, vote for none."""
    left = [shown(x, kept, groups) for kept in itertools.combinations(range(len(groups)), s)]
    answers = base(torch.tensor(left)).tolist()
    return [answers.count(label) for label in range(classes)]


def winner(counts: Sequence[int]) -> int:
    return max(range(len(counts)), key=lambda label: (counts[label], -label))


def exact_radius(counts: Sequence[int], d: int, s: int) -> int:
    """The most changes for which the lead of the winner over everything else is more than twice what they touch."""
    top, every = winner(counts), math.comb(d, s)
    others = max([every - sum(counts), *(count for label, count in enumerate(counts) if label != top)])
    return max(k for k in range(d + 1) if counts[top] - others > 2 * (every - math.comb(d - k, s)) or k == 0)


def neighbours(x: Sequence[float], k: int, groups: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
    """Every input that differs from x in at most k groups, over the values."""
    found = set()
    for chosen in itertools.combinations(range(len(groups)), k):
        features = [feature for place in chosen for feature in groups[place]]
        for values in itertools.product(VALUES, repeat=len(features)):
            changed = list(x)
            for feature, value in zip(features, values, strict=True):
                changed[feature] = value
            found.add(tuple(changed))
    return sorted(found)


def random_base(seed: int, features: int, classes: int, invalid: bool = False) -> Base:
    """A class for each of the 4**features inputs that a base model can be shown: a noisy rule with a frequent class."""
    generator = np.random.default_rng(seed)
    weight = generator.normal(size=(features, len(VALUES) + 1))
    score = sum(np.meshgrid(*weight, indexing="ij"))
    table = np.digitize(score + 0.3 * generator.normal(size=score.shape), [-2.5, 2.5][: classes - 1])
    table = np.where(generator.random(score.shape) < 0.02, -1, table) if invalid else table
    table = torch.from_numpy(table)
    return lambda x: table[tuple((x.long() + 1).unbind(1))]


def as_scores(base: Base, classes: int, x: torch.Tensor) -> torch.Tensor:
    """Scores of which the largest is that of the base model's class; NaN where it has none."""
    answers = base(x)
    scores = torch.nn.functional.one_hot(answers.clamp(min=0), classes).float()
    return torch.where((answers < 0)[:, None], torch.nan, scores)


def certified(base: Base, classes: int, xs: Sequence[Sequence[float]], s: int, groups: str | None = None, **options):
    clf = certify.Classifier(partial(as_scores, base, classes), classes, BOX)
    threat = certify.Features(options.pop("radii", (0,)), groups=groups, input_box=BOX)
    return clf, certify.smooth(clf, xs, threat=threat, noise="ablation", retention=s, null=NULL, **options)


@pytest.mark.parametrize(
    ("seed", "features", "s", "groups"),
    [(0, 5, 1, None), (1, 5, 2, None), (2, 6, 1, None), (3, 5, 1, "0+1,2,3"), (4, 6, 1, "0,1,2,3+4"), (5, 4, 4, None)],
)
def test_no_input_within_a_certified_radius_has_another_answer(seed, features, s, groups):
    """The smoothed model, computed exactly at every input near by, keeps the class that the samples certified."""
    places = groups_of("groups", groups) if groups else tuple((i,) for i in range(features))
    base = random_base(seed, features, classes=3, invalid=seed == 1)
    xs = np.random.default_rng(seed).choice(VALUES, (30, features)).tolist()
    _, certificates = certified(base, 3, xs, s, groups, n=4000, schedule="fixed", alpha=1e-6)
    radii = []
    for x, one in zip(xs, certificates, strict=True):
        counts = votes(base, x, s, places, 3)
        if one.radius is None:
            continue
        radii.append(one.radius)
        assert one.prediction == winner(counts)
        assert one.radius <= exact_radius(counts, len(places), s)
        for near in neighbours(x, int(one.radius), places):
            assert winner(votes(base, near, s, places, 3)) == one.prediction
    assert radii
    assert max(radii) >= (1 if s < len(places) else 0)
    assert s < len(places) or max(radii) == 0  # where nothing is hidden, nothing is proven


@pytest.mark.parametrize(("d", "s"), [(6, 1), (9, 1), (6, 2), (8, 2), (5, 3)])
def test_the_theorem_is_tight(d, s):
    """A base model that gives away every vote in which it sees a change holds exactly as long as is certified."""
    places, x, every = tuple((i,) for i in range(d)), (0.0,) * d, math.comb(d, s)
    subsets = sorted(itertools.combinations(range(d), s))  # those that hold one of the first positions come first
    tried = 0
    for k in range(1, d):
        touched, attacked = every - math.comb(d - k, s), (1.0,) * k + x[k:]
        least = (every + 2 * touched) // 2 + 1  # the fewest votes that lead by more than twice what is touched
        for own, holds in ((least, True), (least - 1, False)):
            if not touched <= own <= every or 2 * own <= every:
                continue

            def base(left: torch.Tensor, loyal: set = {*subsets[:own]}) -> torch.Tensor:  # noqa: B006
                kept = [tuple(torch.nonzero(row != NULL).flatten().tolist()) in loyal for row in left]
                return (torch.tensor(kept) & (left < 1).all(dim=1)).long()

            assert votes(base, x, s, places, 2) == [every - own, own]
            assert winner(votes(base, x, s, places, 2)) == 1
            assert (exact_radius([every - own, own], d, s) >= k) == holds
            assert (winner(votes(base, attacked, s, places, 2)) == 1) == holds
            tried += 1
    assert tried >= 2 or 2 * s > d


def test_a_planted_model_is_certified_to_its_exact_radius():
    """Enough samples find the radius that all subsets give, and one change more is found by an attack."""
    d, s, sees = 8, 1, lambda left: (left.amax(dim=1) < 1).long()  # class 0 where the feature that is kept is 1 or 2
    for ones, radius in ((8, 3), (7, 2), (6, 1), (5, 0)):
        x = [[1.0] * ones + [0.0] * (8 - ones)]
        counts = votes(sees, x[0], s, tuple((i,) for i in range(d)), 2)
        assert counts == [ones, 8 - ones]
        assert exact_radius(counts, d, s) == radius
        _, [one] = certified(sees, 2, x, s, n=20_000, radii=range(radius + 1))
        assert (one.prediction, one.radius) == (0, radius)


class Seeing(torch.nn.Module):
    """Class 0 for as much as is seen above 0.5."""

    def forward(self, x):
        seen = torch.where(x == NULL, 0.0, x - 0.5).flatten(1).sum(dim=1)
        return torch.stack([seen, -seen], dim=1)


def test_an_attack_changes_as_many_positions_as_it_takes_and_its_examples_are_executed_again():
    clf, x = certify.Classifier(Seeing().eval(), 2), torch.full((3, 8), 0.9)
    x[1, :2], x[2, :5] = 0.2, 0.1
    threat, law = certify.Features((1, 2, 4, 5), input_box=(0.0, 1.0)), certify.Ablation(1, NULL)
    found = certify.attack(clf, x, [0, 0, 0], threat=threat, noise=law, seed=2)
    assert [one.radius for one in found] == [5, 4, 1]  # a tie is no loss; the last is misclassified as it is
    assert found[2].distance == 0
    assert all(one.p_label_upper < 0.5 for one in found)
    [plain] = certify.attack(clf, x[:1], [0], threat=threat)
    assert plain.radius in (4, 5)
    certificates = certify.smooth(clf, x, [0, 0, 0], threat=certify.Features((0, 1)), noise=law, n=20_000)
    table = certify.summarize(certificates, found)
    assert not table.contradictions
    for one, other in zip(certificates, found, strict=True):
        assert one.radius is None or one.radius < other.distance
        claims = example_claims(other, [one], clf, x[one.index], threat)
        assert {claim.standing for claim in claims} == {Standing.CONFIRMED}, [*map(str, claims)]


@pytest.fixture(scope="module")
def sampled():
    base = random_base(7, 6, classes=2)
    x = np.random.default_rng(7).choice(VALUES, (30, 6)).tolist()
    clf, certificates = certified(base, 2, x, 1, n=3000, seed=3, radii=(0, 1))
    one = next(one for one in certificates if one.radius and len(one.evidence.looks[-1].counts) == 2)
    return clf, one, torch.tensor(x[one.index])


def standing(claims, name: str) -> set[Standing]:
    return {one.standing for one in claims if one.claim == name}


def redrawn(clf, one, x):
    return replay_claims(one, clf, x, blocks=(), level=1e-6, seed=11)


def test_an_honest_certificate_is_confirmed_from_counts_and_from_noise_drawn_again(sampled):
    clf, one, x = sampled
    claims = [*smoothing_claims(one), *redrawn(clf, one, x), *certify.check(one, clf, x).claims]
    assert {claim.standing for claim in claims} == {Standing.CONFIRMED}


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        (lambda one: replace(one, radius=one.radius + 1), "radius"),
        (lambda one: replace(one, radius=one.radius - 1), "radius"),
        (lambda one: changed(one, retention=2), "radius"),
        (lambda one: changed(one, dimensions=60), "radius"),
        (lambda one: changed(one, dimensions=4), "radius"),
        (lambda one: replace(one, threat=replace(one.threat, groups=((0,), (1,), (2,)))), "radius"),
        (lambda one: changed(one, q_upper=one.evidence.q_upper / 2), "confidence bound"),
        (lambda one: replace(one, threat=certify.ThreatModel("l2", (0.0,), input_box=BOX)), "noise"),
        (lambda one: changed(one, assumption="none"), "noise"),
        (lambda one: changed(one, slack=0.5), "noise"),
    ],
)
def test_what_is_changed_in_a_certificate_is_refuted_from_its_counts(sampled, change, claim):
    _, one, _ = sampled
    assert standing(smoothing_claims(change(one)), claim) == {Standing.REFUTED}


def changed(one, **fields):
    return replace(one, evidence=replace(one.evidence, **fields))


@pytest.mark.parametrize("fields", [{"seed": 4}, {"null": 0.0}, {"null": (NULL,) * 5 + (1.0,)}])
def test_votes_of_another_seed_or_null_value_are_refuted_by_a_replay(sampled, fields):
    clf, one, x = sampled
    forged = changed(one, **fields)
    assert {claim.standing for claim in smoothing_claims(forged)} == {
        Standing.CONFIRMED
    }  # the counts know nothing of it
    assert Standing.REFUTED in {claim.standing for claim in redrawn(clf, forged, x)}


def test_votes_made_up_for_another_retention_are_refuted_by_a_replay(sampled):
    """Counts, bound and radius agree with one another; the blocks do not."""
    clf, one, x = sampled
    assert standing(certify.check(changed(one, dimensions=7, null=0.5), clf, x).claims, "features") == {
        Standing.REFUTED
    }
    forged = replace(changed(one, retention=2), radius=float(shown_by(one.evidence, 6, 2)))
    assert {claim.standing for claim in smoothing_claims(forged)} == {Standing.CONFIRMED}
    assert Standing.REFUTED in {claim.standing for claim in redrawn(clf, forged, x)}


def shown_by(evidence, d: int, s: int) -> int:
    lead = 1 - Fraction(evidence.q_upper) - Fraction(evidence.rival_upper)
    return max(k for k in range(d + 1) if lead > 2 * (1 - Fraction(math.comb(d - k, s), math.comb(d, s))))


@pytest.mark.parametrize(
    ("seed", "features", "s", "groups"), [(0, 5, 1, None), (1, 6, 2, None), (3, 5, 1, "0+1,2,3"), (5, 4, 4, None)]
)
def test_enumeration_finds_the_exact_radius_and_sampling_never_more(seed, features, s, groups):
    places = groups_of("groups", groups) if groups else tuple((i,) for i in range(features))
    base, xs = random_base(seed, features, 3, invalid=True), np.random.default_rng(seed).choice(VALUES, (20, features))
    clf, sampled = certified(base, 3, xs.tolist(), s, groups, n=2000, alpha=1e-6, schedule="fixed")
    threat = certify.Features((0,), groups=groups, input_box=BOX)
    counted = certify.certify(clf, xs, threat=threat, certifier=certify.Enumeration(s, NULL))
    for x, one, other in zip(xs.tolist(), counted, sampled, strict=True):
        counts = votes(base, x, s, places, 3)
        lead = counts[winner(counts)] - max(
            [math.comb(len(places), s) - sum(counts), *(n for c, n in enumerate(counts) if c != winner(counts))]
        )
        if one.verdict.failed:
            assert sum(counts) * 2 < math.comb(len(places), s)
            continue
        assert one.guarantee.kind == "deterministic"
        assert [one.evidence.votes.counts.get(c, 0) for c in range(3)] == counts
        assert one.prediction == (winner(counts) if any(counts) else None)
        assert one.radius == (exact_radius(counts, len(places), s) if lead > 0 else None)
        assert other.radius is None or (other.prediction, other.radius) <= (one.prediction, one.radius)
        for near in neighbours(x, int(one.radius or 0), places) if lead > 0 else ():
            assert winner(votes(base, near, s, places, 3)) == one.prediction
        assert certify.check(one, clf, x)


def counts_of(one, **fields):
    return changed(one, votes=replace(one.evidence.votes, **fields))


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        (lambda one: replace(one, radius=one.radius + 1), "radius"),
        (lambda one: replace(one, radius=one.radius - 1), "radius"),
        (lambda one: replace(one, prediction=1 - one.prediction), "record"),
        (lambda one: counts_of(one, counts={0: 6, 1: 2}), "votes"),
        (lambda one: counts_of(one, counts={0: 8}), "votes"),
        (lambda one: changed(one, null=1.0), "votes"),
        (lambda one: replace(one, forward_passes=9), "counts"),
        (lambda one: replace(one, verdict=Verdict.UNKNOWN, radius=None), "verdict"),
        (lambda one: replace(one, threat=certify.ThreatModel("l2", (0.0,), input_box=(0.0, 1.0))), "noise"),
        (lambda one: changed(one, dimensions=9), "record"),
        (lambda one: changed(one, retention=2), "record"),
    ],
)
def test_what_is_changed_in_enumerated_votes_is_refuted(change, claim):
    clf, x = certify.Classifier(Seeing().eval(), 2), torch.full((8,), 0.9)
    x[0] = 0.1
    threat = certify.Features((0, 1), input_box=(0.0, 1.0))
    [one] = certify.certify(clf, x[None], threat=threat, certifier=certify.Enumeration(1, NULL))
    assert (one.radius, one.prediction, one.evidence.votes.counts) == (2, 0, {0: 7, 1: 1})
    assert certify.check(one, clf, x)
    try:
        forged = change(one)
    except certify.CertifyError:
        assert claim == "record"  # it cannot even be stated
        return
    assert Standing.REFUTED in standing(certify.check(forged, clf, x).claims, claim)


def test_an_attack_on_enumerated_votes_is_exact():
    clf, x = certify.Classifier(Seeing().eval(), 2), torch.full((2, 8), 0.9)
    x[1, :2] = 0.1
    threat, certifier = certify.Features((0, 1, 2, 3, 4, 5), input_box=(0.0, 1.0)), certify.Enumeration(1, NULL)
    with pytest.raises(certify.CertifyError, match="certify at most radius 3, but radius 5 is declared"):
        certify.evaluate(clf, (x, [0, 0]), threat=threat, certifier=certifier)
    result = certify.evaluate(clf, (x, [0, 0]), threat=threat.at((0, 1, 2, 3)), certifier=certifier, attack="pgd")
    assert [one.radius for one in result.certificates] == [3, 1]
    assert [one.distance for one in result.findings] == [None, 3]  # with two changes more both classes have four votes
    assert not result.summary.contradictions
    assert result.summary.smoothed
    assert "on all 8 subsets" in result.summary.table()
    [found] = [one for one in result.findings if one.succeeded]
    [one] = [one for one in result.certificates if one.index == found.index]
    for wrong in ({}, {"radius": 3.0}):
        claims = example_claims(found, [replace(one, **wrong)], clf, x[1], threat.at((0, 1, 2, 3)))
        refuted = {claim.claim for claim in claims if claim.standing is Standing.REFUTED}
        assert refuted == ({"contradiction"} if wrong else set())


def test_batches_are_tried_in_the_size_in_which_subsets_are_counted():
    """A model that looks at the size of its batch answers one way about 128 subsets, and another way about 36."""

    def looking(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.sum(1), torch.full((len(x),), 1e6 if len(x) == 128 else 0.5)], dim=1)

    clf = certify.Classifier(looking, 2)
    with pytest.raises(certify.CertifyError, match="depends on the batch"):
        certify.certify(clf, [[0.9] * 20], threat=certify.Features((0,)), certifier=certify.Enumeration(2))


def test_subsets_that_were_never_counted_are_no_evidence():
    """Counting stops where there are too many: the number at which it stopped is none of subsets."""
    assert subsets(200, 3) == 19_900 < math.comb(200, 3)
    clf = certify.Classifier(Seeing().eval(), 2)
    [one] = certify.certify(clf, [[0.9] * 8], threat=certify.Features((0,)), certifier=certify.Enumeration(1, NULL))
    evidence = replace(one.evidence, dimensions=200, retention=3, votes=Look(19_900, {0: 19_900}))
    with pytest.raises(certify.CertifyError, match="are not one for each subset"):
        replace(one, evidence=evidence, prediction=0, forward_passes=19_900)


def test_too_many_subsets_are_left_to_sampling():
    clf = certify.Classifier(Seeing().eval(), 2)
    with pytest.raises(certify.CertifyError, match="more than 10,000 subsets of 8 of 64 positions: use .*smoothing"):
        certify.certify(
            clf, [[0.9] * 64], threat=certify.Features((0,), input_box=(0.0, 1.0)), certifier=certify.Enumeration(8)
        )


def test_nan_is_a_vote_for_no_class():
    def partial_answers(left: torch.Tensor) -> torch.Tensor:
        return torch.where(left[:, 0] == NULL, 0, -1)  # no answer where the first feature is kept

    _, [one] = certified(partial_answers, 2, [[0.0] * 8], 1, n=3000, radii=(0, 1, 2))
    assert one.evidence.looks[-1].invalid > 0
    assert (one.prediction, one.radius) == (0, 2) == (0, exact_radius([7, 0], 8, 1))
    _, [none] = certified(lambda left: torch.full((len(left),), -1), 2, [[0.0] * 8], 1, n=3000)
    assert (none.radius, none.prediction) == (None, None)
