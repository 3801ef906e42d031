"""A classifier behind a transform: it reads an input and the parameters of the transform, and answers about both."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from certify.core.input_box import InputBox
from certify.core.threats.base import Threat
from certify.core.threats.own import Own
from certify.core.threats.transform import Transform
from certify.models.classifier import Classifier
from certify.models.digest import function_digest
from certify.models.regressor import Regressor

__all__ = ["Transformed", "behind", "beside"]


class Transformed(nn.Module):
    """A model that reads features (B, n) with the parameters of a transform behind them.

    Args:
        model: it takes inputs of ``shape``.
        threat: the transform.
        shape: of one input.
        input_box: of the model's inputs.
    """

    def __init__(self, model: Any, threat: Transform, shape: tuple[int, ...], input_box: InputBox | None) -> None:
        super().__init__()
        self.model, self.threat, self.shape, self.size = model, threat, shape, math.prod(shape)
        self.eval()
        for name, values in threat.constants(shape, input_box).items():
            self.register_buffer(f"constant_{name}", torch.as_tensor(values, dtype=torch.float32)[None])
        self.ends: tuple[Any, Any] | None = None if input_box is None else input_box.pair
        if input_box is not None and self.ends is None:
            for name, end in zip(("lower", "upper"), input_box.ends(shape), strict=True):
                self.register_buffer(name, torch.as_tensor(end, dtype=torch.float32)[None])
            self.ends = self.get_buffer("lower"), self.get_buffer("upper")

    def forward(self, z: Tensor) -> Tensor:
        """Scores of the transformed inputs."""
        x = z[:, : self.size].reshape(-1, *self.shape)
        ones = [1] * len(self.shape)
        strengths = tuple(
            z[:, place : place + 1].reshape(-1, *ones)
            for place in range(self.size, self.size + len(self.threat.parameters))
        )
        changed: Tensor = self.model(self.threat.apply(x, strengths, self))
        return changed

    def constant(self, name: str) -> Tensor:
        """A constant of the transform, (1, ...)."""
        return self.get_buffer(f"constant_{name}")

    def cut(self, x: Tensor) -> Tensor:
        """Inputs cut to the input box, where there is one."""
        return x if self.ends is None else x.clamp(*self.ends)

    def resample(self, x: Tensor, columns: Tensor, rows: Tensor, padding: str) -> Tensor:
        """Images read at places (B, H, W), counted from the middle."""
        height, width = x.shape[-2:]
        grid = torch.stack([columns * (2 / width), rows * (2 / height)], dim=3)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def behind(classifier: Classifier, threat: Threat, shape: tuple[int, ...]) -> Classifier:
    """The classifier of features and parameters, where a threat is a transform; otherwise the one that is given.

    Args:
        classifier: of inputs of ``shape``.
        threat: any threat.
        shape: of one input, without a batch axis.

    Raises:
        BadInput: for inputs that the transform is not defined for.

    >>> from certify.core.threats.brightness import Brightness
    >>> clf = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval(), num_classes=2)
    >>> behind(clf, Brightness((0.1,)), (2, 2)).scores(torch.zeros(3, 5)).shape
    torch.Size([3, 2])
    """
    if not isinstance(threat, Transform):
        return classifier
    threat.check_form(shape)
    base = classifier.base
    plain = replace(threat, radii=(0.0,))  # type: ignore[type-var]
    model = Transformed(base.function if base.module is None else base.module, plain, shape, base.input_box)
    box = None if base.input_box is None else base.input_box.to_json()
    code = function_digest(threat.call) if isinstance(threat, Own) and threat.call is not None else ""
    said = json.dumps([base.digest, threat.kind, dict(threat.settings), code, shape, box], sort_keys=True)
    made = (Regressor if base.num_classes == 1 else partial(Classifier, num_classes=base.num_classes))(
        model.forward if base.module is None else model,
        input_box=None,
        device=base.device,
        name=base.name,
        digest=hashlib.sha256(said.encode()).hexdigest(),
    ).executed(base.arithmetic.precision, base.arithmetic.compile)
    return made if classifier.property == made.property else made.with_property(classifier.property)


def beside(x: Tensor, threat: Threat) -> Tensor:
    """Inputs (B, ...) with parameters of 0 behind their features, (B, n), where a threat is a transform."""
    if not isinstance(threat, Transform):
        return x
    return torch.cat([x.flatten(1), x.new_zeros(len(x), len(threat.parameters))], dim=1)
