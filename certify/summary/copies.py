"""Inputs that occur several times: they share their noise, so their certificates are true or false together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from certify.core.certificate import Certificate

__all__ = ["Copies", "copies_of"]


@dataclass(frozen=True, slots=True)
class Copies:
    """One entry for each distinct input.

    Args:
        often: how often it occurs.
        labels: how many classes were tested with its noise: its different labels where the label names the class.
    """

    often: list[int]
    labels: list[int]


def copies_of(digest: Sequence[str], label: Sequence[int], kinds: Sequence[Certificate]) -> Copies:
    """Count the copies of inputs by their digests; their labels as well, unless votes named the class.

    Args:
        digest, label: of every input.
        kinds: one certificate of each kind.
    """
    often = Counter(digest)
    if len(often) == len(digest):
        return Copies([1] * len(often), [1] * len(often))
    by_votes = all(kind.evidence is not None and not kind.evidence.of_label for kind in kinds)
    labels = Counter(of_input for of_input, _ in set(zip(digest, label, strict=True)))
    return Copies(list(often.values()), [1 if by_votes else labels[of_input] for of_input in often])
