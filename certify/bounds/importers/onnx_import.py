"""From an ONNX file to a :class:`~certify.bounds.graph.Graph`."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.bounds.agreement import agrees
from certify.bounds.graph import Graph, Node
from certify.bounds.importers.alone import NUMBERS, check_alone
from certify.bounds.importers.batch_axis import BATCHED, at_some_level, independent, levelled
from certify.bounds.importers.builder import Builder
from certify.bounds.importers.comparison import branch_without_value, probes
from certify.bounds.importers.constants import (
    CHOICES,
    MOVERS,
    Inexact,
    computes,
    enclosed,
    exact,
    flat,
    lost,
    moved_error,
    plain,
    read_inexact,
)
from certify.bounds.importers.fuse import fused
from certify.bounds.importers.onnx_file import STANDARD, OnnxFile, read_onnx
from certify.bounds.importers.onnx_node import arguments, fold, inferred, reads, runner
from certify.bounds.importers.onnx_types import SUMS, check_types
from certify.bounds.rules.base import ONNX, Call, MixesSamples, NotCovered, Shape, Value
from certify.bounds.rules.conversion import INTEGERS, Integer
from certify.bounds.rules.reshape import Reshape
from certify.errors import ModelError, UnsupportedOperator

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["import_file", "import_onnx"]

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators with random results."""

QUANTIZING = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul", "QLinearConv"})
"""Operators that round quotients of floats to whole numbers."""


def import_onnx(source: Path | bytes) -> Graph:
    """Read an ONNX file as a graph of operators that have bound rules.

    Whatever does not depend on the input (stored tensors, shapes, arithmetic on them) is computed here. A first axis
    that is dynamic or 1 is the batch, even if it is moved later; if it has another size, the whole input is one sample.
    Truth values become 0 and 1. The graph is compared with onnxruntime on random inputs before it is returned.

    Args:
        source: a file of opset 8 to 25, or its content.

    Raises:
        UnsupportedOperator: names the node, the operator, and the ways out.
        ModelError: if the file is corrupt or is no function of one float tensor, or the graph computes something else.
        BadInput: if there is no such file.
        MissingExtra: without onnx or onnxruntime.

    >>> from onnx import TensorProto, helper
    >>> x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy")
    >>> model = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [x], [y])
    >>> content = helper.make_model(model, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    >>> [node.operator.kind for node in import_onnx(content.SerializeToString()).nodes]
    ['relu']
    """
    return import_file(read_onnx(source))


def import_file(file: OnnxFile) -> Graph:
    """The graph of a file that was read already; otherwise as :func:`import_onnx`."""
    if file.foreign is not None:
        raise file.foreign
    if file.batched:
        try:
            graph, output = _Reader(file).read()
        except UnsupportedOperator as refusal:
            if not isinstance(refusal.__cause__, MixesSamples):
                raise
            graph, output = _Reader(file, 1).read()
            if not _apart(file, output):
                raise
    else:
        graph, output = _Reader(file, 1).read()
    graph = fused(_of_one_type(graph))
    _compare(graph, file, output)
    return graph


def _apart(file: OnnxFile, output: str) -> bool:
    """Whether a file processes the samples of a batch independently, or cannot take two at once."""
    try:
        pair, _ = _Reader(file, 2).read()
    except UnsupportedOperator:
        with contextlib.suppress(ModelError):
            file.run(torch.zeros(2, *file.shape), output, together=True)
            return False
        return True
    return independent(pair, 2)


def _of_one_type(graph: Graph) -> Graph:
    """The graph with all constants in its own type, or in float64 if one of them cannot be represented there.

    A file may compute in float64 in between, and rules may need a constant that is no float32. Rounding it would change
    the function that is bounded.
    """
    same = graph.to(graph.dtype)
    pairs = (
        (before, after)
        for old, new in zip(graph.nodes, same.nodes, strict=True)
        for before, after in zip(old.operator.tensors.values(), new.operator.tensors.values(), strict=True)
    )
    held = all(torch.equal(before.double().nan_to_num(0.0), after.double().nan_to_num(0.0)) for before, after in pairs)
    return same if held else graph.to(torch.float64)


class _Reader:
    """One pass over a file. ``results`` holds constants as arrays and other results as values.

    ``counted`` holds constants that differ for a batch of two inputs, as computed for that batch; ``held`` the calls
    that were already compared with onnxruntime.

    Args:
        whole: the number of samples if the whole batch is read as one input; None to read single samples.
    """

    def __init__(self, file: OnnxFile, whole: int | None = None) -> None:
        self.file, self.whole = file, whole
        self.builder = Builder(file.dtype)
        shape, leading = (file.shape, file.leading) if whole in (None, 1) else ((whole, *file.shape), 0)
        begin = self.builder.begin(file.input, shape, leading)
        self.results: dict[str, Any] = {**file.constants, file.input: begin}
        self.types = {given.name: given.type.tensor_type.elem_type for given in file.model.graph.input}
        self.counted: dict[str, NDArray[Any]] = {}
        self.held: set[Hashable] = set()

    def read(self) -> tuple[Graph, str]:
        """The graph of the output that depends on the input, and that output's name."""
        graph = self.file.model.graph
        nodes = list(self._wanted())
        self._check_known(nodes)
        for node in nodes:
            self._node(node)
        outputs = [output.name for output in graph.output if isinstance(self.results.get(output.name), Value)]
        if len(outputs) != 1 or outputs[0] != graph.output[0].name:
            names = f" ({', '.join(map(repr, outputs))})" if outputs else ""
            raise ModelError(
                f"{self.file.label} has {len(outputs)} outputs that depend on its input{names}; export it with one"
            )
        [output] = outputs
        value = self.results[output]
        if 0 in value.shape:
            raise ModelError(f"{self.file.label}: output {output!r} has no entries, so there is nothing to bound")
        build = self.builder.adder(output, "")
        if value == self.builder.input:
            value = build(Reshape(value.shape), (value,))
        leading = self.builder.input.leading if self.builder.input else 1
        if value.shape[:1] == (1,) or not leading:
            value = levelled(value, leading, build)
        return self.builder.graph(value), output

    def _wanted(self) -> Iterator[NodeProto]:
        """The nodes that an output depends on, in the file's order; those listed after a reader come before it."""
        graph = self.file.model.graph
        makers = {output: node for node in graph.node for output in node.output if output}
        wanted, asked = set(), [output.name for output in graph.output]
        while asked:
            if (name := asked.pop()) not in wanted:
                wanted.add(name)
                asked.extend(reads(makers[name]) if name in makers else ())
        done: set[str] = set()
        for node in graph.node:
            waiting = [node] if wanted.intersection(node.output) else []
            while waiting:
                last = waiting[-1]
                if before := [name for name in reads(last) if name in makers and name not in done]:
                    waiting.append(makers[before[0]])
                    continue
                if done.isdisjoint(last.output):
                    yield last
                done.update(filter(None, waiting.pop().output))

    def _check_known(self, nodes: Sequence[NodeProto]) -> None:
        """Refuse unknown operators first, before nodes that only prepare their input, such as a transposition."""
        depends = {self.file.input}
        for node in nodes:
            if node.op_type not in ("Shape", "Size") and depends.intersection(reads(node)):
                depends.update(node.output)
                if node.op_type not in ONNX and node.op_type not in RANDOM and node.op_type != "If":
                    raise _refusal(node, f"operator {node.op_type} is unknown")

    def _node(self, node: NodeProto) -> None:
        try:
            self._evaluate(node)
        except NotCovered as problem:
            raise _refusal(node, str(problem)) from problem

    def _branch(self, node: NodeProto, condition: Any) -> list[Any]:
        """The results of the branch that a constant condition takes."""
        if isinstance(condition, Value):
            raise NotCovered("which branch it takes depends on the input")
        from onnx.numpy_helper import to_array

        taken = "then_branch" if bool(condition) else "else_branch"
        [branch] = [attribute.g for attribute in node.attribute if attribute.name == taken]
        outer = self.results, self.types, self.counted  # a branch has its own names
        self.results, self.types, self.counted = dict(self.results), dict(self.types), dict(self.counted)
        self.results.update((tensor.name, to_array(tensor)) for tensor in branch.initializer)
        for inner in branch.node:
            self._node(inner)
        names = [made.name for made in branch.output]
        results, types = [self.results[name] for name in names], [self.types.get(name) for name in names]
        counted = [self.counted.get(name) for name in names]
        self.results, self.types, self.counted = outer
        self.types.update((output, kind) for output, kind in zip(node.output, types, strict=True) if kind is not None)
        self.counted.update((output, one) for output, one in zip(node.output, counted, strict=True) if one is not None)
        return results

    def _evaluate(self, node: NodeProto) -> None:
        if missing := [name for name in node.input if name and name not in self.results]:
            raise NotCovered(f"it reads {missing[0]!r}, a further output that no rule covers")
        inputs = [self.results[name] if name else None for name in node.input]
        dropping = node.op_type == "Dropout" and len(inputs) > 2 and inputs[2] is not None
        if node.op_type in RANDOM or (dropping and bool(np.any(_array(plain(inputs[2]))))):
            raise ModelError(f"{self.file.label}: {_named(node)} draws random numbers; export it without")
        if node.domain not in STANDARD:
            raise NotCovered(f"it is of domain {node.domain!r}, and only ONNX's own operators are read")
        pair = [self.counted.get(name, value) for name, value in zip(node.input, inputs, strict=True)]
        if node.op_type in ("Shape", "Size"):  # their result is constant for a batch of one
            pair = [self._stand_in(value, 2) if isinstance(value, Value) else value for value in pair]
            inputs = [self._stand_in(value) if isinstance(value, Value) else value for value in inputs]
        self._count(node, inputs, pair)
        if node.op_type == "If":
            results = self._branch(node, inputs[0])
        elif any(isinstance(value, Value) for value in inputs):
            results = self._apply(node, inputs)
        else:
            results = self._constants(node, inputs)
        self.results.update(zip(node.output, results, strict=False))

    def _constants(self, node: NodeProto, inputs: Sequence[Any]) -> list[Any]:
        """Results of a node on constants by onnxruntime: arrays if they are exact, otherwise with their errors."""
        arrays = [plain(value) if value is None else _array(plain(value)) for value in inputs]
        results, name = fold(node, arrays, self.file.opset), node.op_type
        inexact = any(isinstance(value, Inexact) for value in inputs)
        if name in QUANTIZING:
            raise NotCovered(
                "how executions round decides which whole numbers it makes; store them in the model instead"
            )
        if not inexact and all(array.dtype.kind not in "fV" for array in results):
            return list(results)
        if inexact and name in MOVERS:
            lacking = [None if value is None else _array(lost(_tensor(value))) for value in inputs]
            errors = fold(node, lacking, self.file.opset)
            times = max(value.times for value in inputs if isinstance(value, Inexact))
            return [
                Inexact(_tensor(array), moved_error(error), times) if array.dtype.kind == "f" else array
                for array, error in zip(results, errors, strict=True)
            ]
        given = [_tensor(array) for array in arrays if array is not None]
        settings = {one.name: one.s.decode() for one in node.attribute if one.name == "reduction"}
        placed = name not in CHOICES or not computes(settings)
        if not inexact and placed and all(exact(name, given, _tensor(array)) for array in results):
            return list(results)
        if len(results) > 1:
            raise NotCovered("several results are computed from constants and rounded; store them in the model instead")
        [array] = results
        rule = dict(ONNX).get(name)
        number = _tensor(array) if array.dtype.kind == "f" else _tensor(array).to(self.file.dtype)
        made = enclosed(name, rule, arguments(node, inputs, self.file.opset), number, self.file.opset)
        if not bool((made.error > 0).any()):
            return [array]
        if array.dtype.kind != "f":
            raise NotCovered("whole numbers or truth values depend on how constants are rounded; store them instead")
        return [made]

    def _count(self, node: NodeProto, inputs: Sequence[Any], pair: Sequence[Any]) -> None:
        """Track constants that depend on the batch size, and refuse numbers that are computed from them.

        A file with a dynamic batch may read the batch size. Shapes may depend on it, but values must not.

        Raises:
            NotCovered: if a value depends on it.
        """
        changed = [not (isinstance(one, Value) or _alike(one, other)) for one, other in zip(inputs, pair, strict=True)]
        if not self.file.batched or self.whole is not None or not any(changed):
            return
        said = "what it computes depends on how many inputs are in a batch"
        if node.op_type == "If" or any(isinstance(plain(one), Tensor) for one in pair):
            raise NotCovered(said)
        if not any(isinstance(one, Value) for one in inputs):
            made, other = (fold(node, [plain(one) for one in each], self.file.opset) for each in (inputs, pair))
            self.counted.update(
                (name, two)
                for name, one, two in zip(node.output, made, other, strict=True)
                if name and not _alike(one, two)
            )
            return
        for place, (one, other) in enumerate(zip(inputs, pair, strict=True)):
            if changed[place] and not (_longer(node.op_type, place, one, other) or _repeated(one, other)):
                raise NotCovered(said)

    def _stand_in(self, value: Value, samples: int = 1) -> NDArray[Any]:
        return np.broadcast_to(np.float32(0), (samples,) * value.leading + value.shape)

    def _apply(self, node: NodeProto, inputs: Sequence[Any]) -> list[Any]:
        if node.op_type not in ONNX:
            raise NotCovered(f"operator {node.op_type} is unknown")
        full = self._shapes(node, inputs)
        build = self.builder.adder(node.name or node.output[0], "")
        batched = self.whole is not None and node.op_type in BATCHED
        wanted = sum(bool(name) for name in node.output)
        integer = INTEGERS.get(self.types[node.output[0]]) if node.op_type in SUMS else None
        from onnx import TensorProto

        double = any(self.types.get(name) == TensorProto.DOUBLE for name in node.input if name)
        dtype = torch.float64 if double else self.file.dtype

        def read(leading: int, given: Mapping[str, Any]) -> Any:
            if any(isinstance(value, Inexact) for _, value in flat(given)):
                return read_inexact(node.op_type, partial(read, leading), given, build)
            if leading and not batched and full[0] is not None and full[0][:1] != (1,):
                raise MixesSamples
            shapes = [None if shape is None else shape[leading:] for shape in full]
            stated, opset = shapes[0] or (), self.file.opset
            call = Call(node.op_type, given, dtype, stated, build, opset, leading, wanted)
            made = ONNX[node.op_type](call)
            if integer is not None and isinstance(made, Value):
                made = build(Integer.of(integer), (made,))
            results = [made] if isinstance(made, (Value, Tensor)) else list(made)
            if given.get("ceil_mode"):  # ONNX counts windows that begin beyond the image, onnxruntime does not
                return results
            for result, shape in zip(results, shapes, strict=False):
                if isinstance(result, Value) and shape is not None and result.shape != shape:
                    raise NotCovered(f"its rule makes samples of shape {result.shape}, ONNX {shape}")
            return [result.numpy() if isinstance(result, Tensor) else result for result in results]

        given, before = arguments(node, inputs, self.file.opset), len(self.builder.nodes)
        results = read(1, given) if self.whole is None else at_some_level(read, given, build, batched=batched)
        if self.whole in (None, 1):
            self._check_alone(node, inputs, results, self.builder.nodes[before:])
        return results

    def _check_alone(
        self, node: NodeProto, inputs: Sequence[Any], results: Sequence[Any], nodes: Sequence[Node]
    ) -> None:
        """Compare the operators for a node with onnxruntime on random numbers; equal nodes only once.

        Raises:
            NotCovered: if the two differ.
        """
        from onnx import helper

        values = {place: value for place, value in enumerate(inputs) if isinstance(value, Value)}
        made = [(place, one) for place, one in enumerate(results) if isinstance(one, Value)]
        arrays = [_array(plain(one)) if isinstance(one, (np.ndarray, Inexact)) else None for one in inputs]
        types = {place: helper.tensor_dtype_to_np_dtype(self.types[node.input[place]]) for place in values}
        likes = {place: _like(value, types[place]) for place, value in values.items()}
        key = (
            (node.op_type, len(node.output)),
            b"".join(sorted(one.SerializeToString() for one in node.attribute)),
            tuple((place, tuple(one.shape), one.dtype, values[place].leading) for place, one in likes.items()),
            tuple(
                None if one is None else (one.shape, one.dtype.str, hashlib.sha256(one.tobytes()).digest())
                for one in arrays
            ),
        )
        if key in self.held:
            return
        self.held.add(key)

        session: list[Callable[[Sequence[Any]], list[NDArray[Any]]]] = []

        def run(given: Sequence[Tensor], _: object) -> list[Tensor]:
            at = dict(zip(values, given, strict=True))
            filled = [at[place].numpy() if place in at else one for place, one in enumerate(arrays)]
            if not session:  # created late, once memory was checked
                session.append(runner(node, filled, self.file.opset))
            found = session[0](filled)
            return [_answer(found[place]) for place, _ in made]

        numbers = [number for one in arrays if one is not None for number in one.flatten()[:8].tolist()]
        check_alone(
            run,
            [(values[place], likes[place]) for place in values],
            nodes,
            [one for _, one in made],
            [float(number) for number in numbers if abs(number) < NUMBERS],
            (),
        )

    def _shapes(self, node: NodeProto, inputs: Sequence[Any]) -> list[Shape | None]:
        """The shape of each result with its batch axis as ONNX infers it; None if it does not.

        Raises:
            NotCovered: if the operator has no rule for the type of its first result.
        """
        from onnx import helper

        constants = {
            name: _array(plain(v))
            for name, v in zip(node.input, inputs, strict=True)
            if isinstance(v, (np.ndarray, Inexact))
        }
        types = {
            name: helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in constants.items()
        }
        for name, value in zip(node.input, inputs, strict=True):
            if isinstance(value, Value):
                types[name] = helper.make_tensor_type_proto(self.types[name], _own_shape(value))
        found = inferred(node, types, constants, self.file.opset)
        shapes: list[Shape | None] = []
        for output in node.output:
            kind = found[output].tensor_type if output in found else None
            self.types[output] = kind.elem_type if kind else self.types[self.file.input]
            sizes = [size.dim_value for size in kind.shape.dim if size.HasField("dim_value")] if kind else []
            known = kind and kind.HasField("shape") and len(sizes) == len(kind.shape.dim)
            shapes.append(tuple(sizes) if known else None)
            if output != node.output[0]:
                continue
            read = [self.types[name] for name in types if name not in constants]
            check_types(node.op_type, read, self.types[output], constants.values())
        return shapes


def _alike(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, np.ndarray) and np.array_equal(one, other))


def _longer(kind: str, place: int, one: Any, other: Any) -> bool:
    """Whether two shapes differ only in the batch size, by a factor of two."""
    shaped = (kind, place) in (("Reshape", 1), ("Expand", 1), ("Resize", 3)) and len(one) == len(other) > 0
    return shaped and bool(other[0] == 2 * one[0]) and bool((one[1:] == other[1:]).all())


def _repeated(one: Any, other: Any) -> bool:
    """Whether a constant for two inputs repeats that for one."""
    axes = [axis for axis, size in enumerate(one.shape) if (size, other.shape[axis]) == (1, 2)]
    return one.ndim == other.ndim and len(axes) == 1 and np.array_equal(np.repeat(one, 2, axes[0]), other)


def _own_shape(value: Value) -> Shape:
    """The shape of the file's own tensor."""
    return (1,) * value.leading + value.shape


def _like(value: Value, dtype: Any) -> Tensor:
    """A tensor of the shape and type of the file's own, without numbers."""
    return torch.empty(_own_shape(value), dtype=torch.from_numpy(np.empty(0, dtype)).dtype, device="meta")


def _answer(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.float64) if array.dtype.kind == "u" else array)


def _refusal(node: NodeProto, why: str) -> UnsupportedOperator:
    return UnsupportedOperator(
        f"{_named(node)} has no rule: {why}; add one under certify/bounds/rules, or use smoothing, which needs none"
    )


def _array(value: Any) -> NDArray[Any]:
    return value.numpy() if isinstance(value, Tensor) else value


def _tensor(value: Any) -> Any:
    return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value


def _named(node: NodeProto) -> str:
    return f"node {node.name or node.output[0]} ({node.op_type})"


def _compare(graph: Graph, file: OnnxFile, output: str) -> None:
    """Refuse a graph that differs from onnxruntime, on single inputs and, if possible, on batches."""
    every = probes(graph.shape, widest=graph.widest).to(file.dtype)

    def answers(rows: slice) -> list[Tensor]:
        x = every[rows]
        runs = [file.run(x, output)]
        if file.batched:
            # If a batch size of 1 is fixed somewhere inside, the file only works for single inputs.
            with contextlib.suppress(ModelError):
                runs.append(file.run(x, output, together=True))
        for run in runs:
            if run.shape != (len(x), *graph.output.shape):
                raise ModelError(
                    f"{file.label}: onnxruntime returns {tuple(run.shape)} for {len(x)} inputs, the imported graph "
                    f"{(len(x), *graph.output.shape)}; the samples of a batch are mixed"
                )
        return runs

    if not agrees(graph, every, answers, file.dtype, least=1 + file.batched):
        said = branch_without_value(graph.to(file.dtype), every, lambda rows: answers(rows)[0])
        said = said or "the imported graph does not compute what onnxruntime computes; report it"
        raise ModelError(f"{file.label}: {said}")
