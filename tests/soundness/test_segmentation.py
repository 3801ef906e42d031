"""Segmentation pixel by pixel, held against closed forms, simulation, enumeration and forged counts."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from torch import nn

import certify
from certify.attacks.pixels import kept_shares
from certify.attacks.smoothed import PixelExamination
from certify.attacks.target import Plain
from certify.checker.examples import example_claims
from certify.checker.replay import chosen, replay_claims
from certify.checker.result import Standing
from certify.core.properties.base import property_from
from certify.core.runs import map_text, read_map
from certify.data.batch import Batch
from certify.errors import BadInput, DataError, ModelError
from certify.stats.pixels import at_least, fewest_hits, mean_lower, not_on_top, on_top, true_share_lower
from certify.stats.simultaneous import holm
from certify.summary.columns import certificate_columns
from certify.summary.join import copies_of
from certify.summary.pixels import _Count

SIGMA = 0.25
L2 = certify.ThreatModel("l2", (0.0, 0.05, 0.1), input_box=(0.0, 1.0))
HALF = certify.Pixels(0.5)


def threshold_net(scale=1.0):
    """Class 1 where a pixel is above 1/2: under noise with probability Phi((x - 1/2) / sigma)."""
    net = nn.Conv2d(1, 2, 1).requires_grad_(False).eval()
    net.weight.copy_(torch.tensor([-scale, scale]).reshape(2, 1, 1, 1))
    net.bias.copy_(torch.tensor([0.5, -0.5]) * scale)
    return net


@pytest.fixture(scope="module")
def planted():
    """A segmenter, images of 6 x 7 pixels all over [0, 1], their label maps, and certificates."""
    x = np.random.default_rng(0).random((3, 1, 6, 7)).astype(np.float32)
    y = (x[:, 0] > 0.5).astype(np.int64)
    y[2, :3] = 1 - y[2, :3]  # labelled wrongly
    clf = certify.Segmenter(threshold_net(), 2)
    made = certify.certify(
        clf, x, y, threat=L2, property=HALF, certifier=certify.Pixelwise(sigma=SIGMA, n=2000, seed=1)
    )
    return clf, x, y, made


def test_a_pixel_is_certified_up_to_its_distance_from_the_boundary_and_hardly_less(planted):
    _, x, _, made = planted
    for image, one in zip(x[:, 0].astype(float), made, strict=True):
        apart = np.abs(image - 0.5)
        for place, radius in enumerate(L2.radii):
            shown = one.evidence.shown(place)
            assert (apart[shown] >= radius).all()
            assert (one.evidence.classes == (image > 0.5))[shown].all()
            # at n = 2,000 four standard errors and Holm's share of alpha are below 0.1 sigma in the middle
            assert shown[(apart > radius + 0.6 * SIGMA) & (apart < 1.6 * SIGMA)].all()
            assert shown.any()


def test_an_image_is_certified_where_enough_of_its_pixels_are_certified_right(planted):
    _, _, y, made = planted
    for label_map, one in zip(y, made, strict=True):
        right = one.evidence.classes == label_map
        held = [r for k, r in enumerate(L2.radii) if (right & one.evidence.shown(k)).sum() >= 21]
        assert one.radius == max(held, default=None)
        assert one.prediction == int(right.sum() < 21)
        assert (one.verdict is certify.Verdict.CERTIFIED) == bool(held)
    assert made[0].radius is not None
    assert made[2].prediction == 1 or made[2].radius is None


@pytest.mark.parametrize("together", [True, False])
def test_holm_shows_a_pixel_wrongly_no_more_often_than_alpha(together):
    """Pixels exactly at the limit, all with the same samples or each with its own; and two that are shown rightly."""
    alpha, n, missed, generator = 0.1, 60, 0.2, np.random.default_rng(5)
    wrong, tries = 0, 3000
    for _ in range(tries):
        null = generator.binomial(n, 1 - missed, 1 if together else 6)
        hits = np.concatenate([np.broadcast_to(null, 6), [60, 60]])
        wrong += int(null.max()) >= fewest_hits(hits, n, missed, alpha)
    assert wrong <= tries * alpha + 4 * math.sqrt(tries * alpha)
    if not together:
        assert wrong > tries * alpha / 4  # it is not idle either


def test_what_is_shown_is_what_holms_procedure_rejects():
    generator = np.random.default_rng(1)
    for _ in range(60):
        n, missed, alpha = int(generator.integers(20, 300)), float(generator.uniform(0.05, 0.5)), 0.02
        hits = generator.binomial(n, generator.uniform(0.5, 1.0, 30))
        p = stats.binom.cdf(n - hits, n, missed)
        assert (hits >= fewest_hits(hits, n, missed, alpha)).tolist() == list(holm(p.tolist(), alpha))
    assert fewest_hits(np.array([10]), 10, 0.0, 0.5) == 11


@given(arrays.arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.integers(0, 3)))
def test_a_map_is_read_as_it_was_written(values):
    text = map_text(values)
    assert np.array_equal(read_map("a map", text), values)
    with pytest.raises(ValueError, match="read-only"):
        read_map("a map", text)[0, 0] = 7


@pytest.mark.parametrize(
    "text",
    [
        *("2x2 0 0*3", "2x2 0*5", "2x2 0*4 ", "2x2 00*4", "2x2 0*04", "2x2  0*4", "2x2 -1*4", "99999x99999 0*4"),
        *("0x2 ", 3, "2x2 0*4\n", "2x2 9999999999*4", "2x2 1*1 0*3", "2x2", "", "9999999999x1 0*9999999999"),
        "2x2 \N{ARABIC-INDIC DIGIT THREE}*4",
    ],
)
def test_a_map_in_other_words_is_refused(text):
    with pytest.raises(BadInput):
        read_map.__wrapped__("a map", text)


def test_answers_do_not_depend_on_batches(planted):
    clf, x, y, made = planted
    other = certify.Pixelwise(sigma=SIGMA, n=2000, seed=1, batch_size=7)
    assert certify.certify(clf, x[1:2], y[1:2], threat=L2, property=HALF, certifier=other, index=[1]) == made[1:2]


def test_a_classifier_of_maps_is_read_as_a_segmenter(planted):
    clf, x, y, made = planted
    plain = certify.Classifier(threshold_net(), 2)
    assert plain.digest == clf.digest
    again = certify.certify(
        plain, x[:1], y[:1], threat=L2, property=HALF, certifier=certify.Pixelwise(sigma=SIGMA, n=2000, seed=1)
    )
    assert again == made[:1]
    labels = certify.Segmenter(lambda x: (x[:, 0] > 0.5).long(), 2, digest=clf.digest)
    [same] = certify.certify(
        labels, x[:1], y[:1], threat=L2, property=HALF, certifier=certify.Pixelwise(sigma=SIGMA, n=2000, seed=1)
    )
    assert same == made[0]


def test_without_label_maps_the_model_says_what_is_right(planted):
    clf, x, _, _ = planted
    [one] = certify.certify(clf, x[:1], threat=L2, property=HALF, certifier=certify.Pixelwise(sigma=SIGMA, n=500))
    assert one.label is None
    assert one.property.truth == map_text((x[0, 0] > 0.5).astype(int))


def test_pixels_without_a_number_are_never_certified_and_images_without_any_are_errors():
    def model(x):
        scores = threshold_net()(x)
        scores[:, :, 0, 0] = float("nan")
        scores[:, 1, 0, 1] = float("inf")
        return scores

    x, y = np.full((1, 1, 2, 3), 0.9, np.float32), np.ones((1, 2, 3), int)
    asked = {"threat": L2, "certifier": certify.Pixelwise(sigma=SIGMA, n=500)}
    [one] = certify.certify(certify.Segmenter(model, 2), x, y, property=HALF, **asked)
    assert not one.evidence.shown(0)[0, :2].any()
    assert one.evidence.shown(0).sum() == 4
    nothing = certify.Segmenter(lambda x: threshold_net()(x) * float("nan"), 2)
    [one] = certify.certify(nothing, x, y, property=HALF, **asked)
    assert one.verdict is certify.Verdict.ERROR
    with pytest.raises(DataError, match="NaN or infinity"):
        certify.certify(nothing, x, property=HALF, **asked)


def refuted(one, **changed):
    """The claims that are refuted of a certificate with forged evidence or fields."""
    kept = {field.name for field in dataclasses.fields(one.evidence)}
    evidence = {name: value for name, value in changed.items() if name in kept}
    fields = {name: value for name, value in changed.items() if name not in evidence}
    try:
        forged = dataclasses.replace(one, evidence=dataclasses.replace(one.evidence, **evidence), **fields)
    except BadInput:
        return {"record"}
    return {claim.claim for claim in certify.check(forged).claims if claim.standing is Standing.REFUTED}


def test_forged_counts_are_refuted(planted):
    _, _, _, (one, *_) = planted
    evidence, hits = one.evidence, one.evidence.counts
    assert not refuted(one)
    all_right = map_text(np.where(hits < evidence.least[2], 2000, hits))
    assert "confidence bound" in refuted(one, hits=all_right)
    assert "confidence bound" in refuted(one, least=(evidence.least[0] - 1, *evidence.least[1:]))
    lower = int(np.unique(hits[hits < evidence.least[2]])[-1])
    assert "confidence bound" in refuted(one, least=(*evidence.least[:2], lower))
    higher = int(np.unique(hits[hits > evidence.least[2]])[0])
    assert "confidence bound" in refuted(one, least=(*evidence.least[:2], higher))
    assert "noise" in refuted(one, missed=(*evidence.missed[:2], evidence.missed[2] * 1.01))
    assert "noise" in refuted(one, missed=(*evidence.missed[:2], evidence.missed[2] * 0.99))
    assert "noise" in refuted(one, sigma=0.3)
    assert "noise" in refuted(one, noise="gaussian-grid")
    assert "noise" in refuted(one, assumption="trust me")
    assert refuted(one, least=evidence.least[:2]) & {"record", "counts"}
    assert refuted(one, n=3000)
    assert refuted(one, n=10**18) == refuted(one, n=10**400) == {"record"}
    assert refuted(one, top=map_text(1 - evidence.classes))
    assert refuted(one, radius=0.07) == {"record"}
    assert "confidence bound" in refuted(one, guarantee=certify.Guarantee.probabilistic(0.1))
    assert "confidence bound" in refuted(one, guarantee=certify.Guarantee.probabilistic(1e-9))
    assert "counts" in refuted(one, forward_passes=7)
    assert refuted(one, property=HALF.at(map_text(1 - one.property.right)))
    assert refuted(one, property=certify.Pixels(1.0).at(one.property.truth))
    assert "prediction" in refuted(one, prediction=1)
    assert refuted(one, hits="5x7 " + evidence.hits.partition(" ")[2]) == {"record"}
    assert refuted(one, property=certify.TopClass())


def test_a_replay_sees_every_pixel_whose_class_or_hits_were_changed(planted):
    clf, x, _, (one, *_) = planted
    [choice] = chosen([one], 1, seed=0)
    assert choice.blocks == ()  # all are drawn again

    def standing(certificate, blocks=(), model=clf):
        claims = replay_claims(certificate, model, torch.from_numpy(x[0]), blocks=blocks, level=1e-6, seed=3)
        return {claim.claim: claim.standing for claim in claims}

    assert set(standing(one, (2, 15)).values()) == {Standing.CONFIRMED}
    hits, top = one.evidence.counts.copy(), one.evidence.classes.copy()
    hits[0, 0] += 1 if hits[0, 0] < 2000 else -1
    forged = dataclasses.replace(one, evidence=dataclasses.replace(one.evidence, hits=map_text(hits)))
    assert standing(forged)["hits"] is Standing.REFUTED
    row, column = np.argwhere(one.evidence.counts == one.evidence.counts.max())[0]
    top[row, column] = 1 - top[row, column]
    forged = dataclasses.replace(one, evidence=dataclasses.replace(one.evidence, top=map_text(top)))
    assert standing(forged)["selection votes"] is Standing.REFUTED
    assert standing(forged)["fresh samples"] is Standing.REFUTED
    other = certify.Segmenter(lambda x: (x[:, 0] > 9.0).long(), 2)
    assert standing(one, (0,), other)["hits of a block"] is Standing.REFUTED
    small = dataclasses.replace(one.evidence, generator="another")
    assert standing(dataclasses.replace(one, evidence=small))["votes"] is Standing.OPEN


def test_pixels_are_drawn_again_where_they_are_too_few_for_a_radius(planted):
    """They count in the figures all the same."""
    clf, x, y, _ = planted
    made = certify.certify(
        clf, x, y, threat=L2, property=certify.Pixels(1.0), certifier=certify.Pixelwise(sigma=SIGMA, n=300)
    )
    assert [one.radius for one in made] == [None] * 3
    assert {one.certificate.index for one in chosen(made, 3, seed=0)} == {0, 1, 2}
    hits = np.full_like(made[0].evidence.counts, 300)  # which Holm's procedure certifies
    least = (300, 300, 300)
    forged = dataclasses.replace(
        made[0], evidence=dataclasses.replace(made[0].evidence, hits=map_text(hits), least=least)
    )
    [choice] = chosen([forged], 1, seed=0)
    claims = replay_claims(choice.certificate, clf, torch.from_numpy(x[0]), blocks=(), level=1e-6, seed=3)
    assert "hits" in {one.claim for one in claims if one.standing is Standing.REFUTED}


def test_a_part_of_the_images_is_no_sample_of_a_population(planted):
    _, _, _, made = planted
    assert certify.summarize(made, expected=3).pixels[0].population_lower is not None
    part = certify.summarize(made[:2], expected=3)
    assert [row.population_lower for row in part.pixels] == [None] * 3
    assert "population" not in part.table()


def test_check_holds_a_record_against_model_and_image(planted):
    clf, x, _, made = planted
    assert certify.check(made, clf, x)
    assert not certify.check(made[0], clf, x[1])
    other = certify.Segmenter(nn.Conv2d(1, 2, 1).eval(), 2, digest=clf.digest)
    assert certify.check(made[0], other, x[0])  # what it returns under noise is for a replay
    larger = certify.Segmenter(nn.Sequential(threshold_net(), nn.Upsample(scale_factor=2)).eval(), 2, digest=clf.digest)
    assert [one.claim for one in certify.check(made[0], larger, x[0]).refuted] == ["pixels"]


def test_intersection_over_union_is_below_that_of_every_map_that_the_claims_allow():
    generator = np.random.default_rng(2)
    for _ in range(40):
        truth = generator.integers(0, 3, (2, 3))
        top = np.where(generator.random((2, 3)) < 0.8, truth, generator.integers(0, 3, (2, 3)))
        shown = generator.random((2, 3)) < 0.6
        n, hits = 10, np.where(shown, 10, 0)
        evidence = certify.PixelsEvidence(
            "gaussian", 1.0, 6, 1, n, map_text(top), map_text(hits), (0.4,), (10,), "", 0, 128, ""
        )
        found = _Count()
        found.add(certify.Pixels().at(map_text(truth)), evidence, 0)
        classes = sorted(set(truth.ravel().tolist()))
        least = math.inf
        for given_to in itertools.product(range(3), repeat=int((~shown).sum())):
            made = top.copy()
            made[~shown] = given_to
            both = [((made == c) & (truth == c)).sum() / ((made == c) | (truth == c)).sum() for c in classes]
            least = min(least, float(np.mean(both)))
        assert found.miou(classes) <= least + 1e-12
        if shown.all():
            assert found.miou(classes) == pytest.approx(least)


def test_a_summary_tells_the_figures_of_pixels_each_with_its_probability(planted):
    _, _, y, made = planted
    found = certify.summarize(made)
    for place, row in enumerate(found.pixels):
        shares = [
            (one.evidence.shown(place) & (one.evidence.classes == label_map)).mean()
            for one, label_map in zip(made, y, strict=True)
        ]
        assert row.certified == pytest.approx(np.mean(shares))
        assert row.certified_lower <= row.certified + 1e-12
        assert row.population_lower < row.certified_lower
        assert row.certified + row.wrong + row.abstain == pytest.approx(1)
        assert row.miou <= row.certified
    assert found.pixels[0].wrong > 0
    text = found.table()
    assert "are certified to keep their right class at radius 0 / 0.05 / 0.1" in " ".join(text.split())
    assert len(found.to_dict()["pixels"]) == 3
    between = certify.summarize(made, radii=(0.0, 0.07))
    assert between.pixels[1].certified == found.pixels[2].certified


def test_copies_with_other_label_maps_share_their_noise(planted):
    """So their claims may all be false at once: two such images are no two independent ones."""
    clf, x, y, _ = planted
    several = certify.certify(
        clf,
        np.repeat(x[:1], 30, axis=0),
        np.concatenate([np.repeat(y[:1], 29, axis=0), 1 - y[:1]]),
        threat=L2,
        property=certify.Pixels(0.1),
        certifier=certify.Pixelwise(sigma=SIGMA, n=300, alpha=0.03),
    )
    assert len({one.evidence.hits for one in several}) == 1
    columns = certificate_columns(several)
    copies = copies_of(columns.digest, columns.label, columns.kinds)
    assert (copies.often, copies.labels) == ([30], [2])
    found = certify.summarize(several)
    assert [row.certified_lower for row in found.rows] == [0.0] * 3
    assert [row.certified_lower for row in found.pixels] == [0.0] * 3
    assert [row.population_lower for row in found.pixels] == [None] * 3


def test_bounds_on_shares_fail_no_more_often_than_they_say():
    for n, p, delta in itertools.product((5, 30), (0.1, 0.5, 0.9, 0.99), (0.05, 0.3)):
        missed = sum(
            stats.binom.pmf(k, n, p) for k in range(n + 1) if mean_lower([1.0] * k + [0.0] * (n - k), 1e-9, delta) > p
        )
        assert missed <= delta
    assert mean_lower([1.0] * 300, 0.001, 0.05) > 0.98
    assert true_share_lower([1.0, 0.5], [1, 1], 1e-6, 0.05) == 0.75
    assert true_share_lower([1.0, 0.5], [2], 0.4, 0.05) == 0.0  # both are the same image


def test_examples_of_smoothed_pixels_are_accepted_no_more_often_than_alpha():
    """Images whose pixels are all exactly even: too few are shown to be lost, and too few to be kept."""
    generator, alpha, n = np.random.default_rng(3), 0.1, 100
    about = HALF.at(map_text(np.zeros((2, 4), int)))
    lost = kept = 0
    for _ in range(1500):
        own = generator.binomial(n, 0.5, (2, 4))
        found = PixelExamination(about, np.stack([own, n - own]))
        lost += found.loses(0, alpha)
        kept += found.loses(1, alpha)
    assert max(lost, kept) <= 1500 * alpha
    assert at_least(np.array([0.01, 0.5, 0.6]), 1) == pytest.approx(0.03)
    assert not_on_top(np.array([0]), np.array([0]), 2)[0] == on_top(np.array([0]), np.array([0]))[0] == 1.0


@pytest.fixture(scope="module")
def attacked(planted):
    """Findings about the smoothed segmentation, the first image moved almost to its boundary."""
    clf, x, y, _ = planted
    x = x.copy()
    x[0] = np.where(x[0] > 0.5, 0.53, 0.47)
    threat = certify.ThreatModel("l2", (0.0, 0.1, 0.5), input_box=(0.0, 1.0))
    asked = {"threat": threat, "property": certify.Pixels(0.9)}
    found = certify.attack(clf, x, y, **asked, noise="gaussian", sigma=SIGMA, n=400, draws=4, steps=10, restarts=1)
    made = certify.certify(clf, x, y, **asked, certifier=certify.Pixelwise(sigma=SIGMA, n=1000))
    return clf, x, y, threat, found, made


def test_an_attack_breaks_what_lies_close_and_contradicts_no_certificate(attacked):
    clf, x, y, threat, found, made = attacked
    assert found[0].radius in (0.1, 0.5)
    assert found[0].adversarial_prediction == 1
    for place, (one, proof) in enumerate(zip(found, made, strict=True)):
        assert proof.radius is None or one.radius is None or one.radius > proof.radius
        about = clf.with_property(certify.Pixels(0.9).at(map_text(y[place])))
        claims = example_claims(one, [proof], about, torch.from_numpy(x[place]), threat)
        assert not [str(claim) for claim in claims if claim.standing is Standing.REFUTED]
    summary = certify.summarize(made, found)
    assert not summary.contradictions
    assert all(row.certified <= row.empirical for row in summary.rows if row.empirical is not None)
    # the same image as its own example is refuted
    forged = dataclasses.replace(found[0], x_adv=np.where(x[0] > 0.5, 0.9, 0.1).astype(np.float32))
    forged = dataclasses.replace(forged, distance=threat.distance(x[0], forged.x_adv), radius=99.0, radii=(0.0, 99.0))
    wide = certify.ThreatModel("l2", (0.0, 99.0), input_box=(0.0, 1.0))
    about = clf.with_property(certify.Pixels(0.9).at(map_text(y[0])))
    claims = example_claims(forged, [], about, torch.from_numpy(x[0]), wide)
    assert "example" in {claim.claim for claim in claims if claim.standing is Standing.REFUTED}


def test_a_wrong_certificate_is_contradicted_by_an_example(attacked):
    clf, x, y, threat, found, made = attacked
    evidence = dataclasses.replace(made[0].evidence, least=(0, 0, 0), top=map_text(y[0]))
    wrong = dataclasses.replace(made[0], evidence=evidence, radius=0.5, verdict=certify.Verdict.CERTIFIED, prediction=0)
    about = clf.with_property(certify.Pixels(0.9).at(map_text(y[0])))
    claims = example_claims(found[0], [wrong], about, torch.from_numpy(x[0]), threat)
    assert "contradiction" in {claim.claim for claim in claims}


def test_certified_shares_stay_below_attacked_ones(attacked):
    clf, x, y, threat, _, made = attacked
    clf = clf.with_property(certify.Pixels(0.9))
    batch = Batch.of(x, [0] * len(x), 2, None, [map_text(one) for one in y])
    certifier = certify.Pixelwise(sigma=SIGMA, n=1000)
    target = dataclasses.replace(certifier.target(clf, threat), n=300, draws=4)
    left = kept_shares(target, batch, threat, certify.PGD(steps=4, restarts=1), seed=0)
    for place, one in enumerate(made):
        certified = [(one.evidence.shown(k) & (one.evidence.classes == y[place])).mean() for k in range(3)]
        assert (np.array(certified) <= left[place] + 1e-12).all()
        assert (np.diff(left[place]) <= 0).all()
    assert left[0, 2] < left[0, 0]
    with pytest.raises(BadInput, match="smoothed segmentation"):
        kept_shares(Plain(clf), batch, threat, certify.PGD(), seed=0)


def test_scores_for_attacks_fall_where_right_pixels_fall():
    about = certify.Pixels(0.75, ignore=9).at("2x3 0*2 1*2 9 0")
    scores = torch.randn(200, 3, 2, 3, generator=torch.Generator().manual_seed(0))
    answers = about.answer(scores)
    right = (scores.argmax(dim=1) == torch.tensor(about.right))[:, torch.tensor(about.judged)].sum(dim=1)
    assert answers.tolist() == (right < 4).long().tolist()
    margin = about.margin(about.scores(scores), torch.zeros(200, dtype=torch.int64))
    assert ((margin > 0).long() == answers).all()
    scores = scores[:1].requires_grad_(True)
    about.scores(scores)[0, 0].backward()
    assert scores.grad[0, :, torch.tensor(about.right) == 9].abs().sum() == 0


def test_a_property_about_pixels_is_what_its_record_says():
    for one in (certify.Pixels(), certify.Pixels(0.9, ignore=255), certify.Pixels(0.9).at("1x2 0 1")):
        assert property_from(one.to_dict()) == one
        assert one.named_by({"steps": 3, **one.named})
        assert one.family.named_by(one.named)
    assert not certify.Pixels(0.5).named_by(certify.Pixels(0.6).named)
    assert [certify.Pixels(share).at("1x10 0*10").needed for share in (0.9, 0.3, 0.7, 1.0, 0.91)] == [9, 3, 7, 10, 10]


IMAGES = np.full((2, 1, 2, 2), 0.9, np.float32)
SEGMENTER = certify.Segmenter(threshold_net(), 2)
NOISY = certify.Pixelwise(sigma=SIGMA, n=200)


def run(y, clf=SEGMENTER, property=HALF, certifier=NOISY):
    return certify.evaluate(clf, (IMAGES, np.asarray(y)), threat=L2, property=property, certifier=certifier)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: run(np.ones((2, 3, 2), int)), "3 x 2 pixels, and the model gives a class to 2 x 2"),
        (lambda: run(np.full((2, 2, 2), 255)), "ignore=255"),
        (lambda: run(np.full((2, 2, 2), 255), property=certify.Pixels(0.5, ignore=255)), "no pixel is judged"),
        (lambda: run(np.ones((2, 2, 2)) * 0.5), "whole numbers"),
        (lambda: run(-np.ones((2, 2, 2), int)), "whole numbers from 0"),
        (lambda: run(np.ones(2, int)), "label maps"),
        (lambda: run(np.ones((2, 2, 2), int), property=None), "use pixels"),
        (lambda: run(np.ones((2, 2, 2), int), certifier=certify.Smoothing(sigma=SIGMA)), "use pixelwise"),
        (lambda: run(np.ones((2, 2, 2), int), certifier="crown"), "use pixelwise"),
        (lambda: certify.Pixels(0.0), "above 0"),
        (lambda: certify.Pixels(1.5), "at most 1"),
        (lambda: certify.Pixels(float("nan")), "share"),
        (lambda: certify.Pixels(ignore=-1), "from 0"),
        (lambda: certify.Pixels().right, "label map for each image"),
        (certify.Pixelwise, "sigma"),
        (lambda: certify.Pixelwise(sigma=0.2, noise="ablation"), "retention|sigma"),
        (lambda: certify.Pixelwise(sigma=0.2, noise="gaussian-grid"), "gaussian, laplace or uniform"),
        (lambda: run(np.ones((2, 2, 2), int), certifier=certify.Pixelwise(sigma=1e-3, n=10)), "raise n or sigma"),
        (lambda: certify.predict(SEGMENTER, IMAGES, sigma=0.2), "pixels"),
        (lambda: certify.smooth(SEGMENTER, IMAGES, threat=L2, sigma=0.2), "pixels"),
    ],
)
def test_bad_input_is_one_clear_line(wrong, says):
    with pytest.raises((BadInput, DataError), match=says) as problem:
        wrong()
    assert "\n" not in str(problem.value)


def test_a_model_of_one_class_an_input_is_no_segmenter():
    flat = certify.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval(), 2)
    with pytest.raises(ModelError, match="a Segmenter returns scores"):
        run(np.ones((2, 2, 2), int), clf=flat)
