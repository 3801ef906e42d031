"""Boxes of inputs: one pair of numbers, or a pair for each feature."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from certify import ThreatModel
from certify.core.evidence.bounds import BoundEvidence
from certify.core.input_box import InputBox, check_box, read_box
from certify.core.threats.base import threat_from
from certify.core.threats.categories import Categories
from certify.core.threats.features import Features
from certify.core.values import plain
from certify.errors import BadInput
from certify.models.classifier import Classifier

ENDS = npst.arrays(np.float64, (2, 5), elements=st.floats(-1e6, 1e6))


def test_one_pair_is_a_pair_of_floats() -> None:
    box = check_box((0, 1))
    assert box == (0.0, 1.0) == tuple(box)
    assert str(box) == "[0, 1]"
    assert box.features is None
    assert check_box(box) == box
    assert check_box(None) is None
    assert box.pair == (0.0, 1.0)


@pytest.mark.parametrize("length", [3, 200])
def test_arrays_are_for_inputs_of_their_size_also_where_all_bounds_are_alike(length: int) -> None:
    box = check_box((np.zeros((length, 1)), np.ones(length)))
    assert box.features == length
    assert box.pair == (0.0, 1.0)
    assert check_box(box.to_json()) == box
    assert str(box) == f"[0, 1] of each of {length} features"
    box.check_shape((length,))
    with pytest.raises(BadInput, match=f"bounds of {length} features"):
        box.check_shape((length + 1,))
    clf = Classifier(torch.nn.Linear(length + 1, 2).eval(), num_classes=2, input_box=box)
    with pytest.raises(BadInput, match=f"bounds of {length} features"):
        clf.check(torch.zeros(1, length + 1))


@given(ENDS)
def test_arrays_are_rounded_outward_to_float32(ends: np.ndarray) -> None:
    ends.sort(axis=0)
    if not (ends[0] < ends[1]).any():
        return
    lower, upper = check_box(ends).ends((5,))
    assert (lower <= ends[0]).all()
    assert (upper >= ends[1]).all()
    assert (lower == lower.astype(np.float32)).all()
    assert (upper == upper.astype(np.float32)).all()
    assert check_box(ends).fault(ends.astype(np.float32)) == ""


@pytest.mark.parametrize("length", [3, 200])
def test_records_bring_back_the_same_box(length: int) -> None:
    box = check_box((np.zeros(length), np.linspace(0.1, 2, length)))
    for threat in (ThreatModel("l2", (0.5,), box), Features((1,), input_box=box)):
        again = threat_from(threat.to_dict())
        assert again == threat
        assert again.input_box == box
    evidence = BoundEvidence("ibp", box, (0.5,), "float64", 0.0, 1)
    assert BoundEvidence.from_dict(plain(evidence) | {}) == evidence
    assert BoundEvidence("ibp", check_box((0, 1)), (0.5,), "float64", 0.0, 1).input_box == (0.0, 1.0)


def test_a_number_beside_an_array_is_for_all_features() -> None:
    assert check_box((0, [1, 2])) == ((0.0, 0.0), (1.0, 2.0))
    assert check_box((np.zeros((2, 2)), 1 + np.arange(4))).features == 4


@pytest.mark.parametrize(
    "box",
    [
        (1, 0),
        (0, 0),
        (0, math.nan),
        (0, math.inf),
        ([0, 2], [1, 1]),
        ([1, 1], [1, 1]),
        ([0, 0], [1, math.nan]),
        ([0, 0], [1, math.inf]),
        ([0, 0], [1, 1e39]),
        ([0, 0, 0], [1, 1]),
        "01",
        (0, 1, 2),
        5,
        (None, 1),
        (["a", "b"], 1),
        (True, False),
        ("x", 1),
    ],
)
def test_what_is_no_box_is_refused(box: object) -> None:
    with pytest.raises(BadInput, match="box"):
        check_box(box)


def test_a_box_of_other_features_is_refused() -> None:
    box = check_box(([0, 0], [1, 2]))
    with pytest.raises(BadInput, match="bounds of 2 features, an input of shape \\(3,\\) has 3"):
        ThreatModel("linf", (0.1,), box).check_shape((3,))
    with pytest.raises(BadInput, match="bounds of 2 features"):
        box.around(torch.zeros(1, 3))


def test_what_leaves_is_named() -> None:
    box = check_box(([0, 0], [1, 20]))
    assert box.fault(np.array([[1, 20]], dtype=np.float32)) == ""
    assert box.fault(np.array([[1, 20], [0, 20.5]])) == (
        "feature 1 of input 1 is 20.5, outside the declared input box [0, 20]"
    )
    assert "feature 0 of input 0 is nan" in box.fault(np.array([[math.nan, 0]]))
    assert "nan" in check_box((0, 1)).fault(np.array([[math.nan, 0]]))


def test_examples_must_lie_in_the_bounds_of_each_feature() -> None:
    threat = ThreatModel("linf", (5.0,), ([0, 0], [1, 20]))
    x = np.array([0.5, 10.0], dtype=np.float32)
    assert threat.contains(x, np.array([1.0, 14.5]))
    assert not threat.contains(x, np.array([1.5, 10.0]))


def test_distances_across_a_box() -> None:
    box = check_box(([0, 0], [3, 4]))
    assert box.diameter(2) == 5
    assert box.widths(2).tolist() == [3, 4]
    assert box.hull == (0, 4)
    assert check_box((0, 1)).diameter(4) == 2
    assert check_box((0, 4)).contains(box)
    assert not box.contains(check_box((0, 4)))
    assert not box.contains(check_box(([0, 0, 0], [1, 1, 2])))


def test_ends_inside_the_box_are_float32() -> None:
    lower, upper = InputBox(0.1, 0.3).inside(torch.zeros(1, 2))
    assert float(lower) >= 0.1
    assert float(upper) <= 0.3
    assert lower.dtype == torch.float32


def test_categories_need_both_their_values() -> None:
    with pytest.raises(BadInput, match="input box .* of feature 1 does not hold both"):
        Categories((1,), groups="0:2", input_box=([0, 0, 0], [1, 0.5, 9]))
    Categories((1,), groups="0:2", input_box=([0, 0, 17], [1, 1, 99]))


def test_a_flag_names_numbers_or_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "box.npy", [[0, 0], [1, 20]])
    assert read_box("0,1") == (0.0, 1.0)
    assert read_box(str(tmp_path / "box.npy")) == check_box(([0, 0], [1, 20]))
    for wrong in ("0", "a,b", "1,0", str(tmp_path / "none.npy")):
        with pytest.raises(BadInput, match="box"):
            read_box(wrong)
