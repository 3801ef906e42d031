"""The standing adversaries on a few seeds each; ``benchmarks/fuzz.py`` gives them minutes or hours."""

from __future__ import annotations

import pytest
from adversary import ADVERSARIES

ATTEMPTS = 40


@pytest.mark.parametrize("name", ADVERSARIES)
def test_nothing_breaks(name):
    found = {f"{name} {seed}": ADVERSARIES[name](seed) for seed in range(ATTEMPTS)}
    assert not {attempt: broken for attempt, broken in found.items() if broken}
