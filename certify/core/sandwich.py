"""Input by input: what was proven, what was broken, and what lies between. Averages alone hide the weak ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.columns import NO_CLASS
from certify.core.shown import VIEWS
from certify.core.verdict import Verdict
from certify.errors import BadInput

__all__ = ["NO_CLASS", "VERDICTS", "Gaps", "Layer", "Sandwich"]

VERDICTS: Final = tuple(Verdict)
"""The verdicts, in the order in which :attr:`Sandwich.verdict` counts them."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One input: its true radius, where predicted correctly, is at least ``certified`` and less than ``attacked``.

    Args:
        index: position in its data set.
        label, prediction: true and predicted class; None where no class was named.
        verdict: of the method that proved most.
        certified: largest radius proven around the right class; None for none.
        attacked: distance of the nearest verified adversarial example, 0 for a misclassified input; None for none.
        p_lower: lower confidence bound on the probability of the predicted class under noise; None for proofs.
        seconds: time spent on it by all certifiers.
    """

    index: int
    label: int
    prediction: int | None
    verdict: Verdict
    certified: float | None
    attacked: float | None
    p_lower: float | None
    seconds: float

    @property
    def gap(self) -> float | None:
        """Width of the interval that holds the true radius; None where an end is missing."""
        return None if self.certified is None or self.attacked is None else self.attacked - self.certified


@dataclass(frozen=True, slots=True)
class Gaps:
    """How far proofs and examples are apart, over the inputs that have both.

    Args:
        both: how many those are.
        mean, median, largest: of ``attacked - certified``; None if there are none.
        open: inputs that are predicted correctly and lack one of the two.
    """

    both: int
    mean: float | None
    median: float | None
    largest: float | None
    open: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Sandwich:
    """Certified <= true <= attacked for every input, as columns: one entry an input, by ascending position.

    Args:
        index: positions in the data set, int64.
        label: true classes, int64.
        prediction: predicted classes, int64; :data:`NO_CLASS` where none was named.
        verdict: places in :data:`VERDICTS`, int8: of the method that proved most.
        certified: largest radius proven around the right class; NaN for none.
        sure: the same, counting only what the record shows: of a published radius, the smallest that prints like it.
        attacked: distance of the nearest verified adversarial example, rounded up; NaN for none.
        p_lower: lower confidence bound on the probability of the predicted class under noise; NaN for proofs.
        seconds: time spent by all certifiers.

    Raises:
        BadInput: for columns of different lengths.

    >>> pair = np.array([0, 1])
    >>> one = Sandwich(pair, pair, pair, pair * 0, *(pair * 0.5 for _ in range(5)))
    >>> one[1].certified, one.correct.tolist(), one.gaps().both
    (0.5, [True, True], 2)
    """

    index: NDArray[np.int64]
    label: NDArray[np.int64]
    prediction: NDArray[np.int64]
    verdict: NDArray[np.int8]
    certified: NDArray[np.float64]
    sure: NDArray[np.float64]
    attacked: NDArray[np.float64]
    p_lower: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) != 1:
            raise BadInput(f"the columns of a sandwich have one entry an input, got {lengths}")

    def __repr__(self) -> str:
        return f"Sandwich of {len(self):,} inputs"

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, row: int) -> Layer:
        def number(values: NDArray[np.float64]) -> float | None:
            return None if np.isnan(values[row]) else float(values[row])

        prediction = int(self.prediction[row])
        return Layer(
            index=int(self.index[row]),
            label=int(self.label[row]),
            prediction=None if prediction == NO_CLASS else prediction,
            verdict=VERDICTS[int(self.verdict[row])],
            certified=number(self.certified),
            attacked=number(self.attacked),
            p_lower=number(self.p_lower),
            seconds=float(self.seconds[row]),
        )

    def __iter__(self) -> Iterator[Layer]:
        return (self[row] for row in range(len(self)))

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the prediction is the label."""
        return np.equal(self.prediction, self.label)

    def gaps(self) -> Gaps:
        """How far proofs and examples are apart."""
        gap = (self.attacked - self.certified)[self.correct]
        both = gap[~np.isnan(gap)]
        if not both.size:
            return Gaps(0, None, None, None, gap.size)
        return Gaps(both.size, float(both.mean()), float(np.median(both)), float(both.max()), gap.size - both.size)

    def weakest(self, count: int = 10) -> list[Layer]:
        """Inputs predicted correctly: those broken nearest first, then those of which least is proven.

        Misclassified inputs are left out: they are wrong without anybody pushing.
        """
        order = np.lexsort(
            (self.index, np.nan_to_num(self.certified, nan=-1.0), np.nan_to_num(self.attacked, nan=np.inf))
        )
        return [self[row] for row in order[self.correct[order]][:count]]

    def strongest(self, count: int = 10) -> list[Layer]:
        """Inputs predicted correctly of which most is proven, the largest radius first."""
        order = np.lexsort((self.index, -np.nan_to_num(self.certified, nan=-1.0)))
        chosen = self.correct & ~np.isnan(self.certified)
        return [self[row] for row in order[chosen[order]][:count]]

    def to_frame(self) -> Any:
        """A pandas DataFrame, one line an input, with the verdicts in words."""
        import pandas

        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        columns["verdict"] = np.array([verdict.value for verdict in VERDICTS])[self.verdict]
        return pandas.DataFrame(columns).set_index("index")

    def _repr_html_(self) -> str:
        return VIEWS["sandwich.html"](self)
