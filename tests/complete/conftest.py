"""Small networks as ONNX files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from certify.bounds.importers.onnx_file import OnnxFile, read_onnx

Weights = list[tuple[np.ndarray, np.ndarray]]


def layers(weights: Weights) -> OnnxFile:
    """A ReLU network from weights (out, in) and biases, one layer each."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, stored, name = [], [], "x"
    for i, (w, b) in enumerate(weights):
        if i:
            nodes.append(helper.make_node("Relu", [name], [f"r{i}"]))
            name = f"r{i}"
        stored += [numpy_helper.from_array(np.float32(w), f"w{i}"), numpy_helper.from_array(np.float32(b), f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [f"y{i}"], transB=1))
        name = f"y{i}"
    sizes = (weights[0][0].shape[1], weights[-1][0].shape[0])
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, n]) for end, n in zip(("x", name), sizes, strict=True)
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return read_onnx(model.SerializeToString())


@pytest.fixture(scope="session")
def network() -> Callable[[Weights], OnnxFile]:
    """What makes a file of weights."""
    pytest.importorskip("onnxruntime")
    return layers


@pytest.fixture(scope="session")
def identity(network) -> OnnxFile:
    """Three inputs that are the outputs."""
    return network([(np.eye(3), np.zeros(3))])
