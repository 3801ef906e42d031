"""ONNX files: reading, early refusal unless they are a function of one float tensor, and execution by onnxruntime."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.bounded.files import content_of
from certify.bounds.importers.onnx_ml import lowered, scores_only
from certify.bounds.rules.base import Shape
from certify.errors import BadInput, ModelError, UnsupportedOperator, needs, one_line

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["OPSETS", "STANDARD", "OnnxFile", "bare_session", "complaint", "loaded", "read_onnx", "session_of"]

OPSETS = range(8, 26)
"""The versions of ONNX's operators that are read; onnxruntime runs all of them."""

ADAPTER = "package.module:function@FILE.onnx, where the function turns a batch into a dict of the file's inputs"

EXPORT = 20
"""The version that messages recommend for export: the newest that every exporter of torch can write."""

DTYPES = {1: torch.float32, 11: torch.float64}
"""ONNX's codes of element types that a network may compute in."""

STANDARD = ("", "ai.onnx")


@dataclass(frozen=True, slots=True, eq=False)
class OnnxFile:
    """A valid model with one float input.

    Args:
        label: what messages call the file.
        model: its content, external weights included.
        opset: version of its operators.
        input: name of its input.
        shape: shape of one sample.
        leading: 1 if the first axis of its tensors is the batch, 0 if its whole input is one sample.
        batched: whether it states that it takes several samples at once.
        dtype: the floating-point type that it computes in.
        constants: its stored tensors.
        session: onnxruntime, which says what the file computes.
        foreign: the refusal of an operator that is not ONNX's own, if there is one; such a file can only be executed.
    """

    label: str
    model: ModelProto
    opset: int
    input: str
    shape: Shape
    leading: int
    batched: bool
    dtype: torch.dtype
    constants: dict[str, NDArray[Any]]
    session: Any
    foreign: UnsupportedOperator | None = None

    def run(self, x: Tensor, output: str | None = None, *, together: bool = False) -> Tensor:
        """An output (by default the only one) for a batch of samples (B, *shape).

        Each sample is executed alone, unless all are to be executed ``together`` in one call.

        Raises:
            ModelError: if onnxruntime fails.
        """
        given = x.detach().to("cpu", self.dtype)
        calls = list(given) if self.leading == 0 else [given] if together else list(given.split(1))
        names = None if output is None else [output]
        try:
            made = [
                torch.from_numpy(np.array(self.session.run(names, {self.input: call.numpy()})[0])) for call in calls
            ]
        except Exception as problem:  # onnxruntime's errors have no common class
            raise ModelError(f"{self.label} cannot be run by onnxruntime: {complaint(problem)}") from problem
        if together:
            return made[0]
        # The output of one sample need not have a batch axis of length 1 in front.
        return torch.stack([one[0] if self.leading and one.shape[:1] == (1,) else one for one in made])


def read_onnx(source: Path | bytes) -> OnnxFile:
    """Read a model, all weights included, without running it.

    Args:
        source: a file, or its content.

    Raises:
        BadInput: if there is no such file.
        ModelError: if it is corrupt, misses weights, or is no function of one float32 or float64 tensor of known shape.
        MissingExtra: without onnx or onnxruntime.
    """
    label, model, opset = loaded(source)
    from onnx import numpy_helper

    runs = scores_only(model)
    foreign = None
    try:
        model = lowered(runs, opset)
        _check_domains(model)
    except UnsupportedOperator as refusal:
        model, foreign = runs, refusal
    if model.graph.sparse_initializer:
        raise ModelError(f"{label} stores sparse tensors; export it with dense weights")
    stored = {tensor.name for tensor in model.graph.initializer}
    name, sizes, dtype = _only_input(label, [given for given in model.graph.input if given.name not in stored])
    try:
        session = session_of(label, runs)  # finds faults in the graph, too
    except ModelError:
        if foreign is not None:
            raise foreign from None  # which says more than that the runtime has no such operator either
        raise
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    leading = int(sizes[0] in (None, 1) and (len(sizes) > 1 or sizes[0] is None))
    shape = tuple(size for size in sizes[leading:] if size is not None)
    return OnnxFile(label, model, opset, name, shape, leading, sizes[0] is None, dtype, constants, session, foreign)


def loaded(source: Path | bytes) -> tuple[str, ModelProto, int]:
    """What messages call a file, its content with all weights, and the version of ONNX's own operators.

    Raises:
        BadInput, ModelError, MissingExtra: as :func:`read_onnx`.
    """
    with needs(None, "onnx", "reading ONNX files"):
        import onnx
        import onnxruntime  # noqa: F401  every import is compared with it
    label = "the ONNX model" if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else content_of(source)
    except OSError as problem:
        raise BadInput(f"cannot read {label}: {problem.strerror}") from problem
    try:
        model = onnx.load_model_from_string(content)
    except Exception as problem:  # protobuf's own error, and whatever its decoder meets
        raise ModelError(f"{label} is no ONNX file, or a corrupt one; export it again") from problem
    opset = _opset(label, model)
    _load_external(label, model, None if isinstance(source, bytes) else source.parent)
    return label, model, opset


def _opset(label: str, model: ModelProto) -> int:
    versions = {entry.version for entry in model.opset_import if entry.domain in STANDARD}
    if len(versions) != 1:
        said = f"states {len(versions)} opsets" if versions else "states no opset"
        raise ModelError(f"{label} {said}, or is no ONNX file: export it again with opset_version={EXPORT}")
    [opset] = versions
    if opset not in OPSETS:
        side = f"newer than {OPSETS[-1]}" if opset > OPSETS[-1] else f"older than {OPSETS[0]}"
        raise ModelError(f"{label}: opset {opset} is {side}: export again with opset_version={EXPORT}")
    return opset


def _load_external(label: str, model: ModelProto, folder: Path | None) -> None:
    from onnx import external_data_helper as external

    places = {
        entry.value
        for tensor in model.graph.initializer
        if external.uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    if not places:
        return
    if folder is None:
        raise ModelError(f"{label} keeps weights in the file {min(places)!r}: give its path, not its content")
    for place in sorted(places):
        if not (folder / place).is_file():
            raise ModelError(f"{label} keeps weights in the file {place!r}, which is not in {folder}: put it there")
    try:
        external.load_external_data_for_model(model, str(folder))
    except Exception as problem:  # onnx documents no narrower class
        raise ModelError(f"{label} keeps weights in a file that cannot be read: {one_line(problem)}") from problem


def _check_domains(model: ModelProto) -> None:
    for node in model.graph.node:
        if node.domain not in STANDARD:
            raise UnsupportedOperator(
                f"node {node.name or node.output[0]} ({node.domain}.{node.op_type}) has no rule: only ONNX's own "
                "operators are read; export the model without it"
            )


def _only_input(label: str, inputs: Iterable[ValueInfoProto]) -> tuple[str, list[int | None], torch.dtype]:
    """Name, sizes (None for a dynamic batch axis) and type of the one input."""
    from onnx import TensorProto

    given = list(inputs)
    if len(given) != 1:
        names = ", ".join(repr(value.name) for value in given) or "none"
        raise ModelError(
            f"{label} has {len(given)} inputs ({names}); bounds need a function of one tensor, smoothing an adapter: "
            f"{ADAPTER}"
        )
    name, kind = given[0].name, given[0].type.tensor_type
    if kind.elem_type not in DTYPES:
        found = TensorProto.DataType.Name(kind.elem_type).lower()
        raise ModelError(
            f"{label}: input {name!r} is {found}; certificates need float32: export the model "
            f"in float32; smoothing takes an adapter: {ADAPTER}"
        )
    if not kind.HasField("shape") or len(kind.shape.dim) == 0:
        raise ModelError(f"{label}: input {name!r} has no shape; export the model with fixed sizes")
    sizes: list[int | None] = [size.dim_value if size.dim_value > 0 else None for size in kind.shape.dim]
    for axis, size in enumerate(sizes):
        if axis > 0 and size is None:
            dimension = kind.shape.dim[axis].dim_param or axis
            raise ModelError(
                f"{label}: dimension {dimension!r} of input {name!r} is dynamic; export with fixed sizes, only the "
                "first (batch) axis may be dynamic"
            )
    return name, sizes, DTYPES[kind.elem_type]


def bare_session(model: ModelProto) -> Any:
    """An onnxruntime session on one thread, without graph optimizations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # what matters is raised
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def session_of(label: str, model: ModelProto) -> Any:
    """As :func:`bare_session`, for a file called ``label``.

    Raises:
        ModelError: if onnxruntime refuses it.
    """
    try:
        return bare_session(model)
    except Exception as problem:  # onnxruntime's errors have no common class
        raise ModelError(f"{label} is refused by onnxruntime: {complaint(problem)}") from problem


def complaint(problem: Exception) -> str:
    """The message of an onnxruntime error, without the error codes in front."""
    return str(problem).partition("\n")[0].rpartition(" : ")[2]
