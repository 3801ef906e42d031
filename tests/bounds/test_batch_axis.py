"""Networks whose tensors have their batch axis elsewhere for a while, from torch and from ONNX."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.importers.torch_import import import_module
from certify.bounds.output import output_bounds
from certify.errors import ModelError, UnsupportedOperator

from .conftest import filled


class Around(nn.Module):
    """A function of a batch with some layers at hand."""

    def __init__(self, function: Callable[[Around, Tensor], Tensor], layer: nn.Module) -> None:
        super().__init__()
        self.function, self.layer = function, layer

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def linear(shape: tuple[int, ...] = (4, 3)) -> nn.Module:
    return nn.Linear(*shape)


APART: dict[str, tuple[Callable[[Around, Tensor], Tensor], Callable[[], nn.Module], tuple[int, ...]]] = {
    "permuted": (lambda m, x: m.layer(x.permute(1, 0, 2)).relu().permute(1, 0, 2).flatten(1), linear, (5, 4)),
    "first of a sequence": (lambda m, x: m.layer(x.transpose(0, 1)).relu()[0], linear, (5, 4)),
    "mean of a sequence": (lambda m, x: m.layer(x.transpose(0, 1)).relu().mean(0), linear, (5, 4)),
    "two of two": (lambda m, x: m.layer(x.transpose(0, 1)).relu().transpose(0, 1).flatten(1), linear, (2, 4)),
    "folded": (lambda m, x: m.layer(x.reshape(-1, 4)).relu().reshape(x.shape[0], -1), linear, (5, 4)),
    "folded images": (
        lambda m, x: m.layer(x.reshape(-1, 1, 4, 4)).relu().reshape(x.shape[0], 3, -1).mean(1),
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.MaxPool2d(2)),
        (3, 4, 4),
    ),
    "encoder": (
        lambda m, x: m.layer(x.transpose(0, 1)).transpose(0, 1).mean(1),
        lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=False),
        (3, 4),
    ),
    "attention": (
        lambda m, x: m.layer(x, x, x)[0].mean(1),
        lambda: nn.MultiheadAttention(4, 2, batch_first=True),
        (3, 4),
    ),
    "norm of features": (lambda m, x: m.layer(x.movedim(0, 2)[:, 0].T), lambda: nn.LayerNorm(4), (4, 2)),
}
MIXED = {
    "softmax over the batch": lambda m, x: m.layer(x).softmax(0),
    "centred over the batch": lambda m, x: m.layer(x) - m.layer(x).mean(0),
    "all in one row": lambda m, x: m.layer(x).reshape(1, -1).relu().mean(1, keepdim=True) + x,
    "reversed": lambda m, x: m.layer(x).flip(0),
    "the first one's": lambda m, x: m.layer(x) + x[:1, :3],
    "transposed": lambda m, x: m.layer(x).T,
}


@pytest.mark.parametrize("name", APART)
def test_a_batch_axis_may_be_elsewhere_for_a_while(name: str, points: Callable[..., Tensor]) -> None:
    function, layer, shape = APART[name]
    module = filled(Around(function, layer()), "batch axis", name)
    x = points(name, 4, *shape)
    graph = import_module(module, x)
    assert graph.shape == shape
    assert torch.allclose(graph.forward(x), module(x), atol=1e-5)
    lower, upper = output_bounds(module, x - 0.01, x + 0.01, method="ibp")
    assert bool(((lower <= module(x)) & (module(x) <= upper)).all())


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_the_samples_of_a_batch_is_refused(name: str) -> None:
    module = filled(Around(MIXED[name], nn.Linear(4, 3 if name != "all in one row" else 4)), "mixed")
    with pytest.raises((UnsupportedOperator, ModelError), match=r"^[^\n]*(mixes|batch)[^\n]*$"):
        import_module(module, torch.zeros(1, 4))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", ["permuted", "folded images", "encoder"])
@pytest.mark.filterwarnings("ignore")
def test_so_it_may_in_a_file(name: str, dynamic: bool, points: Callable[..., Tensor]) -> None:
    function, layer, shape = APART[name]
    module = filled(Around(function, layer()), "batch axis", name)
    x, file = points(name, 4, *shape), io.BytesIO()
    axes = {"x": {0: "n"}} if dynamic else None
    torch.onnx.export(module, (x[:1],), file, opset_version=17, dynamo=False, dynamic_axes=axes, input_names=["x"])
    graph = import_onnx(file.getvalue())
    assert graph.shape == shape
    assert torch.allclose(graph.forward(x).flatten(1), module(x), atol=1e-5)


def network(nodes: list[onnx.NodeProto], sizes: list[object], opset: int = 13, **stored: object) -> bytes:
    arrays = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [x], [y], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def node(kind: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def test_a_batch_of_one_disappears_in_a_reshape(points: Callable[..., Tensor]) -> None:
    """Convolution, then one axis for everything: the file states that it takes one input at a time."""
    nodes = [
        node("Conv", "x w", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("Reshape", "r s", "f"),
        node("MatMul", "f v", "y"),
    ]
    w, v = points("w", 2, 1, 3, 3), points("v", 32, 3)
    graph = import_onnx(network(nodes, [1, 1, 4, 4], w=w.numpy(), s=np.array([-1]), v=v.numpy()))
    assert [one.operator.kind for one in graph.nodes][:2] == ["conv", "relu"]
    x = points("x", 5, 1, 4, 4)
    assert torch.allclose(graph.forward(x), torch.conv2d(x, w, padding=1).relu().flatten(1) @ v, atol=1e-5)


def test_a_batch_axis_appears_before_a_convolution(points: Callable[..., Tensor]) -> None:
    nodes = [
        node("Reshape", "x s", "a"),
        node("Conv", "a w", "c", kernel_shape=[4]),
        node("Relu", "c", "r"),
        node("Flatten", "r", "y"),
    ]
    w = points("w1", 2, 6, 4)
    graph = import_onnx(network(nodes, [6, 8], s=np.array([1, 6, 8]), w=w.numpy()))
    x = points("x1", 5, 6, 8)
    assert torch.allclose(graph.forward(x).flatten(1), torch.conv1d(x, w).relu().flatten(1), atol=1e-5)


def test_an_unknown_operator_is_named_behind_a_moved_batch_axis() -> None:
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("GlobalLpPool", "t", "d"), node("Relu", "d", "y")]
    for batch in (1, "n"):
        with pytest.raises(UnsupportedOperator, match="operator GlobalLpPool is unknown"):
            import_onnx(network(nodes, [batch, 3, 3]))
