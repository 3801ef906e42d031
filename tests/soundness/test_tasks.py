"""Top-k, regression and several labels under noise, held against closed forms and against every outcome of a vote."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import certify
from certify.checker.replay import replay_claims
from certify.checker.result import Standing
from certify.core.certificate import Look
from certify.core.properties.labels import Labels
from certify.core.rounding import one_in
from certify.errors import BadInput
from certify.smoothing.certify import certify_votes
from certify.smoothing.noise.ablation import Ablation
from certify.smoothing.noise.gaussian import Gaussian
from certify.smoothing.noise.laplace import Laplace
from certify.smoothing.noise.uniform import Uniform
from certify.smoothing.theorem import Theorem
from certify.stats.order import rank_below
from certify.stats.sequential import Looks

ALPHA = 0.05
L2 = certify.ThreatModel("l2", (0.0, 0.05, 0.1))


class Outcomes:
    """Votes about as many inputs as there are outcomes of n samples, one each."""

    def __init__(self, n, kinds):
        bars = itertools.combinations(range(n + kinds - 1), kinds - 1)
        self.counts = [np.diff([-1, *bar, n + kinds - 1]) - 1 for bar in bars]
        self.n = n

    def __len__(self):
        return len(self.counts)

    def count(self, stage, ballots):
        return [Look(self.n, dict(enumerate(self.counts[ballot.row].tolist()))) for ballot in ballots]


def wrong(n, property, theorem, label, probabilities, truth, **settings):
    """The exact probability that a certified radius exceeds ``truth``."""
    votes = Outcomes(n, len(probabilities))
    looks = Looks((n,), (ALPHA,))
    made = certify_votes(
        votes, theorem, looks, (0.0,), chosen_by="label", labels=[label] * len(votes), property=property, **settings
    )
    beyond = [one.radius is not None and one.radius > truth and one.prediction == label for one in made]
    return float(stats.multinomial(n, probabilities).pmf(np.array(votes.counts))[beyond].sum())


@pytest.mark.parametrize(("below", "above"), [(0.1, 0.1), (0.3, 0.3), (0.02, 0.4), (0.5, 0.0), (0.45, 0.45)])
def test_a_median_is_certified_too_far_no_more_often_than_alpha(below, above):
    truth = -max(stats.norm.ppf(below), stats.norm.ppf(above))
    probabilities = [1 - below - above, below, above]
    found = wrong(30, certify.Within(1.0, 0.0), Theorem(Gaussian(1.0), "l2", 4), 0, probabilities, max(truth, 0.0))
    assert found <= ALPHA
    if (below, above) == (0.02, 0.4):
        assert found > ALPHA / 3  # one side alone can go wrong, and has all of alpha


@pytest.mark.parametrize(
    "p", [(0.4, 0.2, 0.2, 0.2), (0.4, 0.3, 0.2, 0.1), (0.34, 0.33, 0.33, 0.0), (0.5, 0.4, 0.05, 0.05)]
)
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_class_is_put_among_the_top_k_too_far_no_more_often_than_alpha(p, share):
    property, theorem = certify.TopK(2), Theorem(Gaussian(1.0), "l2", 4, places=2)
    strong = sorted(p[1:], reverse=True)[1]
    truth = theorem.radius(1 - p[0], strong if share else 1 - p[0])
    assert truth is not None
    assert wrong(14, property, theorem, 0, p, truth, rival_share=share) <= ALPHA


@pytest.mark.parametrize("apart", [(0.2, 0.2), (0.5, 0.1), (0.4, 0.4)])
def test_several_labels_are_certified_too_far_no_more_often_than_alpha(apart):
    """The labels go wrong independently of each other: the answers are the products."""
    one, two = apart
    probabilities = [(1 - one) * (1 - two), one * (1 - two), (1 - one) * two, one * two]
    truth = -stats.norm.ppf(max(apart))
    assert wrong(14, Labels([0.0, 0.0]), Theorem(Gaussian(1.0), "l2", 4), 0, probabilities, truth) <= ALPHA


@pytest.mark.parametrize(
    ("law", "cdf"),
    [
        (Gaussian(1.0), stats.norm().cdf),
        (Laplace(1.0), stats.laplace(scale=1 / math.sqrt(2)).cdf),
        (Uniform(1.0), stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)).cdf),
    ],
    ids=["gaussian", "laplace", "uniform"],
)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_no_shift_within_the_radius_takes_a_class_out_of_the_top_k(law, cdf, k):
    """Classes own cells of a line; under noise and a shift their probabilities are known."""
    generator, theorem = np.random.default_rng(k), Theorem(law, law.norms[0], 1, places=k)
    edges = np.linspace(-3, 3, 25)
    tried, nearest = 0, math.inf
    for _ in range(400):
        owners = (
            np.sort(generator.integers(0, k + 2, 26)) if generator.random() < 0.3 else generator.integers(0, k + 2, 26)
        )
        owner = (owners[:, None] == np.arange(k + 2)).astype(float)

        def probability(shift, owner=owner):
            parts = np.diff(np.concatenate([[0.0], cdf(edges - shift), [1.0]]))
            return parts @ owner

        p = probability(0.0)
        for label in range(k + 2):
            rivals = np.sort(np.delete(p, label))[::-1]
            radius = theorem.radius(max(1 - p[label], 1e-12), max(rivals[k - 1], 1e-12))
            if radius is None or radius <= 0:
                continue
            tried += 1
            for shift in (-radius, radius, -radius / 2, radius / 2):
                moved = probability(shift * (1 - 1e-6))
                ahead = int((moved > moved[label] + 1e-9).sum())
                assert ahead < k
                nearest = min(nearest, float(moved[label] - np.sort(np.delete(moved, label))[::-1][k - 1]))
    assert tried > 100
    assert nearest < 0.02  # the radius is not far from the largest


def test_the_worst_cells_leave_the_top_k_just_beyond_the_radius():
    """A half line against k rivals that share the rest: the bound 1 / (k + 1) is reached."""
    for k in (1, 2, 4):
        for law, cdf in ((Gaussian(1.0), stats.norm()), (Laplace(math.sqrt(2)), stats.laplace())):
            q = 0.3
            edge, to = cdf.ppf(1 - q), cdf.ppf(1 / (k + 1))
            assert law.radius_above(q, one_in(k + 1), law.norms[0]) == pytest.approx(edge - to, rel=1e-9)


def test_ablation_leaves_a_class_what_no_changed_position_shows():
    law = Ablation(2).about(certify.Features((1,), input_box=(0.0, 1.0)), (9,))
    for q, least in itertools.product((0.01, 0.2, 0.5, 0.6), (0.25, one_in(3), 0.5)):
        if q + least < 1:
            kept = max(k for k in range(8) if k == 0 or math.comb(9 - k, 2) / 36 - q > least + 1e-12)
            assert law.radius_above(q, least, "features") == kept


@pytest.fixture(scope="module")
def line():
    """A regression on a line, and an input with its output."""
    layer = nn.Linear(3, 1).eval()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 0.0, 4.0]]))
        layer.bias.zero_()
    return certify.Regressor(layer), torch.tensor([[0.4, 0.5, 0.6]]), 3.6


SETTINGS = {"sigma": 0.1, "n": 4000, "seed": 1}


def test_the_median_of_a_linear_model_is_certified_as_far_as_it_is_true(line):
    """w x + noise has the median w x, which reaches the tolerance at (tolerance - error) / |w|."""
    model, x, output = line
    for error, tolerance in ((0.0, 1.0), (0.4, 1.0), (-0.3, 0.6)):
        property = certify.Within(tolerance)
        [one] = certify.certify(
            model, x, [output + error], threat=L2, property=property, certifier=certify.Smoothing(**SETTINGS)
        )
        truth = (tolerance - abs(error)) / 5
        assert one.radius is not None
        assert one.radius <= truth
        if truth > 0.12:
            assert one.holds_at(0.1)
        assert certify.check(one, model, x[0])
    [one] = certify.certify(
        model, x, [output + 1.2], threat=L2, property=certify.Within(1.0), certifier=certify.Smoothing(**SETTINGS)
    )
    assert (one.radius, one.prediction, one.correct) == (None, 1, False)


def test_a_median_away_from_the_model_is_outside_and_nothing_is_certified():
    """The model's own output at the input is a spike, which noise does not see.

    Half of the outputs below and half above have a median inside. Both sides could then be taken for the one that
    holds it, each with probability alpha.
    """
    x = torch.tensor([[0.4, 0.5, 0.6]])
    spike = certify.Regressor(lambda z: (z == x).all(dim=1).float() * 5)
    [one] = certify.certify(
        spike, x, threat=L2, property=certify.Within(1.0), certifier=certify.Smoothing(sigma=0.1, n=500, seed=0)
    )
    assert (one.prediction, one.property.target) == (1, 5.0)
    assert one.radius is None
    assert certify.check(one, spike, x[0])
    votes = Outcomes(40, 3)
    made = certify_votes(
        votes,
        Theorem(Gaussian(1.0), "l2", 4),
        Looks((40,), (ALPHA,)),
        (0.0,),
        chosen_by="label",
        labels=[1] * len(votes),
        property=certify.Within(1.0, 0.0),
    )
    assert all(one.radius is None for one in made)


def test_outputs_that_are_no_numbers_count_on_both_sides(line):
    model, x, output = line
    broken = certify.Regressor(
        lambda z: torch.where(z[:, 1] < 0.5 - 0.0253, torch.nan, z @ torch.tensor([3.0, 0, 4.0]))
    )
    reached = []
    for one in (model, broken):  # two of five samples are NaN
        [made] = certify.certify(
            one, x, [output], threat=L2, property=certify.Within(1.0), certifier=certify.Smoothing(**SETTINGS)
        )
        reached.append(made)
    assert reached[0].holds_at(0.1)
    assert reached[1].evidence.looks[-1].invalid > 0.3 * reached[1].evidence.looks[-1].n
    assert not reached[1].holds_at(0.05)
    assert reached[1].evidence.q_upper > 0.4
    assert certify.check(reached[1], broken, x[0])


def test_an_input_without_an_output_of_its_own_has_no_target():
    broken = certify.Regressor(lambda z: torch.where(z[:, 0] > 0.4, torch.nan, z[:, 0]))
    with pytest.raises(certify.CertifyError, match="returns nan for input 1: no target"):
        certify.smooth(broken, [[0.1], [0.5]], threat=L2, property=certify.Within(0.5), sigma=0.1)


@pytest.mark.parametrize(("n", "p"), [(40, 0.5), (40, 0.2), (200, 0.1587)])
def test_the_rank_of_a_quantile_is_wrong_no_more_often_than_alpha(n, p):
    rank = rank_below(n, p, ALPHA)
    assert stats.binom.cdf(rank - 1, n, p) <= ALPHA < stats.binom.cdf(rank, n, p)


def test_the_median_of_a_linear_model_lies_in_its_interval_wherever_the_input_moves(line):
    model, x, output = line
    threat = certify.ThreatModel("l2", (0.0, 0.1, 0.2))
    [one] = certify.predict(model, x, sigma=0.1, n=4000, seed=3, threat=threat)
    assert one.value == pytest.approx(output, abs=0.05)
    for radius, low, high in one.intervals:
        assert low <= output - 5 * radius
        assert high >= output + 5 * radius
        assert high - low <= 10 * radius + 0.3  # and not much longer
    [far] = certify.predict(model, x, sigma=0.1, n=100, seed=3, threat=certify.ThreatModel("l2", (0.4,)))
    assert far.intervals == ((0.4, -math.inf, math.inf),)


def test_intervals_about_scaled_balls_are_refused(line):
    """A radius of 0.1 would move every feature by ten times as much."""
    model, x, _ = line
    scaled = certify.ThreatModel("l2", (0.1,), scale=[10.0] * x.shape[1])
    with pytest.raises(BadInput, match="per-feature scale"):
        certify.predict(model, x, sigma=0.1, threat=scaled)


def test_intervals_miss_the_median_no_more_often_than_alpha(line):
    """300 draws of 60 samples about one input; both ends at the edge of the shift."""
    model, x, output = line
    threat, missed = certify.ThreatModel("l2", (0.05,)), 0
    for seed in range(300):
        [(_, low, high)] = certify.predict(model, x, sigma=0.1, n=60, alpha=0.2, seed=seed, threat=threat)[0].intervals
        missed += low > output - 5 * 0.05 or high < output + 5 * 0.05
    assert stats.binom.sf(missed - 1, 300, 0.2) > 1e-6
    assert missed > 10


def test_samples_that_are_no_numbers_widen_an_interval_on_both_sides(line):
    model, x, _ = line
    weights = torch.tensor([3.0, 0.0, 4.0])
    broken = certify.Regressor(lambda z: torch.where(z[:, 1] < 0.4, torch.inf, z @ weights))
    whole, part = (certify.predict(one, x, sigma=0.1, n=1000, seed=3)[0] for one in (model, broken))
    assert part.intervals[0][1] < whole.intervals[0][1]
    assert part.intervals[0][2] > whole.intervals[0][2]
    [none] = certify.predict(certify.Regressor(lambda z: z[:, 0] * torch.nan), x, sigma=0.1, n=100, seed=3)
    assert math.isnan(none.value)
    assert none.intervals == ((0.0, -math.inf, math.inf),)


@pytest.fixture(scope="module")
def classes():
    """Four classes by the value of one feature, so that votes under noise are Gaussian integrals."""
    edges = torch.tensor([0.4, 0.5, 0.6])
    return certify.Classifier(lambda z: (z[:, :1] > edges).sum(dim=1), num_classes=4)


def test_a_class_is_among_the_top_k_as_far_as_it_is_true(classes):
    x, sigma = torch.tensor([[0.47, 0.1]]), 0.1
    edges = np.array([-np.inf, 0.4, 0.5, 0.6, np.inf])
    shifts = np.linspace(-0.4, 0.4, 801)
    p = np.diff(stats.norm.cdf((edges - 0.47 - shifts[:, None]) / sigma), axis=1)
    for label, k, given in itertools.product((0, 1, 2), (1, 2), ({}, {"schedule": "fixed", "bound": "runner-up"})):
        property = certify.TopK(k)
        certifier = certify.Smoothing(sigma=sigma, n=3000, seed=0, **given)
        [one] = certify.certify(classes, x, [label], threat=L2, property=property, certifier=certifier)
        ahead = (p > p[:, [label]] + 1e-12).sum(axis=1)
        truth = np.abs(shifts[ahead >= k]).min()
        if one.radius is not None and one.prediction == label:
            assert one.radius <= truth
        assert certify.check(one, classes, x[0])
    assert one.property == certify.TopK(2)


def test_more_places_reach_further_and_own_counts_further_than_none(classes):
    x = torch.tensor([[0.47, 0.1]])

    def radius(k, **given):
        certifier = certify.Smoothing(sigma=0.1, n=3000, seed=0, schedule="fixed", selection="label", **given)
        [one] = certify.certify(classes, x, [1], threat=L2, property=certify.TopK(k), certifier=certifier)
        return one.radius or 0.0

    assert radius(1) < radius(2) < radius(3)
    assert radius(2) < radius(2, bound="runner-up")
    plain = certify.smooth(classes, x, [1], threat=L2, sigma=0.1, n=3000, seed=0, schedule="fixed", selection="label")
    assert plain[0].radius == pytest.approx(radius(1) or None)


@pytest.fixture(scope="module")
def labelled():
    """Three labels, each by one feature."""
    layer = nn.Linear(3, 3, bias=False).eval()
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([1.0, 2.0, 4.0])))
    return certify.Classifier(layer, num_classes=3), torch.tensor([[0.7, 0.2, 0.9]]), Labels([0.5, 1.0, 2.0])


def test_several_labels_hold_as_far_as_each_does(labelled):
    """Label i is there where feature i exceeds one half: the nearest is 0.2 away."""
    model, x, property = labelled
    threat = certify.ThreatModel("l2", (0.0, 0.1, 0.15))
    [one] = certify.certify(
        model, x, [[1, 0, 1]], threat=threat, property=property, certifier=certify.Smoothing(sigma=0.1, n=4000, seed=0)
    )
    assert (one.prediction, one.correct, property.word(one.prediction)) == (5, True, "labels 0, 2")
    assert one.holds_at(0.1)
    assert one.radius <= 0.2
    assert certify.check(one, model, x[0])
    [proof] = certify.certify(model, x, [[1, 0, 1]], threat=threat, property=property, certifier="crown")
    assert proof.radius == pytest.approx(0.2, abs=2e-3)
    assert proof.radius <= 0.2 + 1e-7
    assert certify.check(proof, model, x[0])
    [other] = certify.certify(model, x, [[1, 1, 1]], threat=threat, property=property, certifier="crown")
    assert not other.correct
    [found] = certify.attack(model, x, [[1, 0, 1]], threat=certify.ThreatModel("l2", (0.1, 0.25)), property=property)
    assert found.radius == 0.25
    assert found.adversarial_prediction in (4, 7)


def replayed(one, model, x):
    """How the claims about votes stand once they are drawn again."""
    claims = replay_claims(one, model.with_property(one.property), x, blocks=(), level=1e-6, seed=5)
    return {claim.standing for claim in claims}


def forgeries(one):
    """Records that claim more than their votes show, each with what was changed."""
    evidence = one.evidence
    last = evidence.looks[-1]
    votes = dict(last.counts)
    worst = max((answer for answer in votes if answer != one.prediction), key=votes.get)
    moved = votes | {worst: 0, one.prediction: votes.get(one.prediction, 0) + votes[worst]}
    return {
        "radius": dataclasses.replace(one, radius=one.radius * 1.001 + 1e-6),
        "counts": dataclasses.replace(
            one,
            evidence=dataclasses.replace(
                evidence, looks=(*evidence.looks[:-1], dataclasses.replace(last, counts=moved))
            ),
        ),
        "bound": dataclasses.replace(one, evidence=dataclasses.replace(evidence, q_upper=evidence.q_upper * 0.99)),
    }


@pytest.mark.parametrize("forged", ["radius", "counts", "bound"])
@pytest.mark.parametrize("task", ["within", "top-k", "labels"])
def test_forged_records_are_refused(task, forged, line, classes, labelled):
    model, x, y, property, sigma = {
        "within": (*line[:2], [line[2] + 0.2], certify.Within(0.6), 0.05),
        "top-k": (classes, torch.tensor([[0.47, 0.1]]), [1], certify.TopK(2), 0.05),
        "labels": (*labelled[:2], [[1, 0, 1]], labelled[2], 0.15),
    }[task]
    [one] = certify.certify(
        model, x, y, threat=L2, property=property, certifier=certify.Smoothing(sigma=sigma, n=3000, seed=2)
    )
    assert one.radius is not None
    assert certify.check(one, model, x[0])
    assert replayed(one, model, x[0]) == {Standing.CONFIRMED}
    assert not certify.check(forgeries(one)[forged], model, x[0])


def test_a_claim_about_a_weaker_property_is_none_about_a_stronger_one(classes, line):
    x = torch.tensor([[0.47, 0.1]])
    certifier = certify.Smoothing(sigma=0.15, n=3000, seed=0)
    [one] = certify.certify(classes, x, [0], threat=L2, property=certify.TopK(3), certifier=certifier)
    assert one.radius is not None
    for stronger in (certify.TopK(1), certify.TopClass()):
        try:
            forged = dataclasses.replace(one, property=stronger)
        except BadInput:
            continue
        assert not certify.check(forged, classes, x[0])
    model, x, output = line
    [one] = certify.certify(model, x, [output], threat=L2, property=certify.Within(1.0), certifier=certifier)
    assert replayed(one, model, x[0]) == {Standing.CONFIRMED}
    forged = dataclasses.replace(one, property=certify.Within(0.1, output))
    assert Standing.REFUTED in replayed(forged, model, x[0])


def test_a_smoothed_model_is_attacked_for_what_is_asked_of_it(line, classes):
    model, x, output = line
    threat = certify.ThreatModel("l2", (0.1, 0.3))
    settings = {"noise": "gaussian", "sigma": 0.1, "n": 2000}
    [found] = certify.attack(model, x, [output], threat=threat, property=certify.Within(1.0), **settings)
    assert found.radius == 0.3  # the median leaves the tolerance 0.2 away
    assert found.distance > 0.2
    net = nn.Linear(2, 4).eval()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0, 0.0], [40.0, 0.0], [80.0, 0.0], [120.0, 0.0]]))
        net.bias.copy_(torch.tensor([0.0, -16.0, -36.0, -60.0]))  # the edges of `classes`
    [found] = certify.attack(
        certify.Classifier(net, 4),
        torch.tensor([[0.47, 0.1]]),
        [1],
        threat=threat,
        property=certify.TopK(2),
        **settings,
    )
    assert found.radius == 0.3
    assert certify.smooth(classes, torch.tensor(found.x_adv)[None], threat=L2, sigma=0.1)[0].prediction != 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"property": certify.TopK(2), "selection": "votes", "schedule": "fixed"}, "a theorem about the top class"),
        ({"property": Labels([0.0] * 4), "bound": "runner-up", "schedule": "fixed"}, "has no runner-up"),
        ({"property": Labels([0.0] * 3)}, "thresholds for 3 labels, and the model has 4 outputs"),
    ],
)
def test_what_proves_nothing_is_refused_in_one_line(settings, said, classes):
    with pytest.raises(BadInput, match=said) as problem:
        certify.smooth(classes, [[0.47, 0.1]], [1], threat=L2, sigma=0.1, **settings)
    assert "\n" not in str(problem.value)


def test_several_labels_are_not_answered_with_the_set_that_most_votes_name(labelled):
    model, x, property = labelled
    with pytest.raises(BadInput, match="a majority of its own"):
        certify.predict(model.with_property(property), x, sigma=0.1)


def test_rows_of_labels_that_are_none_are_refused(labelled):
    model, x, property = labelled
    for y, said in (([[1, 0]], "one label an input"), ([[1, 0, 2]], "0 or 1"), ([9], "out of range")):
        with pytest.raises(certify.CertifyError, match=said):
            certify.certify(model, x, y, threat=L2, property=property, certifier="crown")
    four = certify.Classifier(lambda z: z, num_classes=4)
    with pytest.raises(certify.CertifyError, match="one label an input"):  # two digits make four numbers, not classes
        certify.smooth(four, [[0.5, 0.1, 0.1, 0.1]], [[1, 1]], threat=L2, sigma=0.1)
    for given in ([0.0], [0.0] * 17, [0.0, float("nan")]):
        with pytest.raises(BadInput):
            Labels(given)
