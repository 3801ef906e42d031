"""Smoothing certificates derived again: what certifiers make is confirmed, whatever is changed in it is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from flint import arb

from certify.certifiers.smooth import smooth
from certify.checker.check import check
from certify.checker.derivations.smoothing import RIVAL_SHARE, smoothing_claims
from certify.checker.laws import LAWS
from certify.checker.result import Standing
from certify.core.certificate import Certificate, Look
from certify.core.guarantee import Guarantee
from certify.core.threats.features import Features
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.models.classifier import Classifier
from certify.smoothing import certify as certifying
from certify.smoothing.noise.base import NOISES
from certify.stats.balls import working_precision

GREYS = [0, 60, 110, 120, 126, 127, 128, 129, 135, 145, 200, 255]  # dark to bright, some on the boundary
Z = np.array(GREYS, dtype=np.float32)[:, None].repeat(4, 1) / 255
Y = (Z.mean(1) > 0.5).astype(np.int64)
WAYS = {
    "declared, label": {},
    "declared, draws": {"selection": "draws", "n0": 20},
    "declared, own looks": {"looks": [100, 1000], "look_alphas": [0.0004, 0.0006]},
    "fixed": {"schedule": "fixed", "n0": 20},
    "votes": {"schedule": "fixed", "selection": "votes"},
    "runner-up": {"schedule": "fixed", "bound": "runner-up", "n0": 20},
    "runner-up, label": {"schedule": "fixed", "bound": "runner-up", "selection": "label"},
    **{name: {"noise": name} for name in NOISES if name != "ablation"},
}


@pytest.fixture(scope="module")
def clf() -> Classifier:
    """Bright or dark; a third class takes the pixels that come out very uneven."""

    def classes(x):
        return torch.where(x.std(1) > 0.45, 2, (x.mean(1) > 0.5).long())

    return Classifier(classes, num_classes=3)


def made(clf: Classifier, y=Y, **way) -> list[Certificate]:
    norm = NOISES[way.get("noise", "gaussian")](0.25).norms[0]
    threat = ThreatModel(norm, way.pop("radii", (0.0, 0.1)))
    return smooth(clf, Z, y, threat=threat, sigma=0.25, n=1000, **way)


def refuted(certificate: Certificate) -> dict[str, str]:
    return {one.claim: one.said for one in smoothing_claims(certificate) if one.standing is Standing.REFUTED}


def test_every_noise_law_has_its_theorem_here():
    assert set(LAWS) == set(NOISES)


@pytest.mark.parametrize("name", [name for name in NOISES if name != "ablation"])
def test_the_restated_theorem_is_that_of_the_law(name):
    generator = np.random.default_rng(5)
    for sigma in (0.12, 0.25, 1.0):
        noise, law = NOISES[name](sigma), LAWS[name]
        assert law.norms == noise.norms
        for q, rival in 10 ** generator.uniform(-9, -0.01, (40, 2)):
            if q + min(q, rival) >= 1:
                continue
            stated = noise.radius(q, min(q, rival), noise.norms[0])
            with working_precision(128):
                exact = law.radius(sigma, arb(q), arb(min(q, rival)))
                assert exact - 1e-12 * sigma <= stated
                assert stated <= exact or (stated == 0 and exact <= 0)
        for dimensions in (1, 784):
            slack, off = noise.slack(dimensions, noise.norms[0]), noise.total_variation(dimensions)
            with working_precision(128):
                assert law.slack(dimensions) <= slack <= law.slack(dimensions) * arb(1 + 1e-7)
                assert dimensions * law.off(sigma) <= off <= dimensions * law.off(sigma) * arb(1 + 1e-12)


def test_the_share_for_the_runner_up_is_the_certifiers():
    assert RIVAL_SHARE == certifying.RIVAL_SHARE


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_certified_is_confirmed(clf, way, labelled):
    if WAYS[way].get("selection") == "label" and not labelled:
        return  # there is no label to name the class
    for radii in ((0.0, 0.1), (0.3,)):
        certificates = made(clf, Y if labelled else None, radii=radii, **WAYS[way])
        assert {one.radius is None for one in certificates} == {True, False}
        for certificate in certificates:
            claims = smoothing_claims(certificate)
            assert {one.standing for one in claims} == {Standing.CONFIRMED}, [*map(str, claims)]
            assert len({one.claim for one in claims}) == 7


def evidence(certificate: Certificate, **changes) -> Certificate:
    return replace(certificate, evidence=replace(certificate.evidence, **changes))


def voted(certificate: Certificate, moved: int) -> Certificate:
    """The same with votes moved from other classes to the certified one, or back."""
    last = certificate.evidence.looks[-1]
    counts = dict(last.counts)
    other = next(label for label in (0, 1, 2) if label != certificate.prediction)
    counts[certificate.prediction] += moved
    counts[other] = counts.get(other, 0) - moved
    look = Look(last.n, counts, last.alpha, last.invalid)
    return evidence(certificate, looks=(*certificate.evidence.looks[:-1], look))


CHANGES = {
    "a larger radius": (lambda one: replace(one, radius=one.radius + 1e-7), {"radius"}),
    "the next float": (lambda one: replace(one, radius=float(np.nextafter(one.radius, 1) * (1 + 1e-14))), {"radius"}),
    "a smaller radius": (lambda one: replace(one, radius=one.radius - 1e-6), {"radius"}),
    "fewer misses": (lambda one: voted(one, -5), {"confidence bound", "radius"}),
    "a smaller bound": (
        lambda one: evidence(one, q_upper=one.evidence.q_upper * 0.999, rival_upper=one.evidence.q_upper * 0.999),
        {"confidence bound"},
    ),
    "a larger bound": (
        lambda one: evidence(one, q_upper=one.evidence.q_upper * 1.001, rival_upper=one.evidence.q_upper * 1.001),
        {"confidence bound"},
    ),
    "rivals bounded better": (lambda one: evidence(one, rival_upper=one.evidence.q_upper / 2), {"confidence bound"}),
    "a larger sigma": (lambda one: evidence(one, sigma=0.26), {"radius"}),
    "a smaller sigma": (lambda one: evidence(one, sigma=0.24), {"radius"}),
    "another law": (lambda one: evidence(one, noise="laplace"), {"noise", "radius"}),
    "an alpha below the looks'": (
        lambda one: replace(one, guarantee=Guarantee.probabilistic(0.001 * (1 - 2e-15))),
        {"alpha"},
    ),
    "slack for nothing": (lambda one: evidence(one, slack=1e-3), {"noise", "radius"}),
    "another class": (lambda one: replace(one, prediction=2), {"prediction"}),
    "abstained": (lambda one: replace(one, verdict=Verdict.ABSTAIN, radius=None), {"verdict"}),
    "unknown": (lambda one: replace(one, verdict=Verdict.UNKNOWN, radius=None), {"verdict"}),
    "samples left out": (lambda one: replace(one, forward_passes=one.forward_passes - 1), {"counts"}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ["declared, label", "fixed"])
def test_every_change_is_named(clf, change, way):
    certificate = next(one for one in made(clf, **WAYS[way]) if one.radius is not None and one.radius > 0.1)
    altered, claims = CHANGES[change]
    assert claims <= set(refuted(altered(certificate)))


def test_a_claim_that_is_changed_together_with_its_bound_does_not_hold(clf):
    """Radius, bound and rival agree with one another, and not with the counts."""
    certificate = next(one for one in made(clf, schedule="fixed") if one.radius is not None)
    q = certificate.evidence.q_upper / 2
    radius = NOISES["gaussian"](0.25).radius(q, q, "l2")
    faults = refuted(replace(evidence(certificate, q_upper=q, rival_upper=q), radius=radius))
    assert set(faults) == {"confidence bound", "radius"}
    assert "misses in 1000 samples" in faults["confidence bound"]


def test_votes_for_the_class_itself_are_worth_half_of_alpha(clf):
    certificate = next(one for one in made(clf, schedule="fixed", n0=20) if one.radius is not None)
    by_votes = evidence(certificate, chosen_by="votes", selection=None)
    assert {"confidence bound", "counts"} <= set(refuted(by_votes))


def test_a_runner_up_is_bounded_on_its_own_only_where_that_is_paid_for(clf):
    by_votes = next(one for one in made(clf, schedule="fixed", selection="votes") if one.radius is not None)
    assert not refuted(by_votes)
    assert "a runner-up" in refuted(evidence(by_votes, rival_share=0.1))["counts"]
    several = next(one for one in made(clf, selection="draws") if one.radius is not None and one.evidence.later)
    assert "one look only" in refuted(evidence(several, rival_share=0.1))["counts"]


def test_no_theorem_is_about_scaled_balls(clf):
    certificate = next(one for one in made(clf) if one.radius is not None)
    scaled = replace(certificate, threat=replace(certificate.threat, scale=(1000.0,) * 4))
    assert "features count alike" in refuted(scaled)["noise"]


@pytest.mark.parametrize("noise", LAWS)
def test_what_a_law_takes_on_trust_is_what_its_noise_says(noise):
    assert LAWS[noise].assumption[-1] == NOISES[noise].assumption


def test_votes_that_vanish_between_two_looks_are_named(clf):
    certificate = next(one for one in made(clf, selection="draws") if len(one.evidence.looks) > 2)
    first, *rest = certificate.evidence.looks
    moved = Look(first.n, {2: first.n}, first.alpha)
    assert "counts" in refuted(evidence(certificate, looks=(moved, *rest)))


def test_draws_and_grid_have_to_be_paid_for(clf):
    certificate = next(one for one in made(clf, noise="gaussian-grid") if one.radius is not None)
    assert certificate.evidence.draws_alpha > 0
    for changes in ({"draws_alpha": 0.0}, {"slack": 0.0}, {"slack": 1e-3}, {"dimensions": 400}):
        assert "noise" in refuted(evidence(certificate, **changes))


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_named(clf, share):
    certificate = next(one for one in made(clf, schedule="fixed") if one.radius is not None)
    assert "alpha" in refuted(evidence(certificate, rival_share=share))


def test_an_unknown_law_is_never_confirmed(clf):
    certificate = next(one for one in made(clf) if one.radius is not None)
    standing = {one.claim: one.standing for one in smoothing_claims(evidence(certificate, noise="cauchy"))}
    assert standing.pop("confidence bound") is Standing.CONFIRMED
    assert {standing[claim] for claim in ("radius", "noise", "verdict", "prediction")} == {Standing.OPEN}


def test_a_law_of_another_kind_of_evidence_is_refuted_in_words(clf):
    """What a radius is measured by is a number for one law, and two whole numbers for the other."""
    added = next(one for one in made(clf) if one.radius is not None)
    threat = Features((0, 1), input_box=(0.0, 1.0))
    [hidden] = smooth(clf, Z[-1:], threat=threat, noise="ablation", retention=1, n=2000)
    for one, noise in ((added, "ablation"), (hidden, "gaussian"), (hidden, "uniform"), (hidden, "gaussian-grid")):
        assert refuted(evidence(one, noise=noise))["noise"].startswith(f"{noise} noise leaves ")
        assert not check(evidence(one, noise=noise))


def test_the_tail_at_a_bound_is_the_incomplete_beta_function():
    """The bound that is put to the test, once more by another function of the library."""
    from certify.checker.derivations.smoothing import _is_bound
    from certify.stats.binomial import clopper_pearson_upper

    for k, n in ((0, 100), (3, 1000), (4000, 10_000), (70, 100)):
        q = clopper_pearson_upper(k, n, 0.001)
        with working_precision(128):
            tail = (1 - arb(q)).beta_lower(n - k, k + 1, True)
            assert tail <= 0.001
        assert _is_bound(q, k, n, 0.001, 1.0, 0.0)
        assert not _is_bound(q * (1 - 1e-9), k, n, 0.001, 1.0, 0.0)
        assert not _is_bound(q * (1 + 1e-5), k, n, 0.001, 1.0, 0.0)
