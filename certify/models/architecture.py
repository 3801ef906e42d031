"""Networks as plain data: a list of layers from a small vocabulary, so that reading a model file never runs code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from certify.bounded.memory import NoRoom, check_room
from certify.errors import ModelError, one_line
from certify.models.blocks import Abs, Mean, Residual
from certify.registry import nearest

__all__ = ["LAYERS", "build", "describe", "initialise"]

LAYERS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "Conv2d": (
        nn.Conv2d,
        ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias"),
    ),
    "Linear": (nn.Linear, ("in_features", "out_features", "bias")),
    "BatchNorm1d": (nn.BatchNorm1d, ("num_features", "eps", "momentum")),
    "BatchNorm2d": (nn.BatchNorm2d, ("num_features", "eps", "momentum")),
    "AvgPool2d": (
        nn.AvgPool2d,
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    "MaxPool2d": (nn.MaxPool2d, ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
    "Flatten": (nn.Flatten, ("start_dim", "end_dim")),
    "ReLU": (nn.ReLU, ()),
    "LeakyReLU": (nn.LeakyReLU, ("negative_slope",)),
    "Sigmoid": (nn.Sigmoid, ()),
    "Tanh": (nn.Tanh, ()),
    "Abs": (Abs, ()),
    "Sequential": (nn.Sequential, ("layers",)),
    "Residual": (Residual, ("branch", "shortcut")),
    "Mean": (Mean, ("members",)),
}
"""The vocabulary: each layer's class and the settings that describe it, under torch's own names. The last three hold
networks, which are lists of layers again."""

SIZES = ("in_channels", "out_channels", "in_features", "out_features", "num_features", "kernel_size")
"""Settings without which a layer has no weights; torch takes 0 for each."""

DEEPEST = 8
"""How deep networks may be nested: what reads a file must not run out of stack."""


def build(layers: Sequence[Mapping[str, Any]], seed: int = 0) -> nn.Sequential:
    """The network that ``layers`` describes, in eval mode, with weights that depend on ``seed`` alone.

    Args:
        layers: one mapping a layer, its class under ``"layer"`` beside its settings; settings left out keep torch's
            defaults.
        seed: for :func:`initialise`.

    Raises:
        ModelError: naming the first layer that is not in the vocabulary or has settings that cannot be; or for weights
            that take nearly all the memory that is free.

    >>> build([{"layer": "Linear", "in_features": 4, "out_features": 2}, {"layer": "ReLU"}])
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): ReLU()
    )
    """
    # On the meta device a constructor draws nothing, so that the global random state is neither read nor moved.
    module = _network(layers)
    try:
        check_room("it", sum(one.nbytes for one in (*module.parameters(), *module.buffers())), share=0.8)
        module = module.to_empty(device="cpu")
    except (RuntimeError, NoRoom) as problem:
        raise ModelError(f"the network is too large to build: {one_line(problem)}") from problem
    initialise(module, seed)
    return module.eval()


def describe(module: nn.Sequential) -> list[dict[str, Any]]:
    """The inverse of :func:`build`, without the weights.

    Raises:
        ModelError: if a layer, or one of its settings, is not in the vocabulary.

    >>> describe(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))[1]
    {'layer': 'Linear', 'in_features': 4, 'out_features': 2, 'bias': True}
    """
    layers = [_fields(layer) for layer in module]
    for position, (layer, fields) in enumerate(zip(module, layers, strict=True)):
        if repr(_layer(position, fields)) != repr(layer):
            raise ModelError(f"layer {position} is {layer!r}, which has a setting that model files do not record")
    return layers


def initialise(module: nn.Module, seed: int) -> None:
    """Fresh weights for every layer, in place: uniform with variance 1 / (3 fan-in) as in torch, zero biases.

    Interval bounds grow with each layer's sum of absolute weights, which this law keeps smaller than He's does.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for child in module.modules():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                child.reset_running_stats()
                child.weight.fill_(1.0)
                child.bias.zero_()
            elif isinstance(child, (nn.Conv2d, nn.Linear)):
                bound = 1 / math.sqrt(child.weight[0].numel())
                child.weight.uniform_(-bound, bound, generator=generator)
                if child.bias is not None:
                    child.bias.zero_()


def _least(value: Any) -> float:
    """A size, or the least of one for each axis; infinity for what is neither, which torch refuses."""
    sizes = value if isinstance(value, list) else [value]
    return min((one for one in sizes if isinstance(one, int)), default=math.inf)


def _layer(position: int, fields: Mapping[str, Any], depth: int = 0) -> nn.Module:
    if not isinstance(fields, Mapping):
        raise ModelError(f"layer {position} is {fields!r}; a layer is a mapping with its class under 'layer'")
    settings = dict(fields)
    name = settings.pop("layer", None)
    if not isinstance(name, str) or name not in LAYERS:
        raise ModelError(
            f"layer {position} is {name!r}, which is not in the vocabulary{nearest(str(name), list(LAYERS))} "
            f"known: {', '.join(LAYERS)}"
        )
    kind, known = LAYERS[name]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ModelError(
            f"layer {position} ({name}) has no setting {unknown[0]!r}; known: {', '.join(known) or 'none'}"
        )
    if small := next((key for key in SIZES if _least(settings.get(key)) < 1), None):
        raise ModelError(f"layer {position} ({name}) has {small} {settings[small]}; it must be a whole number above 0")
    try:
        if kind is nn.Sequential:
            return _network(settings["layers"], depth + 1)
        if kind is Residual:
            return Residual(*(_network(settings[part], depth + 1) for part in known))
        if kind is Mean:
            if not settings["members"]:
                raise ModelError(f"layer {position} (Mean) has no members")
            return Mean([_network(member, depth + 1) for member in settings["members"]])
        with torch.device("meta"):
            return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()})
    except KeyError as problem:
        raise ModelError(f"layer {position} ({name}) lacks its setting {problem}") from problem
    except (TypeError, ValueError, RuntimeError) as problem:
        raise ModelError(f"layer {position} ({name}) cannot be built: {one_line(problem)}") from problem


def _network(layers: Sequence[Mapping[str, Any]], depth: int = 0) -> nn.Sequential:
    if depth > DEEPEST:
        raise ModelError(f"its networks are nested more than {DEEPEST} deep")
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        raise ModelError(f"{layers!r:.60} is no list of layers")
    return nn.Sequential(*(_layer(position, fields, depth) for position, fields in enumerate(layers)))


def _fields(layer: nn.Module) -> dict[str, Any]:
    kind, names = LAYERS.get(type(layer).__name__, (None, ()))
    if type(layer) is not kind:
        raise ModelError(f"{type(layer).__name__} is not in the vocabulary of model files: {', '.join(LAYERS)}")
    return {"layer": type(layer).__name__, **{name: _setting(layer, name) for name in names}}


def _setting(layer: nn.Module, name: str) -> Any:
    if isinstance(layer, nn.Sequential):
        return describe(layer)
    value = getattr(layer, name)
    if name == "bias":
        return value is not None
    if isinstance(value, nn.Sequential):
        return describe(value)
    if isinstance(value, nn.ModuleList):
        return [describe(member) for member in value if isinstance(member, nn.Sequential)]
    return list(value) if isinstance(value, tuple) else value
