"""Projected gradient descent: the workhorse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from certify.attacks.base import ATTACKS, Problem, Target, need_gradients
from certify.core.threats.base import Threat
from certify.errors import BadInput
from certify.registry import nearest

__all__ = ["LOSSES", "PGD"]

_CLEAR: Final = 1e-5
"""A class has changed for certain once the margin exceeds this part of the largest score. A narrower flip may be undone
when the point is examined in a batch of its own, where sums are rounded otherwise."""


def margin(scores: Tensor, labels: Tensor) -> Tensor:
    """Best other score less the label's score, (B,): positive where the class has changed."""
    others = scores.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return others - scores.gather(1, labels[:, None]).squeeze(1)


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(scores, labels, reduction="none")


LOSSES: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {"margin": margin, "ce": _cross_entropy}


@ATTACKS.register("pgd")
@dataclass(frozen=True, slots=True)
class PGD:
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

    def settings(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)

    def check(self, target: Target, threat: Threat) -> None:
        """Refuse a target without gradients."""
        need_gradients(self.name, target)

    def perturb(self, problem: Problem) -> Tensor:
        """The point with the largest margin found for each row."""
        best = problem.x.clone()
        best_margin = torch.full((len(best),), -torch.inf, device=best.device)
        rows = torch.arange(len(best), device=best.device)
        for restart in range(self.restarts):
            z = problem.x[rows] if restart == 0 else problem.random_start(rows, str(restart))
            rows = self._climb(problem, rows, z, restart, best, best_margin)
            if not len(rows):
                break
        return best

    def _climb(
        self, problem: Problem, rows: Tensor, z: Tensor, restart: int, best: Tensor, best_margin: Tensor
    ) -> Tensor:
        """One run from ``z``, updating ``best`` in place; the rows that are still to be broken."""
        for step in range(self.steps + 1):
            labels = problem.labels[rows]
            ascending = step < self.steps
            z = z.detach().requires_grad_(ascending)
            with torch.set_grad_enabled(ascending):
                scores = problem.scores(z, rows, f"{restart}:{step}")
                loss = self._loss(problem, scores, labels).sum()
            found = problem.target.keeps.margin(scores.detach(), labels)
            better = found > best_margin[rows]
            best[rows[better]], best_margin[rows[better]] = z.detach()[better], found[better].to(best_margin)
            alive = torch.ones_like(better)
            if problem.target.deterministic:
                alive = ~(found > _CLEAR * scores.detach().abs().amax(dim=1))
            if ascending and bool(alive.any()):
                (gradient,) = torch.autograd.grad(loss, z)
                rows, z = rows[alive], self._step(problem, rows[alive], z.detach()[alive], gradient[alive])
            else:
                return rows[alive]
        return rows

    def _loss(self, problem: Problem, scores: Tensor, labels: Tensor) -> Tensor:
        """The loss (B,); of properties that know no probability of their answer, the margin."""
        keeps = problem.target.keeps
        return LOSSES[self.loss](scores, labels) if keeps.votes else keeps.margin(scores, labels)

    def _step(self, problem: Problem, rows: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        return problem.climb(z, gradient, self.step_scale / self.steps, rows)
