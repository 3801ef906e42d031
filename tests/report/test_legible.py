"""What controls a terminal or turns text around reaches no reader, in whatever name and whatever the format."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from certify.checker.result import CheckResult, judged, left_open
from certify.cli import main
from certify.core.comparison import COMPARISON_FORMATS
from certify.core.legible import legible, legible_line
from certify.core.run import Run
from certify.core.summary import FORMATS, Contradiction
from certify.gate.conditions.base import Trial
from certify.gate.judge import GATE_FORMATS, judge
from certify.gate.policy import Policy
from certify.report.card import model_card
from certify.report.latex.folder import write_latex
from certify.report.markdown import markdown
from certify.report.page.page import page
from certify.report.side_by_side import side_by_side
from certify.report.terminal import print_runs
from certify.summary.comparison import compare
from certify.summary.group_columns import group_column
from certify.summary.groups import grouped

EVIL = "net\x1b]0;title\x07\x9b31m\x7f\x08" + "".join(map(chr, (0x202E, 0x2066, 0x200F, 0x2028))) + "\udc80\r\nend"
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture(scope="module")
def evil(smoothed) -> Run:
    """The smoothed run, every name of which controls what a terminal shows."""
    summary = replace(
        smoothed.summary,
        threat=replace(smoothed.summary.threat, units=EVIL),
        head=dict.fromkeys(("model", "data", "threat", "guarantee", EVIL), EVIL),
        rows=tuple(replace(row, by_method={EVIL: row.certified, "b": 0.0}) for row in smoothed.summary.rows),
        contradictions=(Contradiction(3, EVIL, 0.5, EVIL, 0.25),),
        statement=EVIL,
        parts=(*smoothed.summary.parts, f"attack:{EVIL}"),
    )
    summary = grouped(summary, *group_column("label", summary.sandwich, 24))
    summary = replace(summary, groups=tuple(replace(one, name=EVIL) for one in summary.groups))
    parts = {part: {**smoothed.settings[part], "name": EVIL} for part in ("model", "data")}
    context = {**smoothed.context, "device": EVIL, "command": ["certify", EVIL]}
    return replace(smoothed, name=EVIL, summary=summary, settings={**smoothed.settings, **parts}, context=context)


def check(text: str) -> None:
    assert not CONTROLS.search(text), ascii(CONTROLS.findall(text))


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_of_a_summary(evil, name):
    check(evil.summary.render(name))


def test_every_format_of_runs(evil, tmp_path):
    together = side_by_side([evil, replace(evil, name="other")])
    outcome = CheckResult((judged(EVIL, EVIL, EVIL), left_open(EVIL, EVIL, EVIL)), {EVIL: EVIL})
    for text in (
        markdown([evil]),
        page([evil]),
        str(together),
        together._repr_html_(),
        outcome._repr_html_(),
        *(file.read_text() for file in write_latex([evil], tmp_path) if file.suffix != ".pdf"),
    ):
        check(text)


def test_a_card(evil):
    pytest.importorskip("huggingface_hub")
    check(model_card([evil]))


def test_every_format_of_a_comparison_and_of_a_gate(evil):
    compared = compare([evil, replace(evil, name=EVIL + "2")])
    policy = Policy.of({"threat": {"norm": "l2"}, "require": [{"kind": "abstain_rate", "at_most": 0.5}]})
    judged = judge(replace(policy, name=EVIL), Trial(evil, policy.share))
    for text in (*map(compared.render, COMPARISON_FORMATS), *map(judged.render, GATE_FORMATS), judged._repr_html_()):
        check(text)


def test_a_terminal_gets_no_control_but_ours(evil, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain, coloured = io.StringIO(), Terminal()
    print_runs([evil, replace(evil, name="other" + EVIL)], plain)
    check(plain.getvalue())
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_runs([evil, replace(evil, name="other" + EVIL)], coloured)
    assert "\x1b[" in coloured.getvalue()
    check(re.sub(r"\x1b\[[0-9;]*m", "", coloured.getvalue()))


def test_the_line_of_an_error(capsys, tmp_path):
    assert main(["summary", str(tmp_path / "a\x1b[31mb\u202e")]) == 2
    said = capsys.readouterr().err
    check(said)
    assert "a\ufffd[31mb\ufffd" in said


def test_all_that_shows_stays():
    text = "".join(map(chr, range(0x20, 0x7F))) + "\u00e9\u4e2d\u03b1\u0634\u200d\u00a0\U0001f600"
    assert legible_line(text) == text
    assert legible("a\nb\n") == "a\nb\n"
    assert legible_line("a\nb") == "a\ufffdb"
    assert len(legible_line(EVIL)) == len(EVIL)
