"""What a certified model answers about a run's inputs under corruptions, and how far those lie from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from certify.core.corrupted import Inside
from certify.corruptions.base import CORRUPTIONS, SEVERITIES, Corruption, fitting
from certify.data.dataset import input_digest
from certify.deployment.opened import Opened
from certify.errors import BadInput
from certify.progress.observer import Observer

__all__ = ["NONE", "Answers", "answers_under", "chosen"]

NONE: Final = "none"
"""What tables call the inputs themselves."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a model answers about all inputs under one corruption.

    Args:
        right: (n, 5) whether the answer is the label, at severities 1 to 5.
        certified: for each run, (n, 5) whether the input is right and certified as far as its corruption lies from it;
            None where none of them is within reach of the run's threat.
        contradictions: certified inputs that are misclassified inside their radius.
    """

    right: NDArray[np.bool_]
    certified: tuple[NDArray[np.bool_] | None, ...]
    contradictions: tuple[Inside, ...]


def chosen(there: Opened, names: Sequence[str] | None) -> list[Corruption]:
    """The corruptions that are named, or all that fit; each with the settings of the run whose threat it follows.

    Raises:
        BadInput: for one that is unknown, named twice or does not fit the inputs; or where none fits.
    """
    kinds = fitting(there.form) if names is None else [CORRUPTIONS[name]() for name in names]
    if names is not None and len(set(names)) < len(names):
        raise BadInput("name each corruption once")
    if not kinds:
        raise BadInput(f"no corruption fits inputs of shape {there.form.shape}: most need an input box, declare one")
    for kind in kinds:
        kind.check(there.form)
    return [there.matched(kind) for kind in kinds]


def answers_under(there: Opened, kinds: Sequence[Corruption], seed: int, watch: Observer) -> dict[str, Answers]:
    """What the certified model answers, by corruption; the inputs themselves stand under ``"none"``.

    Each input is answered by itself, at all five severities together, whichever are asked for: answers depend neither
    on other inputs nor on other corruptions.
    """
    n = len(there.inputs)
    names = [NONE, *(kind.name for kind in kinds)]
    right = {name: np.zeros((n, len(SEVERITIES)), dtype=bool) for name in names}
    far = {name: [np.full((n, len(SEVERITIES)), np.inf) for _ in there.runs] for name in names}
    inside: dict[str, list[Inside]] = {name: [] for name in names}
    with watch.stage("corrupting", n) as advance:
        for row in range(n):
            x, label = torch.from_numpy(there.inputs.x[row]), int(there.inputs.y[row])
            for kind in [None, *kinds]:
                name = NONE if kind is None else kind.name
                _answer(there, row, x, label, kind, seed, right[name], [one[row] for one in far[name]], inside[name])
            advance(1, "")
    return {
        name: Answers(
            right[name],
            tuple(
                there.runs[run].radius[:, None] >= one if name == NONE or _reached(one) else None
                for run, one in enumerate(far[name])
            ),
            tuple(inside[name]),
        )
        for name in names
    }


def _reached(far: NDArray[np.float64]) -> bool:
    """Whether a threat reaches some changed input: one that the corruption left as it is says nothing about that."""
    return bool((np.isfinite(far) & (far > 0)).any())


def _answer(
    there: Opened,
    row: int,
    x: torch.Tensor,
    label: int,
    kind: Corruption | None,
    seed: int,
    right: NDArray[np.bool_],
    far: list[NDArray[np.float64]],
    inside: list[Inside],
) -> None:
    """Fill in what is known of one input under one corruption; None for the input itself."""
    name, severities = (NONE, (0,)) if kind is None else (kind.name, SEVERITIES)
    changed = x[None] if kind is None else there.changed(x, kind, severities, seed)
    strengths = [0.0] if kind is None else [kind.strength(severity, there.form) for severity in severities]
    for place, one in enumerate(there.runs):
        centre, points = one.points(x, x[None])[0], one.points(x, changed, kind, strengths)
        for column, point in enumerate(points):
            far[place][column] = one.distance(centre, point)
        covered = one.radius[row] >= far[place][: len(points)]
        if place == 0 or covered.any():
            found = one.examine(points, label, f"corrupt:1:{seed}:{input_digest(x.numpy())}:{name}")
            if place == 0:
                right[row, : len(points)] = [answer.prediction == label for answer in found]
            inside += [
                Inside(
                    one.run.name,
                    there.inputs.positions[row],
                    name,
                    severities[column],
                    float(far[place][column]),
                    float(one.radius[row]),
                    label,
                    found[column].prediction,
                )
                for column in np.flatnonzero(covered).tolist()
                if found[column].refuted
            ]
