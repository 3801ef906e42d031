"""ONNX files at random: operators of the table, in any version, with settings that exporters and strangers write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["MAKERS", "Draft"]

ENTRYWISE: Final = (
    "Abs Ceil Cos Erf Exp Floor Identity Log Neg Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt "
    "Tanh HardSwish Mish Gelu Swish Dropout"
).split()
WITH_ALPHA: Final = "Elu LeakyRelu Celu HardSigmoid ThresholdedRelu".split()
ALONG_AN_AXIS: Final = "Softmax LogSoftmax Hardmax LpNormalization CumSum".split()
OF_TWO: Final = "Add Sub Mul Div Pow Min Max Mean Sum PRelu".split()
REDUCTIONS: Final = "ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare ReduceLogSumExp".split()


@dataclass
class Draft:
    """A file that grows node by node; a node that ONNX refuses is taken back.

    Args:
        g: what chooses.
        opset: version of the operators.
        size: magnitude of the stored numbers.
        sample: shape of one input, without the batch axis.
    """

    g: np.random.Generator
    opset: int
    size: float
    sample: tuple[int, ...]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    stored: dict[str, NDArray[Any]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes["x"] = (1, *self.sample)

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """The name of a new stored tensor."""
        name = f"c{len(self.stored)}"
        self.stored[name] = np.asarray(values, dtype=dtype)
        self.shapes[name] = self.stored[name].shape
        return name

    def numbers(self, *shape: int) -> str:
        """A stored tensor of random numbers."""
        with np.errstate(over="ignore"):
            return self.constant(np.clip(self.g.normal(size=shape) * self.size, -3e38, 3e38))

    def add(self, kind: str, inputs: Sequence[str], results: int = 1, **settings: Any) -> str | None:
        """The (last) result of a new node, or None where ONNX does not take it."""
        made = [f"{kind.lower()}{len(self.nodes)}_{place}" for place in range(results)]
        self.nodes.append(helper.make_node(kind, inputs, made, name=f"{kind}_{len(self.nodes)}", **settings))
        try:
            inferred = onnx.shape_inference.infer_shapes(self.model(made), strict_mode=True, data_prop=True)
            onnx.checker.check_model(inferred)
            found = {one.name: one.type.tensor_type for one in (*inferred.graph.value_info, *inferred.graph.output)}
            for name in made:
                self.shapes[name] = tuple(size.dim_value for size in found[name].shape.dim)
                if any(size <= 0 for size in self.shapes[name]) or np.prod(self.shapes[name]) > 400:
                    raise ValueError("it is empty, of unknown size, or too large to be tried quickly")
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError, KeyError):
            self.nodes.pop()
            return None
        return str(self.g.choice(made))

    def grow(self, value: str) -> str:
        """The result of one more operator on a value, or the value itself where the choice did not fit."""
        return MAKERS[str(self.g.choice(list(MAKERS)))](self, value) or value

    def model(self, outputs: Sequence[str]) -> onnx.ModelProto:
        """The file with these outputs."""
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shapes["x"])
        made = [onnx.ValueInfoProto(name=name) for name in outputs]
        stored = [numpy_helper.from_array(values, name) for name, values in self.stored.items()]
        graph = helper.make_graph(self.nodes, "drawn", [given], made, stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def content(self, leaves: Sequence[str]) -> bytes:
        """The file whose one output holds all entries of some results, side by side."""
        flat = [self.add("Flatten", [leaf], axis=int(self.shapes[leaf][:1] == (1,))) for leaf in leaves]
        rows = [self.add("Reshape", [leaf, self.constant([1, -1], np.int64)]) for leaf in flat if leaf]
        joined = self.add("Concat", [row for row in rows if row], axis=1)
        if joined is None:
            raise ValueError("the results do not fit into one")
        model = self.model([joined])
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info(joined, TensorProto.FLOAT, self.shapes[joined]))
        return model.SerializeToString()

    def axis(self, value: str) -> int:
        """An axis of a result, counted from either end; the batch axis seldom."""
        rank = len(self.shapes[value])
        axis = int(self.g.integers(int(rank > 1 and self.g.random() < 0.9), rank)) if rank else 0
        return axis - rank if rank and self.g.random() < 0.4 else axis

    def some(self, *choices: Any) -> Any:
        """One of them."""
        return choices[int(self.g.integers(len(choices)))]


Maker = Callable[[Draft, str], "str | None"]
MAKERS: dict[str, Maker] = {}
"""By operator: how a draft grows by one."""


def maker(*kinds: str) -> Callable[[Callable[[Draft, str, str], str | None]], Any]:
    """Register a function of draft, operator and value for some operators."""

    def register(function: Callable[[Draft, str, str], str | None]) -> Any:
        for kind in kinds:
            MAKERS[kind] = lambda draft, value, kind=kind: function(draft, kind, value)  # type: ignore[misc]
        return function

    return register


@maker(*ENTRYWISE)
def _entrywise(draft: Draft, kind: str, value: str) -> str | None:
    return draft.add(kind, [value])


@maker(*WITH_ALPHA)
def _with_alpha(draft: Draft, kind: str, value: str) -> str | None:
    return draft.add(kind, [value], alpha=float(draft.some(0.01, 0.5, 1.0, 2.0)))


@maker(*ALONG_AN_AXIS)
def _along(draft: Draft, kind: str, value: str) -> str | None:
    axis = draft.axis(value)
    if kind == "CumSum":
        flags = {"reverse": int(draft.g.integers(2)), "exclusive": int(draft.g.integers(2))}
        return draft.add(kind, [value, draft.constant(axis, np.int64)], **flags)
    return draft.add(kind, [value], axis=axis, **({"p": draft.some(1, 2)} if kind == "LpNormalization" else {}))


@maker(*OF_TWO)
def _of_two(draft: Draft, kind: str, value: str) -> str | None:
    shape = draft.shapes[value]
    if kind == "Pow":
        return draft.add(kind, [value, draft.constant(draft.some(0.5, 1, 2, 3, -1, -2))])
    alike = [name for name in draft.shapes if draft.shapes[name] == shape and name not in draft.stored] or [value]
    thin = tuple(size if draft.g.random() < 0.5 else 1 for size in shape)
    other = draft.some(draft.some(*alike), draft.numbers(*thin), draft.numbers(*shape[1:]))
    return draft.add(kind, draft.some([value, other], [other, value]) if kind != "PRelu" else [value, other])


@maker(*REDUCTIONS)
def _reduction(draft: Draft, kind: str, value: str) -> str | None:
    axes = sorted({draft.axis(value) for _ in range(int(draft.g.integers(1, 3)))})
    keep = {"keepdims": int(draft.g.integers(2))}
    if draft.opset >= (13 if kind == "ReduceSum" else 18):
        return draft.add(kind, [value, draft.constant(axes, np.int64)], **keep)
    return draft.add(kind, [value], axes=axes, **keep)


@maker("Clip")
def _clip(draft: Draft, kind: str, value: str) -> str | None:
    low, high = sorted(float(end) for end in draft.g.normal(size=2) * min(draft.size, 1e30))
    if draft.opset < 11:
        return draft.add(kind, [value], min=low, max=high)
    return draft.add(kind, [value, draft.constant(low), draft.constant(high)])


@maker("MatMul", "Gemm")
def _matrix(draft: Draft, kind: str, value: str) -> str | None:
    width = draft.shapes[value][-1] if draft.shapes[value] else 1
    out = int(draft.g.integers(1, 5))
    if kind == "MatMul":
        return draft.add(kind, [value, draft.numbers(width, out)])
    turned = int(draft.g.integers(2))
    weight = draft.numbers(*((out, width) if turned else (width, out)))
    scales = {"alpha": float(draft.some(1.0, 0.5)), "beta": float(draft.some(1.0, 2.0))}
    return draft.add(kind, [value, weight, draft.numbers(out)], transB=turned, **scales)


@maker("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Tile")
def _moved(draft: Draft, kind: str, value: str) -> str | None:
    shape = draft.shapes[value]
    inner = list(range(1, len(shape)))
    if kind == "Reshape":
        return draft.add(kind, [value, draft.constant([1, -1, *draft.some([], [1], shape[-1:])], np.int64)])
    if kind == "Flatten":
        return draft.add(kind, [value], axis=draft.some(0, 1, len(shape)))
    if kind == "Transpose":
        return draft.add(kind, [value], perm=[*range(len(shape))[:1], *map(int, draft.g.permutation(inner))])
    if kind in ("Squeeze", "Unsqueeze"):
        single = [axis for axis in inner if shape[axis] == 1] or [1]
        axes = [draft.some(*single)] if kind == "Squeeze" else [int(draft.g.integers(1, len(shape) + 1))]
        if draft.opset < 13:
            return draft.add(kind, [value], axes=axes)
        return draft.add(kind, [value, draft.constant(axes, np.int64)])
    times = [1, *(int(n) for n in draft.g.integers(1, 3, len(inner)))]
    sizes = times if kind == "Tile" else [n if size == 1 else size for n, size in zip(times, shape, strict=False)]
    return draft.add(kind, [value, draft.constant(sizes, np.int64)])


@maker("Slice", "Gather", "Pad", "Split", "Concat")
def _cut(draft: Draft, kind: str, value: str) -> str | None:
    shape, axis = draft.shapes[value], draft.axis(value)
    size = shape[axis] if shape else 1
    if kind == "Gather":
        return draft.add(kind, [value, draft.constant(draft.g.integers(-size, size, 3), np.int64)], axis=axis)
    if kind == "Concat":
        return draft.add(kind, draft.some([value, value], [value, draft.numbers(*shape)]), axis=axis)
    if kind == "Split":
        return draft.add(kind, [value], results=2, axis=axis, **({"num_outputs": 2} if draft.opset >= 18 else {}))
    if kind == "Slice":
        begin, end, step = draft.some((0, size, 2), (1, size, 1), (-1, -size - 1, -1), (0, 10**9, 1))
        if draft.opset < 10:
            return draft.add(kind, [value], axes=[axis], starts=[begin], ends=[end])
        return draft.add(kind, [value, *(draft.constant([one], np.int64) for one in (begin, end, axis, step))])
    pads = draft.g.integers(-1, 3, 2 * len(shape))
    pads[[0, len(shape)]] = 0
    mode = draft.some("constant", "reflect", "edge", *(["wrap"] if draft.opset >= 19 else []))
    if draft.opset < 11:
        return draft.add(kind, [value], pads=pads.tolist(), mode=mode, value=0.5)
    return draft.add(kind, [value, draft.constant(pads, np.int64), draft.constant(0.5)], mode=mode)


@maker("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")
def _window(draft: Draft, kind: str, value: str) -> str | None:
    shape = draft.shapes[value]
    if len(shape) not in (3, 4):
        return None
    axes, g = len(shape) - 2, draft.g
    kernel = g.integers(1, 4, axes).tolist()
    settings: dict[str, Any] = {"kernel_shape": kernel, "strides": g.integers(1, 4, axes).tolist()}
    if draft.some(True, False):
        settings["auto_pad"] = draft.some("SAME_UPPER", "SAME_LOWER", "VALID")
    else:
        settings["pads"] = [int(g.integers(0, size)) for size in (*kernel, *kernel)]
    if kind in ("MaxPool", "AveragePool"):
        settings |= {"ceil_mode": int(g.integers(2))} if draft.opset >= 10 else {}
        settings |= {"count_include_pad": int(g.integers(2))} if kind == "AveragePool" else {}
        return draft.add(kind, [value], **settings)
    if kind == "LpPool":
        return draft.add(kind, [value], **settings)
    settings["dilations"] = g.integers(1, 3, axes).tolist()
    channels, group = shape[1], shape[1] if g.random() < 0.3 else 1
    sizes = (channels, 2, *kernel) if kind == "ConvTranspose" else (2 * group, channels // group, *kernel)
    bias = draft.numbers(2 * group)
    return draft.add(kind, [value, draft.numbers(*sizes), bias], group=group, **settings)


@maker("GlobalAveragePool", "GlobalMaxPool", "LRN", "BatchNormalization", "InstanceNormalization", "LayerNormalization")
def _image(draft: Draft, kind: str, value: str) -> str | None:
    shape = draft.shapes[value]
    if len(shape) < 3:
        return None
    if kind.startswith("Global"):
        return draft.add(kind, [value])
    if kind == "LRN":
        return draft.add(kind, [value], size=draft.some(1, 2, 3), alpha=0.5, beta=0.75, bias=draft.some(0.5, 1.0))
    if kind == "LayerNormalization":
        return draft.add(kind, [value, draft.numbers(shape[-1]), draft.numbers(shape[-1])], axis=-1)
    scale, shift = draft.numbers(shape[1]), draft.numbers(shape[1])
    if kind == "InstanceNormalization":
        return draft.add(kind, [value, scale, shift])
    variance = draft.constant(np.abs(draft.g.normal(size=shape[1])) + draft.some(0.5, 0.0, -1e-5))
    return draft.add(kind, [value, scale, shift, draft.numbers(shape[1]), variance], epsilon=1e-5)


@maker("Resize", "DepthToSpace", "SpaceToDepth")
def _scaled(draft: Draft, kind: str, value: str) -> str | None:
    shape = draft.shapes[value]
    if len(shape) != 4:
        return None
    if kind != "Resize":
        return draft.add(kind, [value], blocksize=2)
    if draft.opset < 11:
        return draft.add(kind, [value, draft.constant([1, 1, 2, 2])] if draft.opset == 10 else [value], mode="nearest")
    settings = {
        "mode": draft.some("nearest", "linear"),
        "coordinate_transformation_mode": draft.some("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"),
        "nearest_mode": draft.some("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    }
    scales = draft.constant([1, 1, draft.some(2, 1.5, 0.5), draft.some(2, 1, 3)])
    return draft.add(kind, [value, draft.constant([]), scales], **settings)


@maker("Where", "Cast", "Greater", "Equal")
def _logic(draft: Draft, kind: str, value: str) -> str | None:
    shape = draft.shapes[value]
    if kind == "Cast":
        whole = draft.add("Cast", [value], to=draft.some(TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL))
        grown = whole and draft.some(whole, draft.add("Add", [whole, whole]) or whole)
        return grown and draft.add("Cast", [grown], to=TensorProto.FLOAT)
    truth = draft.add("Greater" if kind == "Where" else kind, [value, draft.numbers(*shape[1:])])
    if truth is None or kind != "Where":
        return truth and draft.add("Cast", [truth], to=TensorProto.FLOAT)
    return draft.add("Where", [truth, *draft.some([value, draft.numbers()], [draft.numbers(*shape), value])])
