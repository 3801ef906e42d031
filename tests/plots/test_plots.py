"""Drawings claim no more than the numbers behind them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from certify.core.comparison import Comparison
from certify.core.guarantee import Guarantee
from certify.core.run import Run
from certify.core.sandwich import Sandwich
from certify.core.shown import DRAWINGS
from certify.core.summary import PLOTS, Row, Summary
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput

Figure = pytest.importorskip("matplotlib.figure", reason="matplotlib comes with certify[plot]").Figure


def summary(certified, attacked, p_lower=None, lost=0.0, wrong=0) -> Summary:
    """A table of inputs with these radii; the last ``wrong`` are misclassified."""
    n = len(certified)
    label = np.zeros(n, dtype=np.int64)
    prediction = label.copy()
    prediction[n - wrong :] = 1
    certified, attacked = np.asarray(certified, dtype=float), np.asarray(attacked, dtype=float)
    p_lower = np.full(n, np.nan) if p_lower is None else np.asarray(p_lower)
    layers = Sandwich(
        np.arange(n), label, prediction, label.astype(np.int8), certified, certified, attacked, p_lower, certified
    )
    threat = ThreatModel("l2", (0.0, 0.5))
    rows = tuple(
        Row(r, share := np.count_nonzero(certified >= r) / n, max(0.0, share - lost), 1.0, 0, 0) for r in threat.radii
    )
    guarantee = Guarantee.probabilistic(0.001) if lost else Guarantee.deterministic()
    return Summary(threat, n, 1.0, rows, 0.0, (), guarantee, "said", layers)


@pytest.fixture
def axes():
    return Figure().subplots()


def height(line, radius: float) -> float:
    """The height of a line drawn with steps-pre."""
    x, y = line.get_data()
    return y[np.searchsorted(x, radius, side="left")]


def test_a_thinned_curve_is_never_above_the_exact_one(axes):
    radii = np.random.default_rng(0).exponential(0.3, 5000)
    many = summary(radii, np.full(5000, np.nan))
    line = PLOTS["certified"](many, axes).get_lines()[0]
    assert line.get_drawstyle() == "steps-pre"
    assert len(line.get_xdata()) <= 240
    asked = np.linspace(0, radii.max(), 997)
    apart = [100 * many.certified_at(radius) - height(line, radius) for radius in asked]
    assert min(apart) >= -1e-9
    assert max(apart) < 1
    for radius in many.threat.radii:
        assert height(line, radius) == pytest.approx(100 * many.certified_at(radius), abs=1e-9)


def test_the_band_lies_below_by_what_may_be_false(axes):
    drawn = PLOTS["certified"](summary(np.linspace(0.1, 1, 50), np.full(50, np.nan), lost=0.04), axes)
    [band] = drawn.collections
    vertices = band.get_paths()[0].vertices
    at = vertices[np.isclose(vertices[:, 0], 0.0)]
    assert {round(float(y), 6) for y in at[:, 1]} == {96.0, 100.0}


def test_proofs_have_no_band(axes):
    assert not PLOTS["curves"](summary([0.4, 0.6], [0.5, np.nan]), axes).collections[1:]


@pytest.fixture
def pair() -> list[Summary]:
    """Two summaries that are attacked, the second as far as twice the radius of the first."""
    certified = np.linspace(0.1, 0.5, 20)
    return [summary(times * certified, times * certified + 0.1, lost=0.04) for times in (1, 2)]


def hexes(drawn) -> set[str]:
    from matplotlib.colors import to_hex

    lines = [to_hex(line.get_color()) for line in drawn.get_lines()]
    return {*lines, *(to_hex(band.get_facecolor()[0]) for band in drawn.collections)}


def legend(drawn) -> list[str]:
    return [text.get_text() for text in drawn.get_legend().get_texts()]


def test_two_runs_on_the_same_axes_differ_in_colour_and_share_a_key(axes, pair):
    alone = legend(PLOTS["curves"](pair[0], axes))
    assert len(alone) == len(set(alone)) == 4  # certified, its band, attacked, clean
    PLOTS["curves"](pair[1], axes)
    assert legend(axes) == ["certified (1)", "certified (2)", *alone[1:]]
    assert hexes(axes) == {"#1f77b4", "#ff7f0e"}
    colors = [line.get_color() for line in axes.get_lines()]
    assert [colors.count(color) for color in dict.fromkeys(colors)] == [3, 3]
    assert axes.get_legend().get_bbox_to_anchor().y1 < axes.bbox.y0  # below, where it covers no curve


def test_later_curves_are_shown_as_far_as_they_reach(axes, pair):
    for one in pair:
        PLOTS["curves"](one, axes)
    left, right = axes.get_xlim()
    assert left == 0
    assert right > 1.0


def test_a_name_that_was_given_to_a_curve_stays(axes, pair):
    PLOTS["curves"](pair[0], axes).get_lines()[0].set_label("sigma 0.25")
    assert legend(PLOTS["curves"](pair[1], axes))[:2] == ["sigma 0.25", "certified"]


def test_axes_of_other_units_and_inputs_say_so(axes, pair):
    other = replace(pair[1], n=7, threat=ThreatModel("linf", (0.0, 0.5)))
    for one in (pair[0], other, pair[0]):
        PLOTS["curves"](one, axes)
    assert axes.get_xlabel() == "l2 radius (input units) and linf radius (input units)"
    assert axes.get_ylabel() == "accuracy on the inputs of each (%)"


def test_a_drawing_of_runs_has_a_line_for_each_run_and_one_for_each_style(axes, pair):
    named = [Run(name, one, {}) for name, one in zip(("a", "_b"), pair, strict=True)]
    drawn = DRAWINGS["runs"](named, axes)
    assert legend(drawn) == ["a", " _b", "certified", "truly robust, at least (95 % sure)", "no attack succeeded"]
    widths = [line.get_linewidth() for line in drawn.get_lines()]
    assert widths[0] > widths[-1]  # the first shows behind the last where both are the same
    assert len(hexes(drawn)) == 2
    dashed = [line for line in drawn.get_lines() if line.get_linestyle() == "--"]
    assert len({line.get_marker() for line in dashed}) == len({line.get_markevery() for line in dashed}) == 2


def test_a_shading_above_what_attacks_left_is_named_where_it_is_drawn(axes, pair):
    above = replace(pair[0], misjudged=2)
    assert "truly robust, at most (95 % sure)" in legend(PLOTS["curves"](above, axes))
    none = PLOTS["curves"](replace(pair[0], misjudged=0), Figure().subplots())
    assert "truly robust, at most (95 % sure)" not in legend(none)


# Clean against certified accuracy.


def test_runs_at_one_point_share_a_text_and_nothing_lies_beyond_all_inputs(axes, pair):
    named = [Run(name, one, {}) for name, one in zip("abc", (pair[0], pair[0], pair[1]), strict=True)]
    comparison = Comparison(tuple(named), (0.0, 0.5), (), (), 0.95, "exact", "said", ())
    drawn = comparison.plot(axes, 0.5)
    texts = {one.get_text(): one for one in drawn.texts}
    assert set(texts) == {"a, b", "c"}
    assert all(0 <= mark <= 100 for axis in (drawn.xaxis, drawn.yaxis) for mark in axis.get_ticklocs())
    assert drawn.get_xlim()[1] < 101
    assert {one.get_ha() for one in texts.values()} == {"right"}  # all at 100 % clean: inside of the axes


def marks(axes) -> dict[str, np.ndarray]:
    return {one.get_label(): one.get_offsets() for one in axes.collections}


def test_every_kind_of_input_has_its_mark(axes):
    # broken further out; not broken; nothing certified; contradicted; broken where it is certified; misclassified
    table = summary([0.2, 0.4, np.nan, 0.5, 0.3, np.nan], [0.4, np.nan, 0.1, 0.2, 0.3, 0.0], wrong=1)
    found = marks(PLOTS["sandwich"](table, axes))
    assert sorted(map(tuple, found["broken at that distance"])) == [(0.0, 0.1), (0.2, 0.4)]
    assert [x for x, _ in found["not broken: no distance"]] == [0.4]
    assert sorted(map(tuple, found["CONTRADICTION"])) == [(0.3, 0.3), (0.5, 0.2)]


def test_marks_are_places_of_inputs_and_no_more_than_can_be_told_apart(axes):
    generator = np.random.default_rng(0)
    certified = generator.uniform(0, 1, 20_000)
    attacked = certified + generator.uniform(0.001, 0.5, 20_000)
    found = marks(PLOTS["sandwich"](summary(certified, attacked), axes))["broken at that distance"]
    assert len(found) < 1600
    assert {tuple(one) for one in found} <= set(zip(certified, attacked, strict=True))
    assert (found[:, 1] > found[:, 0]).all()  # a cell across the diagonal makes no contradiction


def test_the_bars_count_every_certified_input(axes):
    table = summary([0.0, 0.1, 0.25, 0.5, 0.5, np.nan], np.full(6, np.nan))
    drawn = PLOTS["radii"](table, axes)
    assert sum(bar.get_height() for bar in drawn.containers[0]) == 5
    assert "1 without a radius" in drawn.get_ylabel()


def test_the_bars_of_probabilities(axes):
    table = summary([0.1, 0.2, 0.3], np.full(3, np.nan), p_lower=[0.55, 0.9995, np.nan])
    drawn = PLOTS["probabilities"](table, axes)
    counts = {
        label.get_text(): bar.get_width() for label, bar in zip(drawn.get_yticklabels(), drawn.patches, strict=True)
    }
    assert {name for name, count in counts.items() if count} == {"0.5 to 0.6", "0.9995 to 0.9999"}
    assert "of 2" in drawn.get_xlabel()


def test_proofs_have_no_probabilities():
    with pytest.raises(BadInput, match="proofs"):
        PLOTS["probabilities"](summary([0.1], [np.nan]), None)
