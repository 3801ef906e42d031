"""``cnn-a``, ``cnn4`` and ``cnn7``: the convolutional networks in which results of certified training are published."""

from __future__ import annotations

from certify.models.networks.base import NETWORKS, Layers, batch_norm, conv, image_shape, linear

__all__ = ["cnn4", "cnn7", "cnn_a"]


@NETWORKS.register("cnn-a")
def cnn_a(
    input_shape: tuple[int, ...], num_classes: int, width: int = 16, units: int = 256, normalized: bool = True
) -> Layers:
    """Two strided convolutions and two linear layers: the small network of Wong and Kolter 2018, section 5.

    It costs half of ``cnn4``. Batch normalization is not theirs, nor are so many units: with both, training on bounds
    ends higher (Shi et al. 2021, section 3.3; on Fashion-MNIST 75.9 % proven at linf 0.1 in place of 72.7 %, after 20
    epochs, 16 channels).

    Args:
        input_shape: (channels, height, width) of at least 4 pixels a side.
        num_classes: number of scores.
        width: channels of the first convolution, half those of the second; published results have 16.
        units: units of the hidden linear layer; published results have 100.
        normalized: whether batch normalization follows each layer but the last.

    >>> sum("BatchNorm" in layer["layer"] for layer in cnn_a((1, 28, 28), 10))
    3
    """
    channels, height, across = image_shape("cnn-a", input_shape, 4)
    layers: Layers = []
    for wider in (width, 2 * width):
        layers.append(conv(channels, wider, size=4, stride=2, padding=1, bias=not normalized))
        layers += [batch_norm(wider)] if normalized else []
        layers.append({"layer": "ReLU"})
        channels, height, across = wider, height // 2, across // 2
    layers += [{"layer": "Flatten"}, linear(channels * height * across, units)]
    layers += [{"layer": "BatchNorm1d", "num_features": units}] if normalized else []
    return [*layers, {"layer": "ReLU"}, linear(units, num_classes)]


@NETWORKS.register("cnn4")
def cnn4(input_shape: tuple[int, ...], num_classes: int, width: int = 16) -> Layers:
    """Two convolutions and two linear layers: the small network of Gowal et al. 2018, table 1.

    Args:
        input_shape: (channels, height, width) of at least 10 pixels a side.
        num_classes: number of scores.
        width: channels of the first convolution; published results have 16.

    >>> [layer["layer"] for layer in cnn4((1, 28, 28), 10)]
    ['Conv2d', 'ReLU', 'Conv2d', 'ReLU', 'Flatten', 'Linear', 'ReLU', 'Linear']
    """
    channels, height, across = image_shape("cnn4", input_shape, 10)
    rows, columns = ((side - 4) // 2 + 1 - 3 for side in (height, across))
    return [
        conv(channels, width, size=4, stride=2, padding=0),
        {"layer": "ReLU"},
        conv(width, 2 * width, size=4, stride=1, padding=0),
        {"layer": "ReLU"},
        {"layer": "Flatten"},
        linear(2 * width * rows * columns, 100),
        {"layer": "ReLU"},
        linear(100, num_classes),
    ]


@NETWORKS.register("cnn7")
def cnn7(
    input_shape: tuple[int, ...], num_classes: int, width: int = 64, units: int = 512, normalized: bool = True
) -> Layers:
    """Five convolutions and two linear layers with batch normalization (Shi et al. 2021, section 4).

    In the paper's code batch normalization follows the hidden linear layer as well; here it follows convolutions alone.

    Args:
        input_shape: (channels, height, width) of at least 2 pixels a side.
        num_classes: number of scores.
        width: channels of the first two convolutions, half those of the others; published results have 64.
        units: units of the hidden linear layer; published results have 512.
        normalized: whether batch normalization follows each convolution.

    >>> sum(layer["layer"] == "Conv2d" for layer in cnn7((3, 32, 32), 10))
    5
    """
    channels, height, across = image_shape("cnn7", input_shape, 2)
    layers: Layers = []
    for wider, stride in ((width, 1), (width, 1), (2 * width, 2), (2 * width, 1), (2 * width, 1)):
        layers.append(conv(channels, wider, stride=stride, bias=not normalized))
        layers += [batch_norm(wider)] if normalized else []
        layers.append({"layer": "ReLU"})
        channels = wider
    features = channels * -(-height // 2) * -(-across // 2)
    return [*layers, {"layer": "Flatten"}, linear(features, units), {"layer": "ReLU"}, linear(units, num_classes)]
