"""Fuse a layer with a separate addition of its bias: ``MatMul`` then ``Add`` in many ONNX files."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from certify.bounds.graph import Graph, Node
from certify.bounds.rules.base import Operator, Shape
from certify.bounds.rules.conv import Conv
from certify.bounds.rules.linear import Linear
from certify.bounds.rules.scale_shift import ScaleShift

__all__ = ["fused"]


def fused(graph: Graph) -> Graph:
    """The graph with constants that are added to a linear layer or convolution without bias turned into its bias.

    Nothing but a sign is computed, so the function is exactly the same, and the rounding errors assumed for the layer
    cover those of the two operations. Scales are not fused: that would round the weights.
    """
    replaced: dict[str, Operator] = {}
    absent: set[str] = set()
    for node in graph.nodes:
        layer = graph.producers.get(node.inputs[0])
        if layer is not None and graph.readers[layer.name] == 1 and (biased := _biased(layer, node)) is not None:
            replaced[node.name] = biased
            absent.add(layer.name)
    if not absent:
        return graph
    nodes = (
        replace(node, operator=replaced[node.name], inputs=graph.producers[node.inputs[0]].inputs)
        if node.name in replaced
        else node
        for node in graph.nodes
        if node.name not in absent
    )
    return replace(graph, nodes=tuple(nodes))


def _biased(layer: Node, shift: Node) -> Operator | None:
    """Both operations as one layer; None unless they are a layer without bias and one constant for each feature."""
    operator, added = layer.operator, shift.operator
    if not isinstance(operator, (Linear, Conv)) or operator.offset is not None or layer.shape != shift.shape:
        return None
    if not isinstance(added, ScaleShift) or added.factor is not None or added.shift is None or abs(added.alpha) != 1:
        return None
    axis = -1 if isinstance(operator, Linear) else -1 - len(operator.stride)
    constant = _one_a_feature(added.shift, layer.shape, axis)
    if constant is None or constant.dtype != operator.weight.dtype:
        return None
    return replace(operator, offset=constant if added.alpha > 0 else -constant)


def _one_a_feature(constant: Tensor, shape: Shape, axis: int) -> Tensor | None:
    """A constant that broadcasts to samples of a shape, as one number for each place on an axis; None if it is more."""
    sizes = (1,) * (len(shape) - constant.dim()) + tuple(constant.shape)
    if len(sizes) != len(shape) or any(size != 1 for place, size in enumerate(sizes) if place != len(sizes) + axis):
        return None
    return constant.reshape(-1).expand(shape[axis])
