"""Ablation: all but a few positions of an input are hidden, and a radius counts the positions that may change."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from certify.core.evidence import subsets
from certify.core.rounding import above
from certify.core.threats.base import Threat
from certify.core.threats.budget import Budget, Groups, groups_of
from certify.core.values import number, whole
from certify.core.written import numbers
from certify.errors import BadInput
from certify.smoothing.noise.base import NOISES, Law

__all__ = ["Ablation", "Null", "delta", "null_of"]

Null = float | tuple[float, ...]
"""What stands in place of a hidden feature: one number for all, or one for each in the order of the flat input."""


LARGEST: Final = float(np.finfo(np.float32).max)
"""Null values are float32 numbers, as inputs are."""


@lru_cache(maxsize=4096)
def delta(positions: int, retention: int, k: int) -> float:
    """The share of the subsets of ``retention`` of ``positions`` that hold one of k given ones, rounded up.

    1 - C(d - k, s) / C(d, s), in exact whole numbers: the quotient is that of the falling products of d - s and d over
    k factors, and that of d - k and d over s factors (write the binomials as factorials); the shorter ones are taken.

    >>> delta(positions=4, retention=2, k=1), delta(positions=4, retention=2, k=3)
    (0.5, 1.0)
    """
    d, s = positions, retention
    factors, top = (k, d - s) if k <= s else (s, d - k)
    every = math.perm(d, factors)
    return above(Fraction(every - math.perm(top, factors), every))


@lru_cache(maxsize=64)
def _owners(groups: Groups, features: int) -> Tensor:
    """The position of each feature (n,), and one beyond all positions for features in none."""
    owners = torch.full((features,), len(groups))
    for place, group in enumerate(groups):
        owners[list(group)] = place
    return owners


@NOISES.register("ablation")
@dataclass(frozen=True, slots=True)
class Ablation(Law):
    """A random subset of s of the d positions is kept; a null value stands in place of all other features.

    Every subset is equally probable. If at most k positions of an input change, the subset avoids them all with
    probability C(d - k, s) / C(d, s), and the base model is then shown what it was shown before. So no class
    probability moves by more than ``delta`` = 1 - C(d - k, s) / C(d, s), and a class holds as long as it leads every
    other one by more than twice that (Levine and Feizi 2020, Theorem 1). A radius is the largest such k.

    Positions are the features themselves, or the groups of the threat: the channels of a pixel, the one-hot features of
    a category. Features in no group are always kept, and they are not counted: the threat says that they never change.

    Subsets are drawn without any bias. Every position gets 32 random bits, and those with the s smallest numbers are
    kept. Where the s-th and the next number are equal, all numbers of the sample are drawn again: what is left is
    symmetric in the positions, so every subset has the same probability.

    Args:
        retention: s, how many positions are kept, at least 1.
        null: what hidden features become, one number or one a feature, in input units, or text with commas. It may lie
            outside the input box. :meth:`null_for` suggests one from data.
        groups: the positions; None for those of the threat, and where there is none, for the features themselves.

    Raises:
        BadInput: for a retention below 1, a null value that is no finite number, or groups that overlap.

    >>> law = Ablation(retention=2, null=-1.0)
    >>> law.apply(torch.tensor([5.0, 6.0, 7.0]), law.sample((2, 3), torch.Generator().manual_seed(0)))
    tensor([[ 5.,  6., -1.],
            [ 5., -1.,  7.]])
    """

    name: ClassVar[str] = "ablation"
    norms: ClassVar[tuple[str, ...]] = ("features", "categories", "substitutions")
    citation: ClassVar[str] = "Levine and Feizi 2020, Theorem 1"
    remedy: ClassVar[str] = "keep fewer positions"
    assumption: ClassVar[str] = "the generator's bits are as good as independent and uniform"

    retention: int
    null: Null = 0.0
    groups: Groups | None = None
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "retention", whole("retention", self.retention))
        if self.retention < 1:
            raise BadInput(f"retention must be at least 1, the number of positions that are kept, got {self.retention}")
        object.__setattr__(self, "null", null_of(self.null))
        if self.groups is not None:
            object.__setattr__(self, "groups", groups_of("groups", self.groups))

    @staticmethod
    def null_for(x: ArrayLike) -> tuple[float, ...]:
        """A null value for each feature of data (B, ...): it should say "missing", and be nothing out of the ordinary.

        For features that are 0 or 1 everywhere, such as one-hot categories and flags, it is 0: no category. For other
        features it is the mean; the nearest whole number to it where all values are whole. A code that the data do not
        use, such as the id of a mask token, tells a model more: give that where the model knows one.

        >>> Ablation.null_for([[0.0, 1.0, 10.0, 0.25], [1.0, 0.0, 13.0, 0.75]])
        (0.0, 0.0, 12.0, 0.5)
        """
        values = np.asarray(x, dtype=np.float64)
        flat = values.reshape(len(values), -1)
        mean = flat.mean(axis=0)
        mean = np.where((flat == np.round(flat)).all(axis=0), np.round(mean), mean)
        flags = ((flat == 0) | (flat == 1)).all(axis=0)
        return tuple(np.where(flags, 0.0, mean.astype(np.float32)).tolist())

    @property
    def scale(self) -> str:
        """How many positions are kept, and of how many where that is known."""
        known = self.groups is not None or self.shape is not None
        return f"retention={self.retention}" + (f" of {self.positions}" if known else "")

    def settings(self) -> dict[str, Any]:
        """How many positions are kept, and the null value; positions are part of the threat."""
        null = list(self.null) if isinstance(self.null, tuple) else self.null
        return {"noise": self.name, "retention": self.retention, "null": null}

    def about(self, threat: Threat | None, shape: tuple[int, ...] | None = None) -> Self:
        """The law for the positions of a threat.

        Raises:
            BadInput: where the law has other positions, there are fewer than are to be kept, or null values do not fit.
        """
        groups = self.groups
        if isinstance(threat, Budget):
            if groups not in (None, threat.groups):
                raise BadInput("the noise has other groups than the threat: leave them out there")
            groups = threat.groups
        law = replace(self, groups=groups, shape=shape)
        if shape is not None:
            law._check(math.prod(shape))
        return law

    def _check(self, features: int) -> None:
        if isinstance(self.null, tuple) and len(self.null) != features:
            raise BadInput(f"null has {len(self.null)} values, an input has {features} features: give one, or as many")
        if self.retention > (positions := self._count(features)):
            raise BadInput(f"retention={self.retention} is more than the {positions} positions that there are to keep")
        if self.groups is not None and (last := max(map(max, self.groups))) >= features:
            raise BadInput(f"groups name feature {last}, an input has {features}, from 0")

    def _count(self, features: int) -> int:
        return features if self.groups is None else len(self.groups)

    @property
    def positions(self) -> int:
        """d, how many positions there are.

        Raises:
            BadInput: where that depends on the inputs, and their shape is not known: see :meth:`about`.
        """
        if self.groups is None and self.shape is None:
            raise BadInput("how many positions ablation has depends on the inputs: give their shape to about()")
        return self._count(0 if self.shape is None else math.prod(self.shape))

    def check_inputs(self, x: Tensor, input_box: Any) -> None:
        """Raise unless retention, null values and groups fit inputs (B, ...).

        Raises:
            BadInput: naming what does not.
        """
        self._check(math.prod(x.shape[1:]))

    def sample(self, shape: Sequence[int], generator: torch.Generator, out: Tensor | None = None) -> Tensor:
        """Which features of ``shape`` (samples, ...) are kept: 1 there, and 0 elsewhere."""
        samples, *one = shape
        features = math.prod(one)
        self._check(features)
        kept = self._subsets(samples, self._count(features), generator)
        if out is None:
            out = torch.empty(tuple(shape), dtype=torch.float32, device=generator.device)
        return out.copy_(self._spread(kept, features).view(tuple(shape)))

    @property
    def subsets(self) -> int:
        """How many subsets there are, C(d, s), or some number beyond the most that are ever counted.

        Raises:
            BadInput: as :attr:`positions`.
        """
        return subsets(self.positions, self.retention)

    def every(self, shape: Sequence[int], size: int = 128) -> Iterator[Tensor]:
        """All subsets in lexicographic order, as :meth:`sample` gives them for one shape, ``size`` at a time."""
        features = math.prod(shape)
        self._check(features)
        left = itertools.combinations(range(self._count(features)), self.retention)
        while several := list(itertools.islice(left, size)):
            kept = torch.zeros(len(several), self._count(features), dtype=torch.bool)
            yield self._spread(kept.scatter_(1, torch.tensor(several), True), features).float().view(-1, *shape)

    def _spread(self, kept: Tensor, features: int) -> Tensor:
        """What is true of positions (samples, d), of their features (samples, n); those in no group are kept."""
        if self.groups is None:
            return kept
        always = torch.cat([kept, kept.new_ones(len(kept), 1)], 1)
        return always[:, _owners(self.groups, features).to(kept.device)]

    def _subsets(self, samples: int, positions: int, generator: torch.Generator) -> Tensor:
        """Independent uniform subsets of the positions, (samples, positions), as whether each is kept."""
        keys = _random_keys(samples * positions, generator).view(samples, positions)
        kept = keys <= keys.kthvalue(self.retention, dim=1, keepdim=True).values
        tied = (kept.sum(dim=1) != self.retention).nonzero().squeeze(1)
        if len(tied):
            kept[tied] = self._subsets(len(tied), positions, generator)
        return kept

    def apply(self, x: Tensor, drawn: Tensor, out: Tensor | None = None) -> Tensor:
        """Inputs where they are kept, bit for bit, and the null value elsewhere; gradients flow to what is kept."""
        null = torch.tensor(self.null, dtype=x.dtype, device=x.device)
        null = null.view(drawn.shape[1:]) if null.dim() else null
        if out is None:
            return torch.where(drawn > 0, x, null)
        return torch.where(drawn > 0, x, null, out=out)

    def radius(self, q_upper: float, rival_upper: float, norm: str) -> float:
        """The most positions k for which 1 - q_upper - rival_upper > 2 delta(k), decided without rounding.

        >>> from certify.core.threats.features import Features
        >>> law = Ablation(2).about(Features((1,), input_box=(0.0, 1.0)), (9,))
        >>> law.radius(0.1, 0.1, "features")                    # delta is 2/9 and 5/12
        1.0
        """
        return self._most(norm, (q_upper, rival_upper), shares=2)

    def radius_above(self, q_upper: float, least: float, norm: str) -> float:
        """The most positions k for which 1 - q_upper - delta(k) > least, decided without rounding."""
        return self._most(norm, (q_upper, least), shares=1)

    def _most(self, norm: str, less: tuple[float, float], shares: int) -> float:
        """The most positions k for which 1 less two numbers exceeds so many times delta(k)."""
        self.check_norm(norm)
        d, s = self.positions, self.retention

        def lost(k: int) -> bool:
            taken = (-delta(d, s, k),) * shares
            return not math.fsum((1.0, -less[0], -less[1], *taken)) > 0.0  # rounded once: the sign is exact

        if any(map(math.isnan, less)):
            return 0.0
        most = 1
        while most < d and not lost(most):  # k far beyond the answer would take long products
            most *= 2
        return float(bisect.bisect_left(range(1, min(most, d) + 1), True, key=lost))


def _random_keys(count: int, generator: torch.Generator) -> Tensor:
    """Independent uniform 32-bit whole numbers, (count,)."""
    words = torch.empty(-(-count // 2), dtype=torch.int64, device=generator.device)
    words.random_(-(2**63), None, generator=generator)  # all 64 bits
    return words.view(torch.int32)[:count]


def null_of(value: Any) -> Null:
    """Null values from a number, several, or text with commas; each finite, and rounded to float32.

    Raises:
        BadInput: for anything else.
    """
    several = numbers("null", value) if isinstance(value, str) else value
    if isinstance(several, Sequence | np.ndarray | Tensor) and not isinstance(several, str):
        listed = [number("null", one) for one in np.asarray(several, dtype=object).reshape(-1)]
    else:
        listed = [number("null", several)]
    if not listed or not all(abs(one) <= LARGEST for one in listed):
        raise BadInput(f"null must be finite numbers, one or one a feature, got {value!r:.60}")
    rounded = tuple(float(np.float32(one)) for one in listed)
    return rounded[0] if len(rounded) == 1 else rounded
