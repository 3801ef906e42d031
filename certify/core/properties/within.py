"""A number stays within a tolerance of the true one, or of the model's own: regression."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from certify.core.properties.base import PROPERTIES, Clauses, Property
from certify.core.values import number
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Within"]


@PROPERTIES.register("within")
@dataclass(frozen=True, slots=True)
class Within(Property):
    """The output of a model of one number stays within a tolerance of a target.

    The target of an input is its true value; without true values it is what the model itself returns there. The answer
    is 0 inside the tolerance and 1 outside; 0 is right for every input, so that the certified accuracy is the share of
    inputs that are predicted well enough whatever the adversary does.

    A model smoothed by noise returns the median of its outputs under that noise (Chiang et al. 2020, percentile
    smoothing). Samples vote for inside, below or above the tolerance, and the median is inside while less than half of
    the probability lies below, and less than half above. An output of NaN or infinity counts for both.

    Args:
        tolerance: the largest error that is accepted, above 0, in the units of the output.
        around: the target, where it is about one input; certificates keep it.

    Raises:
        BadInput: for a tolerance that is not finite and above 0, or a target that is not finite.

    >>> Within(5.0).at(152.0).clauses(0, classes=1)[1].ravel()
    array([-147.,  157.])
    """

    kind: ClassVar[str] = "within"
    like_classes: ClassVar[bool] = False
    under_noise: ClassVar[str] = "the median of its outputs under the noise"
    cited: ClassVar[tuple[str, ...]] = ("property:within",)
    per_input: ClassVar[bool] = True
    task: ClassVar[str] = "regression"

    tolerance: float
    around: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tolerance", number("tolerance", self.tolerance))
        if not 0 < self.tolerance < math.inf:
            raise BadInput(f"the tolerance must be finite and above 0, got {self.tolerance:g}")
        if self.around is not None:
            object.__setattr__(self, "around", number("around", self.around))
            if not math.isfinite(self.around):
                raise BadInput(f"a target is a finite number, got {self.around}")
            if not math.isfinite(abs(self.around) + self.tolerance):
                raise BadInput(f"{self.around:g} and a tolerance of {self.tolerance:g} leave the range of floats")

    @property
    def sentence(self) -> str:
        """The number is close enough."""
        where = "its target" if self.around is None else f"{self.around:g}"
        return f"stay within {self.tolerance:g} of {where}"

    @property
    @override
    def target(self) -> float | None:
        return self.around

    @property
    def family(self) -> Within:
        """The same about every input."""
        return replace(self, around=None)

    def at(self, target: float | str) -> Within:
        """About an input with this target."""
        return replace(self, around=float(target))

    @override
    def word(self, answer: int) -> str:
        return f"{'outside' if answer else 'inside'} the tolerance"

    @override
    def answers(self, classes: int) -> int:
        if classes != 1:
            raise BadInput(f"within is about a model of one number, this one has {classes} classes: certify.Regressor")
        return 2

    @override
    def wanted(self, label: int) -> int:
        return 0

    def scores(self, scores: Tensor) -> Tensor:
        """What is left of the tolerance (B, 2), and 0: of floats, so what is outside here is outside."""
        left = self.tolerance - (scores[:, 0].double() - self._around).abs()
        answers = left.new_zeros(len(left), 2)
        answers[:, 0] = left
        return answers

    @property
    @override
    def sides(self) -> int:
        return 2

    @override
    def votable(self, answer: int) -> bool:
        """Inside alone: outside is below or above, and votes that name the side as well would need twice the alpha."""
        return answer == 0

    @override
    def ballots(self, classes: int) -> int:
        return self.answers(classes) + 1

    @override
    def vote(self, scores: Tensor) -> Tensor:
        """0 inside the tolerance, 1 below it, 2 above it; the ends are rounded to the inside."""
        y, (low, high) = scores[:, 0].double(), self._ends
        return (y < low).long() + 2 * (y > high).long()

    @override
    def against(self, kept: int, counts: Mapping[int, int]) -> tuple[int, ...]:
        below, above = counts.get(1, 0), counts.get(2, 0)
        if kept == 0:
            return below, above
        return (
            sum(counts.values()) - max(below, above),
        ) * 2  # outside: the median is below, or above, and stays there

    @override
    def elected(self, counts: Mapping[int, int], kept: int | None = None) -> int | None:
        return int(2 * max(self.against(0, counts)) >= sum(counts.values())) if counts else None

    def clauses(self, kept: int, classes: int) -> Clauses:
        """Above the lower end and below the upper one, each rounded to what is harder to prove."""
        C, d = np.zeros((2, 1, 1)), np.zeros((2, 1))
        if kept == 0:
            low, high = self._ends
            C[:, 0, 0] = 1.0, -1.0
            d[:, 0] = -low, high
        return C, d

    @property
    def named(self) -> Mapping[str, Any]:
        """The tolerance, and beside it the target of an input."""
        digest = Property.named.fget(replace(self, around=None))  # type: ignore[attr-defined]
        return digest if self.around is None else {**digest, "target": self.around}

    def named_by(self, settings: Mapping[str, Any]) -> bool:
        """Whether the settings of a finding name this tolerance; and this target, where there is one."""
        there = {name: settings[name] for name in ("property", "target") if name in settings}
        return there == dict(self.named) or (self.around is None and there.get("property") == self.named["property"])

    @property
    def _ends(self) -> tuple[float, float]:
        """The lower and the upper end, each rounded to what is harder to prove."""
        around, tolerance = Fraction(self._around), Fraction(self.tolerance)
        return _inside(around - tolerance, 1), _inside(around + tolerance, -1)

    @property
    def _around(self) -> float:
        if self.around is None:
            raise BadInput("within is about a target for each input: Within(tolerance).at(target)")
        return self.around

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the target where there is one."""
        around = {} if self.around is None else {"around": self.around}
        return {"property": self.kind, "tolerance": self.tolerance, **around}


def _inside(end: Fraction, sign: int) -> float:
    """The nearest float that is not outside an exact end: above it for the lower end, below it for the upper one."""
    found = float(end)
    outside = Fraction(found) < end if sign > 0 else Fraction(found) > end
    return math.nextafter(found, sign * math.inf) if outside else found
