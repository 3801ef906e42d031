"""Runs paired input by input: counts, limits and corrections against enumeration and other derivations."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

import certify
from certify.core.comparison import COMPARISON_FORMATS, Comparison
from certify.core.guarantee import Guarantee
from certify.core.run import Run
from certify.core.sandwich import Sandwich
from certify.core.summary import Contradiction, Row, Summary
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput, IncompleteRun
from certify.stats.paired import PairedCounts, exact_test
from certify.summary.comparison import compare

pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def no_collection(monkeypatch):
    # multipletests collects garbage on every call, 0.1 s each with the whole test suite in memory.
    monkeypatch.setattr("gc.collect", lambda *_: 0)


def run(name: str, radii: list[float | None], declared=(0.0, 0.5), alpha: float | None = 0.001, **head: str) -> Run:
    """A run whose i-th input is certified up to ``radii[i]``."""
    n, zeros = len(radii), np.zeros(len(radii), dtype=np.int64)
    certified = np.array([np.nan if radius is None else radius for radius in radii])
    shares = [int(np.count_nonzero(certified >= radius)) / n for radius in declared]
    guarantee = Guarantee.deterministic() if alpha is None else Guarantee.probabilistic(alpha)
    rows = [Row(radius, share, share / 2, None, 0, 0, {}, 0.0) for radius, share in zip(declared, shares, strict=True)]
    summary = Summary(
        threat=ThreatModel("l2", declared, (0.0, 1.0)),
        n=n,
        clean=0.9,
        rows=tuple(rows),
        acr=0.1,
        contradictions=(),
        guarantee=guarantee,
        statement="",
        sandwich=Sandwich(
            np.arange(n) + 10,
            zeros,
            zeros,
            zeros.astype(np.int8),
            certified,
            certified,
            certified * np.nan,
            certified,
            1.0 * zeros,
        ),
        head={"data": "made", "guarantee": str(guarantee), "smoothing": f"noise of {name}"} | head,
        methods=("crown" if alpha is None else "smoothing",),
        contents="contents",
    )
    return Run(name, summary, {})


OLD = run("old", [0.6, 0.6, 0.6, 0.3, 0.3, None, None, 0.0])
NEW = run("new", [0.9, 0.4, 0.6, 0.5, None, 0.7, None, 0.0])


def test_every_input_is_counted_once_and_named():
    at_0, at_half = compare([OLD, NEW]).changes
    assert (at_0.both, at_0.lost, at_0.gained, at_0.neither) == (5, (14,), (15,), 1)
    assert (at_half.both, at_half.lost, at_half.gained, at_half.neither) == (2, (11,), (13, 15), 3)
    assert (at_0.difference, at_half.difference) == (0.0, 1 / 8)
    assert at_half.certified == (3 / 8, 4 / 8)
    [shift] = compare([OLD, NEW]).shifts
    assert shift.both == 5
    assert shift.mean == pytest.approx((0.3 - 0.2 + 0.0 + 0.2 + 0.0) / 5)
    assert shift.median == 0.0


def test_radii_are_counted_by_what_the_record_shows():
    summary = OLD.summary
    unsure = replace(summary.sandwich, sure=summary.sandwich.certified - 0.15)
    published = replace(OLD, name="published", summary=replace(summary, sandwich=unsure, contents=""))
    found = compare([OLD, published])
    assert found.changes[1].lost == (10, 11, 12)
    assert any("joined by position and label alone" in note for note in found.notes)


def test_limits_mirror_when_runs_are_exchanged_and_share_delta():
    forth, back = compare([OLD, NEW]), compare([NEW, OLD])
    for one, other in zip(forth.changes, back.changes, strict=True):
        assert (one.lower, one.upper) == (-other.upper, -other.lower)
        assert (one.lost, one.p_value) == (other.gained, other.p_value)
    counts = PairedCounts(n11=2, n10=1, n01=2, n00=3)
    assert forth.changes[1].lower == exact_test(counts, 0.1, np.nextafter(0.05 / 4, 0)).lower
    wider, narrower = compare([OLD, NEW, OLD]).changes[1], compare([OLD, NEW], radii=[0.5], test="tango").changes[0]
    assert wider.lower < forth.changes[1].lower < narrower.lower
    assert wider.upper > forth.changes[1].upper > narrower.upper


def test_the_interval_holds_the_difference_with_its_probability():
    """Every outcome of 7 inputs, from pairs that are discordant with known probabilities."""
    n, delta = 7, 0.3
    for lost, gained in [(0.3, 0.1), (0.05, 0.05), (0.0, 0.6)]:
        missed = 0.0
        for b, c in product(range(n + 1), repeat=2):
            if b + c > n:
                continue
            chance = stats.multinomial.pmf([b, c, n - b - c], n, [gained, lost, 1 - gained - lost])
            old = run("old", [0.6] * c + [None] * b + [0.6] * (n - b - c), (0.5,))
            new = run("new", [None] * c + [0.6] * b + [0.6] * (n - b - c), (0.5,))
            if chance:
                [change] = compare([old, new], delta=delta).changes
                missed += chance * (not change.lower <= gained - lost <= change.upper)
        assert missed <= delta


def test_marks_are_corrected_over_all_runs_and_radii():
    n = 40
    old = run("old", [0.6] * n, (0.5,))
    worse = run("worse", [None] * 6 + [0.6] * (n - 6), (0.5,))
    [alone] = compare([old, worse]).changes
    assert alone.p_value == 2 * 0.5**6
    assert alone.differs
    among = compare([old, worse, old, old]).changes
    assert [one.p_value for one in among] == [2 * 0.5**6, 1.0, 1.0]
    assert not any(one.differs for one in among)


def changed(one: Run, **fields) -> Run:
    return replace(one, name="changed", summary=replace(one.summary, **fields))


def test_runs_about_other_inputs_are_refused_with_the_difference():
    layers = NEW.summary.sandwich
    fewer = Sandwich(*(getattr(layers, name)[2:] for name in layers.__dataclass_fields__))
    for other, words in [
        (changed(NEW, sandwich=fewer, n=6), "changed misses 2 of the other's inputs (positions 10, 11)"),
        (
            changed(NEW, sandwich=fewer, n=6, expected=8, head={"data": "test"}),
            "the data are made and test; changed",
        ),
        (changed(NEW, sandwich=replace(layers, label=layers.label + 1)), "8 of 8 inputs are labelled differently"),
        (changed(NEW, contents="others"), "at the same positions have other values"),
        (changed(NEW, threat=ThreatModel("l1", (0.0, 0.5))), "the norm is l2 and l1"),
        (
            changed(NEW, threat=ThreatModel("l2", (0.0, 0.5), (0.0, 1.0), scale=(1.0, 0.5))),
            "the scale is none and (1.0, 0.5)",
        ),
    ]:
        with pytest.raises(BadInput) as refused:
            compare([OLD, other])
        assert words in str(refused.value)
    part = changed(NEW, sandwich=fewer, n=6, expected=8)
    with pytest.raises(IncompleteRun, match="changed is incomplete, and the same run command resumes it"):
        compare([OLD, part])
    moved = replace(OLD, summary=replace(OLD.summary, sandwich=replace(layers, index=layers.index + 3)))
    both = r"old misses 1 of the other's inputs \(positions 12\); changed misses 3 .*; changed is incomplete"
    with pytest.raises(BadInput, match=both):
        compare([moved, part])
    with pytest.raises(BadInput, match="share no radius"):
        compare([OLD, run("other", [None] * 8, (0.7,))])
    with pytest.raises(BadInput, match=r"radius 0.4 is not one that all runs were summarized at \(0, 0.5\)"):
        compare([OLD, NEW], radii=[0.4])


def drawn_badly(one: Run, **fields) -> Run:
    """The run on inputs that can be no random sample: its summary says nothing about a population."""
    rows = tuple(replace(row, population_lower=None) for row in one.summary.rows)
    return replace(one, summary=replace(one.summary, rows=rows, **fields))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "the inputs of old are no random sample: some occur several times, or were taken at regular steps"),
        ({"expected": 9}, "old is incomplete"),
        ({"declared": (0.0,), "rows": (Row(0.5, 0.5, 0.5, None, 0, 0),)}, "beyond its largest declared one alone, 0"),
    ],
)
def test_without_a_random_sample_there_are_counts_alone(fields, why):
    old = drawn_badly(OLD)
    found = compare([replace(old, summary=replace(old.summary, **fields)), drawn_badly(NEW)], radii=[0.5])
    [change] = found.changes
    assert (change.both, change.lost, change.gained, change.neither) == (2, (11,), (13, 15), 3)
    assert (change.lower, change.upper, change.p_value, change.differs) == (None, None, None, None)
    assert why in found.statement
    assert "No interval and no p-value is stated" in found.statement
    for format in COMPARISON_FORMATS:
        text = " ".join(found.render(format).replace("\\", "").split())
        assert "are no random sample" in text or "No interval" in text
        assert "every interval holds" not in text
    assert json.loads(found.render("json"))["changes"][0]["lower"] is None
    [line] = [line for line in found.table().splitlines() if line.split()[:2] == ["new", "0.5"]]
    assert line.split()[2:] == ["37.5", "50.0", "+12.5", "2", "1", "2", "3"]
    assert len(found.to_frame()) == 1


def test_copies_are_found_by_their_digests():
    """Five inputs sixty times each: what holds for one holds for all of its copies."""
    clf = certify.Classifier(lambda x: (x.mean(1) > 0.5).long(), num_classes=2)
    x = [[0.6, 0.6 + place / 100] for place in range(5)]
    threat = certify.ThreatModel("l2", (0.1,))

    def study(inputs):
        found = certify.evaluate(clf, (inputs, [1] * len(inputs)), threat=threat, sigma=0.25, n=1000)
        return Run(f"{len(inputs)}", found.summary, {})

    assert compare([study(x), study(x)]).changes[0].lower is not None
    copies = study(x * 3)
    assert compare([copies, copies]).changes[0].lower is None


@pytest.fixture
def comparison() -> Comparison:
    torn = (Contradiction(17, "crown", 0.5, "pgd", 0.25),)
    proofs = run("proofs|<b>", [0.6] * 12, alpha=None)
    bad = changed(run("x", [None] * 11 + [0.6]), contradictions=torn, expected=20)
    return compare([run("base", [0.6] * 12), proofs, bad])


def test_what_must_not_be_taken_for_granted_is_said(comparison):
    text = " ".join(comparison.table().split())
    assert "The certificates are about different functions. base: probabilistic" in text
    assert "CONTRADICTION: 1 in changed" in text
    assert "INCOMPLETE: changed" in text
    assert "lost at 0.5 by changed: inputs 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 1 more" in text
    assert "if these 12 inputs are a random sample" in text.lower()
    sigma = " ".join(compare([OLD, NEW]).table().split())
    assert "Each run certifies a smoothed model of its own. old: noise of old; new: noise of new." in sigma


@pytest.mark.parametrize("format", list(COMPARISON_FORMATS))
def test_every_format_shows_the_figures_and_escapes_names(comparison, format):
    text = comparison.render(format)
    assert "-91.7" in text.replace("\\", "") or '"difference": -0.916' in text
    assert "l2" in text
    if format == "html":
        assert "<b>" not in text
        assert "proofs|&lt;b&gt;" in text
    if format == "markdown":
        assert all(line.replace("\\|", "").count("|") in (5, 12) for line in text.splitlines() if line[:1] == "|")
    if format == "json":
        assert json.loads(text)["changes"][3]["lost"] == list(range(10, 21))


def test_limits_are_printed_outward(comparison):
    lines = comparison.table().splitlines()
    [line] = [line for line in lines if line.split()[:2] == ["changed", "0.5"]]
    change = comparison.changes[3]
    low, high = float(line.split()[5]), float(line.split()[7])
    assert low <= 100 * change.lower <= low + 0.1
    assert high - 0.1 <= 100 * change.upper <= high


def test_the_frame_has_a_line_for_each_run_and_radius(comparison):
    frame = comparison.to_frame()
    assert list(frame.index) == [(one.run, one.radius) for one in comparison.changes]
    assert frame.loc[("changed", 0.5), "lost"] == 11
    assert comparison._repr_html_() == comparison.render("html")


def test_the_plot_has_a_point_for_each_run_and_its_ends(comparison):
    axes = comparison.plot(radius=0.5)
    named = {text.get_text() for text in axes.texts}
    assert named == {"base, proofs|<b>", "changed"}  # one name for runs at one point
    assert "certified at l2 0.5" in axes.get_ylabel()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[:2] == ["smoothing: about a smoothed model", "crown: about the model itself"]
    [first, *_] = axes.containers
    [bar] = first.lines[2][0].get_segments()
    assert [point[1] for point in bar] == [50.0, 100.0]
    pyplot.close(axes.figure)
    with pytest.raises(BadInput, match=r"radius 0.3 is none of the comparison's"):
        comparison.plot(radius=0.3)
