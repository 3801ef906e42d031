"""ONNX files that onnxruntime runs and no bound can read: trees, several inputs, integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from certify.bounds.output import output_bounds
from certify.certifiers.smooth import smooth
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput, CertifyError, ModelError, UnsupportedOperator
from certify.models.loaders import load_model

ADAPTERS = """
def both(x):
    return {"age": (100 * x[:, :1]).round().long().numpy(), "rest": x[:, 1:].numpy()}

def missing(x):
    return {"age": x[:, :1].numpy()}

def none(x):
    return x
"""


def written(path: Path, nodes, inputs, outputs) -> Path:
    domains = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph(nodes, "net", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), path)
    return path


def tensor(name: str, kind: int, *sizes: int | str):
    return helper.make_tensor_value_info(name, kind, sizes)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "adapters_of_a_test.py").write_text(ADAPTERS)
    monkeypatch.chdir(tmp_path)
    nodes = [
        helper.make_node("Cast", ["age"], ["years"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["years", "rest"], ["row"], axis=1),
        helper.make_node("ReduceSum", ["row"], ["total"], keepdims=0),
        helper.make_node("Identity", ["row"], ["scores"]),
    ]
    given = [tensor("age", TensorProto.INT64, 1, 1), tensor("rest", TensorProto.FLOAT, 1, 1)]
    written(tmp_path / "two.onnx", nodes[:2] + nodes[3:], given, [tensor("scores", TensorProto.FLOAT, 1, 2)])
    written(
        tmp_path / "several.onnx",
        nodes,
        given,
        [tensor("scores", TensorProto.FLOAT, 1, 2), tensor("total", TensorProto.FLOAT, 1)],
    )
    return tmp_path


def test_an_adapter_feeds_several_inputs_of_any_type(here):
    clf = load_model("adapters_of_a_test:both@two.onnx")
    assert (clf.num_classes, clf.differentiable) == (2, False)
    assert clf.scores(torch.tensor([[0.25, 0.5], [0.0, 0.75]])).tolist() == [[25.0, 0.5], [0.0, 0.75]]
    [certificate] = smooth(clf, [[0.9, 0.5]], [0], threat=ThreatModel("l2", (0.1,)), sigma=0.1, n=500)
    assert certificate.radius > 0
    assert clf.digest != load_model("adapters_of_a_test:missing@two.onnx").digest


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("two.onnx", ModelError, "smoothing an adapter: package.module:function@FILE.onnx"),
        ("adapters_of_a_test:both@several.onnx", ModelError, "2 outputs of floats (scores, total)"),
        ("adapters_of_a_test:both@absent.onnx", BadInput, "no file 'absent.onnx'"),
        ("adapters_of_a_test:nobody@two.onnx", BadInput, "has no function 'nobody'"),
    ],
)
def test_files_and_adapters_that_do_not_fit_are_one_line(here, spec, error, message):
    with pytest.raises(error) as refusal:
        load_model(spec)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("adapter", "message"), [("missing", "cannot be run on what its adapter made"), ("none", "dict")]
)
def test_an_adapter_that_makes_something_else_is_one_line(here, adapter, message):
    clf = load_model(f"adapters_of_a_test:{adapter}@two.onnx")
    with pytest.raises(CertifyError, match=message):
        clf.check(torch.tensor([[0.5, 0.5]]))


def test_trees_are_run_as_they_are_and_have_no_bounds(tmp_path):
    tree = helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[1, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        class_treeids=[0] * 4,
        class_nodeids=[1, 1, 2, 2],
        class_ids=[0, 1, 0, 1],
        class_weights=[1.0, 0.0, 0.0, 1.0],
        classlabels_int64s=[0, 1],
    )
    zipped = helper.make_node("ZipMap", ["probabilities"], ["named"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    named = onnx.ValueInfoProto(name="named")
    named.type.sequence_type.elem_type.map_type.key_type = TensorProto.INT64
    named.type.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = TensorProto.FLOAT
    outputs = [tensor("label", TensorProto.INT64, None), named]
    path = written(tmp_path / "tree.onnx", [tree, zipped], [tensor("x", TensorProto.FLOAT, None, 2)], outputs)
    clf = load_model(str(path))
    x = torch.tensor([[0.9, 0.2], [0.1, 0.8]])
    assert clf.predict(x).tolist() == [0, 1]
    [certificate] = smooth(clf, np.float32([[0.5, 0.9]]), [1], threat=ThreatModel("l2", (0.2,)), sigma=0.25, n=500)
    assert 0.2 < certificate.radius < 0.4
    with pytest.raises(UnsupportedOperator, match="TreeEnsembleClassifier"):
        output_bounds(clf, x, x)
