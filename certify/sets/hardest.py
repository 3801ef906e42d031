"""Inputs within a radius whose label fits badly: what sets are tried on. It proves nothing, and nothing rests on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from certify.attacks.base import Search
from certify.attacks.target import Target
from certify.core.threats.base import Threat
from certify.device import on_one_thread
from certify.sets.scores import Score, leads

__all__ = ["hardest"]

STEPS: Final = 30
"""Gradient steps of each run."""

RESTARTS: Final = 2
"""Runs: from the input itself, and from a random point."""

STEP_SCALE: Final = 2.5
"""All steps of a run together are this many radii long."""

_SAMPLES: Final = 512
"""Inputs times noise draws that a gradient step holds at once."""


@on_one_thread()
def hardest(
    target: Target,
    x: Tensor,
    labels: Sequence[int],
    threat: Threat,
    radius: float,
    score: Score,
    keys: Sequence[str],
    known: Mapping[int, Tensor] | None = None,
) -> Tensor:
    """The input within the radius at which the score of the label was largest, for each input (B, ...).

    Steepest ascent on the score itself, projected after each step (Madry et al. 2018). It goes on where the class has
    changed, because a set may hold a class that is not on top. What it returns is measured, and lies in the threat.

    Args:
        target: the model, or the smoothed model, whose scores are climbed.
        x, labels: inputs (B, ...) and their labels.
        threat, radius: where an input may move.
        score: what is to grow.
        keys: one a row; all randomness of a row derives from its key.
        known: further points to begin from, such as examples of another attack, by row.
    """
    size = max(1, _SAMPLES // target.passes)
    found = []
    for first in range(0, len(x), size):
        rows = range(first, min(first + size, len(x)))
        search = Search(
            target=target,
            x=x[rows.start : rows.stop].clone().to(target.device),
            labels=torch.tensor([labels[row] for row in rows], device=target.device),
            threat=threat,
            radius=radius,
            keys=tuple(keys[row] for row in rows),
            passes=[0] * len(rows),
        )
        more = {row - first: (known or {})[row] for row in rows if row in (known or {})}
        found.append(_climbed(search, score, more).cpu())
    points = torch.cat(found)
    inside = [threat.contains(one.numpy(), point.numpy(), radius) for one, point in zip(x, points, strict=True)]
    return torch.where(torch.tensor(inside).reshape(-1, *[1] * (x.dim() - 1)), points, x)


def _climbed(search: Search, score: Score, known: Mapping[int, Tensor]) -> Tensor:
    rows = torch.arange(len(search.x), device=search.x.device)
    best, most = search.x.clone(), torch.full((len(rows),), -torch.inf, device=rows.device, dtype=torch.float64)
    starts = [search.x.clone(), *(search.random_start(rows, str(restart)) for restart in range(1, RESTARTS))]
    if known:
        starts.append(search.x.clone())
        for row, point in known.items():
            starts[-1][row] = point.to(search.x)
    near = search.near(rows)
    for restart, z in enumerate(starts):
        for step in range(STEPS + 1):
            z = near.project(z).requires_grad_()
            with torch.enable_grad():
                scores = search.scores(z, rows, f"{restart}:{step}")
                each = score.of(leads(scores, search.labels))
                (gradient,) = torch.autograd.grad(each.sum(), z)
            value, seen = each.detach().double(), z.detach()
            better = value > most  # false for NaN
            best = torch.where(better.reshape(-1, *[1] * (z.dim() - 1)), seen, best)
            most = torch.where(better, value, most)
            z = near.climb(seen, gradient, STEP_SCALE / STEPS)
    return best
