"""Weights that are (nearly) orthogonal while they are trained, so that no layer stretches a distance."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from certify.errors import BadInput
from certify.models.blocks import Abs, Mean

__all__ = ["AlmostOrthogonal", "Cayley", "orthogonal", "plain"]

_KEEPING: Final = (nn.Sequential, nn.ModuleList, Mean, nn.Flatten, Abs, nn.ReLU, nn.Sigmoid, nn.Tanh)
"""Layers without weights that stretch no distance, if those inside of them do not."""


class Cayley(nn.Module):
    """A matrix, or the kernels of a convolution whose windows do not overlap, with orthonormal rows or columns.

    With the free numbers as a tall matrix ``(U; V)``, U square, and ``A = U - U^T + V^T V``, the columns of
    ``((I + A)^-1 (I - A); -2 V (I + A)^-1)`` are orthonormal (Trockman and Kolter 2021, appendix). One system of the
    smaller side is solved, which takes a hundredth of the time of ``torch.nn.utils.parametrizations.orthogonal`` where
    the sides differ much.

    >>> Q = Cayley()(torch.randn(3, 5))
    >>> torch.allclose(Q @ Q.T, torch.eye(3), atol=1e-6)
    True
    """

    def forward(self, free: Tensor) -> Tensor:
        """Free numbers (rows, ...) to weights of the same shape."""
        matrix = free.flatten(1)
        tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.mT
        n = tall.shape[1]
        U, V = tall[:n], tall[n:]
        A, unit = U - U.mT + V.mT @ V, torch.eye(n).to(tall)
        inverse = torch.linalg.solve(unit + A, unit)
        Q = torch.cat([inverse @ (unit - A), -2 * V @ inverse])
        return (Q if tall is matrix else Q.mT).reshape(free.shape)


class AlmostOrthogonal(nn.Module):
    """The kernels of a convolution, scaled so that it stretches no distance (Prach and Lampert 2022, Theorem 2).

    The kernels of input channel i are divided by the root of the sum, over channels j and shifts, of the absolute
    correlations of kernels i and j: by nothing where they are orthogonal already.
    """

    def forward(self, free: Tensor) -> Tensor:
        """Free numbers (out channels, channels, height, width) to weights of the same shape."""
        turned = free.transpose(0, 1)
        padding = (free.shape[2] - 1, free.shape[3] - 1)
        sums = nn.functional.conv2d(turned, turned, padding=padding).abs().sum((1, 2, 3))
        return free * sums.clamp(min=1e-12).rsqrt()[:, None, None]


def orthogonal(module: nn.Module) -> None:
    """Parametrise the weights of linear layers and convolutions, in place: each then stretches no distance.

    Raises:
        BadInput: naming the first layer that may stretch distances all the same.
    """
    for layer in list(module.modules()):
        if isinstance(layer, nn.Linear):
            parametrize.register_parametrization(layer, "weight", Cayley())
        elif isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.dilation == (1, 1):
            apart = layer.stride == layer.kernel_size
            parametrize.register_parametrization(layer, "weight", Cayley() if apart else AlmostOrthogonal())
        elif type(layer) not in _KEEPING:
            raise BadInput(
                f"a network with {type(layer).__name__} cannot be held at Lipschitz constant 1: use the network "
                "lipnet, or layers Linear, Conv2d without groups or dilation, Flatten, Abs and ReLU"
            )


def plain(module: nn.Module) -> None:
    """Put the weights that parametrised layers have now in their place, as plain numbers."""
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
