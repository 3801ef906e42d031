"""One node of an ONNX file: its arguments by name, the shapes of its results, and its results on constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from certify.bounded.memory import check_room
from certify.bounds.importers.onnx_file import bare_session
from certify.bounds.rules.base import NotCovered
from certify.errors import one_line

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto, TypeProto
    from onnx.defs import OpSchema

__all__ = ["arguments", "fold", "inferred", "reads", "runner"]

SETTING = 64
"""Constants with at most this many entries are passed to shape inference: shapes, axes and scales, but not weights."""


def reads(node: NodeProto) -> list[str]:
    """Names of all results that a node reads, also those inside of its branches."""
    inside = (inner for attribute in node.attribute for inner in attribute.g.node)
    return [*node.input, *(name for inner in inside for name in reads(inner))]


def arguments(node: NodeProto, values: Sequence[Any], opset: int) -> dict[str, Any]:
    """A node's attributes and inputs by the names of its operator's schema, defaults filled in.

    Args:
        values: its inputs in order; arrays become tensors of torch, anything else stays.

    Raises:
        NotCovered: for an argument that no rule can read.
    """
    schema = _schema(node.op_type, opset)
    return {**_attributes(node, schema), **_inputs(values, schema)}


def inferred(
    node: NodeProto, types: Mapping[str, TypeProto], constants: Mapping[str, NDArray[Any]], opset: int
) -> dict[str, TypeProto]:
    """Types and shapes of a node's results as ONNX states them; some may be missing.

    Args:
        types: types and shapes of all inputs.
        constants: those inputs that are known.

    Raises:
        NotCovered: if the node does not fit its inputs.
    """
    from onnx import checker, helper, numpy_helper, shape_inference

    data = {
        name: numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape))
        for name, value in constants.items()
        if value.ndim <= 1 and value.size <= SETTING
    }
    schema, version = _schema(node.op_type, opset), [helper.make_opsetid("", opset)]
    try:
        return shape_inference.infer_node_outputs(schema, node, dict(types), data, opset_imports=version)
    except (shape_inference.InferenceError, checker.ValidationError) as problem:
        raise NotCovered(f"it does not fit its inputs ({one_line(problem)})") from problem


def fold(node: NodeProto, values: Sequence[Any], opset: int) -> list[NDArray[Any]]:
    """Results of a node on constants (arrays, or None for an omitted input), computed by onnxruntime.

    Raises:
        NotCovered: if they cannot be computed.
        NoRoom: if they take more memory than there is to spare, as a few bytes of a file can request.
    """
    return runner(node, values, opset)(values)


def runner(node: NodeProto, values: Sequence[Any], opset: int) -> Callable[[Sequence[Any]], list[NDArray[Any]]]:
    """A function that runs a node alone, any number of times, on values with the shapes and types of ``values``.

    Raises:
        NotCovered, NoRoom: as :func:`fold`; the function returned raises the former as well.
    """
    from onnx import ValueInfoProto, helper

    def named(values: Sequence[Any]) -> dict[str, NDArray[Any]]:
        given = zip(node.input, values, strict=True)
        return {name: np.ascontiguousarray(v).reshape(v.shape) for name, v in given if v is not None}

    feeds = named(values)
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        raise NotCovered("it runs a graph of its own (a loop, a scan) on constants; store its result instead")
    _check_size(node, feeds, opset)
    try:
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in feeds.items()
        ]
        made = [ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], "constant", given, made)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        session = bare_session(model)
    except Exception as problem:  # onnxruntime's errors have no common class
        raise NotCovered(f"it cannot be computed from its constants ({one_line(problem)})") from problem

    def run(values: Sequence[Any]) -> list[NDArray[Any]]:
        try:
            results = iter(session.run(None, named(values)))
            return [np.array(next(results)) if name else np.zeros(0) for name in node.output]
        except Exception as problem:
            raise NotCovered(f"it cannot be computed from its constants ({one_line(problem)})") from problem

    return run


def _check_size(node: NodeProto, feeds: Mapping[str, NDArray[Any]], opset: int) -> None:
    """Refuse results on constants that would not fit into memory, by their inferred shapes."""
    from onnx import helper

    types = {
        name: helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in feeds.items()
    }
    try:
        results = inferred(node, types, feeds, opset)
    except NotCovered:  # the runtime will say what is wrong
        return
    for result in results.values():
        sizes = [axis.dim_value for axis in result.tensor_type.shape.dim]
        check_room(f"a constant that {node.op_type} makes", 8 * math.prod(sizes))


def _schema(kind: str, opset: int) -> OpSchema:
    """The schema of an operator; onnxruntime may accept more than ONNX states."""
    from onnx import defs

    if not defs.has(kind, opset):
        raise NotCovered(f"opset {opset} of ONNX has no {kind}, newer ones have")
    schema = defs.get_schema(kind, opset)
    if schema.deprecated:
        raise NotCovered(f"opset {opset} of ONNX has deprecated {kind}, export with another one")
    return schema


def _inputs(values: Sequence[Any], schema: OpSchema) -> dict[str, Any]:
    """A node's inputs by formal name: None where one is left out, a list for a variadic one."""
    given = [_tensor(value) for value in values]
    named: dict[str, Any] = {}
    for place, parameter in enumerate(schema.inputs):
        if parameter.option == parameter.option.Variadic:
            named[parameter.name] = given[place:]
        else:
            named[parameter.name] = given[place] if place < len(given) else None
    return named


def _tensor(value: Any) -> Any:
    """A constant as a tensor of torch; a value as it is."""
    if not isinstance(value, np.ndarray):
        return value
    try:
        return torch.from_numpy(np.array(value))
    except TypeError as problem:
        raise NotCovered(f"it reads a constant of type {value.dtype}") from problem


def _attributes(node: NodeProto, schema: OpSchema) -> dict[str, Any]:
    """A node's attributes by name, defaults filled in; None for one that has none."""
    given = {attribute.name: attribute for attribute in node.attribute}
    return {name: _content(given.get(name, known.default_value)) for name, known in schema.attributes.items()}


def _content(attribute: AttributeProto) -> Any:
    from onnx import GraphProto, TensorProto, helper, numpy_helper

    if not attribute.type:
        return None
    value = helper.get_attribute_value(attribute)
    if isinstance(value, GraphProto):
        raise NotCovered("it runs a graph of its own")
    if isinstance(value, TensorProto):
        return _tensor(numpy_helper.to_array(value))
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (int, float)):
        return value
    return [entry.decode() if isinstance(entry, bytes) else entry for entry in value]
