"""The table of one or several runs in booktabs style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from certify.core.rounding import brief_up, percent_down
from certify.core.summary import FORMATS, Summary
from certify.report.latex.text import escape
from certify.report.side_by_side import by_runs, said_once
from certify.report.summary_table import ROUNDING, closing, stacked

__all__ = ["render", "table"]

_LINES_PER_PAGE: Final = 36
"""Lines of a table that fit on a page below its caption; a longer table runs over several pages."""

_COLUMNS_PER_PAGE: Final = 10
"""Columns that fit the width of a page with the usual gaps; more columns get smaller letters and gaps."""

Named = tuple[str, Summary]
"""A summary and the name of its run, "" for none."""


@FORMATS.register("latex")
def render(summary: Summary) -> str:
    """A table that needs the package booktabs, and the text below it; see :func:`table` for long ones."""
    return table([("", summary)])


def table(named: Sequence[Named]) -> str:
    """A table for several summaries, one block of lines each; it needs the package booktabs.

    The caption states what each number is about. Contradictions, incompleteness and the statements stand below as text,
    what several runs share said once: inside the table they would make it higher than a page. A table of more than
    :data:`_LINES_PER_PAGE` lines runs over several pages, and needs the package longtable too.
    """
    headings, blocks = stacked([summary for _, summary in named])
    body = []
    for (name, summary), block in zip(named, blocks, strict=True):
        measured = summary.threat.measured
        title = [
            rf"\multicolumn{{{len(headings)}}}{{@{{}}l}}{{\emph{{{escape(name)}}}, {escape(measured)}}} \\*"
        ] * bool(name)
        body.append("\n".join([*title, *map(_line, block)]))
    long = sum(block.count("\n") + 1 for block in body) > _LINES_PER_PAGE
    return "\n".join(
        [
            f"% needs \\usepackage{{booktabs{',longtable' * long}}}",
            *(_over_pages if long else _on_one)(headings, "\n\\addlinespace\n".join(body), _caption(named)),
            r"{\footnotesize\setlength{\parindent}{0pt}",
            "\\par\n".join(_notes(named)),
            r"\par}",
        ]
    )


def _on_one(headings: Sequence[str], body: str, caption: str) -> list[str]:
    return [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        r"\label{tab:certified}",
        r"\medskip",
        _size(headings),
        rf"\begin{{tabular}}{{{_columns(headings)}}}",
        r"\toprule",
        _head(headings),
        r"\midrule",
        body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def _over_pages(headings: Sequence[str], body: str, caption: str) -> list[str]:
    return [
        rf"\begingroup{_size(headings)}\setlength{{\LTcapwidth}}{{\linewidth}}",
        rf"\begin{{longtable}}{{{_columns(headings)}}}",
        rf"\caption{{{caption}}}",
        r"\label{tab:certified} \\",
        r"\toprule",
        _head(headings),
        r"\midrule",
        r"\endfirsthead",
        r"\toprule",
        _head(headings),
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        body,
        r"\end{longtable}",
        r"\endgroup",
    ]


def _size(headings: Sequence[str]) -> str:
    """The letter size and gaps with which this many columns fit the width of a page."""
    return r"\small" if len(headings) <= _COLUMNS_PER_PAGE else r"\footnotesize\setlength{\tabcolsep}{3pt}"


def _columns(headings: Sequence[str]) -> str:
    return f"@{{}}{'r' * len(headings)}@{{}}"


def _head(headings: Sequence[str]) -> str:
    """The headings, those of several words on two lines."""
    cells = [r"\\".join(map(escape, heading.split(" ", 1))) for heading in headings]
    return " & ".join(rf"\begin{{tabular}}[b]{{@{{}}r@{{}}}}{cell}\end{{tabular}}" for cell in cells) + r" \\"


def _line(texts: Sequence[str]) -> str:
    return " & ".join(map(escape, texts)) + r" \\"


def _caption(named: Sequence[Named]) -> str:
    """What is counted, how it is rounded, and once for all runs that share them: threat model, inputs, probability."""
    about = said_once((name, _about(summary)) for name, summary in named)
    sure = ""
    if levels := {percent_down(one.confidence) for _, one in named if one.guarantee.alpha is not None}:
        level = " or ".join(level.removesuffix(".0") for level in sorted(levels))
        sure = (
            f"The column >= holds the share that is truly right and robust, with {level} % confidence over the "
            "sampling noise at all radii at once. "
        )
    rounding = f"{ROUNDING.removesuffix('.')}; gaps are of the exact shares."
    runs = [text if len(about) == 1 else f"{', '.join(names)}: {text}" for text, names in about.items()]
    return escape(f"Certified accuracy in % of the inputs at each radius. {sure}{rounding} {' '.join(runs)}")


def _about(summary: Summary) -> str:
    alpha = summary.guarantee.alpha
    promise = "a proof for each input" if alpha is None else f"alpha={brief_up(alpha)} for each input"
    return f"{summary.threat}; n={summary.n:,}; {promise}."


def _notes(named: Sequence[Named]) -> list[str]:
    """The lines under the table, each said once, after the names of the runs it is about."""
    closed = [(name, line) for name, summary in named for line in closing(summary) if line != ROUNDING]
    said = [(name, line.replace("   ", "; ")) for name, line in closed]
    lines = []
    for loud in (True, False):
        for names, notes in by_runs(one for one in said if one[1].startswith("CONTRADICTION") is loud).items():
            first, *rest = map(escape, notes)
            lines += [first if len(named) == 1 else rf"\emph{{{escape(', '.join(names))}}}: {first}", *rest]
    return lines
