"""Projected gradient descent: the workhorse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from certify.attacks.base import ATTACKS, Attack, Search
from certify.core.properties.base import Property
from certify.errors import BadInput
from certify.registry import nearest

__all__ = ["LOSSES", "PGD"]

_CLEAR: Final = 1e-5
"""Share of the largest score that a margin must exceed for the search to end. A narrower change of class may be undone
when the point is examined in a batch of its own, where sums are rounded differently."""


def margin(scores: Tensor, labels: Tensor) -> Tensor:
    """Best other score less the label's score, (B,): positive where the class has changed."""
    others = scores.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return others - scores.gather(1, labels[:, None]).squeeze(1)


def _margin_and_slope(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The margins (B,) of labels (B, 1), and the gradient of their sum, in which tied scores have equal shares.

    Written out, it costs a fraction of what recording and differentiating it does.
    """
    others = scores.scatter(1, labels, -torch.inf)
    top = others.amax(dim=1, keepdim=True)
    ties = (others == top).to(scores.dtype)
    slope = (ties / ties.sum(dim=1, keepdim=True)).scatter_(1, labels, -1.0)
    return (top - scores.gather(1, labels)).squeeze(1), slope


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(scores, labels, reduction="none")


LOSSES: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {"margin": margin, "ce": _cross_entropy}


@ATTACKS.register("pgd")
@dataclass(frozen=True, slots=True)
class PGD(Attack):
    """Steepest ascent on a loss, projected back into ball and box after each step (Madry et al. 2018), in all norms.

    The first run starts at the input, further ones at random points of the ball. The point with the largest margin of
    all runs is proposed; on a deterministic classifier a clear change of class ends the search for that input.

    Args:
        steps: gradient steps of each run.
        restarts: runs.
        step_scale: a step has length ``step_scale * radius / steps``.
        loss: ``"margin"``, best other score less the label's (Carlini and Wagner 2017), which does not vanish for
            confident classifiers; or ``"ce"``, cross-entropy.

    Raises:
        BadInput: for fewer than one step or restart, a step scale that is not positive, an unknown loss.
    """

    steps: int = 40
    restarts: int = 2
    step_scale: float = 2.5
    loss: str = "margin"
    name = "pgd"

    def __post_init__(self) -> None:
        for setting in ("steps", "restarts"):
            count = getattr(self, setting)
            if not isinstance(count, int) or count < 1:
                raise BadInput(f"pgd's {setting} must be a whole number of at least 1, got {count!r}")
        if not 0 < self.step_scale < float("inf"):
            raise BadInput(f"step_scale must be a positive number, got {self.step_scale}; 2.5 is usual")
        if self.loss not in LOSSES:
            known = list(LOSSES)
            raise BadInput(f"unknown loss {self.loss!r}{nearest(self.loss, known)} known: {', '.join(known)}")

    def perturb(self, search: Search) -> Tensor:
        """The point with the largest margin found for each row."""
        best = search.x.clone()
        best_margin = torch.full((len(best),), -torch.inf, device=best.device)
        rows = torch.arange(len(best), device=best.device)
        for restart in range(self.restarts):
            z = search.x[rows] if restart == 0 else search.random_start(rows, str(restart))
            rows = self._ascend(search, rows, z, restart, best, best_margin)
            if not len(rows):
                break
        return best

    def climbed(self, search: Search, start: Tensor) -> Tensor:
        """The point with the largest margin on the way up from points (B, ...), one for each row."""
        best, margins = start.clone(), torch.full((len(start),), -torch.inf, device=start.device)
        self._ascend(search, torch.arange(len(start), device=start.device), start.clone(), 0, best, margins)
        return best

    def _ascend(
        self, search: Search, rows: Tensor, z: Tensor, restart: int, best: Tensor, best_margin: Tensor
    ) -> Tensor:
        """One run of gradient steps from ``z`` that updates ``best`` in place; returns the rows not yet broken."""
        deterministic, share = search.target.deterministic, self.step_scale / self.steps
        near, labels = search.near(rows), search.labels[rows]
        points, margins = best[rows], best_margin[rows]
        for step in range(self.steps + 1):
            ascending = step < self.steps
            z.requires_grad_(ascending)
            with torch.set_grad_enabled(ascending):
                scores = search.scores(z, rows, f"{restart}:{step}")
                found, climbed, slope = self._loss(search, scores, labels)
            seen = z.detach()
            points = torch.where((found > margins).reshape(-1, *[1] * (z.dim() - 1)), seen, points)
            margins = margins.fmax(found.to(margins.dtype))
            broken = None
            if deterministic and bool((found > 0).any()):
                broken = found > _CLEAR * scores.detach().abs().amax(dim=1)
                broken = broken if bool(broken.any()) else None
            if broken is not None or not ascending:
                best[rows], best_margin[rows] = points, margins
            if not ascending or (broken is not None and bool(broken.all())):
                return rows if broken is None else rows[~broken]
            (gradient,) = torch.autograd.grad(climbed, z, slope)
            if broken is not None:
                alive = ~broken
                rows, labels, points, margins = (one[alive] for one in (rows, labels, points, margins))
                seen, gradient, near = seen[alive], gradient[alive], search.near(rows)
            z = near.climb(seen, gradient, share)
        return rows

    def _loss(self, search: Search, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Margins (B,), and what to differentiate for the loss, with a weight of each entry or None for 1.

        The loss is the margin for properties whose answers have no probability.
        """
        property = search.target.classifier.property
        if self.loss == "margin" and type(property).margin is Property.margin:
            found, slope = _margin_and_slope(scores.detach(), labels[:, None])
            return found, scores, slope
        found = property.margin(scores.detach(), labels)
        loss = LOSSES[self.loss](scores, labels) if property.like_classes else property.margin(scores, labels)
        return found, loss.sum(), None
