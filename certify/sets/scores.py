"""Nonconformity scores: how badly a label fits an input, as functions of the leads of the other classes over it.

A score is a function of the K - 1 differences ``f_k - f_y`` of the scores of a model, over the classes k other than y,
that is large where y fits badly and *grows in each difference*. Lower bounds of the differences over a set of inputs
then give a lower bound of the score over the set, and upper bounds an upper one: that is all that proofs need, and the
reason why adaptive prediction sets (APS, Romano, Sesia and Candes 2020) are no member. Their score sums the
probabilities of the classes that are ranked above y, and jumps where the ranking changes; a bound has to count only the
classes that are certainly above, with the least probability that each can have, which leaves little of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor
from typing_extensions import override

from certify.registry import Registry

__all__ = ["LEAST", "SCORES", "Score", "leads", "rivals"]

SCORES: Registry[type[Score]] = Registry("nonconformity score", package="certify.sets", named="name")

LEAST: Final = "lac"
"""The score that is used where none is named: its sets are the smallest on average where probabilities are true."""


class Score(ABC):
    """A nonconformity score; a member is one small class, registered under its name.

    The result for every lead below a bound is below the result for the bound: monotone in each lead.
    """

    name: ClassVar[str]
    """The registered name."""
    citation: ClassVar[str]
    """What it is, and whose."""

    @abstractmethod
    def of(self, leads: Tensor) -> Tensor:
        """Scores (...) of leads (..., K - 1), to the nearest float."""

    def error(self, value: Tensor, classes: int) -> Tensor:
        """A bound (...) on how far :meth:`of` in float64 rounds away from the exact score of the same leads."""
        return torch.zeros_like(value)

    def lowest(self, leads: Tensor) -> Tensor:
        """Scores that are not above the exact ones, of float64 lower bounds; minus infinity where one says nothing."""
        value = self.of(leads)
        value = value - self.error(value, leads.shape[-1] + 1)
        return torch.where(torch.isfinite(leads).all(-1) & torch.isfinite(value), value, -torch.inf)

    def highest(self, leads: Tensor) -> Tensor:
        """Scores that are not below the exact ones, of float64 upper bounds; infinity where one says nothing."""
        value = self.of(leads)
        value = value + self.error(value, leads.shape[-1] + 1)
        return torch.where(torch.isfinite(leads).all(-1) & torch.isfinite(value), value, torch.inf)


@SCORES.register("margin")
@dataclass(frozen=True, slots=True)
class Margin(Score):
    """The largest score of another class less that of the label: negative where the label is on top.

    >>> Margin().of(leads(torch.tensor([[3.0, 1.0, 0.0]])))
    tensor([[-2.,  2.,  3.]])
    """

    name: ClassVar[str] = "margin"
    citation: ClassVar[str] = "the lead of the best other class"

    @override
    def of(self, leads: Tensor) -> Tensor:
        return leads.amax(-1)


@SCORES.register("lac")
@dataclass(frozen=True, slots=True)
class LAC(Score):
    """Log odds against the label, ``log((1 - p_y) / p_y)`` for the softmax p: those of least ambiguous sets.

    Sadinle, Lei and Wasserman (2019) take 1 - p_y. The two rise together, so the sets are the same, but log odds do not
    round to 1 where p_y is tiny, and they are the logarithm of a sum: ``log sum_{k != y} exp(f_k - f_y)``.

    >>> LAC().of(leads(torch.tensor([[0.0, 0.0, 0.0]]))).exp()
    tensor([[2., 2., 2.]])
    """

    name: ClassVar[str] = "lac"
    citation: ClassVar[str] = "log odds against the label; the sets of Sadinle, Lei and Wasserman 2019"

    @override
    def of(self, leads: Tensor) -> Tensor:
        return leads.logsumexp(-1)

    @override
    def error(self, value: Tensor, classes: int) -> Tensor:
        """About K roundings of the sum, and a few units in the last place of exp, log and the sum with the largest.

        With m the largest lead, the result is m + log S with 1 <= S <= K - 1. An exponential of t <= 0 is off by at
        most 4 units in the last place, and by |t| exp(t) <= 1/e units for the rounding of t. The sum adds K roundings,
        all relative to S, so that log S is off by fewer than K + 8 units of 1, and by 4 of its own. The result is 8
        times as much and more.
        """
        return (classes + 16) * 2.0**-50 * (1.0 + value.abs())


def leads(scores: Tensor, labels: Tensor | None = None) -> Tensor:
    """The differences ``f_k - f_y`` of scores (..., K) for every label y, (..., K, K - 1), k ascending without y.

    Or for one label (B,) of each row (B, K) alone: (B, K - 1).

    >>> leads(torch.tensor([5.0, 3.0, 0.0]))
    tensor([[-2., -5.],
            [ 2., -3.],
            [ 5.,  3.]])
    """
    others = rivals(scores.shape[-1]).to(scores.device)
    if labels is not None:
        return scores.gather(1, others[labels]) - scores.gather(1, labels.unsqueeze(1))
    return scores[..., others] - scores.unsqueeze(-1)


def rivals(count: int) -> Tensor:
    """The other classes of each of ``count`` classes, ascending, (count, count - 1)."""
    return torch.arange(count).expand(count, count)[~torch.eye(count, dtype=torch.bool)].reshape(count, count - 1)
