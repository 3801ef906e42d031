"""The counts that the radius of a model smoothed by additive noise is derived from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import override

from certify.core.evidence.base import EVIDENCE
from certify.core.evidence.sampled import Sampled
from certify.core.schema import Positive
from certify.errors import BadInput

if TYPE_CHECKING:
    from certify.core.threats.base import Threat

__all__ = ["SmoothingEvidence"]


@EVIDENCE.register("smoothing")
@dataclass(frozen=True, slots=True)
class SmoothingEvidence(Sampled):
    """What a randomized-smoothing radius was derived from (Cohen et al. 2019).

    The class's misses at each look give an upper bound on the probability of missing it, at the alpha of that look, and
    all of them hold together: ``q_upper`` is the least. The radius is that of the noise law, less ``slack``.

    Args:
        sigma: scale of the noise, in input units.

    All other fields are those of :class:`~certify.core.evidence.sampled.Sampled`.

    Raises:
        BadInput: without looks, or for looks that do not ascend, a sigma not above 0, a bound that is no probability.
    """

    sigma: Positive
    kind: Literal["smoothing"] = "smoothing"

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise BadInput(f"sigma is above 0, got {self.sigma}")
        self._check()

    @property
    @override
    def smoothed(self) -> Mapping[str, Any]:
        return {"noise": self.noise, "sigma": self.sigma}

    @property
    @override
    def scale(self) -> str:
        return f"sigma={self.sigma}"

    @override
    def measure(self, threat: Threat) -> float:
        return self.sigma
