"""Float32 executions of networks in other orders of summation, against what is claimed about all of them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from certify.bounds import alpha_crown
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.data.dataset import seeded_generator

NETS = {
    "deep": lambda: nn.Sequential(
        *(part for n in (20, 30, 30) for part in (nn.Linear(n, 30), nn.ReLU())), nn.Linear(30, 3)
    ),
    "smooth": lambda: nn.Sequential(nn.Linear(20, 12), nn.Tanh(), nn.Linear(12, 12), nn.GELU(), nn.Linear(12, 3)),
    "images": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 4, 5)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.LeakyReLU(),
        nn.AvgPool2d(2, 1), nn.Conv2d(8, 6, 2, stride=2), nn.MaxPool2d((1, 2), 1), nn.Flatten(),
        nn.Linear(6, 10), nn.Sigmoid(), nn.Linear(10, 3),
    ),
}  # fmt: skip


def network(name: str, filled) -> nn.Sequential:
    """Large biases that the next layer takes away, so that rounding shows."""
    module = filled(NETS[name](), "executed", name, gain=1.5)
    layers = [layer for layer in module if isinstance(layer, nn.Linear | nn.Conv2d)]
    if name == "deep":
        for first, second in pairwise(layers):
            first.bias += 100.0
            second.bias -= 100.0 * second.weight.flatten(2 if second.weight.dim() > 2 else 1).sum(1)
    return module


def permuted(module: nn.Sequential, generator) -> nn.Sequential:
    """The same function with hidden units, or channels, in another order: each affine layer sums in another order."""
    module, order = copy.deepcopy(module), None
    layers = [layer for layer in module if isinstance(layer, nn.Linear | nn.Conv2d | nn.BatchNorm2d)]
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                tensor.copy_(tensor[order])
            continue
        if order is not None:
            layer.weight.copy_(layer.weight[:, order])
        if layer is layers[-1]:
            break
        order = torch.as_tensor(generator.permutation(len(layer.weight)))
        layer.weight.copy_(layer.weight[order])
        layer.bias.copy_(layer.bias[order])
    return module


def one_by_one(module: nn.Sequential, x: Tensor) -> Tensor:
    """Fully connected layers as loops over their inputs, the bias last; each step rounds to float32."""
    for layer in module:
        if isinstance(layer, nn.Linear):
            total = torch.zeros(len(x), layer.out_features)
            for column, value in zip(layer.weight.T, x.T, strict=True):
                total = total + value.unsqueeze(1) * column
            x = total + layer.bias
        else:
            x = layer(x)
    return x


def executions(module: nn.Sequential, x: Tensor, generator) -> Iterator[Tensor]:
    yield module(x)
    yield torch.cat([module(one) for one in x.split(1)])
    yield torch.cat([module(one) for one in x.split(7)])
    yield one_by_one(module, x)
    for _ in range(3):
        yield permuted(module, generator)(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the flags set others, which this build has no use for
        # NNPACK transforms convolutions, which no claim covers.
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.nnpack.flags(enabled=False):
            yield module(x)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("radius", [0.0, 1e-7, 0.03])
def test_executions_end_inside_what_is_claimed_about_them(name, radius, filled, monkeypatch):
    monkeypatch.setattr(alpha_crown, "ITERATIONS", 2)
    module, generator = network(name, filled), seeded_generator("executions", name, radius)
    centers = torch.as_tensor(generator.uniform(size=(4, 20)), dtype=torch.float32)
    lower, upper = (centers - radius).double(), (centers + radius).double()
    share = torch.as_tensor(generator.choice([0.0, 1.0, 0.3], size=(40, 4, 20)))
    x = (lower + (upper - lower) * share).float()
    x = torch.where((x.double() < lower) | (x.double() > upper), centers, x).flatten(0, 1)
    graph, region = import_module(module, centers).to(torch.float64), Region(Interval(lower, upper))
    results = torch.cat([y.double().unflatten(0, (40, 4)) for y in executions(module, x, generator)])
    least = torch.cat([results, -results], dim=2).amin(0)
    C = torch.cat([torch.eye(3), -torch.eye(3)]).double().expand(4, 6, 3)
    for method, rows in METHODS.items():
        if "alpha" in method and (radius != 0.03 or name == "deep"):
            continue
        claimed = rows(graph, region, C, claim="float32").lower
        assert claimed.isfinite().all()
        assert (claimed <= least).all(), method
        exact = rows(graph, region, C, claim="exact").lower
        assert (claimed <= exact).all(), method
        if radius == 0.0:
            assert (exact > least).any(), method
