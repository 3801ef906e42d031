"""The join and the table: counted by hand, and refused where records do not belong together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.certifiers.smooth import smooth
from certify.core.certificate import BoundEvidence, Certificate, Look, SmoothingEvidence
from certify.core.finding import Finding
from certify.core.guarantee import Guarantee
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.errors import BadInput, IncompleteRun
from certify.summary.summarize import summarize

RADII = (0.0, 0.25, 0.5)
THREAT = ThreatModel("l2", RADII, (0.0, 1.0))
SMOOTHED = SmoothingEvidence(
    *("gaussian", 2, "label", None, (Look(1000, {0: 1000}, 0.001),), (), 0.0069, 0.0069, 0.0, 0.0, 0.0),
    *("float32", 7, 128, "torch", 0.25),
)
PROVEN = BoundEvidence("crown", (0.0, 1.0), (0.1,), "float64", 0.0, 3)


def certificate(index: int, radius: float | None, *, prediction: int | None = 0, **changes) -> Certificate:
    verdict = Verdict.ABSTAIN if radius is None else Verdict.CERTIFIED
    fields = {
        "index": index,
        "input_digest": f"digest {index}",
        "label": 0,
        "prediction": prediction,
        "verdict": verdict,
        "radius": radius,
        "threat": THREAT,
        "guarantee": Guarantee.probabilistic(0.001),
        "method": "smoothing",
        "evidence": None if changes.get("verdict") is Verdict.ERROR else SMOOTHED,
        "model_digest": "m",
    }
    return Certificate(**{**fields, **changes})


def finding(index: int, distance: float | None, **changes) -> Finding:
    found = {} if distance is None else {"radius": 0.5, "distance": distance, "x_adv": np.zeros(2, np.float32)}
    fields = {
        "index": index,
        "input_digest": f"digest {index}",
        "label": 0,
        "prediction": 0,
        "norm": "l2",
        "radii": RADII,
        "attack": "pgd",
        "settings": {"noise": "gaussian", "sigma": 0.25},
        "seed": 0,
        "adversarial_prediction": None if distance is None else 1,
        "model_digest": "m",
    }
    return Finding(**{**fields, **found, **changes})


CERTIFICATES = [
    certificate(0, 0.6),  # certified everywhere
    certificate(1, 0.3),  # certified to 0.25, broken at 0.4
    certificate(2, None),  # abstains
    certificate(3, 0.7, prediction=1),  # robustly wrong: never counts
    certificate(4, 0.1),  # open between 0.25 and 0.5
]
FINDINGS = [finding(0, None), finding(1, 0.4), finding(2, 0.2), finding(3, 0.0), finding(4, None)]


def test_every_column_counted_by_hand():
    summary = summarize(CERTIFICATES, FINDINGS)
    assert (summary.n, summary.clean, len(summary.contradictions)) == (5, 0.8, 0)
    columns = [(r.certified, r.certified_lower, r.empirical, r.abstain, r.unknown) for r in summary.rows]
    assert columns == [
        (3 / 5, 3 / 5, 4 / 5, 1, 0),
        (2 / 5, 2 / 5, 3 / 5, 1, 1),
        (1 / 5, 1 / 5, 2 / 5, 1, 1),
    ]
    assert summary.acr == pytest.approx((0.6 + 0.3 + 0.1) / 5)
    assert [one.certified for one in summary.sandwich.strongest()] == [0.6, 0.3, 0.1]
    assert "SMOOTHED" in summary.statement
    assert "95%" in summary.statement


def test_without_an_attack_there_is_no_empirical_accuracy():
    summary = summarize(CERTIFICATES)
    assert {row.empirical for row in summary.rows} == {None}
    assert [row.unknown for row in summary.rows] == [0, 1, 2]


def test_no_accuracy_under_attack_where_not_every_input_was_attacked_that_far():
    assert {row.empirical for row in summarize(CERTIFICATES, []).rows} == {None}
    partly = summarize(CERTIFICATES, FINDINGS[:3], expected=5)
    assert {row.empirical for row in partly.rows} == {None}
    assert not partly.complete
    near = [finding(i, None, radii=(0.0, 0.25)) for i in range(5)]
    assert [row.empirical is None for row in summarize(CERTIFICATES, near).rows] == [False, False, True]
    assert summarize(CERTIFICATES, FINDINGS, expected=5).complete


def test_a_contradiction_is_reported_on_its_own():
    summary = summarize(CERTIFICATES, [finding(0, 0.5)])
    [contradiction] = summary.contradictions
    assert (contradiction.index, contradiction.distance, contradiction.certified_radius) == (0, 0.5, 0.6)
    assert not summarize(CERTIFICATES, [finding(0, 0.6000001, radius=0.61)]).contradictions
    assert summarize(CERTIFICATES, [finding(0, 0.6, radius=0.61)]).contradictions


def test_an_attack_on_another_model_contradicts_nothing(halves, l2):
    [certified] = smooth(halves, [[0.8, 0.2]], [0], threat=l2, sigma=0.25, n=1000)
    found = {"input_digest": certified.input_digest, "model_digest": certified.model_digest, "radius": 0.5}
    base = summarize([certified], [finding(0, 0.1, settings={}, **found)])
    assert base.contradictions == ()
    assert "ANOTHER model" in base.head["attack"]
    smoothed = summarize([certified], [finding(0, 0.1, **found)])
    assert len(smoothed.contradictions) == 1
    assert "ANOTHER model" not in smoothed.head["attack"]


def test_certificates_of_different_noise_are_not_mixed(halves, l2):
    [one] = smooth(halves, [[0.8, 0.2]], [0], threat=l2, sigma=0.25, n=1000)
    for changes in ({"sigma": 0.3}, {"n": 2000}, {"seed": 1}):
        settings = {"sigma": 0.25, "n": 1000, **changes}
        [other] = smooth(halves, [[0.9, 0.2]], [0], threat=l2, index=[1], **settings)
        with pytest.raises(BadInput, match="different smoothed models"):
            summarize([one, other])


def test_an_example_outside_the_certified_box_contradicts_nothing():
    inner = certificate(0, 0.5, threat=ThreatModel("l2", RADII, (0.55, 1.0)))
    assert summarize([inner], [finding(0, 0.2)]).contradictions == ()
    assert len(summarize([certificate(0, 0.5)], [finding(0, 0.2)]).contradictions) == 1


def test_a_failed_method_does_not_hide_a_proof():
    proof = {"guarantee": Guarantee.deterministic(), "evidence": PROVEN}
    failed = certificate(0, None, verdict=Verdict.ERROR, guarantee=Guarantee.empirical(), prediction=None, method="ibp")
    summary = summarize([failed, certificate(0, 0.5, method="crown", **proof)], [finding(0, None)])
    assert (summary.clean, summary.rows[0].certified, summary.rows[0].empirical) == (1.0, 1.0, 1.0)


def test_other_radii_may_be_asked_for_but_not_below_what_was_kept():
    assert [row.certified for row in summarize(CERTIFICATES, radii=(0.05, 0.65)).rows] == [0.6, 0.0]
    declared = ThreatModel("l2", (0.25,))
    with pytest.raises(BadInput, match="below the smallest declared radius 0.25"):
        summarize([certificate(0, 0.3, threat=declared)], radii=(0.1,))


def test_the_best_proof_of_each_input_counts_and_each_method_is_shown():
    proof = {"guarantee": Guarantee.deterministic(), "evidence": PROVEN}
    records = [
        certificate(0, 0.3, method="ibp", **proof),
        certificate(0, 0.6, method="crown", **proof),
        certificate(1, 0.3, method="ibp", **proof),
        certificate(1, None, method="crown", verdict=Verdict.UNKNOWN, **proof),
    ]
    summary = summarize(records)
    assert [row.certified for row in summary.rows] == [1.0, 1.0, 0.5]
    assert [dict(row.by_method) for row in summary.rows][1:] == [{"ibp": 1.0, "crown": 0.5}, {"ibp": 0.0, "crown": 0.5}]
    assert [row.certified_lower for row in summary.rows] == [1.0, 1.0, 0.5]
    assert "no sampling" in summary.statement


def test_failed_computations_count_against_and_are_named():
    failed = certificate(9, None, verdict=Verdict.ERROR, guarantee=Guarantee.empirical(), reason="out of memory")
    summary = summarize([failed, *CERTIFICATES])
    assert (summary.n, summary.rows[0].certified) == (6, 3 / 6)
    assert summary.guarantee.alpha == 0.001
    assert summary.head["errors"].startswith("1 computation failed: such inputs count")
    with pytest.raises(IncompleteRun, match="every computation failed, the first with: out of memory; the same run"):
        summarize([failed])


@pytest.mark.parametrize("verdict", [Verdict.ERROR, Verdict.UNSUPPORTED])
def test_what_failed_is_never_right_whatever_it_says(verdict):
    """A failed record that names the label all the same counts as an answer nowhere."""
    claims = certificate(1, None, verdict=verdict, guarantee=Guarantee.empirical(), evidence=None)
    assert claims.correct
    summary = summarize([certificate(0, 0.5), claims])
    assert (summary.clean, summary.rows[0].unknown) == (0.5, 0)
    assert summary.sandwich.correct.tolist() == [True, False]
    assert summary.sandwich[1].prediction is None


def test_copies_of_an_input_share_their_noise():
    copies = [certificate(i, 0.6, input_digest=f"digest {i // 3}") for i in range(501)]
    assert summarize(copies).rows[0].certified_lower == (501 - 3) / 501
    assert summarize([certificate(i, 0.6) for i in range(501)]).rows[0].certified_lower == (501 - 2) / 501


@pytest.mark.parametrize(
    ("certificates", "findings", "words"),
    [
        ([], None, "no certificates"),
        ([certificate(0, 0.3), certificate(0, 0.4)], None, "two smoothing certificates"),
        ([certificate(0, 0.3), certificate(0, 0.4, method="other")], None, "breaks alpha"),
        ([certificate(0, 0.3), certificate(1, 0.4, model_digest="other")], None, "different models"),
        (
            [certificate(0, 0.3), certificate(1, 0.4, threat=ThreatModel("linf", RADII))],
            None,
            "different threat models",
        ),
        ([certificate(0, 0.3, label=None)], None, "has no label"),
        ([certificate(0, 0.3)], [finding(0, None, input_digest="other")], "different data"),
        ([certificate(0, 0.3)], [finding(0, None, label=1)], "different data"),
        ([certificate(0, 0.3)], [finding(0, None, model_digest="other")], "different models"),
        ([certificate(0, 0.3)], [finding(0, None, norm="linf")], "cannot be joined"),
    ],
)
def test_records_that_do_not_belong_together_are_refused(certificates, findings, words):
    with pytest.raises(BadInput, match=words):
        summarize(certificates, findings)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"certificates": [None]}, "made from certificates, got NoneType"),
        ({"certificates": None}, "made from certificates, got NoneType"),
        ({"radii": 0.5}, "radii must be numbers"),
        ({"expected": 4}, "5 inputs were certified, but 4 expected"),
        ({"of": 4}, "5 inputs cannot be a subset of 4"),
        ({"of": -3}, "cannot be a subset of -3"),
        ({"of": 9, "expected": 10}, "10 inputs cannot be a subset of 9"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, words):
    with pytest.raises(BadInput, match=words) as caught:
        summarize(**{"certificates": CERTIFICATES, **arguments})
    assert "\n" not in str(caught.value)


def test_a_class_named_by_the_votes_is_one_claim_whatever_the_labels(halves, l2):
    points, classes = [[0.9, 0.1]] * 2, {"threat": l2, "sigma": 0.25, "n": 500, "alpha": 0.04}
    drawn = smooth(halves, points, [0, 1], selection="draws", schedule="fixed", **classes)
    tested = smooth(halves, points, [0, 1], selection="label", schedule="fixed", **classes)
    assert [summarize(made, delta=0.05).rows[0].certified_lower for made in (drawn, tested)] == [0.5, 0.0]


radius = st.one_of(st.none(), st.floats(0, 1))


@given(st.lists(st.tuples(radius, radius, st.integers(0, 1)), min_size=1, max_size=30))
def test_certified_is_at_most_empirical_at_most_clean_unless_contradicted(inputs):
    certificates = [certificate(i, r, prediction=p) for i, (r, _, p) in enumerate(inputs)]
    reach = {"radii": (0.0, 1.0)}
    findings = [finding(i, d, **({} if d is None else {"radius": 1.0}), **reach) for i, (_, d, _) in enumerate(inputs)]
    summary = summarize(certificates, findings, radii=(0.0, 0.1, 0.5, 0.9))
    if not summary.contradictions:
        for row in summary.rows:
            assert row.certified_lower <= row.certified <= row.empirical <= summary.clean
    certified = [row.certified for row in summary.rows]
    assert certified == sorted(certified, reverse=True)
