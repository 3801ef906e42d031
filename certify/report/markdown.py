"""Format ``markdown``: GitHub-flavoured, for pull requests.

Names are escaped: none can format, link, mention or break out of its cell.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import Final

from certify.core.legible import legible_line
from certify.core.run import Run
from certify.core.summary import FORMATS, Summary
from certify.errors import BadInput
from certify.report.frameworks.evidence import NOT_ADVICE, Mapped, evidence_for, numbered
from certify.report.lifecycle.told import LIFE_CYCLE, Told, life_cycle
from certify.report.protocol import protocol, reproduction
from certify.report.summary_table import cells, closing, headings, stacked

__all__ = [
    "below",
    "details",
    "escape",
    "evidence",
    "life_cycle_in_words",
    "markdown",
    "protocol_and_digests",
    "render",
    "results",
    "table",
    "verdict",
]

_LISTED: Final = 20
"""Contradictions listed one by one: a comment has a largest size, and each of them is in the summary."""

_SPECIAL: Final = re.compile(r"[\\`*_\[\]<|~$&]")
_LINKED: Final = re.compile(
    r"(?<=[@#])(?=\w)|(?<=\bhttp)(?=://)|(?<=\bhttps)(?=://)|(?<=\bftp)(?=://)|(?<=\bwww)(?=\.)"
)
"""Where a mention, the number of an issue or an address would become a link: a comment in between stops that."""
_FIRST: Final = re.compile(r"^(\d*)([-+=>#.)])")
"""What makes a list, a heading or a quotation at the beginning of a line."""


def escape(text: str) -> str:
    """Text as Markdown that shows it literally, on one line, wherever in the line it stands.

    >>> print(escape("- a|b <c> @team *d*"))
    \\- a\\|b \\<c> @<!-- -->team \\*d\\*
    """
    return _FIRST.sub(r"\1\\\2", _inline(text))


def table(headings: Sequence[str], lines: Sequence[Sequence[str]], *, words: int = 0) -> str:
    """A table of plain texts; the first columns hold ``words``, the others numbers, which are aligned to the right."""
    rule = [":--" if place < words else "--:" for place in range(len(headings))]
    rows = [list(map(_inline, headings)), rule, *(list(map(_inline, line)) for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def details(title: str, body: str) -> str:
    """A part that is folded until somebody opens it; the title is plain text, the body Markdown."""
    # A line that begins with a tag is HTML as a whole: there a backslash would be shown.
    shown = "<!-- -->".join(html.escape(part) for part in _LINKED.split(_shown(title)))
    return f"<details><summary>{shown}</summary>\n\n{body}\n\n</details>"


@FORMATS.register("markdown")
def render(summary: Summary) -> str:
    """Head, table, contradictions and statement."""
    head = [f"- **{escape(name)}**: {escape(text)}" for name, text in summary.head.items()]
    numbers = table(headings(summary), [cells(summary, row) for row in summary.rows])
    return "\n\n".join(["\n".join(head), numbers, *below(summary)])


def markdown(runs: Sequence[Run]) -> str:
    """A comment for a pull request: verdict, table, contradictions and statements; protocol and evidence folded.

    Raises:
        BadInput: for no run.
    """
    if not runs:
        raise BadInput("nothing to report: name at least one run")
    statements = [part for run in runs for part in (f"**{escape(run.name)}**", *below(run.summary))]
    return "\n\n".join(
        [
            "### Certified robustness",
            verdict(runs),
            results(runs),
            *statements,
            protocol_and_digests(runs),
            details("Life cycle", life_cycle_in_words(life_cycle(runs))),
            details("Beside EU AI Act, NIST AI RMF, ISO/IEC 42001 and ISO/IEC 24029-2", evidence(evidence_for(runs))),
        ]
    )


def verdict(runs: Sequence[Run]) -> str:
    """In one line: whether anything contradicts the certificates, whether that was tried, and what is missing."""
    wrong = [(run.name, len(run.summary.contradictions)) for run in runs if run.summary.contradictions]
    parts = [
        f"**CONTRADICTION** in {escape(name)}: {count:,} of its certificates have an example inside their radius. "
        "Do not rely on its numbers."
        for name, count in wrong
    ]
    untried = [escape(run.name) for run in runs if not _attacked(run.summary)]
    if len(untried) < len(runs) and not wrong:
        parts.append("**No contradiction** between certificates and attacks.")
    if untried:
        parts.append(f"No attack ran in {', '.join(untried)}: nothing there was tried against the certificates.")
    if missing := [escape(run.name) for run in runs if not run.summary.complete]:
        parts.append(f"**INCOMPLETE**: {', '.join(missing)}.")
    return " ".join(parts)


def results(runs: Sequence[Run]) -> str:
    """The tables of all runs below each other; each line names its run and the norm of its radius."""
    joint, blocks = stacked([run.summary for run in runs])
    lines = [
        [run.name, run.summary.threat.measure, *line] for run, block in zip(runs, blocks, strict=True) for line in block
    ]
    return table(["run", "norm", *joint], lines, words=2)


def protocol_and_digests(runs: Sequence[Run]) -> str:
    """Protocol and digests of all runs, folded: a line for each setting, a column for each run."""
    # Where the folder lies on the machine that made it tells other readers nothing.
    lines = {name: [name, *texts] for name, *texts in (*reproduction(runs), *protocol(runs)) if name != "run folder"}
    return details(
        "Protocol and digests", table(["", *(run.name for run in runs)], list(lines.values()), words=1 + len(runs))
    )


def evidence(mapped: Sequence[Mapped]) -> str:
    """What the runs show, what they do not, each said once with a number; and which numbers speak to each clause."""
    found = numbered(mapped)
    return "\n\n".join(
        [
            escape(NOT_ADVICE),
            table(["framework", "clause", "asks that", "evidence", "gaps"], found.clauses, words=5),
            "Evidence:",
            "\n".join(f"- E{place}: {escape(text)}" for place, text in enumerate(found.evidence, 1)),
            "Gaps:",
            "\n".join(f"- G{place}: {escape(text)}" for place, text in enumerate(found.gaps, 1)),
        ]
    )


def life_cycle_in_words(steps: Sequence[Told]) -> str:
    """Each step with what the records show of it, and what they do not."""
    return "\n\n".join([escape(LIFE_CYCLE), *(part for one in steps for part in _step(one))])


def _step(one: Told) -> Iterator[str]:
    yield f"**{escape(one.name)}**: {escape(one.asks)}"
    yield "\n".join([*(f"- {escape(text)}" for text in one.shown), *(f"- OPEN: {escape(text)}" for text in one.open)])
    yield escape(one.towards)


def _attacked(summary: Summary) -> bool:
    return (
        summary.attacked is not None or bool(summary.reported) or any(row.empirical is not None for row in summary.rows)
    )


def below(summary: Summary) -> list[str]:
    """The lines under a table; of contradictions, at most :data:`_LISTED` are listed."""
    lines = [line.replace("   ", "; ") for line in closing(summary)]
    wrong = [line for line in lines if line.startswith("CONTRADICTION")]
    listed = [f"- {escape(line)}" for line in wrong[:_LISTED]]
    if len(wrong) > _LISTED:
        listed.append(f"- and {len(wrong) - _LISTED:,} more, in `certify summary`")
    others = [escape(line) for line in lines if line not in wrong]
    return [*(["\n".join(listed)] if listed else []), *others]


def _inline(text: str) -> str:
    joined = _LINKED.sub("\n", _shown(text))  # no other line break is left
    return _SPECIAL.sub(lambda found: "\\" + found[0], joined).replace("\n", "<!-- -->")


def _shown(text: str) -> str:
    return legible_line(" ".join(text.split()))
