"""Orthogonal weights: no layer stretches a distance, and hardly any shrinks one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from certify.errors import BadInput
from certify.models.architecture import build, describe
from certify.models.networks.lipschitz import lipnet
from certify.models.networks.resnet import resnet
from certify.models.networks.small import small
from certify.training.orthogonal import AlmostOrthogonal, Cayley, orthogonal, plain


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4), (4, 1), (1, 1), (6, 2, 2, 2), (20, 1, 2, 2)])
@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
def test_the_shorter_side_is_orthonormal_whatever_the_free_numbers(shape: tuple[int, ...], size: float) -> None:
    free = size * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    free.requires_grad_(True)
    Q = Cayley()(free)
    assert Q.shape == shape
    singular = torch.linalg.svdvals(Q.flatten(1))
    torch.testing.assert_close(singular, torch.ones_like(singular))
    Q.sum().backward()
    assert free.grad is not None
    assert bool(free.grad.isfinite().all())


def singular_values(layer: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    """Of the matrix of a convolution, column by column."""
    units = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).reshape(-1, *shape)
    return torch.linalg.svdvals(layer(units).flatten(1))


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (2, 1, 0), (4, 2, 1), (1, 1, 0)])
def test_a_scaled_convolution_stretches_no_distance(size: int, stride: int, padding: int) -> None:
    layer = nn.Conv2d(2, 5, size, stride, padding, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(size))
        assert float(singular_values(layer, (2, 7, 6)).max()) > 1.1
        layer.weight.copy_(AlmostOrthogonal()(layer.weight))
        assert 0.3 < float(singular_values(layer, (2, 7, 6)).max()) <= 1 + 1e-12
        layer.weight.zero_()
        layer.weight[:2, :, 0, 0] = 3 * torch.eye(2, dtype=torch.float64)  # orthogonal already, but for its size
        layer.weight.copy_(AlmostOrthogonal()(layer.weight))
        assert float(singular_values(layer, (2, 7, 6)).max()) == pytest.approx(1.0)
        assert not AlmostOrthogonal()(torch.zeros(2, 2, 3, 3)).any()


@pytest.mark.parametrize("architecture", [lipnet, small])
def test_what_was_parametrised_becomes_plain_layers_with_the_same_answers(architecture: object) -> None:
    module = build(architecture((1, 10, 9), 3), seed=0)  # type: ignore[operator]
    layers, x = describe(module), torch.rand(4, 1, 10, 9, generator=torch.Generator().manual_seed(0))
    orthogonal(module)
    answers = module(x)
    steps = answers[:, None] - answers
    assert bool((steps.norm(dim=2) <= torch.cdist(x.flatten(1), x.flatten(1)) + 1e-5).all())
    plain(module)
    assert torch.equal(module(x), answers)
    assert describe(module) == layers


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (build(resnet((1, 8, 8), 10, width=2, depth=8)), "a network with BatchNorm2d"),
        (nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(3.0)), "a network with LeakyReLU"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, groups=2)), "a network with Conv2d"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, dilation=2)), "a network with Conv2d"),
        (nn.Sequential(nn.MaxPool2d(3, 1)), "a network with MaxPool2d"),
    ],
)
def test_layers_that_may_stretch_a_distance_are_refused(module: nn.Module, said: str) -> None:
    with pytest.raises(BadInput, match=rf"{said} cannot be held at Lipschitz constant 1: use the network lipnet"):
        orthogonal(module)
