"""How records and bounds show themselves in a notebook. They are values; what makes text and drawings lies above.

A member is named by its type and its form, such as ``"certificate.html"``, and registers itself from ``certify.report``
or ``certify.plots`` as formats and plots of a summary do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from certify.registry import Registry

__all__ = ["DRAWINGS", "VIEWS"]

VIEWS: Registry[Callable[[Any], str]] = Registry("view", package="certify.report")
DRAWINGS: Registry[Callable[[Any, Any], Any]] = Registry("drawing", package="certify.plots")
