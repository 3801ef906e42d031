"""Votes drawn again: the recorded noise gives the recorded counts, and fresh noise the claimed probability."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import certify
from certify.certifiers.smoothing import Smoothing
from certify.checker.replay import FRESH_SAMPLES, LEVEL, TESTS_EACH, VoteSource, chosen, derived_seed, replay_claims
from certify.checker.result import Standing
from certify.core.certificate import Certificate, Look, SmoothingEvidence
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.smoothing.streams import BLOCK
from certify.stats.binomial import binomial_at_most, clopper_pearson_upper

CLF = Classifier(lambda x: torch.stack([x[:, 0], x[:, 1], x[:, 2] - 0.6], dim=1), num_classes=3, digest="three")
X = torch.tensor([[0.8, 0.5, 0.4], [0.5, 0.9, 0.4], [0.7, 0.5, 0.4], [0.5, 0.7, 0.4]])
Y = [0, 1, 0, 1]
L2 = certify.ThreatModel("l2", (0.0, 0.1), (0.0, 1.0))


def smooth(**settings) -> list[Certificate]:
    given = {"threat": L2, "sigma": 0.25, "n": 20_000, "seed": 3, **settings}
    made = certify.smooth(CLF, X, given.pop("y", Y), **given)
    assert all(one.radius is not None for one in made)
    return [Certificate.from_dict(json.loads(json.dumps(one.to_dict()))) for one in made]


@pytest.fixture(scope="module")
def fixed() -> list[Certificate]:
    """One look at 20,000 samples, which is not drawn again whole."""
    return smooth(schedule="fixed", n0=1000)


@pytest.fixture(scope="module")
def declared() -> list[Certificate]:
    return smooth()


@pytest.fixture(scope="module")
def looks() -> list[Certificate]:
    """Three looks of one's own, not at the ends of blocks, that are all taken."""
    threat = replace(L2, radii=(0.0, 0.135))
    return smooth(
        threat=threat, sigma=0.15, looks=(500, 3_000, 20_000), look_alphas=(1e-6, 1e-6, 9e-4), alpha=9e-4 + 2e-6, y=None
    )


def claims_of(certificate: Certificate, standing: Standing = Standing.REFUTED, blocks=range(20, 24), clf=CLF, **more):
    given = {"blocks": blocks, "level": LEVEL, "seed": 99, **more}
    found = replay_claims(certificate, clf, X[certificate.index], **given)
    return {one.claim: one.said for one in found if one.standing is standing}


@pytest.mark.parametrize("looks", [lambda size: size > 6, lambda size: size == 64, lambda size: size % 64 == 0])
def test_a_model_that_answers_by_how_many_inputs_it_gets_is_refuted(looks, monkeypatch):
    """Whoever made the run did not look."""
    monkeypatch.setattr(Smoothing, "check_batches", lambda *_: None)
    clf = Classifier(lambda x: CLF.scores(x).roll(1, dims=1) if looks(len(x)) else CLF.scores(x), 3, digest="sizes")
    made = certify.smooth(clf, X[:1], threat=L2, sigma=0.25, n=2_048, n0=64, seed=3, batch_size=64, schedule="fixed")
    claims = claims_of(made[0], clf=clf, blocks=[])
    assert {"selection votes", "votes of the first look"} <= set(claims)


def altered(certificate: Certificate, **evidence) -> Certificate:
    return replace(certificate, evidence=replace(certificate.evidence, **evidence))


def swapped(look: Look, one: int, other: int, count: int = 1) -> Look:
    """A look with some votes for one class counted for another."""
    counts = dict(look.counts)
    counts[one], counts[other] = counts.get(one, 0) - count, counts.get(other, 0) + count
    return replace(look, counts=counts)


def test_untouched_certificates_are_confirmed(fixed, declared, looks):
    for kind, claims in ((fixed, {"selection votes"}), (declared, {"votes of the first look"}), (looks, set())):
        for one in kind:
            blocks = range(math.ceil(one.evidence.looks[0].n / BLOCK), math.ceil(one.evidence.looks[-1].n / BLOCK))
            found = replay_claims(one, CLF, X[one.index], blocks=blocks[-30:], level=LEVEL, seed=5)
            assert {claim.standing for claim in found} == {Standing.CONFIRMED}
            assert {claim.claim for claim in found} >= claims | {"fresh samples"}
            assert all(claim.subject.startswith(f"input {one.index}, smoothing") for claim in found)


def test_blocks_are_the_very_samples_that_the_sampler_drew(fixed):
    """All blocks together hold the whole look: they fit, and with one vote moved they do not."""
    blocks = range(math.ceil(20_000 / BLOCK))
    assert not claims_of(fixed[0], blocks=blocks)
    for one, other in ((0, 1), (1, 0)):
        changed = altered(fixed[0], looks=(swapped(fixed[0].evidence.looks[0], one, other),))
        said = claims_of(changed, blocks=blocks)["votes between looks"]
        assert "20,000 samples of seed 3" in said


def test_counts_of_the_first_look_and_of_the_selection_are_exact(fixed):
    [*_, small] = smooth(schedule="fixed", n=5_000)
    for one, other in ((0, 1), (1, 0)):
        found = claims_of(altered(small, looks=(swapped(small.evidence.looks[0], one, other),)))
        assert list(found) == ["votes of the first look"]
        assert "of 5,000 samples of seed 3 return class" in found["votes of the first look"]
        found = claims_of(altered(fixed[1], selection=swapped(fixed[1].evidence.selection, one, other)))
        assert list(found) == ["selection votes"]


def test_another_seed_is_refuted(declared, fixed):
    assert "of seed 4" in claims_of(altered(declared[2], seed=4))["votes of the first look"]
    assert "of seed 4" in claims_of(altered(fixed[2], seed=4))["selection votes"]


def test_votes_between_looks_fit_what_was_counted_there(looks):
    """Blocks after the second look may not have more votes than were added after it, whatever the totals allow."""
    one = next(one for one in looks if len(one.evidence.looks) == 3)
    first, second, last = one.evidence.looks
    moved = swapped(second, 0, 1, 2_400)
    blocks = range(30, 90)
    assert not claims_of(one, blocks=blocks)
    found = claims_of(altered(one, looks=(first, moved, last)), blocks=blocks)
    few = last.counts[1] - moved.counts[1]
    assert f"return class 1, the record has {few:,} in 17,000" in found["votes between looks"]


def test_a_block_across_a_look_is_counted_where_it_ends(looks):
    one = next(one for one in looks if len(one.evidence.looks) == 3)
    assert all(look.n % BLOCK for look in one.evidence.looks)
    across = [look.n // BLOCK for look in one.evidence.looks]
    assert not claims_of(one, blocks=across)
    found = replay_claims(one, CLF, X[one.index], blocks=across, level=LEVEL, seed=1)
    assert {"look at 3,000", "look at 20,000"} <= {
        claim.subject.split(", ", 2)[-1] for claim in found if claim.standing is Standing.CONFIRMED
    }


def test_a_class_that_has_fewer_votes_than_it_must_is_refuted(fixed):
    """Counts, bound and radius agree with one another, and say too much of this model."""
    last, alpha = fixed[2].evidence.looks[0], fixed[2].evidence.looks[0].alpha
    flattered = replace(last, counts={0: last.n - 5, 1: 5})
    q_upper = clopper_pearson_upper(5, last.n, alpha)
    better = altered(fixed[2], looks=(flattered,), q_upper=q_upper, rival_upper=q_upper)
    found = claims_of(better)
    assert "return class 0, too few for a probability of at least 0.99" in found["fresh samples"]
    assert "too few" in found["votes for the class"]
    assert "the record has" in found["votes between looks"]
    foreign = altered(better, generator="torch-0.0-cuda")
    assert list(claims_of(foreign)) == ["fresh samples"]


def test_a_rival_that_has_more_votes_than_it_may_is_refuted():
    one = smooth(schedule="fixed", bound="runner-up")[2]
    assert not claims_of(one)
    assert "too many for a probability of at most 0.01" in claims_of(altered(one, rival_upper=0.01))["fresh samples"]


def test_another_class_and_another_model_are_refuted(fixed, declared):
    assert "return class 1, too few" in claims_of(replace(fixed[0], prediction=1))["fresh samples"]
    other = Classifier(lambda x: x.flip(1), num_classes=3, digest="three")
    assert {"votes of the first look", "fresh samples"} <= set(claims_of(declared[0], clf=other))


def test_another_noise_law_or_scale_is_refuted(declared):
    assert "votes of the first look" in claims_of(altered(declared[0], sigma=0.5))
    assert "votes of the first look" in claims_of(altered(declared[0], noise="laplace"))
    assert "did you mean" in claims_of(altered(declared[0], noise="gausian"))["noise"]
    assert "noise" in claims_of(altered(declared[0], noise="gaussian-grid"))


def test_what_another_generator_drew_stays_open(declared):
    for change in ({"generator": "torch-1.0-cuda"}, {"block_size": 64}):
        found = claims_of(altered(declared[0], **change), Standing.OPEN)
        assert str(next(iter(change.values()))) in found["votes"]


def test_votes_that_tie_within_rounding_leave_a_difference_open():
    def near(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 0], x[:, 0] * torch.where(x[:, 1] > 0.5, 1 + 1e-7, 1 - 1e-7)], dim=1) + 1

    clf = Classifier(near, num_classes=2, digest="near")
    [one] = certify.smooth(clf, X[1:2, :], [1], threat=L2, sigma=0.25, n=5_000)
    one = replace(one, index=1)
    first = one.evidence.looks[0]
    changed = altered(one, looks=(swapped(first, 1, 0), *one.evidence.looks[1:]))
    found = claims_of(changed, Standing.OPEN, clf=clf)
    assert "tie within rounding" in found["votes of the first look"]


def test_samples_without_a_class_are_counted_as_such():
    clf = Classifier(lambda x: torch.where(x[:, 2:] > 0.9, torch.nan, x[:, :2]), num_classes=2, digest="holes")
    [one] = certify.smooth(clf, X[:1], [0], threat=replace(L2, radii=(0.0,)), sigma=0.25, n=5_000, schedule="fixed")
    assert one.evidence.looks[0].invalid > 0
    assert not claims_of(one, clf=clf)
    look = one.evidence.looks[0]
    hidden = replace(look, counts={**look.counts, 0: look.counts[0] + look.invalid}, invalid=0)
    assert "return no class" in claims_of(altered(one, looks=(hidden,)), clf=clf)["votes of the first look"]


def test_fresh_noise_is_none_that_the_certifier_drew(fixed, monkeypatch):
    """Not even where the checker's seed is the recorded one: the stage is another."""
    drawn, votes = [], VoteSource.votes
    monkeypatch.setattr(VoteSource, "votes", lambda self, *asked: drawn.append(asked) or votes(self, *asked))
    for seed in (3, 99):
        assert not claims_of(fixed[0], seed=seed)
        *recorded, (fresh, stage, samples) = drawn
        assert {asked[:2] for asked in recorded} == {(3, "selection"), (3, "estimation")}
        assert (fresh, stage, samples) == (seed, "check", [range(FRESH_SAMPLES)])
        drawn.clear()


def test_a_check_refutes_by_chance_at_most_once_in_a_million():
    """Exactly: the tail of the most hits that are too few, for each test, all certificates and tests together."""
    for p_lower in (0.501, 0.6, 0.9, 0.999):
        for count in (1, 10, 1000):
            level = LEVEL / count / TESTS_EACH
            few = max(
                (k for k in range(FRESH_SAMPLES + 1) if binomial_at_most(k, FRESH_SAMPLES, p_lower) < level), default=-1
            )
            assert count * TESTS_EACH * binomial_at_most(few, FRESH_SAMPLES, p_lower) <= LEVEL


def test_as_many_blocks_are_chosen_as_were_asked_for(fixed):
    for replay in (0, 1, 3, 4, 9, 100, 10_000):
        picks = chosen(fixed, replay, seed=1)
        assert sum(len(one.blocks) for one in picks) == min(replay, 4 * math.ceil(20_000 / BLOCK))
        assert len(picks) == min(replay, 4)
        for one in picks:
            assert all(a < b for a, b in pairwise(one.blocks))
            assert one.level == pytest.approx(LEVEL / len(picks))
    assert chosen(fixed, 3, seed=1) == chosen(fixed, 3, seed=1)
    assert len({tuple(one.certificate.index for one in chosen(fixed, 2, seed)) for seed in range(20)}) > 4


def test_blocks_that_are_drawn_again_whole_are_not_chosen(declared, looks):
    for one in chosen(declared, 100, seed=0):
        evidence = one.certificate.evidence
        assert all(block * BLOCK >= evidence.looks[0].n for block in one.blocks)
        assert all(block * BLOCK < evidence.looks[-1].n for block in one.blocks)
    assert any(one.blocks for one in chosen(looks, 100, seed=0))
    assert not any(one.blocks for one in chosen(smooth(n=5_000, schedule="fixed"), 100, seed=0))


def test_only_radii_of_smoothed_classifiers_are_replayed(fixed):
    abstained = replace(fixed[0], radius=None, verdict=certify.Verdict.ABSTAIN)
    assert [
        one.certificate.index for one in chosen([abstained, *fixed[1:]], 9, seed=0) if one.certificate.index == 0
    ] == []
    module = torch.nn.Linear(3, 2).eval()
    [bound] = certify.bound(Classifier(module, num_classes=2), X[:1], threat=certify.ThreatModel("linf", (0.0,)))
    assert chosen([bound], 5, seed=0) == []
    with pytest.raises(BadInput, match="only smoothing"):
        replay_claims(bound, CLF, X[0], blocks=(), level=LEVEL, seed=0)


def test_the_default_seed_follows_from_the_records_and_from_nothing_else(fixed):
    seed = derived_seed(fixed)
    assert seed == derived_seed([replace(one, seconds=9.0) for one in fixed])
    changed = altered(fixed[1], looks=(swapped(fixed[1].evidence.looks[0], 1, 0),))
    assert len({seed, derived_seed(fixed[:-1]), derived_seed(fixed[::-1]), derived_seed([fixed[0], changed])}) == 4
    assert isinstance(fixed[0].evidence, SmoothingEvidence)
