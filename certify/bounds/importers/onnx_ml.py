"""Linear models of the domain ai.onnx.ml, as written for scikit-learn, translated to ONNX's own operators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from certify.errors import UnsupportedOperator

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

__all__ = ["lowered", "scores_only"]

DOMAIN = "ai.onnx.ml"
TRANSFORMS = {"NONE": None, "LOGISTIC": "Sigmoid", "SOFTMAX": "Softmax"}
NORMS = {"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}
AXES_AS_INPUT = 18
"""The version of ONNX's operators from which all of these reductions read their axes from an input."""


def scores_only(model: ModelProto) -> ModelProto:
    """The model without ``ZipMap``, which only names scores, and without outputs of labels, which follow from scores.

    Models without operators of that domain are returned unchanged.
    """
    from onnx import ModelProto, TensorProto, helper

    if all(node.domain != DOMAIN for node in model.graph.node):
        return model
    plain = ModelProto()
    plain.CopyFrom(model)
    named = {node.output[0]: node.input[0] for node in model.graph.node if _is(node, "ZipMap")}
    outputs = [
        helper.make_tensor_value_info(named[given.name], TensorProto.FLOAT, None) if given.name in named else given
        for given in model.graph.output
    ]
    scores = [given for given in outputs if given.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.DOUBLE)]
    del plain.graph.output[:], plain.graph.node[:]
    plain.graph.output.extend(scores or outputs)
    plain.graph.node.extend(node for node in model.graph.node if not _is(node, "ZipMap"))
    return plain


def lowered(model: ModelProto, opset: int) -> ModelProto:
    """The model with linear models, scalers and normalizers translated to sums, products and norms.

    Models without operators of that domain are returned unchanged.

    Raises:
        UnsupportedOperator: for other operators of that domain, and forms of these that are not covered.
    """
    from onnx import ModelProto

    if all(node.domain != DOMAIN for node in model.graph.node):
        return model
    plain, taken = ModelProto(), _names(model.graph)
    plain.CopyFrom(model)
    del plain.graph.node[:]
    for node in model.graph.node:
        if node.domain != DOMAIN:
            plain.graph.node.append(node)
            continue
        for part in _parts(node, opset, taken):
            (plain.graph.node if hasattr(part, "op_type") else plain.graph.initializer).append(part)
    return plain


def _names(graph: GraphProto) -> set[str]:
    """All names of results and stored tensors, those inside of branches too."""
    stored = {one.name for one in [*graph.initializer, *graph.input, *graph.output]}
    nodes = {name for node in graph.node for name in [*node.input, *node.output]}
    return stored.union(nodes, *(_names(one.g) for node in graph.node for one in node.attribute if one.HasField("g")))


def _is(node: NodeProto, kind: str) -> bool:
    return node.domain == DOMAIN and node.op_type == kind


def _parts(node: NodeProto, opset: int, taken: set[str]) -> Iterator[NodeProto | TensorProto]:
    """The nodes and stored tensors that replace one node."""
    from onnx import helper, numpy_helper

    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    result = node.output[-1]
    name = f"{node.domain}:{result}"
    while any(one.startswith(f"{name}/") for one in taken):  # avoid names that are taken
        name += "'"

    def stored(part: str, values: Any, dtype: Any = np.float32) -> TensorProto:
        return numpy_helper.from_array(np.asarray(values, dtype=dtype), f"{name}/{part}")

    if node.op_type == "Scaler":
        yield stored("offset", given["offset"])
        yield stored("scale", given["scale"])
        yield helper.make_node("Sub", [node.input[0], f"{name}/offset"], [f"{name}/moved"], f"{name}/moved")
        yield helper.make_node("Mul", [f"{name}/moved", f"{name}/scale"], [result], name)
    elif node.op_type == "Normalizer":
        axes: dict[str, Any] = {"axes": [1]} if opset < AXES_AS_INPUT else {}
        if not axes:
            yield stored("axes", [1], np.int64)
        inputs = [node.input[0], *([] if axes else [f"{name}/axes"])]
        yield helper.make_node(NORMS[given.get("norm", b"MAX").decode()], inputs, [f"{name}/norm"], **axes)
        yield helper.make_node("Div", [node.input[0], f"{name}/norm"], [result], name)
    elif node.op_type in ("LinearClassifier", "LinearRegressor"):
        count = _rows(node, given)
        transform = given.get("post_transform", b"NONE").decode()
        if transform not in TRANSFORMS:
            raise _refusal(node, f"its post_transform is {transform}")
        weight = np.asarray(given["coefficients"], dtype=np.float32).reshape(count, -1)
        yield stored("weight", weight.T)
        yield stored("bias", given.get("intercepts") or [0.0] * count)
        after = TRANSFORMS[transform]
        scores = result if after is None else f"{name}/scores"
        yield helper.make_node("Gemm", [node.input[0], f"{name}/weight", f"{name}/bias"], [scores], name)
        if after is not None:
            axis: dict[str, Any] = {"axis": 1} if after == "Softmax" else {}
            yield helper.make_node(after, [scores], [result], f"{name}/{transform.lower()}", **axis)
    else:
        raise _refusal(node, "only Scaler, Normalizer, LinearClassifier, LinearRegressor and ZipMap are read")


def _rows(node: NodeProto, given: dict[str, Any]) -> int:
    """How many scores a linear model has."""
    if node.op_type == "LinearRegressor":
        return int(given.get("targets", 1))
    labels = given.get("classlabels_ints") or given.get("classlabels_strings") or ()
    if len(given.get("intercepts") or labels) != len(labels) or len(labels) < 2:
        raise _refusal(node, "it has one score for two classes")
    return len(labels)


def _refusal(node: NodeProto, reason: str) -> UnsupportedOperator:
    return UnsupportedOperator(
        f"node {node.name or node.output[0]} ({node.domain}.{node.op_type}) has no rule: {reason}; "
        "use smoothing, which needs none"
    )
