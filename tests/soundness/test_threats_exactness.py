"""Certificates beside enumeration, on one tiny network a threat; ``benchmarks/threats_exactness.py`` has many."""

from __future__ import annotations

import pytest
import threats_exactness as exactness

from certify.bounds.rules.resample import Resample
from certify.bounds.tensors import Interval
from certify.core.threats.base import THREATS
from certify.core.threats.transform import Transform
from certify.data.dataset import seeded_generator

UNSPLIT = {"translation", "product", "own"}
"""Transforms of several parameters, which have no fine grid; certifiers/test_transforms.py has samples of them."""


LONGER = {"scaling", "shear", "time-shift", "contrast", "gamma", "blur"}
"""Left to the benchmark: each has the operators of another."""


@pytest.mark.parametrize("member", [name for name in exactness.MEMBERS if name not in LONGER])
def test_no_certificate_and_no_example_contradicts_enumeration(member):
    found = list(exactness.MEMBERS[member](seeded_generator("exactness", member, 1)))
    assert not [one for one in found if one.wrong]
    assert all(one.exact for one in found if one.certifier == "complete")
    assert any(one.truth.values() for one in found)


def test_every_transform_of_one_parameter_is_written_down_again():
    transforms = {name for name, one in THREATS.items() if issubclass(one, Transform)}
    assert exactness.TRANSFORMS.keys() == transforms - UNSPLIT


def test_planted_radii_are_found():
    names = {"features", "categories", "patch", "brightness", "rotation"}
    found = list(exactness.planted(names))
    assert {one.member for one in found} == {f"planted: {name}" for name in names}
    for one in found:
        assert one.exact
        assert not one.wrong
        assert one.falsified is not None


@pytest.mark.parametrize(("radius", "falsified"), [(2.0, None), (None, 1.0), (1.0, 1.0)])
def test_a_wrong_claim_is_seen(radius, falsified):
    assert exactness.Case("", "", radius, falsified, {0.0: True, 1.0: True, 2.0: False}).wrong
    assert not exactness.Case("", "", 1.0, 2.0, {0.0: True, 1.0: True, 2.0: False}).wrong


def test_resampled_values_keep_to_their_bounds_and_planes(monkeypatch):
    counted = exactness.resampled(1200, 40)
    kinds = {name.split(":")[0] for name in counted}
    assert kinds == {"inside a pixel", "across pixels", "border"}
    for kind in kinds:
        assert counted[f"{kind}: points"] > 4000
        assert counted[f"{kind}: violations"] == 0

    class Narrow(Resample):
        """Its bounds forget the crossings of lines of pixels."""

        def interval(self, *boxes, outward):
            image, u, v = boxes
            ends = [
                self.forward(image.lower, column, row) for column in (u.lower, u.upper) for row in (v.lower, v.upper)
            ]
            low = ends[0].minimum(ends[1]).minimum(ends[2]).minimum(ends[3])
            high = ends[0].maximum(ends[1]).maximum(ends[2]).maximum(ends[3])
            return Interval(low, high)

    monkeypatch.setattr(exactness, "Resample", Narrow)
    counted = exactness.resampled(1200, 40)
    assert counted["across pixels: violations"] > 0
