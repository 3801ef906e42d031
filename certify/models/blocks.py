"""Layers for files of models that torch does not have: residual blocks, ensembles, the absolute value.

The digest of a model pins the text of these classes: to reword one of them is to disown every record about models that
hold it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["Abs", "Mean", "Residual"]


class Residual(nn.Module):
    """``branch(x) + shortcut(x)`` (He et al. 2016); an empty shortcut is the identity.

    >>> import torch
    >>> Residual(nn.Sequential(nn.ReLU()), nn.Sequential())(torch.tensor([-1.0, 2.0]))
    tensor([-1.,  4.])
    """

    def __init__(self, branch: nn.Sequential, shortcut: nn.Sequential) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both ways."""
        return self.branch(x) + self.shortcut(x)


class Mean(nn.Module):
    """The mean of what several networks answer: an ensemble (Horvath et al. 2022, section 3).

    >>> import torch
    >>> Mean([nn.Sequential(), nn.Sequential(nn.ReLU())])(torch.tensor([-1.0, 2.0]))
    tensor([-0.5000,  2.0000])
    """

    def __init__(self, members: Sequence[nn.Sequential]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Each member sees the same inputs."""
        first, *others = (member(x) for member in self.members)
        return sum(others, first) / len(self.members)


class Abs(nn.Module):
    """The absolute value: it keeps the length of gradients, where ReLU cuts half of them to zero."""

    def forward(self, x: Tensor) -> Tensor:
        """``|x|``, entry by entry."""
        return x.abs()
