"""What a terminal shows, and what a pipe gets: the same numbers, the first with more around them."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest

from certify.core.guarantee import Guarantee
from certify.core.run import Run
from certify.core.sandwich import Sandwich
from certify.core.summary import FORMATS, Contradiction, Row, Summary
from certify.core.threats.lp import ThreatModel
from certify.report.coloured import claim_in_a_line
from certify.report.terminal import print_runs
from certify.summary.groups import grouped

NAN = np.nan


class Terminal(io.StringIO):
    """A file that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run() -> Run:
    index = np.arange(4)
    certified = np.array([0.6, 0.29996, NAN, 0.1])
    sandwich = Sandwich(
        index=index,
        label=index % 2,
        prediction=np.array([0, 1, 1, 1]),
        verdict=np.zeros(4, np.int8),
        certified=certified,
        sure=certified,
        attacked=np.array([NAN, 0.40001, 0.0, 0.2]),
        p_lower=np.array([0.99, 0.9, NAN, 0.6]),
        seconds=np.zeros(4),
    )
    summary = Summary(
        threat=ThreatModel("l2", (0.0, 0.25), (0.0, 1.0), "pixels"),
        n=4,
        clean=0.75,
        rows=(Row(0.0, 0.75, 0.5, 0.75, 0, 0, {}, 0.1), Row(0.25, 0.5, 0.25, 0.5, 0, 0, {}, 0.05)),
        acr=0.25,
        contradictions=(),
        guarantee=Guarantee.probabilistic(0.001),
        statement="With probability at least 95% [something] holds.",
        sandwich=sandwich,
        head={"model": "net [v2]"},
    )
    return Run("nightly", summary, {})


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def shown(runs, file=None) -> str:
    """What a terminal is sent, without its colours."""
    file = Terminal() if file is None else file
    print_runs(runs, file)
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())


def test_a_pipe_gets_the_table_and_nothing_else(run):
    assert shown([run], io.StringIO()) == FORMATS["table"](run.summary) + "\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colour_gets_plain_text(run, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    file = Terminal()
    print_runs([run], file)
    assert file.getvalue() == FORMATS["table"](run.summary) + "\n"


def test_a_terminal_gets_the_table_and_more(run):
    text = shown([run])
    for part in (
        "nightly",
        "net [v2]",  # rich would read brackets as markup
        "[something] holds",
        "at least 25.0 % truly robust with probability 95%",
        "weakest inputs, by l2 radius",
        "strongest inputs, by l2 radius",
        "0.2999",  # a claim, rounded down
        "0.4001",  # a distance, rounded up
        "quantiles over the inputs",
        "lower bound on the class's probability",
        "gap between proof and example: median 0.1001",
        "accuracy in % over the l2 radius",
    ):
        assert part in text
    assert text.index("l2 0.25 (pixels)") < text.index("certified %")


def test_contradictions_come_first_and_in_red(run):
    found = (Contradiction(3, "smoothing", 0.5, "pgd", 0.2),)
    file = Terminal()
    print_runs([replace(run, summary=replace(run.summary, contradictions=found))], file)
    text = file.getvalue()
    assert "\x1b[1;31mCONTRADICTION input 3" in text
    assert text.index("CONTRADICTION") < text.index("certified %")


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    both = replace(run, summary=grouped(run.summary, "label", [0, 1, 0, 1]))
    text = shown([both, replace(both, name="weekly")])
    assert max(map(len, text.splitlines())) <= columns
    for heading in ("certified %", ">= (95 %)", "attacked %", "abstain", "unknown", "median"):
        assert heading in text
    assert ("accuracy in % over" in text) == (columns >= 80)


def test_several_runs_are_side_by_side_first_and_then_complete(run):
    runs = [run, replace(run, name="weekly")]
    for text in (shown(runs), shown(runs, io.StringIO())):
        assert text.index("l2 radius in pixels") < text.index("model")
        assert text.count("[something] holds") == 2
        assert "optimistic" in " ".join(text.split())


def test_groups_follow_the_table(run):
    table = FORMATS["table"](grouped(run.summary, "source", ["x", "x", "y", "y"]))
    assert "worst source at l2 0.25: y, 0.0 % certified; the worst truly has at least 0.0 %" in table
    assert table.index("contradictions") < table.index("source  n  clean %")
    assert max(map(len, table.splitlines())) <= 110


def test_the_headline_names_its_threat_model(run):
    assert claim_in_a_line(run.summary) == (
        "l2 0.25 (pixels): 50.0 % certified, at least 25.0 % truly robust with probability 95% over the noise, "
        "50.0 % under attack, 75.0 % clean; n=4"
    )
    proof = replace(
        run.summary, guarantee=Guarantee.deterministic(), rows=(replace(run.summary.rows[0], empirical=None),)
    )
    assert claim_in_a_line(proof) == "l2 0 (pixels): 75.0 % certified, 75.0 % clean; n=4"
