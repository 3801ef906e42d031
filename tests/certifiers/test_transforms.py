"""Transforms: what they do, that what is proven about them holds at every strength, and that bad ones are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.core.threats.base import THREATS, threat_from
from certify.core.threats.transform import Transform
from certify.data.dataset import seeded_generator
from certify.errors import BadInput
from certify.models.transformed import behind

SHAPE = (2, 6, 5)
STRENGTHS = {
    "rotation": 40.0,
    "translation": 1.3,
    "scaling": 0.4,
    "shear": 0.5,
    "brightness": 0.4,
    "contrast": 0.8,
    "gain": 0.5,
    "fade": 0.7,
    "gamma": 2.0,
    "blur": 1.0,
    "noise-floor": 0.5,
    "time-shift": 4.0,
    "product": 1.0,
    "own": 1.0,
}
MEMBERS = [name for name, member in THREATS.items() if issubclass(member, Transform)]
CHOSEN = {"product": {"parts": "rotation=20,brightness=0.2,fade=0.3"}}
"""What transforms need that have no usual settings."""


def tinted(x, share, more):
    return x + share * (1 - x) * x + 0.2 * more * x


def made(name, *radii, **settings):
    chosen = {"function": tinted, "strengths": 2} if name == "own" else CHOSEN.get(name, {})
    return THREATS[name](radii or (STRENGTHS[name],), **chosen | settings)


def network(seed, scale=3.0, shape=SHAPE):
    """A small convolutional network with weights of a seed."""
    generator = seeded_generator("transforms", seed)
    first = [nn.Conv2d(2, 3, 3)] if len(shape) == 3 else [nn.Conv1d(2, 3, 5)]
    size = first[0](torch.zeros(1, *shape)).numel()
    layers = nn.Sequential(*first, nn.ReLU(), nn.Flatten(), nn.Linear(size, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for one in layers.parameters():
            one.copy_(torch.as_tensor(generator.normal(size=one.shape) * scale / max(1, one[0].numel()) ** 0.5))
    return certify.Classifier(layers.eval(), num_classes=3)


def shape_of(name):
    return (2, 30) if name == "time-shift" else SHAPE


def images(seed, count=3, shape=SHAPE):
    return torch.as_tensor(seeded_generator("images", seed).uniform(size=(count, *shape)), dtype=torch.float32)


def read(image, column, row, padding):
    """One bilinear value, place by place: the definition, in float64."""
    height, width = image.shape
    total = 0.0
    if padding == "border":
        column, row = min(max(column, 0.0), width - 1.0), min(max(row, 0.0), height - 1.0)
    for i in range(height):
        for j in range(width):
            total += max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j)) * image[i, j]
    return total


def expected(name, x, strengths, padding="zeros"):
    """What the transform makes of an image (C, H, W), written down again."""
    if name == "brightness":
        return np.clip(x + strengths[0], 0, 1)
    if name == "contrast":
        return np.clip(0.5 + (1 + strengths[0]) * (x - 0.5), 0, 1)
    if name == "gain":
        return np.exp(strengths[0]) * x
    if name == "fade":
        return (1 - strengths[0]) * x + strengths[0]
    if name == "own":
        return x + strengths[0] * (1 - x) * x + 0.2 * strengths[1] * x
    if name == "product":
        turned = expected("rotation", x, [20 * strengths[0]])
        return expected("fade", expected("brightness", turned, [0.2 * strengths[1]]), [0.3 * strengths[2]])
    if name == "gamma":
        return x * np.maximum(x, 2.0**-10) ** strengths[0]
    if name == "noise-floor":
        noise = np.random.Generator(np.random.Philox(0)).standard_normal(x.shape, dtype=np.float32)
        return np.clip(x + strengths[0] * noise, 0, 1)
    if name == "blur":
        _, height, width = x.shape
        along = [np.exp(-(np.subtract.outer(np.arange(n), np.arange(n)) ** 2) / 2) for n in (height, width)]
        rows, columns = (one / one.sum(axis=1, keepdims=True) for one in along)
        blurred = np.einsum("ih,chw,jw->cij", rows, x, columns)
        return (1 - strengths[0]) * x + strengths[0] * blurred
    if name == "time-shift":
        return np.array([[read(row[None], t + strengths[0], 0.0, padding) for t in range(len(row))] for row in x])
    _, height, width = x.shape
    made = np.zeros_like(x)
    for i in range(height):
        for j in range(width):
            u, v = j - (width - 1) / 2, i - (height - 1) / 2
            if name == "rotation":
                angle = np.deg2rad(strengths[0])
                u, v = np.cos(angle) * u - np.sin(angle) * v, np.sin(angle) * u + np.cos(angle) * v
            elif name == "translation":
                u, v = u + strengths[0], v + strengths[1]
            elif name == "scaling":
                u, v = (1 + strengths[0]) * u, (1 + strengths[0]) * v
            else:
                u = u + strengths[0] * v
            for channel in range(len(x)):
                made[channel, i, j] = read(x[channel], u + (width - 1) / 2, v + (height - 1) / 2, padding)
    return made


def settings_of(name):
    return [{"padding": "zeros"}, {"padding": "border"}] if "padding" in made(name).settings else [{}]


def sampled(threat, count, seed=0):
    """Strengths (count, parameters) within the largest radius, corners and ends among them."""
    generator, width = seeded_generator("strengths", seed), len(threat.parameters)
    drawn = generator.uniform(-1, 1, size=(count, width))
    drawn[: count // 4] = np.sign(drawn[: count // 4])
    low, high = np.array([[one.lowest, one.highest] for one in threat.parameters]).T
    return np.clip(drawn * threat.largest, low, high).astype(np.float32)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_transform_is_what_its_definition_says(name):
    for settings in settings_of(name):
        threat = made(name, **settings)
        seen = []
        model = certify.Classifier(lambda x, seen=seen: seen.append(x) or x.flatten(1)[:, :2], num_classes=2)
        clf = behind(model, threat, shape_of(name))
        x, strengths = images(1, 8, shape_of(name)), sampled(threat, 8)
        strengths[0] = 0.0
        clf.scores(torch.cat([x.flatten(1), torch.as_tensor(strengths)], dim=1))
        for image, row, found in zip(x.numpy(), strengths, seen[-1].numpy(), strict=True):
            wanted = expected(name, image.astype(np.float64), row.astype(np.float64), **settings)
            assert np.abs(found - wanted).max() < 2e-5
        assert np.abs(seen[-1][0].numpy() - x[0].numpy()).max() < 2e-6  # strength 0 is the input itself


@pytest.mark.parametrize("name", MEMBERS)
def test_what_is_proven_holds_at_every_strength_and_examples_are_examples(name):
    proven = falsified = 0
    for seed in (2, 3):
        clf, x = network(seed, shape=shape_of(name)), images(seed, shape=shape_of(name))
        largest = made(name).largest
        threat = made(name, largest / 8, largest / 2, largest)
        labels = clf.predict(x).tolist()
        certificates = certify.certify(
            clf, x, labels, threat=threat, certifier=certify.Complete(timeout=20.0, decide=True)
        )
        there = behind(clf, threat, shape_of(name))
        for one, image, label in zip(certificates, x, labels, strict=True):
            if one.radius:
                strengths = torch.as_tensor(sampled(replace(threat, radii=(one.radius,)), 400, seed))
                z = torch.cat([image.flatten().expand(400, -1), strengths], dim=1)
                assert (there.predict(z) == label).all()
                proven += 1
            if (example := one.evidence.example) is not None:
                at = np.concatenate([image.flatten().numpy(), np.zeros(len(threat.parameters), dtype=np.float32)])
                assert threat.contains(at, example.values, one.evidence.falsified)
                assert int(there.predict(torch.as_tensor(example.values)[None])) != label
                falsified += 1
        assert certify.check(certificates, clf, x)
    assert proven >= 2
    assert falsified >= 1


@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_bounds_alone_prove_less_than_cutting_strengths(method):
    clf, x = network(0), images(0)
    threat = made("rotation", 0.5, 2.0, 20.0)
    labels = clf.predict(x).tolist()
    alone = certify.certify(clf, x, labels, threat=threat, certifier=certify.Bounds(method))
    cut = certify.certify(clf, x, labels, threat=threat, certifier=certify.Complete(timeout=20.0, decide=True))
    for radius in threat.radii:
        proven = [{one.index for one in found if (one.radius or 0.0) >= radius} for found in (alone, cut)]
        assert proven[0] <= proven[1]
    assert certify.check(alone, clf, x)


def test_a_forged_strength_is_refuted():
    clf, x = network(0), images(0, 1)
    threat = made("rotation", 0.5, 100.0)
    [one] = certify.certify(clf, x, clf.predict(x).tolist(), threat=threat, certifier=certify.Bounds("crown"))
    assert certify.check(one, clf, x[0])
    assert not certify.check(replace(one, radius=100.0), clf, x)
    other = replace(one, threat=made("rotation", 0.5, 100.0, padding="border"))
    assert not certify.check(other, clf, x)  # proven with zeros outside


@pytest.mark.parametrize("name", MEMBERS)
def test_a_record_keeps_what_was_chosen(name):
    for settings in settings_of(name):
        threat = made(name, **settings)
        assert threat_from(json.loads(json.dumps(threat.to_dict()))) == threat
        x = np.zeros(60 + len(threat.parameters), dtype=np.float32)
        moved = x.copy()
        moved[60] = threat.largest
        assert threat.distance(x, moved) == pytest.approx(threat.largest)
        assert not threat.contains(x, moved, np.nextafter(np.float64(moved[60]), 0))
        moved[0] = 0.1
        assert threat.distance(x, moved) == np.inf
        moved[0], moved[60] = 0.0, np.nan
        assert threat.distance(x, moved) == np.inf
    assert made("fade").distance(np.zeros(61), np.append(np.zeros(60), -0.1)) == np.inf  # beyond its limits


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: made("rotation", 200.0), "beyond the rotation's limit, 180"),
        (lambda: made("fade", 1.5), "beyond the fade's limit, 1"),
        (lambda: made("rotation", padding="mirror"), "padding"),
        (lambda: made("rotation", input_box=(0, 1)), "keeps to the input box of the classifier"),
        (lambda: made("product", parts="rotation"), "names with strengths"),
        (lambda: made("product", parts="features=1"), "no transform"),
        (lambda: THREATS["own"]((0.1,), "nowhere_at_all:f"), "no module"),
        (lambda: THREATS["own"]((0.1,), 3), "the function itself"),
        (lambda: made("product", parts="rotation=1," * 99 + "fade=1"), "at most 16 parts"),
        (lambda: threat_from(made("own").to_dict() | {"strengths": 10**9}), "1 to 64 strengths"),
        (lambda: made("noise-floor", draw=-1), "a seed from 0"),
        (lambda: made("contrast", middle=float("nan")), "middle"),
        (lambda: made("gain", middle=float("inf")), "middle"),
        (lambda: made("gain", 21.0), "beyond the gain's limit, 20"),
        (lambda: made("brightness", cut="no"), "cut must be true or false"),
        (lambda: certify.certify(network(0), torch.zeros(1, 4), threat=made("rotation"), certifier="crown"), "images"),
        (
            lambda: certify.certify(
                network(0), images(0), threat=made("rotation"), certifier=certify.Smoothing(sigma=0.25)
            ),
            "interpolation smooths at every step, .* additive transforms only",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, said):
    with pytest.raises(BadInput, match=said):
        make()


def test_the_grid_finds_what_climbing_alone_misses_and_only_examples():
    clf, x = network(2), images(2, 8)
    labels = clf.predict(x).tolist()
    threat = made("rotation", 20.0, 90.0)
    broken = {}
    for attack in ("grid", "pgd"):
        findings = certify.attack(clf, x, labels, threat=threat, attack=attack)
        there = behind(clf, threat, SHAPE)
        for one in findings:
            if one.succeeded:
                assert int(there.predict(torch.as_tensor(one.x_adv)[None])) != labels[one.index]
        broken[attack] = {one.index for one in findings if one.succeeded}
    assert broken["grid"] >= broken["pgd"]
    assert broken["grid"]


def test_the_grid_is_for_transforms_alone():
    with pytest.raises(BadInput, match="looks at strengths of transforms only, got linf"):
        certify.attack(network(0), images(0), [0, 0, 0], threat=certify.ThreatModel("linf", (0.1,)), attack="grid")


def test_a_record_never_runs_the_function_that_it_names(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("import pathlib; pathlib.Path('ran').touch()\ndef f(x, s):\n    return x + s")
    monkeypatch.chdir(tmp_path)
    fields = made("own").to_dict() | {"function": "trap:f", "strengths": 1}
    for threat in (threat_from(fields), replace(threat_from(fields), radii=(0.0,)), threat_from(fields).at((0.1,))):
        with pytest.raises(BadInput, match="only you may let run"):
            behind(network(0), threat, SHAPE).scores(torch.zeros(1, 61))
    assert not (tmp_path / "ran").exists()


def test_a_run_with_a_function_of_ones_own_is_checked_as_far_as_records_go(tmp_path):
    clf, x = network(2), images(2, 2)
    data = (x, clf.predict(x))
    threat = made("own", 0.05)
    result = certify.evaluate(clf, data, threat=threat, certifier="crown", attack="grid", out=tmp_path / "run")
    assert result.summary.n == 2
    found = certify.check_run(tmp_path / "run")
    assert not found.refuted
    assert not found.complete


def test_two_functions_of_one_name_are_two_models():
    def added(x, s):
        return x + s

    def taken(x, s):
        return x - 2 * s

    taken.__qualname__ = added.__qualname__
    first, second = (THREATS["own"]((0.1,), one) for one in (added, taken))
    assert first == second
    assert behind(network(0), first, SHAPE).digest != behind(network(0), second, SHAPE).digest


def test_what_strengths_are_called_makes_no_other_model():
    threats = made("rotation"), made("rotation", units="turns"), made("rotation", padding="border")
    digests = [behind(network(0), threat, SHAPE).digest for threat in threats]
    assert digests[0] == digests[1] != digests[2]


def test_a_regression_keeps_its_value_under_a_transform():
    generator = seeded_generator("regression", 0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(60, 1)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.as_tensor(generator.normal(size=(1, 60)) / 60))
    reg, x = certify.Regressor(net), images(0)
    with torch.no_grad():
        y = net(x)[:, 0].numpy()
    threat = made("brightness", 0.05, 0.1)
    found = certify.certify(
        reg, x, y, threat=threat, property=certify.Within(0.05), certifier=certify.Complete(timeout=9.0)
    )
    there = behind(reg, threat, SHAPE)
    for one, image, value in zip(found, x, y, strict=True):
        strengths = torch.linspace(-one.radius, one.radius, 99)[:, None]
        answers = there.scores(torch.cat([image.flatten().expand(99, -1), strengths], dim=1))[:, 0]
        assert one.radius > 0
        assert (answers - float(value)).abs().max() <= 0.05 + 1e-6


@pytest.mark.parametrize("name", ["rotation", "translation", "scaling", "shear"])
def test_bounds_that_choose_planes_for_each_row_hold_on_every_channel(name):
    generator = seeded_generator("flat", name)
    net = nn.Sequential(nn.Flatten(), nn.Linear(60, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        for one in net.parameters():
            one.copy_(torch.as_tensor(generator.normal(size=one.shape)))
    clf, x = certify.Classifier(net, num_classes=3), images(5)
    labels, largest = clf.predict(x).tolist(), made(name).largest
    threat = made(name, largest / 40, largest / 10, largest / 4)
    there, proven = behind(clf, threat, SHAPE), 0
    alpha = certify.Bounds("alpha-crown", decide=True)
    for one, image, label in zip(
        certify.certify(clf, x, labels, threat=threat, certifier=alpha), x, labels, strict=True
    ):
        if one.radius:
            strengths = torch.as_tensor(sampled(replace(threat, radii=(one.radius,)), 400))
            z = torch.cat([image.flatten().expand(400, -1), strengths], dim=1)
            assert (there.predict(z) == label).all()
            proven += 1
    assert proven


@pytest.mark.parametrize("seed", range(5))
def test_powers_far_beyond_the_limits_of_gamma_refuse_no_network(seed):
    # A network and its graph are compared on strengths of all magnitudes, where powers overflow in some order of sums.
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    for weights in network.parameters():
        weights.data.mul_(6)
    x = torch.rand(1, 1, 1, 3)
    clf = certify.Classifier(network, num_classes=3)
    [one] = certify.certify(clf, x, clf.predict(x).tolist(), threat=certify.Gamma((0.01,)), certifier="ibp")
    assert one.radius is not None


def test_a_network_with_batch_normalization_is_read_behind_a_warp():
    """Torch spells the normalization in another way where it decomposes what the warp needs."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    layers[1].running_mean.uniform_(-0.2, 0.2), layers[1].running_var.uniform_(0.5, 2.0)
    clf, x = certify.Classifier(layers.eval(), num_classes=3), images(3, 1)
    [one] = certify.certify(clf, x, threat=made("rotation", 5.0), certifier=certify.Complete(decide=True, timeout=20))
    found = certify.attack(clf, x, [one.prediction], threat=made("rotation", 5.0), attack="grid", points=50)
    assert (one.radius == 5.0) == (found[0].radius is None)
    assert certify.check(one, clf, x)


def test_a_gain_that_leaves_little_is_decided_all_the_same():
    """Without biases no factor changes the class; of a sum, rounding would leave nothing at exp(-20) to compare."""
    x = torch.tensor([[0.3, 0.7, 0.6]])
    net = nn.Sequential(nn.Linear(3, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False)).eval()
    clf = certify.Classifier(net.requires_grad_(False), 2)
    assert torch.equal(certify.Gain((0.1,)).apply(x, (torch.zeros(1, 1),), None), x)
    [one] = certify.certify(clf, x, threat=certify.Gain((1.0, 5.0)), certifier=certify.Complete(gap=0.01))
    assert one.radius == 20.0
    assert one.evidence.subproblems < 2000
