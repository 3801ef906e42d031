"""Threats that count changed positions, each of which may take any of its values: what those members share."""

from __future__ import annotations

import hashlib
import json
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.rounding import brief
from certify.core.threats.base import Threat
from certify.core.values import whole
from certify.errors import BadInput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["MOST_FEATURES", "Budget", "Groups", "groups_of", "recorded_groups"]

Groups = tuple[tuple[int, ...], ...]
"""The positions: for each, the features that belong to it, counted in the flattened input from 0."""


MOST_FEATURES: Final = 2**24
"""No input has more features, so that a group written as a range takes no more memory than one of them."""


def recorded_groups(value: Any) -> Any:
    """Groups as records hold them: lists, no text that could stand for any number of features.

    Raises:
        TypeError: for anything else.
    """
    if not (isinstance(value, list) and all(isinstance(group, list) for group in value)):
        raise TypeError("groups are lists of lists of numbers")
    return value


def groups_of(name: str, value: Any) -> Groups:
    """Groups of features from lists of numbers, or from text: ``"0:3,5,7+9"`` is (0, 1, 2), (5,) and (7, 9).

    Raises:
        BadInput: for anything else, empty groups, negative numbers, and groups that share a feature.

    >>> groups_of("groups", "0:3,5,7+9")
    ((0, 1, 2), (5,), (7, 9))
    """
    try:
        if not isinstance(value, str | int | list | tuple | np.ndarray):
            raise TypeError(value)
        value = str(value) if isinstance(value, int) else value
        parts = value.split(",") if isinstance(value, str) else list(value)
        found = tuple(tuple(_group(name, part)) for part in parts)
    except (TypeError, ValueError) as problem:
        raise BadInput(
            f"{name} must be groups of features, such as 0:3,5,7+9 or [[0, 1], [2]], got {value!r:.60}"
        ) from problem
    if not found or not all(found):
        raise BadInput(f"{name} must be groups of one feature or more, got {value!r:.60}")
    counts = Counter(feature for group in found for feature in group)
    if not 0 <= min(counts) <= max(counts) < MOST_FEATURES:
        raise BadInput(
            f"{name} number what they group from 0 to {MOST_FEATURES - 1}, got {min(counts)} to {max(counts)}"
        )
    [(twice, often)] = counts.most_common(1)
    if often > 1:
        raise BadInput(f"{name} overlap: number {twice} is in two of them, or twice in one")
    return found


def _group(name: str, part: Any) -> Iterable[int]:
    if isinstance(part, str):
        begin, colon, end = part.partition(":")
        if not part.isascii() or (colon and int(end) > MOST_FEATURES):
            raise ValueError(part)
        return range(int(begin), int(end)) if colon else [int(one) for one in part.split("+")]
    return [whole(name, one) for one in ([part] if isinstance(part, int | np.integer) else part)]


class Budget(Threat):
    """At most so many positions change as the radius says, each to any of the values that the member allows.

    The minimum of a linear function is exact: what each position can gain is known by itself, and the largest gains are
    taken. A part of the input box that a search cut out forces a change where it does not hold the input's own value.
    """

    __slots__ = ()
    counted: ClassVar[bool] = True
    groups: Groups | None

    @property
    def norm(self) -> str:  # type: ignore[override]
        """The member's own name: there is no norm."""
        return self.kind

    @property
    def noun(self) -> str:
        """What is counted, with the positions by their digest where they are groups."""
        named = next(iter(self.named.values()), "")
        return f"{self.measure} in {self._positions} (sha256 {named[:8]})" if named else self.measure

    @property
    def quantity(self) -> str:
        """How many of what."""
        return f"number of {self.units}"

    @property
    def measured(self) -> str:
        """The units say what is counted."""
        return self.quantity

    def number(self, radius: float, shown: Callable[[float], str] = brief) -> str:
        """A whole number; averages as they are shown."""
        return str(int(radius)) if float(radius).is_integer() else shown(radius)

    def amount(self, radius: float, shown: Callable[[float], str] = brief) -> str:
        """So many positions."""
        return f"{self.number(radius, shown)} {self._words[radius != 1]}"

    def change(self, radius: float | None = None) -> str:
        """A change of positions."""
        reach = f"{self._positions} up to its radius" if radius is None else f"at most {self.amount(radius)}"
        return f"change of {reach}"

    @property
    def _words(self) -> tuple[str, str]:
        """What one position is called, and several."""
        return ("feature", "features") if self.groups is None else ("group of features", "groups of features")

    @property
    def _positions(self) -> str:
        return self._words[1] if self.groups is None else f"{len(self.groups)} {self._words[1]}"

    @property
    def named(self) -> Mapping[str, str]:
        """The positions, where they are not the features themselves."""
        if self.groups is None:
            return {}
        return {"threat": hashlib.sha256(json.dumps([self.kind, self.groups]).encode()).hexdigest()}

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse groups beyond the features, and more changes than there are positions."""
        Threat.check_shape(self, shape)
        features = math.prod(shape)
        if self.groups is not None and (last := max(map(max, self.groups))) >= features:
            raise BadInput(f"groups name feature {last}, an input of shape {tuple(shape)} has {features}, from 0")
        if self.largest > (positions := self.positions(features)):
            raise BadInput(f"radius {self.largest:g} is more than the {positions} positions that can change")

    def distance(self, x: NDArray[np.floating], x_adv: NDArray[np.floating]) -> float:
        """How many positions changed; infinite where anything else did, or to no value of the position."""
        if x.shape != x_adv.shape:
            raise BadInput(f"cannot measure a distance between shapes {x.shape} and {x_adv.shape}")
        self.check_shape(x.shape)
        moved, owner = x.ravel() != x_adv.ravel(), self._owners(x.size)
        if np.isnan(x).any() or np.isnan(x_adv).any() or moved[owner < 0].any():
            return math.inf
        changed = np.unique(owner[moved])
        return float(len(changed)) if self._allowed(x.ravel(), x_adv.ravel(), changed) else math.inf

    def _allowed(self, x: NDArray[np.floating], x_adv: NDArray[np.floating], changed: NDArray[np.int_]) -> bool:
        """Whether the values (n,) of the positions that changed from x (n,) are among those that they may take."""
        return True

    def positions(self, features: int) -> int:
        """How many positions an input of so many features has."""
        return features if self.groups is None else len(self.groups)

    def _owners(self, features: int) -> NDArray[np.int_]:
        """The position of each feature, -1 for none."""
        if self.groups is None:
            return np.arange(features)
        owner = np.full(features, -1)
        for place, group in enumerate(self.groups):
            owner[list(group)] = place
        return owner

    def _places(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features (m,) that belong to positions, and the position (m,) of each."""
        owner = self._owners(x.shape[-1])
        [owned] = np.nonzero(owner >= 0)
        like = x.detach().double()
        return like.new_tensor(owned).long(), like.new_tensor(owner[owned]).long()

    def _sums(self, values: Tensor) -> Tensor:
        """Values (..., n) of features added up over each position, (..., positions)."""
        owned, place = self._places(values)
        sums = values.new_zeros(*values.shape[:-1], self.positions(values.shape[-1]))
        return sums.index_add(-1, place, values[..., owned])

    def _spread(self, chosen: Tensor, features: int) -> Tensor:
        """What is true of positions (b, positions), said of their features (b, n)."""
        owned, place = self._places(chosen.new_zeros(1, features))
        spread = chosen.new_zeros(len(chosen), features)
        spread[:, owned] = chosen[:, place]
        return spread

    @staticmethod
    def _first(scores: Tensor, radius: Tensor) -> Tensor:
        """Which positions (b, positions) have the highest positive scores, as many as the radius (b,) says."""
        rank = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        return (rank < radius.reshape(-1, 1)) & (scores > 0)

    @abstractmethod
    def _least(self, A: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """The minimum (b, r, positions) of rows A (b, r, n) over what each position of x (b, n) may be inside boxes.

        Infinite where no value is inside.
        """

    @abstractmethod
    def _values(self, z: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Values (b, n) that positions of x (b, n) may take, near to z (b, n)."""

    @abstractmethod
    def _highest(self, gradient: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """The values (b, n) of positions of x (b, n) at which a linear function is greatest."""

    def hull(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The box of each feature that may change, x itself elsewhere and for a radius below 1."""
        some = (radius >= 1).reshape(-1, 1).expand(-1, self.positions(x.shape[1])).to(x.dtype)
        free = self._spread(some, x.shape[1]) > 0
        return x.where(~free, lower.expand_as(x)), x.where(~free, upper.expand_as(x))

    def minimum(self, A: Tensor, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """What stays, less the largest gains (derived from the independence of positions)."""
        own = x.unsqueeze(1)
        at, least = self._sums(A * own), self._least(A, x, lower, upper)
        stays, left = self._stays(x, radius, lower, upper)
        gains = (at - least).clamp(min=0).where(stays.unsqueeze(1), least.new_zeros(1))
        first = gains.sort(dim=2, descending=True).values.cumsum(dim=2)
        place = (left - 1).clamp(min=0, max=first.shape[2] - 1).reshape(-1, 1, 1).expand(-1, first.shape[1], 1)
        gained = first.gather(2, place).squeeze(2).where(left.reshape(-1, 1) > 0, first.new_zeros(1))
        fixed = (A * own).sum(dim=2) - at.sum(dim=2)
        return at.where(stays.unsqueeze(1), least).sum(dim=2) + fixed - gained

    def misses(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Where more positions have to change than may, or one that cannot, or one to no value of its own."""
        inside = (lower <= x) & (x <= upper)
        movable = self._spread(x.new_ones(len(x), self.positions(x.shape[1])), x.shape[1]) > 0
        stays, left = self._stays(x, radius, lower, upper)
        possible = self._least(x.new_zeros(len(x), 1, x.shape[1]), x, lower, upper).squeeze(1).isfinite()
        return (left < 0) | ~(inside | movable).all(dim=1) | ~(stays | possible).all(dim=1)

    def _stays(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Which positions (b, positions) may keep their own value in a box, and how many changes (b,) are left."""
        outside = ~((lower <= x) & (x <= upper))
        stays = self._sums(outside.to(x.dtype)) == 0
        # A radius beyond all positions is all of them: a float that no whole number holds must not wrap around.
        most = radius.clamp(min=0, max=self.positions(x.shape[1])).floor().long()
        return stays, most - (~stays).sum(dim=1)

    def project(self, x: Tensor, z: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Of the positions that moved, those that moved the most."""
        values = self._values(z, x, lower, upper)
        sizes = self._sums((z - x).abs() * (values != x).to(x.dtype))
        return self._taken(x, values, self._first(sizes, radius))

    def climb(
        self, x: Tensor, z: Tensor, gradient: Tensor, share: float, radius: Tensor, lower: Tensor, upper: Tensor
    ) -> Tensor:
        """The positions that gain the most if the loss were linear, each at its best value."""
        best = self._highest(gradient, x, lower, upper)
        gains = self._sums(gradient * (best - x))
        fresh = self._spread((self._sums((z != x).to(x.dtype)) == 0).to(x.dtype), x.shape[1]) > 0
        step = self._values((z + share * (best - z)).where(~fresh, best), x, lower, upper)
        return self._taken(x, step, self._first(gains, radius))

    def random(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor, generator: torch.Generator) -> Tensor:
        """Any positions, and any of their values."""
        drawn = x.new_empty(1, x.shape[1] + self.positions(x.shape[1])).uniform_(generator=generator)
        share, scores = drawn[:, : x.shape[1]], drawn[:, x.shape[1] :]
        values = self._values(_between(lower, upper, share), x, lower, upper)
        return self._taken(x, values, self._first(scores + 1, radius))

    def neighbour(
        self,
        x: Tensor,
        z: Tensor,
        radius: Tensor,
        lower: Tensor,
        upper: Tensor,
        share: float,
        generator: torch.Generator,
    ) -> Tensor:
        """Points near to ``z`` (b, n): some of the positions that differ from ``x`` (b, n) give way to random others.

        A share of them goes, and one at least; the values that come are random, and at the ends of their box half the
        time. Where an input is whole numbers throughout, such as bytes or ids, so are the values that are tried.
        """
        features, positions = x.shape[1], self.positions(x.shape[1])
        drawn = x.new_empty(len(x), features + 2 * positions).uniform_(generator=generator)
        values, leaving, coming = drawn[:, :features], drawn[:, features:-positions], drawn[:, -positions:]
        moved = self._sums((z != x).to(x.dtype)) > 0
        most = radius.clamp(max=positions).floor()
        kept = self._first((leaving + 1) * moved, most - (share * most).ceil().clamp(min=1))
        fresh = self._first((coming + 1) * ~kept, most - kept.sum(dim=1))
        tried = self._values(_between(lower, upper, (2 * values - 0.5).clamp(0, 1)), x, lower, upper)
        if bool((x == x.round()).all()):
            tried = tried.round()
        return self._taken(self._taken(x, z, kept), tried, fresh)

    def _taken(self, x: Tensor, values: Tensor, chosen: Tensor) -> Tensor:
        return values.where(self._spread(chosen.to(x.dtype), x.shape[1]) > 0, x)


def _between(lower: Tensor, upper: Tensor, share: Tensor) -> Tensor:
    """So far from the lower to the upper end; between 0 and 1 where there are none."""
    width = upper - lower
    return (lower + share * width).where(width.isfinite(), share)
