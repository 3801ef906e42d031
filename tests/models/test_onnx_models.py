"""``FILE.onnx`` as a classifier: scores, gradients, digests, bounds, and what happens without a rule."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import certify
from certify.bounds.importers.graph_module import GraphModule
from certify.bounds.importers.torch_import import import_module
from certify.bounds.output import network_graph, output_bounds
from certify.bounds.rules.base import ONNX
from certify.errors import BadInput, DataError, ModelError, UnsupportedOperator
from certify.models.classifier import Classifier, Normalize
from certify.models.digest import module_digest
from certify.models.loaders import load_model

W1 = np.array([[1.0, -1.0], [2.0, 0.5], [-1.0, 1.0]], dtype=np.float32)
W2 = np.array([[1.0, 0.0, -1.0], [0.5, 1.0, 1.0]], dtype=np.float32)

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a network of two layers on (batch, 2) inputs; returns its SPEC."""

    def file(name: str = "net.onnx", first: np.ndarray = W1, alpha: float = 1.0, batch: object = "n") -> str:
        nodes = [
            helper.make_node("Gemm", ["x", "W1"], ["h"], name="first", transB=1),
            helper.make_node("Relu", ["h"], ["r"], name="bend"),
            helper.make_node("Gemm", ["r", "W2"], ["y"], name="second", transB=1, alpha=alpha),
        ]
        stored = [numpy_helper.from_array(first, "W1"), numpy_helper.from_array(W2, "W2")]
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 2]) for name in "xy")
        graph = helper.make_graph(nodes, "net", [x], [y], stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save_model(model, str(tmp_path / name))
        return str(tmp_path / name)

    return file


def expected(x: torch.Tensor) -> torch.Tensor:
    return (x @ torch.tensor(W1).T).clamp(min=0) @ torch.tensor(W2).T


@pytest.mark.parametrize("batch", ["n", 1])
def test_a_file_is_a_differentiable_classifier(write: Write, batch: object) -> None:
    clf = load_model(write(batch=batch))
    assert (clf.name, clf.num_classes, clf.input_box, clf.differentiable) == ("net.onnx", 2, (0.0, 1.0), True)
    x = torch.linspace(0, 1, 10).reshape(5, 2).requires_grad_()
    clf.scores(x).square().sum().backward()
    again = x.detach().clone().requires_grad_()
    expected(again).square().sum().backward()
    assert torch.allclose(clf.scores(x), expected(x))
    assert torch.allclose(x.grad, again.grad)


def test_every_certifier_and_attack_takes_it(write: Write) -> None:
    clf = load_model(write())
    x = torch.tensor([[0.9, 0.1], [0.2, 0.7]])
    labels = expected(x).argmax(dim=1)
    linf = certify.ThreatModel("linf", (0.0, 0.01))
    proofs = certify.bound(clf, x, labels, threat=linf, method="crown")
    assert all(proof.radius is not None and proof.radius > 0.01 for proof in proofs)
    found = certify.attack(clf, x, labels, threat=certify.ThreatModel("linf", (0.0, 1.0)), attack="pgd")
    assert all(
        finding.distance > proof.radius for finding, proof in zip(found, proofs, strict=True) if finding.distance
    )
    smoothed = certify.smooth(clf, x, labels, threat=certify.ThreatModel("l2", (0.0,)), sigma=0.1, n=100, n0=10)
    assert [certificate.prediction for certificate in smoothed] == labels.tolist()


def test_its_graph_is_read_directly_and_follows_a_normalization(write: Write) -> None:
    clf = load_model(write())
    graph = network_graph(clf, torch.zeros(1, 2))
    assert [node.name for node in graph.nodes] == ["first", "bend", "second"]
    normalized = nn.Sequential(Normalize([0.5], [0.25]), clf.module).eval()
    chain = network_graph(Classifier(normalized, 2), torch.zeros(1, 2))
    assert [node.name for node in chain.nodes][2:] == ["first", "bend", "second"]
    x = torch.tensor([[0.9, 0.1], [0.2, 0.7]])
    assert torch.allclose(chain.forward(x), expected((x - 0.5) / 0.25), atol=1e-6)
    lower, upper = output_bounds(clf, x, x)
    assert bool(((lower <= expected(x)) & (expected(x) <= upper)).all())


def test_a_digest_covers_weights_and_settings(write: Write) -> None:
    digest = load_model(write()).digest
    assert load_model(write("copy.onnx")).digest == digest
    changed = W1.copy()
    changed[0, 0] = np.nextafter(changed[0, 0], np.float32(2))
    assert load_model(write(first=changed)).digest != digest
    assert load_model(write(alpha=2.0)).digest != digest
    plain, gapped = (nn.Conv2d(1, 1, 2, padding=1, dilation=gap).requires_grad_(False) for gap in (1, 2))
    gapped.load_state_dict(plain.state_dict())
    graphs = [import_module(conv, torch.zeros(1, 1, 4, 4)) for conv in (plain, gapped)]
    assert len({module_digest(GraphModule(graph)) for graph in graphs}) == 2


def test_its_tensors_are_those_of_the_module(write: Write) -> None:
    module = copy.deepcopy(load_model(write()).module)
    assert list(module.state_dict()) == ["0_first_weight", "2_second_weight"]
    module.double()
    assert module.graph.dtype == torch.float64
    assert module(torch.ones(3, 2)).dtype == torch.float64
    module.load_state_dict({name: 0 * tensor for name, tensor in module.state_dict().items()})
    assert not module(torch.ones(3, 2)).any()


def test_samples_of_another_shape_are_refused(write: Write) -> None:
    clf = load_model(write())
    x = torch.zeros(3, 1, 2)
    with pytest.raises(DataError, match=r"takes inputs of shape \(2,\), got \(1, 2\); reshape the data"):
        clf.check(x)
    with pytest.raises(DataError, match="takes inputs of shape"):
        output_bounds(clf, x, x)


def test_without_a_rule_smoothing_still_works_and_bounds_name_the_operator(
    write: Write, scoped: Callable[..., Any]
) -> None:
    spec = write()
    ONNX["Relu"]
    del scoped(ONNX)["Relu"]
    clf = load_model(spec)
    assert not clf.differentiable
    assert clf.digest != load_model(write(alpha=2.0)).digest
    x = torch.tensor([[0.9, 0.1], [0.2, 0.7]])
    assert torch.allclose(clf.scores(x), expected(x))
    smoothed = certify.smooth(clf, x, threat=certify.ThreatModel("l2", (0.0,)), sigma=0.1, n=50, n0=10)
    assert [certificate.prediction for certificate in smoothed] == expected(x).argmax(dim=1).tolist()
    with pytest.raises(UnsupportedOperator, match=r"node bend \(Relu\) has no rule: .*smoothing, which needs none"):
        certify.bound(clf, x, threat=certify.ThreatModel("linf", (0.0,)))


def test_what_is_no_such_file_is_refused_in_one_line(write: Write, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^no file 'absent\.onnx'$"):
        load_model("absent.onnx")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match=r"^[^\n]*empty\.onnx states no opset, or is no ONNX file[^\n]*$"):
        load_model(str(tmp_path / "empty.onnx"))


def test_a_published_network_classifies_as_published(bench_data: Path) -> None:
    clf = load_model(str(bench_data / "networks/colt/mnist_0.1.onnx"))
    images = np.load(bench_data / "networks/images/mnist_test_1000.npz")
    x = torch.tensor(images["x"].astype(np.float32) / np.float32(255))
    y = torch.tensor(images["y"]).long()
    assert int((clf.predict(x) == y).sum()) == 978
    normalized = Classifier(clf.module, 10, mean=[0.1307], std=[0.3081])
    assert int((normalized.predict(x) == y).sum()) == 990
    graph = network_graph(normalized, x[:1])
    assert [node.operator.kind for node in graph.nodes][2:] == [node.operator.kind for node in clf.module.graph.nodes]


def test_two_classes_and_a_softmax_at_the_end(tmp_path: Path) -> None:
    """Its graph picks one entry of each pair: a tensor of one number, whose stride is not 1."""
    nodes = [helper.make_node("Gemm", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["y"], axis=1)]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2])] for name in "xy"]
    graph = helper.make_graph(nodes, "net", *ends, [numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save_model(model, str(tmp_path / "net.onnx"))
    clf = load_model(str(tmp_path / "net.onnx"))
    x = torch.tensor([[0.8, 0.3], [0.3, 0.8]])
    threat = certify.ThreatModel("linf", radii=(0.0, 0.2))
    for found in (
        certify.bound(clf, x, threat=threat, method="crown"),
        certify.smooth(clf, x, threat=certify.ThreatModel("l2", radii=(0.0, 0.2)), sigma=0.25, n=2000, seed=0),
    ):
        assert [one.prediction for one in found] == [0, 1]
        assert all(one.radius > 0.1 for one in found)
