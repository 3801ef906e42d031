"""A finished or running study as reports see it: its summary, what was asked, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from certify.core.legible import legible
from certify.core.summary import Summary

__all__ = ["Run"]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run folder, read.

    Args:
        name: what tables call it: the folder's name, longer where several share it.
        summary: its table, with the columns of every input.
        settings: what was asked: threat model, certifiers, attack, digests, seed; see ``store/run_folder.py``.
        context: what is worth knowing besides: versions, device, command.
        path: the run folder; None for a study that kept its records in memory.
    """

    name: str
    summary: Summary = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    context: Mapping[str, Any] = field(default_factory=dict, repr=False)
    path: Path | None = None

    def __str__(self) -> str:
        return self.summary.table()

    def _repr_html_(self) -> str:
        return f"<h4>{escape(legible(self.name))}</h4>{self.summary.render('html')}"
