"""Linear models of scikit-learn as converters write them. The importer compares each with onnxruntime."""

from __future__ import annotations

import pytest
import torch
from onnx import TensorProto, helper

from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.importers.onnx_model import load_onnx
from certify.bounds.output import output_bounds
from certify.data.dataset import seeded_generator
from certify.errors import UnsupportedOperator

g = seeded_generator("linear models")
COEFFICIENTS, INTERCEPTS = g.normal(size=12).tolist(), g.normal(size=3).tolist()
LINEAR = {"coefficients": COEFFICIENTS, "intercepts": INTERCEPTS}


def ml(kind, inputs, outputs, **settings):
    return helper.make_node(kind, inputs.split(), outputs.split(), domain="ai.onnx.ml", **settings)


def classifier(transform):
    return ml(
        "LinearClassifier",
        "s",
        "label z",
        classlabels_ints=[0, 1, 2],
        post_transform=transform,
        multi_class=1,
        **LINEAR,
    )


SCALER = ml("Scaler", "x", "s", offset=[0.5, -1.0, 0.0, 2.0], scale=[2.0, 0.5, 1.0, -1.0])
PIPELINES = {
    "scaled": [SCALER],
    "regression": [SCALER, ml("LinearRegressor", "s", "y", targets=3, **LINEAR)],
    "softmax": [SCALER, classifier("SOFTMAX"), ml("ZipMap", "z", "y", classlabels_int64s=[0, 1, 2])],
    "one against the rest": [
        SCALER, classifier("LOGISTIC"), ml("Normalizer", "z", "p", norm="L1"),
        ml("ZipMap", "p", "y", classlabels_int64s=[0, 1, 2]),
    ],
    "unit length": [SCALER, classifier("LOGISTIC"), ml("Normalizer", "z", "y", norm="L2")],
}  # fmt: skip


def pipeline(nodes, opset) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])
    names = {name for node in nodes for name in node.output} - {name for node in nodes for name in node.input}
    outputs = []
    for name in sorted(names):
        if name == "label":
            outputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, None))
        elif any(node.op_type == "ZipMap" for node in nodes):
            element = helper.make_map_type_proto(
                TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
            )
            outputs.append(helper.make_value_info(name, helper.make_sequence_type_proto(element)))
        else:
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(helper.make_graph(nodes, "net", [x], outputs), opset_imports=opsets, ir_version=8)
    return model.SerializeToString()


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("name", PIPELINES)
def test_linear_models_are_bounded(name, opset, tmp_path):
    (tmp_path / "net.onnx").write_bytes(pipeline(PIPELINES[name], opset))
    clf = load_onnx(tmp_path / "net.onnx", input_box=None)
    x = torch.as_tensor(g.uniform(0.5, 1.0, size=(2, 4)), dtype=torch.float32)
    lower, upper = output_bounds(clf, x - 0.1, x + 0.1)
    shares = torch.as_tensor(g.uniform(-0.1, 0.1, size=(100, 2, 4)), dtype=torch.float32)
    y = torch.stack([clf.scores(x + share) for share in shares])
    assert ((lower - 1e-6 <= y) & (y <= upper + 1e-6)).all()
    assert clf.num_classes == y.shape[2]


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (ml("Binarizer", "x", "y", threshold=0.5), "Binarizer.* only Scaler"),
        (ml("LinearRegressor", "x", "y", coefficients=[1.0] * 4, post_transform="PROBIT"), "PROBIT"),
    ],
)
def test_other_forms_are_refused_by_name(node, words):
    with pytest.raises(UnsupportedOperator, match=words):
        import_onnx(pipeline([node], 13))
