"""Several runs in one table, but only those that can be compared; nothing wider than asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from certify.core.guarantee import Guarantee
from certify.core.run import Run
from certify.core.sandwich import Sandwich
from certify.core.summary import Contradiction, Row, Summary
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput
from certify.report import html
from certify.report.blocks import Block, blocks_text
from certify.report.side_by_side import side_by_side

L2 = ThreatModel("l2", (0.0, 0.5), (0.0, 1.0))


def run(name: str, certified=(0.9, 0.5996), alpha: float | None = 0.001, threat=L2, **changes) -> Run:
    row = np.arange(2)
    rows = tuple(
        Row(radius, share, share - 0.01, None if alpha is None else 0.9501, 0, 0)
        for radius, share in zip(threat.radii, certified, strict=True)
    )
    summary = Summary(
        threat=threat,
        n=100,
        clean=0.95,
        rows=rows,
        acr=0.3,
        contradictions=(),
        guarantee=Guarantee.deterministic() if alpha is None else Guarantee.probabilistic(alpha),
        statement="",
        sandwich=Sandwich(row, row, row, row * 0, *(row * 0.25 for _ in range(5))),
        head={"model": f"net of {name}", "data": "digits, n=100", "guarantee": f"of {name}"},
        inputs="same",
        contents="same",
    )
    return Run(name, replace(summary, **changes), {})


def test_runs_on_the_same_inputs_share_a_table():
    both = side_by_side([run("sigma25"), run("crown", (0.8, 0.3), alpha=None)])
    [table] = both.tables
    assert [(block.title, len(block.headings)) for block in table.blocks()] == [("sigma25", 3), ("crown", 1)]
    text = both.text()
    for part in ("l2 radius in input units", "digits, n=100", "59.9", "58.9", "95.1", "of crown", "30.0"):
        assert part in text
    assert "60.0" not in text
    assert both.apart == ()
    assert "optimistic" in text


def test_different_norms_never_share_a_column():
    other = ThreatModel("linf", (0.0, 0.5), (0.0, 1.0))
    apart = side_by_side([run("a"), run("b", threat=other, alpha=None), run("c")])
    assert [[one.name for one in table.runs] for table in apart.tables] == [["a", "c"], ["b"]]
    assert "b is not in the table of a: another threat model" in apart.text().replace("\n", " ")
    frame = apart.to_frame()
    assert dict(zip(frame["run"], frame["norm"], strict=True)) == {"a": "l2", "b": "linf", "c": "l2"}
    assert len(frame) == 6


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"threat": replace(L2, units="standard deviations")}, "standard deviations"),
        ({"threat": replace(L2, input_box=None)}, "the input box is [0, 1] and none"),
        ({"threat": replace(L2, scale=(1.0, 0.0))}, "the scale is none and (1.0, 0.0)"),
        ({"inputs": "others", "head": {"data": "mnist, n=100"}}, "mnist, n=100"),
        ({"contents": "others"}, "other inputs"),
    ],
)
def test_what_cannot_be_compared_is_named(changes, named):
    apart = side_by_side([run("a"), run("b", **{"threat": L2} | changes)])
    assert len(apart.tables) == 2
    assert named in apart.apart[0]


def test_two_scales_are_told_apart():
    one, other = (run(name, threat=replace(L2, scale=scale)) for name, scale in (("a", (1.0, 0.0)), ("b", (0.0, 1.0))))
    assert "the scale is (1.0, 0.0) and (0.0, 1.0)" in side_by_side([one, other]).apart[0]


def test_a_published_log_without_values_stands_beside_a_run():
    assert len(side_by_side([run("a"), run("log", contents="")]).tables) == 1


def test_radii_that_a_run_did_not_declare_stay_open():
    longer = ThreatModel("l2", (0.0, 0.25), (0.0, 1.0))
    both = side_by_side([run("a"), run("b", threat=longer)])
    [table] = both.tables
    assert table.radii == (0.0, 0.25, 0.5)
    assert [block.lines[1][0] for block in table.blocks()] == ["-", "59.9"]
    assert "did not declare this radius" in both.text()


def test_contradictions_and_what_is_missing_are_said():
    found = (Contradiction(3, "smoothing", 0.5, "pgd", 0.2),)
    text = side_by_side([run("a", contradictions=found), run("b", expected=200)]).text()
    assert text.startswith("CONTRADICTION: 1 in a")
    assert "INCOMPLETE: b" in text


def test_many_runs_are_folded_not_cut():
    text = side_by_side([run(f"run-{place}") for place in range(7)]).text(width=70)
    assert max(map(len, text.splitlines())) <= 70
    assert all(f"run-{place}" in text for place in range(7))
    assert text.count("59.9") == 7


def test_the_html_is_escaped_and_has_a_head_of_two_lines():
    shown = side_by_side([run("<a>"), run("b")])._repr_html_()
    assert "<a>" not in shown
    assert "&lt;a&gt;" in shown
    assert shown.count('scope="colgroup"') == 2


def test_nothing_is_refused():
    with pytest.raises(BadInput, match="at least one run"):
        side_by_side([])


def test_a_block_that_is_too_wide_is_taken_apart():
    first = Block("", ["group"], [["a"]])
    wide = Block("l2 0.5", ["certified %", "attacked %"], [["50.0", "60.0"]])
    assert [line for line in blocks_text(first, [wide], 20) if "%" in line] == [
        "group  certified %",
        "group  attacked %",
    ]
    assert max(map(len, blocks_text(first, [wide], 20))) <= 20
    assert len(blocks_text(first, [wide], 40)) == 4
    assert '<th scope="colgroup" colspan="2">l2 0.5</th>' in html.blocks(first, [wide])
