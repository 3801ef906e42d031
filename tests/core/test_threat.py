"""Threat models with per-feature scales: what they contain, how records keep them, who refuses them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from certify.core.norms import NORMS
from certify.core.scale import read_scale
from certify.core.threats.lp import ThreatModel
from certify.data.dataset import seeded_generator
from certify.errors import BadInput


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        ([1.0, -1.0], "got -1"),
        ([1.0, math.nan], "got nan"),
        ([math.inf], "got inf"),
        ([0.0, 0.0], "nothing but 0"),
        ([], "nothing but 0"),
        (["a"], "array of numbers"),
        ([[1.0], [1.0, 2.0]], "array of numbers"),
    ],
)
def test_impossible_scales_are_refused_in_one_line(scale, words):
    with pytest.raises(BadInput, match=words) as refused:
        ThreatModel("l2", (0.1,), scale=scale)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("scale", [[[1, 0], [0.5, 2]], np.array([1, -0.0, 0.5, 2]), torch.tensor([1, 0, 0.5, 2])])
def test_any_array_becomes_the_same_flat_scale(scale):
    threat = ThreatModel("l2", (0.1,), scale=scale)
    assert threat == ThreatModel("l2", (0.1,), scale=(1.0, 0.0, 0.5, 2.0))
    assert json.dumps(threat.to_dict()["scale"]) == "[1.0, 0.0, 0.5, 2.0]"
    assert "1 of 4 features immutable" in str(threat)
    assert threat != replace(threat, scale=None)


def test_a_scale_of_another_size_is_named():
    with pytest.raises(BadInput, match=r"has 2 numbers, an input of shape \(3,\) has 3 features"):
        ThreatModel("l2", (0.1,), scale=(1.0, 0.0)).contains(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("size", [3, 64, 65, 3072])
def test_records_give_the_scale_back_and_share_it(size):
    scale = seeded_generator("scale", size).random(size).astype(np.float32) * (np.arange(size) % 3 > 0)
    threat = ThreatModel("linf", (0.0, 0.1), (0.0, 1.0), scale=scale)
    text = json.dumps(threat.to_dict())
    first, second = (ThreatModel.from_dict(json.loads(text)) for _ in range(2))
    assert first == second == threat
    assert first.named == threat.named
    assert (first.scale is second.scale) == (size > 64)


def test_records_without_a_scale_are_as_they_were():
    threat = ThreatModel("l2", (0.5,))
    assert list(threat.to_dict()) == ["norm", "radii", "input_box", "units"]
    assert ThreatModel.from_dict(threat.to_dict()) == threat


def test_masks_of_images_are_small_in_every_record():
    mask = np.zeros((3, 32, 32))
    mask[:, 8:24, 8:24] = 1
    assert len(json.dumps(ThreatModel("linf", (0.1,), scale=mask).to_dict())) < 400


@pytest.mark.parametrize("text", ["no base64!", "AAAA", 3])
def test_a_damaged_scale_is_refused(text):
    with pytest.raises(BadInput):
        ThreatModel.from_dict(ThreatModel("l2", (0.5,)).to_dict() | {"scale": text})


def exact_reach(norm: str, x: np.ndarray, x_adv: np.ndarray, scale: np.ndarray) -> tuple[Fraction, int] | None:
    """The exact scaled distance, or its square, and the power it is in; None where an immutable feature moved."""
    steps = [abs(Fraction(float(b)) - Fraction(float(a))) for a, b in zip(x, x_adv, strict=True)]
    if any(step and not w for step, w in zip(steps, scale, strict=True)):
        return None
    parts = [step / Fraction(float(w)) for step, w in zip(steps, scale, strict=True) if w]
    return {"linf": (max(parts), 1), "l1": (sum(parts), 1), "l2": (sum(part * part for part in parts), 2)}[norm]


@pytest.mark.parametrize("norm", NORMS)
def test_a_point_is_contained_only_if_it_exactly_is(norm):
    """At the very edge: radii are the float next to the exact distance, on either side."""
    draw = seeded_generator("edge", norm)
    contained = 0
    for trial in range(300):
        x, scale = draw.random(5).astype(np.float32), draw.random(5) * 10.0 ** draw.integers(-160, 3, size=5)
        scale[trial % 5] = 0.0
        x_adv = x.astype(np.float64) + scale * draw.normal(size=5) * (trial % 3 > 0)
        distance, power = exact_reach(norm, x, x_adv, scale)
        near = float(distance) if power == 1 else math.sqrt(float(distance))
        threat = ThreatModel(norm, (1.0,), scale=scale)
        for radius in (near * (1 + k * 2.0**-52) for k in (-2, -1, 0, 1, 2, 40)):
            inside = threat.contains(x, x_adv, radius)
            contained += inside
            assert not inside or distance <= Fraction(radius) ** power
    assert contained > 250  # 40 steps above the distance nearly all are seen to be inside


@pytest.mark.parametrize("norm", NORMS)
def test_immutable_features_do_not_move_at_all(norm):
    threat, x = ThreatModel(norm, (1e300,), scale=(1.0, 0.0)), np.zeros(2)
    assert threat.contains(x, np.array([5.0, 0.0]))
    assert not threat.contains(x, np.array([0.0, 5e-324]))
    assert not threat.contains(x, np.array([0.0, math.nan]))
    assert not ThreatModel(norm, (1e300,), scale=(5e-324, 1.0)).contains(x, np.array([1.0, 0.0]))


def test_only_plain_arrays_are_read(tmp_path):
    np.save(tmp_path / "scale.npy", np.eye(2))
    assert read_scale(str(tmp_path / "scale.npy")) == (1.0, 0.0, 0.0, 1.0)
    np.save(tmp_path / "objects.npy", np.array([None, 1]), allow_pickle=True)
    (tmp_path / "text.npy").write_text("1, 0")
    for file, words in (("objects.npy", "plain array"), ("text.npy", "plain array"), ("none.npy", "check the path")):
        with pytest.raises(BadInput, match=words) as refused:
            read_scale(str(tmp_path / file))
        assert "\n" not in str(refused.value)
