"""Networks whose batch axis is not always in front: they are read as functions of a batch of one.

Rules are about samples. Usually the first axis of a tensor is the batch. Some networks move the batch axis for a while
(``permute(1, 0, 2)``), or fold it into another axis (``view(batch * frames, ...)``). Such a network is read with a
batch of one. From the first call that mixes samples on, a result is the whole tensor, until an operator needs samples
again and the axis of length 1 is back in front. That larger batches behave alike is shown by :func:`independent`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from certify.bounds.graph import Graph
from certify.bounds.rules.base import Affine, MixesSamples, NotCovered, Operator, Value
from certify.bounds.rules.concat import Concat
from certify.bounds.rules.reshape import Reshape
from certify.bounds.rules.select import Select

__all__ = ["BATCHED", "at_some_level", "entries", "independent", "levelled"]

BATCHED = frozenset(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d batch_norm "
    "instance_norm group_norm prelu "
    "Conv ConvTranspose AveragePool MaxPool GlobalAveragePool GlobalMaxPool BatchNormalization InstanceNormalization "
    "GroupNormalization LRN".split()
)
"""Operators whose first axis is the batch by definition, and whose second axis holds channels."""

SEVERAL = 64
"""The most entries of a batch axis inside of one sample; an operator on batches is applied to each of them."""

Build = Callable[[Operator, tuple[Value, ...]], Value]
Read = Callable[[int, Mapping[str, Any]], Any]
"""Reads one call, given the number of batch axes before a sample (0 or 1) and its arguments."""


def at_some_level(read: Read, arguments: Mapping[str, Any], build: Build, *, batched: bool) -> Any:
    """Read one call on a batch of one: on samples if possible, otherwise on whole tensors.

    Args:
        read: the call's rule.
        arguments: by name, with results at either level.
        build: appends an operator to the graph.
        batched: whether the operator's first axis is the batch by definition.

    Raises:
        NotCovered: if it can be read at neither level.
    """
    values = [value for value in entries(arguments) if isinstance(value, Value)]
    if batched and values[0].leading == 0 and values[0].shape[:1] != (1,):
        return _one_by_one(read, arguments, build)
    if batched or all(value.leading for value in values):
        try:
            return read(1, _moved(arguments, 1, build))
        except NotCovered as refusal:
            if batched or not isinstance(refusal, MixesSamples):
                raise
    return read(0, _moved(arguments, 0, build))


def levelled(value: Value, leading: int, build: Build) -> Value:
    """A result of a batch of one as a whole tensor with the batch axis (``leading`` 0), or as a sample (1).

    Raises:
        MixesSamples: if its first axis has another length.
    """
    if value.leading == leading:
        return value
    if leading and value.shape[:1] != (1,):
        raise MixesSamples
    shape = value.shape[1:] if leading else (1, *value.shape)
    return replace(build(Reshape(shape), (value,)), leading=leading)


def independent(graph: Graph, samples: int) -> bool:
    """Whether every sample's output depends on that sample only, in a graph whose one input is a whole batch.

    Dependence is propagated through the graph: along every nonzero coefficient, and from every input of a nonlinear
    operator.

    >>> from certify.bounds.rules.reduce import Reduce
    >>> from certify.bounds.graph import Node
    >>> def over(axis): return Graph("x", (2, 3), (Node("y", Reduce((2, 3), (axis,)), ("x",), ()),), torch.float32)
    >>> independent(over(1), 2), independent(over(0), 2)
    (True, False)
    """
    exact = graph.to(torch.float64)
    own = torch.eye(samples, dtype=torch.float64).reshape(samples, samples, *[1] * (len(graph.shape) - 1))
    reached = {graph.input: own.expand(samples, *graph.shape)}
    for node in exact.nodes:
        given = [reached[name] for name in node.inputs]
        if isinstance(node.operator, Affine):
            found = node.operator.absolute(*given) != 0  # NaN as well
        else:
            found = sum(given, torch.zeros(samples, *node.shape, dtype=torch.float64)) != 0
        reached[node.name] = found.double()
    output = reached[graph.output.name]
    if output.dim() < 2 or output.shape[1] != samples:
        return False
    others = output.flatten(2).any(dim=2) if output.dim() > 2 else output.bool()
    return not bool((others & ~torch.eye(samples, dtype=torch.bool)).any())


def _moved(arguments: Mapping[str, Any], leading: int, build: Build) -> dict[str, Any]:
    def one(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)([one(entry) for entry in value])
        return levelled(value, leading, build) if isinstance(value, Value) else value

    return {name: one(value) for name, value in arguments.items()}


def _one_by_one(read: Read, arguments: Mapping[str, Any], build: Build) -> Any:
    """Apply an operator on batches to each entry of a sample's first axis."""
    (name, value), *others = ((name, value) for name, value in arguments.items() if isinstance(value, Value))
    if others:
        raise NotCovered("its weights depend on the input")
    if not value.shape or value.shape[0] > SEVERAL:
        raise NotCovered(f"it works on a batch of {value.shape[:1]} inside of one sample, and {SEVERAL} are the most")
    numbers = torch.arange(torch.Size(value.shape).numel()).reshape(value.shape)
    entries = [replace(build(Select(index, value.shape), (value,)), leading=1) for index in numbers]
    found = [read(1, {**arguments, name: entry}) for entry in entries]
    columns = [[one] if isinstance(one, Value) else list(one) for one in found]
    joined = []
    for parts in zip(*columns, strict=True):
        wide = tuple(levelled(part, 0, build) for part in parts)
        joined.append(replace(build(Concat(0), wide), leading=0))
    return joined[0] if isinstance(found[0], Value) else joined


def entries(arguments: Mapping[str, Any]) -> list[Any]:
    """All arguments one by one, lists entry by entry."""
    return [entry for value in arguments.values() for entry in (value if isinstance(value, (list, tuple)) else [value])]
