"""What is claimed about a box of inputs against what executions give there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from certify.bounds.output import output_bounds
from certify.data.dataset import seeded_generator
from certify.errors import CertifyError, UnsupportedOperator

__all__ = ["MOST", "SHAPES", "SIZES", "broken_claim", "drawn_box", "points_of"]

MOST: Final = float(torch.finfo(torch.float32).max)

SHAPES: Final = ((5,), (3, 4), (2, 5, 6), (2, 4, 4))
"""Shapes of one input."""

SIZES: Final = (1.0, 1.0, 1.0, 1e-3, 1e3, 1e10, 1e19, 1e30, 3e37)
"""Magnitudes of stored numbers and of inputs: most networks are ordinary, hostile ones are not."""

Runs = Callable[[Tensor], Sequence[Tensor]]
"""Inputs (n, ...) to what executions give for them: one or more batches of answers (n, ...)."""


def drawn_box(g: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """A box (2, 1, *shape) of float32, of any size and width: its lower and its upper ends."""
    ends = np.sort(g.normal(size=(2, 1, *shape)), axis=0)
    if g.random() < 0.5:
        ends[1] = ends[0] + 0.01 * (ends[1] - ends[0])
    return torch.as_tensor(np.clip(ends * float(g.choice(SIZES)), -MOST, MOST).astype(np.float32))


def points_of(box: Tensor, count: int = 12) -> Tensor:
    """Points (count, *shape) of a box: a third are corners."""
    lower, upper = box
    share = torch.as_tensor(seeded_generator("adversary", "points").uniform(size=(count, *lower.shape[1:])))
    share[: count // 3] = share[: count // 3].round()
    return (lower + (upper.double() - lower.double()) * share).float().maximum(lower).minimum(upper)


def broken_claim(module: nn.Module, box: Tensor, runs: Runs) -> str | None:
    """What is wrong with the bounds of a module over a box, in a sentence; None if all executions lie inside them."""
    answers = torch.cat([one.flatten(1) for one in runs(points_of(box))])
    for method in ("ibp", "crown"):
        try:
            low, high = output_bounds(module, *box, method=method, claim="float32")
        except UnsupportedOperator:
            return None
        except CertifyError as refusal:
            return f"an own import is refused: {refusal}" if "does not compute" in str(refusal) else None
        except Exception as crash:  # whatever it is, it is not one line
            return f"crashed in {method}: {type(crash).__name__}: {crash}"
        outside = low.isfinite() & high.isfinite() & ~((low <= answers) & (answers <= high))
        if bool(outside.any()):
            point, entry = (int(place) for place in outside.nonzero()[0])
            return (
                f"{method} claims output {entry} in [{float(low[0, entry]):.9g}, {float(high[0, entry]):.9g}] for "
                f"every float32 execution, and one gives {float(answers[point, entry]):.9g}"
            )
    return None
