"""The facts that an operator states once, and that every bound method reads.

An operator knows no method: it says what its image of a box is, which lines enclose it, what its adjoint is. A method
knows no operator: it asks for these facts. Both kinds of importers build operators from here.
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
    "Nonlinear",
    "NotCovered",
    "Operator",
    "Shape",
    "Sliding",
    "Value",
]

Shape = tuple[int, ...]


class Operator(ABC):
    """One operation of a network on batches. A subclass is a frozen dataclass of its parameters.

    Tensors among the fields are the network's own, not copies, so that training through bounds reaches them.
    """

    kind: ClassVar[str]

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """The operation itself, on batches (B, ...)."""

    @abstractmethod
    def interval(self, *boxes: Interval, outward: bool) -> Interval:
        """The image of boxes. With ``outward`` its ends enclose the exact image whatever was rounded on the way."""

    @abstractmethod
    def executed(self, *boxes: Interval) -> Tensor | None:
        """How far a float32 execution may end from the exact result on the same inputs, (B, *shape); None for 0.

        In any order of summation, with or without fused multiply-add; inputs anywhere in ``boxes``. Infinite where an
        intermediate number may leave float32: nothing is then claimed about executions.

        Raises:
            NotCovered: if nothing is known about executions of this operator.
        """

    def undefined(self, *boxes: Interval) -> Tensor | None:
        """Where boxes may hold points that have no value, (B, *shape) mask; None for nowhere. Nothing holds there."""
        return None

    def to(self, dtype: torch.dtype) -> Self:
        """A copy whose tensors have another dtype and take no part in training."""
        tensors = {f.name: t for f in fields(self) if isinstance(t := getattr(self, f.name), Tensor)}  # type: ignore[arg-type]
        copies = {name: t.detach().to(dtype, copy=True) for name, t in tensors.items()}
        return replace(self, **copies)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True)
class Sliding:
    """An affine operator whose outputs each see one window of an image (C, H, W): convolution, pooling.

    Args:
        bare: the operator without padding. On an image as large as one window it has one output place.
        extent: height and width of a window, gaps of a dilation included.
        stride: how far windows of neighbours are apart.
        padding: how far the first window sticks out, above and to the left.
    """

    bare: Affine
    extent: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


class Affine(Operator):
    """``y = sum_i W_i x_i + b``. Its image of a box and its error terms follow from |W| and from counts of roundings.

    Class attributes:
        separable: whether each output depends on one input entry only, so that a box maps to exactly a box.
    """

    separable: ClassVar[bool] = False

    @abstractmethod
    def absolute(self, *inputs: Tensor) -> Tensor:
        """``sum_i |W_i| x_i``: the image of radii and of error terms."""

    @abstractmethod
    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """``W_i^T a`` for every row ``a`` of ``A`` (N, *output shape), one for each input of per-sample ``shapes``."""

    @property
    @abstractmethod
    def forward_terms(self) -> int:
        """The most roundings on the way to one output: products summed, and any in the coefficients themselves."""

    @property
    @abstractmethod
    def adjoint_terms(self) -> int:
        """The same for one entry of the adjoint; 0 if it only moves numbers."""

    def sliding(self) -> Sliding | None:
        """How each output sees a window of its one input image, if it does."""
        return None

    @property
    def bias(self) -> Tensor | None:
        """b, broadcastable to one sample's output shape; None for zero."""
        return None

    @property
    def bias_magnitude(self) -> Tensor | None:
        """|b|, or the sum of the magnitudes that b was computed from."""
        return None if self.bias is None else self.bias.abs()

    def executed(self, *boxes: Interval) -> Tensor | None:
        """``g |W| |x| + g |b|`` with the unit roundoff of float32 (Higham 2002, section 3.1)."""
        if self.forward_terms == 0:
            return None
        size = self.absolute(*(box.magnitude() for box in boxes))
        if self.bias_magnitude is not None:
            size = size + self.bias_magnitude
        # Two roundings more than the terms: the bias, and these bounds' own arithmetic in a wider format.
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


class Nonlinear(Operator):
    """A nonlinear function of the entries of its inputs, entry by entry. All inputs have the output's shape.

    Class attributes:
        shares: how many free numbers in [0, 1] an entry has that choose among sound planes; a method may optimise them.
    """

    shares: ClassVar[int] = 0

    @abstractmethod
    def relax(self, *boxes: Interval, shares: Tensor | None = None) -> Relaxation:
        """Planes that enclose the function on ``boxes``, outward-safe in the boxes' dtype.

        Args:
            boxes: one a input, (B, ...); any batch axes that broadcast against those of ``shares``.
            shares: (``self.shares``, ...), any numbers in [0, 1]: each choice is sound, and the planes are
                differentiable in them. None for a good choice without search.
        """

    @property
    def uniform(self) -> bool:
        """Whether the function is the same at all places of an image, so that it can be asked about windows of one."""
        return True

    def start(self, *boxes: Interval) -> Tensor:
        """The shares (``self.shares``, B, ...) that a search begins with: those that give the planes of no choice."""
        raise NotImplementedError(f"{type(self).__name__} has no free shares")

    @property
    def lipschitz(self) -> float | None:
        """The most that an entry changes per unit of change of its inputs together, in l2; None if that is not known.

        It holds everywhere, not on a box.
        """
        return None

    @abstractmethod
    def bent(self, *boxes: Interval) -> Tensor:
        """Where the function is not one plane on ``boxes``: the entries that gain from tighter bounds (mask)."""

    def cut(self, box: Interval) -> Tensor:
        """Where to cut the box of the one input so that planes fit both parts better, any points: the middle."""
        return box.lower / 2 + box.upper / 2


RULES: Registry[type[Operator]] = Registry("operator", package="certify.bounds.rules")
"""Operator kinds of the graph, by name."""


@dataclass(frozen=True, slots=True)
class Value:
    """An intermediate result of a network that is being imported: its name and per-sample shape.

    Args:
        leading: how many batch axes the source's own tensor has in front of that: 1, or 0 where the whole tensor is one
            sample's.
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
        arguments: by the names of the operator's schema, defaults filled in. Of an ONNX node: inputs and attributes.
        dtype: the network's floating-point type.
        shape: per-sample shape of the (first) output, where the source states it.
        build: appends an operator to the graph and returns its result.
        opset: version of ONNX's operators, 0 for torch.
        leading: how many batch axes the source's own tensors have before a sample's: 1, or 0 where a whole tensor, of a
            batch of one, is read as one sample.
        results: how many of its results the source gives a name. Of an ONNX node.
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
        """An argument that older versions of the operator may not have."""
        return self.arguments.get(name, default)

    def axis(self, axis: int, value: Value) -> int:
        """The axis of a sample, 0 and up, that the source counts as ``axis``, from either end.

        Raises:
            NotCovered: for the batch axis.
        """
        found = axis + len(value.shape) if axis < 0 else axis - self.leading
        if not 0 <= found < len(value.shape):
            raise MixesSamples(f"axis {axis} is not one of a sample's: it mixes the samples of a batch")
        return found

    def add(self, operator: Operator, *inputs: Value) -> Value:
        """Apply an operator to results. A call may add several, one after the other; unread results vanish."""
        return self.build(operator, inputs)


class NotCovered(Exception):
    """Raised by an import rule for a form of its operator that it does not cover; says which."""


class MixesSamples(NotCovered):
    """Raised where a call does not work on the samples of a batch one by one, its first axis taken for the batch's."""

    def __init__(self, why: str = "it mixes the samples of a batch") -> None:
        super().__init__(why)


Importer = Callable[[Call], "Value | Tensor | Sequence[Value | Tensor]"]

ATEN: Registry[Importer] = Registry("torch operator", package="certify.bounds.rules")
"""How torch's operators are read, by name without overload: ``"linear"`` for ``aten.linear.default``.

A rule adds operators with :meth:`Call.add` and returns the last result, a list of them for an operator with several
outputs, or the input's own :class:`Value` where the call changes nothing.
"""

ONNX: Registry[Importer] = Registry("ONNX operator", package="certify.bounds.rules")
"""How ONNX's operators are read, by ``op_type``: ``"Gemm"``. The same contract as :data:`ATEN`."""
