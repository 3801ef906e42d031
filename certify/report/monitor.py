"""What a monitor says, as text: ``table``, ``markdown``, ``html`` and ``latex`` of one table, ``json``, ``junit``, and
the lines that Prometheus reads."""

from __future__ import annotations

import json
import math
import re
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import SubElement

from certify.core.legible import legible_line, many
from certify.core.monitoring import MONITOR_FORMATS, Force, MonitorReport, ProcessReport
from certify.core.rounding import brief
from certify.report import html, markdown
from certify.report.blocks import labelled, wrapped
from certify.report.latex.text import escape as tex
from certify.report.titled import Titled

__all__ = [
    "cells_of",
    "e_value",
    "headings",
    "prometheus",
    "render_html",
    "render_json",
    "render_junit",
    "render_latex",
    "render_markdown",
    "render_table",
]

_NO_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_LISTED: Final = 10
"""Inputs to certify again that text names; JSON has all of them."""


def e_value(log_e: float) -> str:
    """An e-value as text, rounded down, however large or small it is.

    >>> e_value(0.0), e_value(math.log(20.04)), e_value(5000.0), e_value(-3.0)
    ('1.00', '20.0', '10^2171', '0.0497')
    """
    if abs(log_e) > 30:
        return f"10^{math.floor(log_e / math.log(10))}"
    value = math.exp(log_e)
    places = max(0, 2 - math.floor(math.log10(value)))
    return f"{math.floor(value * 10**places) / 10**places:.{places}f}"


headings: Final = ("watched", "tolerance", "seen", "failed", "e-value", "largest", "alarm at", "state")


def cells_of(one: ProcessReport) -> list[str]:
    """The line of a process."""
    return [
        one.name,
        "" if one.tolerance is None else brief(one.tolerance),
        f"{one.observed:,}",
        f"{one.failures:,}" if one.risk or one.failures else "",
        e_value(one.log_e),
        e_value(one.peak),
        e_value(one.threshold),
        "quiet" if one.alarm is None else _when(one),
    ]


def _when(one: ProcessReport) -> str:
    assert one.alarm is not None
    return f"ALARM, row {one.alarm.rows:,}" + (f", {one.alarm.time}" if one.alarm.time else "")


def _titled(report: MonitorReport) -> Titled:
    return Titled(
        f"Certificate of {report.run}: {report.force.value} after {many(report.rows, 'input')} and "
        f"{many(report.labels, 'label')}.",
        [list(headings), *map(cells_of, report.processes)],
        f"{report.force.sentence} Failed: losses, and of scores those that are NaN. An e-value is evidence against the "
        "hypothesis below; an alarm is one above its threshold, ever.",
        "monitor",
        [True, *[False] * 6, True],
    )


def _hypotheses(report: MonitorReport) -> list[str]:
    return [f"{one.name}: {one.hypothesis}." for one in report.processes]


def _below(report: MonitorReport) -> list[str]:
    """What stands below the table, a paragraph each."""
    said = []
    if report.unread:
        said.append(f"{many(report.unread, 'input')} could not be read: they hold NaN, or the model answers with it.")
    for one in report.processes:
        if one.alarm is not None:
            first = f"{'label' if one.risk else 'row'} {one.since + 1:,}"
            said.append(
                f"{one.name}: the evidence grows from {first} on; certify again first: {_named(report, one.name)}."
            )
    return [*said, *report.statement, f"chain: {report.chain}"]


def _named(report: MonitorReport, process: str) -> str:
    moved = [one for one in report.moved if one.process == process]
    text = "; ".join(f"{one.id} ({one.why})" for one in moved[:_LISTED])
    return text + f"; and {len(moved) - _LISTED} more" * (len(moved) > _LISTED)


@MONITOR_FORMATS.register("table")
def render_table(report: MonitorReport) -> str:
    """The head, the table, the hypotheses, and what is promised."""
    lines = [*labelled(report.head), "", *_titled(report).table().splitlines(), ""]
    lines += wrapped(_hypotheses(report), indent=2)
    return "\n".join(map(legible_line, [*lines, *(line for text in _below(report) for line in ["", *wrapped([text])])]))


@MONITOR_FORMATS.register("markdown")
def render_markdown(report: MonitorReport) -> str:
    """The same for a pull request or an issue."""
    head = "\n".join(f"- **{markdown.escape(name)}**: {markdown.escape(text)}" for name, text in report.head.items())
    asked = "\n".join(f"- {markdown.escape(text)}" for text in _hypotheses(report))
    return "\n\n".join([_titled(report).markdown(), head, asked, *map(markdown.escape, _below(report))])


@MONITOR_FORMATS.register("html")
def render_html(report: MonitorReport) -> str:
    """The same as an HTML fragment for notebooks, without scripts or styles of its own."""
    head = "<br>".join(f"<b>{html.escape(name)}</b> {html.escape(text)}" for name, text in report.head.items())
    below = html.paragraphs([*_hypotheses(report), *_below(report)])
    return f"<div><p>{head}</p>{_titled(report).html()}{below}</div>"


@MONITOR_FORMATS.register("latex")
def render_latex(report: MonitorReport) -> str:
    """The same for a paper; it needs the package booktabs."""
    return "\n\n".join([_titled(report).latex(), *map(tex, [*_hypotheses(report), *_below(report)])])


@MONITOR_FORMATS.register("json")
def render_json(report: MonitorReport) -> str:
    """Everything, with the curves of the e-values and all inputs to certify again."""
    return json.dumps(report.to_dict(), indent=2, allow_nan=False)


@MONITOR_FORMATS.register("junit")
def render_junit(report: MonitorReport) -> str:
    """JUnit XML: a test case for each process, which fails once it raised an alarm."""
    failures = sum(one.alarm is not None for one in report.processes)
    counts = {"tests": str(len(report.processes)), "failures": str(failures), "errors": "0", "skipped": "0"}
    root = ElementTree.Element("testsuites", {"name": "certify monitor", **counts})
    suite = SubElement(root, "testsuite", {"name": _legal(f"certify monitor {report.run}"), **counts})
    properties = SubElement(suite, "properties")
    facts = {"state": report.force.value, "rows": str(report.rows), "labels": str(report.labels)}
    for name, value in {**facts, "statement": " ".join(report.statement), "chain": report.chain}.items():
        SubElement(properties, "property", {"name": name, "value": _legal(value)})
    for one in report.processes:
        case = SubElement(suite, "testcase", {"classname": "certify.monitor", "name": _legal(one.name)})
        said = f"e-value {e_value(one.log_e)}, largest {e_value(one.peak)}, alarm at {e_value(one.threshold)}"
        if one.alarm is None:
            SubElement(case, "system-out").text = said
        else:
            failure = SubElement(case, "failure", {"type": "alarm", "message": _legal(f"{_when(one)}; {said}")})
            failure.text = _legal(f"{one.name}: {one.hypothesis} does not hold\n{said}")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _legal(text: str) -> str:
    return _NO_XML.sub("\ufffd", legible_line(text))


def prometheus(report: MonitorReport) -> str:
    """The text format that Prometheus reads from a file (version 0.0.4); e-values as decimal logarithms."""
    run = f'run="{_quoted(report.run)}"'
    lines: list[str] = []

    def gauge(name: str, about: str, values: dict[str, float]) -> None:
        lines.extend([f"# HELP certify_monitor_{name} {about}", f"# TYPE certify_monitor_{name} gauge"])
        lines.extend(f"certify_monitor_{name}{{{labels}}} {value!r}" for labels, value in values.items())

    gauge("state", "0 in force, 1 in doubt, 2 expired.", {run: list(Force).index(report.force)})
    gauge("rows", "Inputs of the stream so far.", {run: report.rows})
    gauge("labels", "Labels so far.", {run: report.labels})
    gauge("unread", "Inputs so far that hold NaN, or that the model answers with it.", {run: report.unread})
    each = {f'{run},process="{_quoted(one.name)}"': one for one in report.processes}
    ten = math.log(10)
    gauge("log10_e", "Decimal logarithm of the e-value.", {name: one.log_e / ten for name, one in each.items()})
    gauge("log10_e_max", "The largest of them so far.", {name: one.peak / ten for name, one in each.items()})
    gauge("log10_threshold", "Above it is an alarm.", {name: one.threshold / ten for name, one in each.items()})
    gauge("alarm", "1 once there was an alarm.", {name: int(one.alarm is not None) for name, one in each.items()})
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return legible_line(text).replace("\\", r"\\").replace('"', r"\"")
