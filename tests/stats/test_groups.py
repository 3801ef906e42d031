"""Groups and several tests at once: error rates by summing over every outcome of two groups."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from certify.errors import BadInput
from certify.stats.groups import group_lowers, groups_below, worst_group_lower
from certify.stats.population import population_lower
from certify.stats.simultaneous import holm


@pytest.fixture(autouse=True)
def no_collection(monkeypatch):
    # multipletests collects garbage on every call, 0.1 s each with the whole test suite in memory.
    monkeypatch.setattr("gc.collect", lambda *_: 0)


SIZES = (12, 20)
OUTCOMES = list(product(range(SIZES[0] + 1), range(SIZES[1] + 1)))
TRUTHS = list(product((0.05, 0.3, 0.5, 0.55, 0.9, 1.0), repeat=2))


def chances(truth: tuple[float, float], alpha: float = 0.0) -> np.ndarray:
    one, two = (stats.binom.pmf(np.arange(n + 1), n, t + (1 - t) * alpha) for n, t in zip(SIZES, truth, strict=True))
    return np.outer(one, two).ravel()


def counts(outcome: tuple[int, int]) -> dict[str, tuple[int, int]]:
    return dict(zip(("a", "b"), zip(outcome, SIZES, strict=True), strict=True))


@pytest.mark.parametrize("delta", [0.05, 0.3])
@pytest.mark.parametrize("alpha", [None, 0.05])
def test_the_worst_group_and_the_named_ones_are_bounded_at_delta(delta, alpha):
    worst = np.array([worst_group_lower(counts(outcome), alpha, delta) for outcome in OUTCOMES])
    named = np.array([list(group_lowers(counts(outcome), alpha, delta).values()) for outcome in OUTCOMES])
    # Just below an uncorrected bound, and the other group perfect: the dearest truth there is.
    dearest = [(float(np.nextafter(bound, 0)), 1.0) for bound in np.unique(worst) if 0 < bound < 1]
    failures = [chances(truth, alpha or 0.0) @ (worst > min(truth)) for truth in TRUTHS + dearest]
    assert max(failures) <= delta
    assert max(failures) > 0.7 * delta
    assert max(chances(truth, alpha or 0.0) @ (named > truth).any(axis=1) for truth in TRUTHS + dearest) <= delta
    assert (named.min(axis=1) <= worst).all()
    # Without the correction, a group is named wrongly too often: the two statements do differ.
    loose = np.array([[worst_group_lower({g: c}, alpha, delta) for g, c in counts(o).items()] for o in OUTCOMES])
    tight = product(*(np.nextafter(np.unique(column), 0)[1:] for column in loose.T))
    assert max(chances(truth, alpha or 0.0) @ (loose > truth).any(axis=1) for truth in tight) > delta


@pytest.mark.parametrize("level", [0.3, 0.5, 0.55])
@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_a_group_is_called_low_wrongly_with_probability_at_most_delta(level, delta):
    named = [groups_below(counts(outcome), level, delta) for outcome in OUTCOMES]
    for truth in TRUTHS:
        innocent = {group for group, t in zip("ab", truth, strict=True) if t >= level}
        wrong = np.array([bool(innocent & set(names)) for names in named])
        assert chances(truth) @ wrong <= delta
    assert groups_below({"a": (0, 50), "b": (50, 50)}, level, delta) == ("a",)


def test_one_group_is_the_population():
    for certified in (0, 1, 40, 50):
        [bound] = population_lower([certified], 50, 0.001)
        assert group_lowers({7: (certified, 50)}, 0.001) == {7: bound}
        assert worst_group_lower({7: (certified, 50)}, 0.001) == pytest.approx(bound, rel=1e-12)


def test_holm_by_hand():
    def stepped(p_values, delta):
        rejected = set()
        for left, index in zip(range(len(p_values), 0, -1), np.argsort(p_values, kind="stable"), strict=True):
            if p_values[index] > delta / left:
                break
            rejected.add(index)
        return tuple(i in rejected for i in range(len(p_values)))

    generator = np.random.default_rng(0)
    for _ in range(200):
        p_values = (generator.uniform(size=generator.integers(1, 8)) ** 3).tolist()
        assert holm(p_values, 0.05) == stepped(p_values, 0.05)
    assert holm([0.05], 0.05) == (True,)
    assert holm([0.0, 1.0]) == (True, False)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: worst_group_lower({}, 0.001), "no groups"),
        (lambda: worst_group_lower({"a": (0, 0)}, 0.001), "group 'a'"),
        (lambda: worst_group_lower({"a": (1, 2)}, 0.001, 1.0), "delta"),
        (lambda: worst_group_lower({"a": (1, 2)}, 2.0), "alpha"),
        (lambda: group_lowers({"a": (3, 2)}, 0.001), "group 'a'"),
        (lambda: group_lowers({}, 0.001), "nothing to state"),
        (lambda: groups_below({"a": (1, 2)}, 1.0), "level"),
        (lambda: groups_below({}, 0.5), "no groups"),
        (lambda: holm([]), "p-values"),
        (lambda: holm([0.1, float("nan")]), "p-values"),
        (lambda: holm([0.1], 0.0), "delta"),
    ],
)
def test_bad_input_is_one_line(call, complaint):
    with pytest.raises(BadInput, match=complaint) as caught:
        call()
    assert "\n" not in str(caught.value)
