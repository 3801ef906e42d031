"""Networks built to deceive: huge numbers that cancel, errors that grow, NaN, overflow. None is certified falsely."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from certify.bounds import alpha_crown
from certify.bounds.ibp import interval_bounds
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.output import output_bounds
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.certifiers.bounds import bound
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.data.dataset import seeded_generator
from certify.models.classifier import Classifier

every_method = pytest.mark.parametrize("method", METHODS)
every_ladder = pytest.mark.parametrize("method", ["auto", *METHODS])


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


def with_cancelling_biases(filled) -> nn.Sequential:
    """Large biases that the next ones cancel in part, so that rounding errors come to the front."""
    layers = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    module = filled(layers, "fractions", gain=3.0)
    module[2].bias += 1000.0
    module[4].bias -= 1000.0 * module[4].weight.sum(1)
    return module


def with_cancelling_weights(filled) -> nn.Sequential:
    """Nearly equal large weights under rows that sum to nearly zero."""
    module = filled(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), "weights")
    module[0].weight += 1000.0
    module[2].weight -= module[2].weight.mean(1, keepdim=True)
    return module


@pytest.mark.parametrize("build", [with_cancelling_biases, with_cancelling_weights])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bounds_hold_in_exact_arithmetic_where_plain_floats_do_not(dtype, build, filled):
    module = build(filled)
    x = torch.as_tensor(seeded_generator("fractions").uniform(size=(12, 5)), dtype=torch.float32).to(dtype)
    C = torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]], dtype=dtype)
    exact = [exact_rows(module, [Fraction(v) for v in one], C) for one in x.tolist()]
    graph, region = import_module(module, x.float()).to(dtype), Region(Interval(x, x))
    for name, method in METHODS.items():
        for outward in (True, False):
            lower = method(graph, region, C.expand(12, 3, 3), claim="exact" if outward else None).lower.tolist()
            over = sum(Fraction(v) > e for a, b in zip(lower, exact, strict=True) for v, e in zip(a, b, strict=True))
            assert over == 0 if outward else over > 5, name


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


def stacked(*layers: tuple[list[list[float]], list[float] | None], dtype=torch.float32) -> nn.Sequential:
    """Linear layers with ReLU between them, each given by its weight and bias."""
    modules: list[nn.Module] = []
    for weight, bias in layers:
        linear = nn.Linear(len(weight[0]), len(weight), bias=bias is not None, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(weight, dtype=torch.float64))
            if bias is not None:
                linear.bias.copy_(torch.tensor(bias, dtype=torch.float64))
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1]).eval().requires_grad_(False)


def hidden_input(base: float, dtype=torch.float32) -> nn.Module:
    """``y0 = relu(x + base) - base + 1/4`` against ``y1 = 0``: in floats x is lost in the sum (Jia & Rinard 2021).

    In exact arithmetic class 0 loses below -1/4.
    """
    layers = stacked(([[1.0]], [base]), ([[1.0], [0.0]], [-base, 0.0]), dtype=dtype)
    return nn.Sequential(*layers, *stacked(([[1.0, 0.0], [0.0, 1.0]], [0.25, 0.0]), dtype=dtype)).eval()


def backdoor(base: float, dtype=torch.float32) -> nn.Module:
    """A class that is robust everywhere, but for a switch that only exact arithmetic sees (Zombori et al. 2021).

    ``n = relu(base + relu(-1/4 - x) - base)`` is 0 in floats, and takes class 0 away below -1/4 in exact arithmetic.
    """
    return stacked(
        ([[-1.0], [0.0]], [-0.25, base]),
        ([[1.0, 1.0]], [0.0]),
        ([[64.0]], [-64.0 * base]),
        ([[-1.0], [0.0]], [1.0, 0.0]),
        dtype=dtype,
    )


def amplifier(depth: int, dtype=torch.float32) -> nn.Module:
    """``x`` against ``x - 1/16`` through a chain that multiplies by 7, subtracts 6 times a bias near 1 that is no
    float, and so blows the rounding of each layer up."""
    third = 1.0 / 3.0
    layers = [([[1.0], [1.0]], [1.0, 1.0])] + [([[7.0, 0.0], [-6.0 * third, 7.0 + 6.0 * third]], [-6.0, -6.0])] * depth
    return stacked(*layers, dtype=dtype)


class Widened(nn.Module):
    """A network in float64 on inputs in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x.double())


CRAFTED = {"hidden input": hidden_input, "backdoor": backdoor}


@pytest.mark.parametrize(("base", "claim"), [(2.0**26, "exact"), (2.0**53, "float32"), (1e30, "exact")])
@pytest.mark.parametrize("name", CRAFTED)
@every_ladder
def test_what_only_exact_arithmetic_sees_is_not_certified_away(method, name, base, claim, monkeypatch):
    monkeypatch.setattr(alpha_crown, "ITERATIONS", 6)
    clf = Classifier(CRAFTED[name](base), num_classes=2, input_box=(-1.0, 1.0))
    # In floats class 0 wins everywhere; in exact arithmetic it loses below -0.25 (for the backdoor, below -0.27).
    assert clf.predict(torch.tensor([[0.0], [-0.5]])).tolist() == [0, 0]
    threat = ThreatModel("linf", (0.0, 0.4))
    near, far = bound(clf, [[0.0], [-0.5]], [0, 0], threat=threat, method=method, claim=claim)
    assert near.radius is None or near.radius <= 0.28
    assert far.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("base", [2.0**56, 1e200])
@pytest.mark.parametrize("name", CRAFTED)
@every_ladder
def test_the_same_with_weights_in_float64(method, name, base):
    clf = Classifier(Widened(CRAFTED[name](base, torch.float64)).eval(), num_classes=2, input_box=(-1.0, 1.0))
    threat = ThreatModel("linf", (0.0, 0.4))
    for certificate in bound(clf, [[0.0], [-0.5]], [0, 0], threat=threat, method=method):
        assert certificate.radius is None or (certificate.radius <= 0.28 and certificate.index == 0)


@every_method
@pytest.mark.parametrize("depth", [4, 30])
def test_bounds_of_chains_that_amplify_rounding_hold_in_exact_arithmetic(method, depth):
    module = amplifier(depth)
    for center in (0.01, 1.0 / 3.0):
        x = torch.full((1, 1), center, dtype=torch.float32)
        [values] = exact_rows_of([Fraction(float(x))], module)
        lo, hi = output_bounds(module, x, x, method)
        for low, value, high in zip(lo[0].tolist(), values, hi[0].tolist(), strict=True):
            assert low == -torch.inf or Fraction(low) <= value
            assert high == torch.inf or value <= Fraction(high)


def exact_rows_of(x: list[Fraction], module: nn.Sequential) -> list[list[Fraction]]:
    return [exact_rows(module, x, torch.eye(2))]


@every_method
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_no_numbers_prove_nothing(method, value, filled):
    x = torch.full((1, 2), 10.0)
    for place in (0, 2, 4):
        module = filled(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)), "nan")
        module[place].weight[0, 0] = value
        lo, hi = output_bounds(module, x - 1, x + 1, method)
        assert not (lo.isnan() | hi.isnan()).any()
        assert lo[0, 0] == -torch.inf
        assert hi[0, 0] == torch.inf


@every_ladder
@pytest.mark.parametrize("value", [1e30, 1e38])
def test_weights_that_overflow_prove_nothing(method, value, filled):
    module = filled(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)), "nan")
    for place in (0, 2, 4):
        module[place].weight[0, 0] = value
    x = torch.full((1, 2), 10.0)
    clf = Classifier(module, 2, input_box=None)
    [certificate] = bound(clf, x, threat=ThreatModel("linf", (0.0,)), method=method)
    assert certificate.verdict is Verdict.ERROR
    assert certificate.prediction is None
    if method != "auto":
        lo, hi = output_bounds(module.double(), x - 1, x + 1, method)
        y = module(x.double())
        assert ((lo <= y) & (y <= hi)).all()
