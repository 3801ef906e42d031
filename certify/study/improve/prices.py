"""What a step of each recipe costs, as a multiple of a step of ordinary training.

Steps of a small network for ten classes on the processor, and of a ball of its full size, were measured at 0.8 to 1.3
times what is said here; that of denoise, which depends on the model behind it, is an estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["PRICES", "Price"]

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Price:
    """What a recipe costs by default.

    Args:
        epochs: passes over the data.
        step: cost of a step as a multiple of one of ordinary training, from its settings.
        because: the same in words.
    """

    epochs: int
    step: Callable[[Settings], float]
    because: str


def _draws(settings: Settings) -> float:
    return float(settings.get("draws", 2))


def _steps(settings: Settings) -> float:
    return float(settings.get("steps", 8))


def _growing(settings: Settings) -> float:
    """The share of a training in which the ball grows."""
    return float(settings.get("growth", 0.4)) - float(settings.get("warm_up", 0.0))


PRICES: Final[Mapping[str, Price]] = {
    "standard": Price(30, lambda _: 1, "one pass"),
    "noise": Price(100, lambda _: 1, "one pass"),
    "ablation": Price(100, lambda _: 1, "one pass"),
    "bands": Price(60, lambda _: 1, "one pass"),
    "consistency": Price(60, _draws, "draws"),
    "smoothadv": Price(60, lambda one: _draws(one) * (float(one.get("steps", 2)) + 1), "draws * (steps + 1)"),
    "denoise": Price(40, lambda _: 5, "the denoiser, and the model behind it"),
    "lipschitz": Price(60, lambda _: 1, "the pass, and the parametrisation of its weights"),
    "pgd": Price(30, lambda one: _steps(one) + 1, "steps + 1"),
    "trades": Price(30, lambda one: _steps(one) + 2, "steps + 2"),
    "ibp": Price(60, lambda _: 4, "the pass, and three for interval bounds"),
    "crown-ibp": Price(
        60, lambda one: 4 + 36 * _growing(one), "that of ibp, and ten times as much while the ball grows"
    ),
    "sabr": Price(60, lambda one: _steps(one) + 3, "steps, and that of ibp"),
    "mtl-ibp": Price(60, lambda one: _steps(one) + 4, "steps + 1, and that of ibp"),
}
"""By the name of the recipe; the recipes themselves need torch, and a test holds these against them."""
