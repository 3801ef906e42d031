"""What every defence can do, through which a model answers from changed copies of an input; the registry of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from certify.core.input_box import InputBox
from certify.core.schema import read
from certify.core.values import number
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.registry import Registry

__all__ = ["DEFENCES", "TOGETHER", "Defence", "Hiding", "defence_from", "hidden"]

TOGETHER: Final = 64
"""Copies in one batch of the model. A copy always has the same place in a batch of the same size, so that its class
depends on the copy alone, however batches round; changing this number may change classes."""


class Defence(ABC):
    """How a classifier is shown changed copies of an input, and which class follows from theirs.

    The two together are the defended model. A member is a frozen dataclass of its settings, which records keep.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The registered name."""

    @abstractmethod
    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse inputs of a shape (without a batch axis) of which there are no copies, or too many.

        Raises:
            BadInput: naming what does not fit.
        """

    @abstractmethod
    def count(self, shape: tuple[int, ...]) -> int:
        """How many copies of an input of a shape the model is shown at most, first of all."""

    @abstractmethod
    def returned(self, classifier: Classifier, x: Tensor) -> int:
        """The class of one input (...); -1 for none."""

    def classes(self, classifier: Classifier, x: Tensor) -> Tensor:
        """The classes (B,) of inputs (B, ...); -1 for none."""
        return torch.tensor([self.returned(classifier, one) for one in x])

    @abstractmethod
    def copies(self, classifier: Classifier, x: Tensor, which: Tensor) -> Tensor:
        """Copies (n, ...) of one input, by number; gradients flow to it where it holds values."""

    def together(self, scores: Tensor) -> Tensor:
        """Scores (K,) of the defended model for a search, from those of copies (n, K): the log of the mean softmax."""
        return scores.log_softmax(dim=1).logsumexp(dim=0) - math.log(len(scores))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, from which :func:`defence_from` makes the defence again."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]


class Hiding(Defence):
    """How a classifier is shown copies of an image with hidden pixels.

    Hidden pixels have the value ``null`` in all channels, the middle of the input box where it is None. It may lie
    outside the box, so that a model can tell.
    """

    __slots__ = ()

    null: float | None

    def check_null(self) -> None:
        """Make the null value a plain number.

        Raises:
            BadInput: for anything that is none, or not finite.
        """
        if self.null is not None:
            value = number("null", self.null)
            if not abs(value) < torch.finfo(torch.float32).max:
                raise BadInput(f"hidden pixels have a finite value, got {value}")
            object.__setattr__(self, "null", value)

    @abstractmethod
    def seen(self, shape: tuple[int, ...], which: Tensor) -> Tensor:
        """Which pixels (n, height, width) are not hidden in copies (n,) by number."""

    def copies(self, classifier: Classifier, x: Tensor, which: Tensor) -> Tensor:
        """Copies (n, channels, height, width) of one image."""
        return hidden(x, self.seen(tuple(x.shape), which).to(x.device), classifier.input_box, self.null)

    def batches(self, x: Tensor) -> Iterator[Tensor]:
        """The numbers of all copies of one image, in batches."""
        yield from torch.arange(self.count(tuple(x.shape))).split(TOGETHER)


DEFENCES: Registry[type[Defence]] = Registry("defence", package="certify.models.defences", named="kind")


def defence_from(fields: object) -> Defence:
    """The defence with the values of :meth:`Defence.to_dict`, after a trip through JSON.

    Raises:
        BadInput: for anything else.
    """
    if not isinstance(fields, Mapping) or not isinstance(fields.get("kind"), str):
        raise BadInput(f"a defence is named by a table with its kind, got {fields!r:.60}")
    return read(DEFENCES[fields["kind"]], {name: value for name, value in fields.items() if name != "kind"})


def hidden(x: Tensor, seen: Tensor, box: InputBox | None, null: float | None) -> Tensor:
    """Images with all but the pixels seen (n, height, width) hidden, (n, ...).

    Args:
        x: one image (channels, height, width), or n of them.
        seen: mask of the pixels that stay.
        box: of the inputs, or None.
        null: of hidden pixels; None for the middle of the box.

    Raises:
        BadInput: where the null value should be the middle of a box, and there is none.

    >>> hidden(torch.ones(1, 1, 2), torch.tensor([[[True, False]]]), InputBox(0.0, 1.0), None)
    tensor([[[[1.0000, 0.5000]]]])
    """
    if null is not None:
        value = torch.full_like(x, null)
    elif box is None:
        raise BadInput("hidden pixels have the middle of the input box, and there is none: give a null value")
    else:
        lower, upper = box.around(x if x.dim() == seen.dim() + 1 else x[None])
        value = (lower / 2 + upper / 2).expand_as(x)
    return torch.where(seen.unsqueeze(1), x, value)
