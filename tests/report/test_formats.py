"""Every registered format shows the threat model, the statement and the numbers; none rounds a claim up."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from certify.core.guarantee import Guarantee
from certify.core.reported import ReportedAttack
from certify.core.rounding import percent_down, percent_up
from certify.core.sandwich import VERDICTS, Sandwich
from certify.core.summary import FORMATS, PLOTS, Contradiction, Converted, Row, Summary
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict

matplotlib.use("agg")
pyplot = pytest.importorskip("matplotlib.pyplot")


def three_inputs() -> Sandwich:
    """Certified and broken; certified and not broken; misclassified."""
    row = np.arange(3)
    return Sandwich(
        index=row,
        label=np.array([1, 2, 3]),
        prediction=np.array([1, 2, 0]),
        verdict=np.array([VERDICTS.index(one) for one in (Verdict.CERTIFIED, Verdict.CERTIFIED, Verdict.FALSIFIED)]),
        certified=np.array([0.5, 0.6, np.nan]),
        sure=np.array([0.5, 0.6, np.nan]),
        attacked=np.array([0.75, np.nan, 0.0]),
        p_lower=np.array([0.9, 0.95, np.nan]),
        seconds=row * 0.25,
    )


@pytest.fixture
def summary() -> Summary:
    rows = (
        Row(radius=0.0, certified=2 / 3, certified_lower=0.6, empirical=5 / 6, abstain=11, unknown=7),
        Row(radius=0.5, certified=0.49999, certified_lower=0.48, empirical=0.5, abstain=11, unknown=3),
    )
    return Summary(
        threat=ThreatModel("l2", (0.0, 0.5), (0.0, 1.0)),
        n=600,
        clean=0.9,
        rows=rows,
        acr=0.321,
        contradictions=(Contradiction(17, "smoothing", 0.5, "pgd", 0.25),),
        guarantee=Guarantee.probabilistic(0.001),
        statement="With probability at least 95% <something> holds.",
        sandwich=three_inputs(),
        head={"model": "waterproof net", "threat": "l2 ball"},
        expected=700,
    )


def test_the_json_has_the_promised_fields(summary):
    fields = json.loads(FORMATS["json"](summary))
    assert set("threat n clean rows acr contradictions statement".split()) <= set(fields)
    promised = "radius certified certified_lower empirical abstain unknown".split()
    assert all(set(promised) <= set(row) for row in fields["rows"])
    assert fields["rows"][1]["certified"] == 0.49999
    assert fields["contradictions"][0]["index"] == 17


def test_the_table_says_it_all_and_rounds_claims_down(summary):
    table = FORMATS["table"](summary)
    for text in (
        "net",
        "l2 ball",
        ">= (95 %)",
        "66.6",
        "49.9",
        "83.4",
        "CONTRADICTION input 17",
        "INCOMPLETE: 600 of 700",
        "95%",
    ):
        assert text in table
    assert "66.7" not in table
    assert max(len(line) for line in table.splitlines()) <= 120


@pytest.fixture
def further(summary) -> Summary:
    """A summary with imported attack logs, a statement about a population, and converted radii."""
    log = ReportedAttack("eps_0.5", "l2", 0.5, 500, 0.536, 0.466, 0.006, 500, 207, (220, 280))
    impossible = tuple(Contradiction(index, "published", 0.6, "eps_0.5", 0.5, reported=True) for index in (220, 280))
    return replace(
        summary,
        contradictions=impossible,
        reported=(log, replace(log, source="base", impossible=())),
        further=("If these 600 inputs are a random sample, more follows.",),
        converted=(Converted("l2", 0.5, "linf", 0.00902109, 3072),),
        confidence=1 - 0.05 / 3,
    )


def test_what_logs_say_is_told_from_what_was_examined(further):
    table = " ".join(FORMATS["table"](further).split())
    assert "CONTRADICTION eps_0.5 at l2 0.5 (500 inputs, accuracy 0.536, base model 0.466, abstained 0.006)" in table
    assert "2 impossible pairs of 207 certified among 500 joined: inputs 220, 280" in table
    assert "found an example" not in table
    assert "CONTRADICTION base" not in table
    assert "contradictions 2" in table
    assert "reports another answer within 0.500000" in str(further.contradictions[0])
    fields = json.loads(FORMATS["json"](further))
    assert [one["impossible"] for one in fields["reported"]] == [[220, 280], []]
    assert {one["reported"] for one in fields["contradictions"]} == {True}


def test_further_lines_follow_the_statement_and_conversions_are_labelled(further):
    for name in ("table", "html"):
        text = " ".join(FORMATS[name](further).split())
        assert (
            text.index("something") < text.index("If these 600 inputs") < text.index("converted, not certified as such")
        )
        assert "l2 0.5 contains linf 0.009021 (divided by sqrt(d), d=3,072)" in text
        assert ">= (98.3 %)" in text.replace("&gt;", ">")
    assert json.loads(FORMATS["json"](further))["converted"][0]["contained"] == 0.00902109


def test_imported_attack_logs_are_points_of_the_plot(further):
    axes = PLOTS["curves"](further, None)
    assert any("imported" in str(line.get_label()) for line in axes.get_lines())
    pyplot.close(axes.figure)


def test_the_csv_reads_back(summary):
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](summary))))
    assert [float(row["certified"]) for row in rows] == [2 / 3, 0.49999]


def test_the_html_is_escaped(summary):
    assert "&lt;something&gt;" in FORMATS["html"](summary)
    assert summary._repr_html_() == FORMATS["html"](summary)


def test_the_curve_is_drawn_with_characters(summary):
    drawn = FORMATS["curve"](summary).splitlines()
    assert len(drawn) > 14
    assert "l2 radius" in drawn[0]


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_renders_a_summary_without_an_attack(summary, name):
    bare = replace(summary, rows=tuple(replace(row, empirical=None) for row in summary.rows), contradictions=())
    assert FORMATS[name](bare)


@pytest.mark.parametrize("name", list(PLOTS))
def test_every_plot_returns_labelled_axes_that_name_the_norm(summary, name):
    axes = PLOTS[name](summary, None)
    assert "l2" in axes.get_xlabel() + axes.get_ylabel()
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert axes.has_data()
    pyplot.close(axes.figure)


def test_the_frame_has_a_row_a_radius(summary):
    frame = summary.to_frame()
    assert list(frame.index) == [0.0, 0.5]
    assert frame.loc[0.5, "certified"] == 0.49999


@pytest.mark.parametrize(("count", "n"), [(599, 1000), (1, 3), (2, 3), (0, 7), (7, 7), (29, 100), (57, 100)])
def test_percent_is_rounded_to_the_sound_side(count, n):
    assert float(percent_down(count / n)) * n <= 100 * count + 1e-9
    assert float(percent_up(count / n)) * n >= 100 * count - 1e-9
    assert float(percent_up(count / n)) - float(percent_down(count / n)) < 0.11
