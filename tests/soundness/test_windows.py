"""Rows held as windows of images give the bounds of rows held as whole images, at borders, strides and dilations."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from certify.bounds import patches
from certify.bounds.alpha_crown import alpha_crown
from certify.bounds.crown import crown, tighten
from certify.bounds.ibp import propagate
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import ball
from certify.data.dataset import seeded_generator

conv = nn.Conv2d


class Net(nn.Module):
    """A stem, a body that is given it, and a head."""

    def __init__(self, body, *layers: nn.Module, stem: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = conv(1, 2, (3, 2), stride=(1, 2), padding=(2, 1)) if stem is None else stem
        self.layers, self.body = nn.ModuleList(layers), body

    def forward(self, x):
        y = self.body(torch.relu(self.stem(x)), *self.layers)
        return torch.relu(y).sum((1, 2, 3), keepdim=True).flatten(1) - 0.5 * torch.relu(y - 0.1).amax((2, 3))


NETS = {
    "strides and dilations": lambda: Net(
        lambda x, a, b: b(torch.relu(a(x))),
        conv(2, 3, (2, 3), stride=(2, 1), padding=(1, 0), dilation=(2, 1)),
        conv(3, 2, (3, 1), stride=(1, 2), padding=(0, 1)),
    ),
    "wide borders": lambda: Net(lambda x, a, b: b(torch.relu(a(x))), conv(2, 2, 3, padding=4), conv(2, 2, 2, stride=3)),
    "groups": lambda: Net(
        lambda x, a, b: b(torch.relu(a(x))), conv(2, 4, 3, groups=2, padding=1), conv(4, 2, 2, groups=2)
    ),
    "residual of other windows": lambda: Net(
        lambda x, a, b, c: torch.relu(a(x)) + b(torch.relu(c(x))) - x,
        conv(2, 2, 3, padding=1),
        conv(2, 2, (1, 5), padding=(0, 2)),
        conv(2, 2, (3, 1), padding=(1, 0)),
    ),
    "residual of another stride": lambda: Net(
        lambda x, a, b, c: a(torch.relu(b(x))) + c(x),
        conv(2, 3, 3, padding=1),
        conv(2, 2, 3, stride=2, padding=1),
        conv(2, 3, 1, stride=2),
    ),
    "branches of other strides": lambda: Net(
        lambda x, a, b: torch.relu(a(x) + b(x)),
        conv(2, 2, 3, stride=2, padding=1),
        conv(2, 2, 2, dilation=(3, 2)),
    ),
    "batch norm and scales": lambda: Net(
        lambda x, a, b, c: c(torch.relu(b(a(x))) * torch.linspace(-1, 2, 3).reshape(3, 1, 1) - 0.1),
        conv(2, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        conv(3, 2, 3, stride=2, padding=1),
    ),
    "average pooling": lambda: Net(
        lambda x, a, b: F.avg_pool2d(torch.relu(b(F.avg_pool2d(torch.relu(a(x)), (2, 3), (1, 2), 1))), 2, 1),
        conv(2, 2, 3, padding=2),
        conv(2, 2, 2, padding=1),
    ),
    "uneven average pooling": lambda: Net(
        lambda x, a: a(F.avg_pool2d(torch.relu(x), 2, 2, 1, ceil_mode=True, count_include_pad=False)),
        conv(2, 2, 2, padding=1),
    ),
    "borders put on and cut off": lambda: Net(
        lambda x, a, b: b(F.pad(torch.relu(a(F.pad(x, (2, -1, 0, 1), value=0.5))), (-1, 1, 2, -1))),
        conv(2, 2, 2),
        conv(2, 3, 3),
    ),
    "max pooling": lambda: Net(lambda x, a: F.max_pool2d(a(F.max_pool2d(x, 2, 1)), 2), conv(2, 2, 3, padding=1)),
    "padded max pooling": lambda: Net(
        lambda x, a: a(F.max_pool2d(x, 3, 2, 1)), conv(2, 2, 2, padding=1), stem=conv(1, 2, 3, padding=1)
    ),
    "gates and curves": lambda: Net(
        lambda x, a, b, c: c(torch.sigmoid(a(x)) * b(torch.tanh(x))),
        conv(2, 2, 3, padding=1),
        conv(2, 2, 1),
        conv(2, 2, 3, padding=1, stride=2),
    ),
    "channels joined and split": lambda: Net(
        lambda x, a, b: b(torch.relu(torch.cat([a(x), x[:, :1]], 1))),
        conv(2, 2, 3, padding=1),
        conv(3, 2, 3, padding=1),
    ),
    "an image of one row": lambda: Net(
        lambda x, a: a(torch.relu(x)), conv(2, 2, (1, 3), padding=(1, 1)), stem=conv(1, 2, (5, 1), stride=(1, 2))
    ),
    "enlarged": lambda: Net(
        lambda x, a, b: b(torch.relu(a(F.interpolate(x, scale_factor=2)))),
        nn.ConvTranspose2d(2, 2, 2, stride=2),
        conv(2, 2, 3, padding=1, stride=2),
    ),
}


def everything(graph, region, C):
    """All boxes of CROWN, and its rows."""
    layers = propagate(graph, region, claim="exact", tighten=tighten)
    ends = [end.flatten() for box in layers.boxes.values() for end in (box.lower, box.upper)]
    return torch.cat([*ends, crown(graph, region, C).lower.flatten()])


@pytest.mark.parametrize("name", NETS)
def test_windows_and_whole_images_give_the_same_bounds(name, filled, monkeypatch):
    module = filled(NETS[name](), name, gain=1.5)
    x = torch.as_tensor(seeded_generator("windows", name).uniform(size=(2, 1, 5, 6)))
    graph = import_module(module, x.float()).to(torch.float64)
    C = torch.eye(graph.output.shape[0]).double().expand(2, -1, -1)
    held = ((0.0, 8.0), (0.55, 8.0), (10.0, 8.0), (10.0, 0.0))
    for norm, ways in (("linf", held), ("l2", held[::2])):
        region, found = ball(x, torch.tensor([0.1, 0.02]).double(), norm, (0.0, 1.0)), []
        for largest, gemm in ways:
            monkeypatch.setattr(patches, "LARGEST", largest)
            monkeypatch.setattr(patches, "GEMM", gemm)
            found.append(everything(graph, region, C))
        assert found[0].isfinite().all()
        for other in found[1:]:
            assert torch.allclose(found[0], other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "name", ["residual of other windows", "max pooling", "padded max pooling", "borders put on and cut off"]
)
def test_searched_planes_fit_windows_and_whole_images(name, filled, points_in, monkeypatch):
    module = filled(NETS[name](), name, gain=1.5)
    x = torch.as_tensor(seeded_generator("windows", name).uniform(size=(1, 1, 5, 6)))
    graph = import_module(module, x.float()).to(torch.float64)
    region, C = (
        ball(x, torch.tensor([0.05]).double(), "linf", (0.0, 1.0)),
        torch.eye(graph.output.shape[0]).double().unsqueeze(0),
    )
    near = points_in(region, 200, name)
    y = graph.forward(near.flatten(0, 1)).amin(0)
    monkeypatch.setattr("certify.bounds.alpha_crown.ITERATIONS", 5)
    for largest in (0.0, 10.0):
        monkeypatch.setattr(patches, "LARGEST", largest)
        lower = alpha_crown(graph, region, C).lower[0]
        assert (lower <= y).all()
        assert (lower >= crown(graph, region, C).lower[0] - 1e-9).all()
