"""Many records as columns: what tables count, without an object for each of a million inputs."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.core.certificate import Certificate
from certify.core.finding import Finding

__all__ = ["NO_CLASS", "CertificateColumns", "Digests", "FindingColumns"]

NO_CLASS = -1
"""Stands for a class that is not named."""


_HEX: Final = 64
"""Digits of a SHA-256."""

_PACKED: Final = b"\xff"
"""Begins what was packed: no text does in UTF-8."""


class Digests:
    """Texts that tell inputs apart, end to end: as objects in a list each would take three times the memory.

    >>> digests = Digests(["ab" * 32, "published:3", "ab" * 32])
    >>> len(digests), digests[1], digests[0] == "ab" * 32
    (3, 'published:3', True)
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes, self._ends = bytearray(), array("q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """One more. The digits of a SHA-256 at its beginning take half a byte each."""
        head = text[:_HEX]
        try:
            packed = bytes.fromhex(head) if len(head) == _HEX else b""
        except ValueError:
            packed = b""
        if packed and packed.hex() == head:  # neither spaces nor capitals, which would not come back
            self._bytes += _PACKED + packed
            text = text[_HEX:]
        self._bytes += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> str:
        kept = self._bytes[self._ends[place] : self._ends[place + 1]]
        packed = 1 + _HEX // 2 if kept.startswith(_PACKED) else 0
        return kept[1:packed].hex() + kept[packed:].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return (self[place] for place in range(len(self)))

    def at(self, places: NDArray[np.int64]) -> Digests:
        """Those at some places, in their order."""
        return self if np.array_equal(places, np.arange(len(self))) else Digests(self[int(place)] for place in places)

    def numbers(self) -> NDArray[np.int64]:
        """From 0 on, a number for each: the same one where the texts are the same, and only there."""
        hashes = np.fromiter(map(hash, self), dtype=np.int64, count=len(self))
        _, numbers, often = np.unique(hashes, return_inverse=True, return_counts=True)
        doubtful, known = np.flatnonzero(often[numbers] > 1), dict[str, int]()
        if doubtful.size:  # different texts may have the same hash
            numbers[doubtful] = [len(often) + known.setdefault(self[int(row)], len(known)) for row in doubtful]
            _, numbers = np.unique(numbers, return_inverse=True)
        return numbers


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
    digest: Digests
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
        error: whether the attack was not carried out; such a finding says nothing about its input.
        kind: place in ``kinds`` of one that shares its attack, settings, norm, radii and model, int64.
        kinds: the first finding of each kind, in order of appearance.
        fetch: the whole finding at a place, its example included.
    """

    index: NDArray[np.int64]
    digest: Digests
    label: NDArray[np.int64]
    distance: NDArray[np.float64]
    error: NDArray[np.bool_]
    kind: NDArray[np.int64]
    kinds: tuple[Finding, ...]
    fetch: Callable[[int], Finding]

    def __len__(self) -> int:
        return len(self.index)

    def and_also(self, others: FindingColumns) -> FindingColumns:
        """These, and then others."""
        if not len(others):
            return self
        here, kinds = len(self), len(self.kinds)
        return FindingColumns(
            index=np.concatenate([self.index, others.index]),
            digest=Digests(chain(self.digest, others.digest)),
            label=np.concatenate([self.label, others.label]),
            distance=np.concatenate([self.distance, others.distance]),
            error=np.concatenate([self.error, others.error]),
            kind=np.concatenate([self.kind, others.kind + kinds]),
            kinds=self.kinds + others.kinds,
            fetch=lambda row: self.fetch(row) if row < here else others.fetch(row - here),
        )
