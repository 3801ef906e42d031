"""Format ``junit``: JUnit XML, which continuous integration shows as tests; a condition is a test case."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from certify.core.legible import legible_line
from certify.gate.judge import GATE_FORMATS, Judgement
from certify.gate.outcome import Outcome

__all__ = ["render"]

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, escaped or not (section 2.2)."""

_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'


@GATE_FORMATS.register("junit")
def render(judgement: Judgement) -> str:
    """One test suite with a test case for each condition; what is undecided fails."""
    run = judgement.case.run
    failures = sum(not outcome.passed for outcome in judgement.outcomes)
    counts = {"tests": str(len(judgement.outcomes)), "failures": str(failures), "errors": "0", "skipped": "0"}
    root = Element("testsuites", {"name": "certify gate", **counts})
    suite = SubElement(root, "testsuite", {"name": _legal(f"certify gate {run.name}"), **counts})
    properties = SubElement(suite, "properties")
    for name, value in _properties(judgement).items():
        SubElement(properties, "property", {"name": name, "value": _legal(value)})
    for outcome in judgement.outcomes:
        _add(suite, outcome)
    ElementTree.indent(root)
    return _DECLARATION + ElementTree.tostring(root, encoding="unicode")


def _properties(judgement: Judgement) -> dict[str, str]:
    run, baseline = judgement.case.run, judgement.case.baseline
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


def _add(suite: Element, outcome: Outcome) -> None:
    case = SubElement(suite, "testcase", {"classname": f"certify.gate.{outcome.kind}", "name": _legal(outcome.title)})
    figures = ", ".join(f"{name} {text}" for name, text in outcome.figures().items())
    said = _legal("; ".join(filter(None, [figures, outcome.holds, outcome.reason])))
    if outcome.passed:
        SubElement(case, "system-out").text = said
    else:
        failure = SubElement(case, "failure", {"type": outcome.result.value, "message": said})
        failure.text = f"{_legal(outcome.title)}: {outcome.result}\n{said}"


def _legal(text: str) -> str:
    return _NO_XML.sub("\ufffd", legible_line(text))
