"""Calls that change no number of a network in eval mode, or do not look at the numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from certify.bounds.rules.base import ATEN, ONNX, Call, NotCovered, Value

__all__: list[str] = []


@ATEN.register("detach")
@ATEN.register("clone")
@ATEN.register("contiguous")
@ATEN.register("alias")
@ATEN.register("lift_fresh_copy")
def unchanged(call: Call) -> Value:
    """Copies and views."""
    value: Value = call["self"]
    return value


@ATEN.register("dropout")
@ATEN.register("feature_dropout")
def dropout(call: Call) -> Value:
    """Dropout in eval mode."""
    if call["train"]:
        raise NotCovered("it is random in train mode: call model.eval()")
    value: Value = call["input"]
    return value


@ATEN.register("zeros_like")
@ATEN.register("ones_like")
@ATEN.register("full_like")
def constant_like(call: Call) -> Tensor:
    """Constants of the shape of a result, for one sample that stands for all."""
    fill = {"zeros_like": 0.0, "ones_like": 1.0}.get(call.target)
    value = call["self"]
    given = call.get("fill_value") if fill is None else fill
    if not isinstance(value, Value) or isinstance(given, Value):
        raise NotCovered("the number that fills depends on the input")
    return torch.full((1,) * call.leading + call.shape, float(given), dtype=call["dtype"] or call.dtype)


@ONNX.register("Identity")
def onnx_identity(call: Call) -> Value:
    """The input."""
    value: Value = call["input"]
    return value


@ONNX.register("Dropout")
def onnx_dropout(call: Call) -> Value:
    """Dropout outside of training."""
    training = call.get("training_mode")
    if training is not None and bool(training):
        raise NotCovered("it is random in training mode: export the model in eval mode")
    value: Value = call["data"]
    return value
