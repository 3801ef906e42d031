"""What a run guarantees under shift: its bounds, its words, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.core.summary import Contradiction
from certify.deployment.given import shares_of
from certify.deployment.shift import GROUP_SHARES, SHIFT_FORMATS, shifted_lower
from certify.errors import BadInput, IncompleteRun
from certify.stats.groups import group_lowers
from certify.stats.population import population_lower
from certify.stats.shift import MEASURES
from certify.stats.simultaneous import share

N, RADII = 90, (0.0, 0.05, 0.1)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> certify.Run:
    module = nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        module.weight.copy_(torch.eye(2))
    x = np.random.default_rng(0).uniform(0, 1, (N, 2)).astype(np.float32)
    y = (x[:, 1] > x[:, 0]).astype(np.int64)
    out = tmp_path_factory.mktemp("runs") / "run"
    threat = certify.ThreatModel("linf", RADII)
    certify.evaluate(certify.Classifier(module, 2), (x, y), threat=threat, certifier="ibp", out=out)
    return certify.read_run(out)


def test_curves_follow_from_the_bound_of_the_summary(run):
    found = certify.shift_run(run, threshold=0.6)
    assert found.source == tuple(row.population_lower for row in run.summary.rows)
    for one in found.curves:
        measure = MEASURES[one.measure]
        for p, bounds, largest in zip(found.source, one.lower, one.largest, strict=True):
            assert bounds == tuple(measure.after(p, amount) for amount in one.amounts)
            assert largest == measure.largest(p, 0.6)
    assert [one.measure for one in found.curves] == list(MEASURES)
    assert "95%" in found.statements[0]
    assert "assumption" in found.statements[0]
    one = certify.shift_run(run, measures=["kl"], amounts=[0.5, 0.1, 0.1])
    assert [(curve.measure, curve.amounts) for curve in one.curves] == [("kl", (0.1, 0.5))]
    assert found.to_frame().loc[("kl", 0.05, 0.1), "lower"] == MEASURES["kl"].after(found.source[1], 0.1)


def test_a_random_subset_is_about_the_source_and_smoothing_pays_for_alpha(run):
    subset = replace(run, settings={**run.settings, "data": {**run.settings["data"], "of": 4000}})
    assert any("random subset of 4,000" in note for note in certify.shift_run(subset).notes)
    shard = replace(
        subset, settings={**subset.settings, "inputs": N, "data": {**subset.settings["data"], "inputs": 4000}}
    )
    assert not any("random subset" in note for note in certify.shift_run(shard).notes)
    noisy = replace(run, summary=replace(run.summary, guarantee=certify.Guarantee.probabilistic(0.01)))
    counts = [int(np.sum(run.summary.sandwich.sure >= radius)) for radius in RADII]
    assert certify.shift_run(noisy).source == population_lower(counts, N, 0.01, 0.05)
    assert "and the noise" in certify.shift_run(noisy).statements[0]


def test_shares_move_between_groups_that_are_bounded_at_once(run):
    found = certify.shift_run(run, group="label", threshold=0.4)
    curve = found.curves[-1]
    assert curve.measure == GROUP_SHARES
    labels, sure = run.summary.sandwich.label, run.summary.sandwich.sure
    for place, radius in enumerate(RADII):
        counts = {g: (int(np.sum(sure[labels == g] >= radius)), int(np.sum(labels == g))) for g in (0, 1)}
        lowers = group_lowers(counts, None, share(0.05, 3))
        assert curve.lower[place][0] == pytest.approx(sum(lowers[g] * counts[g][1] / N for g in (0, 1)), abs=1e-12)
        assert curve.lower[place][-1] >= min(lowers.values()) - 1e-12
        given = certify.shift_run(run, shares={"0": 0.25, 1: 0.75}).mixture
        assert given.lower[place] == pytest.approx(0.25 * lowers[0] + 0.75 * lowers[1], abs=1e-12)
        worst = certify.shift_run(run, shares={0: (0.0, 1.0), 1: (0.0, 1.0)}).mixture
        assert worst.lower[place] == min(lowers.values())
    sample = certify.shift_run(run, sample=[0] * 300 + [1] * 100).mixture
    assert sample.counted == (300, 100)
    assert sample.low[0] < 0.75 < sample.high[0]
    assert all(
        a < b for a, b in zip(sample.lowers[0], certify.shift_run(run, shares={0: 1}).mixture.lowers[0], strict=True)
    )
    assert "half of the probability of error, 0.025" in sample.statement
    assert shifted_lower(run, 0.05, GROUP_SHARES, 0.1, 0.05) == curve.lower[1][curve.amounts.index(0.1)]


def test_a_class_without_inputs_counts_as_nothing(run):
    more = replace(run, context={**run.context, "num_classes": 3})
    found = certify.shift_run(more, shares={0: 0.5, 2: 0.5})
    assert found.mixture.groups == ("0", "1", "2")
    assert found.mixture.lower[0] == pytest.approx(found.mixture.lowers[0][0] / 2, abs=1e-12)
    assert "No input of label 2 is here" in found.mixture.statement
    assert found.curves[-1].lower[0][-1] < certify.shift_run(run, group="label").curves[-1].lower[0][-1]


def test_weights_are_a_density_ratio_or_refused(run):
    labels = run.summary.sandwich.label
    half = np.mean(labels == 0)
    weights = np.where(labels == 0, 0.2 / half, 0.8 / (1 - half))
    found = certify.shift_run(run, weights=weights).weighted
    sure = run.summary.sandwich.sure
    for radius, bound in zip(RADII, found.lower, strict=True):
        assert 0 < bound < np.mean(weights * (sure >= radius))
    assert found.effective <= N
    assert certify.shift_run(run, weights=dict(enumerate(weights))).weighted == found
    with pytest.raises(BadInput, match="no density ratio: their mean is at least"):
        certify.shift_run(run, weights=3 * weights)
    for bad, said in [
        (weights[:-1], "89 entries for 90 inputs"),
        ([-1.0] * N, "between 0 and"),
        ([math.nan] * N, "between 0 and"),
        ([math.inf] * N, "between 0 and"),
        (["much"] * N, "is no number"),
        ({0: 1.0}, "no entry for input 1"),
    ]:
        with pytest.raises(BadInput, match=said):
            certify.shift_run(run, weights=bad)


def test_files_are_read_as_values_are(run, tmp_path):
    (tmp_path / "shares.csv").write_text("group,share\n0,0.25\n1,0.75\n")
    (tmp_path / "ends.csv").write_text("group,low,high\n0,0.2,0.3\n1,0.6,0.9\n")
    (tmp_path / "sample.csv").write_text("label\n" + "0\n" * 30 + "1\n" * 10)
    (tmp_path / "weights.csv").write_text("index,w\n" + "".join(f"{place},1.0\n" for place in range(N)))
    np.savez(
        tmp_path / "given.npz", w=np.ones(N), y=np.array([0] * 30 + [1] * 10), short=np.ones(3), flat=np.ones((2, 2))
    )
    mixed = certify.shift_run(run, shares={0: 0.25, 1: 0.75}).mixture
    assert certify.shift_run(run, shares=f"{tmp_path}/shares.csv").mixture == mixed
    assert certify.shift_run(run, shares="0=0.25,1=3/4").mixture == mixed
    ends = certify.shift_run(run, shares={0: (0.2, 0.3), 1: (0.6, 0.9)}).mixture
    assert certify.shift_run(run, shares=f"{tmp_path}/ends.csv").mixture == ends
    assert certify.shift_run(run, shares="0=0.2..0.3,1=0.6..0.9").mixture == ends
    counted = certify.shift_run(run, sample=[0] * 30 + [1] * 10).mixture
    assert certify.shift_run(run, sample=f"{tmp_path}/sample.csv:label").mixture == counted
    assert certify.shift_run(run, sample=f"{tmp_path}/given.npz:y").mixture == counted
    weighted = certify.shift_run(run, weights=[1.0] * N).weighted
    assert certify.shift_run(run, weights=f"{tmp_path}/weights.csv:w").weighted == weighted
    assert certify.shift_run(run, weights=f"{tmp_path}/given.npz:w").weighted == weighted
    for options, said in [
        ({"weights": "label"}, "none of FILE.csv:COLUMN"),
        ({"weights": f"{tmp_path}/none.npz:w"}, "there is no file"),
        ({"weights": f"{tmp_path}/given.npz:short"}, "needs one entry for each"),
        ({"weights": f"{tmp_path}/given.npz:v"}, "no array 'v'"),
        ({"sample": f"{tmp_path}/given.npz:flat"}, "one group for each input"),
        ({"sample": f"{tmp_path}/sample.csv:class"}, "no column 'class'"),
        ({"shares": f"{tmp_path}/none.csv"}, "there is no file"),
        ({"shares": f"{tmp_path}/sample.csv"}, "no column 'group'"),
    ]:
        with pytest.raises(BadInput, match=said):
            certify.shift_run(run, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"measures": ["total_variation"], "amounts": [1.5]}, "lies between 0 and 1, got 1.5"),
        ({"measures": ["kl"], "amounts": [-0.1]}, "at least 0, got -0.1"),
        ({"measures": ["density_ratio"], "amounts": [0.9]}, "at least 1, got 0.9"),
        ({"measures": ["chi2"], "amounts": [math.nan]}, "finite"),
        ({"measures": ["chi2"], "amounts": []}, "no amount"),
        ({"amounts": [0.1]}, "those of one measure"),
        ({"measures": ["klx"]}, "did you mean 'kl'"),
        ({"threshold": 60}, "60 % is 0.6"),
        ({"threshold": 0}, "60 % is 0.6"),
        ({"shares": {0: 0.5, 1: 0.4}}, "must add up to 1, they add up to 0.9"),
        ({"shares": {0: 0.5, 7: 0.5}}, "unknown label '7'"),
        ({"shares": {0: 1.5, 1: -0.5}}, "between 0 and 1"),
        ({"shares": {0: math.nan, 1: 1}}, "finite"),
        ({"shares": {0: (0.1, 0.2), 1: (0.1, 0.2)}}, "add up to 1"),
        ({"shares": {0: 1, "0": 1}}, "two shares"),
        ({"shares": "0:0.3"}, "GROUP=SHARE"),
        ({"shares": {0: 1}, "sample": [0]}, "one of the two"),
        ({"sample": []}, "no input"),
        ({"sample": [0, 5]}, "unknown label '5'"),
        ({"group": "colour"}, "unknown group"),
        ({"radii": [0.05]}, "read it with these radii"),
        ({"delta": 1.0}, "delta"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run, options, said):
    with pytest.raises(BadInput, match=said) as refused:
        certify.shift_run(run, **options)
    assert "\n" not in str(refused.value)


def test_no_random_sample_and_an_unfinished_run_say_nothing(run):
    rows = tuple(replace(row, population_lower=None) for row in run.summary.rows)
    with pytest.raises(BadInput, match="no random sample"):
        certify.shift_run(replace(run, summary=replace(run.summary, rows=rows)))
    with pytest.raises(IncompleteRun, match="incomplete"):
        certify.shift_run(replace(run, summary=replace(run.summary, rows=rows, expected=N + 1)))
    found = Contradiction(0, "ibp", 0.1, "pgd", 0.05)
    bad = certify.shift_run(replace(run, summary=replace(run.summary, contradictions=(found,))))
    assert "CONTRADICTION" in bad.table()


def test_radii_beyond_the_declared_ones_are_left_out(run):
    found = certify.shift_run(run.path, radii=[0.01, 0.2])
    assert found.radii == (0.01,)
    assert found.source == (certify.shift_run(run).source[1],)  # what is robust at 0.05 is robust at 0.01
    assert "largest declared radius" in found.notes[0]
    with pytest.raises(BadInput, match="beyond its largest"):
        certify.shift_run(run.path, radii=[0.2])


def test_every_format_says_what_is_promised_and_no_more_than_the_bounds(run):
    found = certify.shift_run(run, threshold=0.6, sample=[0, 1] * 50, weights=[1.0] * N)
    for format in ("table", "markdown", "html", "latex"):
        text = " ".join(found.render(format).split())
        assert text.count("with probability at least 95") == 4, format
    assert set(SHIFT_FORMATS) == {"table", "markdown", "html", "latex", "json"}
    line = next(line for line in found.table().splitlines() if line.split()[:1] == ["0.05"])
    assert float(line.split()[2]) / 100 <= found.source[1]
    assert "any" in found.to_dict()["curves"][0]["largest"] or found.curves[0].largest[0] < 1


def test_text_of_shares():
    assert shares_of(" a = 0.25 , b=1/2..3/4") == {"a": 0.25, "b": (0.5, 0.75)}
    for bad in ("", "a", "a=", "=1", "a=x", "a=1,a=2", "a=0.1..x"):
        with pytest.raises(BadInput):
            shares_of(bad)
