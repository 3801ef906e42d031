"""A batch of inputs with the identity of each: what every certifier and attack receives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from certify.data.dataset import as_positions, input_digest, to_float32
from certify.errors import DataError

__all__ = ["Batch", "as_inputs", "as_labels"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs (B, ...) as float32 on the CPU, with their labels, positions in the data set and digests.

    >>> Batch.of([[0.0, 1.0]], [1], num_classes=2).index
    (0,)
    """

    x: Tensor
    labels: tuple[int, ...] | None
    index: tuple[int, ...]
    digests: tuple[str, ...]
    targets: tuple[float | str, ...] | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x.shape[1:])

    @classmethod
    def of(
        cls,
        x: Any,
        y: Any,
        num_classes: int,
        index: Sequence[int] | None = None,
        targets: Sequence[float | str] | None = None,
    ) -> Batch:
        """Check arrays or tensors and give each input its identity; ``index`` defaults to 0..B-1.

        ``targets`` are the numbers that inputs of a regression have in place of classes, or the label maps of images.

        Raises:
            DataError: for shapes that do not fit, NaN, labels out of range, or positions that repeat.
        """
        inputs = as_inputs(x)
        labels = as_labels(y, len(inputs), num_classes)
        positions = tuple(as_positions(index, len(inputs)).tolist())
        digests = tuple(input_digest(one) for one in inputs.numpy())
        return cls(inputs, labels, positions, digests, None if targets is None else tuple(targets))

    def rows(self, chosen: slice) -> Batch:
        """The batch of a slice of the inputs."""
        labels = None if self.labels is None else self.labels[chosen]
        targets = None if self.targets is None else self.targets[chosen]
        return Batch(self.x[chosen], labels, self.index[chosen], self.digests[chosen], targets)

    def with_inputs(self, x: Tensor) -> Batch:
        """The same places and labels with other inputs."""
        return Batch(x, self.labels, self.index, tuple(input_digest(one) for one in x.numpy()), self.targets)


def as_inputs(x: Any) -> Tensor:
    """A batch as a float32 tensor on the CPU, from a tensor or array (B, ...).

    Raises:
        DataError: for an empty batch or something that is no array of numbers.
    """
    try:
        values = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
        inputs = torch.from_numpy(to_float32(values))
    except (TypeError, ValueError) as problem:
        more = "; certify.evaluate takes loaders, data sets and tables" if hasattr(x, "__iter__") else ""
        raise DataError(f"inputs must be an array of numbers, got {type(x).__name__}{more}") from problem
    if inputs.dim() < 2 or inputs.numel() == 0:
        raise DataError(f"inputs must be a batch (B, ...) with at least one input, got shape {tuple(inputs.shape)}")
    bad = torch.nonzero(~torch.isfinite(inputs).flatten(1).all(dim=1)).flatten()
    if len(bad):
        raise DataError(f"input {int(bad[0])} contains NaN or infinity; clean the data before certifying")
    return inputs


def as_labels(y: Any, count: int, num_classes: int) -> tuple[int, ...] | None:
    """Labels as ints, or None.

    Raises:
        DataError: if there are not ``count`` of them, or one is not an integer from 0 to ``num_classes - 1``.
    """
    if y is None:
        return None
    values = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
    if values.shape != (count,):
        raise DataError(f"labels have shape {values.shape}, but there are {count} inputs; give one label an input")
    if not np.issubdtype(values.dtype, np.integer):
        raise DataError(f"labels must be integers, got {values.dtype}")
    wrong = np.flatnonzero((values < 0) | (values >= num_classes))
    if wrong.size:
        raise DataError(
            f"label {values[wrong[0]]} of input {wrong[0]} is out of range; classes are 0 to {num_classes - 1}"
        )
    return tuple(int(value) for value in values)
