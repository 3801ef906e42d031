"""Coverage under the worst change, over thousands of calibrations, against exact binomial laws.

The models are linear, so the worst input of a ball is known: a score of this kind is convex in the input, and largest
at a corner. A wrong threshold, a bound on the wrong side or half a radius would be seen, and the last two are tried.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

import certify
from certify.core.threats.lp import ThreatModel
from certify.data.dataset import input_digest
from certify.models.classifier import Classifier
from certify.sets import bounded
from certify.sets.bounded import BoundedScores
from certify.sets.scores import SCORES, leads
from certify.stats.conformal import as_written, conformal_rank, order_statistic
from tests.conftest import linear

REPEATS, N, COVERAGE, RADIUS = 2000, 19, 0.9, 0.1
WEIGHTS = {2: [[1.0, -0.5, 0.3], [-1.0, 0.5, -0.3]], 3: [[2.0, 0.0, 1.0], [-1.0, 2.0, 0.5], [0.0, -2.0, 1.5]]}
UNLIKELY = 1e-6


def drawn(classes: int) -> tuple[torch.Tensor, list[int]]:
    """REPEATS calibration sets, each with a test input behind it, from a law under which the model errs at times."""
    generator = np.random.default_rng(classes)
    x = generator.uniform(0, 1, (REPEATS * (N + 1), 3)).astype(np.float32)
    scores = 3 * x @ np.array(WEIGHTS[classes]).T + generator.gumbel(size=(len(x), classes))
    return torch.from_numpy(x), scores.argmax(1).tolist()


def worst(classifier: Classifier, score: str, x: torch.Tensor, labels: list[int]) -> torch.Tensor:
    """The corner of the ball, inside the box, at which the label fits worst."""
    corners = torch.tensor(list(itertools.product((-RADIUS, RADIUS), repeat=3)), dtype=torch.float64)
    points = (x.double().unsqueeze(1) + (1 - 1e-6) * corners).clamp(0, 1).float()
    with torch.no_grad():
        found = (
            SCORES[score]().of(leads(classifier.scores(points.flatten(0, 1)).double())).unflatten(0, points.shape[:2])
        )
    of_label = found[torch.arange(len(x)), :, torch.tensor(labels)]
    return points[torch.arange(len(x)), of_label.argmax(1)]


def likely(covered: int, coverage: float) -> bool:
    """Whether so many of REPEATS are no sign of a coverage below the one promised."""
    return bool(stats.binom(REPEATS, coverage).cdf(covered) > UNLIKELY)


@pytest.mark.parametrize(("classes", "score"), [(2, "margin"), (2, "lac"), (3, "lac"), (3, "margin")])
def test_coverage_holds_under_the_worst_change_and_plain_sets_lose_it(classes, score, monkeypatch):
    monkeypatch.setattr(bounded, "TOGETHER", 8192)
    classifier = Classifier(linear(WEIGHTS[classes]), num_classes=classes)
    x, labels = drawn(classes)
    threat = ThreatModel("linf", (RADIUS,), input_box=(0.0, 1.0))
    scorer = BoundedScores(classifier, threat, SCORES[score](), ("crown",))
    upper = np.array(scorer.calibrate(x, labels, [])).reshape(REPEATS, N + 1)
    rank = conformal_rank(N, as_written(COVERAGE))
    thresholds = np.array([order_statistic(row[:N], rank) for row in upper])
    last = slice(N, None, N + 1)
    clean, kept = x[last], labels[last]
    points = worst(classifier, score, clean, kept)
    lowest = {r: scorer.lowest(points, r, [], kept).flatten().numpy() for r in (0.0, RADIUS / 2, RADIUS)}
    covered = {r: int((found <= thresholds).sum()) for r, found in lowest.items()}
    assert likely(covered[RADIUS], COVERAGE)
    assert not likely(covered[0.0], COVERAGE)  # plain sets
    assert not likely(covered[RADIUS / 2], COVERAGE)  # a claim about twice the radius that was searched
    at_clean = int((upper[:, N] <= thresholds).sum())
    assert stats.binomtest(at_clean, REPEATS, rank / (N + 1)).pvalue > UNLIKELY  # no less, and no more
    assert covered[RADIUS] >= at_clean  # input by input: what is covered unchanged is covered changed
    assert bool(((upper[:, N] > thresholds) | (lowest[RADIUS] <= thresholds)).all())


def test_the_lower_ends_are_below_every_score_within_the_radius():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval()
    classifier, x = Classifier(net, num_classes=4), torch.rand(5, 3)
    for norm in ("linf", "l2", "l1"):
        threat = ThreatModel(norm, (0.2,), input_box=(0.0, 1.0))
        for name in SCORES:
            scorer = BoundedScores(classifier, threat, SCORES[name](), ("ibp", "crown"))
            lowest = scorer.lowest(x, 0.2, [])
            highest = [scorer.highest(x, [y] * 5, 0.2) for y in range(4)]
            for row, centre in enumerate(x):
                points = (centre + 0.2 * (2 * torch.rand(4000, 3) - 1)).clamp(0, 1)
                inside = [threat.contains(centre.numpy(), point.numpy()) for point in points]
                with torch.no_grad():
                    scores = SCORES[name]().of(leads(net.double()(points[inside].double())))
                net.float()
                assert bool((scores >= lowest[row] - 1e-6).all())
                assert all(bool((scores[:, y] <= highest[y][row] + 1e-6).all()) for y in range(4))


def test_all_classes_in_parts_are_all_classes_at_once(monkeypatch):
    torch.manual_seed(0)
    classifier, x = Classifier(torch.nn.Linear(3, 6).eval(), num_classes=6), torch.rand(3, 3)
    scorer = BoundedScores(classifier, ThreatModel("linf", (0.1,), (0.0, 1.0)), SCORES["lac"](), ("crown",))
    whole = scorer.lowest(x, 0.1, [])
    monkeypatch.setattr(bounded, "ROWS", 7)
    parts = scorer.lowest(x, 0.1, [])
    assert torch.allclose(whole, parts, rtol=1e-12)
    chosen = scorer.lowest(x, 0.1, [], [5, 0, 2])
    assert torch.allclose(chosen.flatten(), whole[torch.arange(3), [5, 0, 2]], rtol=1e-12)


class Overflowing(torch.nn.Module):
    """Scores of 1e300 and more, which bounds cannot enclose in float64 squares."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 1e4).exp()


def test_a_score_that_cannot_be_bounded_is_in_every_set_and_raises_the_threshold():
    classifier, x = Classifier(Overflowing().eval(), num_classes=2), torch.full((3, 2), 0.5)
    scorer = BoundedScores(classifier, ThreatModel("linf", (0.1,), (0.0, 1.0)), SCORES["lac"](), ("crown",))
    assert scorer.lowest(x, 0.1, []).tolist() == [[-np.inf] * 2] * 3
    assert scorer.highest(x, [0, 1, 0], 0.1) == [np.inf] * 3


def test_ties_and_a_constant_model():
    classifier = Classifier(linear([[0.0, 0.0], [0.0, 0.0]]), num_classes=2)
    x = np.random.default_rng(0).uniform(size=(40, 2)).astype(np.float32)
    y = np.arange(40) % 2
    found = certify.conformal(classifier, (x[:10], y[:10]), (x[10:], y[10:]), threat=ThreatModel("linf", (0.0, 0.1)))
    assert [one.sets for one in found.inputs] == [((0, 1), (0, 1))] * 10
    assert found.contradictions == ()


def test_the_same_inputs_in_other_batches_have_the_same_sets(monkeypatch):
    classifier = Classifier(linear(WEIGHTS[3]), num_classes=3)
    x, labels = drawn(3)
    x, y = x[:120].numpy(), np.array(labels[:120])
    ask = lambda: certify.conformal(classifier, (x[:40], y[:40]), (x[40:], y[40:]), threat=ThreatModel("linf", (0.1,)))  # noqa: E731
    one = ask()
    monkeypatch.setattr(bounded, "TOGETHER", 3)
    other = ask()
    assert [each.sets for each in one.inputs] == [each.sets for each in other.inputs]
    assert [each.input_digest for each in one.inputs] == [input_digest(each) for each in x[:40]]
