"""Progress: what survives in a narrow line, and that somebody who looks into a file sees how far it is."""

from __future__ import annotations

import io
import os
import sys
import threading
from itertools import count

import pytest
import torch
from rich.console import Console
from torch import nn

import certify
from certify.cli.pipes import _Outlet
from certify.errors import BadInput
from certify.progress.lines import Lines
from certify.progress.notebook import Notebook
from certify.progress.observer import Quiet, Silent, observer, watching
from certify.progress.stage import Stage
from certify.progress.terminal import Terminal

NOTE = "80.0% certified at 0.25  1,234 samples/input"


def half_way() -> Stage:
    stage = Stage("certifying (smoothing)", 10_000, 100, "inputs", begin=100.0)
    stage.advance(1900, NOTE)
    return stage


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_count_and_time_left_survive_in_a_narrow_line(width: int) -> None:
    line = half_way().line(110.0, width)
    assert len(line) <= width
    assert line.startswith("certifying (smoothing)  2000/10000  ETA 0:42")
    assert ("certified at 0.25" in line) == (width >= 80)


def test_the_rate_counts_what_this_process_did_and_the_end_says_how_long_it_took() -> None:
    stage = half_way()
    assert "190.0 inputs/s" in stage.line(110.0)
    assert Stage("x", 10, 0, "inputs", begin=0.0).line(5.0) == "x  0/10  ETA -:--"
    stage.advance(100_000, NOTE)  # part of a group that was finished before an interruption
    assert stage.line(160.0).startswith("certifying (smoothing)  10000/10000  in 1:00  80.0%")


def test_lines_begin_a_stage_go_on_while_one_group_takes_long_and_end_it() -> None:
    waited = threading.Event()

    class File(io.StringIO):
        def write(self, text: str) -> int:
            if "ETA -:--" in text:
                waited.set()
            return super().write(text)

    out, before = File(), threading.active_count()
    with Lines(out, pauses=(0.001,), now=count().__next__).stage("certifying (crown)", 64) as advance:
        assert waited.wait(30)
        advance(64, NOTE)
    with Lines(out).stage("nothing to do", 0):
        pass
    lines = out.getvalue().splitlines()
    assert lines[0] == "certifying (crown)  0/64 inputs"
    assert lines[1] == "certifying (crown)  0/64  ETA -:--"
    assert lines[-1].startswith("certifying (crown)  64/64  in ")
    assert threading.active_count() == before


def test_results_are_told_to_those_who_ask() -> None:
    for verbose in (False, True):
        out = io.StringIO()
        lines, terminal = Lines(out, verbose=verbose), Terminal(Console(file=out, width=80), verbose=verbose)
        for one in (lines, terminal):
            one.announce("model net")
            one.detail("input 3: certified")
            one.warn("near chance, and this goes on beyond what eighty columns hold, in one line all the same, always")
        assert out.getvalue().count("input 3: certified\n") == 2 * verbose
        assert out.getvalue().count("warning: near chance") == out.getvalue().count("always\n") == 2


def test_a_terminal_of_eighty_columns_shows_count_and_time_left() -> None:
    out = io.StringIO()
    terminal = Terminal(Console(file=out, width=80, force_terminal=True))
    with terminal.stage("certifying (smoothing)", 10_000, 100) as advance:
        advance(1900, NOTE)
    assert "certifying (smoothing)  2000/10000  ETA " in out.getvalue()


def test_a_notebook_replaces_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, content: dict[str, str], raw: bool) -> None:
            shown[-1] = content["text/plain"]

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        shown.append(content["text/plain"])
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    with Notebook().stage("certifying (ibp)", 2) as advance:
        assert shown == ["certifying (ibp)  0/2  ETA -:--"]
        advance(2, "")
    assert len(shown) == 1
    assert shown[0].startswith("certifying (ibp)  2/2  in 0:00")


def test_who_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(observer(), Lines)
    assert isinstance(observer(quiet=True), Silent)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(observer(verbose=True), Terminal)
    with pytest.raises(BadInput, match="choose one of them"):
        observer(quiet=True, verbose=True)
    assert type(watching(None)) is type(watching(False)) is Quiet
    with pytest.raises(BadInput, match="progress must be True or False"):
        watching(3)  # type: ignore[arg-type]
    observer(quiet=True).warn("near chance")
    assert capsys.readouterr().err == "warning: near chance\n"
    with pytest.warns(UserWarning, match="near chance"):
        Quiet().warn("near chance")


def test_every_entry_in_python_shows_progress_and_answers_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    layer = nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
    clf, x, y = certify.Classifier(layer, num_classes=2), [[0.9, 0.1], [0.2, 0.8], [0.4, 0.45]], [0, 1, 1]
    l2, linf = certify.ThreatModel("l2", (0.0, 0.1)), certify.ThreatModel("linf", (0.0, 0.1))
    for call, words in (
        (lambda **how: certify.smooth(clf, x, y, threat=l2, sigma=0.25, n=500, **how), "certifying (smoothing)"),
        (lambda **how: certify.bound(clf, x, y, threat=linf, method="ibp", **how), "certifying (ibp)"),
        (lambda **how: certify.verify(clf, x, y, threat=linf, **how), "certifying (complete)"),
        (lambda **how: certify.attack(clf, x, y, threat=linf, attack="fgsm", **how), "attacking (fgsm)"),
        (
            lambda **how: certify.evaluate(clf, (x, y), threat=linf, certifier="ibp", **how).certificates,
            "certifying (ibp)",
        ),
    ):
        quiet = [one.to_dict() | {"seconds": 0} for one in call()]
        assert capsys.readouterr().err == ""
        assert [one.to_dict() | {"seconds": 0} for one in call(progress=True)] == quiet
        assert f"{words}  3/3  in 0:0" in capsys.readouterr().err


def test_a_reader_who_leaves_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with io.BufferedWriter(_Outlet(writer, "w")) as out:
        for _ in range(3):
            out.write(b"x" * 100_000)
            out.flush()
