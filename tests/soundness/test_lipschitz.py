"""Attempts to make Lipschitz certificates say too much: ascent, attacks, exact arithmetic and weights at the limits."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import nn

from certify.bounds.importers.torch_import import import_module
from certify.bounds.lipschitz import lipschitz_constants
from certify.bounds.spectral import spectral_norm
from certify.certifiers.lipschitz import Lipschitz
from certify.core.threats.lp import ThreatModel
from certify.data.batch import Batch
from certify.data.dataset import seeded_generator
from certify.errors import ModelError
from certify.models.classifier import Classifier


class Skip(nn.Module):
    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return torch.maximum(x, self.branch(x)) + 0.5 * x


def random_net(seed: int) -> nn.Module:
    conv = nn.Conv2d(2, 4, 3, stride=1 + seed % 2, padding=1)
    layers = [conv, nn.BatchNorm2d(4), nn.ReLU(), Skip(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()))]
    module = nn.Sequential(*layers, nn.MaxPool2d(3, 2), nn.Flatten(), nn.LazyLinear(6), nn.Tanh(), nn.Linear(6, 3))
    generator = seeded_generator("lipschitz net", seed)
    with torch.no_grad():
        module.eval()(torch.zeros(1, 2, 7, 7))
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                values = torch.as_tensor(generator.normal(size=tuple(tensor.shape)) * 0.5)
                tensor.copy_(values.abs() + 0.2 if name.endswith("running_var") else values)
    return module.requires_grad_(False)


@pytest.mark.parametrize("seed", range(4))
def test_no_direction_grows_faster_than_the_constant(seed):
    module = random_net(seed).double()
    graph = import_module(module, torch.zeros(1, 2, 7, 7, dtype=torch.float64)).to(torch.float64)
    constants = lipschitz_constants(graph)
    C = torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]], dtype=torch.float64)
    limits = torch.cat([torch.tensor([constants.output]).double(), constants.rows(C)])
    x = torch.as_tensor(seeded_generator("ascent", seed).normal(size=(64, 2, 7, 7)))
    for _ in range(30):
        x = x.clone().requires_grad_()
        y = graph.forward(x)
        gradients = torch.stack([torch.autograd.grad(row, x, retain_graph=True)[0] for row in (y @ C.T).sum(0)])
        slopes = gradients.flatten(2).norm(dim=2).amax(1)
        assert (slopes <= limits[1:]).all()
        v = gradients[0].detach()
        with torch.no_grad():
            moved = graph.forward(x + 1e-3 * v) - y
            assert (moved.norm(dim=1) <= constants.output * 1e-3 * v.flatten(1).norm(dim=1) * (1 + 1e-9)).all()
            x = x + 0.1 * v.sign() * x.abs().mean()


@pytest.mark.parametrize("seed", range(3))
def test_no_attack_succeeds_inside_a_radius(seed):
    clf = Classifier(random_net(seed), num_classes=3)
    x = torch.as_tensor(seeded_generator("attacked", seed).normal(size=(16, 2, 7, 7)), dtype=torch.float32)
    batch = Batch.of(x, None, 3)
    found = list(Lipschitz().certify(clf, batch, ThreatModel("l2", (0.0,))))
    radius = torch.tensor([certificate.radius or 0.0 for certificate in found]).reshape(-1, 1, 1, 1)
    assert (radius > 0).sum() > 10
    classes, near = clf.predict(x).clone(), x.clone()
    for _ in range(40):
        near.requires_grad_()
        y = clf.module(near)
        top = y.gather(1, classes[:, None])
        rival = y.scatter(1, classes[:, None], -torch.inf).amax(1, keepdim=True)
        [slope] = torch.autograd.grad((rival - top).sum(), near)
        step = (near + radius / 8 * slope / slope.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1) - x).detach()
        length = step.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1).clamp(min=1e-30)
        near = x + step * (radius / length).clamp(max=1) * (1 - 1e-6)
        assert torch.equal(clf.predict(near), classes)


def test_a_matrix_on_which_an_iteration_starts_badly_is_bounded():
    size = 300
    planted = torch.zeros(size, dtype=torch.float64)
    planted[0], planted[1] = math.sqrt(0.5), -math.sqrt(0.5)
    M = torch.eye(size, dtype=torch.float64) * 3 + 7 * torch.outer(planted, planted)
    v = torch.ones(size, dtype=torch.float64)  # orthogonal to the planted direction, as each of its images
    for _ in range(100):
        v = M @ v / (M @ v).norm()
    assert (M @ v).norm() < 3.01
    assert 10.0 * (1 - 1e-15) <= spectral_norm(M[None]) < 10.0 * (1 + 1e-6)
    # Equal columns of a rotated copy leave nothing to start from but rounding errors.
    Q = torch.linalg.qr(torch.as_tensor(seeded_generator("rotated").normal(size=(size, size))))[0]
    assert 10.0 * (1 - 1e-12) <= spectral_norm((Q @ M @ Q.T)[None]) < 10.01


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_norms_hold_in_exact_arithmetic_at_every_scale(scale):
    """With v rational, ``|M v|^2 <= L^2 |v|^2`` in fractions; v near the top singular vector makes it sharp."""
    M = torch.as_tensor(seeded_generator("scale").normal(size=(6, 9)))
    v = torch.linalg.svd(M)[2][0]
    bound = spectral_norm((M * scale)[None])
    rows = [[Fraction(entry) for entry in row] for row in (M * scale).tolist()]
    vector = [Fraction(entry) for entry in v.tolist()]
    image = sum(sum(a * b for a, b in zip(row, vector, strict=True)) ** 2 for row in rows)
    length = sum(entry**2 for entry in vector)
    assert image <= Fraction(bound) ** 2 * length
    assert image >= Fraction(bound) ** 2 * length * Fraction(999_999, 1_000_000)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_no_numbers_prove_nothing(value):
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).requires_grad_(False).eval()
    module[0].weight[0, 0] = value
    module[2].weight[:, 0] = 0.0
    assert lipschitz_constants(import_module(module, torch.zeros(1, 3)).to(torch.float64)).output == math.inf
    assert spectral_norm(torch.tensor([[[1.0, value]]], dtype=torch.float64)) == math.inf
    with pytest.raises(ModelError, match="NaN or infinity"):
        Classifier(module, 2)


def test_weights_whose_products_overflow_prove_nothing_beyond_the_input():
    layers = [layer for _ in range(11) for layer in (nn.Linear(2, 2), nn.ReLU())]
    module = nn.Sequential(*layers, nn.Linear(2, 2)).requires_grad_(False).eval()
    for layer in module[::2]:
        layer.weight.copy_(1e30 * torch.eye(2))
        layer.bias.copy_(torch.tensor([-1e35, -1e35]))
    module[-1].bias.copy_(torch.tensor([1.0, 0.0]))
    batch = Batch.of([[0.25, 0.5]], None, 2)
    for radii, radius in (((0.0, 0.1), 0.0), ((0.1,), None)):
        [certificate] = Lipschitz().certify(Classifier(module, 2), batch, ThreatModel("l2", radii))
        assert certificate.radius == radius
        assert certificate.evidence.lipschitz == math.inf


def test_zero_weights_and_products_lost_to_underflow_are_paid_for():
    assert spectral_norm(torch.zeros(1, 3, 3, dtype=torch.float64)) == 0.0
    layers = [nn.Linear(1, 1, bias=False, dtype=torch.float64) for _ in range(4)]
    module = nn.Sequential(*layers).requires_grad_(False)
    for layer, weight in zip(layers, (1e-200, 1e-200, 1e200, 1e200), strict=True):
        layer.weight.fill_(weight)
    for order in (module, nn.Sequential(*reversed(layers))):
        graph = import_module(order, torch.zeros(1, 1, dtype=torch.float64)).to(torch.float64)
        assert lipschitz_constants(graph).output >= 1.0


@pytest.mark.parametrize("seed", range(3))
def test_an_oracle_of_exact_rows_agrees_on_cancelling_layers(seed):
    """Two affine layers whose product nearly vanishes: what floats lose there is paid for by absolute values."""
    generator = seeded_generator("cancelling", seed)
    first = torch.as_tensor(generator.normal(size=(4, 3))) * 1e8
    last = torch.linalg.svd(first)[0][:, 3:].T.contiguous()  # orthogonal to the columns of the first, up to rounding
    module = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 1, bias=False)).double().requires_grad_(False)
    module[0].weight.copy_(first)
    module[1].weight.copy_(last)
    graph = import_module(module, torch.zeros(1, 3, dtype=torch.float64)).to(torch.float64)
    rows = [[Fraction(entry) for entry in row] for row in first.tolist()]
    weights = [Fraction(entry) for entry in last[0].tolist()]
    exact = [sum(w * row[j] for w, row in zip(weights, rows, strict=True)) for j in range(3)]
    constants = lipschitz_constants(graph)
    for found in (constants.output, float(constants.rows(torch.ones(1, 1, dtype=torch.float64)))):
        assert sum(entry**2 for entry in exact) <= Fraction(found) ** 2
        assert found < 1e-4
