"""Linear conditions on the outputs hold: the form that verification tools share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from typing_extensions import override

from certify.core.legible import many
from certify.core.properties.base import PROPERTIES, Clauses, Property
from certify.core.written import numbers
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LinearRows"]

ROUNDING: Final = 2.0**-52
"""Twice the unit roundoff of float64: a sum of n products is off by less than n + 2 times that, relative to sizes."""

LARGEST: Final = 1e100
"""Of the size of C and d: sums with outputs in float32 then stay within float64, and no condition becomes NaN."""


@PROPERTIES.register("rows")
@dataclass(frozen=True, slots=True)
class LinearRows(Property):
    """Every row of ``C y + d`` is above 0, for the outputs y: ``y_0 > y_1 + 0.5``, or ``-1 < y_0 < 1``.

    The answer is 0 where all rows hold and 1 elsewhere; 0 is right for every input.

    Args:
        C: one row of numbers a condition, each with a number for every output; or text, ``"1,-1,0;0,1,-1"``.
        d: a number for each row; 0 for all if None.

    Raises:
        BadInput: for rows of different lengths, rows of nothing but 0, or numbers that are not finite or larger than
            1e100.

    >>> LinearRows([[1, -1]], [-0.5]).sentence
    'satisfy 1 linear condition'
    """

    kind: ClassVar[str] = "rows"

    C: tuple[tuple[float, ...], ...]
    d: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        C = self.C.split(";") if isinstance(self.C, str) else self.C
        try:
            rows = tuple(tuple(numbers("C", row.tolist() if isinstance(row, np.ndarray) else row)) for row in C)
        except TypeError as problem:
            raise BadInput(f"C must be rows of numbers, such as 1,-1,0;0,1,-1, got {self.C!r:.60}") from problem
        d = (0.0,) * len(rows) if self.d is None else tuple(numbers("d", self._listed(self.d)))
        if not rows or len({len(row) for row in rows}) > 1 or not all(any(row) for row in rows):
            raise BadInput(f"C must be rows of one length, each with a number that is not 0, got {self.C!r:.60}")
        if len(d) != len(rows):
            raise BadInput(f"d must have a number for each of the {len(rows)} rows of C, got {len(d)}")
        if not (np.abs(rows).max() <= LARGEST and np.abs(d).max() <= LARGEST):  # NaN is not
            raise BadInput(f"C and d must be finite numbers of at most {LARGEST:g} in size")
        object.__setattr__(self, "C", rows)
        object.__setattr__(self, "d", d)

    @staticmethod
    def _listed(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.ravel().tolist()
        return [value] if isinstance(value, int | float) else value

    @property
    @override
    def sentence(self) -> str:
        return f"satisfy {many(len(self.C), 'linear condition')}"

    @override
    def word(self, answer: int) -> str:
        return "a condition broken" if answer else "all conditions hold"

    @override
    def answers(self, classes: int) -> int:
        if len(self.C[0]) != classes:
            raise BadInput(f"C has rows of {len(self.C[0])} numbers, and the model {classes} outputs")
        return 2

    @override
    def wanted(self, label: int) -> int:
        return 0

    def scores(self, scores: Tensor) -> Tensor:
        """The least row, and 0."""
        values, _ = self._values(scores)
        answers = values.new_zeros(len(values), 2)
        answers[:, 0] = values.amin(dim=1)
        return answers

    def answer(self, scores: Tensor, kept: Tensor | None = None) -> Tensor:
        """0 where all rows are above 0 whatever rounding did to their sums, 1 where one is not, else -1."""
        values, error = self._values(scores)
        hold, broken = (values - error > 0).all(dim=1), (values + error <= 0).any(dim=1)
        return broken.long().where(hold | broken, -1)

    def _values(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Every row (B, rows) in float64, and how far rounding may have moved it; NaN or infinity for an overflow."""
        y = scores.double()
        C, d = y.new_tensor(self.C), y.new_tensor(self.d)
        return y @ C.T + d, (C.shape[1] + 2) * ROUNDING * (y.abs() @ C.abs().T + d.abs())

    def clauses(self, kept: int, classes: int) -> Clauses:
        """Each row by itself; of an input where one is broken already, nothing holds."""
        C, d = np.array(self.C)[:, None, :], np.array(self.d)[:, None]
        return (C, d) if kept == 0 else (np.zeros_like(C), np.zeros_like(d))
