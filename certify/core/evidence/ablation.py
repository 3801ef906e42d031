"""The counts that the radius of a model smoothed by ablation is derived from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import override

from certify.core.evidence.base import EVIDENCE
from certify.core.evidence.sampled import Sampled
from certify.core.schema import PositiveInt
from certify.core.threats.budget import MOST_FEATURES, Budget
from certify.errors import BadInput

if TYPE_CHECKING:
    from certify.core.certificate import Certificate
    from certify.core.threats.base import Threat

__all__ = ["AblationEvidence", "Null", "check_null", "null_in_words", "plain_null", "positions_kept"]

Null = float | tuple[float, ...]
"""What stands in place of hidden features: one number, or one for each feature of the flat input."""


def check_null(null: Null, dimensions: int) -> None:
    """Refuse null values that are no numbers, or not as many as there are features, and more features than inputs have.

    Raises:
        BadInput: for them.
    """
    if dimensions > MOST_FEATURES:
        raise BadInput(f"no input has {dimensions} features")
    values = null if isinstance(null, tuple) else (null,)
    if not all(map(math.isfinite, values)) or (isinstance(null, tuple) and len(null) != dimensions):
        raise BadInput(f"null values are finite, one or one for each of {dimensions} features, got {null!r:.60}")


def positions_kept(threat: Threat, dimensions: int, retention: int) -> tuple[int, int]:
    """The positions of inputs of so many features, and how many of them are kept."""
    return threat.positions(dimensions) if isinstance(threat, Budget) else dimensions, retention


def null_in_words(null: Null) -> str:
    """Null values as sentences and tables show them.

    >>> null_in_words(0.0), null_in_words((0.0, 1.0))
    ('null=0', 'null=0,1')
    >>> null_in_words((0.5,) * 784)
    'null=0.5,0.5,0.5,.. (784 values)'
    """
    values = null if isinstance(null, tuple) else (null,)
    shown = ",".join(f"{value:g}" for value in values[:3])
    return f"null={shown}" + (f",.. ({len(values)} values)" if len(values) > 3 else "")


def plain_null(null: Null) -> float | list[float]:
    """As JSON has it."""
    return list(null) if isinstance(null, tuple) else null


@EVIDENCE.register("ablation")
@dataclass(frozen=True, slots=True)
class AblationEvidence(Sampled):
    """What the radius of a model smoothed by ablation was derived from (Levine and Feizi 2020).

    The positions are those of the threat: its groups, or all ``dimensions`` features. The other fields are those of
    :class:`~certify.core.evidence.sampled.Sampled`.

    Args:
        retention: how many positions are kept.
        null: what stands in place of the others.

    Raises:
        BadInput: without looks, or for looks that do not ascend, null values that do not fit, a bound that is no
            probability.
    """

    retention: PositiveInt
    null: Null
    kind: Literal["ablation"] = "ablation"

    def __post_init__(self) -> None:
        check_null(self.null, self.dimensions)
        self._check()

    @override
    def fault(self, certificate: Certificate) -> str:
        positions, _ = self.measure(certificate.threat)
        if self.retention > positions:
            return f"{self.retention} of {positions} positions cannot be kept"
        return Sampled.fault(self, certificate)

    @property
    @override
    def smoothed(self) -> Mapping[str, Any]:
        return {"noise": self.noise, "retention": self.retention, "null": plain_null(self.null)}

    @property
    @override
    def scale(self) -> str:
        return f"retention={self.retention}, {null_in_words(self.null)}"

    @override
    def measure(self, threat: Threat) -> tuple[int, int]:
        return positions_kept(threat, self.dimensions, self.retention)
