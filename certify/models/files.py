"""The kinds of files that hold a model, by suffix."""

from __future__ import annotations

from collections.abc import Callable

from certify.models.classifier import Classifier
from certify.registry import Registry

__all__ = ["ADAPTED_FILES", "MODEL_FILES"]

MODEL_FILES: Registry[Callable[..., Classifier]] = Registry(
    "model file", package=("certify.models", "certify.bounds.importers")
)
"""``read(path, input_box, device, mean=..., std=...)`` by suffix, ``".pt2"``.

A reader returns a :class:`Classifier` in eval mode with as many classes as the file has outputs, and never runs code
from the file. Formats whose reading needs a graph of operators register from the package of bounds.
"""

ADAPTED_FILES: Registry[Callable[..., Classifier]] = Registry("adapted model file", package="certify.bounds.importers")
"""``read(path, adapter, num_classes, input_box, device)`` by suffix: files that a function of the user's feeds."""
