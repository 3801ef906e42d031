"""Sets from votes under noise: both ends err as often as is paid for, and coverage holds under the worst change.

For a linear model under Gaussian noise the certificate is tight: half a space is the worst event there is.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

import certify
from certify.errors import CertifyError
from certify.models.classifier import Classifier
from certify.sets import voted
from certify.sets.scores import SCORES
from certify.sets.voted import VotedScores
from certify.smoothing.noise.base import NOISES
from certify.smoothing.theorem import Theorem
from certify.stats.conformal import as_written, conformal_rank, order_statistic
from tests.conftest import linear

SIGMA, UNLIKELY = 0.5, 1e-6


def scorer(samples: int, each: Fraction, classifier: Classifier | None = None, noise: str = "gaussian") -> VotedScores:
    classifier = classifier or Classifier(linear([[1.0, 0.0], [-1.0, 0.0]]), num_classes=2, input_box=None)
    law = NOISES[noise](SIGMA)
    return VotedScores(classifier, Theorem(law, law.norms[0], 2), SCORES["margin"](), samples, each, seed=0)


@pytest.mark.parametrize(("samples", "each", "radius"), [(20, Fraction(1, 10), 0.2), (60, Fraction(1, 25), 0.4)])
def test_both_ends_fail_as_often_as_exact_binomial_tails_say(samples, each, radius):
    """The score of class 0 is -2 x_0, its median under noise the same, and the worst change raises it by 2 r."""
    votes, n = scorer(samples, each), 2500
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, (n, 2)).astype(np.float32))
    true, digests = -2.0 * x[:, 0].double().numpy(), [f"input {place}" for place in range(n)]
    upper = np.array(votes.calibrate(x, [0] * n, digests))
    at = next(j for j in range(samples + 1) if stats.binom(samples, 0.5).sf(j - 1) <= float(each))
    assert stats.binomtest(int((upper < true).sum()), n, stats.binom(samples, 0.5).sf(at - 1)).pvalue > UNLIKELY
    changed = x - torch.tensor([radius, 0.0])
    lower = votes.lowest(changed, radius, digests, [0] * n).flatten().numpy()
    m = stats.norm.sf(radius / SIGMA)
    place = max(k for k in range(samples + 1) if k == 0 or stats.binom(samples, m).cdf(k - 1) <= float(each))
    assert votes.lower(radius) == place > 0
    tail = stats.binom(samples, m).cdf(place - 1)
    assert stats.binomtest(int((lower > true + 1e-6).sum()), n, tail).pvalue > UNLIKELY
    assert tail <= each < stats.binom(samples, m).cdf(place)
    too_far = votes.lowest(x - torch.tensor([2 * radius, 0.0]), radius, digests, [0] * n).flatten().numpy()
    assert (too_far > true + 1e-6).mean() > 3 * float(each)  # a claim about twice the radius would be seen


def test_coverage_holds_under_the_worst_change_and_plain_sets_lose_it():
    repeats, n, coverage, radius = 200, 9, 0.5, 0.6
    votes = scorer(100, Fraction(1, 40))
    generator = np.random.default_rng(1)
    x = torch.from_numpy(generator.normal(0, 0.2, (repeats * (n + 1), 2)).astype(np.float32))
    digests = [f"input {place}" for place in range(len(x))]
    upper = np.array(votes.calibrate(x, [0] * len(x), digests)).reshape(repeats, n + 1)
    rank = conformal_rank(n, as_written(coverage) + votes.paid)
    assert (rank, votes.paid) == (6, Fraction(1, 20))
    thresholds = np.array([order_statistic(row[:n], rank) for row in upper])
    points = x[n :: n + 1] - torch.tensor([radius, 0.0])
    covered = {
        r: int((votes.lowest(points, r, digests[:repeats], [0] * repeats).flatten().numpy() <= thresholds).sum())
        for r in (0.0, radius)
    }
    assert stats.binom(repeats, coverage).cdf(covered[radius]) > UNLIKELY
    assert stats.binom(repeats, coverage).cdf(covered[0.0]) < UNLIKELY


@pytest.mark.parametrize("noise", ["laplace", "uniform"])
def test_other_laws_take_their_own_theorem(noise):
    votes = scorer(150, Fraction(1, 200), noise=noise)
    places = [votes.lower(radius) for radius in (0.0, 0.1, 0.3)]
    assert places == sorted(places, reverse=True)
    assert places[0] > places[2] > 0


def test_far_radii_leave_every_class():
    votes = scorer(150, Fraction(1, 200))
    assert votes.lower(10.0) == 0
    assert "no number of draws" in votes.shortfall(10.0)
    assert votes.shortfall(0.1) == ""
    enough = int(votes.shortfall(1.0).split("; ")[1].split()[0])
    assert scorer(enough, Fraction(1, 200)).lower(1.0) == 1
    assert scorer(enough - 1, Fraction(1, 200)).lower(1.0) == 0
    assert votes.lowest(torch.zeros(2, 2), 10.0, ["a", "b"]).tolist() == [[-np.inf] * 2] * 2


def test_draws_without_scores_vote_for_every_class_and_none_in_calibration():
    classifier = Classifier(lambda x: torch.full((len(x), 2), torch.nan), num_classes=2, input_box=None)
    votes = scorer(150, Fraction(1, 200), classifier)
    assert votes.lowest(torch.zeros(1, 2), 0.1, ["a"]).tolist() == [[-np.inf] * 2]
    assert votes.calibrate(torch.zeros(1, 2), [0], ["a"]) == [np.inf]


def test_noise_about_an_input_depends_on_nothing_else():
    votes, x = scorer(150, Fraction(1, 200)), torch.rand(5, 2)
    whole = votes.lowest(x, 0.1, list("abcde"))
    assert torch.equal(votes.lowest(x[[3, 1]], 0.1, ["d", "b"]), whole[[3, 1]])
    assert votes.calibrate(x, [0] * 5, list("abcde"))[2:] == votes.calibrate(x[2:], [0] * 3, list("cde"))


@pytest.fixture(scope="module")
def clf():
    return certify.Classifier(linear([[3.0, 0.0], [0.0, 3.0], [1.0, 1.0]]), num_classes=3)


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.uniform(0, 1, (n, 2)).astype(np.float32)
    return x, (9 * x @ np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 0.3]]) + generator.gumbel(size=(n, 3))).argmax(1)


L2 = certify.ThreatModel("l2", (0.0, 0.1))
SMOOTHING = certify.Smoothing(sigma=0.25)


def test_sets_say_what_was_paid_and_who_may_not_know_what(clf):
    found = certify.conformal(clf, drawn(30, 1), drawn(99, 2), threat=L2, certifier=SMOOTHING)
    assert (found.rank, found.paid, found.proven) == (91, "1/100", None)
    text = " ".join(str(found).split())
    assert "but not the noise about the changed input" in text
    assert "The noise may fail for 1 % of inputs, which the threshold pays for" in text
    assert "150 draws of gaussian noise, sigma=0.25" in text
    assert found.rows[0].size <= found.rows[1].size
    other = certify.conformal(clf, drawn(30, 1), drawn(99, 2), threat=L2, certifier=SMOOTHING, seed=5, attack=False)
    assert other.scores != found.scores


def test_a_function_of_classes_alone_has_sets(clf):
    function = certify.Classifier(clf.predict, num_classes=3)
    how = {"threat": L2, "certifier": SMOOTHING, "coverage": 0.6, "score": "margin"}
    found = certify.conformal(function, drawn(30, 1), drawn(99, 2), **how)
    assert "Not attacked" in str(found)
    assert set(found.scores) == {-1.0, 1.0}
    assert found.rows[0].size < found.rows[1].size < 3


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"samples": 5}, "samples=5 bound no median"),
        ({"samples": 1.5}, "samples must be a whole number"),
        ({"samples": 0}, "samples=0 bound no median"),
        ({"certifier": "crown", "samples": 100}, "samples are drawn by smoothing"),
        ({"certifier": certify.Smoothing(sigma=0.25, noise="gaussian-grid")}, "changed inputs lie off it"),
        ({"threat": certify.ThreatModel("linf", (0.1,))}, "gaussian noise has no radius theorem in linf"),
        ({"threat": certify.ThreatModel("l2", (0.1,), scale=(1.0, 2.0))}, "per-feature scale"),
    ],
)
def test_what_cannot_be_right_is_one_line(clf, changed, words):
    with pytest.raises(CertifyError) as caught:
        certify.conformal(
            clf, drawn(9, 1), drawn(30, 2), **{"threat": L2, "certifier": SMOOTHING, "attack": False, **changed}
        )
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_draws_than_are_held_are_refused():
    with pytest.raises(CertifyError, match="samples=100001 is more than the 100,000 draws"):
        scorer(100_001, Fraction(1, 200))


def test_scores_of_many_classes_are_computed_in_parts(monkeypatch):
    clf = Classifier(linear(np.random.default_rng(0).normal(size=(7, 2)).tolist()), num_classes=7, input_box=None)
    votes, x = scorer(60, Fraction(1, 25), clf), torch.rand(3, 2, generator=torch.Generator().manual_seed(0))
    whole = votes.lowest(x, 0.1, ["a", "b", "c"])
    monkeypatch.setattr(voted, "NUMBERS", 100)
    assert torch.equal(votes.lowest(x, 0.1, ["a", "b", "c"]), whole)
    assert torch.equal(votes.lowest(x, 0.1, ["a", "b", "c"], [2, 0, 6])[:, 0], whole[torch.arange(3), [2, 0, 6]])
