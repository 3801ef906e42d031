"""ONNX files of any inputs and operators, executed by onnxruntime behind a function that feeds them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from certify.bounds.importers.onnx_file import complaint, loaded, session_of
from certify.bounds.importers.onnx_ml import scores_only
from certify.core.input_box import BoxLike
from certify.errors import BadInput, ModelError
from certify.models.classifier import Classifier
from certify.models.digest import function_digest
from certify.models.files import ADAPTED_FILES

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Adapted", "load_adapted"]

Adapter = Callable[[Tensor], Mapping[str, Any]]


@ADAPTED_FILES.register(".onnx")
def load_adapted(path: Path, adapter: Adapter, num_classes: int | None, input_box: BoxLike, device: str) -> Classifier:
    """Read an ONNX file as a function of what an adapter makes of a batch: for smoothing and attacks without gradients.

    Args:
        path: the file; its one output of floats holds the scores, labels beside them are left out.
        adapter: (1, ...) float32 tensor -> an array for each input of the file, by name.
        num_classes: K; None where the file states it.
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
    """Scores (B, K) from onnxruntime, each sample by itself, so that they cannot depend on the batch.

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
