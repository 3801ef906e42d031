"""What takes noise out of images, in front of a classifier."""

from __future__ import annotations

from certify.models.networks.base import Layers, conv, image_shape

__all__ = ["denoiser"]


def denoiser(input_shape: tuple[int, ...], width: int = 32, depth: int = 5) -> Layers:
    """A residual network that adds the negative of the noise it finds (Zhang et al. 2017), to the shape of its input.

    It stands in no list of architectures, for it answers with images.

    Args:
        input_shape: (channels, height, width).
        width: channels of the convolutions between; 64 in the paper.
        depth: convolutions of 3x3 pixels, at least 2; 17 in the paper.

    >>> [layer] = denoiser((1, 8, 8), depth=3)
    >>> [inner["layer"] for inner in layer["branch"]]
    ['Conv2d', 'ReLU', 'Conv2d', 'ReLU', 'Conv2d']
    """
    channels, *_ = image_shape("a denoiser", input_shape, 1)
    branch: Layers = [conv(channels, width), {"layer": "ReLU"}]
    for _ in range(depth - 2):
        branch += [conv(width, width), {"layer": "ReLU"}]
    return [{"layer": "Residual", "branch": [*branch, conv(width, channels)], "shortcut": []}]
