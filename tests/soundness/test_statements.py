"""What is said about many inputs is false at most as often as it says: computed exactly, not sampled."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import binom

from certify.core.certificate import BoundEvidence, Certificate, Look, SmoothingEvidence
from certify.core.guarantee import Guarantee
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.data.dataset import Dataset
from certify.stats.population import finite_population_lower
from certify.stats.simultaneous import false_inputs
from certify.study.evaluate import evaluate
from certify.study.read import summarize_run
from certify.summary.summarize import summarize

SMOOTHED = SmoothingEvidence(
    *("gaussian", 2, "label", None, (Look(1000, {0: 1000}, 0.001),), (), 0.0069, 0.0069, 0.0, 0.0, 0.0),
    *("float32", 7, 128, "torch", 0.25),
)
PROVEN = BoundEvidence("crown", (0.0, 1.0), (0.1,), "float64", 0.0, 3)


def certificate(index: int, radius: float | None, threat: ThreatModel, alpha: float | None, **changes) -> Certificate:
    fields = {
        "index": index,
        "input_digest": f"digest {index}",
        "label": 0,
        "prediction": None if radius is None else changes.get("label", 0),
        "verdict": Verdict.ABSTAIN if radius is None else Verdict.CERTIFIED,
        "radius": radius,
        "threat": threat,
        "guarantee": Guarantee.deterministic() if alpha is None else Guarantee.probabilistic(alpha),
        "method": "any",
        "evidence": PROVEN if alpha is None else SMOOTHED,
        "model_digest": "m",
    }
    return Certificate(**{**fields, **changes})


def test_radii_chosen_after_looking_are_not_charged_as_if_they_had_been_declared():
    size, m, delta = 10, 5, 0.3
    radii, threat = np.arange(1.0, size + 1), ThreatModel("l2", (1.0, 4.0, 7.0))  # the true radii of a finite set
    truth = {radius: float((radii >= radius).mean()) for radius in radii}
    wrong = naive = draws = 0
    for drawn in combinations(radii, m):
        proofs = [certificate(index, radius, threat, None) for index, radius in enumerate(drawn)]
        rows = summarize(proofs, radii=radii, of=size, delta=delta).rows
        assert [row.population_lower is None for row in rows] == [row.radius > 7.0 for row in rows]
        wrong += any((row.population_lower or 0.0) > truth[row.radius] for row in rows)
        counts = {radius: sum(one >= radius for one in drawn) for radius in radii}
        naive += any(
            finite_population_lower([count], m, size, None, delta)[0] / size > truth[radius]
            for radius, count in counts.items()
        )
        draws += 1
    assert wrong / draws <= delta < naive / draws


def test_copies_of_an_input_under_two_labels_are_false_twice_as_often():
    groups, alpha, delta = 50, 0.001, 0.05
    threat = ThreatModel("l2", (0.0,))
    # A tie between two classes: one of the two copies is certified with probability 2 alpha, and never rightly.
    failure = 0.0
    for false in range(groups + 1):
        pairs = [
            certificate(
                2 * group + label,
                0.1 if label == 0 and group < false else None,
                threat,
                alpha,
                label=label,
                input_digest=f"digest {group}",
            )
            for group, label in product(range(groups), (0, 1))
        ]
        if summarize(pairs, delta=delta).rows[0].certified_lower > 0:
            failure = float(binom.sf(false - 1, groups, 2 * alpha))
            break
    assert 0 < failure <= delta < binom.sf(0, groups, 2 * alpha)


@pytest.mark.parametrize("labels", [[1, 1, 1], [2, 1, 1, 1], [2, 2, 2], [3, 2, 1], [9, 1], [10, 1]])
@pytest.mark.parametrize("delta", [0.01, 0.05, 0.3])
def test_no_more_distinct_inputs_are_false_than_their_labels_allow(labels, delta):
    alpha, failure = 0.1, 0.0
    allowed = false_inputs([1] * len(labels), alpha, delta, labels)
    for outcome in product((0, 1), repeat=len(labels)):
        chances = [many * alpha if false else 1 - many * alpha for many, false in zip(labels, outcome, strict=True)]
        failure += float(np.prod(chances)) * (sum(outcome) > allowed)
    assert failure <= delta
    assert false_inputs([1] * 4, alpha, delta) == false_inputs([1] * 4, alpha, delta, [1] * 4)


def test_only_a_drawn_subset_is_called_random(halves, l2, tmp_path):
    x = np.linspace([0.5, 0.5], [1.0, 0.0], 40)
    every = Dataset("points", x, np.zeros(40, int), 2, index=np.arange(0, 800, 20))
    for data, said in ((every, None), (every.subset(20, seed=0), "40")):
        out = tmp_path / str(len(data))
        made = evaluate(halves, data, threat=l2, certifier="smoothing", sigma=0.25, n=500, out=out).summary
        for summary in (made, summarize_run(out)):
            [line] = summary.further
            assert line.startswith(
                "If these 40" if said is None else f"As these 20 inputs are a random subset of {said},"
            )
            assert ("subset" in summary.head["data"]) == (said is not None)
