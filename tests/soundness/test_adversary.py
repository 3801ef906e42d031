"""The standing adversaries on a few seeds each; ``benchmarks/fuzz.py`` gives them minutes or hours."""

from __future__ import annotations

import pytest
from adversary import ADVERSARIES

ATTEMPTS = 40


@pytest.mark.parametrize("name", ADVERSARIES)
def test_nothing_breaks(name):
    found = {f"{name} {seed}": ADVERSARIES[name](seed) for seed in range(ATTEMPTS)}
    # Where rounding cancels nearly everything, an import may be refused: that claims nothing.
    refused = "an own import is refused"
    assert not {attempt: said for attempt, said in found.items() if said and not said.startswith(refused)}
