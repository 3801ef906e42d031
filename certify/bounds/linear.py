"""Linear lower bounds of rows in earlier results, which a backward pass carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounds.few import Few
from certify.bounds.patches import Patches
from certify.bounds.rounding import gamma, smallest
from certify.bounds.tensors import Interval, flat
from certify.errors import BadInput

__all__ = [
    "Coefficients",
    "LinearBounds",
    "Samples",
    "fit",
    "held",
    "over_box",
    "plus",
    "scaled",
    "sizes",
    "weigh",
    "whole",
]

Samples = Tensor | slice
"""The samples of the batch that rows belong to."""

Coefficients = Tensor | Patches | Few
"""Of rows: (b, r, *shape of a result), or only windows of it, or a few entries."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearBounds:
    """Rows bounded from below by linear functions of earlier results: ``row >= sum_k A_k h_k + b - slack``.

    An upper bound of ``c y`` is a lower bound of ``-c y``, so one side is enough.

    Args:
        A: coefficients (b, r, *shape of the result) by name of the result.
        b: offsets (b, r).
        slack: bounds of the rounding errors so far, (b, r), not negative.
        gap: how far the rows may lie above those functions, beside the slack, (b, r), not negative; None where nobody
            asks.

    A batch of 1 stands for every sample.
    """

    A: Mapping[str, Coefficients]
    b: Tensor
    slack: Tensor
    gap: Tensor | None = None

    def __post_init__(self) -> None:
        tensors = (self.b, self.slack, *(held(A) for A in self.A.values()))
        shapes = {tuple(t.shape[:2]) for t in tensors}
        rows, batches = {shape[-1] for shape in shapes}, {shape[0] for shape in shapes} - {1}
        if len(rows) > 1 or len(batches) > 1:
            raise BadInput(f"coefficients and offsets of linear bounds do not fit: {sorted(shapes)}")

    @classmethod
    def of(cls, name: str, rows: Coefficients) -> LinearBounds:
        """Rows of one result, before any backward step."""
        zero = held(rows).new_zeros(held(rows).shape[:2])
        return cls({name: rows}, zero, zero)

    def chosen(self, samples: Tensor, rows: Tensor) -> LinearBounds:
        """Rows (b, r) for samples (b,), from bounds computed once for all samples."""
        A: dict[str, Coefficients] = {}
        for name, part in self.A.items():
            assert not isinstance(part, Patches)
            A[name] = part[0][rows] if isinstance(part, Tensor) else part.chosen(rows)
        slack = self.slack[samples.unsqueeze(1) if len(self.slack) > 1 else 0, rows]
        return LinearBounds(A, self.b[0][rows], slack)

    def times(self, signs: Tensor) -> LinearBounds:
        """The rows, each multiplied by 1 or -1 from ``signs`` (b, r); only for bounds that are equations."""
        A = {name: scaled(A, signs) for name, A in self.A.items()}
        return LinearBounds(A, self.b * signs, self.slack.expand_as(signs), torch.zeros_like(signs))

    def both_signs(self) -> LinearBounds:
        """The rows, then the same rows negated; only for bounds that are equations."""
        A = {n: torch.cat([A, -A], dim=1) if isinstance(A, Tensor) else A.both_signs() for n, A in self.A.items()}
        return LinearBounds(A, torch.cat([self.b, -self.b], dim=1), self.slack.repeat(1, 2))


def held(A: Coefficients) -> Tensor:
    """The stored coefficients, (b, r, ...): of the whole result, or of parts of it."""
    return A if isinstance(A, Tensor) else A.A


def sizes(A: Coefficients) -> Tensor:
    """The absolute values of the stored coefficients."""
    return held(A).abs()


def scaled(A: Coefficients, factors: Tensor) -> Coefficients:
    """Rows multiplied by factors (b, r)."""
    values = held(A) * factors.reshape(*factors.shape, *(1,) * (held(A).dim() - 2))
    return values if isinstance(A, Tensor) else A.holding(values, A.inside)


def fit(A: Coefficients, values: Tensor) -> Tensor:
    """Values (b or 1, ...) of a result in the layout of the stored coefficients."""
    return values.unsqueeze(1) if isinstance(A, Tensor) else A.of(values)


def whole(A: Coefficients) -> Tensor:
    """Coefficients of the whole result."""
    return A if isinstance(A, Tensor) else A.dense()


def plus(first: Coefficients, second: Coefficients) -> Coefficients:
    """The sum of coefficients of the same rows."""
    # Windows with different strides are at other relative places for every neuron.
    if isinstance(first, Patches) and isinstance(second, Patches) and first.stride == second.stride:
        return first + second
    if isinstance(first, Few) and isinstance(second, Few) and not (first.large or second.large):
        return first + second
    return whole(first) + whole(second)


def weigh(A: Coefficients, vector: Tensor, values: Tensor | None = None) -> Tensor:
    """``A . vector`` for every row: (b, r, ...) and (b or 1, ...) to (b, r), where b may be 1 on either side.

    ``values`` stands for the entries of A, such as their sizes.
    """
    values = held(A) if values is None else values
    if not isinstance(A, Tensor):
        return torch.linalg.vecdot(values.flatten(2), A.of(vector).flatten(2))
    if len(values) == 1:
        return flat(vector, 1) @ flat(values[0], 1).T
    if len(vector) == 1:
        return flat(values, 2) @ vector.flatten()
    return (flat(values, 2) @ flat(vector, 1).unsqueeze(2)).squeeze(2)


def over_box(A: Coefficients, box: Interval, terms: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper bounds (b, r) of rows over boxes, and the rounding errors they may contain: ``Region.ends``."""
    dtype, entries = box.lower.dtype, held(A)[0, 0].numel()
    center = (box.lower + box.upper) / 2
    radius = torch.maximum(box.upper - center, center - box.lower)
    size = sizes(A)
    reach = weigh(A, radius, size)
    value = weigh(A, center)
    ends = value - reach, value + reach
    if terms is None:
        return *ends, torch.zeros_like(value)
    # The radius took one rounding more than the products, which the terms count.
    return *ends, gamma(entries + terms, dtype) * (weigh(A, center.abs(), size) + reach) + entries * smallest(dtype)
