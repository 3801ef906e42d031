"""``FILE.onnx`` as a classifier."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from torch import Tensor

from certify.bounds.importers.graph_module import GraphModule
from certify.bounds.importers.onnx_file import OnnxFile, read_onnx
from certify.bounds.importers.onnx_import import import_file
from certify.bounds.tensors import flat
from certify.core.input_box import BoxLike
from certify.errors import UnsupportedOperator
from certify.models.classifier import Classifier
from certify.models.files import MODEL_FILES
from certify.models.normalization import Statistic

__all__ = ["Executed", "load_onnx"]


@MODEL_FILES.register(".onnx")
def load_onnx(
    path: Path,
    input_box: BoxLike = (0.0, 1.0),
    device: str = "cpu",
    *,
    mean: Statistic | None = None,
    std: Statistic | None = None,
) -> Classifier:
    """Read an ONNX file as a classifier: differentiable, and ready for bounds.

    A network with an operator that has no rule is executed by onnxruntime instead, as a function: smoothing needs no
    more, and bounds say which operator it was.

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
    """Scores (B, K) from onnxruntime, each sample by itself, so that they cannot depend on the batch.

    Args:
        file: with one output.
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
        """The file's answers on the CPU, back on the device of ``x``."""
        return flat(self.file.run(x), 1).to(x.device)
