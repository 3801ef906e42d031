"""``FILE.pt2``: a program that ``torch.export.save`` wrote, read without running any code in it.

``torch.export.load`` unpickles parts of the file and evaluates strings in it, so it is not used. The archive keeps its
graph as JSON and its weights as raw bytes; both are read here, and only the listed operators are carried out.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from certify.bounded.files import opened, taken, text_room
from certify.bounded.memory import check_room
from certify.bounded.texts import from_json
from certify.core.input_box import BoxLike
from certify.errors import ModelError, one_line
from certify.models.classifier import Classifier
from certify.models.loaders import MODEL_FILES
from certify.models.normalization import Statistic
from certify.models.program import check_sizes, check_writes

__all__ = ["OPERATORS", "ExportedNetwork", "load_exported"]

# fmt: off
OPERATORS = frozenset({
    "_softmax", "adaptive_avg_pool2d", "add", "add_", "addmm", "amax", "avg_pool2d", "batch_norm", "bmm", "cat",
    "clamp", "clone", "constant_pad_nd", "contiguous", "conv1d", "conv2d", "div", "dropout", "elu", "exp",
    "expand", "flatten", "gelu", "group_norm", "hardsigmoid", "hardswish", "hardtanh", "hardtanh_", "layer_norm",
    "leaky_relu", "leaky_relu_", "linear", "log", "log_softmax", "matmul", "max_pool2d", "mean", "mm", "mul",
    "neg", "pad", "permute", "pow", "relu", "relu_", "reshape", "rsqrt", "select", "sigmoid", "silu", "silu_",
    "slice", "softmax", "softplus", "sqrt", "squeeze", "sub", "sum", "sym_size", "t", "tanh", "transpose",
    "unsqueeze", "view",
})
# fmt: on
"""The operators of ``torch.ops.aten`` that an exported network may contain: functions of tensors and nothing else."""

DTYPES = {5: torch.int64, 7: torch.float32, 8: torch.float64, 12: torch.bool}
"""torch.export's codes of element types."""

TRIED = 2
"""Samples in the batch on which writes are looked for."""

KEYWORD = 2
"""torch.export's code of an argument that is passed by keyword."""

_CORRUPT = (
    *(OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error),  # while the archive is read
    *(ValueError, TypeError, KeyError, IndexError, AttributeError),  # while its content is interpreted
)

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One operator of the graph with its arguments as the file describes them, and the names of what it returns."""

    operator: Any
    arguments: tuple[tuple[str | None, Values], ...]
    returns: tuple[str, ...]


class ExportedNetwork(nn.Module):
    """The graph of an exported program, one operator after the other; its weights are buffers."""

    def __init__(
        self, steps: tuple[Step, ...], weights: Mapping[str, Tensor], input_name: str, output_name: str
    ) -> None:
        super().__init__()
        self.steps, self.input_name, self.output_name = steps, input_name, output_name
        for name, tensor in weights.items():
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, K) of a batch (B, ...)."""
        values = {**dict(self.named_buffers()), self.input_name: x}
        for step in self.steps:
            positional = [_argument(value, values) for name, value in step.arguments if name is None]
            keywords = {name: _argument(value, values) for name, value in step.arguments if name is not None}
            made = step.operator(*positional, **keywords)
            values.update(zip(step.returns, made if len(step.returns) > 1 else (made,), strict=True))
        return values[self.output_name]


@MODEL_FILES.register(".pt2")
def load_exported(
    path: Path,
    input_box: BoxLike = (0.0, 1.0),
    device: str = "cpu",
    *,
    mean: Statistic | None = None,
    std: Statistic | None = None,
) -> Classifier:
    """Read an exported program with one input and one output as a classifier.

    Args:
        path: what ``torch.export.save`` wrote; export with a dynamic batch dimension. The last size of the program's
            output is the number of classes.
        input_box, device, mean, std: as in :class:`Classifier`.

    Raises:
        ModelError: if the file is corrupt, holds pickled parts, or uses an operator that is not in ``OPERATORS``.
    """
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            module, classes = _network(archive)
    except OSError as problem:
        raise ModelError(f"{path} cannot be read: {problem.strerror or problem}") from problem
    except ModelError as problem:
        raise ModelError(f"{path} {problem}; name a Python function that builds the module instead") from problem
    except _CORRUPT as problem:
        raise ModelError(f"{path} is no exported program, or a corrupt one: {one_line(problem)}") from problem
    return Classifier(module.eval(), classes, input_box, mean=mean, std=std, device=device, name=path.name)


def _network(archive: zipfile.ZipFile) -> tuple[ExportedNetwork, int]:
    models = [name for name in archive.namelist() if "/models/" in name]
    if len(models) != 1 or not models[0].endswith("/models/model.json"):
        raise ModelError("does not hold exactly one program called model")
    root = models[0].removesuffix("models/model.json")
    if _member(archive, f"{root}byteorder") != b"little":
        raise ModelError("was written on a big-endian machine")
    program = from_json(_member(archive, models[0], text_room()))["graph_module"]
    stored = _tensors(archive, f"{root}data/", "weights") | _tensors(archive, f"{root}data/", "constants")
    weights, inputs = {}, []
    for spec in program["signature"]["input_specs"]:
        ((kind, entry),) = spec.items()
        if kind == "user_input":
            inputs.append(entry["arg"]["as_tensor"]["name"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            weights[entry["arg"]["name"]] = stored[entry[f"{kind}_name"]]
        else:
            raise ModelError(f"has an input of the kind {kind}, which is not read")
    outputs = [spec["user_output"]["arg"]["as_tensor"]["name"] for spec in program["signature"]["output_specs"]]
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"has {len(inputs)} inputs and {len(outputs)} outputs; a classifier has one of each")
    steps = tuple(_step(node) for node in program["graph"]["nodes"])
    check_sizes(program["graph"]["nodes"])
    sizes = {name: program["graph"]["tensor_values"][name]["sizes"] for name in (inputs[0], outputs[0])}
    network = ExportedNetwork(steps, weights, inputs[0], outputs[0])
    check_writes(network, [int(one.get("as_int", TRIED)) for one in sizes[inputs[0]]])
    return network, int(sizes[outputs[0]][-1]["as_int"])


def _tensors(archive: zipfile.ZipFile, data: str, kind: str) -> dict[str, Tensor]:
    tensors, total = {}, 0
    folder = f"{data}{kind}/"
    config = from_json(_member(archive, f"{folder}model_{kind}_config.json", text_room()))["config"]
    for name, entry in config.items():
        if entry["use_pickle"] or entry["tensor_meta"] is None:
            raise ModelError(f"keeps {name!r} as a pickle, which could run code")
        meta = entry["tensor_meta"]
        if meta["dtype"] not in DTYPES:
            raise ModelError(f"keeps {name!r} in an element type that is not read; export the model in float32")
        size, stride = ([int(each["as_int"]) for each in meta[field]] for field in ("sizes", "strides"))
        content = bytearray(_member(archive, f"{folder}{entry['path_name']}"))
        flat = (
            torch.frombuffer(content, dtype=DTYPES[meta["dtype"]])
            if content
            else torch.empty(0, dtype=DTYPES[meta["dtype"]])
        )
        tensor = flat.as_strided(size, stride, int(meta["storage_offset"]["as_int"]))
        # Strides of 0 repeat what is stored: a few bytes can stand for any number, and stay as few.
        tensors[name] = tensor.clone() if tensor.numel() <= flat.numel() else tensor
        total += tensor.numel() * tensor.element_size()
        check_room("the weights of an exported program", total, share=0.8)
    return tensors


def _member(archive: zipfile.ZipFile, name: str, most: int | None = None) -> bytes:
    with archive.open(name) as member:
        return taken(member, name, most)


def _step(node: Values) -> Step:
    parts = node["target"].split(".")
    if parts[:3] != ["torch", "ops", "aten"] or len(parts) != 5 or parts[3] not in OPERATORS or "out" in parts[4]:
        raise ModelError(f"contains the operator {node['target']}, which is not read")
    operator = getattr(getattr(torch.ops.aten, parts[3]), parts[4])
    arguments = tuple((given["name"] if given["kind"] == KEYWORD else None, given["arg"]) for given in node["inputs"])
    returns = tuple(_name(output) for output in node["outputs"])
    return Step(operator, arguments, returns)


def _name(output: Values) -> str:
    ((kind, value),) = output.items()
    if kind not in ("as_tensor", "as_sym_int"):
        raise ModelError(f"contains an operator that returns {kind.removeprefix('as_')}, which is not read")
    return str(value["name"] if kind == "as_tensor" else value["as_name"])


def _argument(described: Values, values: Values) -> Any:
    ((kind, value),) = described.items()
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return values[value["name"]]
        case "as_tensors":
            return [values[each["name"]] for each in value]
        case "as_optional_tensor":
            return _argument(value, values)
        case "as_sym_int":
            return value["as_int"] if "as_int" in value else values[value["as_name"]]
        case "as_sym_ints":
            return [_argument({"as_sym_int": each}, values) for each in value]
        case "as_float":
            return float(value)
        case "as_int" | "as_ints" | "as_bool" | "as_bools" | "as_floats" | "as_string":
            return value
        case "as_scalar_type":
            return DTYPES[value]
    raise ModelError(f"an exported operator has an argument of the kind {kind}, which is not read")
