"""Models made of copies with hidden pixels: every patch enumerated, coverage counted, forged evidence refuted."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.checker.copies import votes_claims
from certify.checker.derivations.votes import _touched as touched
from certify.core.evidence.masks import MasksEvidence
from certify.core.evidence.votes import VotesEvidence
from certify.errors import BadInput
from certify.models.defences.base import defence_from
from certify.models.defences.two_rounds import TwoRounds
from certify.models.defences.votes import Votes, strips
from tests.certifiers.test_patches import images, linear, network, patched

BOX = (0.0, 1.0)


def function(classes, count=3, **settings):
    """A classifier from a function of a batch that returns classes."""
    return certify.Classifier(classes, num_classes=count, input_box=BOX, **settings)


def seeing(seen, other):
    """A class where any pixel above 0.9 is seen, another one elsewhere: each copy that sees a white patch turns."""
    return function(lambda x: torch.where((x > 0.9).flatten(1).any(dim=1), seen, other), 2)


def white(shape, side):
    """A black image with a white patch at each place."""
    x = torch.zeros(shape)
    for top, left in itertools.product(range(shape[1] - side + 1), range(shape[2] - side + 1)):
        some = x.clone()
        some[:, top : top + side, left : left + side] = 1.0
        yield some


@pytest.mark.parametrize("ablation", ["band", "block"])
@pytest.mark.parametrize("kept", [0, 1])
def test_votes_are_certified_exactly_as_far_as_a_patch_cannot_take_the_lead(ablation, kept):
    """Every copy that sees the patch turns, so that the theorem is tight: one vote more or less would be seen here."""
    clf, outcomes = seeing(1 - kept, kept), set()
    for width, size in itertools.product(range(2, 9 if ablation == "band" else 6), range(1, 4)):
        shape = (1, 3 if ablation == "band" else width, width)
        sides = range(1, min(shape[1:]) + 1)
        if size > width:
            continue
        certifier = certify.Derandomized(size=size, ablation=ablation, null=0.0)
        evidence = certifier.show(clf, torch.zeros(shape), certify.Patch((0,), BOX)).evidence
        for side in sides:
            found = {certifier.defence.returned(clf, one) for one in white(shape, side)}
            held = evidence.holds(kept, side)
            assert held == (found == {kept}), (shape, size, side)
            outcomes.add(held)
    assert outcomes == {True, False}


@pytest.mark.parametrize("kept", [0, 1, 2])
@pytest.mark.parametrize("ablation", ["band", "block"])
def test_no_vote_that_is_certified_is_taken_by_any_votes_of_the_copies_that_see_a_patch(ablation, kept):
    """All votes that copies may cast, with and without thresholds, for small numbers of copies."""
    for width, size, lead in itertools.product(range(2, 7), (1, 2), range(7)):
        copies = width if ablation == "band" else width * width
        if lead > copies or size > width:
            continue
        for other in {0, 1, 2} - {kept}:
            most = (copies + lead) // 2
            counts = {kept: most, other: copies - most}
            evidence = VotesEvidence(ablation, size, None, None, width, width, counts)
            for side in range(1, width + 1):
                seen = max(int((strips(width, size)[:, a : a + side]).any(1).sum()) for a in range(width - side + 1))
                seen = seen if ablation == "band" else seen * seen
                assert evidence.seen(side) == seen
                turned = min(seen, most)
                after = {**dict.fromkeys(range(3), 0), kept: most - turned, other: copies - most + turned}
                winner = min(after, key=lambda label: (-after[label], label))
                if evidence.holds(kept, side):
                    assert winner == kept


def test_a_threshold_lets_a_patch_add_votes_without_taking_any():
    """With a threshold a copy may vote for several classes: a patch adds votes for one where it takes none."""
    votes = VotesEvidence("band", 1, None, 0.4, 4, 8, {0: 8, 1: 7})
    assert not votes.holds(0, 1)
    assert VotesEvidence("band", 1, None, 0.4, 4, 8, {0: 8, 1: 6}).holds(0, 1)
    assert not VotesEvidence("band", 1, None, 0.4, 4, 8, {0: 6, 1: 8}).holds(1, 1)  # a tie would go to class 0
    assert not VotesEvidence("band", 1, None, None, 4, 8, {1: 2}).holds(1, 1)  # as it would without a vote for it
    assert VotesEvidence("band", 1, None, None, 4, 8, {0: 2}).holds(0, 1)


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("masks", [1, 2, 3, 4])
def test_some_mask_hides_every_patch(side, masks):
    for height, width in itertools.product(range(side, 11), range(side, 11, 3)):
        defence = TwoRounds(side, masks)
        count = defence.count((1, height, width))
        hidden = ~defence.seen((1, height, width), torch.arange(count))
        assert count <= masks * masks
        for top, left in itertools.product(range(height - side + 1), range(width - side + 1)):
            assert hidden[:, top : top + side, left : left + side].flatten(1).all(dim=1).any()
        copies = certify.core.evidence.MasksEvidence(side, masks, None, height, width, {}, 0).copies
        assert copies == count + count**2


def treacherous(x):
    """Class 1 wherever nothing but 0 and the hidden value is seen; a class that looks random elsewhere."""
    clean = ((x == 0) | (x == 0.5)).flatten(1).all(dim=1)
    weights = torch.sin(torch.arange(x[0].numel()) * 12.9898 + 1) * 43758.5453
    return torch.where(clean, 1, (x.flatten(1) @ weights).floor().long() % 3)


@pytest.mark.parametrize(("shape", "side", "masks"), [((1, 3, 4), 1, 2), ((1, 4, 3), 2, 2), ((1, 4, 4), 2, 3)])
def test_two_rounds_give_the_certified_class_under_every_patch(shape, side, masks, monkeypatch):
    clf, x = function(treacherous), torch.zeros(1, *shape)
    masking = certify.Masking(masks=masks)
    [one] = certify.certify(clf, x, [1], threat=certify.Patch((0, side)), certifier=masking)
    assert one.radius == side
    assert certify.check(one, clf, x[0])
    defence = TwoRounds(side, masks)

    def answers(values):
        return {defence.returned(clf, image) for some in patched(x[0], side, values) for image in some}

    values = (0.0, 0.5, 0.3, 1.0) if side == 1 else (0.0, 0.3, 1.0)
    assert answers(values) == {1}
    # Were a mask one pixel shorter, or did it begin one later, some patch would be seen, and this test would see it.
    true = TwoRounds.spans
    monkeypatch.setattr(TwoRounds, "spans", lambda self, pixels: (true(self, pixels)[0], true(self, pixels)[1] - 1))
    assert answers(values) != {1}
    monkeypatch.setattr(TwoRounds, "spans", true)


@pytest.mark.parametrize(
    "certifier",
    [
        certify.Derandomized(size=1),
        certify.Derandomized(size=1, ablation="block"),
        certify.Derandomized(size=2, threshold=0.3),
        certify.Masking(masks=2),
        certify.Masking(masks=3, null=0.0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("shape", [(1, 3, 5), (2, 2, 6)])
def test_no_certificate_covers_a_patch_that_changes_the_answer(certifier, shape):
    threat, claimed = certify.Patch((0, 1)), 0.0
    certifier = certifier.fitted(threat)
    for seed in range(3):
        clf, x = network(3 * seed, shape), images(shape, 3, seed)
        y = certifier.predict(clf, x)
        for one, image, label in zip(certify.certify(clf, x, y, threat=threat, certifier=certifier), x, y, strict=True):
            assert one.prediction == label == certifier.defence.returned(clf, image)
            broken = any(int(label) != certifier.defence.returned(clf, p) for some in patched(image, 1) for p in some)
            assert not (broken and one.radius)
            claimed += one.radius
            assert certify.check(one, clf, image)
    assert claimed > 0


@pytest.mark.parametrize(
    ("certifier", "bias"),
    [(certify.Derandomized(size=1, null=0.0), -2.0), (certify.Masking(masks=2, side=2, null=0.0), -5.5)],
    ids=["votes", "masks"],
)
def test_attacks_execute_the_model_made_of_copies(certifier, bias):
    threat, clf = certify.Patch((1, 2)), linear(torch.ones(1, 4, 5), bias)
    x = torch.tensor([0.6, 0.6, 0.6, 0.3, 0.3]).expand(2, 1, 4, 5)
    y = certifier.predict(clf, x)
    made = certify.certify(clf, x, y, threat=threat, certifier=certifier)
    attacked = certify.attack(clf, x, y, threat=threat, attack="patch-pgd", certifier=certifier)
    for one, found in zip(made, attacked, strict=True):
        assert found.settings["defence"] == certifier.defence.to_dict() == one.evidence.defence
        assert defence_from(json.loads(json.dumps(found.settings["defence"]))) == certifier.defence
        assert found.succeeded
        assert not one.holds_at(found.radius)
        example = torch.from_numpy(found.x_adv)
        assert certifier.defence.returned(clf, example) == found.adversarial_prediction != found.label


def test_what_is_attacked_is_one_model_that_its_certifier_knows():
    clf, x, masking = network(0, (1, 3, 3)), images((1, 3, 3), 1), certify.Masking(side=1)
    with pytest.raises(BadInput, match="leave one of them out"):
        certify.attack(clf, x, [0], threat=certify.Patch((1,)), certifier=masking, noise="gaussian", sigma=0.5)
    with pytest.raises(BadInput, match="top class only, got top-k"):
        certify.attack(clf, x, [0], threat=certify.Patch((1,)), certifier=masking, property=certify.TopK(2))


def test_nan_has_no_vote_and_is_no_class():
    clf = certify.Classifier(lambda x: torch.log(x.flatten(1)[:, :2] - 0.6), num_classes=2, input_box=BOX)
    x, threat = torch.zeros(1, 1, 3, 3), certify.Patch((0, 1))
    [votes] = certify.certify(clf, x, threat=threat, certifier=certify.Derandomized(size=1))
    [masks] = certify.certify(clf, x, threat=threat, certifier=certify.Masking(masks=2))
    for one in (votes, masks):
        assert (one.prediction, one.radius, one.verdict.name) == (None, None, "ABSTAIN")
        assert certify.check(one, clf, x[0])
    assert (dict(votes.evidence.counts), dict(masks.evidence.counts)) == ({}, {})


def altered(one, **fields):
    """A record with other values in its evidence, or in itself; None where it is refused at once."""
    record = json.loads(json.dumps(one.to_dict()))
    own = {name: value for name, value in fields.items() if name in record}
    record["evidence"] |= {name: value for name, value in fields.items() if name not in record}
    record |= own | ({"radius_hex": float(own["radius"]).hex()} if own.get("radius") is not None else {})
    try:
        return certify.Certificate.from_dict(record)
    except BadInput:
        return None


@pytest.mark.parametrize(
    "fields",
    [
        {"counts": {"0": 8}},
        {"counts": {"0": 7, "1": 1}, "radius": 1.0},
        {"size": 2},
        {"null": 0.25},
        {"ablation": "block"},
        {"threshold": 0.9},
        {"height": 5},
        {"width": 9},
        {"radius": 3.0},
        {"radius": 1.0},
        {"forward_passes": 7},
        {"prediction": 1},
        {"verdict": "unknown", "radius": None, "radius_hex": None},
        {"label": 1},
    ],
    ids=str,
)
def test_votes_that_were_changed_are_refuted(fields):
    clf = linear(torch.ones(1, 4, 8), -3.9)
    x = torch.cat([torch.ones(1, 4, 7), torch.zeros(1, 4, 1)], dim=2)[None]
    [one] = certify.certify(
        clf, x, [0], threat=certify.Patch((0, 1, 2, 3)), certifier=certify.Derandomized(1, null=0.0)
    )
    assert (dict(one.evidence.counts), one.radius) == ({0: 7, 1: 1}, 3)
    assert certify.check(one, clf, x[0])
    forged = altered(one, **fields)
    unchanged = forged is not None and forged == one
    assert unchanged or forged is None or not certify.check(forged, clf, x[0])


@pytest.mark.parametrize(
    "fields",
    [
        {"side": 1},
        {"masks": 3},
        {"null": 0.25},
        {"height": 5},
        {"counts": {"1": 20}},
        {"counts": {"1": 19}},
        {"invalid": 1},
        {"radius": 1.0},
        {"radius": 0.0},
        {"radius": 3.0},
        {"forward_passes": 21},
        {"prediction": 0},
        {"label": 0},
    ],
    ids=str,
)
def test_masks_that_were_changed_are_refuted(fields):
    clf, x = function(treacherous), torch.zeros(1, 1, 4, 4)
    [one] = certify.certify(clf, x, [1], threat=certify.Patch((0, 1, 2)), certifier=certify.Masking(masks=2))
    assert (dict(one.evidence.counts), one.radius) == ({1: 20}, 2)
    assert certify.check(one, clf, x[0])
    forged = altered(one, **fields)
    assert forged is None or forged == one or not certify.check(forged, clf, x[0])


def test_strips_that_meet_a_patch_are_counted_like_sets():
    for length in range(1, 8):
        for size in range(1, length + 1):
            strips = [{(begin + step) % length for step in range(size)} for begin in range(length)]
            for side in range(length + 1):
                for first in range(length - side + 1):
                    met = sum(not strip.isdisjoint(range(first, first + side)) for strip in strips)
                    assert touched(length, size, side) == met
                    votes = VotesEvidence("band", size, None, None, length, length, {})
                    assert votes.seen(side) == met


@pytest.mark.parametrize("fields", [{"width": 10**30}, {"height": 10**30}, {"width": 2**13, "height": 2**12}], ids=str)
def test_images_that_no_memory_holds_are_refused_at_once(fields):
    clf = linear(torch.ones(1, 4, 8), -3.9)
    certifiers = certify.Derandomized(1), certify.Masking(masks=2)
    for one in certifiers:
        [made] = certify.certify(clf, torch.ones(1, 1, 4, 8), threat=certify.Patch((0, 1)), certifier=one)
        with pytest.raises(BadInput, match="no image has"):
            dataclasses.replace(made.evidence, **fields)


def test_masks_that_nobody_hides_in_pairs_are_refused():
    clf, x = function(treacherous), torch.zeros(1, 1, 40, 40)
    with pytest.raises(BadInput, match="1,600 masks are hidden in pairs, 1,024 at most"):
        certify.certify(clf, x, threat=certify.Patch((1,)), certifier=certify.Masking(masks=1000))
    with pytest.raises(BadInput, match="nobody hides 1,600 masks in pairs"):
        MasksEvidence(1, 1000, None, 40, 40, {}, 0)


def test_a_pixel_that_only_one_pair_of_masks_hides_is_enough_to_certify_nothing():
    """The class changes where a certain pair of masks is hidden: the one-mask round agrees, the pairs do not."""
    defence = TwoRounds(1, 2)
    seen = defence.seen((1, 4, 4), torch.arange(4))
    pair = (seen[0] & seen[3])[None]
    clf = function(lambda x: ((x == 0.5) == ~pair).flatten(1).all(dim=1).long(), 2)
    [one] = certify.certify(
        clf, torch.zeros(1, 1, 4, 4), [0], threat=certify.Patch((0, 1)), certifier=certify.Masking(2)
    )
    assert (one.radius, one.prediction) == (0, 0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: certify.Derandomized(size=0), "at least one pixel"),
        (lambda: certify.Derandomized(ablation="bands"), "did you mean 'band'"),
        (lambda: certify.Derandomized(threshold=0.0), "a probability above 0"),
        (lambda: certify.Derandomized(null=float("nan")), "finite value"),
        (lambda: certify.Masking(masks=0), "at least one mask"),
        (lambda: certify.Masking().defence, "give side"),
        (lambda: defence_from({"kind": "vote"}), "did you mean 'votes'"),
        (lambda: defence_from({"kind": "votes", "size": "2", "ablation": "band"}), "size"),
        (lambda: defence_from("votes"), "a table with its kind"),
        (lambda: asked(certify.Derandomized(size=9)), "larger than the image"),
        (lambda: asked(certify.Derandomized(size=4)), "no side above 0 can be certified; show smaller parts"),
        (
            lambda: asked(certify.Derandomized(1), threat=certify.ThreatModel("l2", (0.5,))),
            "patches and the top class only",
        ),
        (lambda: asked(certify.Derandomized(1), shape=(16,)), "a patch lies in images"),
        (lambda: asked(certify.Masking(), box=None), "there is none: declare one"),
        (lambda: asked(certify.Masking(), property=certify.TopK(2)), "top class only, got top-k"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_line(make, said):
    with pytest.raises(BadInput, match=said) as problem:
        make()
    assert "\n" not in str(problem.value)


def asked(certifier, shape=(1, 4, 4), threat=None, box=BOX, **settings):
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    clf = certify.Classifier(net, num_classes=3, input_box=box)
    certify.certify(clf, torch.zeros(1, *shape), threat=threat or certify.Patch((1,)), certifier=certifier, **settings)


def test_a_null_value_outside_of_the_box_tells_a_network_what_is_hidden():
    """The encoding of Levine and Feizi: each value beside its complement, and zeros for both where it is hidden."""

    class Encoded(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(32, 2)

        def forward(self, x):
            seen = (x != -1.0).to(x.dtype)
            return self.last(torch.cat([x * seen, (1 - x) * seen], dim=1).flatten(1))

    net = Encoded().eval().requires_grad_(False)
    net.last.weight[0], net.last.weight[1], net.last.bias[:] = 0.0, 1.0, torch.tensor([3.5, 0.0])
    clf = certify.Classifier(net, num_classes=2, input_box=BOX)  # class 1 where four pixels are seen, whatever they are
    certifier = certify.Derandomized(size=1, null=-1.0)
    assert certifier.predict(clf, images((1, 4, 4), 2)) == [1, 1]


@pytest.mark.parametrize("certifier", [certify.Derandomized(size=1), certify.Masking(masks=2)], ids=repr)
def test_a_run_is_checked_summarized_and_contradicted(certifier, tmp_path):
    threat = certify.Patch((0, 1, 2))
    clf, x = network(3, (1, 4, 5)), images((1, 4, 5), 6)
    y = np.array(certifier.fitted(threat).predict(clf, x))
    out = tmp_path / "run"
    result = certify.evaluate(clf, (x.numpy(), y), threat=threat, certifier=certifier, attack="pgd", out=out)
    assert "not about the model alone" in result.summary.statement
    assert not result.summary.contradictions
    assert not certify.check_run(out).refuted
    head = result.summary.head
    assert "ANOTHER" not in head["attack"]
    with pytest.raises(BadInput, match="make two runs"):
        certify.evaluate(clf, (x.numpy(), y), threat=threat, certifier=[certifier, "crown"])
    mixed = [*result.certificates, *certify.certify(clf, x[:1], y[:1], threat=threat, certifier="ibp")]
    with pytest.raises(BadInput, match="different models"):
        certify.summarize(mixed)
    plain = certify.attack(clf, x, y, threat=threat)
    assert "ANOTHER" in certify.summarize(result.certificates, plain).head["attack"]


def test_votes_of_a_model_that_has_more_classes_are_its_own():
    """The votes are executed again even where counts alone would do."""
    clf, other = network(0, (1, 3, 5)), network(3, (1, 3, 5))
    x = images((1, 3, 5), 1)
    [one] = certify.certify(clf, x, threat=certify.Patch((0, 1)), certifier=certify.Derandomized(size=1))
    [claim] = votes_claims(one, one.evidence, other, x[0])
    same = Votes("band", 1).counts(other, x[0]) == Votes("band", 1).counts(clf, x[0])
    assert (claim.said == "") == same
