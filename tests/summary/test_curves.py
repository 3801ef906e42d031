"""Curves at every radius: equal to the table where it has a row, in order, and never above the truth when thinned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from certify.core.certificate import Certificate, Look, SmoothingEvidence
from certify.core.evidence import BoundEvidence
from certify.core.finding import Finding
from certify.core.guarantee import Guarantee
from certify.core.summary import Summary
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.errors import BadInput
from certify.stats.population import population_curve_lower
from certify.stats.simultaneous import false_certificates
from certify.summary.columns import finding_columns
from certify.summary.curves import Curve, curve, misjudged
from certify.summary.distribution import distribution_of_p_lower, distribution_of_radii
from certify.summary.summarize import summarize

RADII = (0.0, 0.25, 0.5)
THREAT = ThreatModel("l2", RADII, (0.0, 1.0))
SMOOTHED = SmoothingEvidence(
    *("gaussian", 2, "label", None, (Look(1000, {0: 1000}, 0.001),), (), 0.0069, 0.0069, 0.0, 0.0, 0.0),
    *("float32", 7, 128, "torch", 0.25),
)
PROVEN = BoundEvidence("crown", (0.0, 1.0), (0.1,), "float64", 0.0, 3)
ATTACK = {"noise": "gaussian", "sigma": 0.25, "alpha": 0.001}


def certificate(index: int, radius: float | None, alpha: float | None, prediction: int | None = 0) -> Certificate:
    return Certificate(
        index=index,
        input_digest=f"digest {index}",
        label=0,
        prediction=prediction,
        verdict=Verdict.UNKNOWN if radius is None else Verdict.CERTIFIED,
        radius=radius,
        threat=THREAT,
        guarantee=Guarantee.deterministic() if alpha is None else Guarantee.probabilistic(alpha),
        method="smoothing" if alpha else "crown",
        evidence=SMOOTHED if alpha else PROVEN,
        model_digest="m",
    )


def finding(index: int, distance: float | None, settings: dict, attack: str = "pgd") -> Finding:
    found = {} if distance is None else {"radius": 0.5, "distance": distance, "x_adv": np.zeros(2, np.float32)}
    return Finding(
        index=index,
        input_digest=f"digest {index}",
        label=0,
        prediction=0,
        norm="l2",
        radii=RADII,
        attack=attack,
        settings=settings,
        seed=0,
        adversarial_prediction=None if distance is None else 1,
        model_digest="m",
        **found,
    )


def random_summary(seed: int, alpha: float | None, inputs: int = 60) -> tuple[Summary, np.ndarray]:
    """A table of inputs whose true radii are known, and which proofs and attacks both respect; NaN for wrong ones."""
    generator = np.random.default_rng(seed)
    true = np.where(generator.random(inputs) < 0.15, np.nan, generator.uniform(0, 0.9, inputs).round(2))
    certificates, findings = [], []
    for index, radius in enumerate(true):
        proven = None if np.isnan(radius) or generator.random() < 0.2 else radius * generator.random()
        certificates.append(certificate(index, proven, alpha, 1 if np.isnan(radius) else 0))
        nearest = 0.0 if np.isnan(radius) else radius + generator.uniform(0.001, 0.3)
        missed = nearest > RADII[-1] or generator.random() < 0.2
        findings.append(finding(index, None if missed else nearest, ATTACK if alpha else {}))
    made = summarize(certificates, findings)
    first = certificates[0]
    return replace(made, misjudged=misjudged(finding_columns(findings), first, 0.05)), true


@pytest.mark.parametrize("alpha", [None, 0.001])
@pytest.mark.parametrize("seed", range(10))
def test_the_columns_are_in_order_and_enclose_the_truth(seed, alpha):
    summary, true = random_summary(seed, alpha)
    assert not summary.contradictions
    drawn = curve(summary)
    known = drawn.radius <= RADII[-1]
    truth = np.array([np.count_nonzero(true > radius) for radius in drawn.radius[known]]) / summary.n
    assert (drawn.population_lower <= drawn.certified_lower).all()
    assert (drawn.certified_lower <= drawn.certified).all()
    assert (drawn.certified[known] <= drawn.empirical[known]).all()
    assert (drawn.empirical[known] <= drawn.empirical_upper[known]).all()
    assert (drawn.certified_lower[known] <= truth).all()
    assert (truth <= drawn.empirical_upper[known]).all()
    assert np.isnan(drawn.empirical[~known]).all()
    assert drawn.certified[-1] == 0


@pytest.mark.parametrize("alpha", [None, 0.001])
def test_it_is_the_table_at_the_declared_radii_and_has_every_step(alpha):
    summary, _ = random_summary(3, alpha)
    drawn = curve(summary)
    for row in summary.rows:
        [place] = np.flatnonzero(drawn.radius == row.radius)
        assert drawn.certified[place] == row.certified
        assert drawn.certified_lower[place] == pytest.approx(row.certified_lower, abs=1e-12)
        assert drawn.empirical[place] == row.empirical
    attacked, right = summary.sandwich.attacked, summary.sandwich.correct
    for place, radius in enumerate(drawn.radius):
        assert drawn.certified[place] == summary.certified_at(radius)
        if radius <= RADII[-1]:
            assert drawn.empirical[place] == np.mean(right & ~(attacked <= radius))
    proven = summary.sandwich.certified
    assert set(proven[~np.isnan(proven)]) <= set(drawn.radius)
    assert (np.diff(drawn.radius) > 0).all()
    counts = np.round(drawn.certified * summary.n).astype(int)
    assert drawn.population_lower[5] == population_curve_lower(int(counts[5]), summary.n, alpha, 1 - summary.confidence)


def between(drawn: Curve, name: str, radii: np.ndarray) -> np.ndarray:
    """The drawn step function at any radii: certified holds down to the point before, attacked up to the next."""
    before = name.startswith("certified")
    place = np.searchsorted(drawn.radius, radii, side="left" if before else "right") - (0 if before else 1)
    return getattr(drawn, name)[np.minimum(place, len(drawn) - 1)]


@pytest.mark.parametrize("points", [4, 7, 30])
def test_a_thinned_curve_claims_no_more_than_the_whole_one(points):
    summary, _ = random_summary(1, 0.001)
    whole, thin = curve(summary), curve(summary, points)
    assert len(thin) == min(points, len(whole))
    radii = np.linspace(0, 0.5, 997)
    assert (between(thin, "certified", radii) <= between(whole, "certified", radii)).all()
    assert (between(thin, "certified", radii) <= [summary.certified_at(radius) for radius in radii]).all()
    assert (between(thin, "empirical", radii) >= between(whole, "empirical", radii)).all()
    assert set(RADII) <= set(thin.radius)


def test_too_few_points_are_refused():
    with pytest.raises(BadInput, match="at least 4 points"):
        curve(random_summary(1, None)[0], points=3)


def test_what_nothing_is_known_of_is_left_out():
    alone = summarize([certificate(0, 0.5, 0.001), certificate(1, 0.3, 0.001)], expected=3)
    drawn = curve(alone)
    assert (drawn.empirical, drawn.empirical_upper, drawn.population_lower) == (None, None, None)
    assert list(drawn.to_frame().columns) == ["certified", "certified_lower", "clean"]
    summary, _ = random_summary(0, None)
    fields = curve(summary).to_dict()
    assert fields["empirical"][-1] is None
    assert fields["radius"][0] == 0.0


@pytest.mark.parametrize("named", [None, 1])
def test_what_smoothing_names_is_no_proof_that_the_model_is_wrong(named):
    certificates = [certificate(0, None, 0.001, named), certificate(1, 0.5, 0.001)]
    findings = [finding(0, None, ATTACK), finding(1, None, ATTACK)]
    drawn = curve(replace(summarize(certificates, findings), misjudged=0))
    assert (drawn.empirical[0], drawn.empirical_upper[0]) == (0.5, 1.0)


def test_examples_of_smoothed_models_may_be_accepted_by_chance():
    first = certificate(0, 0.5, 0.001)
    found = [finding(index, 0.4, ATTACK) for index in range(500)]
    assert misjudged(finding_columns(found), first, 0.05) == false_certificates(500, 0.001, 0.05) == 2
    twice = [*found, *(finding(index, None, ATTACK, "noise") for index in range(500))]
    assert misjudged(finding_columns(twice), first, 0.05) == false_certificates(1000, 0.001, 0.05) > 2
    copies = [replace(one, input_digest=f"digest {one.index // 2}") for one in found]
    assert misjudged(finding_columns(copies), first, 0.05) == 2 * false_certificates(250, 0.001, 0.05)
    assert misjudged(finding_columns([finding(0, 0.4, {})]), certificate(0, 0.5, None), 0.05) == 0


def test_attacks_on_another_model_bound_nothing():
    assert misjudged(finding_columns([finding(0, 0.4, {})]), certificate(0, 0.5, 0.001), 0.05) is None
    assert misjudged(finding_columns([]), certificate(0, 0.5, 0.001), 0.05) is None


def test_distributions_are_counted_over_all_inputs():
    sandwich = random_summary(2, 0.001)[0].sandwich
    radii = np.nan_to_num(sandwich.certified)
    found = distribution_of_radii(sandwich, bins=7)
    assert sum(found.counts) == found.n == np.count_nonzero(~np.isnan(sandwich.certified))
    assert found.n + found.without == len(sandwich)
    for share, value in found.quantiles:
        assert np.mean(radii >= value) >= 1 - share
        assert value in radii
    assert found.largest == radii.max()
    bounds = distribution_of_p_lower(sandwich)
    assert bounds.edges[0] == 0
    assert bounds.edges[-1] == 1
    assert distribution_of_p_lower(random_summary(2, None)[0].sandwich) is None


def test_nothing_certified_has_a_distribution_too():
    sandwich = summarize([certificate(0, None, None), certificate(1, None, None)]).sandwich
    found = distribution_of_radii(sandwich)
    assert (found.n, found.without, found.largest, found.at_largest, sum(found.counts)) == (0, 2, None, 0.0, 0)
