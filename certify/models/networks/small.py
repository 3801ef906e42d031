"""``small``: a network that trains in seconds, for inputs of any shape."""

from __future__ import annotations

import math

from certify.models.networks.base import NETWORKS, Layers, conv, linear

__all__ = ["small"]

LARGEST_SIDE = 8
"""Strided convolutions halve an image until no side is longer than this many pixels, and then once more."""


@NETWORKS.register("small")
def small(input_shape: tuple[int, ...], num_classes: int, width: int = 16) -> Layers:
    """3x3 convolutions for images (C, H, W), then two linear layers; the linear layers alone for other inputs.

    Args:
        input_shape: shape of one input.
        num_classes: number of scores.
        width: channels of the first convolution. The others have twice as many, the hidden linear layer four times as
            many units.

    >>> [layer["layer"] for layer in small((1, 8, 8), num_classes=10)]
    ['Conv2d', 'ReLU', 'Conv2d', 'ReLU', 'Flatten', 'Linear', 'ReLU', 'Linear']
    >>> small((5,), num_classes=2)[1]
    {'layer': 'Linear', 'in_features': 5, 'out_features': 64}
    """
    layers: Layers = []
    features = math.prod(input_shape)
    if len(input_shape) == 3:
        channels, height, width_in_pixels = input_shape
        strides = [1, *[2] * (1 + max(0, math.ceil(math.log2(max(height, width_in_pixels) / LARGEST_SIDE))))]
        for stride in strides:
            wider = width if stride == 1 else 2 * width
            layers += [conv(channels, wider, stride=stride), {"layer": "ReLU"}]
            channels, height, width_in_pixels = wider, -(-height // stride), -(-width_in_pixels // stride)
        features = channels * height * width_in_pixels
    layers += [{"layer": "Flatten"}, linear(features, 4 * width), {"layer": "ReLU"}]
    return [*layers, linear(4 * width, num_classes)]
