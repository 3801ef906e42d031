"""What became of one condition: passed, failed or undecided, with the figures that decided it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from enum import Enum
from typing import Any, Final, Literal

__all__ = ["ConditionOutcome", "Result"]

_EXACT: Final = Context(prec=400)
"""More digits than any percentage needs, so that nothing is rounded before :meth:`ConditionOutcome.figures` does."""


class Result(Enum):
    """What became of a condition; only ``PASSED`` passes."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class ConditionOutcome:
    """One condition held against a run.

    Args:
        kind: of the condition.
        title: what it is about, with the threat model.
        result: what became of it.
        estimate: what was counted, a fraction or a difference of two.
        end: the end of the interval, which alone is compared; the estimate itself where the condition is about a count.
        threshold: what the policy requires of the end.
        side: ``"lower"``: the lower end has to reach the threshold; ``"upper"``: the upper end must not exceed it.
        unit: ``"%"`` for fractions, ``"pp"`` (percentage points) for differences.
        holds: with what probability the end is right, over what randomness.
        reason: why it is undecided, or what else a reader should know.
    """

    kind: str
    title: str
    result: Result
    estimate: float | None = None
    end: float | None = None
    threshold: float | None = None
    side: Literal["lower", "upper"] = "lower"
    unit: Literal["%", "pp"] = "%"
    holds: str = ""
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether it passed."""
        return self.result is Result.PASSED

    def figures(self) -> dict[str, str]:
        """What was required, observed and bounded, as text; empty where nothing was compared.

        Rounded to the condition's disadvantage, with as many digits as the threshold has: what is printed compares as
        the numbers do.

        >>> ConditionOutcome("certified_accuracy", "", Result.FAILED, 0.616, 0.5999, 0.6).figures()
        {'required': '>= 60 %', 'observed': '61.6 %', 'lower end': '59.9 %'}
        """
        if self.estimate is None or self.end is None or self.threshold is None:
            return {}
        required = _percent(self.threshold)
        digits = max(1, -int(required.as_tuple().exponent))
        rounding = ROUND_FLOOR if self.side == "lower" else ROUND_CEILING
        sign = "+" if self.unit == "pp" else ""

        def text(value: float) -> str:
            rounded = _percent(value).quantize(Decimal(1).scaleb(-digits), rounding=rounding, context=_EXACT)
            return f"{rounded:{sign}f} {self.unit}"

        return {
            "required": f"{'>=' if self.side == 'lower' else '<='} {required:f} {self.unit}",
            "observed": text(self.estimate),
            f"{self.side} end": text(self.end),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "condition": self.kind,
            "title": self.title,
            "result": self.result.value,
            "estimate": self.estimate,
            "end": self.end,
            "side": self.side,
            "threshold": self.threshold,
            "holds": self.holds,
            "reason": self.reason,
        }


def _percent(fraction: float) -> Decimal:
    """A hundred times the shortest decimal number that is this float: 0.57 is 57, not 56.99999999999999."""
    return Decimal(repr(float(fraction))).scaleb(2).normalize(_EXACT)
