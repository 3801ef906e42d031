"""Searches that go on a step at a time, so that several can share one time budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from certify.complete.problem import Witness

__all__ = ["Steps", "outcome"]

P = TypeVar("P")

Steps = Iterator[int | P | Witness]
"""After each step, how many subproblems it bounded; at last a proof or a witness. One that gives up just ends."""


def outcome(steps: Steps[P]) -> P | Witness | None:
    """What a search ends with when it has all the time; None if it gave up.

    >>> outcome(iter([1, 2, "proof"]))
    'proof'
    """
    return next((found for found in steps if not isinstance(found, int)), None)
