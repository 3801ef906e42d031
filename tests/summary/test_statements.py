"""What a summary claims in words: about these inputs, about those they were drawn from, about other norms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from certify.certifiers.smooth import smooth
from certify.core.certificate import BoundEvidence, Certificate, Look, PublishedEvidence, SmoothingEvidence
from certify.core.guarantee import Guarantee
from certify.core.norms import convert_radius
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.errors import BadInput
from certify.stats.population import finite_population_lower, population_lower
from certify.summary.convert import converted
from certify.summary.envelope import envelope
from certify.summary.summarize import summarize

THREAT = ThreatModel("l2", (0.0, 0.5))
SMOOTHED = SmoothingEvidence(
    *("gaussian", 2, "label", None, (Look(1000, {0: 1000}, 0.001),), (), 0.0069, 0.0069, 0.0, 0.0, 0.0),
    *("float32", 7, 128, "torch", 0.25),
)
LINE = PublishedEvidence("log", "sha", 2, "0.6", 0.6, "gaussian", 0.25, 1000, False)
PROVEN = BoundEvidence("crown", (0.0, 1.0), (0.1,), "float64", 0.0, 3)


def records(radii: list[float], alpha: float | None = 0.001) -> list[Certificate]:
    guarantee = Guarantee.deterministic() if alpha is None else Guarantee.probabilistic(alpha)
    evidence = PROVEN if alpha is None else SMOOTHED
    return [
        Certificate(i, f"digest {i}", 0, 0, Verdict.CERTIFIED, radius, THREAT, guarantee, "any", evidence, "m")
        for i, radius in enumerate(radii)
    ]


HALF = records([0.6] * 60 + [0.1] * 40)


def test_inputs_of_a_population_bound_it_at_the_declared_radii():
    summary = summarize(HALF)
    assert tuple(row.population_lower for row in summary.rows) == population_lower([100, 60], 100, 0.001)
    [line] = summary.further
    assert line.startswith("If these 100 inputs are an independent random sample of a population, of that population")
    assert "over the draw of the inputs and the noise" in line
    [proofs] = summarize(records([0.6] * 60 + [0.1] * 40, None)).further
    assert proofs.endswith("over the draw of the inputs.")


def test_radii_chosen_afterwards_get_the_bound_of_the_next_declared_one():
    for of in (None, 200):
        at_zero, at_half = (row.population_lower for row in summarize(HALF, of=of).rows)
        summary = summarize(HALF, radii=(0.0, 0.05, 0.3, 0.5, 0.55), of=of)
        assert [row.population_lower for row in summary.rows] == [at_zero, at_half, at_half, at_half, None]
        assert "robust at radius 0 / 0.05 / 0.3 / 0.5, all" in summary.further[0]
        assert summarize(HALF, radii=(0.55,), of=of).further == ()


def test_a_random_subset_bounds_the_set_it_was_drawn_from():
    summary = summarize(HALF, of=200)
    expected = finite_population_lower([100, 60], 100, 200, 0.001)
    assert [row.population_lower for row in summary.rows] == [count / 200 for count in expected]
    assert summary.further[0].startswith("As these 100 inputs are a random subset of 200, of all 200 at least")
    assert summary.rows[1].population_lower > summarize(HALF).rows[1].population_lower


def test_nothing_is_said_beyond_the_inputs_while_they_are_incomplete_or_repeated():
    assert summarize(HALF, expected=101).further == ()
    copies = [replace(HALF[1], index=0, input_digest="digest 1"), *HALF[1:]]
    assert summarize(copies).further == ()
    assert {row.population_lower for row in summarize(copies).rows} == {None}


def test_the_statement_is_one_sentence_with_its_probability():
    for delta, text in ((0.05, "95%"), (0.05 / 3, "98.3%")):
        summary = summarize(HALF, delta=delta)
        assert summary.statement.count(". ") == 0
        assert f"at least {text} over the sampling noise" in summary.statement
        assert summary.confidence == 1 - delta


@pytest.fixture
def smoothed(halves, l2) -> list[Certificate]:
    x = np.linspace([0.5, 0.5], [1.0, 0.0], 12).tolist()
    return smooth(halves, x, [0] * 12, threat=l2, sigma=0.25, n=20_000, seed=3)


def test_the_head_says_how_the_votes_were_drawn(smoothed):
    head = summarize(smoothed).head
    assert head["smoothing"].startswith(
        "gaussian noise, sigma=0.25, at most n=20,000, class chosen by the label, seed=3"
    )
    mean = sum(one.forward_passes for one in smoothed) / 12
    assert head["samples"].startswith(f"mean {int(np.ceil(mean)):,} per input ({int(20_000 / mean)}x fewer than n")
    assert head["noise"] == smoothed[0].evidence.assumption


def test_samples_saved_are_rounded_down(smoothed):
    drawn = [replace(one, forward_passes=3_500) for one in smoothed]  # 5.7 times fewer
    assert "(5x fewer than n for every input)" in summarize(drawn).head["samples"]


def test_probabilities_of_error_are_rounded_up_in_words():
    summary = summarize(records([0.6, 0.1], 0.0010000049))
    assert summary.statement.endswith("false with probability at most 0.00100001.")
    assert str(summary.guarantee) == "probabilistic: wrong with probability at most 0.00100001 over the sampling noise"


def test_smoothed_models_are_told_apart_by_their_values(smoothed):
    evidence = replace(smoothed[0].evidence, sigma=0.2500004)
    with pytest.raises(BadInput, match=r"different smoothed models: .*sigma=0.25,.*sigma=0.2500004,"):
        summarize([replace(smoothed[0], evidence=evidence), *smoothed[1:]])


def test_certificates_whose_class_was_chosen_otherwise_are_not_mixed(smoothed, halves, l2):
    [other] = smooth(halves, [[0.9, 0.1]], threat=l2, sigma=0.25, n=20_000, seed=3, index=[12])
    with pytest.raises(BadInput, match=r"different smoothed models: .*chosen by n0=100 separate draws.*by the label"):
        summarize([*smoothed, replace(other, label=0)])


def test_conversion_is_a_line_of_its_own_and_never_certified(smoothed):
    summary = summarize(smoothed)
    lines = converted(summary, "linf").converted
    assert [one.contained for one in lines] == [convert_radius(r, "l2", "linf", 2) for r in summary.threat.radii[1:]]
    assert converted(summary, "linf").rows == summary.rows
    assert summary.converted == ()
    with pytest.raises(BadInput, match="unknown norm"):
        converted(summary, "l3")
    with pytest.raises(BadInput, match="how many features"):
        converted(summarize(records([0.6], None)), "linf")


def test_an_envelope_is_over_the_same_inputs_at_the_same_radii_and_pays_for_every_run():
    runs = {name: summarize(records(radii), delta=0.025) for name, radii in (("a", [0.6, 0.1]), ("b", [0.4, 0.4]))}
    best = envelope(runs)
    assert [(row.run, row.certified) for row in best.rows] == [("a", 1.0), ("a", 0.5)]
    assert best.to_dict()["selected_on_the_test_set"]
    for other, words in (
        ({"a": runs["a"]}, "at least two"),
        ({"a": runs["a"], "c": summarize(records([0.6]), delta=0.01)}, "different inputs"),
        ({"a": runs["a"], "c": summarize(HALF[:2], radii=(0.1,), delta=0.01)}, "different radii; name common --radii"),
        ({"a": runs["a"], "b": summarize(HALF[:2])}, "do not hold"),
    ):
        with pytest.raises(BadInput, match=words):
            envelope(other)


def test_an_envelope_tells_other_inputs_with_the_same_labels_apart():
    other = [replace(one, input_digest=f"other {one.index}") for one in HALF]
    log = [replace(one, evidence=LINE, radius=0.6, input_digest=f"line {one.index}") for one in HALF]
    runs = {name: summarize(made, delta=0.01) for name, made in (("log", log), ("a", HALF), ("b", other))}
    for name in ("a", "b"):
        assert envelope({"log": runs["log"], name: runs[name]}).n == 100
    with pytest.raises(BadInput, match="a .* and b .* are about different inputs"):
        envelope(runs)
