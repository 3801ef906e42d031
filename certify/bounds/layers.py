"""Boxes, relaxations and rounding errors of every intermediate result of a network on one batch of regions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph, Node
from certify.bounds.region import Region
from certify.bounds.rounding import gamma, smallest
from certify.bounds.rules.base import Affine, Nonlinear, NotCovered
from certify.bounds.tensors import Interval, Relaxation, flat
from certify.core.evidence import Claim
from certify.errors import UnsupportedOperator

__all__ = ["Layers"]

MATRICES = 2**24
"""The most numbers in all cached matrices of sliding operators: 128 MB in float64."""


@dataclass(slots=True, eq=False)
class Layers:
    """Boxes of all results so far; relaxations and rounding errors follow from them and are cached.

    Args:
        graph: the network.
        region: the inputs, one region a sample.
        claim: what bounds must hold for despite rounding: ``"exact"``, the network in exact real arithmetic;
            ``"float32"``, every float32 execution of it; None for a search, which claims nothing.
        boxes: an enclosure of each result by name; filled in the order of the nodes.
        leans: boxes by which free planes are chosen, for results where these differ from ``boxes``. They come from the
            backward pass alone, so that a box improved by another method never makes a plane worse.
        voids: by node, a mask (B,) of samples whose regions may hold points at which the node is undefined, or at which
            an execution overflows if executions are claimed about. No later bound holds for these samples.
        points: what the network makes of a point of each region, (B, ...) by result, as far as it was asked for. Any
            numbers would be sound.
        deadline: checked between pieces of work while rows are bounded over these layers.
    """

    graph: Graph
    region: Region
    claim: Claim | None
    boxes: dict[str, Interval]
    leans: dict[str, Interval] = field(default_factory=dict)
    voids: dict[str, Tensor] = field(default_factory=dict)
    points: dict[str, Tensor] = field(default_factory=dict)
    _relaxations: dict[str, Relaxation] = field(default_factory=dict)
    _gaps: dict[str, Tensor] = field(default_factory=dict)
    _errors: dict[str, tuple[Tensor | None, Tensor]] = field(default_factory=dict)
    _matrices: dict[str, dict[tuple[int, int], Tensor]] = field(default_factory=dict)
    deadline: Deadline = NEVER
    deviations: Any = None
    """The same layers in float32, once they are asked for: see certify.bounds.deviations."""

    @property
    def outward(self) -> bool:
        """Whether rounding errors must be subtracted, because bounds are claimed."""
        return self.claim is not None

    def inputs(self, node: Node) -> list[Interval]:
        """The boxes of a node's inputs."""
        return [self.boxes[name] for name in node.inputs]

    def within(self, boxes: Mapping[str, Interval]) -> Layers:
        """The layers of parts of the one region, from smaller boxes (B, ...) of some results; errors stay the same."""
        errors = {node.name: self.error(node) for node in self.graph.nodes} if self.outward else {}
        known = {**self.boxes, **boxes}
        return Layers(
            self.graph, self.region, self.claim, known, voids=self.voids, _errors=errors, deadline=self.deadline
        )

    def advance(self, node: Node) -> None:
        """Find the box of a node's result by interval arithmetic."""
        box = node.operator.interval(*self.inputs(node), outward=self.outward)
        void = node.operator.undefined(*self.inputs(node))
        if (off := self.executed(node)) is not None:
            box = Interval.known(box.lower - off, box.upper + off)
            void = self._overflows(node, box) | off.isinf() | (False if void is None else void)
        if void is not None:
            self.voids[node.name] = flat(void, 1).any(dim=1)
        self.boxes[node.name] = box

    def _overflows(self, node: Node, box: Interval) -> Tensor:
        """Where a partial sum of an execution may exceed float32, in any order of summation, with a margin."""
        size, terms = box.magnitude(), 1
        if isinstance(operator := node.operator, Affine):
            terms += operator.forward_terms
            size = operator.absolute(*(one.magnitude() for one in self.inputs(node)))
            if operator.bias_magnitude is not None:
                size = size + operator.bias_magnitude
        return ~(size * (16 * terms) < torch.finfo(torch.float32).max)  # NaN may be anything

    def void(self, samples: Tensor | slice) -> Tensor | None:
        """Mask (b,) of the samples about which nothing can be claimed; None if there are none."""
        return torch.stack(list(self.voids.values())).any(dim=0)[samples] if self.voids else None

    def move(self, node: Node) -> None:
        """Fill in the box and the lean of a node that only moves entries of another result."""
        [name] = node.inputs
        self.advance(node)
        if name in self.leans:
            self.leans[node.name] = node.operator.interval(self.leans[name], outward=self.outward)

    def ends(self, name: str, at: tuple[Tensor, Tensor], lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of entries ``at`` of a result from those of rows over these layers, which are the entries."""
        return lower, upper

    def bias(self, node: Node) -> Tensor | None:
        """What an affine node adds, broadcastable to one sample's output; None for nothing."""
        assert isinstance(node.operator, Affine)
        return node.operator.bias

    def executed(self, node: Node) -> Tensor | None:
        """How far a float32 execution of the node may be off, if executions are claimed about; None for 0."""
        if self.claim != "float32":
            return None
        try:
            off = node.operator.executed(*self.inputs(node))
        except NotCovered as problem:
            raise UnsupportedOperator(
                f"node {node.name} ({node.operator.kind}{f', {node.source}' if node.source else ''}): {problem}; "
                'claim "exact" instead, which is about the network in exact real arithmetic'
            ) from None
        # Pays for the rounding of the error itself, and of adding it.
        return None if off is None else off * (1 + 1e-6) + smallest(torch.float32)

    def matrices(self, node: Node) -> dict[tuple[int, int], Tensor]:
        """The cache of matrices by which the sliding operator of ``node`` acts on windows, by window size.

        Callers fill it. When all caches together are too large, they are emptied.
        """
        if sum(M.numel() for known in self._matrices.values() for M in known.values()) > MATRICES:
            self._matrices.clear()
        return self._matrices.setdefault(node.name, {})

    def relaxation(self, node: Node, operator: Nonlinear) -> Relaxation:
        """The planes that enclose a nonlinear node on its boxes."""
        if node.name not in self._relaxations:
            leaning = operator.shares > 0 and any(name in self.leans for name in node.inputs)
            leans = [self.leans.get(name, self.boxes[name]) for name in node.inputs]
            shares = operator.start(*leans) if leaning else None
            self._relaxations[node.name] = operator.relax(*self.inputs(node), shares=shares)
        return self._relaxations[node.name]

    def gap(self, node: Node) -> Tensor:
        """How far the planes of a nonlinear node are at most apart on its boxes, (B, *shape), rounded up."""
        if node.name not in self._gaps:
            assert isinstance(node.operator, Nonlinear)
            planes, boxes = self.relaxation(node, node.operator), self.inputs(node)
            gap = boxes[0].lower.new_zeros(())
            size = gap.expand(len(boxes[0].lower), *node.shape)
            for offset, sign in ((planes.lower_offset, -1), (planes.upper_offset, 1)):
                if offset is not None:
                    gap, size = gap + sign * offset, size + offset.abs()
            for below, above, box in zip(planes.lower_slopes, planes.upper_slopes, boxes, strict=True):
                apart = above - below
                # A plane that is equal to the other has no gap where the box has no end.
                ends = [torch.where(apart == 0, 0.0, apart * end) for end in (box.lower, box.upper)]
                gap = gap + torch.maximum(*ends)
                reach = torch.where((below == 0) & (above == 0), 0.0, box.magnitude())
                size = size + (below.abs() + above.abs()) * reach
            lost = gamma(4 * len(boxes) + 8, size.dtype) * size + smallest(size.dtype)
            self._gaps[node.name] = torch.where(gap.isnan(), torch.inf, gap.clamp(min=0)) + lost
        return self._gaps[node.name]

    def point(self, name: str) -> Tensor:
        """What the network makes of the middle of each region at a result, (B, ...)."""
        self.points.setdefault(self.graph.input, self.region.middle)
        for node in self.graph.nodes:
            if name in self.points:
                break
            if node.name not in self.points:
                self.follow(node)
        return self.points[name]

    def follow(self, node: Node) -> None:
        """Find the point at a node from those before it."""
        self.points[node.name] = node.operator.forward(*(self.points[name] for name in node.inputs))

    def error(self, node: Node) -> tuple[Tensor | None, Tensor]:
        """The rounding error of a backward step through ``node``: E (B, *shape), to be weighed by |A|, and a constant.

        With coefficients A at the node's output, the step computes ``A W`` and ``A b`` with errors of at most
        ``g_m |A| |W|`` and ``g_n |A| |b|``, where m and n are the numbers of terms. Times the largest inputs, these are
        ``|A| E`` with ``E = g_m |W| max|x| + g_n |b|``. The same holds for the slopes and offsets of a relaxation. Each
        count is enlarged by the number of nodes, which pays for sums over branches and for adding up offsets. The error
        of an execution is weighed in the same way.
        """
        if node.name not in self._errors:
            self._errors[node.name] = self._error(node)
        return self._errors[node.name]

    def _error(self, node: Node) -> tuple[Tensor | None, Tensor]:
        operator = node.operator
        largest = [box.magnitude() for box in self.inputs(node)]
        dtype, extra = largest[0].dtype, self._extra
        reached = sum((flat(m, 1).sum(1) for m in largest), largest[0].new_zeros(len(largest[0])))
        floor = smallest(dtype) * (math.prod(node.shape) + extra) * (1 + reached)
        off = self.executed(node)
        if isinstance(operator, Nonlinear):
            lost = self.error_of_planes(node, self.relaxation(node, operator), largest)
            return lost if off is None else lost + off, floor
        assert isinstance(operator, Affine)
        error = off
        if operator.adjoint_terms > 0 or any(self.graph.readers[name] > 1 for name in node.inputs):
            g = gamma(operator.adjoint_terms + extra, dtype) * (1 + gamma(operator.forward_terms + 8, dtype))
            part = g * operator.absolute(*largest) + smallest(dtype)  # small sizes may meet large coefficients
            error = part if error is None else error + part
        if (bias := operator.bias_magnitude) is not None:
            part = (gamma(math.prod(node.shape) + extra, dtype) * bias).expand(1, *node.shape)
            error = part.expand(len(largest[0]), *node.shape) if error is None else error + part
        return error, floor

    def error_of_planes(self, node: Node, planes: Relaxation, largest: list[Tensor]) -> Tensor:
        """E of one backward step through ``planes``, where inputs are at most ``largest`` in size."""
        dtype = largest[0].dtype
        g_product, g_sum = gamma(self._extra, dtype), gamma(math.prod(node.shape) + self._extra, dtype)
        error = torch.full_like(largest[0], smallest(dtype))  # small sizes may meet large coefficients
        for below, above, size in zip(planes.lower_slopes, planes.upper_slopes, largest, strict=True):
            error = error + g_product * torch.maximum(below.abs(), above.abs()) * size
        for offset in (planes.lower_offset, planes.upper_offset):
            if offset is not None:
                error = error + g_sum * offset.abs()
        return error

    @property
    def _extra(self) -> int:
        """How many sums a coefficient or an offset may take part in beside those of its own operator, some to spare.

        Offsets of all nodes are added up, and so are coefficients of all readers of a result. One node may read a
        result many times.
        """
        return max(len(self.graph.nodes), self.graph.readers.total()) + 8
