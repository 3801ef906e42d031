"""The table of one or several runs in booktabs style."""

from __future__ import annotations

from collections.abc import Sequence

from certify.core.rounding import brief_up, percent_down
from certify.core.summary import FORMATS, Summary
from certify.report.columns import closing
from certify.report.latex.text import escape
from certify.report.stacked import stacked

__all__ = ["render", "table"]

Named = tuple[str, Summary]
"""A summary and the name of its run, "" for none."""


@FORMATS.register("latex")
def render(summary: Summary) -> str:
    """A table environment that needs the package booktabs."""
    return table([("", summary)])


def table(named: Sequence[Named]) -> str:
    """A table environment for several summaries, one block of lines each; it needs the package booktabs.

    The caption states what each number is about; contradictions, incompleteness and the statements stand below.
    """
    headings, blocks = stacked([summary for _, summary in named])
    body = []
    for (name, summary), block in zip(named, blocks, strict=True):
        measured = f"{summary.threat.measure} radius in {summary.threat.units}"
        title = [
            rf"\multicolumn{{{len(headings)}}}{{@{{}}l}}{{\emph{{{escape(name)}}}, {escape(measured)}}} \\"
        ] * bool(name)
        body.append("\n".join([*title, *map(_line, block)]))
    notes = [line for name, summary in named for line in _notes(name, summary)]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{_caption(named)}}}",
            r"\label{tab:certified}",
            r"\medskip",
            r"\small",
            rf"\begin{{tabular}}{{@{{}}{'r' * len(headings)}@{{}}}}",
            r"\toprule",
            _line(headings),
            r"\midrule",
            "\n\\addlinespace\n".join(body),
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\medskip",
            r"\begin{minipage}{\linewidth}\footnotesize",
            "\\par\n".join(notes),
            r"\end{minipage}",
            r"\end{table}",
        ]
    )


def _line(texts: Sequence[str]) -> str:
    return " & ".join(map(escape, texts)) + r" \\"


def _caption(named: Sequence[Named]) -> str:
    """What is counted, how it is rounded, and for each run the threat model, the inputs and the error probability."""
    about = []
    for name, summary in named:
        alpha = summary.guarantee.alpha
        promise = "a proof for each input" if alpha is None else f"alpha={brief_up(alpha)} for each input"
        run = f"{name}: " if name else ""
        about.append(f"{run}{summary.threat}; n={summary.n:,}; {promise}.")
    sure = ""
    if levels := {percent_down(one.confidence) for _, one in named if one.guarantee.alpha is not None}:
        level = " or ".join(level.removesuffix(".0") for level in sorted(levels))
        sure = (
            f"The column >= holds the share that is truly right and robust, with {level} % confidence over the "
            "sampling noise at all radii at once. "
        )
    rounding = "Certified shares are rounded down, shares under attack and clean accuracy up."
    return escape(f"Certified accuracy in % of the inputs at each radius. {sure}{rounding} {' '.join(about)}")


def _notes(name: str, summary: Summary) -> list[str]:
    first, *rest = (escape(line.replace("   ", "; ")) for line in closing(summary))
    return [rf"\emph{{{escape(name)}}}: {first}" if name else first, *rest]
