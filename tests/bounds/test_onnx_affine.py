"""Affine operators as ONNX spells them, in old and new versions. The importer compares each with onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.methods import METHODS
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.data.dataset import seeded_generator
from certify.errors import UnsupportedOperator

LINE, TOKENS, IMAGE, VOLUME = (6,), (4, 6), (2, 5, 4), (2, 3, 4, 3)


def net(kind, inputs, shape, opset, *, batch="N", outputs="y", **given) -> bytes:
    """A network of one node: ``inputs`` names its inputs in order, x the network's; ``given`` holds the others, a tuple
    being the shape of one to draw; everything else is an attribute."""
    generator = seeded_generator("onnx", kind, inputs)
    constants, attributes = {}, {}
    for name, value in given.items():
        if name not in inputs.split():
            attributes[name] = value
        elif isinstance(value, tuple):
            values = generator.normal(size=value)
            constants[name] = np.asarray(abs(values) if name == "variance" else values, dtype=np.float32)
        else:
            constants[name] = np.asarray(value)
    wanted = ["" if name == "-" else name for name in inputs.split()]
    nodes = [helper.make_node(kind, wanted, outputs.split(), name="only", **attributes)]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    sizes = list(shape) if batch is None else [batch, *shape]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)
    last = outputs.split()[-1]
    y = helper.make_tensor_value_info(last, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def ints(*values):
    return np.array(values, dtype=np.int64)


F32 = np.float32
CEIL = {"strides": [2, 3], "ceil_mode": 1}
FORMS = {
    "Gemm": ("Gemm", "x W b", LINE, 13, {"W": (3, 6), "b": (3,), "transB": 1}),
    "Gemm without C": ("Gemm", "x W", LINE, 11, {"W": (6, 3)}),
    "Gemm scaled": ("Gemm", "x W b", LINE, 9, {"W": (6, 3), "b": (1,), "alpha": 0.5, "beta": -2.0}),
    "Gemm of one sample": ("Gemm", "W x b", TOKENS, 13, {"W": (3, 4), "b": (6,), "batch": None}),
    "Gemm transposed": ("Gemm", "x W b", TOKENS, 13, {"W": (4, 3), "b": (6, 3), "batch": None, "transA": 1}),
    "MatMul": ("MatMul", "x W", TOKENS, 8, {"W": (6, 3)}),
    "MatMul left": ("MatMul", "W x", TOKENS, 13, {"W": (3, 4)}),
    "MatMul vector": ("MatMul", "x W", TOKENS, 13, {"W": (6,)}),
    "MatMul one sample": ("MatMul", "x W", LINE, 13, {"W": (6, 2), "batch": None}),
    "MatMul per head": ("MatMul", "x W", IMAGE, 13, {"W": (1, 2, 4, 3)}),
    "Einsum": ("Einsum", "x W", IMAGE, 12, {"W": (2, 5, 3), "equation": "bhij,hik->bhkj"}),
    "Conv": ("Conv", "x W b", IMAGE, 11, {"W": (4, 1, 3, 2), "b": (4,), "group": 2, "pads": [1, 1, 1, 1]}),
    "Conv uneven pads": ("Conv", "x W", IMAGE, 11, {"W": (3, 2, 3, 2), "pads": [0, 1, 2, 0], "strides": [1, 2]}),
    "Conv upper": ("Conv", "x W", IMAGE, 13, {"W": (1, 2, 2, 3), "auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    "Conv lower": ("Conv", "x W", IMAGE, 8, {"W": (1, 2, 2, 2), "auto_pad": "SAME_LOWER"}),
    "Conv valid": ("Conv", "x W", IMAGE, 8, {"W": (1, 2, 2, 2), "auto_pad": "VALID", "dilations": [2, 1]}),
    "Conv 1d": ("Conv", "x W", TOKENS, 11, {"W": (2, 4, 3), "pads": [0, 1]}),
    "Conv 3d": ("Conv", "x W", VOLUME, 11, {"W": (2, 2, 2, 2, 2)}),
    "ConvTranspose": ("ConvTranspose", "x W b", IMAGE, 11, {"W": (2, 3, 2, 3), "b": (3,), "strides": [2, 2]}),
    "ConvTranspose pads": (
        "ConvTranspose",
        "x W",
        IMAGE,
        11,
        {"W": (2, 1, 3, 3), "pads": [1, 0, 0, 2], "strides": [2, 2], "output_padding": [1, 1], "group": 2},
    ),
    "ConvTranspose shape": (
        "ConvTranspose",
        "x W",
        IMAGE,
        11,
        {"W": (2, 1, 3, 3), "strides": [2, 2], "output_shape": [10, 8]},
    ),
    "ConvTranspose upper": (
        "ConvTranspose",
        "x W",
        IMAGE,
        13,
        {"W": (2, 1, 3, 3), "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    ),
    "ConvTranspose upper, batch of 1": (
        "ConvTranspose",
        "x W",
        IMAGE,
        13,
        {"W": (2, 1, 3, 3), "strides": [2, 3], "auto_pad": "SAME_UPPER", "batch": 1},
    ),
    "AveragePool": ("AveragePool", "x", IMAGE, 10, {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}),
    "AveragePool counted": (
        "AveragePool",
        "x",
        IMAGE,
        11,
        {"kernel_shape": [2, 3], "pads": [0, 1, 1, 2], "count_include_pad": 1, "strides": [2, 1]},
    ),
    "AveragePool uneven": ("AveragePool", "x", IMAGE, 19, {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER"}),
    "AveragePool behind the image": ("AveragePool", "x", (1, 5, 6), 12, {**CEIL, "kernel_shape": [2, 2]}),
    "AveragePool upper, ceil": (
        "AveragePool",
        "x",
        (1, 5, 6),
        19,
        {**CEIL, "kernel_shape": [3, 2], "auto_pad": "SAME_UPPER"},
    ),
    "AveragePool 1d": ("AveragePool", "x", TOKENS, 8, {"kernel_shape": [3]}),
    "GlobalAveragePool": ("GlobalAveragePool", "x", IMAGE, 8, {}),
    "BatchNormalization": (
        "BatchNormalization",
        "x g b m variance",
        IMAGE,
        8,
        {"g": (2,), "b": (2,), "m": (2,), "variance": (2,)},
    ),
    "BatchNormalization 15": (
        "BatchNormalization",
        "x g b m variance",
        LINE,
        15,
        {"g": (6,), "b": (6,), "m": (6,), "variance": (6,), "epsilon": 0.1},
    ),
    "Add": ("Add", "x W", TOKENS, 8, {"W": (1, 4, 1)}),
    "Sub from": ("Sub", "W x", LINE, 13, {"W": (6,)}),
    "Mul enlarging": ("Mul", "W x", (2, 1, 4), 14, {"W": (5, 1)}),
    "Mul one sample": ("Mul", "x W", LINE, 14, {"W": (2, 1, 6), "batch": None}),
    "Div": ("Div", "x W", LINE, 14, {"W": (1,)}),
    "Neg": ("Neg", "x", LINE, 8, {}),
    "Sum": ("Sum", "W x x", LINE, 13, {"W": (6,)}),
    "Mean": ("Mean", "x W x", LINE, 8, {"W": (1, 6)}),
    "Where": ("Where", "c x W", LINE, 9, {"c": np.arange(6) > 2, "W": (6,)}),
    "Reshape": ("Reshape", "x s", IMAGE, 8, {"s": ints(-1, 40)}),
    "Reshape batch of 1": ("Reshape", "x s", IMAGE, 13, {"s": ints(1, -1, 8), "batch": 1}),
    "Reshape copying": ("Reshape", "x s", IMAGE, 14, {"s": ints(0, 0, -1)}),
    "Reshape one sample": ("Reshape", "x s", TOKENS, 13, {"s": ints(3, -1), "batch": None}),
    "Flatten": ("Flatten", "x", IMAGE, 8, {}),
    "Flatten back": ("Flatten", "x", IMAGE, 11, {"axis": -3}),
    "Flatten one sample": ("Flatten", "x", IMAGE, 11, {"axis": 2, "batch": None}),
    "Squeeze": ("Squeeze", "x", (1, 6, 1), 11, {"axes": [1, -1]}),
    "Squeeze 13": ("Squeeze", "x a", (1, 6, 1), 13, {"a": ints(3)}),
    "Unsqueeze": ("Unsqueeze", "x", TOKENS, 8, {"axes": [1, 4]}),
    "Unsqueeze 13": ("Unsqueeze", "x a", TOKENS, 13, {"a": ints(-1, 2)}),
    "Transpose": ("Transpose", "x", IMAGE, 8, {"perm": [0, 2, 3, 1]}),
    "Transpose one sample": ("Transpose", "x", IMAGE, 13, {"batch": None}),
    "Slice": ("Slice", "x", IMAGE, 9, {"starts": [1, 0], "ends": [9, -1], "axes": [2, 3]}),
    "Slice back": (
        "Slice",
        "x s e a t",
        IMAGE,
        13,
        {"s": ints(-1, 0), "e": ints(-(2**63), 9), "a": ints(2, -1), "t": ints(-2, 3)},
    ),
    "Gather": ("Gather", "x i", TOKENS, 11, {"i": np.array([[0, -1], [2, 2]]), "axis": 2}),
    "Gather one": ("Gather", "x i", TOKENS, 8, {"i": np.array(1), "axis": 1}),
    "Split": ("Split", "x", TOKENS, 11, {"split": [1, 3], "axis": 1, "outputs": "a y"}),
    "Split evenly": ("Split", "x", TOKENS, 13, {"axis": -1, "outputs": "a b y"}),
    "Split 18": ("Split", "x", IMAGE, 18, {"axis": 2, "num_outputs": 2, "outputs": "a y"}),
    "Split sizes": ("Split", "x s", TOKENS, 13, {"s": ints(1, 5), "axis": 2, "outputs": "a y"}),
    "Expand": ("Expand", "x s", (1, 6), 13, {"s": ints(1, 3, 6)}),
    "Expand one sample": ("Expand", "x s", LINE, 8, {"s": ints(2, 1), "batch": None}),
    "Tile": ("Tile", "x r", TOKENS, 13, {"r": ints(1, 2, 1)}),
    "Pad": ("Pad", "x", IMAGE, 8, {"pads": [0, 0, 1, 0, 0, 0, 2, 1], "value": 0.1}),
    "Pad 18": (
        "Pad",
        "x p v a",
        IMAGE,
        18,
        {"p": ints(1, 0, 0, 2), "v": np.array(0.1, F32), "a": ints(2, -1)},
    ),
    "Pad reflect": ("Pad", "x p", TOKENS, 13, {"p": ints(0, 0, 2, 0, 1, 3), "mode": "reflect"}),
    "Pad edge": ("Pad", "x p", TOKENS, 11, {"p": ints(0, 2, 0, 0, 0, 1), "mode": "edge"}),
    "Pad wrap, cutting": ("Pad", "x p", TOKENS, 19, {"p": ints(0, -1, 2, 0, 2, -1), "mode": "wrap"}),
    "Pad reflect, cutting": ("Pad", "x p", TOKENS, 19, {"p": ints(0, -1, 2, 0, 1, -1), "mode": "reflect"}),
    "Pad cutting": ("Pad", "x p", IMAGE, 13, {"p": ints(0, 0, -1, 1, 0, 0, 0, -2)}),
    "Concat": ("Concat", "W x x", TOKENS, 13, {"W": (1, 1, 6), "axis": 1, "batch": 1}),
    "Upsample": ("Upsample", "x s", IMAGE, 9, {"s": np.array([1, 1, 2, 3], F32)}),
    "Resize 10": ("Resize", "x s", IMAGE, 10, {"s": np.array([1, 1, 2, 2], F32)}),
    "Resize": ("Resize", "x - s", IMAGE, 13, {"s": np.array([1, 1, 2, 3], F32)}),
    "Resize to a size": (
        "Resize",
        "x - - n",
        IMAGE,
        18,
        {"n": ints(10, 2), "axes": [2, 3], "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"},
    ),
    "Resize linear": ("Resize", "x - s", IMAGE, 13, {"s": np.array([1, 1, 2, 0.5], F32), "mode": "linear"}),
    "Resize aligned": (
        "Resize",
        "x - - n",
        IMAGE,
        19,
        {"n": ints(1, 2, 9, 4), "mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    "Squeeze of all axes": ("Squeeze", "x", (1, 6), 13, {}),
    "DepthToSpace": ("DepthToSpace", "x", (8, 2, 1), 13, {"blocksize": 2}),
    "DepthToSpace CRD": ("DepthToSpace", "x", (8, 2, 1), 11, {"blocksize": 2, "mode": "CRD"}),
    "SpaceToDepth": ("SpaceToDepth", "x", (2, 4, 2), 8, {"blocksize": 2}),
    "Trilu": ("Trilu", "x k", TOKENS, 14, {"k": np.array(1), "upper": 0}),
    "ReduceSum": ("ReduceSum", "x", IMAGE, 11, {"axes": [1, -1], "keepdims": 0}),
    "ReduceSum 13": ("ReduceSum", "x a", IMAGE, 13, {"a": ints(2)}),
    "ReduceMean": ("ReduceMean", "x", IMAGE, 13, {"axes": [2, 3]}),
    "ReduceMean 18": ("ReduceMean", "x a", IMAGE, 18, {"a": ints(1), "keepdims": 0}),
    "ReduceMean one sample": ("ReduceMean", "x", TOKENS, 11, {"batch": None}),
    "CumSum": ("CumSum", "x a", TOKENS, 14, {"a": np.array(1), "exclusive": 1, "reverse": 1}),
}


def read(name):
    kind, inputs, shape, opset, given = FORMS[name]
    return import_onnx(net(kind, inputs, shape, opset, **given))


@pytest.mark.parametrize("name", FORMS)
def test_bounds_of_affine_nodes_are_exact(name):
    graph, generator = read(name).to(torch.float64), seeded_generator("onnx affine", name)
    center = torch.as_tensor(generator.normal(size=(2, *graph.shape)))
    radius = torch.as_tensor(generator.uniform(size=center.shape))
    units = torch.eye(center[0].numel()).double().reshape(-1, *graph.shape)
    W = (graph.forward(units) - graph.forward(torch.zeros_like(units))).flatten(1)
    reach, y = radius.flatten(1) @ W.abs(), graph.forward(center).flatten(1)
    region = Region(Interval(center - radius, center + radius))
    rows = torch.eye(y.shape[1]).double().expand(2, -1, -1)
    lower, upper = METHODS["crown"](graph, region, torch.cat([rows, -rows], dim=1)).lower.chunk(2, dim=1)
    for found, exact in ((lower, y - reach), (-upper, y + reach)):
        assert torch.allclose(found, exact, rtol=1e-9, atol=1e-9)


REFUSED = {
    "Transpose": ("Transpose", "x", TOKENS, 13, {"perm": [1, 0, 2]}),
    "ReduceSum": ("ReduceSum", "x", TOKENS, 11, {"axes": [0]}),
    "Reshape": ("Reshape", "x s", TOKENS, 13, {"s": ints(-1, 6)}),
    "Concat": ("Concat", "x x", TOKENS, 13, {"axis": 0}),
    "Gather": ("Gather", "x i", TOKENS, 13, {"i": ints(0), "axis": 0}),
    "Resize": ("Resize", "x - s", IMAGE, 13, {"s": np.array([1, 1, 2, 2], F32), "mode": "cubic"}),
    "Pad": ("Pad", "x p", IMAGE, 19, {"p": ints(1, 0, 0, 0, 0, 0, 0, 0)}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_mixes_samples_or_has_no_rule_is_refused(name):
    kind, inputs, shape, opset, given = REFUSED[name]
    with pytest.raises(UnsupportedOperator, match=rf"node only \({kind}\) has no rule: .*smoothing") as caught:
        import_onnx(net(kind, inputs, shape, opset, **given))
    assert "\n" not in str(caught.value)


def test_nodes_that_change_nothing_vanish():
    names = "xabcy"
    kinds = (("Identity", {}), ("Dropout", {"ratio": 0.3}), ("Cast", {"to": TensorProto.FLOAT}), ("Neg", {}))
    nodes = [
        helper.make_node(kind, [names[i]], [names[i + 1]], **attributes) for i, (kind, attributes) in enumerate(kinds)
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in "xy")
    file = helper.make_model(
        helper.make_graph(nodes, "net", [x], [y]), opset_imports=[helper.make_opsetid("", 10)], ir_version=8
    )
    assert [node.operator.kind for node in import_onnx(file.SerializeToString()).nodes] == ["scale_shift"]
