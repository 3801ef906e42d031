"""What carries the margin of a weak input: how much each feature adds, beside the example that breaks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["TOP", "Explanation", "Feature"]

TOP: Final = 5
"""Features that a text names."""


class Feature(NamedTuple):
    """One feature of an input.

    Args:
        place: where it is, one number an axis.
        value: of the input.
        adds: its part of the margin.
        change: what the adversarial example adds to its value; None without an example.
    """

    place: tuple[int, ...]
    value: float
    adds: float
    change: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """One input, and what integrated gradients say of its margin: the label's score less that of the runner-up.

    Args:
        index: position in the data set.
        label, runner_up: the two classes.
        margin: at the input; of a smoothed model, between mean probabilities under noise.
        radius: certified; None for none.
        x: the input (...).
        adds: (...), the part of each feature in ``margin - start``.
        start: the margin at the baseline, the mean of all inputs of the data set.
        missed: what the parts sum to, less ``margin - start``: 0 for exact integrals.
        example: the adversarial example (...); None where no attack recorded one that holds.
        said: what became of the example, in words.
    """

    index: int
    label: int
    runner_up: int
    margin: float
    radius: float | None
    x: NDArray[np.float32]
    adds: NDArray[np.float64]
    start: float
    missed: float
    example: NDArray[np.floating[Any]] | None
    said: str

    @property
    def image(self) -> bool:
        """Whether inputs have the shape (channels, height, width) of a grey or coloured image."""
        return self.x.ndim == 3 and self.x.shape[0] in (1, 3) and min(self.x.shape[1:]) > 1

    def top(self, count: int = TOP) -> list[Feature]:
        """The features that add most, or take most away, the largest first."""
        order = np.argsort(-np.abs(self.adds).ravel(), kind="stable")[:count]
        change = None if self.example is None else (self.example - self.x).ravel()
        return [
            Feature(
                tuple(int(one) for one in np.unravel_index(place, self.x.shape)),
                float(self.x.ravel()[place]),
                float(self.adds.ravel()[place]),
                None if change is None else float(change[place]),
            )
            for place in order
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the features that add most."""
        return {
            "index": self.index,
            "label": self.label,
            "runner_up": self.runner_up,
            "margin": self.margin,
            "radius": self.radius,
            "start": self.start,
            "missed": self.missed,
            "example": self.said,
            "features": [{**one._asdict(), "place": list(one.place)} for one in self.top(20)],
        }
