"""The standing adversaries on a few seeds each; ``benchmarks/fuzz.py`` gives them minutes or hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from adversary import ADVERSARIES

from certify.bounds.importers import onnx_import, torch_import
from certify.bounds.rules.base import Affine
from certify.bounds.rules.softplus import Softplus
from certify.bounds.tensors import Interval
from certify.complete.query import Case
from certify.store import opening
from certify.study import checking

ATTEMPTS = {
    "answers": 4, "constants": 12, "databases": 12, "graphs": 40, "magnitudes": 12, "modules": 8, "runs": 8,
}  # fmt: skip


@pytest.mark.parametrize("name", ADVERSARIES)
def test_nothing_breaks(name):
    found = {f"{name} {seed}": ADVERSARIES[name](seed) for seed in range(ATTEMPTS[name])}
    # Where rounding cancels nearly everything, an import may be refused: that claims nothing.
    refused = "an own import is refused"
    assert not {attempt: said for attempt, said in found.items() if said and not said.startswith(refused)}
