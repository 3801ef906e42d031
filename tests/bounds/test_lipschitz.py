"""Norms against singular values, and constants against networks whose constant is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from certify.bounds import spectral
from certify.bounds.affine_part import AffinePart
from certify.bounds.importers.torch_import import import_module
from certify.bounds.lipschitz import lipschitz_constants, lipschitz_radii
from certify.bounds.rules.base import RULES, Nonlinear
from certify.bounds.spectral import norms, spectral_norm
from certify.data.dataset import seeded_generator
from certify.errors import UnsupportedOperator


def filled(module: nn.Module, *key: object) -> nn.Module:
    generator = seeded_generator("lipschitz", *key)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                values = torch.as_tensor(generator.normal(size=tuple(tensor.shape)))
                tensor.copy_(values.abs() + 0.2 if name.endswith("running_var") else values)
    return module.eval().requires_grad_(False)


def svd_norm(M: torch.Tensor) -> float:
    return float(torch.linalg.matrix_norm(M, 2))


def graph_of(module: nn.Module, *shape: int):
    return import_module(module, torch.zeros(1, *shape)).to(torch.float64)


def whole(module: nn.Module, *shape: int) -> AffinePart:
    graph = graph_of(module, *shape)
    return AffinePart.reaching(graph, (graph.output.name,))


def matrix(part: AffinePart) -> torch.Tensor:
    """By forward passes alone: column j is what the j-th unit vector moves."""
    graph = part.graph
    units = torch.eye(math.prod(graph.shape), dtype=torch.float64).reshape(-1, *graph.shape)
    return (graph.forward(units) - graph.forward(torch.zeros_like(units[:1]))).flatten(1).T


class Residual(nn.Module):
    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return x + self.branch(x)


AFFINE = {
    "wide": (nn.Linear(300, 20), (300,)),
    "tall": (nn.Linear(20, 100), (20,)),
    "conv": (nn.Conv2d(2, 3, 3, padding=1), (2, 14, 14)),
    "strided": (nn.Conv2d(3, 4, 4, stride=2, padding=1), (3, 18, 19)),
    "dilated": (nn.Conv2d(1, 2, (3, 2), dilation=(2, 3), padding=3), (1, 18, 14)),
    "grouped": (nn.Conv2d(4, 8, 5, stride=(3, 2), padding=2, groups=2), (4, 13, 12)),
    "scaled": (nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)), (2, 14, 14)),
    "pooled": (nn.AvgPool2d(3, 2), (2, 15, 15)),
    "merged": (nn.Sequential(nn.Linear(6, 30), nn.Linear(30, 8)), (6,)),
    "residual": (Residual(nn.Linear(7, 7)), (7,)),
}


@pytest.mark.parametrize("name", AFFINE)
def test_the_norm_of_an_affine_part_is_its_largest_singular_value(name):
    module, shape = AFFINE[name]
    part = whole(filled(module, name), *shape)
    exact = svd_norm(matrix(part))
    joint, [each] = norms(part)
    assert exact * (1 - 1e-12) <= joint.value <= exact * (1.01 if name == "dilated" else 1 + 1e-6)
    assert each == joint


@pytest.mark.parametrize("name", ["conv", "strided", "dilated", "grouped", "scaled"])
def test_frequencies_bound_a_convolution_too_large_to_write_out(name, monkeypatch):
    module, shape = AFFINE[name]
    part = whole(filled(module, name), *shape)
    exact = svd_norm(matrix(part))
    monkeypatch.setattr(spectral, "QUICK", 0)
    joint, _ = norms(part)
    assert joint.proof == "spectrum"
    assert exact * (1 - 1e-12) <= joint.value <= 1.05 * exact


def test_each_source_has_its_own_norm():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 5), nn.Linear(4, 5)

        def forward(self, x):
            return self.first(x.relu()) - self.second((-x).relu())

    module = filled(Two(), "two")
    joint, each = norms(whole(module, 4))
    weights = [module.first.weight.double(), module.second.weight.double()]
    exact = [svd_norm(w) for w in weights]
    assert [norm.value for norm in each] == pytest.approx(exact, rel=1e-6)
    assert joint.value == pytest.approx(svd_norm(torch.cat(weights, 1)), rel=1e-6)


def test_a_part_too_large_to_write_out_is_taken_in_pieces(monkeypatch):
    block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
    module = nn.Sequential(Residual(filled(block, "pieces")), nn.ReLU())
    tight = lipschitz_constants(graph_of(module, 3, 20, 20)).output
    alone = norms(whole(block, 3, 20, 20))[0].value
    monkeypatch.setattr("certify.bounds.affine_part.LARGEST_SIDE", 0)
    constants = lipschitz_constants(graph_of(module, 3, 20, 20))
    assert tight <= constants.output <= (1 + alone) * 1.01
    assert {norm.proof for norm in constants.layers.values()} == {"spectrum", "absolute"}


def orthogonal(size: int, *key: object) -> nn.Linear:
    layer = filled(nn.Linear(size, size, dtype=torch.float64), *key)
    layer.weight.copy_(torch.linalg.qr(layer.weight)[0])
    return layer


@pytest.mark.parametrize("kind", [kind for kind in RULES if issubclass(RULES[kind], Nonlinear)])
def test_no_operator_is_steeper_than_its_rule_says(kind):
    example = RULES[kind].example()
    graph = import_module(example.module, example.lower).to(torch.float64)
    generator = seeded_generator("steep", kind)
    for operator in (node.operator for node in graph.nodes if node.operator.kind == kind):
        if operator.lipschitz is None:
            continue
        count = 2 if kind == "maximum" else 1
        for reach in (0.3, 3.0):
            x = torch.as_tensor(generator.normal(size=(count, 1, 20_000))) * reach
            step = torch.as_tensor(generator.normal(size=(count, 1, 20_000))) * 1e-3
            moved = (operator.forward(*(x + step)) - operator.forward(*x)).abs()
            slope = moved / step.norm(dim=0)
            assert float(slope.max()) <= operator.lipschitz * (1 + 1e-6)
        assert kind in ("elu", "within") or float(slope.max()) > 0.9 * operator.lipschitz


class MaxMin(nn.Module):
    def forward(self, x):
        first, second = x.chunk(2, dim=1)
        return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], dim=1)


class Absolute(nn.Module):
    def forward(self, x):
        return x.abs()


@pytest.mark.parametrize("activation", [nn.ReLU, MaxMin, Absolute])
def test_a_network_of_isometries_has_constant_one(activation):
    layers = [part for i in range(4) for part in (orthogonal(48, i), activation())]
    module = nn.Sequential(*layers, orthogonal(48, "last"))
    graph = import_module(module, torch.zeros(1, 48, dtype=torch.float64)).to(torch.float64)
    assert 1.0 <= lipschitz_constants(graph).output < 1 + 1e-6


def test_max_pooling_without_overlap_costs_nothing():
    assert 1.0 <= lipschitz_constants(graph_of(nn.MaxPool2d(2), 2, 6, 6)).output < 1 + 1e-6


def test_a_linear_network_is_certified_to_its_decision_boundary():
    module = filled(nn.Linear(5, 4), "linear")
    x = torch.as_tensor(seeded_generator("linear x").normal(size=(20, 5)), dtype=torch.float32)
    C = torch.tensor([[1.0, -1.0, 0.0, 0.0], [1.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, -1.0]])
    found = lipschitz_radii(lipschitz_constants(graph_of(module, 5)), x, C.expand(20, 3, 4))
    rows = C.double() @ module.weight.double()
    margins = module.double()(x.double()) @ C.double().T
    exact = (margins / rows.norm(dim=1)).amin(1)
    assert torch.equal(found.radius.isnan(), exact <= 0)
    [proven] = (exact > 0).nonzero(as_tuple=True)
    assert len(proven) > 2
    assert (found.radius[proven] <= exact[proven]).all()
    assert (found.radius[proven] >= exact[proven] * (1 - 1e-9) - 1e-12).all()


def test_the_last_layers_rows_are_no_worse_than_the_norm_of_all_outputs():
    module = filled(nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 4)), "rows")
    constants = lipschitz_constants(graph_of(module, 5))
    rows = constants.rows(torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]], dtype=torch.float64))
    first, last = (module[i].weight.double() for i in (0, 2))
    apart = torch.stack([last[0] - last[1], last[2] - last[3]]).norm(dim=1)
    assert rows.tolist() == pytest.approx((apart * svd_norm(first)).tolist(), rel=1e-6)
    assert (rows < math.sqrt(2) * constants.output).all()


def test_an_operator_without_a_constant_is_named():
    class Square(nn.Module):
        def forward(self, x):
            return x * x

    with pytest.raises(UnsupportedOperator, match=r"node mul.*has no Lipschitz constant.*use crown"):
        lipschitz_constants(graph_of(Square(), 3))


def test_a_proposal_that_misses_the_largest_singular_value_is_not_believed(monkeypatch):
    monkeypatch.setattr(spectral, "_largest_eigenvalue", lambda G: 1e-3)
    M = torch.as_tensor(seeded_generator("missed").normal(size=(3, 20, 30)))
    exact = float(torch.linalg.matrix_norm(M, 2).amax())
    assert exact <= spectral_norm(M) <= 3 * exact
