"""Certificates against patches: held against every patch of a few values, and against forged evidence."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.bounds.hints import packed, unpacked
from certify.bounds.radii.margins import MarginBounds
from certify.certifiers.deterministic import graph_of
from certify.errors import BadInput

METHODS = ["ibp", "crown", "alpha-crown", "auto"]


def network(seed, shape, hidden=6):
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    layers = nn.Conv2d(channels, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(3 * (height - 1) * (width - 1), hidden)
    net = nn.Sequential(*layers, nn.ReLU(), nn.Linear(hidden, 3)).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    return certify.Classifier(net, num_classes=3, input_box=(0.0, 1.0))


def images(shape, count, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((count, *shape), np.float32))


def patched(x, side, values=(0.0, 1.0)):
    """An image with every patch of a side whose entries are among a few values."""
    channels, height, width = x.shape
    square = [torch.tensor(one) for one in itertools.product(values, repeat=channels * side * side)]
    filled = torch.stack(square).reshape(-1, channels, side, side)
    for top, left in itertools.product(range(height - side + 1), range(width - side + 1)):
        some = x.repeat(len(filled), 1, 1, 1)
        some[:, :, top : top + side, left : left + side] = filled
        yield some


def broken(clf, x, label, radii, values=(0.0, 1.0)):
    """The least of some sides at which one of these patches changes the class; infinite for none."""
    for side in radii:
        if any((clf.predict(some) != label).any() for some in patched(x, side, values)):
            return side
    return np.inf


@pytest.mark.parametrize(
    ("shape", "sides", "values"),
    [((1, 3, 4), (1, 2, 3), (0.0, 1.0)), ((3, 3, 2), (1, 2), (0.0, 1.0)), ((1, 2, 2), (1, 2), (0.0, 0.25, 0.5, 1.0))],
)
def test_no_certificate_covers_a_patch_that_changes_the_class(shape, sides, values):
    claimed = 0.0
    for seed in range(2):
        clf, x = network(3 * seed, shape), images(shape, 3, seed)
        y = clf.predict(x)
        true = [broken(clf, one, int(label), sides, values) for one, label in zip(x, y, strict=True)]
        threat, radii = certify.Patch((0, *sides)), {}
        for method in [*METHODS, certify.Complete(timeout=30.0)]:
            made = certify.certify(clf, x, y, threat=threat, certifier=method)
            assert certify.check(made, clf, x)
            radii[made[0].method] = [one.radius for one in made]
            assert all(one.radius < least for one, least in zip(made, true, strict=True))
            claimed += sum(radii[made[0].method])
        # What is complete says no less than any other, and shows an example where it stops.
        assert all(a <= b <= c for a, b, c in zip(radii["ibp"], radii["crown"], radii["complete"], strict=True))
        assert radii["auto"] == radii["alpha-crown"]
        for one, image, least in zip(made, x, true, strict=True):
            found = one.finding
            assert (found.distance or np.inf) <= least
            assert (one.radius == threat.largest) == (found.x_adv is None)
            if found.x_adv is not None:
                assert one.radius == found.distance - 1 == one.threat.distance(image.numpy(), found.x_adv) - 1
                assert int(clf.predict(torch.from_numpy(found.x_adv)[None])[0]) != one.label
    assert claimed > 0


@pytest.mark.parametrize("corner", list(itertools.product([0, -1], [0, -1])))
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 3)])
def test_a_class_that_hangs_on_one_corner_is_certified_at_no_side(corner, shape):
    weight = torch.zeros(shape)
    weight[(-1, *corner)] = 1.0
    clf = linear(weight, bias=-0.5)
    x = torch.ones(1, *shape)
    for method in [*METHODS, certify.Complete(timeout=10.0)]:
        [one] = certify.certify(clf, x, [0], threat=certify.Patch((0, 1, 2)), certifier=method)
        assert one.radius == 0
    [found] = certify.attack(clf, x, [0], threat=certify.Patch((1, 2)))
    assert found.distance == 1


def linear(weight, bias):
    """Class 0 where the weighted sum of an image and the bias is above 0."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(weight.numel(), 2)).eval().requires_grad_(False)
    net[1].weight.zero_()
    net[1].weight[0], net[1].bias[:] = weight.flatten(), torch.tensor([bias, 0.0])
    return certify.Classifier(net, num_classes=2, input_box=(0.0, 1.0))


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 3, 5)])
def test_a_linear_class_is_certified_up_to_the_worst_place(shape):
    generator = torch.Generator().manual_seed(4)
    weight, x = torch.randn(shape, generator=generator), torch.rand(2, *shape, generator=generator)
    drops = (weight * x - weight.clamp(max=0)).sum(dim=1, keepdim=True)  # at most, of each pixel
    sides = range(1, min(shape[1:]) + 1)
    lost = torch.stack([(nn.functional.avg_pool2d(drops, s, 1) * s * s).flatten(1).amax(1) for s in sides], dim=1)
    for row, total in enumerate((weight * x).flatten(1).sum(dim=1).tolist()):
        for side, loss in zip(sides, lost[row].tolist(), strict=True):
            for spare, held in ((1e-4, side), (-1e-4, side - 1)):
                clf, threat = linear(weight, loss + spare - total), certify.Patch((0, *sides))
                for method in ("crown", certify.Complete(timeout=10.0)):
                    [one] = certify.certify(clf, x[row : row + 1], [0], threat=threat, certifier=method)
                    assert one.radius == held


def narrowed(seed, shape, margin):
    """A network and an image at which its class leads by so much."""
    net, [x] = network(seed, shape).module, images(shape, 1, seed)
    first, second = net(x[None])[0].topk(2).values.tolist()
    net[-1].bias[net(x[None]).argmax()] -= first - second - margin
    return certify.Classifier(net, num_classes=3, input_box=(0.0, 1.0)), x


def test_many_places_are_bounded_by_intervals_first_and_decided_where_those_fail():
    """72 places: more than are bounded together, and than complete verification cuts before it asks intervals."""
    solvers, threat = set(), certify.Patch((0, 1, 2))
    for seed, margin in ((0, 0.06), (0, 0.12), (1, 0.06), (1, 0.1)):
        clf, x = narrowed(seed, (1, 9, 10), margin)
        y = clf.predict(x[None])
        least, radii = broken(clf, x, int(y[0]), (1, 2)), []
        for method in ("ibp", "crown", "alpha-crown", certify.Complete(timeout=30.0)):
            [one] = certify.certify(clf, x[None], y, threat=threat, certifier=method)
            assert certify.check(one, clf, x)
            radii.append(one.radius)
        assert radii == sorted(radii)
        assert radii[-1] < least
        assert (one.evidence.falsified or np.inf) <= least
        solvers.add(one.evidence.solver)
    assert {"ibp", "inputs"} <= solvers


def test_a_side_is_proven_just_where_every_place_is():
    """The order of places, and that the rest are left out once one fails, change no answer."""
    shape, proven, first = (1, 6, 7), set(), torch.zeros(1, dtype=torch.long)
    for seed, margin in itertools.product(range(2), (0.02, 0.08, 0.3)):
        clf, x = narrowed(seed, shape, margin)
        graph, kept = graph_of(clf, shape).to(torch.float64), clf.predict(x[None])
        of = MarginBounds.of(graph, x[None], kept, certify.Patch((1,), input_box=(0.0, 1.0)))
        union = of.union(first, 1)
        alone = torch.cat([of.bounded("crown", union.some([i]), of.C, "exact").lower for i in range(len(union))])
        [found] = of.rows("crown", first, torch.ones(1), "exact").lower
        assert (found > 0).all() == (alone > 0).all()
        assert (found <= alone.amin(dim=0) + 1e-9).all()
        proven.add(bool((found > 0).all()))
    assert proven == {True, False}


@functools.cache
def searched():
    """A certificate whose proof needs planes in several regions."""
    clf, threat = network(0, (1, 4, 4)), certify.Patch((1, 2))
    for seed in range(40):
        x = images((1, 4, 4), 1, seed)
        [one] = certify.certify(clf, x, threat=threat, certifier="alpha-crown")
        if one.evidence and one.evidence.slopes and one.radius is not None:
            regions = {hint.region for hint in unpacked(one.evidence.slopes)}
            if len(regions) > 1 and None not in regions:
                return clf, x[0], one
    raise AssertionError("no such certificate")


def test_planes_of_regions_are_derived_again_and_cannot_be_exchanged():
    clf, x, one = searched()
    assert certify.check(one, clf, x)
    hints = unpacked(one.evidence.slopes)
    regions = sorted({hint.region for hint in hints})
    for other in (
        [dataclasses.replace(hint, region=regions[0]) for hint in hints],
        [hint for hint in hints if hint.region != regions[0]],
        [dataclasses.replace(hint, region=hint.region + 1000) for hint in hints],
    ):
        evidence = dataclasses.replace(one.evidence, slopes=packed(other))
        assert not certify.check(dataclasses.replace(one, evidence=evidence), clf, x)


@pytest.mark.parametrize("radius", [2.0, 1e19])
@pytest.mark.parametrize("method", ["crown", certify.Complete(timeout=10.0)], ids=str)
def test_a_side_that_is_enlarged_is_refuted(method, radius):
    from certify.bounds.radii.recheck import rechecked_margins

    clf, x = network(3, (1, 4, 4)), images((1, 4, 4), 6)
    threat, refuted = certify.Patch((0, 1, 2)), 0
    for one, image in zip(certify.certify(clf, x, threat=threat, certifier=method), x, strict=True):
        if one.radius == 2:
            continue
        if one.evidence.kind == "complete":
            nothing = {"falsified": None, "example": None, "adversarial_prediction": None}
            evidence = dataclasses.replace(one.evidence, certified=radius, **nothing)
        else:
            given = graph_of(clf, (1, 4, 4)), image, one.prediction, one.threat, radius, one.evidence
            margins = rechecked_margins(*given)
            evidence = dataclasses.replace(one.evidence, margins=[abs(margin) for margin in margins])
        assert not certify.check(dataclasses.replace(one, radius=radius, evidence=evidence), clf, image)
        refuted += 1
    assert refuted > 0


def test_inputs_that_are_no_images_are_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    clf = certify.Classifier(net, num_classes=2, input_box=(0.0, 1.0))
    for x in (torch.zeros(1, 16), torch.zeros(1, 4, 4)):
        for call in (
            lambda x: certify.certify(clf, x, threat=certify.Patch((1,)), certifier="crown"),
            lambda x: certify.attack(clf, x, [0], threat=certify.Patch((1,))),
        ):
            with pytest.raises(BadInput, match="a patch lies in images"):
                call(x)
