"""``mlp``: linear layers with ReLU."""

from __future__ import annotations

import math
from typing import Any

from certify.errors import BadInput
from certify.models.networks.base import NETWORKS, Layers, linear

__all__ = ["mlp"]


@NETWORKS.register("mlp")
def mlp(input_shape: tuple[int, ...], num_classes: int, hidden: tuple[int, ...] = (256, 256)) -> Layers:
    """Linear layers with ReLU between them, for inputs of any shape.

    Args:
        input_shape: shape of one input; it is flattened.
        num_classes: number of scores.
        hidden: units of each hidden layer.

    Raises:
        BadInput: for a layer without units.

    >>> [layer["layer"] for layer in mlp((5,), 2, hidden=(8,))]
    ['Flatten', 'Linear', 'ReLU', 'Linear']
    """
    hidden = tuple(hidden)
    if any(not isinstance(units, int) or units < 1 for units in hidden):
        raise BadInput(f"hidden must be whole numbers above 0, got {hidden}")
    sizes = [math.prod(input_shape), *hidden]
    layers: list[dict[str, Any]] = [{"layer": "Flatten"}]
    for features, units in zip(sizes, hidden, strict=False):
        layers += [linear(features, units), {"layer": "ReLU"}]
    return [*layers, linear(sizes[-1], num_classes)]
