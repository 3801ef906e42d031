"""A model that gives each pixel of an image a class."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from certify.core.input_box import BoxLike
from certify.core.properties.base import Property
from certify.core.properties.pixels import Pixels
from certify.errors import BadInput, ModelError
from certify.models.classifier import INVALID, Classifier, WithProperty
from certify.models.normalization import Statistic

__all__ = ["Segmenter", "as_segmenter", "pixel_classes", "pixel_votes"]


class Segmenter(Classifier):
    """A frozen model of one class per pixel, of which :class:`~certify.core.properties.pixels.Pixels` is asked.

    Args:
        model: an ``nn.Module`` in eval mode, or any function of a batch: (B, ...) float32 tensor -> (B, K, H, W) scores
            or (B, H, W) classes.
        num_classes: K.
        input_box, mean, std, output, device, precision, compile, name, digest: as in
            :class:`~certify.models.classifier.Classifier`.

    Raises:
        ModelError: as there.

    >>> Segmenter(nn.Conv2d(1, 3, 1).eval(), num_classes=3).predict(torch.zeros(2, 1, 4, 5)).shape
    torch.Size([2, 4, 5])
    """

    def __init__(
        self,
        model: nn.Module | Callable[[Tensor], Any],
        num_classes: int,
        input_box: BoxLike = (0.0, 1.0),
        *,
        mean: Statistic | None = None,
        std: Statistic | None = None,
        output: str | int | None = None,
        device: str | torch.device = "cpu",
        precision: str = "float32",
        compile: bool = False,
        name: str | None = None,
        digest: str | None = None,
    ) -> None:
        super().__init__(
            model,
            num_classes,
            input_box,
            mean=mean,
            std=std,
            output=output,
            device=device,
            precision=precision,
            compile=compile,
            name=name,
            digest=digest,
        )
        self.property = Pixels()

    def with_property(self, property: Property) -> Classifier:
        """The same model, of which a share of its pixels is asked.

        Raises:
            BadInput: for a property about one class an input.
        """
        if not property.by_pixel:
            raise BadInput(f"{property.kind} is about one class an input, a Segmenter gives each pixel one: use pixels")
        property.answers(self.num_classes)
        return self if property == self.property else WithProperty(self, property)

    def predict(self, x: Tensor) -> Tensor:
        """Classes (B, H, W) of a batch, int64; ``-1`` where a score of the pixel is NaN or infinite."""
        with torch.inference_mode():
            return pixel_classes(self.scores(x))

    def _scored(self, out: Tensor, count: int) -> Tensor:
        classes = self.num_classes
        if out.dim() == 4 and out.shape[:2] == (count, classes) and out.numel():
            return out if out.dtype in (torch.float32, torch.float64) else out.float()
        if out.dim() == 3 and len(out) == count and out.numel():
            return nn.functional.one_hot(self._checked_labels(out), classes).permute(0, 3, 1, 2).float()
        raise ModelError(
            f"the model returned shape {tuple(out.shape)} for a batch of {count}; a Segmenter returns scores "
            f"({count}, {classes}, height, width) or classes ({count}, height, width)"
        )

    def __repr__(self) -> str:
        return f"Segmenter({self.name}, {self.num_classes} classes, sha256 {self.digest[:12]})"


def as_segmenter(classifier: Classifier) -> Segmenter:
    """The same model, read as one that gives each pixel a class: a file does not say which of the two it holds."""
    if isinstance(classifier, Segmenter):
        return classifier
    made = copy.copy(classifier)
    made.__class__ = Segmenter
    made.property, made._elsewhere = Pixels(), {}
    assert isinstance(made, Segmenter)
    return made


def pixel_classes(scores: Tensor) -> Tensor:
    """The class of each pixel (B, H, W) at scores (B, K, H, W): the first of those that tie, -1 where one is no number.

    >>> pixel_classes(torch.tensor([[[[1.0, 2.0, float("nan")]], [[1.0, 3.0, 0.0]]]]))
    tensor([[[ 0,  1, -1]]])
    """
    return torch.where(torch.isfinite(scores).all(dim=1), scores.argmax(dim=1), INVALID)


def pixel_votes(scores: Tensor) -> Tensor:
    """How many of several samples, with scores (B, K, H, W), return each class at each pixel, (K + 1, H, W).

    No class comes first. The counts are on the CPU.
    """
    found = pixel_classes(scores)
    pixels, kinds = found[0].numel(), scores.shape[1] + 1
    places = (found.flatten(1) + 1) * pixels + torch.arange(pixels, device=found.device)
    return torch.bincount(places.flatten(), minlength=kinds * pixels).cpu().reshape(kinds, *found.shape[1:])
