"""Attempts to make bounds say too much: sampling, descent, and exact ranges, on networks drawn at random."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from certify.bounds import alpha_crown
from certify.bounds.hints import Hint, packed, unpacked
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.output import output_bounds
from certify.bounds.region import Region, ball
from certify.certifiers.bounds import bound
from certify.core.threats.lp import ThreatModel
from certify.data.dataset import seeded_generator
from certify.models.classifier import Classifier


class Sum(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return sum((branch(x) for branch in self.branches[1:]), self.branches[0](x))


class Attention(nn.Module):
    """One head of self-attention over the rows of a matrix (4, 4), with its input carried around it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(4), nn.Linear(4, 12)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).split(4, dim=2)
        return x + (0.5 * q @ k.transpose(1, 2)).softmax(2) @ v


class Applied(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


ACTIVATIONS = (
    nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus, nn.Hardtanh, nn.Mish, nn.PReLU,
)  # fmt: skip

FUNCTIONS = (
    lambda x: x.abs() - torch.maximum(x, 0.3 - x),
    lambda x: torch.cat([x[:, 2:], x[:, :2] * x[:, 1:3]], dim=1),
    lambda x: (-x.abs()).exp() + torch.sin(2 * torch.tanh(x)) * 0.5,
    lambda x: (x * x + 0.5).sqrt() + x / (x.abs() + 1.0),
    lambda x: x.clamp(-0.4, 0.8) + x.mean(1, keepdim=True) + x,
)
"""Of four channels or features, into four again."""


def drawn(generator, one_of):
    return one_of[int(generator.integers(len(one_of)))]


def conv_net(generator) -> nn.Module:
    """Convolutions, batch norm, pooling and nested branches."""

    def block(channels: int) -> nn.Module:
        layers: list[nn.Module] = []
        for kind in generator.choice(["conv", "norm", "act", "branch", "average", "max", "function"], size=4):
            if kind == "conv":
                layers.append(nn.Conv2d(channels, channels, 3, padding=1, groups=int(generator.integers(1, 3))))
            elif kind == "norm":
                layers.append(nn.BatchNorm2d(channels))
            elif kind == "branch":
                layers.append(Sum(nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU()), nn.Identity(), nn.ReLU()))
            elif kind == "function":
                layers.append(Applied(drawn(generator, FUNCTIONS)))
            elif kind == "act":
                layers.append(drawn(generator, ACTIVATIONS)())
            else:
                layers.append((nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(3, 1, padding=1))
        return nn.Sequential(*layers)

    first = nn.Conv2d(1, 4, 3, stride=int(generator.integers(1, 3)), padding=1)
    layers = [first, nn.ReLU(), Sum(block(4), block(4)), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16, 3))


def row_net(generator) -> nn.Module:
    """Fully connected layers between activations, products and attention."""
    layers: list[nn.Module] = [
        nn.Flatten(),
        nn.Linear(64, 16),
        drawn(generator, ACTIVATIONS)(),
        nn.Unflatten(1, (4, 4)),
    ]
    for kind in generator.choice(["attention", "function", "softmax", "norm", "branch"], size=2):
        if kind == "function":
            layers.append(Applied(drawn(generator, FUNCTIONS)))
        elif kind == "branch":
            layers.append(Sum(nn.Sequential(nn.Linear(4, 4), drawn(generator, ACTIVATIONS)()), nn.Identity()))
        else:
            layers.append(
                {"attention": Attention, "softmax": lambda: nn.Softmax(2), "norm": lambda: nn.LayerNorm(4)}[kind]()
            )
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3))


def random_net(seed: int, filled) -> nn.Module:
    """A network drawn by the seed, of images (1, 8, 8), with three outputs."""
    generator = seeded_generator("shape", seed)
    return filled((row_net if seed % 3 == 2 else conv_net)(generator), seed, gain=1.5)


def descended(graph, region: Region, C: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Points (steps, B * rows, ...) of regions around x at which rows are small: each lies where the last gradient
    says (Frank & Wolfe 1956)."""
    rows, around = C.shape[1], region.constraint
    begin, point, found = x.repeat_interleave(rows, 0), x.repeat_interleave(rows, 0), []
    lower, upper = (end.repeat_interleave(rows, 0) for end in (region.box.lower, region.box.upper))
    for _ in range(4):
        point = point.detach().requires_grad_()
        (graph.forward(point) * C.flatten(0, 1)).sum().backward()
        slope = point.grad.nan_to_num()
        if around is None:
            point = torch.where(slope > 0, lower, upper)
        else:
            scale = torch.ones_like(slope[:1]) if around.scale is None else around.scale
            step = (slope * scale).flatten(1)
            if around.norm == "l1":
                step = torch.where(step.abs() == step.abs().amax(1, keepdim=True), step, 0.0)
            size = step.norm(p=1 if around.norm == "l1" else 2, dim=1, keepdim=True).clamp(min=1e-30)
            move = around.radius.repeat_interleave(rows).unsqueeze(1) * (1 - 1e-12) * step / size
            point = (begin - scale * move.reshape(slope.shape)).maximum(lower).minimum(upper)
        found.append(point.detach())
    return torch.stack(found)


THREATS = (
    ("linf", (0.0, 1.0), False),
    ("l2", (0.0, 1.0), True),
    ("l1", None, False),
    ("linf", None, True),
    ("l2", None, False),
    ("l1", (0.0, 1.0), True),
)


@pytest.mark.parametrize("seed", range(5))
def test_no_point_of_a_random_network_escapes_its_bounds(seed, filled, points_in, monkeypatch):
    monkeypatch.setattr(alpha_crown, "ITERATIONS", 3)
    module, generator = random_net(seed, filled), seeded_generator("escape", seed)
    x = torch.as_tensor(generator.uniform(size=(2, 1, 8, 8)))
    C = torch.as_tensor(generator.normal(size=(2, 3, 3)))
    graph = import_module(module, x.float()).to(torch.float64)
    norm, box, scaled = THREATS[seed % len(THREATS)]
    scale = torch.as_tensor(generator.choice([0.0, 0.5, 2.0], size=(1, 8, 8))) if scaled else None
    for radius in (0.0, 0.03, 0.3):
        region = ball(x, torch.tensor([radius, radius / 2]).double(), norm, box, scale)
        near = points_in(region, 32, seed)
        near = torch.cat([near, descended(graph, region, C, x).unflatten(1, (2, 3)).transpose(1, 2).flatten(0, 1)])
        rows = torch.einsum("brk,sbk->sbr", C, graph.forward(near.flatten(0, 1)).unflatten(0, near.shape[:2]))
        for name, method in METHODS.items():
            if "alpha" not in name or (radius == 0.03 and seed % 3):
                assert (method(graph, region, C).lower <= rows.amin(0) + 1e-12).all(), name


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


@pytest.mark.parametrize("seed", range(8))
def test_bounds_contain_the_exact_range_of_a_tiny_network(seed, filled):
    layers = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    module = filled(layers, "tiny", seed, gain=2.0)
    weights = [module[i].weight.double().numpy() for i in (0, 2, 4)]
    biases = [module[i].bias.double().numpy() for i in (0, 2, 4)]
    x = torch.as_tensor(seeded_generator("tiny", seed).uniform(0.2, 0.8, size=(1, 2)), dtype=torch.float32)
    clf = Classifier(module, num_classes=2)
    label = int(clf.predict(x))
    row = np.array([1.0, -1.0]) * (1 - 2 * label)
    for radius in (0.05, 0.3) if seed < 2 else (0.15,):
        lower, upper = (x.double() - radius).clamp(0, 1), (x.double() + radius).clamp(0, 1)
        exact = exact_minimum(weights, biases, row, lower[0].numpy(), upper[0].numpy())
        C = torch.as_tensor(row).reshape(1, 1, 2)
        values = {method: float(output_bounds(module, lower, upper, method, C)[0]) for method in METHODS}
        assert max(values.values()) <= exact + 1e-9, values
    if seed >= 2:
        return
    for method in ("auto", *METHODS):
        threat = ThreatModel("linf", (0.0, 0.1))
        [certificate] = bound(clf, x, [label], threat=threat, method=method)
        assert certificate.radius is not None
        ends = [(x[0].double().numpy() + s * certificate.radius).clip(0, 1) for s in (-1, 1)]
        assert exact_minimum(weights, biases, row, *ends) > -1e-9


@pytest.mark.parametrize("seed", range(3))
def test_any_hints_whatever_prove_nothing_false(seed, filled, points_in):
    """Hints name planes, and every plane holds: wrong ones, and the same entries twice, only loosen."""
    generator = seeded_generator("hints", seed)
    module, joint = random_net(seed, filled), bool(seed % 2)
    x = torch.as_tensor(generator.uniform(size=(1, 1, 8, 8)))
    C = torch.as_tensor(generator.normal(size=(1, 2, 3)))
    graph = import_module(module, x.float())
    exact, region = graph.to(torch.float64), ball(x, torch.tensor([0.05]).double(), "linf", (0.0, 1.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alpha_crown, "ITERATIONS", 1)
        _, hints = alpha_crown.search(graph.to(torch.float32), region.to(torch.float32), C.float(), joint=joint)
    near = points_in(region, 400, seed)
    least = torch.einsum("brk,sbk->sbr", C, exact.forward(near.flatten(0, 1)).unsqueeze(1)).amin(0)
    for kind in ("random", "least", "largest", "shuffled"):
        changed = [changed_hint(hint, kind, generator) for hint in unpacked(packed(hints))]
        lower = alpha_crown.prove(exact, region, C, [*changed, *changed[:1]], claim="exact").lower
        assert (lower <= least + 1e-12).all(), kind


def changed_hint(hint: Hint, kind: str, generator) -> Hint:
    """Other shares, and entries in another order, some of them several times."""
    count = len(hint.entries)
    entries = (
        hint.entries if kind == "least" else hint.entries[torch.as_tensor(generator.integers(0, max(count, 1), count))]
    )
    shares = {}
    for name, share in hint.shares.items():
        given = {"least": torch.zeros_like(share), "largest": torch.full_like(share, 255)}
        random = torch.as_tensor(generator.integers(0, 256, size=tuple(share.shape)), dtype=torch.uint8)
        shares[name] = given.get(kind, share.flip(1) if kind == "shuffled" else random)
    return Hint(hint.name, entries, shares)


@pytest.mark.parametrize("method", METHODS)
def test_results_of_one_number_a_sample_are_bounded(method):
    module = Applied(lambda x: torch.relu(x.sum(1) - 0.5).unsqueeze(1))
    lo, hi = output_bounds(module, torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.5]]), method)
    assert lo.item() <= 0.0
    assert hi.item() >= 1.0
