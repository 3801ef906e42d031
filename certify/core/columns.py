"""Many records as columns: what tables count, without an object for each of a million inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from certify.core.certificate import Certificate
from certify.core.finding import Finding

__all__ = ["NO_CLASS", "CertificateColumns", "FindingColumns"]

NO_CLASS = -1
"""Stands for a class that is not named."""


@dataclass(frozen=True, slots=True, eq=False)
class CertificateColumns:
    """Certificates, one entry each, in any order.

    Args:
        index: positions of the inputs, int64.
        digest: SHA-256 of each input.
        label, prediction: classes, int64; :data:`NO_CLASS` for none.
        verdict: places among the members of :class:`~certify.core.verdict.Verdict`, int8.
        radius: float64; NaN for none.
        sure: the radius that the record shows: of a published one, the smallest that prints like it.
        p_lower: lower bound on the probability of the class under noise; NaN for proofs.
        seconds, forward_passes: spent on it.
        kind: place in ``kinds`` of one that shares its method, threat model, guarantee, model and smoothing, int64.
        kinds: the first certificate of each kind, in order of appearance.
        fetch: the whole certificate at a place.
    """

    index: NDArray[np.int64]
    digest: Sequence[str]
    label: NDArray[np.int64]
    prediction: NDArray[np.int64]
    verdict: NDArray[np.int8]
    radius: NDArray[np.float64]
    sure: NDArray[np.float64]
    p_lower: NDArray[np.float64]
    seconds: NDArray[np.float64]
    forward_passes: NDArray[np.int64]
    kind: NDArray[np.int64]
    kinds: tuple[Certificate, ...]
    fetch: Callable[[int], Certificate]

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True, eq=False)
class FindingColumns:
    """Findings, one entry each, in any order.

    Args:
        index: positions of the inputs, int64.
        digest: SHA-256 of each input.
        label: classes, int64.
        distance: of the example, rounded up; NaN where the attack failed.
        kind: place in ``kinds`` of one that shares its attack, settings, norm, radii and model, int64.
        kinds: the first finding of each kind, in order of appearance.
        fetch: the whole finding at a place, its example included.
    """

    index: NDArray[np.int64]
    digest: Sequence[str]
    label: NDArray[np.int64]
    distance: NDArray[np.float64]
    kind: NDArray[np.int64]
    kinds: tuple[Finding, ...]
    fetch: Callable[[int], Finding]

    def __len__(self) -> int:
        return len(self.index)

    def and_also(self, others: FindingColumns) -> FindingColumns:
        """These, and then others."""
        here, kinds = len(self), len(self.kinds)
        return FindingColumns(
            index=np.concatenate([self.index, others.index]),
            digest=[*self.digest, *others.digest],
            label=np.concatenate([self.label, others.label]),
            distance=np.concatenate([self.distance, others.distance]),
            kind=np.concatenate([self.kind, others.kind + kinds]),
            kinds=self.kinds + others.kinds,
            fetch=lambda row: self.fetch(row) if row < here else others.fetch(row - here),
        )
