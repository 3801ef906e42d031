"""Attempts to make bounds say too much: sampling, exact ranges, exact arithmetic, and networks built to deceive."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from certify.bounds.ibp import interval_bounds
from certify.bounds.methods import METHODS
from certify.bounds.output import output_bounds
from certify.bounds.region import Region, ball
from certify.bounds.tensors import Interval
from certify.bounds.torch_import import import_module
from certify.certifiers.bounds import bound
from certify.core.threat import ThreatModel
from certify.core.verdict import Verdict
from certify.data.dataset import seeded_generator
from certify.models.classifier import Classifier


class Sum(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return sum((branch(x) for branch in self.branches[1:]), self.branches[0](x))


def filled(module: nn.Module, *key: object, gain: float = 1.0) -> nn.Module:
    generator = seeded_generator("soundness", *key)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                size = gain * max(1, tensor[0].numel()) ** -0.5 if tensor.dim() > 1 else 0.3
                values = torch.as_tensor(generator.normal(size=tuple(tensor.shape)) * size)
                tensor.copy_(values.abs() + 0.2 if name.endswith("running_var") else values)
    return module.eval().requires_grad_(False)


def random_net(seed: int) -> nn.Module:
    """Convolutions, batch norm, pooling and nested branches, drawn by the seed."""
    generator = seeded_generator("shape", seed)

    def block(channels: int) -> nn.Module:
        layers: list[nn.Module] = []
        for kind in generator.choice(["conv", "norm", "relu", "branch", "pool"], size=4):
            if kind == "conv":
                layers.append(nn.Conv2d(channels, channels, 3, padding=1, groups=int(generator.integers(1, 3))))
            elif kind == "norm":
                layers.append(nn.BatchNorm2d(channels))
            elif kind == "branch":
                layers.append(Sum(nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU()), nn.Identity(), nn.ReLU()))
            else:
                layers.append(nn.ReLU() if kind == "relu" else nn.AvgPool2d(3, 1, padding=1))
        return nn.Sequential(*layers)

    first = nn.Conv2d(1, 4, 3, stride=int(generator.integers(1, 3)), padding=1)
    layers = [first, nn.ReLU(), Sum(block(4), block(4)), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return filled(nn.Sequential(*layers, nn.Linear(16, 3)), seed, gain=1.5)


@pytest.mark.parametrize("seed", range(12))
def test_no_point_of_a_random_network_escapes_its_bounds(seed):
    module, generator = random_net(seed), seeded_generator("escape", seed)
    x = torch.as_tensor(generator.uniform(size=(4, 1, 8, 8)))
    C = torch.as_tensor(generator.normal(size=(4, 3, 3)))
    graph = import_module(module, x.float()).to(torch.float64)
    for norm, radius in itertools.product(("linf", "l2", "l1"), (0.0, 0.05, 0.5)):
        reach = torch.full((4,), radius).double()
        region = ball(x, reach, norm, (0.0, 1.0))
        step = torch.as_tensor(generator.uniform(-1, 1, size=(64, 4, 1, 8, 8)))
        order = {"linf": torch.inf, "l2": 2, "l1": 1}[norm]
        size = step.flatten(2).norm(p=order, dim=2).reshape(64, 4, 1, 1, 1)
        extreme = step.sign() if norm == "linf" else step / size
        near = (x + radius * torch.cat([extreme, step / size])).clamp(0, 1)
        rows = torch.einsum("brk,sbk->sbr", C, graph.forward(near.flatten(0, 1)).unflatten(0, near.shape[:2]))
        for method in METHODS.values():
            assert (method(graph, region, C).lower <= rows.amin(0) + 1e-12).all()


def exact_minimum(weights, biases, row, lower, upper):
    """The least value of ``row . y`` over a box, by one linear program for each pattern of ReLU signs."""
    sizes = [len(bias) for bias in biases[:-1]]
    best = np.inf
    for pattern in itertools.product((0.0, 1.0), repeat=sum(sizes)):
        A, b = np.eye(len(lower)), np.zeros(len(lower))
        constraints, limits, begin = [], [], 0
        for W, bias, size in zip(weights, biases, [*sizes, 0], strict=True):
            A, b = W @ A, W @ b + bias
            if size:
                on = np.array(pattern[begin : begin + size])
                sign = 1.0 - 2.0 * on
                constraints.append(sign[:, None] * A)
                limits.append(-sign * b)
                A, b, begin = on[:, None] * A, on * b, begin + size
        box = list(zip(lower, upper, strict=True))
        answer = linprog(row @ A, np.concatenate(constraints), np.concatenate(limits), bounds=box)
        if answer.status == 0:
            best = min(best, answer.fun + row @ b)
    return best


@pytest.mark.parametrize("seed", range(3))
def test_bounds_contain_the_exact_range_of_a_tiny_network(seed):
    layers = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    module = filled(layers, "tiny", seed, gain=2.0)
    weights = [module[i].weight.double().numpy() for i in (0, 2, 4)]
    biases = [module[i].bias.double().numpy() for i in (0, 2, 4)]
    x = torch.as_tensor(seeded_generator("tiny", seed).uniform(0.2, 0.8, size=(1, 2)), dtype=torch.float32)
    clf = Classifier(module, num_classes=2)
    label = int(clf.predict(x))
    row = np.array([1.0, -1.0]) * (1 - 2 * label)
    for radius in (0.05, 0.3):
        lower, upper = (x.double() - radius).clamp(0, 1), (x.double() + radius).clamp(0, 1)
        exact = exact_minimum(weights, biases, row, lower[0].numpy(), upper[0].numpy())
        C = torch.as_tensor(row).reshape(1, 1, 2)
        values = [float(output_bounds(module, lower, upper, method, C)[0]) for method in METHODS]
        assert max(values) <= exact + 1e-9
    for method in METHODS:
        threat = ThreatModel("linf", (0.0, 0.1))
        [certificate] = bound(clf, x, [label], threat=threat, method=method)
        assert certificate.radius is not None
        ends = [(x[0].double().numpy() + s * certificate.radius).clip(0, 1) for s in (-1, 1)]
        assert exact_minimum(weights, biases, row, *ends) > -1e-9


def exact_rows(module: nn.Sequential, x: list[Fraction], rows: torch.Tensor) -> list[Fraction]:
    """Rows of the outputs of linear and ReLU layers in exact arithmetic."""
    values = x
    for layer in module:
        if isinstance(layer, nn.ReLU):
            values = [max(value, Fraction(0)) for value in values]
        else:
            weight, bias = layer.weight.tolist(), layer.bias.tolist()
            dots = (sum(Fraction(w) * v for w, v in zip(line, values, strict=True)) for line in weight)
            values = [dot + Fraction(b) for dot, b in zip(dots, bias, strict=True)]
    return [sum(Fraction(c) * v for c, v in zip(row, values, strict=True)) for row in rows.tolist()]


def with_cancelling_biases() -> nn.Sequential:
    """Large biases that the next ones cancel in part, so that rounding errors come to the front."""
    layers = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    module = filled(layers, "fractions", gain=3.0)
    module[2].bias += 1000.0
    module[4].bias -= 1000.0 * module[4].weight.sum(1)
    return module


def with_cancelling_weights() -> nn.Sequential:
    """Nearly equal large weights under rows that sum to nearly zero."""
    module = filled(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), "weights")
    module[0].weight += 1000.0
    module[2].weight -= module[2].weight.mean(1, keepdim=True)
    return module


@pytest.mark.parametrize("build", [with_cancelling_biases, with_cancelling_weights])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bounds_hold_in_exact_arithmetic_where_plain_floats_do_not(dtype, build):
    module = build()
    x = torch.as_tensor(seeded_generator("fractions").uniform(size=(40, 5)), dtype=torch.float32).to(dtype)
    C = torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]], dtype=dtype)
    exact = [exact_rows(module, [Fraction(v) for v in one], C) for one in x.tolist()]
    graph, region = import_module(module, x.float()).to(dtype), Region(Interval(x, x))
    for name, method in METHODS.items():
        for outward in (True, False):
            lower = method(graph, region, C.expand(40, 3, 3), claim="exact" if outward else None).lower.tolist()
            over = sum(Fraction(v) > e for a, b in zip(lower, exact, strict=True) for v, e in zip(a, b, strict=True))
            assert over == 0 if outward else over > 20, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_interval_ends_hold_in_exact_arithmetic(dtype):
    module = nn.Linear(5, 4, bias=False).requires_grad_(False)
    module.weight.copy_(torch.as_tensor(seeded_generator("ends").normal(size=(4, 5)) * 1000))
    x = torch.as_tensor(seeded_generator("ends x").normal(size=(40, 5)), dtype=torch.float32).to(dtype)
    box = interval_bounds(import_module(module, x.float()).to(dtype), Interval(x, x), outward=True)
    for one, lower, upper in zip(x.tolist(), box.lower.tolist(), box.upper.tolist(), strict=True):
        exact = [
            sum(Fraction(w) * Fraction(v) for w, v in zip(line, one, strict=True)) for line in module.weight.tolist()
        ]
        assert all(Fraction(a) <= e <= Fraction(b) for a, e, b in zip(lower, exact, upper, strict=True))


def deceiver(threshold: float, base: float) -> nn.Sequential:
    """``y0 = relu(x + base) - base + threshold`` against ``y1 = 0``: in floats x is lost in the sum."""
    module = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2), nn.Linear(2, 2))
    values = [[[1.0]], [base], [[1.0], [0.0]], [-base, 0.0], [[1.0, 0.0], [0.0, 1.0]], [threshold, 0.0]]
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.copy_(torch.tensor(value))
    return module.eval()


@pytest.mark.parametrize("base", [2.0**26, 2.0**60, 1e30])
@pytest.mark.parametrize("method", METHODS)
def test_a_network_that_hides_its_input_behind_rounding_is_not_certified(method, base):
    clf = Classifier(deceiver(0.25, base), num_classes=2, input_box=(-1.0, 1.0))
    # In floats class 0 wins everywhere; in exact arithmetic it loses below -0.25.
    assert clf.predict(torch.tensor([[0.0], [-0.5]])).tolist() == [0, 0]
    threat = ThreatModel("linf", (0.0, 0.4))
    near, far = bound(clf, [[0.0], [-0.5]], [0, 0], threat=threat, method=method)
    assert near.radius is None or near.radius <= 0.25
    assert far.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e38])
def test_weights_that_are_no_numbers_or_overflow_prove_nothing(method, value):
    module = filled(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)), "nan")
    for place in (0, 2, 4):
        module[place].weight[0, 0] = value
    x = torch.full((1, 2), 10.0)
    lo, hi = output_bounds(module, x - 1, x + 1, method)
    assert not (lo.isnan() | hi.isnan()).any()
    if value != 1e38:
        assert lo[0, 0] == -torch.inf
        assert hi[0, 0] == torch.inf
    else:
        clf = Classifier(module, 2, input_box=None)
        [certificate] = bound(clf, x, threat=ThreatModel("linf", (0.0,)), method=method)
        assert certificate.verdict is Verdict.UNKNOWN
        assert certificate.prediction is None
