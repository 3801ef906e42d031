from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from certify.models.classifier import Classifier


@dataclass(frozen=True)
class Normal:
    """The Gaussian law, written out here: attacks take any noise object and import none."""

    sigma: float

    def settings(self) -> dict[str, Any]:
        return {"noise": "gaussian", "sigma": self.sigma}

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        return x + drawn

    def sample_anywhere(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        return torch.randn(tuple(shape), generator=generator) * self.sigma

    def project(self, noisy: Tensor) -> None:
        pass


def _net(*layers: nn.Module, seed: int) -> nn.Module:
    """Random weights from a generator of their own: tests leave the global one alone."""
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(*layers).eval()
    for parameter in module.parameters():
        scale = 0.05 if parameter.dim() == 1 else 2.0 * parameter[0].numel() ** -0.5
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    return module


@pytest.fixture(scope="session")
def image_clf() -> Classifier:
    """Four classes of 2 x 6 x 6 images with values in [-1, 1]: not the box that AutoAttack assumes."""
    module = _net(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4), seed=5)
    return Classifier(module, num_classes=4, input_box=(-1.0, 1.0))


@pytest.fixture(scope="session")
def images(image_clf: Classifier) -> tuple[Tensor, Tensor]:
    """Seven images; all but the last are labelled as the classifier sees them."""
    x = torch.rand(7, 2, 6, 6, generator=torch.Generator().manual_seed(2)) * 1.8 - 0.9
    y = image_clf.predict(x).clone()
    y[-1] = (y[-1] + 1) % 4
    return x, y


@pytest.fixture(scope="session")
def normal() -> Callable[[float], Normal]:
    return Normal


@pytest.fixture(scope="session")
def linear() -> Callable[[Tensor, Tensor, tuple[float, float] | None], Classifier]:
    """A linear classifier with the given weights (K, d) and offsets (K,)."""

    def build(weight: Tensor, bias: Tensor, box: tuple[float, float] | None = None) -> Classifier:
        layer = nn.Linear(weight.shape[1], len(weight)).eval()
        layer.weight.data, layer.bias.data = weight.float(), bias.float()
        return Classifier(layer, num_classes=len(weight), input_box=box)

    return build
