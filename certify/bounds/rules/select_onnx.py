"""The operators of ONNX that only move entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from certify.bounds.rules.base import ONNX, Call, NotCovered, Value
from certify.bounds.rules.reshape import integers
from certify.bounds.rules.select import moved

__all__: list[str] = []

Moved = Value | Sequence[Value]


def _axes(call: Call, value: Value) -> int:
    """How many axes the source's own tensor has."""
    return len(value.shape) + call.leading


@ONNX.register("Transpose")
def transpose(call: Call) -> Moved:
    """Axes in another order; reversed if none is given."""
    order = call["perm"] or range(_axes(call, call["data"]))[::-1]
    return moved(call, call["data"], lambda numbers: numbers.permute(*order))


@ONNX.register("Slice")
def slices(call: Call) -> Moved:
    """Ranges along axes, also backward; as numbers they are attributes of older versions and inputs of newer ones."""
    starts, ends = integers(call["starts"]), integers(call["ends"])
    axes = integers(call["axes"]) or list(range(len(starts)))
    steps = integers(call.get("steps")) or [1] * len(starts)

    def cut(numbers: Tensor) -> Tensor:
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            places = range(*slice(start, end, step).indices(numbers.shape[axis]))
            numbers = numbers.index_select(axis, torch.tensor(places, dtype=torch.int64))
        return numbers

    return moved(call, call["data"], cut)


@ONNX.register("Gather")
def gather(call: Call) -> Moved:
    """Constant places along an axis."""
    value, axis, indices = call["data"], call["axis"], call["indices"]
    places = integers(indices)
    if not isinstance(value, Value):
        raise NotCovered("its places depend on the input")

    def pick(numbers: Tensor) -> Tensor:
        first = axis % numbers.dim()
        wanted = torch.tensor([place % numbers.shape[first] for place in places], dtype=torch.int64)
        shape = (*numbers.shape[:first], *indices.shape, *numbers.shape[first + 1 :])
        return numbers.index_select(first, wanted).reshape(shape)

    return moved(call, value, pick)


@ONNX.register("GatherElements")
def gather_elements(call: Call) -> Moved:
    """Constant places along an axis, for every entry its own."""
    value, axis, indices = call["data"], call["axis"], call["indices"]
    if not isinstance(value, Value) or isinstance(indices, Value):
        raise NotCovered("its places depend on the input")

    def pick(numbers: Tensor) -> Tensor:
        places = indices.long()
        if call.leading and len(places) == 1:
            places = places.expand(len(numbers), *places.shape[1:])
        return numbers.gather(axis, torch.where(places < 0, places + numbers.shape[axis], places))

    return moved(call, value, pick)


@ONNX.register("Split")
def split(call: Call) -> Moved:
    """Parts of given sizes, or of one size, the last perhaps smaller."""
    value, axis = call["input"], call["axis"]
    sizes: Any = integers(call["split"])
    if not sizes:
        if len(call.shape) != len(value.shape):
            raise NotCovered("its sizes are not known")
        sizes = call.shape[call.axis(axis, value)]
    return moved(call, value, lambda numbers: numbers.split(sizes, dim=axis))


@ONNX.register("Expand")
def expand(call: Call) -> Moved:
    """Repetition by the rules of broadcasting."""
    shape = integers(call["shape"])
    return moved(call, call["input"], lambda numbers: numbers.expand(np.broadcast_shapes(numbers.shape, shape)))


@ONNX.register("Tile")
def tile(call: Call) -> Moved:
    """Repetition as a whole."""
    repeats = integers(call["repeats"])
    return moved(call, call["input"], lambda numbers: numbers.repeat(*repeats))


@ONNX.register("Pad")
def pad(call: Call) -> Moved:
    """A border of constants, of the edge's entries, or of the image itself mirrored or repeated."""
    value, mode = call["data"], call["mode"]
    pads = integers(call["pads"])
    fill = call.get("value") if call.opset < 11 else call["constant_value"]
    if isinstance(fill, Value):
        raise NotCovered("the number that pads depends on the input")
    rank = _axes(call, value)
    axes = [axis % rank for axis in integers(call.get("axes"))] or list(range(rank))
    before, after = ([0] * rank for _ in "ba")
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[place + len(axes)]

    def surround(numbers: Tensor) -> Tensor:
        if mode == "constant":
            return F.pad(numbers, [n for pair in zip(before[::-1], after[::-1], strict=True) for n in pair])
        for axis, (first, last) in enumerate(zip(before, after, strict=True)):
            numbers = numbers.index_select(axis, _around(mode, numbers.shape[axis], first, last))
        return numbers

    return moved(call, value, surround, 0.0 if fill is None else float(fill))


def _around(mode: str, size: int, before: int, after: int) -> Tensor:
    """The places of an axis that the result shows. Negative numbers cut; what they cut off is not repeated."""
    kept = torch.arange(size)[max(0, -before) : size - max(0, -after)]
    size = len(kept)
    if size == 0:
        raise NotCovered("nothing is left to pad")
    places = torch.arange(-max(0, before), size + max(0, after))
    if mode == "edge":
        return kept[places.clamp(0, size - 1)]
    if mode == "wrap":
        return kept[places % size]
    if mode == "reflect":
        period = max(1, 2 * (size - 1))
        return kept[size - 1 - (size - 1 - places % period).abs()]
    raise NotCovered(f"padding of mode {mode!r}")


@ONNX.register("DepthToSpace")
def depth_to_space(call: Call) -> Moved:
    """Channels to blocks of pixels; in the order of torch's pixel shuffle (CRD), or blocks first (DCR)."""
    block = call["blocksize"]

    def rearrange(numbers: Tensor) -> Tensor:
        if call.get("mode", "DCR") == "DCR":
            numbers = numbers.unflatten(1, (block * block, -1)).transpose(1, 2).flatten(1, 2)
        return F.pixel_shuffle(numbers, block)

    return moved(call, call["input"], rearrange)


@ONNX.register("SpaceToDepth")
def space_to_depth(call: Call) -> Moved:
    """Blocks of pixels to channels, blocks first."""
    block = call["blocksize"]

    def rearrange(numbers: Tensor) -> Tensor:
        return F.pixel_unshuffle(numbers, block).unflatten(1, (-1, block * block)).transpose(1, 2).flatten(1, 2)

    return moved(call, call["input"], rearrange)


@ONNX.register("Trilu")
def trilu(call: Call) -> Moved:
    """A triangle of a matrix, zeros elsewhere."""
    diagonal = (integers(call["k"]) or [0])[0]
    keep = torch.triu if call["upper"] else torch.tril
    return moved(call, call["input"], lambda numbers: keep(numbers, diagonal))
