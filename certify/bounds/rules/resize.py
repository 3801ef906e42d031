"""Images of another size, by nearest or linear interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from certify.bounds.rules.base import ATEN, ONNX, Call, MixesSamples, NotCovered, Value
from certify.bounds.rules.einsum import along
from certify.bounds.rules.reshape import integers
from certify.bounds.rules.select import moved

__all__: list[str] = []

Coordinate = Callable[[int], Fraction]
"""Where in the old line an entry of the new one lies."""

DYADIC = 2**10
"""Weights of linear interpolation are covered if they are multiples of 1 over this: then no execution rounds them."""


def _coordinate(mode: str, old: int, new: int, scale: Fraction) -> Coordinate:
    if mode == "asymmetric":
        return lambda place: place / scale
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and new > 1):
        return lambda place: (place + Fraction(1, 2)) / scale - Fraction(1, 2)
    if mode == "align_corners":
        return lambda place: Fraction(place * (old - 1), max(1, new - 1))
    if mode == "pytorch_half_pixel":
        return lambda place: Fraction(0)
    raise NotCovered(f"coordinates of mode {mode!r}")


NEAREST: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda x: math.ceil(x - Fraction(1, 2)),
    "round_prefer_ceil": lambda x: math.floor(x + Fraction(1, 2)),
}


def _linear(call: Call, value: Value, axis: int, new: int, coordinate: Coordinate) -> Value:
    """Interpolation along one axis of a sample, as a matrix."""
    old = value.shape[axis]
    matrix = torch.zeros(new, old, dtype=call.dtype)
    for place in range(new):
        x = min(max(coordinate(place), Fraction(0)), Fraction(old - 1))
        left, share = math.floor(x), x - math.floor(x)
        if DYADIC % share.denominator:
            raise NotCovered(f"linear interpolation from {old} to {new} entries has weights that floats round")
        matrix[place, left] += float(1 - share)
        matrix[place, min(left + 1, old - 1)] += float(share)
    return along(call, value, axis, matrix)


@ATEN.register("upsample_linear1d")
@ATEN.register("upsample_bilinear2d")
@ATEN.register("upsample_trilinear3d")
def torch_linear(call: Call) -> Value:
    """``torch.nn.functional.interpolate`` in its linear modes."""
    value: Value = call["input"]
    mode = "align_corners" if call["align_corners"] else "half_pixel"
    scales = call.get("scale_factors") or [None] * (len(value.shape) - 1)
    for axis, (new, scale) in enumerate(zip(call.shape[1:], scales, strict=True), start=1):
        old = value.shape[axis]
        ratio = Fraction(new, old) if scale is None else Fraction(scale)
        if new != old:
            value = _linear(call, value, axis, new, _coordinate(mode, old, new, ratio))
    return value


@ONNX.register("Upsample")
@ONNX.register("Resize")
def onnx_resize(call: Call) -> Value:
    """Along every axis whose size changes, for scales that are ratios of the sizes."""
    value: Value = call["X"]
    mode, rank = call["mode"], len(value.shape) + call.leading
    if mode not in ("nearest", "linear") or call.get("antialias", 0):
        raise NotCovered(f"resizing of mode {mode!r}{' with antialiasing' if call.get('antialias', 0) else ''}")
    if len(call.shape) != len(value.shape):
        raise NotCovered("the size that it makes is not known")
    scales = _settings(call, rank)
    if scales and scales[0] != 1 and call.leading:
        raise MixesSamples("it resizes the batch")
    coordinates = call.get("coordinate_transformation_mode", "asymmetric")
    for axis, new in enumerate(call.shape):
        old = value.shape[axis]
        scale = Fraction(scales[axis + call.leading]) if scales else Fraction(new, old)
        if (old, scale) == (new, 1):
            continue
        coordinate = _coordinate(coordinates, old, new, scale)
        if mode == "linear":
            value = _linear(call, value, axis, new, coordinate)
        else:
            nearest = NEAREST[call.get("nearest_mode", "floor")]
            places = torch.tensor([min(max(nearest(coordinate(place)), 0), old - 1) for place in range(new)])
            value = _picked(call, value, axis, places)
    return value


def _settings(call: Call, rank: int) -> Sequence[float]:
    """Scales of all axes of the source's tensor; empty if sizes are given instead."""
    given = call.get("scales")
    if isinstance(given, Value):
        raise NotCovered("its scales depend on the input")
    scales = given.flatten().tolist() if isinstance(given, Tensor) else list(given or ())
    axes = integers(call.get("axes"))
    if not scales or not axes:
        return scales
    whole = [1.0] * rank
    for axis, scale in zip(axes, scales, strict=True):
        whole[axis] = scale
    return whole


def _picked(call: Call, value: Value, axis: int, places: Tensor) -> Value:
    result = moved(call, value, lambda numbers: numbers.index_select(axis + call.leading, places))
    assert isinstance(result, Value)
    return result
