"""What several runs say alike: said once, with the names of all that say it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

__all__ = ["by_runs", "once"]

T = TypeVar("T", bound=Hashable)


def once(said: Iterable[tuple[str, T]]) -> dict[T, tuple[str, ...]]:
    """Each thing that is said, in the order of its first time, with the names of the runs that say it.

    >>> once([("a", "proof"), ("b", "proof"), ("b", "no attack")])
    {'proof': ('a', 'b'), 'no attack': ('b',)}
    """
    runs: dict[T, dict[str, None]] = {}
    for name, thing in said:
        runs.setdefault(thing, {})[name] = None
    return {thing: tuple(names) for thing, names in runs.items()}


def by_runs(said: Iterable[tuple[str, T]]) -> dict[tuple[str, ...], list[T]]:
    """The same by names: what the same runs say stands together.

    >>> by_runs([("a", "proof"), ("a", "clean"), ("b", "proof"), ("b", "no attack")])
    {('a', 'b'): ['proof'], ('a',): ['clean'], ('b',): ['no attack']}
    """
    things: dict[tuple[str, ...], list[T]] = {}
    for thing, names in once(said).items():
        things.setdefault(names, []).append(thing)
    return things
