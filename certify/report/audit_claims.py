"""The audit of a table of claims: as text, as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable

from certify.core.audited import Audit, Standing
from certify.core.legible import legible_line, many
from certify.registry import Registry
from certify.report.blocks import aligned, labelled, wrapped
from certify.report.markdown import escape, table

__all__ = ["AUDIT_FORMATS"]

AUDIT_FORMATS: Registry[Callable[[Audit], str]] = Registry("audit format")
"""What an audit of claims may be printed as."""

NAMED, LISTED = 200, 20
"""The most contradictions, and the most claims of another kind, that are listed one by one; JSON has all."""


@AUDIT_FORMATS.register("json")
def as_json(found: Audit) -> str:
    """Every claim."""
    return json.dumps(found.to_dict(), indent=2, allow_nan=False)


@AUDIT_FORMATS.register("table")
def as_text(found: Audit) -> str:
    """The head, how many claims stand where, and those to look at."""
    lines = [*labelled(found.about), "", *aligned([_headings(found), *_rows(found)])]
    for title, items in _lists(found):
        lines += ["", title, *(f"  {line}" for line in wrapped(items, indent=2, width=108))]
    return "\n".join(map(legible_line, [*lines, "", *wrapped(_closing(found))]))


@AUDIT_FORMATS.register("markdown")
def as_markdown(found: Audit) -> str:
    """The same for a page or a pull request."""
    head = "\n".join(f"- **{escape(name)}**: {escape(text)}" for name, text in found.about.items())
    parts = [head, table(_headings(found), _rows(found), words=2 if _grouped(found) else 1)]
    for title, items in _lists(found):
        parts += [f"**{escape(title)}**", "\n".join(f"- {escape(item)}" for item in items)]
    return "\n\n".join([*parts, *map(escape, _closing(found))])


def _grouped(found: Audit) -> bool:
    return any(one.family for one in found.claims)


def _headings(found: Audit) -> list[str]:
    return [*["family"] * _grouped(found), "claim", "claims", *(one.value for one in Standing)]


def _rows(found: Audit) -> list[list[str]]:
    grouped = _grouped(found)
    return [
        [
            *[legible_line(family)] * grouped,
            claim,
            f"{sum(counts.values()):,}",
            *(f"{counts[one]:,}" for one in Standing),
        ]
        for (family, claim), counts in found.counts().items()
    ]


def _lists(found: Audit) -> list[tuple[str, list[str]]]:
    """What to look at, one by one: refuted claims and contradictions first."""
    lists = [
        ("refuted", [f"{one}{f' ({one.witness})' if one.witness else ''}" for one in found.refuted], NAMED),
        ("contradictions in the table", list(found.disputes), NAMED),
        *(
            (standing.value, [str(one) for one in found.claims if one.standing is standing], LISTED)
            for standing in (Standing.OPEN, Standing.FAILED)
        ),
        ("left out", list(found.notes), LISTED),
    ]
    return [
        (title, [*items[:most], *[f"and {len(items) - most:,} more: --format json"] * (len(items) > most)])
        for title, items, most in lists
        if items
    ]


def _closing(found: Audit) -> list[str]:
    """What the numbers say and do not say, and whether they are all."""
    examined = len(found.claims)
    lines = [
        f"{many(examined, 'claim')} examined: {many(len(found.refuted), 'claim')} refuted, "
        f"{many(len(found.disputes), 'contradiction')} in the table. What was attacked and not refuted is not proven."
    ]
    if examined < found.expected:
        lines.append(f"PARTIAL: interrupted after {examined:,} of {many(found.expected, 'claim')}.")
    return lines
