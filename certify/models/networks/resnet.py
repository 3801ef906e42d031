"""``resnet20``, ``resnet110`` for images of CIFAR's size, and ``resnet8``, which trains in minutes on one core."""

from __future__ import annotations

from certify.errors import BadInput
from certify.models.networks.base import NETWORKS, Layers, batch_norm, conv, image_shape, linear

__all__ = ["resnet"]


def resnet(
    input_shape: tuple[int, ...], num_classes: int, width: int = 16, depth: int = 20, first_stride: int = 1
) -> Layers:
    """A residual network of three stages, each half as large and twice as wide as the one before (He et al. 2016).

    Where the shape changes, the shortcut is a convolution of one pixel (their option B).

    Args:
        input_shape: (channels, height, width) of at least 4 pixels a side.
        num_classes: number of scores.
        width: channels of the first stage; published results have 16.
        depth: layers with weights, 6 n + 2 with n blocks a stage: 8, 14, 20, 32, ..., 110.
        first_stride: of the first convolution; 2 makes everything four times as fast.

    Raises:
        BadInput: for another depth.

    >>> sum(layer["layer"] == "Residual" for layer in resnet((3, 32, 32), 10, depth=20))
    9
    """
    if depth < 8 or (depth - 2) % 6:
        raise BadInput(f"depth of a residual network must be 6 n + 2 (8, 14, 20, ...), got {depth}")
    channels, height, across = image_shape("resnet", input_shape, 4)
    layers: Layers = [conv(channels, width, stride=first_stride, bias=False), batch_norm(width), {"layer": "ReLU"}]
    sides = [-(-side // first_stride) for side in (height, across)]
    channels = width
    for stage in range(3):
        for block in range((depth - 2) // 6):
            wider, stride = width * 2**stage, 2 if stage and not block else 1
            branch = [
                *(conv(channels, wider, stride=stride, bias=False), batch_norm(wider), {"layer": "ReLU"}),
                *(conv(wider, wider, bias=False), batch_norm(wider)),
            ]
            moved = stride > 1 or channels != wider
            shortcut = [conv(channels, wider, size=1, stride=stride, padding=0, bias=False), batch_norm(wider)]
            layers += [
                {"layer": "Residual", "branch": branch, "shortcut": shortcut if moved else []},
                {"layer": "ReLU"},
            ]
            channels, sides = wider, [-(-side // stride) for side in sides]
    pool = {"layer": "AvgPool2d", "kernel_size": sides}
    return [*layers, pool, {"layer": "Flatten"}, linear(channels, num_classes)]


def _of(depth: int, first_stride: int = 1) -> None:
    def described(input_shape: tuple[int, ...], num_classes: int, width: int = 16) -> Layers:
        return resnet(input_shape, num_classes, width, depth, first_stride)

    described.__doc__ = f"See :func:`resnet`, of depth {depth}."
    NETWORKS.register(f"resnet{depth}")(described)


_of(8, first_stride=2)
_of(20)
_of(110)
