"""Bugs planted by hand in what bounds are made of: checks as in the rest of the suite, in small, must fail."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import nn

from certify.bounds import backward, layers, linear, patches
from certify.bounds import ball as balls
from certify.bounds.crown import tighten
from certify.bounds.ibp import propagate
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.region import Region, ball
from certify.bounds.rules import base
from certify.bounds.rules.conv import Conv
from certify.bounds.rules.linear import Linear
from certify.bounds.rules.multiply import Multiply
from certify.bounds.rules.relu import ReLU
from certify.bounds.rules.sigmoid import Sigmoid
from certify.bounds.tensors import Interval, Relaxation
from certify.data.dataset import seeded_generator
from certify.errors import BadInput, ModelError


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x):
        y = self.first(x)
        return self.second(y * y.flip(1))


NETS = {
    "rows": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)),
    "smooth": lambda: nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 2)),
    "images": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 1, 6)), nn.Conv2d(1, 3, (1, 2), padding=(0, 1)), nn.ReLU(),
        nn.Conv2d(3, 3, (1, 3), padding=(0, 1)), nn.Conv2d(3, 3, (1, 3), padding=(0, 1)), nn.ReLU(),
        nn.Conv2d(3, 2, (1, 2)),
        nn.ReLU(), nn.Flatten(), nn.LazyLinear(2),
    ),
    "products": Gated,
}  # fmt: skip


def network(name: str, filled) -> nn.Module:
    module = NETS[name]()
    module(torch.zeros(1, 6))
    return filled(module, "bugs", name, gain=1.5)


def sampled(name: str, filled, points_in) -> None:
    """Points of regions escape no bounds."""
    module = network(name, filled)
    x = torch.as_tensor(seeded_generator("sampled", name).uniform(-1, 1, size=(8, 6)))
    graph, C = import_module(module, x.float()).to(torch.float64), torch.tensor([[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]])
    C = C.double().expand(8, 3, 2)
    for norm in ("linf", "l2"):
        for radius in (0.0, 0.05, 0.3):
            region = ball(x, torch.full((8,), radius).double(), norm, None)
            y = graph.forward(points_in(region, 128, name).flatten(0, 1)).unflatten(0, (-1, 8))
            least = torch.einsum("brk,sbk->sbr", C, y).amin(0)
            for method in ("ibp", "crown-ibp", "crown"):
                assert (METHODS[method](graph, region, C).lower <= least + 1e-12).all(), method


def cancelling(filled) -> tuple[nn.Sequential, torch.Tensor]:
    module = filled(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)), "bugs", "cancel")
    module[0].bias += 1000.0
    module[2].bias -= 1000.0 * module[2].weight.sum(1)
    return module, torch.as_tensor(seeded_generator("cancel").uniform(size=(30, 6)), dtype=torch.float32)


def rounded(filled, points_in) -> None:
    """Bounds at points hold in exact arithmetic."""
    module, x = cancelling(filled)
    C = torch.eye(2).double().expand(30, 2, 2)
    graph, region = import_module(module, x).to(torch.float64), Region(Interval(x.double(), x.double()))
    exact = []
    for one in x.tolist():
        values = [Fraction(v) for v in one]
        for layer in (module[0], module[2]):
            if layer is module[2]:
                values = [max(value, Fraction(0)) for value in values]
            lines = zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
            values = [sum(Fraction(w) * v for w, v in zip(row, values, strict=True)) + Fraction(b) for row, b in lines]
        exact.append(values)
    for method in ("ibp", "crown"):
        lower = METHODS[method](graph, region, C).lower.tolist()
        assert all(
            Fraction(a) <= b for low, value in zip(lower, exact, strict=True) for a, b in zip(low, value, strict=True)
        )


def executed(filled, points_in) -> None:
    """Executions end inside what is claimed about them."""
    module, x = cancelling(filled)
    graph, region = import_module(module, x).to(torch.float64), Region(Interval(x.double(), x.double()))
    C = torch.cat([torch.eye(2), -torch.eye(2)]).double().expand(30, 4, 2)
    y = module(x).double()
    for method in ("ibp", "crown"):
        assert (METHODS[method](graph, region, C, claim="float32").lower <= torch.cat([y, -y], dim=1)).all()


def windows(filled, points_in) -> None:
    """Windows give the bounds of whole images."""
    graph = import_module(network("images", filled), torch.zeros(1, 6)).to(torch.float64)
    x = torch.as_tensor(seeded_generator("windows").uniform(-1, 1, size=(8, 6)))
    region, found = ball(x, torch.full((8,), 0.3).double(), "linf", None), []
    for largest in (0.0, 10.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(patches, "LARGEST", largest)
            propagated = propagate(graph, region, claim="exact", tighten=tighten)
            found.append(torch.cat([box.lower.flatten() for box in propagated.boxes.values()]))
    assert torch.allclose(*found, rtol=1e-9, atol=1e-11)


def check_of(name: str):
    return {"rounded": rounded, "executed": executed, "windows": windows}.get(name) or (
        lambda *given: sampled(name, *given)
    )


def altered(function, change):
    """A function whose result is changed."""
    return lambda *args, **kwargs: change(function(*args, **kwargs), *args)


def no_chord_offset(patch) -> None:
    patch.setattr(ReLU, "relax", altered(ReLU.relax, lambda r, *_: replace(r, upper_offset=None)))


def lower_slope_too_steep(patch) -> None:
    patch.setattr(ReLU, "start", lambda self, box: torch.full_like(box.lower, 1.5).unsqueeze(0))


def dead_is_alive(patch) -> None:
    patch.setattr(ReLU, "bent", lambda self, box: (box.lower < -1e-1) & (box.upper > 1e-1))


def no_bias(patch) -> None:
    patch.setattr(backward, "_through_affine", altered(backward._through_affine, lambda r, *_: (r[0], None)))


def planes_swapped(patch) -> None:
    def swapped(r, *_):
        return (Relaxation(r[0].upper_slopes, r[0].upper_offset, r[0].lower_slopes, r[0].lower_offset), r[1])

    patch.setattr("certify.bounds.crown.usual_planes", altered(backward.usual_planes, swapped))


def tangent_for_secant(patch) -> None:
    def tangents(self, box, shares=None):
        middle = (box.lower + box.upper) / 2
        slope = self.tangent(middle)
        offset = self.forward(middle) - slope * middle
        return Relaxation((slope,), offset - 1e-9, (slope,), offset + 1e-9)

    patch.setattr(Sigmoid, "relax", tangents)


def wrong_corner(patch) -> None:
    patch.setattr(Multiply, "relax", altered(Multiply.relax, lambda r, *_: replace(r, lower_offset=-r.lower_offset)))


def absolute_is_forward(patch) -> None:
    patch.setattr(Linear, "absolute", lambda self, x: x @ self.weight.T)


def conv_absolute_is_forward(patch) -> None:
    patch.setattr(Conv, "absolute", lambda self, x: self._convolve(x, self.weight, None))


def windows_shifted(patch) -> None:
    moved = lambda r, *_: replace(r, corner=(r.corner[0], r.corner[1] + 1))  # noqa: E731
    patch.setattr(patches, "LARGEST", 10.0)
    patch.setattr(patches.Patches, "through", altered(patches.Patches.through, moved))


def windows_not_masked(patch) -> None:
    patch.setattr(patches.Patches, "masked", lambda self: self)


def norm_is_its_own_dual(patch) -> None:
    patch.setattr(balls, "DUAL", {"linf": "linf", "l2": "linf", "l1": "l1"})


def no_error_terms(patch) -> None:
    for module in (base, layers, backward, balls, linear):
        patch.setattr(module, "gamma", lambda n, dtype: 0.0)
    patch.setattr(base, "unit", lambda dtype: 0.0)


def nothing_executed(patch) -> None:
    patch.setattr(base.Affine, "executed", lambda self, *boxes: None)


def float64_executed(patch) -> None:
    gamma = base.gamma
    patch.setattr(base, "gamma", lambda n, dtype: gamma(n, torch.float64))


BUGS = [
    (no_chord_offset, "rows"),
    (lower_slope_too_steep, "rows"),
    (dead_is_alive, "rows"),
    (no_bias, "rows"),
    (planes_swapped, "rows"),
    (tangent_for_secant, "smooth"),
    (wrong_corner, "products"),
    (absolute_is_forward, "rows"),
    (conv_absolute_is_forward, "images"),
    (windows_shifted, "images"),
    (windows_not_masked, "windows"),
    (norm_is_its_own_dual, "rows"),
    (no_error_terms, "rounded"),
    (nothing_executed, "executed"),
    (float64_executed, "executed"),
]


@pytest.mark.parametrize("name", ["rows", "smooth", "images", "products", "rounded", "executed", "windows"])
def test_without_a_bug_the_checks_pass(name, filled, points_in):
    check_of(name)(filled, points_in)


@pytest.mark.parametrize(("plant", "name"), BUGS, ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_bug_is_seen(plant, name, filled, points_in, monkeypatch):
    plant(monkeypatch)
    # An interval whose ends are in the wrong order has been seen as well, and so has an import that is refused.
    with pytest.raises((AssertionError, BadInput, ModelError)):
        check_of(name)(filled, points_in)
