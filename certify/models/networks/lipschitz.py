"""``lipnet``: layers that can be orthogonal, for networks that stretch no distance."""

from __future__ import annotations

import math

from certify.models.networks.base import NETWORKS, Layers, conv, linear

__all__ = ["lipnet"]

LARGEST_SIDE = 7
"""Images are halved until no side is longer than this many pixels."""


@NETWORKS.register("lipnet")
def lipnet(input_shape: tuple[int, ...], num_classes: int, width: int = 16, units: int = 128) -> Layers:
    """Convolutions of 2x2 pixels that do not overlap, then linear layers, with absolute values between them.

    A convolution whose windows do not overlap is orthogonal exactly if its matrix of kernels is, and the absolute value
    keeps the length of gradients, which a ReLU does not (Anil et al. 2019).

    Args:
        input_shape: shape of one input; what is no image (channels, height, width) has linear layers alone.
        num_classes: number of scores.
        width: channels of the first convolution; each other one has twice as many as the one before.
        units: units of the two hidden linear layers.

    >>> [layer["layer"] for layer in lipnet((1, 14, 14), 10)]
    ['Conv2d', 'Abs', 'Flatten', 'Linear', 'Abs', 'Linear', 'Abs', 'Linear']
    """
    layers: Layers = []
    features = math.prod(input_shape)
    if len(input_shape) == 3:
        channels, height, across = input_shape
        while max(height, across) > LARGEST_SIDE and min(height, across) > 1:
            layers += [conv(channels, width, size=2, stride=2, padding=(height % 2, across % 2)), {"layer": "Abs"}]
            channels, height, across, width = width, -(-height // 2), -(-across // 2), 2 * width
        features = channels * height * across
    layers.append({"layer": "Flatten"})
    for _ in range(2):
        layers += [linear(features, units), {"layer": "Abs"}]
        features = units
    return [*layers, linear(units, num_classes)]
