"""``FILE.onnx`` as a classifier: by its graph, or executed by onnxruntime, behind an adapter where it has one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from certify.bounds.importers.graph_module import GraphModule
from certify.bounds.importers.onnx_file import OnnxFile, complaint, loaded, read_onnx, session_of
from certify.bounds.importers.onnx_import import import_file
from certify.bounds.importers.onnx_ml import scores_only
from certify.bounds.tensors import flat
from certify.core.input_box import BoxLike
from certify.errors import BadInput, ModelError, UnsupportedOperator
from certify.models.classifier import Classifier
from certify.models.digest import function_digest
from certify.models.loaders import ADAPTED_FILES, MODEL_FILES
from certify.models.normalization import Statistic

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Adapted", "Executed", "load_adapted", "load_onnx"]


@MODEL_FILES.register(".onnx")
def load_onnx(
    path: Path,
    input_box: BoxLike = (0.0, 1.0),
    device: str = "cpu",
    *,
    mean: Statistic | None = None,
    std: Statistic | None = None,
) -> Classifier:
    """Read an ONNX file as a classifier that is differentiable and can be bounded.

    If an operator has no rule, the network is executed by onnxruntime instead, as a function. That suffices for
    smoothing; bounds refuse it and name the operator.

    Args:
        path: a file of opset 8 to 25 with one input and one output, whose entries are the classes.
        input_box, device, mean, std: as in :class:`Classifier`.

    Raises:
        ModelError: as :func:`~certify.bounds.importers.onnx_import.import_onnx`.
    """
    file = read_onnx(path)
    try:
        graph = import_file(file)
    except UnsupportedOperator as refusal:
        function = Executed(file, refusal)
        content = hashlib.sha256(file.model.SerializeToString(deterministic=True)).hexdigest()
        classes, name = function.outputs, path.name
        return Classifier(function, classes, input_box, mean=mean, std=std, device=device, name=name, digest=content)
    module = GraphModule(graph).eval()
    classes = math.prod(graph.output.shape)
    return Classifier(module, classes, input_box, mean=mean, std=std, device=device, name=path.name)


class Executed:
    """Computes scores (B, K) by onnxruntime, each sample alone, so that they cannot depend on the batch.

    Args:
        file: a file with one output.
        refusal: why there is no graph.

    Raises:
        UnsupportedOperator: the refusal, if the file has several outputs.
    """

    def __init__(self, file: OnnxFile, refusal: UnsupportedOperator) -> None:
        if len(file.model.graph.output) != 1:
            raise refusal
        self.file, self.refusal = file, refusal
        self.outputs = self(torch.zeros(1, *file.shape)).shape[1]

    def __call__(self, x: Tensor) -> Tensor:
        """The file's scores, computed on the CPU and returned on the device of ``x``."""
        return flat(self.file.run(x), 1).to(x.device)


Adapter = Callable[[Tensor], Mapping[str, Any]]


@ADAPTED_FILES.register(".onnx")
def load_adapted(path: Path, adapter: Adapter, num_classes: int | None, input_box: BoxLike, device: str) -> Classifier:
    """Read an ONNX file whose inputs an adapter makes from a batch: for smoothing and attacks without gradients.

    Args:
        path: the file; its only output of floats is the scores, outputs of labels are ignored.
        adapter: maps a float32 tensor (1, ...) to an array for each input of the file, by name.
        num_classes: K; None if the file states it.
        input_box, device: as in :class:`Classifier`.

    Raises:
        BadInput: if the number of classes is not known.
        ModelError: for a file without one output of scores.
    """
    label, model, _ = loaded(path)
    function = Adapted(label, scores_only(model), adapter)
    classes = num_classes or function.classes
    if classes is None:
        raise BadInput(f"how many classes does {path} have? its output has no fixed size: give num_classes")
    content = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    digest = hashlib.sha256(f"{content} {function_digest(adapter)}".encode()).hexdigest()
    return Classifier(function, classes, input_box, device=device, name=path.name, digest=digest)


class Adapted:
    """Computes scores (B, K) by onnxruntime behind an adapter, each sample alone.

    Args:
        label: what messages call the file.
        model: its content.
        adapter: as in :func:`load_adapted`.

    Raises:
        ModelError: unless exactly one output holds floats.
    """

    def __init__(self, label: str, model: ModelProto, adapter: Adapter) -> None:
        from onnx import TensorProto

        floats = (TensorProto.FLOAT, TensorProto.DOUBLE)
        scores = [one for one in model.graph.output if one.type.tensor_type.elem_type in floats]
        if len(scores) != 1:
            names = ", ".join(one.name for one in scores) or "none"
            raise ModelError(f"{label} has {len(scores)} outputs of floats ({names}); export it with its scores alone")
        self.label, self.adapter, self.output = label, adapter, scores[0].name
        self.session = session_of(label, model)
        last = [size.dim_value for size in scores[0].type.tensor_type.shape.dim][-1:]
        self.classes = last[0] if last and last[0] > 1 else None

    def __call__(self, x: Tensor) -> Tensor:
        """The file's scores, back on the device of ``x``."""
        return torch.cat([self._scores(row) for row in x.detach().cpu().split(1)]).to(x.device)

    def _scores(self, row: Tensor) -> Tensor:
        feeds = self.adapter(row)
        if not isinstance(feeds, Mapping):
            wanted = ", ".join(one.name for one in self.session.get_inputs())
            raise ModelError(f"the adapter of {self.label} must return a dict of arrays for its inputs: {wanted}")
        try:
            [scores] = self.session.run([self.output], {name: np.asarray(value) for name, value in feeds.items()})
        except Exception as problem:  # onnxruntime's errors have no common class
            raise ModelError(f"{self.label} cannot be run on what its adapter made: {complaint(problem)}") from problem
        return torch.from_numpy(np.array(scores)).reshape(1, -1)
