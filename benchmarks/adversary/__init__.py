"""Standing adversaries: each tries, from a seed, to make the product claim something false, hang or crash.

``ADVERSARIES`` names them. An attempt returns None where the product held, otherwise a sentence that says what broke.
The tests try a few seeds of each; ``benchmarks/fuzz.py`` tries new ones for as long as it is given.
"""

from __future__ import annotations

from collections.abc import Callable

from adversary import answers, constants, databases, graphs, magnitudes, modules, runs

__all__ = ["ADVERSARIES"]

ADVERSARIES: dict[str, Callable[[int], str | None]] = {
    "answers": answers.attempt,
    "constants": constants.attempt,
    "databases": databases.attempt,
    "graphs": graphs.attempt,
    "magnitudes": magnitudes.attempt,
    "modules": modules.attempt,
    "runs": runs.attempt,
}
"""By name: one attempt from a seed."""
