"""Operators that move entries (slices, transpositions, repetition, padding and so on) as one operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from certify.bounds.contract import Applied, Example
from certify.bounds.rules.base import ATEN, RULES, Call, MixesSamples, Move, NotCovered, Shape, Sliding, Value
from certify.bounds.rules.reshape import Reshape
from certify.bounds.tensors import flat
from certify.errors import one_line

__all__ = ["Select", "expanded", "moved", "placed", "unstacked"]


def _gather(x: Tensor, index: Tensor, fill: Tensor | None = None) -> Tensor:
    """Entries of each sample (B, ...) by row-major index, ``fill`` (None for 0) where that is negative."""
    places = index.to(x.device).flatten()
    [used] = (places >= 0).nonzero(as_tuple=True)
    y = flat(x, 1).index_select(1, places[used])
    if len(used) < len(places):
        rest = x.new_zeros(len(x), len(places)) if fill is None else fill.to(x).expand(len(x), len(places)).clone()
        y = rest.index_copy_(1, used, y)
    return y.reshape(len(x), *index.shape)


@RULES.register("select")
@dataclass(frozen=True, eq=False)
class Select(Move):
    """Every output entry is one entry of the input, or a constant. Entries may be read several times, or never.

    Args:
        index: the row-major index of the input entry for each output entry, -1 for the constant; of the per-sample
            output shape.
        shape: per-sample shape of the input.
        fill: the constant, a number; None for 0.
        corner: (top, left) width of a border of zeros around an image (C, H, W), negative if it is cropped; None if
            this is not all that happens.
    """

    kind: ClassVar[str] = "select"
    index: Tensor
    shape: Shape
    fill: Tensor | None = None
    corner: tuple[int, int] | None = None

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Only if no entry is read twice, so that a box maps to a box; and not for a permutation within the same shape,
        which readers would take for an operation entry by entry."""
        if self.index.shape == self.shape:
            index = self.index.flatten()
            return bool(((index < 0) | (index == torch.arange(len(index), device=index.device))).all())
        return self._uses <= 1

    @cached_property
    def _uses(self) -> int:
        """How often an entry is read at most."""
        return int(self.index[self.index >= 0].bincount(minlength=1).max())

    @cached_property
    def _repeated(self) -> tuple[int, ...]:
        """The axes of the output along which the same entry is read again and again."""
        longer = (axis for axis, size in enumerate(self.index.shape) if size > 1)
        return tuple(axis for axis in longer if bool((self.index == self.index.narrow(axis, 0, 1)).all()))

    @cached_property
    def _once(self) -> Tensor:
        """The index without repetitions, its axes kept."""
        index = self.index
        for axis in self._repeated:
            index = index.narrow(axis, 0, 1)
        return index

    @cached_property
    def _reader(self) -> Tensor | None:
        """Where each input entry is read by ``_once``, -1 for nowhere; None if one is read twice."""
        index = self._once.flatten()
        reader, used = torch.full((math.prod(self.shape),), -1, device=index.device), index >= 0
        if int(index[used].bincount(minlength=1).max()) > 1:
            return None
        reader[index[used]] = used.nonzero().flatten()
        return reader.reshape(self.shape)

    @property
    def bias(self) -> Tensor | None:
        """The constant in its places."""
        return None if self.fill is None else torch.where(self.index < 0, self.fill, torch.zeros_like(self.fill))

    def to(self, dtype: torch.dtype) -> Self:
        """Only the constant is converted."""
        return self if self.fill is None else replace(self, fill=self.fill.to(dtype))

    def forward(self, *inputs: Tensor) -> Tensor:
        """The chosen entries."""
        return _gather(inputs[0], self.index, self.fill)

    def absolute(self, *inputs: Tensor) -> Tensor:
        """Every weight is 0 or 1."""
        return _gather(inputs[0], self.index)

    def adjoint(self, A: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Every coefficient back to its entry: sums over repetitions, and a gather where these are all there is."""
        if self._repeated:
            A = A.sum([axis + 1 for axis in self._repeated], keepdim=True)
        if self._reader is not None:
            return (_gather(A, self._reader),)
        size, index = math.prod(self.shape), self._once.flatten().to(A.device)
        one_more = A.new_zeros(len(A), size + 1)  # for the coefficients of constants
        sums = one_more.index_add(1, torch.where(index < 0, size, index), flat(A, 1))
        return (sums[:, :size].reshape(len(A), *self.shape),)

    def reads(self, entries: Tensor, shape: Shape) -> tuple[Tensor, Tensor | None]:
        """One entry each, or none for a constant."""
        places = self.index.to(entries.device).flatten()[entries].unsqueeze(-1)
        used = places >= 0
        return places.clamp(min=0), None if bool(used.all()) else used

    @property
    def overlaps(self) -> bool:  # type: ignore[override]
        """Only if an entry is read twice."""
        return self._uses > 1

    @property
    def adjoint_terms(self) -> int:  # type: ignore[override]
        """One sum a reader of an entry, none for a single one."""
        return uses if (uses := self._uses) > 1 else 0

    def sliding(self) -> Sliding | None:
        """An image with another border: windows of one entry, moved."""
        return None if self.corner is None else Sliding(Reshape((self.shape[0], 1, 1)), (1, 1), (1, 1), self.corner)

    @staticmethod
    def example() -> Example:
        """A border of ones, entries in several places, and others nowhere."""
        lower = torch.tensor([[[[-1.0, 0.0, 1.0], [1.0, 2.0, -2.0]]]])
        return Example(
            Applied(lambda x: F.pad(x.flip(2), (1, 1, 0, 1), value=1.0)[..., [2, 0, 2, 1]].transpose(2, 3)),
            lower,
            lower + 0.5,
        )


def placed(call: Call, value: Value, index: Tensor, fill: float = 0.0) -> Value:
    """Apply a :class:`Select`, or what is simpler where entries keep their order."""
    size = math.prod(value.shape)
    if index.numel() == size and torch.equal(index.flatten(), torch.arange(size)):
        return value if index.shape == value.shape else call.add(Reshape(tuple(index.shape)), value)
    constant = torch.tensor(fill, dtype=call.dtype) if fill != 0 else None
    return call.add(Select(index, value.shape, constant, _corner(index, value.shape)), value)


def _corner(index: Tensor, shape: Shape) -> tuple[int, int] | None:
    """The corner if an image was only padded or cropped; otherwise None."""
    if len(shape) != 3 or index.dim() != 3 or len(index) != shape[0] or bool((index < 0).all()):
        return None
    _, row, column = (index >= 0).nonzero()[0].tolist()
    place = int(index[index >= 0][0])
    top, left = row - place // shape[2] % shape[1], column - place % shape[2]
    margins = (left, index.shape[2] - shape[2] - left, top, index.shape[1] - shape[1] - top)
    numbers = torch.arange(1, math.prod(shape) + 1).reshape(shape)
    return (top, left) if torch.equal(F.pad(numbers, margins) - 1, index) else None


def unstacked(call: Call, value: Value, axes: Sequence[int], *, keep: bool) -> list[Value]:
    """For each place along some axes of a sample, the entries there; the axes vanish, or ``keep`` length 1."""
    rest = [axis for axis in range(len(value.shape)) if axis not in axes]
    numbers = torch.arange(math.prod(value.shape)).reshape(value.shape)
    shape = [1 if axis in axes else n for axis, n in enumerate(value.shape) if keep or axis not in axes]
    lines = numbers.permute(*axes, *rest).flatten(0, len(axes) - 1)
    return [placed(call, value, line.reshape(shape)) for line in lines]


def expanded(call: Call, value: Value, shape: Sequence[int]) -> Value:
    """A result repeated along axes of length 1, to a per-sample shape."""
    if len(shape) != len(value.shape) and call.leading:
        raise MixesSamples(
            f"samples of shapes {value.shape} and {tuple(shape)} are combined: this mixes a batch's samples"
        )
    return placed(call, value, torch.arange(math.prod(value.shape)).reshape(value.shape).expand(tuple(shape)))


def moved(
    call: Call, value: Value, function: Callable[[Tensor], Tensor | Sequence[Tensor]], fill: float = 0.0
) -> Value | list[Value]:
    """Apply a function that only moves entries: running it on numbered entries shows where each goes.

    Args:
        function: takes tensors in the source's layout, with batch axes. If there is a batch, it is run on two samples
            and must do the same to both. Zeros in its result stand for ``fill``.
    """
    size, samples = math.prod(value.shape), 2 if call.leading else 1
    numbers = torch.arange(1, samples * size + 1, dtype=torch.float64)

    def read(result: Tensor) -> Value:
        index = result.long() - 1
        if call.leading:
            mixed = MixesSamples()
            if index.dim() == 0 or len(index) != samples:
                raise mixed
            index, other = index
            if bool((index >= size).any()) or not torch.equal(torch.where(index < 0, index, index + size), other):
                raise mixed
        return placed(call, value, index, fill)

    try:
        results = function(numbers.reshape(*(samples,) * call.leading, *value.shape))
    except (RuntimeError, IndexError, ValueError, TypeError) as problem:
        raise NotCovered(f"it does not fit samples of shape {value.shape} ({one_line(problem)})") from problem
    return read(results) if isinstance(results, Tensor) else [read(result) for result in results]


def _run(call: Call, fill: float = 0.0, **changed: Any) -> Value | list[Value]:
    """Torch's own operator on numbered entries, some arguments of the call changed."""
    names = [name for name, argument in call.arguments.items() if isinstance(argument, Value)]
    if names not in (["self"], ["input"]):  # none of them: results stand in a list of places
        raise NotCovered("where entries go depends on the input")
    [name] = names
    given: Mapping[str, Any] = {**call.arguments, **changed}
    constants = {key: argument.cpu() if isinstance(argument, Tensor) else argument for key, argument in given.items()}
    operator = getattr(torch.ops.aten, call.target)
    return moved(call, call[name], lambda numbers: operator(**{**constants, name: numbers}), fill)


def move(call: Call) -> Value | list[Value]:
    """Any operator of torch that only moves entries or inserts zeros."""
    return _run(call)


for _name in (
    "transpose permute t mT numpy_T movedim moveaxis swapaxes swapdims flip roll rot90 slice select narrow index "
    "index_select gather take_along_dim diagonal expand broadcast_to repeat tile repeat_interleave unfold im2col tril "
    "triu pixel_shuffle pixel_unshuffle channel_shuffle upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d reflection_pad1d reflection_pad2d "
    "reflection_pad3d replication_pad1d replication_pad2d replication_pad3d split split_with_sizes chunk tensor_split "
    "unsafe_split unsafe_chunk unbind hsplit vsplit dsplit"
).split():
    ATEN.register(_name)(move)


@ATEN.register("pad")
@ATEN.register("constant_pad_nd")
def pad(call: Call) -> Value | list[Value]:
    """``torch.nn.functional.pad`` in every mode."""
    fill = call["value"]
    return _run(call, 0.0 if fill is None else float(fill), value=0.0)


@ATEN.register("masked_fill")
def masked_fill(call: Call) -> Value | list[Value]:
    """Constants in constant places."""
    if isinstance(call["value"], Value):
        raise NotCovered("the number that fills depends on the input")
    return _run(call, float(call["value"]), value=0.0)


@ATEN.register("expand_as")
def expand_as(call: Call) -> Value | Tensor:
    """Repeated to the shape of another result."""
    if isinstance(call["self"], Tensor):
        return call["self"].expand(*(1,) * call.leading, *call.shape)
    return expanded(call, call["self"], call.shape)
