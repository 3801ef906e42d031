"""The registry of architectures, and layers that they share."""

from __future__ import annotations

from typing import Any, Protocol

from certify.errors import BadInput
from certify.registry import Registry

__all__ = ["NETWORKS", "Layers", "Network", "batch_norm", "conv", "image_shape", "linear"]

Layers = list[dict[str, Any]]
"""A description for :func:`certify.models.architecture.build`."""


class Network(Protocol):
    """An architecture: it describes its layers; further keywords are its settings, with defaults."""

    def __call__(self, input_shape: tuple[int, ...], num_classes: int) -> Layers:
        """Layers from inputs of a shape, without the batch, to scores of so many classes.

        Raises:
            BadInput: for a shape that does not fit.
        """


NETWORKS: Registry[Network] = Registry("network", package="certify.models.networks")


def conv(
    channels: int, wider: int, size: int = 3, stride: int = 1, padding: int | tuple[int, int] = 1, bias: bool = True
) -> dict[str, Any]:
    """A convolution with square kernels."""
    return {
        "layer": "Conv2d",
        "in_channels": channels,
        "out_channels": wider,
        "kernel_size": size,
        "stride": stride,
        "padding": padding if isinstance(padding, int) else list(padding),
        "bias": bias,
    }


def linear(features: int, units: int) -> dict[str, Any]:
    """A linear layer with a bias."""
    return {"layer": "Linear", "in_features": features, "out_features": units}


def batch_norm(channels: int) -> dict[str, Any]:
    """Normalization by channel, of the statistics of a batch in training and stored ones afterwards."""
    return {"layer": "BatchNorm2d", "num_features": channels}


def image_shape(name: str, input_shape: tuple[int, ...], least: int) -> tuple[int, int, int]:
    """Channels, height and width of inputs that are images of some size.

    Raises:
        BadInput: for others; ``name`` is what the message calls the network.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < least:
        raise BadInput(
            f"{name} takes images (channels, height, width) of at least {least} pixels a side, and inputs are "
            f"{input_shape}; mlp and small take any shape"
        )
    channels, height, width = input_shape
    return channels, height, width
