"""Projected gradient descent on a patch, at the places where it does the most harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from certify.attacks.base import ATTACKS, Attack, Search
from certify.attacks.defended import Defended
from certify.core.threats.places import Places
from certify.data.generators import keyed_generator
from certify.errors import BadInput

__all__ = ["PatchPGD"]

_TOGETHER: Final = 256
"""Points in one pass of a search. It bounds memory and changes no finding."""

_LOOKED_AT: Final = 4096
"""Places at which a patch is tried at all; in larger images those that gain the most if the loss were linear."""


@ATTACKS.register("patch-pgd")
@dataclass(frozen=True, slots=True)
class PatchPGD(Attack):
    """A patch tried at every place, and then improved by gradient steps where the loss is the largest.

    At every place each pixel of the patch first goes to the end of its box along the gradient at the input, then to the
    lower and to the upper ends, then to random ones. From the places with the largest margins, ascent by signs of the
    gradient goes on, as in PGD; functions have no gradients, so theirs ends there. On a defended model, the points with
    the largest margins are executed one after the other.

    Args:
        steps: gradient steps at each of the chosen places.
        places: how many places are chosen.
        step_scale: a step has length ``step_scale / steps`` of the width of the input box.

    Raises:
        BadInput: for fewer than one step or place, or a step scale that is not positive.
    """

    steps: int = 40
    places: int = 8
    step_scale: float = 2.5
    name = "patch-pgd"
    follows_gradients = False
    limits = "moves patches only"

    def __post_init__(self) -> None:
        for setting in ("steps", "places"):
            count = getattr(self, setting)
            if not isinstance(count, int) or count < 1:
                raise BadInput(f"patch-pgd's {setting} must be a whole number of at least 1, got {count!r}")
        if not 0 < self.step_scale < float("inf"):
            raise BadInput(f"step_scale must be a positive number, got {self.step_scale}; 2.5 is usual")

    @classmethod
    def knows(cls, norm: str) -> bool:
        """Patches."""
        return norm == "patch"

    def perturb(self, search: Search) -> Tensor:
        """The point with the largest margin found for each row, one row after the other."""
        return torch.stack([self._row(search, row) for row in range(len(search.x))])

    def _row(self, search: Search, row: int) -> Tensor:
        reach, x = search.threat.reaching(tuple(search.x.shape[1:])), search.x[row]
        assert isinstance(reach, Places)
        box = search.threat.input_box
        assert box is not None  # the threat itself asks for one
        lower, upper = (end.expand_as(x) for end in box.inside(x[None]))
        slope = self._slope(search, row, x[None], "start")[1][0]
        best = torch.where(slope > 0, upper, lower)
        places = self._places(reach, search.radius, slope * (best - x))
        coins = torch.rand(x.shape, generator=keyed_generator(f"{search.keys[row]}:coins")).to(x.device)
        ends = torch.stack([best, lower, upper, torch.where(coins < 0.5, lower, upper)])

        def tried(numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
            """Patches (n, ...) by number, every place with one end after the other, and where they are."""
            masks = self._masks(reach, search.radius, x, [places[number % len(places)] for number in numbers])
            return torch.where(masks, ends[[number // len(places) for number in numbers]], x), masks

        order = self._margins(search, row, tried, len(ends) * len(places)).argsort(descending=True, stable=True)
        chosen = dict[int, int]()
        for number in order.tolist():
            if len(chosen) < self.places:
                chosen.setdefault(number % len(places), number)
        return self._ascended(search, row, *tried([*chosen.values()]), (lower, upper))

    def _places(self, reach: Places, radius: float, gain: Tensor) -> Sequence[int]:
        """The numbers of the places that are looked at."""
        count = reach.regions(radius)
        if count <= _LOOKED_AT:
            return range(count)
        worth = reach.gains(gain.flatten()[None].double(), radius)[0]
        return worth.topk(_LOOKED_AT).indices.sort().values.tolist()

    def _masks(self, reach: Places, radius: float, x: Tensor, numbers: Sequence[int]) -> Tensor:
        """Which features places cover, (n, ...)."""
        nothing, everything = torch.zeros_like(x).flatten()[None], torch.ones_like(x).flatten()[None]
        _, masks = reach.boxes(nothing, radius, nothing, everything, numbers)
        return masks.bool().reshape(-1, *x.shape)

    def _ascended(self, search: Search, row: int, z: Tensor, inside: Tensor, ends: tuple[Tensor, Tensor]) -> Tensor:
        """The best of what ascents from points (n, ...) inside places (n, ...) pass."""
        lower, upper = ends
        best, most = z.clone(), torch.full((len(z),), -torch.inf, device=z.device)
        length = self.step_scale / self.steps * (upper - lower)
        for step in range(self.steps + 1 if search.target.differentiable else 1):
            margin, slope = self._slope(search, row, z, str(step))
            better = margin > most
            best[better], most[better] = z[better], margin[better]
            if search.target.deterministic and bool((most > 0).any()):
                break
            z = torch.where(inside, (z + length * slope.sign()).maximum(lower).minimum(upper), z)
        order = most.argsort(descending=True, stable=True).tolist()
        if isinstance(search.target, Defended):
            for place in order:
                found = search.target.examine(best[place].cpu(), int(search.labels[row]), "", 1)
                search.passes[row] += found.forward_passes
                if found.refuted:
                    return best[place]
        return best[order[0]]

    def _slope(self, search: Search, row: int, z: Tensor, draw: str) -> tuple[Tensor, Tensor]:
        """Margins (n,) of points (n, ...) for one row, and their gradients."""
        z = z.detach().requires_grad_()
        rows, labels = torch.full((len(z),), row), search.labels[row].expand(len(z))
        with torch.enable_grad():
            margin = search.target.classifier.property.margin(search.scores(z, rows, draw), labels)
            (slope,) = torch.autograd.grad(margin.sum(), z)
        return margin.detach(), slope.nan_to_num(0.0, 0.0, 0.0)

    @torch.no_grad()
    def _margins(
        self, search: Search, row: int, tried: Callable[[Sequence[int]], tuple[Tensor, Tensor]], count: int
    ) -> Tensor:
        """Margins (n,) of as many points for one row, by number; NaN is the least."""
        found = []
        for first in range(0, count, _TOGETHER):
            points, _ = tried(range(first, min(first + _TOGETHER, count)))
            rows, labels = torch.full((len(points),), row), search.labels[row].expand(len(points))
            scores = search.scores(points, rows, "places")
            found.append(search.target.classifier.property.margin(scores, labels))
        return torch.cat(found).nan_to_num(nan=-torch.inf)
