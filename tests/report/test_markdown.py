"""The comment for a pull request: verdict first, nothing in a name can act, claims only shrink."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from certify.core.summary import FORMATS
from certify.errors import BadInput
from certify.report.frameworks.evidence import evidence_for
from certify.report.markdown import details, escape, evidence, markdown, table

MarkdownIt = pytest.importorskip("markdown_it", reason="markdown-it-py comes with rich").MarkdownIt


class Shown(HTMLParser):
    """The text that a reader sees, and the tags that make it up."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags = "", []
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


def shown(text: str) -> Shown:
    return Shown(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "plain text, 95.0 % (l2)",
        "a|b||c",
        "<script>alert(1)</script> & <!-- x -->",
        "`code` ``more``",
        "*a* **b** _c_ ~~d~~ [e](f) ![g](h) \\n $i$",
        "- item",
        "+ item",
        "= rule",
        "1. first",
        "2) second",
        "# heading",
        "> quotation",
        "@team and #12, see http://a.b, https://c.d, www.e.f, ftp://g",
        "two\nlines\r\n\tand more",
        "&lt; &amp;",
    ],
)
def test_escaped_text_is_shown_as_it_is(text):
    seen = shown(escape(text))
    assert words(seen.text) == words(text)
    assert seen.tags == ["p"]
    cells = shown(table(["name", "value"], [[text, "1"]]))
    assert words(text) in words(cells.text)
    assert cells.tags == "table thead tr th th tbody tr td td".split()
    folded = shown(details(text, "body"))
    assert words(folded.text) == words(f"{text} body")
    assert folded.tags == ["details", "summary", "p"]


def test_mentions_issues_and_addresses_stay_text():
    assert not re.search(r"@\w|#\d|https?://|www\.", escape("@team #12 http://a.b https://c.d www.e"))


def test_the_comment_holds_verdict_numbers_statements_and_digests(smoothed, unattacked):
    text = markdown([smoothed, unattacked])
    lines = text.splitlines()
    assert lines[2].startswith("**No contradiction** between certificates and attacks. No attack ran in unattacked")
    assert text.index("No contradiction") < text.index("| smoothed | l2 |") < text.index("<details>")
    seen = shown(text)
    for part in (
        smoothed.summary.statement,
        unattacked.summary.statement,
        smoothed.settings["model"]["digest"],
        "MEASURE 2.7",
    ):
        assert words(part) in words(seen.text)
    assert seen.tags.count("details") == text.count("</details>") == 3
    assert seen.tags.count("table") == 3


def test_contradictions_come_first_and_do_not_grow_without_end(contradicted):
    text = markdown([contradicted])
    assert "**CONTRADICTION** in wrong: 25 of its certificates" in text.splitlines()[2]
    assert "**INCOMPLETE**: wrong" in text.splitlines()[2]
    assert "No contradiction" not in text
    assert text.count("- CONTRADICTION input") == 20
    assert "and 5 more" in text


def test_hostile_names_are_only_shown(hostile):
    text = markdown([hostile])
    seen = shown(text)
    allowed = "h3 p strong table thead tbody tr th td details summary ul li code".split()
    assert set(seen.tags) <= set(allowed)
    assert words(seen.text).count(words(hostile.name)) > 5
    assert not re.search(r"@team|http://", text)


def test_every_evidence_is_said_once_and_found_by_its_number(smoothed, unattacked):
    mapped = evidence_for([smoothed, unattacked])
    text = evidence(mapped)
    said = dict(re.findall(r"^- ([EG]\d+): (.*)$", text, re.MULTILINE))
    assert len(set(said.values())) == len(said)
    [row] = [line for line in text.splitlines() if "| Article 15(5) |" in line]
    *_, numbers, gaps = row.strip("| ").split(" | ")
    [clause] = [one for one in mapped if one.clause == "Article 15(5)"]
    assert {said[number] for number in numbers.split(", ")} == {escape(one) for one in clause.evidence}
    assert {said[number] for number in gaps.split(", ")} == {escape(one) for one in clause.gaps}


def test_the_format_of_one_summary_rounds_claims_down(smoothed):
    text = FORMATS["markdown"](smoothed.summary)
    assert "| radius | certified % | >= (95 %) | attacked % |" in text
    assert FORMATS["markdown"](smoothed.summary) == text
    row = smoothed.summary.rows[-1]
    assert float(text.split("| 0.5 | ")[1].split(" |")[0]) <= 100 * row.certified


def test_no_run_is_refused():
    with pytest.raises(BadInput, match="at least one run"):
        markdown([])
