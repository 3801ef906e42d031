"""False claims under every schedule, target, way to choose the class, and bound: exactly where sums are possible.

The probability of a class is put exactly where a claim turns false: a claim made there counts as false. Simulations
run the product's own decisions, 100,000 inputs at a time.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from certify.core.certificate import Look
from certify.smoothing.certify import RIVAL_SHARE, certify_votes
from certify.smoothing.noise.gaussian import Gaussian
from certify.smoothing.theorem import Theorem
from certify.stats.binomial import clopper_pearson_upper
from certify.stats.sequential import Looks, geometric_looks, plan

RUNS = 100_000
THEOREM = Theorem(Gaussian(0.25), "l2", dimensions=4)


def schedules(alpha: float, targets: tuple[float, ...]) -> dict[str, Looks]:
    return {
        "declared": geometric_looks(100_000, alpha, targets[0]),
        "declared, three looks": Looks.summing_to(alpha, [500, 5000, 20_000], [alpha / 2, alpha / 4, alpha / 4]),
    }


def claims(looks: Looks, targets: tuple[float, ...], missed: float | np.ndarray, seed: int) -> np.ndarray:
    """How many targets each of many inputs gets proven, if samples miss the class with probability ``missed``."""
    rules, generator = plan(looks, targets), np.random.default_rng(seed)
    missed = np.full(RUNS, missed) if isinstance(missed, float) else missed
    misses, level = np.zeros(len(missed), dtype=np.int64), np.zeros(len(missed), dtype=np.int64)
    active = np.arange(len(missed))
    before = 0
    for look, n in enumerate(looks.n):
        misses[active] += generator.binomial(n - before, missed[active])
        level[active], going = rules.step(look, misses[active], level[active])
        active, before = active[going], n
        if not len(active):
            break
    return level


@pytest.mark.parametrize("radii", [(0.0,), (0.5,), (0.0, 0.25, 0.5), (0.0, 0.25, 0.5, 0.75)])
@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_a_target_at_its_boundary_is_proven_with_probability_at_most_alpha(radii, alpha):
    targets = tuple(THEOREM.most_missed(radius) for radius in radii)
    for name, looks in schedules(alpha, targets).items():
        for j, target in enumerate(targets):
            false = np.count_nonzero(claims(looks, targets, target, seed=j) > j)
            assert false <= alpha * RUNS, (name, j, false)
    # The simulation has teeth: just inside the boundary claims are made.
    inside = claims(schedules(alpha, targets)["declared"], targets, targets[-1] * 0.4, seed=9)
    assert (inside == len(targets)).mean() > 0.5


@pytest.mark.parametrize("q", [0.5, 0.1, 0.01])
def test_the_exact_probability_of_ever_claiming_is_at_most_alpha(q):
    """Without giving up, summed over all paths of misses: the union bound holds, and is not wasted."""
    alpha = 0.01
    looks = geometric_looks(1500, alpha, q)
    claim = plan(looks, (q,)).claim[0]
    alive, claimed, before = np.ones(1), 0.0, 0
    for look, n in enumerate(looks.n):
        alive = np.convolve(alive, stats.binom.pmf(np.arange(n - before + 1), n - before, q))
        proven = np.arange(len(alive)) <= claim[look]
        claimed += alive[proven].sum()
        alive, before = np.where(proven, 0.0, alive), n
    assert 0.3 * alpha < claimed <= alpha


@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_one_look_at_its_boundary_claims_with_exactly_at_most_alpha(alpha):
    for n in (100, 10_000, 100_000):
        for radius in (0.0, 0.25, 0.5):
            q = THEOREM.most_missed(radius)
            most = int(plan(Looks((n,), (alpha,)), (q,)).claim[0, 0])
            assert stats.binom.cdf(most, n, q) <= alpha < stats.binom.cdf(most + 1, n, q)


def test_what_a_look_proves_is_what_clopper_pearson_says():
    looks, targets = Looks((100, 300, 1000), (0.001, 0.002, 0.01)), (0.5, 0.2, 0.03)
    claim = plan(looks, targets).claim
    for j, q in enumerate(targets):
        for k, (n, alpha) in enumerate(zip(looks.n, looks.alpha, strict=True)):
            most = claim[j, k]
            assert most < 0 or clopper_pearson_upper(int(most), n, alpha) <= q
            assert clopper_pearson_upper(int(most) + 1, n, alpha) > q


def test_a_claim_is_made_at_exactly_the_count_that_proves_it_and_never_given_up_there():
    targets = tuple(THEOREM.most_missed(radius) for radius in (0.0, 0.25, 0.5, 0.75))
    for looks in schedules(0.001, targets).values():
        rules = plan(looks, targets)
        assert (rules.give_up > rules.claim).all()
        for look in range(len(looks.n)):
            for j, most in enumerate(rules.claim[:, look]):
                if most >= 0:
                    level, _ = rules.step(look, np.array([most, most + 1]), np.array([j, j]))
                    assert level[0] > j
                    assert level[1] == j


def test_a_look_without_alpha_proves_nothing():
    rules = plan(Looks((10_000, 100_000), (0.0, 0.001)), (0.5,))
    assert rules.claim[0, 0] == -1
    level, going = rules.step(0, np.array([0]), np.array([0]))
    assert (level[0], going[0]) == (0, True)


def test_bounds_that_do_not_decide_prove_nothing():
    assert THEOREM.radius(0.5, 0.5) is None
    assert THEOREM.radius(0.6, 0.4) is None
    assert 0.0 <= THEOREM.radius(0.4999, 0.5) < 1e-3
    for radius in (0.0, 0.1, 0.25, 0.7, 1.9):
        q = THEOREM.most_missed(radius)
        assert THEOREM.radius(q, q) >= radius
        over = THEOREM.radius(np.nextafter(q, 1), np.nextafter(q, 1))
        assert over is None or over < radius


class Drawn:
    """Inputs whose votes are drawn from known class probabilities."""

    def __init__(self, probabilities: np.ndarray, rows: int, seed: int) -> None:
        self.probabilities, self.rows, self.generator = probabilities, rows, np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.rows

    def count(self, stage, ballots):
        drawn = np.array([ballot.stop - ballot.start for ballot in ballots])
        votes = self.generator.multinomial(drawn, self.probabilities)
        return [Look(int(n), dict(enumerate(map(int, row)))) for n, row in zip(drawn, votes, strict=True)]


@pytest.mark.parametrize(
    ("chosen_by", "probabilities"),
    [
        ("label", (0.5, 0.5)),
        ("draws", (0.5, 0.5)),
        ("draws", (0.5, 0.3, 0.2)),
        ("votes", (0.5, 0.5)),
        ("votes", (0.5, 0.25, 0.25)),
    ],
)
def test_the_whole_loop_keeps_alpha_at_a_tie(chosen_by, probabilities):
    """No class has a majority, so every claim at radius 0 is false."""
    rows, alpha = 3_000, 0.01
    looks = Looks((300,), (alpha,)) if chosen_by == "votes" else geometric_looks(2000, alpha, 0.5)
    results = certify_votes(
        Drawn(np.array(probabilities), rows, seed=1),
        THEOREM,
        looks,
        (0.0,),
        chosen_by=chosen_by,
        n0=50,
        labels=[0] * rows if chosen_by == "label" else None,
    )
    false = sum(result.radius is not None for result in results)
    assert false <= alpha * rows
    assert false > 0


@pytest.mark.parametrize("n", [12, 31, 100, 317, 1000])
@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_choosing_the_class_by_the_same_votes_is_exactly_at_most_alpha(n, alpha):
    """The worst case over class probabilities: a tie of two, or one just below a majority beside another class."""
    majority = next(k for k in range(n + 1) if k == n or clopper_pearson_upper(n - k, n, alpha / 2) < 0.5)
    assert 2 * stats.binom.sf(majority - 1, n, 0.5) <= alpha
    upper = [clopper_pearson_upper(n - k, n, alpha / 2) for k in range(majority, n + 1)]
    # With p_A > 1/2: the bound on A passes p_A, or the other class is certified.
    for p_a in np.linspace(0.5, 0.9999, 200)[1:]:
        too_high = next((majority + i for i, q in enumerate(upper) if 1 - q > p_a), n + 1)
        error = stats.binom.sf(too_high - 1, n, p_a) + stats.binom.sf(majority - 1, n, 1 - p_a)
        assert error <= alpha * (1 + 1e-9)


@pytest.mark.parametrize(
    "p", [(0.5, 0.3, 0.2), (0.6, 0.4, 0.0), (0.45, 0.2, 0.35), (0.9, 0.06, 0.04), (0.34, 0.33, 0.33)]
)
@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_the_runner_up_bound_is_exactly_at_most_alpha(p, alpha):
    """Summed over all counts of three classes: how often the radius passes that of the true probabilities."""
    n, sigma = 120, THEOREM.noise.sigma
    p_a, p_b = p[0], max(p[1:])
    true = sigma / 2 * (stats.norm.ppf(p_a) - stats.norm.ppf(p_b))
    upper_a = [clopper_pearson_upper(n - k, n, alpha * (1 - RIVAL_SHARE)) for k in range(n + 1)]
    upper_b = [clopper_pearson_upper(k, n, alpha * RIVAL_SHARE) for k in range(n + 1)]
    k_a, k_b = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    possible = k_a + k_b <= n
    k_a, k_b = k_a[possible], k_b[possible]
    pmf = stats.multinomial.pmf(np.stack([k_a, k_b, n - k_a - k_b], 1), n, p)
    q, rival = np.array(upper_a)[k_a], np.array(upper_b)[np.maximum(k_b, n - k_a - k_b)]
    rival = np.minimum(rival, q)
    with np.errstate(invalid="ignore"):
        radius = np.where(q + rival < 1, sigma / 2 * (stats.norm.isf(q) + stats.norm.isf(rival)), -math.inf)
    assert pmf[radius > true].sum() <= alpha


def test_the_runner_up_bound_is_what_the_loop_computes():
    look = Look(1000, {3: 700, 1: 120, 2: 100}, invalid=80)

    class Counted(Drawn):
        def count(self, stage, ballots):
            return [look]

    settings = {"chosen_by": "label", "labels": [3]}
    votes, looks = Counted(np.ones(1), 1, 0), Looks((1000,), (0.001,))
    [plain] = certify_votes(votes, THEOREM, looks, (0.0,), **settings)
    [better] = certify_votes(votes, THEOREM, looks, (0.0,), rival_share=RIVAL_SHARE, **settings)
    assert better.rival_upper == pytest.approx(stats.beta.isf(0.0001, 121, 880))
    assert better.q_upper == pytest.approx(stats.beta.isf(0.0009, 301, 700))
    assert plain.rival_upper == plain.q_upper == pytest.approx(stats.beta.isf(0.001, 301, 700))
    assert better.radius > plain.radius + 0.05
    # Invalid samples are rivals too: nobody knows which class they would have been.
    look = Look(1000, {3: 700, 1: 120}, invalid=180)
    [worse] = certify_votes(votes, THEOREM, looks, (0.0,), rival_share=RIVAL_SHARE, **settings)
    assert worse.rival_upper == pytest.approx(stats.beta.isf(0.0001, 181, 820))


@pytest.mark.parametrize("n", [1000, 10_000, 100_000])
def test_little_is_lost_by_giving_up_however_few_samples_there_are(n):
    """Inputs spread evenly over radii 0 to 1.2: certified shares against one look at all samples, alpha and all."""
    alpha, runs = 0.001, 20_000
    missed = stats.norm.sf(np.random.default_rng(3).uniform(0, 1.2, runs) / THEOREM.noise.sigma)
    for radius in (0.0, 0.25, 0.5):
        q = THEOREM.most_missed(radius)
        looks = geometric_looks(n, alpha, q)
        proven = claims(looks, (q,), missed, seed=4).sum() / runs
        at_once = (
            np.random.default_rng(5).binomial(n, missed) <= plan(Looks((n,), (alpha * 0.3,)), (q,)).claim[0, 0]
        ).mean()
        assert proven > at_once - 0.01
