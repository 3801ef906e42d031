"""A table under a title, with a sentence below it, in the four formats that people read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from certify.core.legible import legible_line
from certify.registry import Registry
from certify.report import html, markdown
from certify.report.blocks import WIDTH, Block, blocks_text, wrapped
from certify.report.latex.text import escape as tex

__all__ = ["Titled", "register_titled"]

T = TypeVar("T")

WIDE: Final = 90
"""Characters of a line, two between columns, that LaTeX sets in the usual size on the width of a page."""


@dataclass(frozen=True, slots=True)
class Titled:
    """A table of plain texts.

    Args:
        title: what it is about.
        lines: the cells; the first line names the columns, and the first column stays where a line has to be folded.
        note: a sentence below, or nothing.
        label: what LaTeX refers to it by.
        words: for each column, whether it holds words: those are aligned to the left where that can be seen.
    """

    title: str
    lines: Sequence[Sequence[str]]
    note: str
    label: str
    words: Sequence[bool]

    def table(self) -> str:
        """Plain text."""
        head, *lines = self.lines
        first, *others = (Block("", [name], [[line[place]] for line in lines]) for place, name in enumerate(head))
        text = [*wrapped([self.title]), *blocks_text(first, others, WIDTH)]
        return "\n".join(map(legible_line, [*text, *([""] if self.note else []), *wrapped([self.note])]))

    def markdown(self) -> str:
        """Markdown for a pull request."""
        head, *lines = self.lines
        parts = [f"### {markdown.escape(self.title)}", markdown.table(head, lines, words=int(self.words[0]))]
        return "\n\n".join([*parts, *([markdown.escape(self.note)] if self.note else [])])

    def html(self) -> str:
        """An HTML fragment for notebooks, without scripts or styles of its own."""
        note = html.paragraphs([self.note] if self.note else [])
        return f"<div>{html.paragraphs([self.title])}{html.table(self.lines)}{note}</div>"

    def latex(self) -> str:
        """LaTeX that needs the package booktabs."""
        head, *lines = (" & ".join(map(tex, line)) + r" \\" for line in self.lines)
        wide = sum(2 + max(map(len, column)) for column in zip(*self.lines, strict=True)) > WIDE
        caption = " ".join(tex(text) for text in (f"{self.title.removesuffix('.')}.", self.note) if text)
        return "\n".join(
            [
                r"\begin{table}[htbp]",
                r"\centering",
                rf"\caption{{{caption}}}",
                rf"\label{{tab:{self.label}}}",
                *[r"\footnotesize\setlength{\tabcolsep}{3pt}"] * wide,
                rf"\begin{{tabular}}{{@{{}}{''.join('l' if word else 'r' for word in self.words)}@{{}}}}",
                *(r"\toprule", head, r"\midrule", *lines, r"\bottomrule"),
                r"\end{tabular}",
                r"\end{table}",
            ]
        )


def register_titled(family: Registry[Callable[[T], str]], made: Callable[[T], Titled], prefix: str = "") -> None:
    """Register ``table``, ``markdown``, ``html`` and ``latex`` of the table that ``made`` makes of a value."""
    for render in (Titled.table, Titled.markdown, Titled.html, Titled.latex):
        family.register(f"{prefix}{render.__name__}")(lambda value, render=render: render(made(value)))  # type: ignore[misc]
