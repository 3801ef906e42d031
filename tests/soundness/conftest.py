"""Seeded weights, and points of regions, for networks that bounds are tried on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from certify.bounds.region import Region
from certify.core.norms import ORDER
from certify.data.dataset import seeded_generator


@pytest.fixture(scope="session")
def filled() -> Callable[..., nn.Module]:
    """A module in eval mode with seeded weights, positive variances, and no gradients."""

    def fill(module: nn.Module, *key: object, gain: float = 1.0) -> nn.Module:
        generator = seeded_generator("soundness", *key)
        with torch.no_grad():
            for name, tensor in module.state_dict().items():
                if tensor.is_floating_point():
                    size = gain * max(1, tensor[0].numel()) ** -0.5 if tensor.dim() > 1 else 0.3
                    values = torch.as_tensor(generator.normal(size=tuple(tensor.shape)) * size)
                    tensor.copy_(values.abs() + 0.2 if name.endswith("running_var") else values)
        return module.eval().requires_grad_(False)

    return fill


@pytest.fixture(scope="session")
def points_in() -> Callable[..., Tensor]:
    """Points (n, B, ...) of regions: corners or extreme directions, and anywhere between."""

    def draw(region: Region, count: int, *key: object) -> Tensor:
        g, box, ball = seeded_generator("points in", *key), region.box, region.constraint
        shape = (count, *box.shape)
        if ball is None:
            share = torch.cat(
                [torch.as_tensor(g.integers(0, 2, shape)), torch.as_tensor(g.uniform(size=shape))]
            ).double()
            near = box.lower + (box.upper - box.lower) * share
        else:
            step = torch.as_tensor(g.normal(size=shape)) * torch.as_tensor(
                g.uniform(size=shape) < g.uniform(size=count).reshape(-1, *(1,) * len(box.shape))
            )
            size = step.flatten(2).norm(p=ORDER[ball.norm], dim=2).clamp(min=1e-30)
            reach = ball.radius / size * torch.as_tensor(g.choice([1.0, 0.5], size=(count, 1)))
            near = ball.center + step * reach.reshape(count, -1, *(1,) * (len(box.shape) - 1)) * (
                1 if ball.scale is None else ball.scale
            )
        return near.maximum(box.lower).minimum(box.upper)

    return draw
