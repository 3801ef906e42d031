"""Groups: counted by hand, bounded as the statistics say, and refused where an input has none."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from certify.core.guarantee import Guarantee
from certify.core.sandwich import Sandwich
from certify.core.summary import Row, Summary
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput, DataError, MissingExtra
from certify.stats.groups import group_lowers, worst_group_lower
from certify.stats.simultaneous import share
from certify.summary.group_columns import group_column
from certify.summary.groups import coded, grouped
from certify.summary.slices import slices

NAN = np.nan
ALPHA = 0.001


def summary_of(certified, attacked, label, alpha: float | None = ALPHA, radii=(0.0, 0.5)) -> Summary:
    """A table of inputs at positions 0, 2, 4 ..; those without radius and distance 0 are misclassified."""
    certified, attacked, label = np.array(certified, float), np.array(attacked, float), np.array(label)
    right = attacked != 0
    n = len(label)
    sandwich = Sandwich(
        index=2 * np.arange(n),
        label=label,
        prediction=np.where(right, label, label + 1),
        verdict=np.zeros(n, np.int8),
        certified=certified,
        sure=certified,
        attacked=attacked,
        p_lower=np.full(n, NAN),
        seconds=np.zeros(n),
    )
    rows = tuple(
        Row(
            radius,
            float(np.mean(certified >= radius)),
            0.1,
            float(np.mean(right & ~(attacked <= radius))),
            0,
            0,
            {},
            0.1,
        )
        for radius in radii
    )
    return Summary(
        threat=ThreatModel("l2", radii),
        n=n,
        clean=float(right.mean()),
        rows=rows,
        acr=0.0,
        contradictions=(),
        guarantee=Guarantee.deterministic() if alpha is None else Guarantee.probabilistic(alpha),
        statement="",
        sandwich=sandwich,
    )


@pytest.fixture
def six() -> Summary:
    return summary_of([0.6, 0.2, NAN, 0.7, 0.5, NAN], [NAN, 0.4, 0.0, NAN, 0.9, 0.3], [0, 0, 0, 1, 1, 1])


def test_every_figure_counted_by_hand(six):
    [groups] = grouped(six, "source", ["b", "b", "b", "a", "a", "a"]).groups
    a, b = groups.rows
    assert (a.group, a.n, a.clean, b.group, b.clean) == ("a", 3, 1.0, "b", 2 / 3)
    assert (a.certified, b.certified) == ((2 / 3, 2 / 3), (2 / 3, 1 / 3))
    assert (a.attacked, b.attacked) == ((1.0, 2 / 3), (2 / 3, 1 / 3))
    assert (a.mean_radius, a.median_radius, b.median_radius) == (pytest.approx(0.4), 0.5, 0.2)
    assert [(one.radius, one.group) for one in groups.worst] == [(0.0, "a"), (0.5, "b")]
    assert groups.to_frame().loc[("b", 0.5), "certified"] == 1 / 3


def test_bounds_count_only_what_the_record_shows(six):
    """A published radius may have been rounded up to reach 0.5: shown as certified, not counted on."""
    layers = replace(six.sandwich, sure=np.where(six.sandwich.certified == 0.5, 0.4996, six.sandwich.certified))
    [before], [after] = (
        grouped(one, "label", six.sandwich.label.tolist()).groups for one in (six, replace(six, sandwich=layers))
    )
    assert [row.certified for row in after.rows] == [row.certified for row in before.rows]
    assert after.rows[1].lower[1] < before.rows[1].lower[1]


def test_an_example_at_the_very_radius_breaks_it(six):
    layers = replace(six.sandwich, attacked=np.where(six.sandwich.attacked == 0.9, 0.5, six.sandwich.attacked))
    [groups] = grouped(replace(six, sandwich=layers), "label", six.sandwich.label.tolist()).groups
    assert groups.rows[1].attacked == (1.0, 1 / 3)


@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_bounds_share_delta_over_the_declared_radii(six, alpha):
    six = replace(six, guarantee=six.guarantee if alpha else Guarantee.deterministic())
    [groups] = grouped(six, "label", six.sandwich.label.tolist()).groups
    level = share(1 - six.confidence, 2)
    for place, counts in enumerate([{0: (2, 3), 1: (2, 3)}, {0: (1, 3), 1: (2, 3)}]):
        assert [row.lower[place] for row in groups.rows] == list(group_lowers(counts, alpha, level).values())
        assert groups.worst[place].lower == worst_group_lower(counts, alpha, level)
        assert groups.worst[place].lower >= min(row.lower[place] for row in groups.rows)
    assert ("and the noise" in groups.statement) == (alpha is not None)
    assert "95%" in groups.statement


def test_radii_chosen_afterwards_get_the_bounds_of_declared_ones(six):
    [declared] = grouped(six, "label", six.sandwich.label.tolist()).groups
    asked = replace(six, threat=ThreatModel("l2", (0.1, 0.5)), declared=(0.0, 0.5))
    asked = replace(asked, rows=(replace(six.rows[0], radius=0.1), six.rows[1]))
    [groups] = grouped(asked, "label", six.sandwich.label.tolist()).groups
    assert groups.worst[0].lower == groups.worst[1].lower == declared.worst[1].lower


def test_nothing_is_said_of_others_where_the_inputs_are_no_sample(six):
    rows = tuple(replace(row, population_lower=None) for row in six.rows)
    [groups] = grouped(replace(six, rows=rows), "label", six.sandwich.label.tolist()).groups
    assert {lower for row in groups.rows for lower in row.lower} == {None}
    assert {one.lower for one in groups.worst} == {None}
    assert "nothing is said of others" in groups.statement


def test_the_worst_group_is_bounded_as_often_as_promised():
    """The worst of five groups, known exactly: the bound is too high in no more than one of twenty draws."""
    generator, true, wrong = np.random.default_rng(0), np.array([0.5, 0.52, 0.6, 0.7, 0.9]), 0
    label = np.repeat(np.arange(5), 60)
    for _ in range(40):
        robust = generator.random(300) < true[label]
        made = summary_of(np.where(robust, 1.0, NAN), np.full(300, NAN), label, None, (0.5,))
        [groups] = grouped(made, "label", label.tolist()).groups
        wrong += groups.worst[0].lower > true.min()
    assert wrong <= 4


def test_numbers_are_in_the_order_of_numbers_and_many_tables_are_kept(six):
    table = grouped(grouped(six, "n", [10, 9, 2, 10, 9, 2.0]), "flag", [True, False] * 3)
    assert [[row.group for row in groups.rows] for groups in table.groups] == [["2", "9", "10"], ["False", "True"]]
    assert [one["name"] for one in table.to_dict()["groups"]] == ["n", "flag"]


def test_a_mapping_is_by_position(six):
    of = {position: "even" if position % 4 == 0 else "odd" for position in range(20)}
    [groups] = grouped(six, "half", of).groups
    assert [(row.group, row.n) for row in groups.rows] == [("even", 3), ("odd", 3)]


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ({0: "a", 2: "a"}, "source has no entry for input 4 .4 such inputs."),
        (["a"] * 5, "5 entries for 6 inputs"),
        (["a", "b", None, "a", "b", "c"], "no group for input 4"),
        (["a", "b", "a", "", "b", "c"], "no group for input 6"),
        ([0.0, 1.0, 2.0, NAN, 1.0, 1.0], "no group for input 6"),
        ([0.0, 1.0, 2.5, 1.0, 1.0, 1.0], "whole numbers: cut it up"),
    ],
)
def test_an_input_without_a_group_is_refused(six, of, message):
    with pytest.raises(BadInput, match=message):
        grouped(six, "source", of)


def test_without_fairlearn_the_extra_is_named(six, monkeypatch):
    monkeypatch.setitem(sys.modules, "fairlearn.metrics", None)
    with pytest.raises(MissingExtra, match="certify.groups."):
        grouped(six, "label", six.sandwich.label.tolist())


def test_a_column_of_a_csv_file(six, tmp_path):
    file = tmp_path / "scanner.csv"
    file.write_text("index,site,scanner\n" + "".join(f"{i},{i % 3},S{i % 2}\n" for i in range(11)))
    name, of = group_column(f"{file}:site", six.sandwich)
    assert (name, [of[position] for position in six.sandwich.index.tolist()]) == ("site", list("021021"))
    [groups] = grouped(six, name, of).groups
    assert [row.n for row in groups.rows] == [2, 2, 2]


def test_an_array_has_one_entry_for_each_input_of_the_data(six, tmp_path):
    np.savez(tmp_path / "extra.npz", site=np.arange(11) % 2, short=np.zeros(4), flat=np.zeros((11, 2)))
    name, of = group_column(f"{tmp_path}/extra.npz:site", six.sandwich, size=11)
    assert (name, of[10], len(of)) == ("site", 0, 11)
    for spec, size in (("site", 12), ("short", None), ("flat", None)):
        with pytest.raises(BadInput, match="one entry for each of"):
            group_column(f"{tmp_path}/extra.npz:{spec}", six.sandwich, size)


def test_the_label_is_a_column(six):
    assert group_column("label", six.sandwich) == ("label", [0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("lable", BadInput, "did you mean 'label'"),
        ("x.txt:a", BadInput, "groups are one of: label, FILE.csv:COLUMN"),
        ("none.csv:a", BadInput, "no file 'none.csv'"),
        ("good.csv:scaner", BadInput, "did you mean 'scanner'"),
        ("noindex.csv:a", BadInput, "no column 'index'"),
        ("twice.csv:a", DataError, "index 1 occurs twice"),
        ("text.csv:a", DataError, "line 2: index 'one' is no position"),
        ("extra.npz:sit", BadInput, "did you mean 'site'"),
        ("broken.npz:site", DataError, "cannot be read"),
        ("objects.npz:site", DataError, "cannot be read"),
    ],
)
def test_bad_columns_are_one_line(six, tmp_path, monkeypatch, spec, kind, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text("index,scanner\n0,a\n")
    (tmp_path / "noindex.csv").write_text("idx,a\n0,a\n")
    (tmp_path / "twice.csv").write_text("index,a\n1,a\n1,b\n")
    (tmp_path / "text.csv").write_text("index,a\none,a\n")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    np.savez(tmp_path / "extra.npz", site=np.arange(11))
    np.savez(tmp_path / "objects.npz", site=np.array([{}] * 11, dtype=object))
    with pytest.raises(kind, match=message) as refused:
        group_column(spec, six.sandwich)
    assert "\n" not in str(refused.value)


def test_bounds_never_exceed_what_was_counted():
    generator = np.random.default_rng(5)
    made = summary_of(
        generator.uniform(0, 1, 80), np.full(80, NAN), generator.integers(0, 4, 80), None, (0.1, 0.3, 0.6)
    )
    [groups] = grouped(made, "label", made.sandwich.label.tolist()).groups
    for row in groups.rows:
        assert all(lower <= certified for lower, certified in zip(row.lower, row.certified, strict=True))
        assert all(one >= other for one, other in pairwise(row.lower))


def test_a_known_group_without_inputs_may_be_the_worst(six):
    labels = six.sandwich.label.tolist()
    [seen] = grouped(six, "label", labels, classes=2).groups
    positions = six.sandwich.index.tolist()
    [missed] = grouped(six, "label", labels, classes=3).groups
    [by_position] = grouped(
        six, "site", dict.fromkeys([*range(100), 999], "a") | dict.fromkeys(positions[3:], "b") | {999: "c"}
    ).groups
    assert seen == grouped(six, "label", labels).groups[0]
    assert min(one.lower for one in seen.worst) > 0
    for groups, name in ((missed, "label 2"), (by_position, "site c")):
        assert [one.lower for one in groups.worst] == [0.0, 0.0]
        assert f"No input of {name} is here" in groups.statement


@pytest.mark.parametrize("classes", [10**12, -1, 2.0, "ten"])
def test_no_manifest_has_more_classes_than_models_have(six, classes):
    with pytest.raises(BadInput, match=r"context\.num_classes in the manifest is .*, which is no number of classes"):
        grouped(six, "label", six.sandwich.label.tolist(), classes=classes)


def test_slices_that_overlap_are_counted_each_and_bounded_all_at_once(six):
    x = np.array([1, 2, 3, 4, 5, 6])
    told = slices(x, {"low": x < 4, "even": lambda x: x % 2 == 0})
    assert told == [("low",), ("low", "even"), ("low",), ("even",), (), ("even",)]
    [groups] = grouped(six, "slice", told).groups
    even, low = groups.rows
    assert (even.group, even.n, low.group, low.n) == ("even", 3, "low", 3)
    assert (even.certified, low.certified) == ((2 / 3, 1 / 3), (2 / 3, 1 / 3))
    assert (even.clean, low.clean) == (1.0, 2 / 3)
    level = share(1 - six.confidence, 2)
    counts = {"even": (2, 3), "low": (2, 3)}
    assert [row.lower[0] for row in groups.rows] == list(group_lowers(counts, ALPHA, level).values())
    assert groups.worst[0].lower == worst_group_lower(counts, ALPHA, level)
    assert "whatever they share" in groups.statement
    [apart] = grouped(six, "slice", [("a",), ("a",), (), ("b",), ("b",), ("b",)]).groups
    assert "whatever they share" not in apart.statement


def test_bounds_of_overlapping_slices_hold_all_at_once_as_often_as_promised():
    """Ten slices of one sample, half of it each: some bound is too high in no more than one of twenty draws."""
    generator, wrong = np.random.default_rng(1), 0
    for _ in range(40):
        features = generator.random((120, 10)) < 0.5
        true = 0.3 + 0.05 * features.sum(axis=1)  # an input's own probability of being robust
        made = summary_of(
            np.where(generator.random(120) < true, 1.0, NAN), np.full(120, NAN), np.zeros(120), None, (0.5,)
        )
        [groups] = grouped(made, "slice", slices(features, {f"s{k}": features[:, k] for k in range(10)})).groups
        wrong += any(row.lower[0] > 0.3 + 0.05 * (1 + 9 * 0.5) for row in groups.rows)
    assert wrong <= 4


def test_slices_from_files(six, tmp_path):
    file = tmp_path / "slices.csv"
    lines = ["index,dark,old,name,none", *(f"{one},{one < 6},{int(one > 2)},n{one},false" for one in range(11))]
    file.write_text("\n".join(lines) + "\n")
    name, of = group_column(f"slices:{file}:dark,old", six.sandwich)
    assert (name, of[0], of[4], of[8]) == ("slice", ("dark",), ("dark", "old"), ("old",))
    np.savez(tmp_path / "slices.npz", dark=np.arange(11) < 6, old=np.arange(11) > 2, other=np.arange(11.0))
    assert group_column(f"slices:{tmp_path / 'slices.npz'}", six.sandwich) == (name, of)
    [groups] = grouped(six, name, of).groups
    assert [(row.group, row.n) for row in groups.rows] == [("dark", 3), ("old", 4)]
    few = {position: ("dark",) if position else ("dark", "rare") for position in range(1, 40)} | {39: ("rare",)}
    [groups] = grouped(six, name, {0: ("dark",), **few}).groups
    assert "No input of slice rare is here" in groups.statement
    assert groups.worst[0].lower == 0.0
    twice = tmp_path / "twice.csv"
    twice.write_text("index,dark,dark\n" + "".join(f"{one},1,0\n" for one in range(11)))
    for spec, message in (
        (f"slices:{file}", "no input is in slice none"),
        (f"slices:{file}:name", "is 'n0' for input 0; a slice is true or false, 1 or 0"),
        (f"slices:{file}:drak", "has no column 'drak'; did you mean 'dark'?"),
        (f"slices:{tmp_path / 'no.csv'}", "no file"),
        (f"slices:{twice}", "has two columns 'dark': nobody knows which is meant"),
        ("slices:", "unknown group 'slices:'"),
    ):
        with pytest.raises(BadInput) as refusal:
            group_column(spec, six.sandwich)
        assert message in str(refusal.value)
    (tmp_path / "words.csv").write_text("index,a\n0,x\n")
    with pytest.raises(BadInput, match="has no column of truth values"):
        group_column(f"slices:{tmp_path / 'words.csv'}", six.sandwich)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({}, "no slices: give each a name"),
        ({"a": [1, 0]}, "slice 'a' must say true or false for each of 2 inputs, got int64 of shape (2,)"),
        ({"a": [True]}, "got bool of shape (1,)"),
        ({"a": [False, False]}, "no input is in slice 'a'"),
        ({"a": lambda x: x.missing}, "slice 'a' raised AttributeError"),
    ],
)
def test_conditions_that_are_none(conditions, message, six):
    with pytest.raises((BadInput, DataError)) as refusal:
        slices(np.zeros((2, 1)), conditions)
    assert message in str(refusal.value)
    with pytest.raises(BadInput, match="several groups for input 0, and here each is in one"):
        coded("slice", six.sandwich.index, [("a", "b")] * 6)
    with pytest.raises(BadInput, match="names one group twice for input 0: it would count as two inputs"):
        grouped(six, "slice", [("a", "a")] * 6)
    with pytest.raises(BadInput, match="no input here is in any slice"):
        grouped(six, "slice", [()] * 6)
