"""Products of two results that are summed: matrix products, Einstein sums, and attention, which is made of them."""

from __future__ import annotations

import math
import string

import numpy as np
import torch
from torch import Tensor

from certify.bounds.rules.base import ATEN, Call, MixesSamples, NotCovered, Value
from certify.bounds.rules.multiply import multiply
from certify.bounds.rules.reduce import Reduce
from certify.bounds.rules.scale_shift import combined, scaled
from certify.bounds.rules.select import expanded, placed
from certify.bounds.rules.softmax import softmax

__all__ = ["contract", "matmul"]


def contract(call: Call, first: Value, second: Value, equation: str) -> Value:
    """The Einstein sum of two results: ``"ik,kj->ij"``, one letter for each axis of a sample.

    Raises:
        NotCovered: for diagonals, or sizes that do not fit.
    """
    given, leaving = equation.split("->")
    terms = given.split(",")
    values = (first, second)
    sizes: dict[str, int] = {}
    for term, value in zip(terms, values, strict=True):
        if len(set(term)) != len(term) or len(term) != len(value.shape):
            raise NotCovered(f"the equation {equation!r} does not name each axis of its inputs once")
        for axis, n in zip(term, value.shape, strict=True):
            if sizes.setdefault(axis, n) != n:
                raise NotCovered(f"shapes {first.shape} and {second.shape} do not go together")
    every = leaving + "".join(axis for axis in sizes if axis not in leaving)
    shape = tuple(sizes[axis] for axis in every)

    def spread(term: str, value: Value) -> Value:
        numbers = torch.arange(math.prod(value.shape)).reshape(value.shape)
        ordered = numbers.permute([term.index(axis) for axis in every if axis in term])
        return placed(call, value, ordered.reshape([sizes[a] if a in term else 1 for a in every]).expand(shape))

    product = multiply(call, *(spread(term, value) for term, value in zip(terms, values, strict=True)))
    summed = tuple(range(len(leaving), len(every)))
    return call.add(Reduce(shape, summed), product) if summed else product


def matmul(call: Call, first: Value, second: Value) -> Value:
    """``(..., n, k) @ (..., k, m)`` of two results, samples of a batch apart; leading axes broadcast."""
    ranks = len(first.shape), len(second.shape)
    if min(ranks) < 2 and call.leading:
        raise MixesSamples
    front = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    if min(ranks) > 1:
        first, second = (expanded(call, value, front + value.shape[-2:]) for value in (first, second))
    batch = string.ascii_lowercase[: len(front)]
    ends = [batch + "YZ" if ranks[0] > 1 else "Z", batch + "ZX" if ranks[1] > 1 else "Z"]
    leaving = batch + ("Y" if ranks[0] > 1 else "") + ("X" if ranks[1] > 1 else "")
    return contract(call, first, second, f"{ends[0]},{ends[1]}->{leaving}")


@ATEN.register("scaled_dot_product_attention")
def attention(call: Call) -> Value:
    """``softmax(Q K^T / sqrt(d) + M) V`` with a constant mask M."""
    query, key, value = call["query"], call["key"], call["value"]
    if not all(isinstance(one, Value) for one in (query, key, value)) or isinstance(call["attn_mask"], Value):
        raise NotCovered("only its mask may be a constant, and must be")
    if call["dropout_p"] > 0 or call.get("enable_gqa", False):
        raise NotCovered("dropout and groups of queries are not covered")
    scale = call["scale"] if call["scale"] is not None else query.shape[-1] ** -0.5
    batch = string.ascii_lowercase[: len(query.shape) - 2]
    scores = scaled(call, contract(call, query, key, f"{batch}YZ,{batch}XZ->{batch}YX"), scale)
    mask: Tensor | None = call["attn_mask"]
    if call["is_causal"]:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if mask is not None and mask.is_floating_point():
        # What the mask leaves out is shifted by nothing: exp of a difference to it stays finite.
        scores, mask = combined(call, scores, mask.masked_fill(mask.isneginf(), 0.0)), ~mask.isneginf()
    weights = softmax(call, scores, len(scores.shape) - 1, mask)
    return contract(call, weights, value, f"{batch}YX,{batch}XZ->{batch}YZ")
