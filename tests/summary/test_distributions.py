"""Robustness distributions: what counts as which radius, which runs may stand together, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from certify.core.columns import NO_CLASS
from certify.core.distributions import DISTRIBUTION_FORMATS, DISTRIBUTION_PLOTS, Distributions
from certify.core.guarantee import Guarantee
from certify.core.run import Run
from certify.core.sandwich import Sandwich
from certify.core.summary import Row, Summary
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput, DataError
from certify.stats.simultaneous import holm
from certify.store.brackets import brackets_by_model
from certify.summary.distribution import critical_radii
from certify.summary.distributions import distributions
from certify.summary.published_brackets import beside_published

PROOF = Guarantee.deterministic()


def run(name, lower, upper, *, wrong=(), unanswered=(), start=0, data="set", sample=True, guarantee=PROOF, **threat):
    """A run of inputs with these brackets, NaN for a missing end; ``wrong`` and ``unanswered`` are rows."""
    lower, upper = np.array(lower, dtype=float), np.array(upper, dtype=float)
    n = len(lower)
    label, row = np.zeros(n, dtype=np.int64), np.arange(start, start + n)
    prediction = label.copy()
    prediction[list(wrong)], prediction[list(unanswered)] = 1, NO_CLASS
    layers = Sandwich(row, label, prediction, label.astype(np.int8), lower, lower, upper, lower * np.nan, lower * 0)
    ball = ThreatModel(**({"norm": "linf", "radii": (0.0, 0.5)} | threat))
    rows = (Row(0.0, 1.0, 1.0, 1.0, 0, 0, population_lower=0.5 if sample else None),)
    same = {"inputs": f"{data} {start} {n}", "contents": f"{data} {start} {n}"}
    summary = Summary(ball, n, 1.0, rows, 0.0, (), guarantee, "said", layers, **same)
    return Run(name, summary, {"data": {"name": data}, "model": {"name": f"{name}.onnx"}})


def random_run(name, scale=1.0, n=30, seed=0, **options):
    rng = np.random.default_rng(seed)
    radii = scale * rng.lognormal(-2, 0.5, n)
    return run(name, radii * 0.98, radii * 1.02, **options)


def test_wrong_inputs_have_radius_0_and_missing_ends_say_nothing():
    nan = np.nan
    one = run("net", [0.1, nan, 0.2, nan, nan, 0.5], [0.2, 0.3, nan, nan, 0.4, 0.5], wrong=[3], unanswered=[4])
    radii = critical_radii(one.summary.sandwich)
    assert radii.lower.tolist() == [0.1, 0, 0.2, 0, 0, 0]
    assert radii.upper.tolist() == [0.2, 0.3, np.inf, 0, 0.4, np.inf]  # the last one: proof and example contradict
    found = distributions([one])
    [of] = found.distributions
    assert (of.n, of.wrong, of.unproven, of.unbroken) == (6, 1, 3, 2)
    assert "CONTRADICTION: 1 in net" in found.notes[0]
    assert of.log_normal.n == 4
    assert of.curve.lower[0] == 1 / 6  # at radius 0: the wrong one, certainly, and all without a proof, possibly
    assert of.curve.upper[0] == 4 / 6
    assert of.quantiles[-1].upper == np.inf
    assert of.to_dict()["quantiles"][-1]["upper"] is None


def test_models_on_the_same_inputs_are_paired_and_others_are_not():
    found = distributions([random_run("a"), random_run("b"), random_run("c", scale=3.0)])
    assert [(pair.runs, pair.test) for pair in found.pairs] == [
        (("a", "b"), "sign"), (("a", "c"), "sign"), (("b", "c"), "sign")
    ]  # fmt: skip
    assert [pair.differs for pair in found.pairs] == [False, True, True]
    assert found.pairs[0].open == 30
    assert found.pairs[1].larger == (0, 30)
    assert found.pairs[1].p_upper == 2 / 2**30
    [pair] = distributions([random_run("a"), random_run("d", scale=3.0, n=25, seed=1, start=30)]).pairs
    assert (pair.test, pair.larger, pair.open, pair.differs) == ("kolmogorov-smirnov", None, None, True)
    assert (
        "Kolmogorov-Smirnov test of different inputs"
        in distributions([random_run("a"), random_run("d", start=30)]).statement
    )


def test_marks_of_pairs_are_corrected_together():
    scales = {"a": 1.0, "b": 1.2, "c": 1.5, "d": 3.0}
    rng = np.random.default_rng(3)
    runs = [run(name, x := scale * rng.lognormal(-2, 0.5, 12), 1.05 * x) for name, scale in scales.items()]
    found = distributions(runs, delta=0.1)
    p_values = [pair.p_upper for pair in found.pairs]
    assert tuple(pair.differs for pair in found.pairs) == holm(p_values, 0.1)
    assert sum(p <= 0.1 for p in p_values) > sum(pair.differs for pair in found.pairs) > 0


def test_inputs_that_are_no_random_sample_have_figures_but_no_intervals():
    found = distributions([random_run("a", sample=False), random_run("b", scale=3.0, sample=False)])
    of = found.distributions[0]
    assert of.curve.band_lower is None
    assert of.quantiles[2].population_lower is None
    assert (of.log_normal.p_value, of.log_normal.refused) == (None, None)
    assert of.log_normal.mu == pytest.approx(-2, abs=0.3)
    assert (found.pairs[0].larger, found.pairs[0].p_upper, found.pairs[0].differs) == ((0, 30), None, None)
    assert "no random sample" in found.statement
    for format in DISTRIBUTION_FORMATS:
        assert found.render(format)


def test_laws_are_refused_or_said_to_be_missing():
    x = np.random.default_rng(0).uniform(0.01, 0.3, 200)
    found = distributions([run("uniform", x, 1.001 * x), run("open", x * np.nan, 1.001 * x)])
    assert [one.log_normal.refused for one in found.distributions] == [True, None]
    assert found.distributions[1].log_normal.why_not.startswith("one radius lies in all brackets")
    assert "no log-normal fit of open: one radius" in " ".join(found.table().split())
    wrong = distributions([run("wrong", [0.1] * 6, [0.2] * 6, wrong=range(6))])
    assert wrong.distributions[0].log_normal.why_not == "no input is classified correctly"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (random_run("b", norm="l2"), "a and b have no distributions to compare: the norm is linf and l2"),
        (random_run("b", units="volts"), "the units are 'input units' and 'volts'"),
        (random_run("b", data="others"), "the data are set and others"),
        (random_run("b", start=10), "20 positions in common, but not the same inputs"),
        (random_run("b", guarantee=Guarantee.probabilistic(0.001)), "b is probabilistic"),
    ],
)
def test_runs_about_something_else_are_refused(other, words):
    with pytest.raises(BadInput, match=words):
        distributions([random_run("a"), other])


def test_no_run_and_an_impossible_delta_are_refused():
    with pytest.raises(BadInput, match="at least one run"):
        distributions([])
    with pytest.raises(BadInput, match="delta must lie"):
        distributions([random_run("a")], delta=1.0)


@pytest.fixture
def both() -> Distributions:
    return distributions([random_run("a|$x$_b", wrong=[0]), random_run("c", scale=3.0)])


def test_every_format_says_the_same(both):
    text = " ".join(both.table().split())
    for format in ("table", "markdown", "latex", "html"):
        assert "0.9" in both.render(format)
        assert "Kolmogorov" not in both.render(format)
    assert "sign test of the same inputs" in text
    assert "3.3" in text  # the share of wrong inputs, one of thirty
    found = json.loads(both.render("json"))
    assert [one["run"] for one in found["distributions"]] == ["a|$x$_b", "c"]
    lines = both.render("csv").splitlines()
    assert lines[0] == "run,norm,units,radius,lower,upper,band_lower,band_upper"
    assert len(lines) == 1 + sum(len(one["curve"]["radius"]) for one in found["distributions"])
    assert both.to_frame().shape == (10, 4)
    assert r"a\|\$x\$\_b" in both.render("markdown")


def test_drawings_show_the_functions_and_hide_no_name(both):
    Figure = pytest.importorskip("matplotlib.figure", reason="matplotlib comes with certify[plot]").Figure
    for kind in ("ecdf", "box", "density"):
        assert kind in DISTRIBUTION_PLOTS
        axes = both.plot(Figure().subplots(), kind)
        assert "critical linf radius" in axes.get_xlabel()
    axes = both.plot(Figure().subplots())
    edges = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
    assert all(line.get_drawstyle() == "steps-post" for line in edges)
    curve = both.distributions[0].curve
    low = next(line for line in edges if line.get_ydata()[1] == 100 * curve.lower[1] and line.get_linestyle() == "-")
    assert list(low.get_xdata()[:-1]) == list(curve.radius)
    from certify.plots.robustness import draw_all, inches

    many = distributions([random_run(f"_{i}", scale=1 + i / 9) for i in range(5)])
    figure = Figure(figsize=inches(many), layout="constrained")
    draw_all(many, figure)
    figure.canvas.draw()
    assert sum(axes.get_visible() for axes in figure.get_axes()) == 5 + 2


PUBLISHED = """model,index,lower,upper,label
a.onnx,0,0.10,0.20,0
a.onnx,1,0.10,0.15,0
a.onnx,2,0.30,0.40,0
a.onnx,3,0.01,0.02,0
a.onnx,4,0.25,0.15,0
a.onnx,5,,,
a.onnx,99,0.1,0.2,7
elsewhere,0,0.1,0.2,0
"""


def test_published_brackets_are_confirmed_tightened_or_refuted(tmp_path):
    file = tmp_path / "published.csv"
    file.write_text(PUBLISHED)
    published, nan = brackets_by_model(file), np.nan
    ours = run("a", [0.12, nan, 0.1, 0.1, 0.1, nan], [0.13, 0.5, 0.2, 0.2, 0.2, nan])
    found = beside_published(distributions([ours, run("other", [0.1] * 6, [0.2] * 6)]), published)
    [one] = found.published
    assert (one.run, one.model, one.n, one.overlap, one.tightened) == ("a", "a.onnx", 6, 3, 1)
    assert [(two.index, two.end, two.published, two.ours) for two in one.refuted] == [
        (2, "lower", 0.3, 0.2), (3, "upper", 0.02, 0.1), (4, "lower", 0.25, 0.2)
    ]  # fmt: skip
    assert (one.lower_confirmed, one.upper_confirmed, one.crossed) == (2, 2, (4,))
    text = " ".join(found.table().split())
    assert (
        "REFUTED: 2 of 6 published lower ends of a.onnx: input 2 called verified up to 0.3, our example at 0.2" in text
    )
    assert "REFUTED: 1 of 6 published upper ends" in text
    assert "CROSSED: 1 published brackets of a.onnx: inputs 4" in text
    assert json.loads(found.render("json"))["published"][0]["refuted"][0]["index"] == 2
    # what touches is no contradiction, and a wrong answer refutes whatever was called verified
    touching = beside_published(distributions([run("a", [nan, nan, 0.1], [0.5, 0.5, 0.3])]), published).published[0]
    assert touching.refuted == ()
    wrong = beside_published(distributions([run("a", [nan], [nan], wrong=[0])]), published).published[0]
    assert [(two.index, two.ours) for two in wrong.refuted] == [(0, 0.0)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "index,lower,upper\n0,0,1\n",
            "names the columns index, lower, upper; brackets of several models have a column",
        ),
        ("model,indx,lower,upper\na,0,0,1\n", "names the columns model, indx, lower, upper; a table of robustness has"),
        ("model,index,lower,upper\n", "holds no row"),
        ("model,index,lower,upper\na,0,inf,inf\n", "line 2: lower 'inf' is not a radius"),
        ("model,index,lower,upper\na,0,0,-1\n", "line 2: upper '-1' is not a radius"),
        ("model,index,lower,upper\na,0,0,1\nb,0,0,1\na,0,0,1\n", "line 4: input 0 was there before, line 2; give each"),
        (
            "model,split,index,lower,upper\na,x,0,0,1\na,y,0,0,1\n",
            "and they differ in split; choose the rows of one network, for example split=x",
        ),
        ("model,index,lower,upper,label\na,0,0,1,3\n", "input 0 of a has label 0, and 3 in the published"),
        ("model,index,lower,upper\nb,0,0,1\n", "are about b, none of which is a run or a model here"),
        ("model,index,lower,upper\na,0,0,1\na.onnx,0,0,1\n", "several models for a: a, a.onnx"),
        ("model,index,lower,upper\na,0", "line 2 has 2 cells where there are 4 columns"),
        ('model,index,lower,upper\na,0,0,1\n"' + "x" * 200_000, "cannot read"),
    ],
)
def test_files_that_are_no_published_brackets_are_refused(tmp_path, text, words):
    file = tmp_path / "published.csv"
    file.write_text(text)
    ours = distributions([run("a", [0.1], [0.2])])
    with pytest.raises((BadInput, DataError)) as refused:
        beside_published(ours, brackets_by_model(file))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_verdicts_at_radii_are_published_brackets_too(tmp_path):
    file = tmp_path / "published.csv"
    file.write_text("network,index,eps,verdict\na,0,1/10,robust\na,0,0.3,not\na,1,0.5,robust\na,1,0.2,unknown\n")
    [one] = beside_published(distributions([run("a", [0.1, 0.1], [0.2, 0.2])]), brackets_by_model(file)).published
    assert (one.n, one.upper_confirmed, one.tightened) == (2, 1, 1)
    assert [(two.index, two.end, two.published) for two in one.refuted] == [(1, "lower", 0.5)]


def test_the_order_of_inputs_and_of_runs_changes_nothing():
    one = random_run("a")
    layers, order = one.summary.sandwich, np.random.default_rng(0).permutation(30)
    columns = {name: getattr(layers, name)[order] for name in Sandwich.__dataclass_fields__}
    shuffled = replace(one, summary=replace(one.summary, sandwich=Sandwich(**columns)))
    [first], [second] = distributions([one]).distributions, distributions([shuffled]).distributions
    assert first == second
