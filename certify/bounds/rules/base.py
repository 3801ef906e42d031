"""Base classes of operators, which state the facts that every bound method reads, and the registries of import rules.

An operator knows no bound method: it states its image of a box, the planes that enclose it, its adjoint. A method knows
no operator: it asks for these facts. Both importers, of torch and of ONNX, build operators.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from certify.bounds.rounding import gamma, smallest, unit
from certify.bounds.tensors import Interval, Relaxation
from certify.registry import Registry

__all__ = [
    "ATEN",
    "ONNX",
    "RULES",
    "Affine",
    "Call",
    "MixesSamples",
    "Move",
    "Nonlinear",
    "NotCovered",
    "Operator",
    "Shape",
    "Sliding",
    "Value",
    "read_entrywise",
]

Shape = tuple[int, ...]


class Operator(ABC):
    """An operation of a network on batches. A subclass is a frozen dataclass of its parameters.

    Tensors among the fields are the network's own, not copies, so that training through bounds updates them.
    """

    kind: ClassVar[str]

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """The operation itself, on batches (B, ...)."""

    @abstractmethod
    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """An enclosure of the image of boxes. With ``outward``, its ends are widened by all rounding errors."""

    @abstractmethod
    def executed(self, *boxes: Interval) -> Tensor | None:
        """How far a float32 execution may be from the exact result on the same inputs, (B, *shape); None for 0.

        For inputs anywhere in ``boxes`` and any order of summation, with or without fused multiply-add. Infinite where
        an
        intermediate number may overflow: nothing is then claimed about executions.

        Raises:
            NotCovered: if nothing is known about executions of this operator.
        """

    def undefined(self, *boxes: Interval) -> Tensor | None:
        """Mask (B, *shape) of boxes that may contain points at which the operator is undefined; None for nowhere."""
        return None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors among the fields, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def to(self, dtype: torch.dtype) -> Self:
        """A copy whose tensors have another dtype and take no part in training."""
        copies = {name: tensor.detach().to(dtype, copy=True) for name, tensor in self.tensors.items()}
        return replace(self, **copies)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True)
class Sliding:
    """An affine operator whose outputs each depend on one window of an image (C, H, W): convolution, pooling.

    Args:
        bare: the operator without padding; on an image as large as one window it has a single output place.
        extent: height and width of a window, including the gaps of a dilation.
        stride: the distance between neighbouring windows.
        padding: how far the first window extends beyond the image, above and to the left.
    """

    bare: Affine
    extent: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


class Affine(Operator):
    """``y = sum_i W_i x_i + b``. Its image of a box and its error terms follow from |W| and the number of roundings.

    Class attributes:
        separable: whether each output depends on only one input entry, so that the image of a box is a box.
        overlaps: whether two outputs may read the same input entry.
    """

    separable: ClassVar[bool] = False
    overlaps: ClassVar[bool] = True

    @abstractmethod
    def absolute(self, *inputs: Tensor) -> Tensor:
        """``sum_i |W_i| x_i``: how radii and error terms propagate."""

    @abstractmethod
    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """``W_i^T a`` for every row ``a`` of ``A`` (N, *output shape), one for each input of per-sample ``shapes``."""

    @property
    @abstractmethod
    def forward_terms(self) -> int:
        """The most roundings on the way to one output: of products, sums, and coefficients that are computed."""

    @property
    @abstractmethod
    def adjoint_terms(self) -> int:
        """The same for one entry of the adjoint; 0 if it only moves numbers."""

    def sliding(self) -> Sliding | None:
        """How each output depends on a window of the one input image; None if it does not."""
        return None

    def opposite(self, shape: Shape) -> Tensor | None:
        """The entry of the output that is the negative of each, (n,), for an input of ``shape``; None if it is none."""
        return None

    def line(self) -> Affine | None:
        """What it does to a line along the last axis, (n,), if it does the same to each, and no more; None if not."""
        return None

    def reads(self, entries: Tensor, shape: Shape) -> tuple[Tensor, Tensor | None] | None:
        """Which entries of the one input, of per-sample ``shape``, some entries (...) of the output are sums of.

        Returns:
            Row-major indices (..., m) and their weights (..., m), exact in any type; None for ones. None for both where
            this is not stated, as where outputs read all there is.
        """
        return None

    @property
    def bias(self) -> Tensor | None:
        """b, broadcastable to one sample's output shape; None for zero."""
        return None

    @property
    def bias_magnitude(self) -> Tensor | None:
        """|b|, or the sum of the absolute values of the terms that b is computed from."""
        return None if self.bias is None else self.bias.abs()

    def executed(self, *boxes: Interval) -> Tensor | None:
        """``g |W| |x| + g |b|`` with the unit roundoff of float32 (Higham 2002, section 3.1)."""
        if self.forward_terms == 0:
            return None
        size = self.absolute(*(box.magnitude() for box in boxes))
        if self.bias_magnitude is not None:
            size = size + self.bias_magnitude
        # Two roundings more: for the bias, and for this computation itself.
        terms = self.forward_terms + 2
        return gamma(terms, torch.float32) * size + terms * smallest(torch.float32)

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """Centre and radius form: one product with W and one with |W|."""
        centers = [(box.lower + box.upper) / 2 for box in boxes]
        if not outward:
            radii = [(box.upper - box.lower) / 2 for box in boxes]
            z, spread = self.forward(*centers), self.absolute(*radii)
            return Interval.known(z - spread, z + spread)
        dtype = centers[0].dtype
        u, g = unit(dtype), gamma(self.forward_terms + 2, dtype)
        padded = [
            torch.maximum(box.upper - c, c - box.lower) * (1 + 2 * u) + ((g + 2 * u) * c.abs() + smallest(dtype))
            for box, c in zip(boxes, centers, strict=True)
        ]
        spread = self.absolute(*padded)
        if (bias := self.bias_magnitude) is not None:
            spread = spread + 2 * g * bias
        underflow = 4 * (self.forward_terms + 4) * smallest(dtype)
        spread = spread * (1 + gamma(self.forward_terms + 8, dtype)) + underflow
        z = self.forward(*centers)
        lower, upper = z - spread, z + spread
        return Interval.known(lower - (2 * u * lower.abs() + underflow), upper + (2 * u * upper.abs() + underflow))


class Move(Affine):
    """An affine operator that only moves numbers: nothing is computed, and nothing is rounded."""

    forward_terms = 0
    adjoint_terms = 0

    def absolute(self, *inputs: Tensor) -> Tensor:
        """Every weight is 0 or 1."""
        return self.forward(*inputs)

    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """The ends, moved."""
        return Interval(self.forward(*(box.lower for box in boxes)), self.forward(*(box.upper for box in boxes)))


class Nonlinear(Operator):
    """A nonlinear function, applied entry by entry to inputs of the output's shape.

    Class attributes:
        shares: the number of parameters in [0, 1] for each entry that choose among sound planes; methods may optimize
            them.
    """

    shares: ClassVar[int] = 0

    @abstractmethod
    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """Planes that enclose the function on ``boxes``, outward-safe in the boxes' dtype.

        Args:
            boxes: one for each input, (B, ...), with batch axes that broadcast against those of ``shares``.
            shares: (``self.shares``, ...) numbers in [0, 1]. Every choice is sound, and the planes are differentiable
                in them. None for a good choice without search.
        """

    def sketch(self, *boxes: Interval) -> Callable[[Tensor], Relaxation]:
        """Gives planes on boxes by their shares, for a search that asks often and claims nothing.

        They are those of :meth:`relax`, or nearly those where they can be had for less.
        """
        return lambda shares: self.relax(*boxes, shares=shares)

    @property
    def uniform(self) -> bool:
        """Whether the function is the same at all places of an image, so that it can be relaxed on windows of it."""
        return True

    def start(self, *boxes: Interval) -> Tensor:
        """The shares (``self.shares``, B, ...) that give the same planes as None; a search starts from them."""
        raise NotImplementedError(f"{type(self).__name__} has no free shares")

    @property
    def lipschitz(self) -> float | None:
        """The Lipschitz constant of an entry in l2 with respect to all its inputs together; None if it is not known.

        It holds everywhere, not only on a box.
        """
        return None

    @abstractmethod
    def bent(self, *boxes: Interval) -> Tensor:
        """Mask of the entries where the function is not linear on ``boxes``: those gain from tighter bounds."""

    def cut(self, box: Interval) -> Tensor:
        """The point at which to split the box of the one input so that planes fit both parts better: the middle."""
        return box.lower / 2 + box.upper / 2


RULES: Registry[type[Operator]] = Registry("operator", package="certify.bounds.rules", named="kind")
"""Operator kinds of the graph, by name."""


@dataclass(frozen=True, slots=True)
class Value:
    """An intermediate result of a network that is being imported: its name and per-sample shape.

    Args:
        leading: the number of batch axes before that shape in the source's tensor: 1, or 0 if the whole tensor belongs
            to one sample.
    """

    name: str
    shape: Shape
    leading: int = 1


@dataclass(frozen=True, slots=True)
class Call:
    """One call in a network that is being imported, from a traced torch program or an ONNX file.

    Tensors that do not depend on the network's input are given as tensors, the others as :class:`Value`.

    Args:
        target: the operator's name in its own language.
        arguments: by the names in the operator's schema, with defaults. For an ONNX node: attributes and inputs.
        dtype: the network's floating-point type.
        shape: per-sample shape of the (first) output, if the source states it.
        build: appends an operator to the graph and returns its result.
        opset: version of ONNX's operators, 0 for torch.
        leading: the number of batch axes in the source's tensors before those of a sample: 1, or 0 if whole tensors, of
            a batch of one, are read as samples.
        results: for an ONNX node, the number of results that have a name.
    """

    target: str
    arguments: Mapping[str, Any]
    dtype: torch.dtype
    shape: Shape
    build: Callable[[Operator, tuple[Value, ...]], Value]
    opset: int = 0
    leading: int = 1
    results: int = 1

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument that some versions of the operator do not have."""
        return self.arguments.get(name, default)

    def axis(self, axis: int, value: Value) -> int:
        """The axis of a sample, counted from 0, for an ``axis`` of the source, counted from either end.

        Raises:
            NotCovered: for the batch axis.
        """
        found = axis + len(value.shape) if axis < 0 else axis - self.leading
        if not 0 <= found < len(value.shape):
            raise MixesSamples(f"axis {axis} is not one of a sample's: it mixes the samples of a batch")
        return found

    def add(self, operator: Operator, *inputs: Value) -> Value:
        """Apply an operator to results. A call may add several; those that nothing reads are dropped later."""
        return self.build(operator, inputs)


class NotCovered(Exception):
    """Raised by an import rule for a form of its operator that it does not cover, naming that form."""


class MixesSamples(NotCovered):
    """Raised if a call does not process the samples of a batch independently, assuming that axis 0 is the batch."""

    def __init__(self, why: str = "it mixes the samples of a batch") -> None:
        super().__init__(why)


Importer = Callable[[Call], "Value | Tensor | Sequence[Value | Tensor]"]

ATEN: Registry[Importer] = Registry("torch operator", package="certify.bounds.rules")
"""Import rules for torch's operators, by name without overload: ``"linear"`` for ``aten.linear.default``.

A rule adds operators with :meth:`Call.add` and returns the result, a list for several results, or the input's own
:class:`Value` if the call changes nothing.
"""

ONNX: Registry[Importer] = Registry("ONNX operator", package="certify.bounds.rules")
"""Import rules for ONNX's operators, by ``op_type``, such as ``"Gemm"``. The same contract as :data:`ATEN`."""


def read_entrywise(
    operator: Operator, *, aten: Sequence[str] = (), onnx: Sequence[str] = (), words: str | None = None
) -> None:
    """Register the plain way to read a call of one input: the operator is applied to it.

    Args:
        operator: a frozen value without tensors, which all networks share.
        aten, onnx: what torch and ONNX call it.
        words: what the table of operators says about it, if not what the operator's docstring says.
    """

    def read(call: Call) -> Value:
        [name] = {"self", "X", "input"} & call.arguments.keys()
        return call.add(operator, call[name])

    read.__module__, read.__doc__ = type(operator).__module__, words or type(operator).__doc__
    for family, names in ((ATEN, aten), (ONNX, onnx)):
        for name in names:
            family.register(name)(read)
