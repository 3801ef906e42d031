"""The standing adversaries on a few seeds each; ``benchmarks/fuzz.py`` gives them minutes or hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from adversary import ADVERSARIES

from certify.bounds.importers import onnx_import, torch_import
from certify.bounds.importers.constants import Inexact
from certify.bounds.rules.base import Affine
from certify.bounds.rules.softplus import Softplus
from certify.bounds.tensors import Interval
from certify.complete.query import Disjunct
from certify.store import opening
from certify.study import checking

ATTEMPTS = {
    "answers": 4, "constants": 8, "databases": 6, "graphs": 40, "magnitudes": 12, "modules": 8, "runs": 6,
}  # fmt: skip


@pytest.mark.parametrize("name", ADVERSARIES)
def test_nothing_breaks(name):
    found = {f"{name} {seed}": ADVERSARIES[name](seed) for seed in range(ATTEMPTS[name])}
    # Where rounding cancels nearly everything, an import may be refused: that claims nothing.
    broken = {attempt: said for attempt, said in found.items() if said and "an own import is refused" not in said}
    assert not broken


def only_stated_inputs(patch) -> None:
    """Conditions are asked of the stated decimal, not of the float that is executed."""
    holds = Disjunct.holds
    patch.setattr(Disjunct, "holds", lambda case, x, y, executed=None: holds(case, x, y))


def wrong_folds(patch) -> None:
    """Rounded constants are off by a share that no error covers, and nobody compares an import with its source."""

    def off(name, rule, arguments, result, opset=0):
        return Inexact(result * 1.01, torch.full_like(result, 1e-30, dtype=torch.float64))

    for module in (onnx_import, torch_import):
        patch.setattr(module, "enclosed", off)
        patch.setattr(module, "_compare", lambda *given: None)


def no_schema(patch) -> None:
    """Whatever a database holds is taken for ours."""
    ours = opening._schema_of(opening.SCHEMA_VERSION)
    patch.setattr(opening, "_schema", lambda db: set(ours))


def narrow_boxes(patch) -> None:
    """Affine layers forget a quarter of each image at either end."""
    interval = Affine.interval

    def narrowed(self, *boxes, **options):
        box = interval(self, *boxes, **options)
        quarter = (box.upper - box.lower) / 4
        return Interval.known(box.lower + quarter, box.upper - quarter)

    patch.setattr(Affine, "interval", narrowed)


def no_overflow(patch) -> None:
    """Softplus is executed as it is written, without the exponential in it that overflows."""
    patch.setattr(Softplus, "executed", lambda self, box: box.upper * 0)
    patch.setattr(torch_import, "check_alone", lambda *given: None)  # which would meet it first


def nothing_derived(patch) -> None:
    """Records are believed."""
    patch.setattr(checking, "record_claims", lambda *given: [])


@dataclass(frozen=True)
class Planted:
    """A bug, and how many seeds may pass until an adversary meets it."""

    plant: Callable[[pytest.MonkeyPatch], None]
    seeds: range


PLANTED = {
    "answers": Planted(only_stated_inputs, range(1, 9, 2)),
    "constants": Planted(wrong_folds, range(1, 41, 2)),
    "databases": Planted(no_schema, range(20)),
    "graphs": Planted(narrow_boxes, range(40)),
    "magnitudes": Planted(no_overflow, range(4)),
    "modules": Planted(narrow_boxes, range(20)),
    "runs": Planted(nothing_derived, range(20)),
}


@pytest.mark.parametrize("name", ADVERSARIES)
def test_a_planted_bug_is_met(name, monkeypatch):
    planted = PLANTED[name]
    planted.plant(monkeypatch)
    assert any(ADVERSARIES[name](seed) for seed in planted.seeds)
