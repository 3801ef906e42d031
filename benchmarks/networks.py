"""Published networks, their test images, and the bounds that auto_LiRPA reached on them.

All of it is read from the folder CERTIFY_BENCH_DATA (default ../shared/data beside this project).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certify.bounds.graph import Graph
from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.core.properties.top_class import TOP_CLASS
from certify.models.classifier import Normalize

DATA: Final = Path(os.environ.get("CERTIFY_BENCH_DATA", Path(__file__).parents[1] / "../shared/data"))

METHODS: Final = {
    "IBP": "ibp",
    "CROWN-IBP": "crown-ibp",
    "CROWN": "crown",
    "CROWN-matrix": "crown",
    "alpha": "alpha-crown",
}
"""What the reference calls our methods. Its ``CROWN-matrix`` is CROWN without patches, ``alpha`` the joint search."""


def cnn_a(channels: int, features: int) -> nn.Sequential:
    """CNN-A of Dathathri et al. 2020, which is also the small network of Wong and Kolter 2018."""
    convolutions = [nn.Conv2d(channels, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(features, 100), nn.ReLU(), nn.Linear(100, 10))


class BasicBlock(nn.Module):
    """Two convolutions, and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Sequential() if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        """Half the height and width at stride 2."""
        return torch.relu(self.conv2(torch.relu(self.conv1(x))) + self.shortcut(x))


def mlp(width: int, layers: int) -> nn.Sequential:
    """So many hidden layers on the 784 pixels of a flattened image."""
    parts: list[nn.Module] = [nn.Linear(784, width), nn.ReLU()]
    for _ in range(layers - 1):
        parts += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(width, 10))


def resnet(width: int, layers: int, features: int) -> nn.Sequential:
    """ResNet-2B and ResNet-4B: two blocks a layer."""
    parts: list[tuple[str, nn.Module]] = [("conv1", nn.Conv2d(3, width, 3, 2, 1)), ("relu", nn.ReLU())]
    wide = 2 * width
    for layer in range(layers):
        blocks = BasicBlock(width if layer == 0 else wide, wide, 2), BasicBlock(wide, wide, 1)
        parts.append((f"layer{layer + 1}", nn.Sequential(*blocks)))
    parts += [("flatten", nn.Flatten()), ("linear1", nn.Linear(features, 100)), ("relu1", nn.ReLU())]
    return nn.Sequential(OrderedDict([*parts, ("linear2", nn.Linear(100, 10))]))


@dataclass(frozen=True, slots=True)
class Published:
    """Where a network's weights are, what they fit, and the mean and standard deviation of its inputs' channels."""

    file: str
    build: Callable[[], nn.Module]
    normalize: tuple[tuple[float, ...], tuple[float, ...]] | None = None


_MNIST, _CIFAR = partial(cnn_a, 1, 1568), partial(cnn_a, 3, 2048)
_SDP: Final = ((0.485, 0.456, 0.406), (0.225,) * 3)
_RES: Final = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))

TORCH: Final = {
    "kw_mnist": Published("convex_adversarial/kw_mnist.pth", _MNIST),
    "kw_mnist_small_0_3": Published("convex_adversarial/mnist_small_0_3.pth", _MNIST),
    "kw_cifar_small_8px": Published("convex_adversarial/cifar_small_8px.pth", _CIFAR, _SDP),
    "mnist_2_50": Published("mnbab/mnist_2_50_flattened.pyt", partial(mlp, 50, 2)),
    "mnist_cnn_a_adv": Published("abcrown/sdp/mnist_cnn_a_adv.model", _MNIST),
    "cifar_cnn_a_adv": Published("abcrown/sdp/cifar_cnn_a_adv.model", _CIFAR, _SDP),
    "cifar_cnn_a_adv4": Published("abcrown/sdp/cifar_cnn_a_adv4.model", _CIFAR, _SDP),
    "cifar_cnn_a_mix": Published("abcrown/sdp/cifar_cnn_a_mix.model", _CIFAR, _SDP),
    "cifar_cnn_a_mix4": Published("abcrown/sdp/cifar_cnn_a_mix4.model", _CIFAR, _SDP),
    "resnet2b": Published("abcrown/cifar10_resnet/resnet2b.pth", partial(resnet, 8, 1, 1024), _RES),
    "resnet4b": Published("abcrown/cifar10_resnet/resnet4b.pth", partial(resnet, 16, 2, 512), _RES),
}

ONNX: Final = {f"mlp256x{depth}": f"mnist_fc/onnx/mnist-net_256x{depth}.onnx" for depth in (2, 6)}


def module(name: str) -> nn.Module:
    """A network of :data:`TORCH` with its published weights, in eval mode, on pixels in [0, 1]."""
    published = TORCH[name]
    saved = torch.load(DATA / "networks" / published.file, map_location="cpu", weights_only=True)
    saved = saved.get("state_dict", saved)
    net = published.build()
    net.load_state_dict(saved[0] if isinstance(saved, list) else saved)  # of a cascade, its first stage
    if published.normalize is not None:
        net = nn.Sequential(Normalize(*published.normalize), net)
    return net.eval().requires_grad_(False)


@cache
def graph(name: str) -> Graph:
    """A network of :data:`TORCH` or :data:`ONNX` as its importer reads it, in float32."""
    if name in ONNX:
        return import_onnx(DATA / "verification" / ONNX[name])
    size = (1, 28, 28) if TORCH[name].build is _MNIST else (3, 32, 32)
    return import_module(module(name), torch.zeros(1, *size))


def images(name: str) -> tuple[Tensor, Tensor]:
    """Test images as float32 pixels in [0, 1], bit for bit those of the publication, and labels."""
    with np.load(DATA / "networks/images" / f"{name}.npz") as file:
        x, y = file["x"].astype(np.float32), file["y"].astype(np.int64)
    x = x * np.float32(1 / 255) if "sdp" in name else x / np.float32(255)
    return torch.from_numpy(x), torch.from_numpy(y)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Lower bounds that auto_LiRPA reached, and what they are bounds of.

    Args:
        network, method: names, the method's in :data:`METHODS`.
        eps: radius of the linf balls, in pixels.
        x: the centers (B, C, H, W), float32.
        y: labels (B,).
        lower: for each image the margins over the nine other classes in ascending order, (B, 9), plain float32.
    """

    network: str
    method: str
    eps: float
    x: Tensor
    y: Tensor
    lower: NDArray[np.float32]

    @classmethod
    def read(cls, file: Path) -> Reference:
        """One file of the folder."""
        with np.load(file) as saved:
            lower, y = saved["lb"], torch.from_numpy(saved["y"].astype(np.int64))
            x = images(str(saved["images"]))[0][: len(y)]
            return cls(str(saved["model"]), str(saved["method"]), float(saved["eps"]), x, y, lower)

    def rows(self, chosen: NDArray[np.int64] | slice) -> Reference:
        """Some of its images."""
        return Reference(self.network, self.method, self.eps, self.x[chosen], self.y[chosen], self.lower[chosen])

    def region(self, dtype: torch.dtype) -> Region:
        """The very boxes that were bounded, not rounded outward."""
        x = self.x.to(dtype)
        return Region(Interval((x - self.eps).clamp(0, 1), (x + self.eps).clamp(0, 1)))

    def C(self, dtype: torch.dtype) -> Tensor:
        """The margins as rows (B, 9, 10)."""
        rows = np.stack([TOP_CLASS.rows(label, 10)[0] for label in range(10)])
        return torch.from_numpy(rows).to(dtype)[self.y]
