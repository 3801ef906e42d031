"""Where the bounds of nonconformity scores come from: the one interface behind bounds and votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol

from torch import Tensor

__all__ = ["Scorer"]


class Scorer(Protocol):
    """Encloses the scores ``s(x, y)`` of one fixed function; sets need no more of it than this.

    A new input X with label Y is drawn together with the calibration inputs, and shown as any x' within a radius of it.
    Let u be the upper ends that :meth:`calibrate` gives, and t the ``ceil((n + 1) (coverage + paid))``-th smallest of
    them. Then u(X, Y), which nobody computes, is at most t with probability at least ``coverage + paid``, because it is
    exchangeable with those of the calibration inputs. Except with probability ``paid`` in all, u(X, Y) is at least
    s(X, Y), and what :meth:`lowest` gives at x' is at most the least score within the radius of x'. X lies there,
    because the threat is symmetric. So ``lowest(x')[Y] <= t`` with probability at least ``coverage``.
    """

    @property
    def paid(self) -> Fraction:
        """The probability with which the two ends about one input may be wrong together."""

    @property
    def method(self) -> str:
        """What bounds the scores, as tables name it."""

    @property
    def pinned(self) -> Mapping[str, Any]:
        """What a record needs for the same ends again, besides the certifier's settings."""

    @property
    def unknown(self) -> str:
        """What whoever changes the input may not know, to go on after "may not know"; empty for nothing."""

    def shortfall(self, radius: float) -> str:
        """Why every set at a radius holds all classes, and what to do; empty where none has to."""

    def calibrate(self, x: Tensor, labels: Sequence[int], digests: Sequence[str]) -> list[float]:
        """Upper ends of the scores of labels (B,) at inputs (B, ...); infinite where nothing is known."""

    def lowest(self, x: Tensor, radius: float, digests: Sequence[str], labels: Sequence[int] | None = None) -> Tensor:
        """Lower ends of the least scores within a radius of inputs (B, ...), minus infinity where nothing is known.

        Of every class, (B, K); or of the labels alone, (B, 1).
        """

    def highest(self, x: Tensor, labels: Sequence[int], radius: float) -> list[float] | None:
        """Proven upper ends of the largest scores of labels within a radius; None where nothing can be proven."""
