"""A head, tables and sentences below them, in the four formats that people read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from certify.core.legible import legible_line
from certify.registry import Registry
from certify.report import html, markdown
from certify.report.blocks import labelled, wrapped
from certify.report.latex.text import escape as tex
from certify.report.titled import Titled

__all__ = ["Told", "register_told"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a result.

    Args:
        head: name and text of each line above all tables.
        tables: one below the other.
        below: sentences, a paragraph each.
    """

    head: Mapping[str, str]
    tables: Sequence[Titled]
    below: Sequence[str]

    def table(self) -> str:
        """Plain text."""
        text = labelled(self.head)
        for one in self.tables:
            text += ["", *one.table().splitlines()]
        for said in self.below:
            text += ["", *wrapped([said])]
        return "\n".join(map(legible_line, text))

    def markdown(self) -> str:
        """Markdown for a pull request."""
        head = "\n".join(f"- **{markdown.escape(name)}**: {markdown.escape(text)}" for name, text in self.head.items())
        return "\n\n".join([head, *(one.markdown() for one in self.tables), *map(markdown.escape, self.below)])

    def html(self) -> str:
        """An HTML fragment for notebooks, without scripts or styles of its own."""
        head = "<br>".join(f"<b>{html.escape(name)}</b> {html.escape(text)}" for name, text in self.head.items())
        shown = "".join(one.html() for one in self.tables)
        return f"<div><p>{head}</p>{shown}{html.paragraphs(self.below)}</div>"

    def latex(self) -> str:
        """LaTeX that needs the package booktabs."""
        return "\n\n".join([*(one.latex() for one in self.tables), *map(tex, self.below)])


def register_told(family: Registry[Callable[[T], str]], made: Callable[[T], Told]) -> None:
    """Register ``table``, ``markdown``, ``html`` and ``latex`` of what ``made`` tells of a value."""
    for render in (Told.table, Told.markdown, Told.html, Told.latex):
        family.register(render.__name__)(lambda value, render=render: render(made(value)))  # type: ignore[misc]
