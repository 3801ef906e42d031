"""The backward pass: rows of a result are expressed in earlier results and bounded there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounds.few import Few
from certify.bounds.graph import Node
from certify.bounds.hints import Hint
from certify.bounds.layers import Layers
from certify.bounds.linear import Coefficients, LinearBounds, Samples, fit, held, plus, sizes, weigh
from certify.bounds.patches import Patches
from certify.bounds.region import Region
from certify.bounds.rounding import down, gamma
from certify.bounds.rules.base import Affine, Nonlinear
from certify.bounds.tensors import Relaxation, flat

__all__ = ["Planes", "RowBounds", "backward", "both_ends", "minimum", "row_sums", "usual_planes"]

Planes = Callable[[Layers, Node, Coefficients, Samples], tuple[Relaxation, Tensor | None]]
"""Gives the planes at a nonlinear node for rows with given coefficients, as tensors (b, 1 or r, ...) in their layout;
and the rounding error of a step through them in the same layout, or None if there is no claim."""


@dataclass(frozen=True, slots=True, eq=False)
class RowBounds:
    """Lower bounds of rows, (B, rows), and the rounding errors already subtracted from them, (B, rows).

    ``hints`` of each sample, if planes were optimized, derive its bounds again without the optimization.
    """

    lower: Tensor
    slack: Tensor
    hints: tuple[tuple[Hint, ...], ...] = ()

    @classmethod
    def join(cls, parts: list[RowBounds]) -> RowBounds:
        """The bounds of consecutive samples in one."""
        hints = tuple(hint for part in parts for hint in part.hints)
        return cls(torch.cat([part.lower for part in parts]), torch.cat([part.slack for part in parts]), hints)

    @classmethod
    def beside(cls, parts: list[RowBounds]) -> RowBounds:
        """The bounds of consecutive rows of the same samples in one."""
        return cls(torch.cat([part.lower for part in parts], 1), torch.cat([part.slack for part in parts], 1))

    def replaced(self, samples: Tensor, other: RowBounds) -> RowBounds:
        """The bounds with those of some samples (n,) taken from others; without hints."""
        return RowBounds(self.lower.index_copy(0, samples, other.lower), self.slack.index_copy(0, samples, other.slack))

    def better(self, other: RowBounds) -> RowBounds:
        """The larger of two lower bounds of the same rows, row by row."""
        mine = self.lower >= other.lower
        return RowBounds(torch.where(mine, self.lower, other.lower), torch.where(mine, self.slack, other.slack))


def backward(layers: Layers, bounds: LinearBounds, samples: Samples, planes: Planes | None) -> LinearBounds:
    """Push linear bounds back to the input, or only to the last nonlinear results on the way.

    Args:
        layers: boxes of everything that the bounds depend on.
        bounds: rows in terms of any results, for b samples, or for one that stands for all.
        samples: which b samples of the batch the rows belong to.
        planes: relaxes nonlinear nodes on the way to the input (CROWN, Zhang et al. 2018); None to stop at them.

    Raises:
        OutOfTime: once the deadline of the layers passed.
    """
    assert bounds.gap is None or planes is usual_planes, "gaps are those of CROWN's planes"
    pending: dict[str, Coefficients] = dict(bounds.A)
    settled: dict[str, Coefficients] = {}
    b, slack, gap = bounds.b, bounds.slack, bounds.gap
    for node in reversed(layers.graph.nodes):
        A = pending.pop(node.name, None)
        if A is None:
            continue
        layers.deadline.check()
        operator = node.operator
        if isinstance(A, Few) and A.large:
            A = A.dense()
        if isinstance(A, Patches) and (A.large or (isinstance(operator, Nonlinear) and not operator.uniform)):
            A = A.dense()
        if isinstance(operator, Affine):
            if layers.outward:
                slack = slack + _lost(layers, node, A, samples)
            parts, offset = _through_affine(layers, node, operator, A)
        elif planes is None:
            settled[node.name] = A
            continue
        else:
            parts, offset, lost = _through_planes(layers, node, A, samples, planes)
            slack = slack if lost is None else slack + lost
            gap = None if gap is None else gap + weigh(A, layers.gap(node)[samples], sizes(A))
        b = b if offset is None else b + offset
        for name, part in zip(node.inputs, parts, strict=True):
            pending[name] = plus(pending[name], part) if name in pending else part
    return LinearBounds(pending | settled, b, slack, gap)


def _through_affine(
    layers: Layers, node: Node, operator: Affine, A: Coefficients
) -> tuple[list[Coefficients], Tensor | None]:
    shapes = tuple(layers.graph.shapes[name] for name in node.inputs)
    offset = None if (bias := layers.bias(node)) is None else weigh(A, bias.expand(1, *node.shape))
    if isinstance(A, Patches):
        if (sliding := operator.sliding()) is not None:
            return [A.masked().through(sliding, shapes[0], layers.matrices(node))], offset
        if all(shape == node.shape for shape in shapes) and (operator.separable or len(shapes) > 1):
            # Each output entry reads the same entry of each input, so the adjoint multiplies by an image of factors.
            ones = A.A.new_ones(1, *node.shape)
            return [A.times(factor) for factor in operator.adjoint(ones, shapes)], offset
        A = A.dense()
    if isinstance(A, Few):
        if (few := A.through(operator, shapes)) is not None:
            return list(few), offset
        A = A.dense()
    return [part.unflatten(0, A.shape[:2]) for part in operator.adjoint(A.flatten(0, 1), shapes)], offset


def usual_planes(layers: Layers, node: Node, A: Coefficients, samples: Samples) -> tuple[Relaxation, Tensor | None]:
    """CROWN's planes, which are the same for all rows of a sample."""
    assert isinstance(node.operator, Nonlinear)
    planes = layers.relaxation(node, node.operator)

    slopes = [tuple(fit(A, slope[samples]) for slope in side) for side in (planes.lower_slopes, planes.upper_slopes)]
    error = layers.error(node)[0] if layers.outward else None
    below, above, lost = (
        None if values is None else fit(A, values[samples])
        for values in (planes.lower_offset, planes.upper_offset, error)
    )
    return Relaxation(slopes[0], below, slopes[1], above), lost


def _through_planes(
    layers: Layers, node: Node, A: Coefficients, samples: Samples, planes: Planes
) -> tuple[list[Coefficients], Tensor | None, Tensor | None]:
    """Positive coefficients take the lower plane, negative ones the upper plane."""
    lines, error = planes(layers, node, A, samples)
    entries = held(A)
    positive = entries.clamp(min=0)
    # Windows of CROWN's slopes are 0 outside the image.
    inside = isinstance(A, Patches) and (A.inside or planes is usual_planes)
    parts: list[Coefficients] = []
    for below, above in zip(lines.lower_slopes, lines.upper_slopes, strict=True):
        part = torch.addcmul(entries * above, positive, below - above)
        parts.append(part if isinstance(A, Tensor) else A.holding(part, inside))
    offset = None
    if lines.upper_offset is not None:
        offset = row_sums(entries - positive, lines.upper_offset)
    if lines.lower_offset is not None:
        below = row_sums(positive, lines.lower_offset)
        offset = below if offset is None else offset + below
    if not layers.outward:
        return parts, offset, None
    assert error is not None
    return parts, offset, row_sums(entries.abs(), error) + layers.error(node)[1][samples].unsqueeze(1)


def row_sums(entries: Tensor, vector: Tensor) -> Tensor:
    """Sums of products (b, r) of (b, r, ...) and (b, 1 or r, ...)."""
    if vector.shape[1] == 1:
        return (flat(entries, 2) @ flat(vector, 2).transpose(1, 2)).squeeze(2)
    return torch.linalg.vecdot(flat(entries, 2), flat(vector, 2))


def _lost(layers: Layers, node: Node, A: Coefficients, samples: Samples) -> Tensor:
    error, floor = layers.error(node)
    constant = floor[samples].unsqueeze(1)
    return constant if error is None else weigh(A, error[samples], sizes(A)) + constant


def minimum(layers: Layers, bounds: LinearBounds, samples: Samples) -> RowBounds:
    """The least value of linear bounds over the boxes of the results they read, and over the region for the input.

    If bounds are claimed, every rounding error is subtracted, and NaN becomes minus infinity.
    """
    terms, lower, slack = _terms(layers), bounds.b, bounds.slack
    for name, A in bounds.A.items():
        value, error = _where(layers, name).rows(samples).least(A, terms)
        lower, slack = lower + value, slack + error
    return _claimed(layers, samples, lower, slack)


def both_ends(layers: Layers, bounds: LinearBounds, samples: Samples) -> tuple[RowBounds, Tensor]:
    """The same, and upper bounds (b, r) of the rows, which may lie above linear bounds by their gap."""
    assert bounds.gap is not None
    terms, lower, upper, slack = _terms(layers), bounds.b, bounds.b, bounds.slack
    for name, A in bounds.A.items():
        least, most, error = _where(layers, name).rows(samples).ends(A, terms)
        lower, upper, slack = lower + least, upper + most, slack + error
    above = _claimed(layers, samples, -upper, slack + bounds.gap)
    return _claimed(layers, samples, lower, slack), -above.lower


def _where(layers: Layers, name: str) -> Region:
    return layers.region if name == layers.graph.input else Region(layers.boxes[name])


def _terms(layers: Layers) -> int | None:
    """How many roundings a minimum takes beside those of products; None if errors are not needed."""
    return len(layers.graph.nodes) + 8 if layers.outward else None


def _claimed(layers: Layers, samples: Samples, lower: Tensor, slack: Tensor) -> RowBounds:
    """Lower bounds of rows, once what they may miss is subtracted from ``lower``."""
    if (void := layers.void(samples)) is not None:
        lower = torch.where(void.unsqueeze(1), -torch.inf, lower)
    if (terms := _terms(layers)) is None:
        bound = lower - slack
        return RowBounds(torch.where(bound.isnan(), -torch.inf, bound), slack)
    slack = slack * (1 + max(1e-3, 2 * gamma(layers.graph.widest + terms, slack.dtype)))
    bound = lower - slack
    return RowBounds(torch.where(bound.isfinite(), down(bound), -torch.inf), slack)
