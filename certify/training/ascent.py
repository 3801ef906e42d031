"""The adversary inside a training step: a few steps of projected gradient ascent on a loss, for a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from certify.core.input_box import BoxLike, check_box
from certify.errors import BadInput
from certify.training.recipe import Step

__all__ = ["Ascent", "evaluated"]

_TINY: Final = 1e-12
"""Gradients of smaller norm have no direction."""


@dataclass(frozen=True, slots=True)
class Ascent:
    """Projected gradient ascent in a ball, cut to the input box (Madry et al. 2018, section 2.1).

    It starts at a random point. Attacks of :mod:`certify.attacks` judge a model afterwards, with restarts, records and
    every example checked again; this one is for speed, and nothing is claimed by it.

    Args:
        norm: ``"linf"`` or ``"l2"``.
        size: radius of the ball, in input units.
        steps: gradient steps.
        box: the input box, or None.
        stride: length of a step, as a share of the size; None for 2.5 / steps.

    Raises:
        BadInput: for another norm, or fewer than one step.
    """

    norm: str
    size: float
    steps: int
    box: BoxLike = None
    stride: float | None = None

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise BadInput(f"norm must be linf or l2, got {self.norm!r}")
        if not isinstance(self.steps, int) or self.steps < 1:
            raise BadInput(f"steps must be a whole number above 0, got {self.steps}")

    def __call__(self, step: Step, loss: Callable[[Tensor], Tensor], share: float = 1.0) -> Tensor:
        """Points (B, ...) near the inputs at which a loss is large.

        Args:
            step: the batch.
            loss: of inputs (B, ...), a sum over the batch.
            share: the share of the size to use; smaller while training begins.
        """
        size = share * self.size
        stride = size * (self.stride if self.stride is not None else 2.5 / self.steps)
        at = self._within(step.x, step.x + size * self._start(step), size)
        for _ in range(self.steps):
            at.requires_grad_(True)
            with torch.enable_grad():
                [gradient] = torch.autograd.grad(loss(at), at)
            at = self._within(step.x, at.detach() + stride * self._steepest(gradient), size)
        return at

    def _start(self, step: Step) -> Tensor:
        uniform = step.uniform()
        return uniform if self.norm == "linf" else uniform / _lengths(uniform).clamp(min=1.0)

    def _steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign() if self.norm == "linf" else gradient / _lengths(gradient).clamp(min=_TINY)

    def _within(self, x: Tensor, at: Tensor, size: float) -> Tensor:
        moved = at - x
        if self.norm == "linf":
            moved = moved.clamp(-size, size)
        else:
            moved = moved * (size / _lengths(moved).clamp(min=_TINY)).clamp(max=1.0)
        at = x + moved
        return at if (box := check_box(self.box)) is None else at.clamp(*box.around(x))


def _lengths(values: Tensor) -> Tensor:
    return values.flatten(1).norm(dim=1).reshape(-1, *(1,) * (values.dim() - 1))


@contextmanager
def evaluated(module: nn.Module) -> Iterator[nn.Module]:
    """Inside, a module that trains is in eval mode: the adversary sees stored statistics, and leaves them alone.

    >>> module = nn.BatchNorm2d(1)
    >>> with evaluated(module):
    ...     module.training
    False
    >>> module.training
    True
    """
    before = module.training
    module.eval()
    try:
        yield module
    finally:
        module.train(before)
