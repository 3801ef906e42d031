"""CROWN within a time limit: what is not bounded in time keeps looser boxes, and is said."""

from __future__ import annotations

import itertools
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from certify.bounds import crown, deadline
from certify.bounds.output import ball_bounds, output_bounds

from .conftest import filled

DEEP = filled(nn.Sequential(*(m for _ in range(6) for m in (nn.Linear(6, 6), nn.ReLU())), nn.Linear(6, 2)), "in time")
X = torch.linspace(-1, 1, 12).reshape(2, 6)


@pytest.fixture
def ticking(monkeypatch):
    """A clock that goes on by a second whenever somebody looks at it, and entries that are bounded one by one."""
    monkeypatch.setattr(crown, "CHUNK", 12)
    clock = itertools.count()
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))


def bounded(seconds, **settings):
    """Bounds within so many looks at the clock, and what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        return output_bounds(DEEP, X - 0.2, X + 0.2, **settings, timeout=seconds), [str(one.message) for one in said]


@pytest.mark.parametrize("memory", [None, 20_000])
def test_bounds_hold_whenever_time_is_up(ticking, memory):
    """With little memory, the inputs are bounded one after the other, and each has its share of the time."""
    low, high = output_bounds(DEEP, X - 0.2, X + 0.2)
    least, most = output_bounds(DEEP, X - 0.2, X + 0.2, "ibp")
    counts = []
    for seconds in (*range(1, 900, 60), 10**6):
        found, said = bounded(seconds, max_memory=memory)
        assert (found[0] <= low + 1e-6).all(), seconds
        assert (found[1] >= high - 1e-6).all(), seconds
        assert (found[0] >= least - 1e-6).all(), seconds
        assert (found[1] <= most + 1e-6).all(), seconds
        counts.append(int(said[0].split(" of ")[0].split()[-1]) if said else 0)
        if not said:
            assert torch.allclose(found[0], low, atol=1e-6), seconds
    assert counts[0] == 6
    assert counts[-1] == 0
    assert len(set(counts)) > 2


def test_other_methods_raise(ticking):
    with pytest.raises(deadline.OutOfTime, match="the time limit of 40 s was used up"):
        bounded(40, method="alpha-crown")


def test_a_ball_has_the_same_limit(ticking):
    with pytest.warns(UserWarning, match="bounds by interval arithmetic: they hold"):
        ball_bounds(DEEP, X, 0.2, timeout=3)
