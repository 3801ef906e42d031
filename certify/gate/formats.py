"""How a judgement is written: plain text, Markdown, JSON for machines, JUnit XML for continuous integration."""

from __future__ import annotations

import json
import re
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from certify.core.legible import legible_line
from certify.core.rounding import percent_up
from certify.gate.judge import GATE_FORMATS, Judgement
from certify.gate.outcome import ConditionOutcome
from certify.report.blocks import labelled, wrapped
from certify.report.markdown import escape
from certify.report.markdown import table as markdown_table

__all__ = ["json_text", "junit", "markdown", "table"]

_HEADINGS: Final = ("result", "condition", "required", "observed", "interval end", "means")

_NO_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, escaped or not (section 2.2)."""


@GATE_FORMATS.register("table")
def table(judgement: Judgement) -> str:
    """Plain text: the answer, what it is about, and every condition with its figures."""
    run, policy = judgement.trial.run, judgement.policy
    baseline = "" if judgement.trial.baseline is None else f", baseline {judgement.trial.baseline.name}"
    about = {**run.summary.head, "clean": f"{percent_up(run.summary.clean)} % of {run.summary.n:,} inputs"}
    lines = [f"{judgement.word}: {policy.name} on {run.name}{baseline}", ""]
    lines += labelled({name: about[name] for name in ("model", "data", "threat", "guarantee", "clean")})
    lines.append("")
    for one in judgement.outcomes:
        lines.append(f"{_result(one):<10} {one.title}")
        lines += labelled({"": _said(one, "   ")})
    return "\n".join(map(legible_line, [*lines, "", *wrapped([judgement.statement])]))


@GATE_FORMATS.register("markdown")
def markdown(judgement: Judgement) -> str:
    """For pull requests and the page of a workflow run: the answer, a line for each condition, and what it is worth."""
    run, head = judgement.trial.run, judgement.trial.run.summary.head
    named = {"run": run.name, "policy": judgement.policy.name}
    if judgement.trial.baseline is not None:
        named["baseline"] = judgement.trial.baseline.name
    named |= {name: head[name] for name in ("model", "data", "threat", "guarantee")}
    digests = ", ".join(f"{name} {escape(digest)}" for name, digest in judgement.digests.items() if digest)
    lines = [
        [_result(one), one.title, *(one.figures().values() or ("", "", "")), _joined(one.holds, one.reason)]
        for one in judgement.outcomes
    ]
    return "\n\n".join(
        [
            f"### certify gate: {judgement.word}",
            "\n".join(f"- {name}: {escape(text)}" for name, text in named.items()),
            markdown_table(_HEADINGS, lines, words=len(_HEADINGS)),
            escape(judgement.statement),
            f"SHA-256: {digests}",
        ]
    )


@GATE_FORMATS.register("json")
def json_text(judgement: Judgement) -> str:
    """One JSON object; estimates, interval ends and thresholds are fractions."""
    return json.dumps(judgement.to_dict(), indent=2, allow_nan=False)


@GATE_FORMATS.register("junit")
def junit(judgement: Judgement) -> str:
    """JUnit XML: one test suite with a test case for each condition; an undecided condition counts as a failure."""
    failures = sum(not one.passed for one in judgement.outcomes)
    counts = {"tests": str(len(judgement.outcomes)), "failures": str(failures), "errors": "0", "skipped": "0"}
    root = Element("testsuites", {"name": "certify gate", **counts})
    suite = SubElement(root, "testsuite", {"name": _legal(f"certify gate {judgement.trial.run.name}"), **counts})
    properties = SubElement(suite, "properties")
    for name, value in _properties(judgement).items():
        SubElement(properties, "property", {"name": name, "value": _legal(value)})
    for one in judgement.outcomes:
        _add_test_case(suite, one)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _properties(judgement: Judgement) -> dict[str, str]:
    run, baseline = judgement.trial.run, judgement.trial.baseline
    return {
        "result": judgement.word,
        "run": run.name,
        **({} if baseline is None else {"baseline": baseline.name}),
        "policy": judgement.policy.name,
        "threat": run.summary.head["threat"],
        "inputs": str(run.summary.n),
        "confidence": repr(judgement.policy.confidence),
        "statement": judgement.statement,
        **{f"{name} sha256": digest for name, digest in judgement.digests.items()},
    }


def _add_test_case(suite: Element, one: ConditionOutcome) -> None:
    names = {"classname": f"certify.gate.{one.kind}", "name": _legal(one.title)}
    case, said = SubElement(suite, "testcase", names), _legal(_said(one, ", "))
    if one.passed:
        SubElement(case, "system-out").text = said
    else:
        failure = SubElement(case, "failure", {"type": one.result.value, "message": said})
        failure.text = f"{_legal(one.title)}: {one.result}\n{said}"


def _result(one: ConditionOutcome) -> str:
    """The result as a word, in capitals unless the condition passed."""
    return str(one.result) if one.passed else str(one.result).upper()


def _said(one: ConditionOutcome, between: str) -> str:
    """The figures of a condition with ``between`` two of them, then how sure its interval end is, then the reason."""
    figures = between.join(f"{name} {text}" for name, text in one.figures().items())
    return _joined(figures, one.holds, one.reason)


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _legal(text: str) -> str:
    return _NO_XML.sub("\ufffd", legible_line(text))
