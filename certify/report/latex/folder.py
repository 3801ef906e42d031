"""A folder that ``pdflatex main.tex`` turns into a page, and whose parts go into a paper one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from certify.core.run import Run
from certify.errors import BadInput
from certify.report.latex.figure import drawing, pdf, pgfplots
from certify.report.latex.table import table
from certify.report.latex.text import escape
from certify.report.protocol import commands
from certify.report.references import bibtex, cited_for
from certify.report.side_by_side import by_runs
from certify.summary.replicates import Replicates

__all__ = ["write_latex"]

_MAIN: Final = r"""\documentclass[11pt]{article}
\IfFileExists{lmodern.sty}{\usepackage[T1]{fontenc}\usepackage{lmodern}}{}
\usepackage[utf8]{inputenc}
\usepackage[margin=2.2cm]{geometry}
\usepackage{booktabs,longtable,graphicx}
\setlength{\emergencystretch}{2em}
\IfFileExists{pgfplots.sty}{\usepackage{pgfplots}\pgfplotsset{compat=1.16}}{}
\providecommand{\textquotesingle}{'}
\begin{document}
\section*{Certified robustness}
\input{table}
SEEDS\begin{figure}[!htb]
\centering
\IfFileExists{pgfplots.sty}{\input{figure}}{\includegraphics[width=\linewidth]{figure}}
\caption{Certified accuracy over the radius, drawn nowhere above the exact curve. Where an attack ran: the share of
inputs that are predicted correctly and that it did not break within each radius, an upper limit.}
\end{figure}
\subsection*{Protocol}
{\small
PROTOCOL
}
\subsection*{Methods}
The numbers rest on the methods of~\cite{KEYS}.
\subsection*{Reproduction}
{\small
COMMANDS
}
\bibliographystyle{plain}
\bibliography{references}
\end{document}
"""


def write_latex(runs: Sequence[Run], folder: Path | str, seeds: Sequence[Replicates] = ()) -> list[Path]:
    """Write table.tex, figure.pdf, figure.tex (pgfplots), references.bib and a main.tex that brings them together.

    Where there are tables over seeds, they stand in seeds.tex.

    ``pdflatex main && bibtex main && pdflatex main && pdflatex main`` compiles them; no TeX is needed to write them.

    Args:
        runs: shown side by side, in this order.
        folder: is made if it is not there; files of these names in it are replaced.
        seeds: the tables of runs whose models differ in their seed or fold.

    Returns:
        The files written.

    Raises:
        BadInput: for no run, or a folder that cannot be written.
        MissingExtra: without matplotlib.
    """
    if not runs:
        raise BadInput("nothing to write: name at least one run")
    out, texts = Path(folder), _files(runs, seeds)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in texts.items():
            (out / name).write_bytes(content)
    except OSError as problem:
        raise BadInput(f"cannot write {out} ({problem.strerror}); choose another folder") from problem
    return [out / name for name in texts]


def _files(runs: Sequence[Run], seeds: Sequence[Replicates]) -> Mapping[str, bytes]:
    figure = drawing(runs)
    keys = cited_for(["statistics:acr", *(part for run in runs for part in run.summary.parts)])
    parts = {"KEYS": ",".join(keys), "COMMANDS": _commands(runs), "PROTOCOL": _protocol(runs)}
    parts["SEEDS"] = "\\input{seeds}\n" if seeds else ""
    main = re.sub("|".join(parts), lambda found: parts[found[0]], _MAIN)
    texts = {
        "main.tex": main,
        "table.tex": table([(run.name, run.summary) for run in runs]),
        "figure.tex": pgfplots(figure),
        "references.bib": bibtex(keys),
    }
    if seeds:
        texts["seeds.tex"] = "\n\n".join(["% needs \\usepackage{booktabs}", *(one.render("latex") for one in seeds)])
    return {name: text.rstrip("\n").encode() + b"\n" for name, text in texts.items()} | {"figure.pdf": pdf(figure)}


def _protocol(runs: Sequence[Run]) -> str:
    """The heads of the runs' tables as lists of names and texts; lines that several runs share are listed once."""
    heads = by_runs((run.name, line) for run in runs for line in run.summary.head.items())
    whole = "All runs" if len(runs) > 1 else runs[0].name
    return "\n".join(
        _described(whole if len(names) == len(runs) else ", ".join(names), heads[names])
        for names in sorted(heads, key=len, reverse=True)
    )


def _commands(runs: Sequence[Run]) -> str:
    """What to type to make the runs again and to check them, in letters that break at any separator."""
    lines = []
    for purpose, command in commands(runs):
        typed = re.sub(r"(?<=[/,=:])", r"\\allowbreak{}", escape(command))
        typed = typed.replace("--", "-{}-").replace("'", r"\textquotesingle{}")
        lines.append(rf"\noindent To {escape(purpose)}:\par{{\raggedright\ttfamily {typed}\par}}\smallskip")
    return "\n".join(lines)


def _described(title: str, lines: Iterable[tuple[str, str]]) -> str:
    return "\n".join(
        [
            rf"\paragraph{{{escape(title)}}}",
            r"\begin{description}\setlength{\itemsep}{0pt}",
            *(rf"\item[{{{escape(name)}}}] {escape(text)}" for name, text in lines),
            r"\end{description}",
        ]
    )
