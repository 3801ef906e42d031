"""From ONNX files to graphs: what is read, what is folded away, what is refused in one line."""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from certify.bounds.ibp import interval_bounds
from certify.bounds.importers.graph_module import GraphModule
from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.methods import METHODS
from certify.bounds.output import output_bounds
from certify.bounds.region import Region
from certify.bounds.rules.base import ONNX, NotCovered
from certify.bounds.rules.reshape import Reshape
from certify.bounds.rules.scale_shift import ScaleShift
from certify.bounds.tensors import Interval
from certify.errors import BadInput, MissingExtra, ModelError, UnsupportedOperator
from certify.models.classifier import Classifier

FLOAT, DOUBLE, HALF, INT = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64
W = np.array([[1.0, -2.0, 0.5, 3.0], [0.25, 1.0, -1.0, 2.0]], dtype=np.float32)


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), name=f"{kind}_of_{outputs.split()[0]}", **attributes)


def model(nodes, inputs, constants=(), outputs=("y",), opset=13, repeat=False, made=FLOAT):
    """The file of a graph; ``inputs`` are (name, type, sizes), and ``repeat`` lists constants as inputs too."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()]
    given = [helper.make_tensor_value_info(*entry) for entry in inputs]
    if repeat:
        given += [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in stored]
    results = [helper.make_tensor_value_info(name, made, None) for name in outputs]
    graph = helper.make_graph(nodes, "net", given, results, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def content(*args, **settings) -> bytes:
    return model(*args, **settings).SerializeToString()


def relu(sizes, kind=FLOAT, **settings) -> bytes:
    return content([node("Relu", "x", "y")], [("x", kind, sizes)], **settings)


FLATTEN = [
    node("Relu", "x", "positive"),
    node("Shape", "positive", "shape"),
    node("Constant", "", "zero", value=numpy_helper.from_array(np.array(0))),
    node("Gather", "shape zero", "batch", axis=0),
    node("Unsqueeze", "batch", "rows", axes=[0]),
    node("Constant", "", "rest", value=numpy_helper.from_array(np.array([-1]))),
    node("Concat", "rows rest", "target", axis=0),
    node("Reshape", "positive target", "flat"),
    node("Gemm", "flat W b", "y", transB=1),
]


@pytest.mark.parametrize("batch", [1, "batch", None])
@pytest.mark.parametrize(("opset", "repeat"), [(8, True), (9, False)])
def test_what_does_not_depend_on_the_input_vanishes(batch, opset, repeat, points):
    constants = {"W": W, "b": np.array([0.5, -0.5], dtype=np.float32), "unused": np.zeros(3, dtype=np.float32)}
    dead = node("ArgMax", "x", "nowhere", axis=1)
    file = content([*FLATTEN, dead], [("x", FLOAT, [batch, 1, 2, 2])], constants, opset=opset, repeat=repeat)
    graph = import_onnx(file)
    assert [entry.operator.kind for entry in graph.nodes] == ["relu", "reshape", "linear"]
    assert (graph.shape, graph.output.shape, graph.dtype) == ((1, 2, 2), (2,), torch.float32)
    x = points("flatten", 5, 1, 2, 2)
    expected = x.clamp(min=0).flatten(1) @ torch.tensor(W).T + torch.tensor(constants["b"])
    assert torch.allclose(graph.forward(x), expected, atol=1e-6)


def test_a_node_may_stand_after_its_reader():
    late = node("Constant", "", "c", value=numpy_helper.from_array(np.full(4, 5, dtype=np.float32)))
    graph = import_onnx(content([node("Add", "x c", "y"), late], [("x", FLOAT, ["n", 4])]))
    assert graph.forward(torch.ones(1, 4)).tolist() == [[6.0] * 4]


class Attention(nn.Module):
    """One head over 3 tokens of 4 numbers, then the mean token."""

    def __init__(self):
        super().__init__()
        self.read = nn.Linear(4, 12)
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        query, key, value = self.read(x).reshape(x.shape[0], 3, 3, 4).unbind(2)
        mixed = torch.softmax(query @ key.transpose(1, 2) / 2, dim=-1) @ value
        return self.norm(x + mixed).mean(1)


EXPORTED = {
    "conv": nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    ),
    "smooth": nn.Sequential(nn.Flatten(), nn.Linear(32, 8), nn.GELU(), nn.SiLU(), nn.Linear(8, 3), nn.Softplus()),
    "attention": Attention(),
}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("opset", [11, 17, 20])
@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.filterwarnings("ignore")
def test_what_torch_exports_is_read(name, opset, dynamic, points):
    module = EXPORTED[name].eval().requires_grad_(False)
    for key, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(
                points((name, key), *tensor.shape).abs() / 2 if "var" in key else points((name, key), *tensor.shape) / 2
            )
    x = points("exported", 5, *((3, 4) if name == "attention" else (2, 4, 4)))
    file, axes = io.BytesIO(), {"x": {0: "n"}} if dynamic else None
    torch.onnx.export(module, (x[:1],), file, opset_version=opset, dynamo=False, dynamic_axes=axes, input_names=["x"])
    assert torch.allclose(import_onnx(file.getvalue()).forward(x), module(x), atol=1e-5)


def test_the_newest_opset_that_is_read():
    assert import_onnx(relu([1, 3], opset=25)).output.name == "Relu_of_y"


@pytest.mark.parametrize(
    ("sizes", "shape"), [([5], (5,)), ([3, 1], (3, 1)), ([1, 3], (3,)), (["n", 1], (1,)), ([1], (1,))]
)
def test_only_a_first_axis_of_one_or_of_any_size_is_the_batch(sizes, shape):
    graph = import_onnx(relu(sizes))
    assert graph.shape == graph.output.shape == shape
    assert graph.forward(torch.full((7, *shape), -1.0)).shape == (7, *shape)


def test_a_batch_of_one_written_into_a_shape_is_no_hindrance(points):
    nodes = [node("Reshape", "x target", "flat"), node("Relu", "flat", "y")]
    graph = import_onnx(content(nodes, [("x", FLOAT, ["n", 2, 2])], {"target": np.array([1, 4])}))
    assert graph.forward(points("fixed", 3, 2, 2)).shape == (3, 4)


def test_a_file_in_double_precision_stays_so():
    graph = import_onnx(relu([1, 3], DOUBLE, made=DOUBLE))
    assert graph.dtype == torch.float64


def test_a_rule_reads_its_call_by_the_names_of_the_schema(scoped):
    calls = []

    def rule(call):
        calls.append(call)
        raise NotCovered("seen")

    for name in ("Clip", "Concat", "Gemm"):
        scoped(ONNX)[name] = rule
    constants = {"most": np.float32(2), "W": W, "ends": np.zeros((1, 1), dtype=np.float32)}
    for entry in (
        node("Gemm", "x W", "y", alpha=0.5, transB=1),
        helper.make_node("Clip", ["x", "", "most"], ["y"]),
        node("Concat", "x ends x", "y", axis=1),
    ):
        with pytest.raises(UnsupportedOperator, match="seen"):
            import_onnx(content([entry], [("x", FLOAT, ["n", 4])], constants))
    gemm, clip, concat = calls
    assert (gemm["alpha"], gemm["beta"], gemm["transA"], gemm["transB"], gemm["C"]) == (0.5, 1.0, 0, 1, None)
    assert torch.equal(gemm["B"], torch.tensor(W))
    assert (gemm.shape, gemm.opset, gemm.leading) == ((2,), 13, 1)
    assert (clip["min"], clip["max"].item(), clip["input"].shape) == (None, 2.0, (4,))
    assert [tuple(part.shape) for part in concat["inputs"]] == [(4,), (1, 1), (4,)]
    assert (concat["axis"], concat.shape) == (1, (9,))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (relu([1, 3], opset=7), "opset 7 is older than 8: export again with opset_version=20"),
        (relu([1, 3], opset=26), "opset 26 is newer than 25: export again with opset_version=20"),
        (relu([1, 3], HALF), "input 'x' is float16; certificates need float32"),
        (relu([1, 3], INT), "input 'x' is int64; certificates need float32"),
        (relu([1, "words"]), "dimension 'words' of input 'x' is dynamic; .* only the first"),
        (relu([]), "input 'x' has no shape"),
        (b"", "is no ONNX file"),
        (b"\x00\x01 nothing of the kind", "is no ONNX file, or a corrupt one"),
        (relu([1, 3])[:-20], "is no ONNX file"),
        (
            content([node("Relu", "z", "y")], [("x", FLOAT, [1, 3])]),
            "is refused by onnxruntime: Invalid model. Node input 'z'",
        ),
        (
            content([node("Add", "x z", "y")], [("x", FLOAT, [1, 3]), ("z", FLOAT, [1, 3])]),
            r"has 2 inputs \('x', 'z'\); bounds need a function of one tensor",
        ),
        (
            content([node("Relu", "x", "y"), node("Relu", "y", "z")], [("x", FLOAT, [1, 3])], outputs="yz"),
            r"has 2 outputs that depend on its input \('y', 'z'\)",
        ),
        (
            content([node("Relu", "w", "y")], [("x", FLOAT, [1, 3])], {"w": np.zeros(3, dtype=np.float32)}),
            "has 0 outputs that depend on its input",
        ),
        (
            content([node("RandomNormal", "", "r", shape=[1, 3]), node("Add", "x r", "y")], [("x", FLOAT, [1, 3])]),
            r"node RandomNormal_of_r \(RandomNormal\) draws random numbers",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_function_of_one_float_tensor_is_refused_in_one_line(file, words):
    with pytest.raises(ModelError, match=rf"^[^\n]*{words}[^\n]*$"):
        import_onnx(file)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            [node("Det", "x", "y")],
            r"node Det_of_y \(Det\) has no rule: operator Det is unknown; .*bounds/rules.*smoothing",
        ),
        (
            [helper.make_node("Fancy", ["x"], ["y"], domain="my.own")],
            r"node y \(my\.own\.Fancy\) has no rule: only ONNX's",
        ),
        ([node("Reshape", "x all", "y")], "mixes the samples of a batch"),
        ([node("ArgMax", "x", "z", axis=1), node("Cast", "z", "y", to=FLOAT)], "is unknown|its result is int64"),
        ([node("Cast", "x", "h", to=HALF), node("Cast", "h", "y", to=FLOAT)], "is unknown|its result is float16"),
        (
            [node("Dropout", "x", "z mask"), node("Cast", "mask", "y", to=FLOAT)],
            "reads 'mask', a further output|unknown",
        ),
    ],
)
def test_what_has_no_rule_is_refused_in_one_line(entries, words):
    with pytest.raises(UnsupportedOperator, match=rf"^[^\n]*({words})[^\n]*$"):
        import_onnx(content(entries, [("x", FLOAT, ["n", 3, 3])], {"all": np.array([-1])}))


@pytest.mark.parametrize(
    ("kind", "inputs", "opset", "words"),
    [("GroupNormalization", "x s s", 18, "has deprecated"), ("LayerNormalization", "x s", 16, "has no LayerNorm")],
)
def test_what_only_the_runtime_knows_is_refused_in_one_line(kind, inputs, opset, words):
    entry = node(kind, inputs, "y", **({"num_groups": 2} if kind.startswith("Group") else {}))
    with pytest.raises(UnsupportedOperator, match=rf"^[^\n]*{words}[^\n]*$"):
        import_onnx(content([entry], [("x", FLOAT, [1, 4, 2])], {"s": np.ones(2, np.float32)}, opset=opset))


@pytest.mark.parametrize("condition", [True, False])
def test_a_constant_condition_takes_its_branch(condition):
    """Exporters write one for ``squeeze`` of an axis whose length they do not know."""

    def branch(kind):
        made = helper.make_tensor_value_info(kind, FLOAT, None)
        return helper.make_graph([node("Neg", "double", "n" + kind), node(kind, "n" + kind, kind)], kind, [], [made])

    nodes = [
        node("Mul", "x two", "double"),
        node("If", "c", "z", then_branch=branch("Relu"), else_branch=branch("Tanh")),
    ]
    nodes.append(node("Gemm", "z W", "y", transB=1))
    graph = import_onnx(content(nodes, [("x", FLOAT, ["n", 4])], {"c": condition, "two": np.float32(2), "W": W}))
    x = torch.linspace(-1, 1, 8).reshape(2, 4)
    expected = (torch.relu if condition else torch.tanh)(-2 * x) @ torch.tensor(W).T
    assert torch.allclose(graph.forward(x), expected, atol=1e-6)


def test_a_branch_that_the_input_takes_is_refused_in_one_line():
    def branch(kind):
        made = helper.make_tensor_value_info(kind, FLOAT, None)
        return helper.make_graph([node(kind, "x", kind)], kind, [], [made])

    nodes = [node("ReduceSum", "x", "s", keepdims=0), node("Greater", "s zero", "c")]
    nodes.append(node("If", "c", "y", then_branch=branch("Relu"), else_branch=branch("Neg")))
    with pytest.raises(UnsupportedOperator, match=r"^node [^\n]* has no rule: [^\n]*(branch|truth value)[^\n]*$"):
        import_onnx(content(nodes, [("x", FLOAT, [1, 4])], {"zero": np.float32(0)}))


def test_an_output_without_entries_is_refused_in_one_line():
    ends = {"begin": np.array([2]), "end": np.array([2]), "axis": np.array([1])}
    with pytest.raises(ModelError, match=r"^[^\n]*'y' has no entries[^\n]*$"):
        import_onnx(content([node("Slice", "x begin end axis", "y")], [("x", FLOAT, [1, 4])], ends))


@pytest.mark.parametrize(("factor", "dtype"), [(0.25, torch.float32), (0.1, torch.float64)])
def test_all_constants_are_of_the_type_of_the_graph_which_holds_them(factor, dtype, points):
    """Also of a file that computes in float64 in between; only places of steps stay where they are."""
    entries = [
        node("Cast", "x", "wide", to=DOUBLE),
        node("Mul", "wide factor", "less"),
        node("Cast", "less", "narrow", to=FLOAT),
        node("Softsign", "narrow", "soft"),
        node("Greater", "wide place", "over"),
        node("Cast", "over", "mask", to=FLOAT),
        node("Add", "soft mask", "sum"),
        node("Gemm", "sum W", "y", transB=1),
    ]
    constants = {"factor": np.full(4, factor), "place": np.full(4, 0.1), "W": W}
    graph = import_onnx(content(entries, [("x", FLOAT, [1, 4])], constants))
    assert graph.dtype == dtype
    steps = [one.operator for one in graph.nodes if one.operator.kind == "step"]
    shifts = [one.operator for one in graph.nodes if isinstance(one.operator, ScaleShift)]
    kept = [t for one in shifts for t in (one.factor, one.shift) if t is not None]
    assert len(kept) == 5
    assert {t.dtype for t in kept} == {dtype}
    assert float(kept[0].flatten()[0]) == factor
    assert [float(one.threshold[0]) for one in steps] == [0.1]
    x = points("one type", 5, 4).double()
    expected = (nn.functional.softsign(factor * x) + (x > 0.1)) @ torch.tensor(W).double().T
    assert torch.allclose(graph.to(torch.float64).forward(x), expected, rtol=1e-14)
    assert graph.forward(x.to(dtype)).dtype == dtype


def test_a_graph_that_computes_something_else_is_refused(scoped):
    right = ONNX["Relu"]

    def wrong(call):
        return call.add(ScaleShift(torch.tensor(1 - 5e-5)), right(call))

    scoped(ONNX)["Relu"] = wrong
    with pytest.raises(UnsupportedOperator, match="its rule computes something else than the call"):
        import_onnx(relu([1, 3]))
    scoped(ONNX)["Reshape"] = lambda call: call.add(Reshape((1, 2)), call["data"])
    with pytest.raises(UnsupportedOperator, match=r"its rule makes samples of shape \(1, 2\), ONNX \(2, 1\)"):
        import_onnx(content([node("Reshape", "x s", "y")], [("x", FLOAT, [1, 2])], {"s": np.array([1, 2, 1])}))


def test_a_network_whose_answers_depend_on_the_batch_is_refused():
    nodes = [
        *(node("Shape", "x", "shape"), node("Constant", "", "zero", value=numpy_helper.from_array(np.array(0)))),
        *(node("Gather", "shape zero", "n"), node("Cast", "n", "count", to=FLOAT), node("Div", "x count", "y")),
    ]
    with pytest.raises(UnsupportedOperator, match="depends on how many inputs are in a batch"):
        import_onnx(content(nodes, [("x", FLOAT, ["n", 3])]))
    assert import_onnx(content(nodes, [("x", FLOAT, [1, 3])])).output.shape == (3,)
    with pytest.raises(ModelError, match=r"returns \(1, 102\) for 34 inputs, .* the samples of a batch are mixed"):
        import_onnx(content([node("Relu", "x", "z"), node("Flatten", "z", "y", axis=0)], [("x", FLOAT, ["n", 3])]))


def test_weights_outside_the_file(tmp_path: Path):
    path, weights = tmp_path / "net.onnx", tmp_path / "net.weights"
    big = np.ones((64, 64), dtype=np.float32)
    file = model([node("MatMul", "x W", "y")], [("x", FLOAT, [1, 64])], {"W": big})
    onnx.save_model(file, str(path), save_as_external_data=True, location=weights.name, size_threshold=0)
    assert weights.is_file()
    assert import_onnx(path).forward(torch.ones(1, 64)).unique().item() == 64
    with pytest.raises(ModelError, match=r"keeps weights in the file 'net\.weights': give its path"):
        import_onnx(path.read_bytes())
    weights.unlink()
    with pytest.raises(ModelError, match=r"^[^\n]*'net\.weights', which is not in [^\n]*$"):
        import_onnx(path)
    with pytest.raises(BadInput, match=r"cannot read .*absent\.onnx"):
        import_onnx(tmp_path / "absent.onnx")


def test_weights_of_nan_are_read_but_say_nothing_and_make_no_classifier():
    broken = W.copy()
    broken[0, 0] = math.nan
    nodes = [node("Gemm", "x W", "y", transB=1)]
    module = GraphModule(import_onnx(content(nodes, [("x", FLOAT, [1, 4])], {"W": broken}))).eval()
    lower, upper = output_bounds(module, torch.zeros(1, 4), torch.ones(1, 4))
    assert lower[0, 0] == -math.inf
    assert upper[0, 0] == math.inf
    with pytest.raises(ModelError, match="0_Gemm_of_y_weight contains NaN"):
        Classifier(module, 2)


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_library_is_named_with_its_extra(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"needs {library}, which is not installed: pip install 'certify\[onnx\]'"):
        import_onnx(b"")


@pytest.mark.parametrize("batch", [1, 32, 128])
def test_interval_bounds_of_a_published_network_are_the_published_ones(bench_data, batch):
    graph = import_onnx(bench_data / "verification/mnist_fc/onnx/mnist-net_256x2.onnx")
    reference = np.load(bench_data / f"bound_reference/mlp256x2_b{batch}_IBP_eps0.02000.npz")
    box, rows = margins_around_images(bench_data, reference, graph.shape)
    found = interval_bounds(graph.to(torch.float64), box, rows).lower
    assert torch.allclose(found, torch.tensor(reference["lb"]).double(), rtol=1e-4, atol=1e-4)


def test_crown_on_a_deeper_published_network_is_no_looser_than_published(bench_data):
    graph = import_onnx(bench_data / "verification/mnist_fc/onnx/mnist-net_256x6.onnx")
    reference = np.load(bench_data / "bound_reference/mlp256x6_b32_CROWN_eps0.02000.npz")
    box, rows = margins_around_images(bench_data, reference, graph.shape)
    found = METHODS["crown"](graph.to(torch.float64), Region(box), rows).lower
    assert found.amin(dim=1).mean() >= reference["lb"].min(axis=1).mean() - 2e-2


def margins_around_images(bench_data, reference, shape):
    """The boxes around the first MNIST test images, and for each its label's row minus all others' in their order."""
    labels, eps = torch.tensor(reference["y"]).long(), float(reference["eps"])
    images = np.load(bench_data / "networks/images/mnist_test_1000.npz")["x"][: len(labels)]
    x = torch.tensor(images.astype(np.float32) / np.float32(255)).double().reshape(-1, *shape)
    eye = torch.eye(10, dtype=torch.float64)
    others = torch.tensor([[j for j in range(10) if j != label] for label in labels.tolist()])
    return Interval((x - eps).clamp(0, 1), (x + eps).clamp(0, 1)), eye[labels].unsqueeze(1) - eye[others]


def test_terms_that_cancel_in_one_order_of_summation_only():
    """``relu(x) / 3 - relu(x) / 3``: onnxruntime rounds what torch finds to be 0."""
    import onnx

    info, arrays = onnx.helper.make_tensor_value_info, {"a": [[1, 1]], "b": [[1 / 3], [-1 / 3]]}
    nodes = [
        onnx.helper.make_node(kind, inputs, [output])
        for kind, inputs, output in (("MatMul", ["x", "a"], "h"), ("Relu", ["h"], "r"), ("MatMul", ["r", "b"], "y"))
    ]
    ends = [[info(name, onnx.TensorProto.FLOAT, [1, 1])] for name in "xy"]
    stored = [onnx.numpy_helper.from_array(np.float32(value), name) for name, value in arrays.items()]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "net", *ends, stored),
        opset_imports=[onnx.helper.make_opsetid("", 13)],
        ir_version=8,
    )
    assert len(import_onnx(model.SerializeToString()).nodes) == 3
