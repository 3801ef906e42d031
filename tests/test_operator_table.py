"""The page of operators says what the registries hold."""

from __future__ import annotations

from pathlib import Path

from certify.bounds.operator_table import first_sentence, operator_table
from certify.bounds.rules.base import ATEN, ONNX, RULES

PAGE = Path(__file__).parents[1] / "docs/operators.md"


def test_the_page_is_what_the_registries_say():
    assert PAGE.read_text(encoding="utf-8") == operator_table(), (
        "an operator was added or changed: python -m certify.bounds.operator_table > docs/operators.md"
    )


def test_every_operator_has_a_row_with_words():
    rows = [line for line in operator_table().splitlines() if line.startswith("| ") and "`" in line]
    cells = [line.replace(r"\|", "").strip("|").split("|") for line in rows]
    assert {len(row) for row in cells} == {3, 7}
    assert [row[0].strip(" `") for row in cells if len(row) == 7] == list(RULES)
    named = {name.strip(" `") for row in cells if len(row) == 3 for name in row[1].split(",")}
    assert named == {*ATEN, *ONNX}
    assert all(row[2 if len(row) == 3 else 1].strip() for row in cells)


def test_refused_claims_are_named():
    rows = {line.split("|")[1].strip(" `"): line for line in operator_table().splitlines() if "nonlinear" in line}
    assert rows["relu"].endswith("| nonlinear | 1 | yes | 1 | yes |")
    assert rows["log_sum_exp"].endswith("| nonlinear |  | yes | none | refused |")


def test_a_sentence_ends_where_the_next_begins():
    def rule():
        """``f(|x|)`` as in
        Gowal et al. 2018. ``x`` is kept.

        More.
        """

    assert first_sentence(rule) == r"`f(\|x\|)` as in Gowal et al. 2018"
