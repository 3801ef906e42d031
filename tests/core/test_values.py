"""Core value types: what they refuse, and that they survive the trip through JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from certify.core.certificate import BoundEvidence, Certificate, Look, PublishedEvidence, SmoothingEvidence
from certify.core.finding import Finding
from certify.core.guarantee import Guarantee
from certify.core.norms import NORMS, distance_up
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import round_down, round_up
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.errors import BadInput

finite = st.floats(0, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("norm", "radii", "box", "words"),
    [
        ("l3", (0.1,), None, "unknown norm"),
        ("l2", (), None, "no radii"),
        ("l2", (-0.1, 0.1), None, "finite number >= 0"),
        ("l2", (math.nan,), None, "finite number >= 0"),
        ("l2", (math.inf,), None, "finite number >= 0"),
        ("l2", (0.5, 0.25), None, "ascend"),
        ("l2", (0.5, 0.5), None, "ascend"),
        ("l2", (0.5,), (1.0, 0.0), "not an interval"),
        ("l2", (0.5,), (0.0, math.nan), "not an interval"),
    ],
)
def test_impossible_threat_models_are_refused(norm, radii, box, words):
    with pytest.raises(BadInput, match=words) as refused:
        ThreatModel(norm, radii, box)
    assert "\n" not in str(refused.value)


def test_a_threat_model_does_not_contain_what_lies_outside():
    threat = ThreatModel("l2", (0.5,), (0.0, 1.0))
    x = np.array([0.5, 0.5], dtype=np.float32)
    assert threat.contains(x, x)
    assert threat.contains(x, np.array([0.9, 0.5]))
    assert not threat.contains(x, np.array([0.9, 0.9]))
    assert not threat.contains(x, np.array([0.5, math.nan]))
    assert not threat.contains(x, np.array([0.5, 1.0 + 1e-12]), radius=10)
    thirds = ThreatModel("l2", (0.5,), (1 / 3, 2 / 3))
    assert thirds.contains(x, np.array([0.4, 0.6], dtype=np.float32))
    assert not thirds.contains(x, np.array([0.4, np.nextafter(2 / 3, 1)]))


@given(npst.arrays(np.float32, 5, elements=st.floats(-1e3, 1e3, width=32)), st.sampled_from(NORMS))
def test_distances_are_never_below_the_exact_one(x_adv, norm):
    from fractions import Fraction

    exact = [abs(Fraction(float(value))) for value in x_adv]
    measured = Fraction(distance_up(np.zeros(5, np.float32), x_adv, norm))
    if norm == "l2":
        assert measured**2 >= sum(value**2 for value in exact)
    else:
        assert measured >= (sum(exact) if norm == "l1" else max(exact))


@given(st.floats(0, 1e9), st.integers(0, 8))
def test_printed_radii_are_rounded_down_and_distances_up(value, digits):
    assert float(round_down(value, digits)) <= value <= float(round_up(value, digits))


LOOK = Look(n=10, counts={3: 9}, alpha=0.001, invalid=1)


def smoothing_evidence(look: Look, **changes) -> SmoothingEvidence:
    fields = {
        "noise": "gaussian",
        "sigma": 0.25,
        "dimensions": 16,
        "chosen_by": "label",
        "selection": None,
        "looks": (look,),
        "later": ((look.n + 5, 0.0), (look.n + 9, 0.0)),
        "q_upper": 0.4,
        "rival_upper": 0.4,
        "rival_share": 0.0,
        "draws_alpha": 0.0,
        "slack": 0.0,
        "assumption": "float32",
        "seed": 7,
        "block_size": 128,
        "generator": "torch-2-cpu",
    }
    return SmoothingEvidence(**{**fields, **changes})


def published_evidence(radius: float = 0.25, **changes) -> PublishedEvidence:
    fields = ("log.tsv", "ab" * 32, 7, repr(radius), radius * 0.999, "gaussian", 0.25, 100_000, True)
    return replace(PublishedEvidence(*fields), **changes)


def bound_evidence(*margins: float) -> BoundEvidence:
    return BoundEvidence("crown", (0.0, 1.0), margins, "float64", 1e-12, 6)


def certificate(**changes) -> Certificate:
    fields = {
        "index": 4,
        "input_digest": "ab",
        "label": 3,
        "prediction": 3,
        "verdict": Verdict.CERTIFIED,
        "radius": 0.1,
        "threat": ThreatModel("l2", (0.0, 0.5)),
        "guarantee": Guarantee.probabilistic(0.001),
        "method": "smoothing",
        "evidence": smoothing_evidence(LOOK),
        "model_digest": "cd",
    }
    return Certificate(**{**fields, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"radius": None},
        {"radius": math.nan},
        {"radius": math.inf},
        {"radius": -0.1},
        {"verdict": Verdict.ABSTAIN},
        {"verdict": Verdict.UNKNOWN},
        {"prediction": None},
        {"guarantee": Guarantee.empirical()},
        {"evidence": None},
        {"evidence": bound_evidence(0.1, -5.0), "guarantee": Guarantee.deterministic()},
        {"evidence": bound_evidence(0.1, math.nan), "guarantee": Guarantee.deterministic()},
        {"evidence": bound_evidence(0.1)},
        {"guarantee": Guarantee.deterministic()},
        {"guarantee": Guarantee.deterministic(), "verdict": Verdict.UNKNOWN, "radius": None},
        {"guarantee": Guarantee.probabilistic(0.000999)},
        {"evidence": smoothing_evidence(LOOK, draws_alpha=1e-6)},
        {"evidence": smoothing_evidence(LOOK, q_upper=0.5, rival_upper=0.5)},
        {"evidence": smoothing_evidence(LOOK, q_upper=0.9, rival_upper=0.1)},
        {"evidence": published_evidence(0.25)},
        {"evidence": published_evidence(0.1, lowest=0.11)},
        {"evidence": published_evidence(0.1), "guarantee": Guarantee.deterministic()},
        {"index": None},
        {"index": "4"},
        {"index": True},
        {"label": 3.0},
        {"label": "3"},
        {"prediction": 3.0},
        {"prediction": False},
    ],
)
def test_contradictory_certificates_cannot_exist(changes):
    assert certificate().radius == 0.1
    with pytest.raises(BadInput):
        certificate(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"looks": ()},
        {"looks": (LOOK, LOOK)},
        {"sigma": math.nan},
        {"sigma": 0.0},
        {"slack": -0.1},
        {"q_upper": 1.1},
        {"q_upper": math.nan},
        {"rival_upper": -0.1},
    ],
)
def test_impossible_evidence_cannot_exist(changes):
    with pytest.raises(BadInput):
        smoothing_evidence(LOOK, **changes)


@given(
    finite,
    st.dictionaries(st.integers(0, 9), st.integers(0, 10**6), min_size=1),
    st.integers(0, 5),
    st.floats(1e-12, 0.49),
)
def test_certificates_survive_json_to_the_last_bit(radius, counts, invalid, q):
    assume(sum(counts.values()) + invalid > 0)
    look = Look(n=sum(counts.values()) + invalid, counts=counts, alpha=0.001, invalid=invalid)
    evidence = smoothing_evidence(look, sigma=0.1, selection=look, q_upper=q)
    bounds = bound_evidence(q, radius + 1)
    proof = {"guarantee": Guarantee.deterministic()}
    nothing = {"evidence": None, "radius": None, "verdict": Verdict.ERROR}
    for changes in (
        {"evidence": evidence},
        {"evidence": bounds, **proof},
        {"evidence": published_evidence(radius)},
        nothing,
    ):
        before = certificate(**{"radius": radius, **changes})
        after = Certificate.from_dict(json.loads(json.dumps(before.to_dict(), allow_nan=False)))
        assert after == before
        assert after.radius_hex == before.radius_hex


def test_records_that_are_no_certificates_are_refused():
    record = certificate().to_dict()
    for name in record:
        if name != "norm":  # derived from threat
            with pytest.raises(BadInput, match="not a certificate record"):
                Certificate.from_dict({key: value for key, value in record.items() if key != name})


def test_an_edited_radius_is_seen():
    with pytest.raises(BadInput, match="differ in one record"):
        Certificate.from_dict({**certificate().to_dict(), "radius_hex": "0x1p+2"})


def test_votes_must_sum_to_n():
    with pytest.raises(BadInput, match="do not sum"):
        Look(n=3, counts={0: 1, 1: 1})
    with pytest.raises(BadInput, match="do not sum"):
        Look(n=0, counts={0: 1, 1: -1})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_findings_survive_json_with_a_replayable_example(dtype):
    x_adv = np.array([[0.1, 0.2]], dtype=dtype)
    found = Finding(1, "ab", 0, 0, "l2", (0.5,), "pgd", {"steps": 3}, 7, 0.5, 0.30000001, x_adv, 1, 0.4)
    after = Finding.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert after.x_adv is not None
    assert after.x_adv.dtype == dtype
    np.testing.assert_array_equal(after.x_adv, x_adv)
    assert after.distance == found.distance
    assert after.to_dict() == found.to_dict()


def test_findings_beyond_their_radius_cannot_exist():
    with pytest.raises(BadInput, match="outside the attacked radius"):
        Finding(1, "ab", 0, 0, "l2", (0.5,), "pgd", {}, 7, 0.5, 0.6, np.zeros(2), 1)
    with pytest.raises(BadInput, match="or none of the three"):
        Finding(1, "ab", 0, 0, "l2", (0.5,), "pgd", {}, 7, 0.5)
    with pytest.raises(BadInput, match="not carried out"):
        Finding(1, "ab", 0, 0, "l2", (0.5,), "pgd", {}, 7, error="out of memory")
    failed = Finding(1, "ab", 0, None, "l2", (0.5,), "pgd", {}, 7, error="out of memory")
    assert Finding.from_dict(failed.to_dict()).error == failed.error


@pytest.mark.parametrize("kept", [-1, 3])
def test_the_top_class_is_one_of_the_classes(kept):
    with pytest.raises(BadInput, match="not a class"):
        TOP_CLASS.clauses(kept, 3)


def test_guarantees_have_an_alpha_only_if_probabilistic():
    with pytest.raises(BadInput):
        Guarantee("deterministic", 0.1)
    with pytest.raises(BadInput):
        Guarantee("probabilistic")
    with pytest.raises(BadInput, match="strictly between"):
        Guarantee.probabilistic(1.0)


def test_every_verdict_has_its_sentence():
    assert {verdict.value for verdict in Verdict} == {
        "certified",
        "falsified",
        "unknown",
        "abstain",
        "unsupported",
        "error",
    }
    assert len({verdict.sentence for verdict in Verdict}) == len(Verdict)
