"""``sabr``: training on interval bounds of a small box around an adversarial example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from certify.core.input_box import BoxLike
from certify.data.dataset import Dataset
from certify.training.ascent import Ascent, evaluated
from certify.training.bounded import BoundedRecipe
from certify.training.recipe import RECIPES, Objective, Step

__all__ = ["SmallBox"]


@RECIPES.register("sabr")
@dataclass(frozen=True)
class SmallBox(BoundedRecipe):
    """Cross-entropy of the worst logits in a small box inside the ball (Mueller et al. 2023, section 3).

    The box has ``share`` times the radius of the ball. Its centre is found by projected gradient ascent, so that it
    stays in the ball. Bounds of so small a box are tight, and weights stay freer than with ``ibp``: such networks
    classify better and are proven by tighter methods: certify them with ``crown`` or ``complete``.

    Args:
        share: radius of the box, as a share of ``eps``: .1 to .4 for small balls, .4 to .8 for large ones.
        steps: gradient steps of the ascent.
    """

    share: float = 0.4
    steps: int = 8

    name: ClassVar[str] = "sabr"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_within("share", 0, 1)
        self._ascent(None)

    def _ascent(self, box: BoxLike) -> Ascent:
        return Ascent("linf", max(self.eps * (1 - self.share), 1e-12), self.steps, box)

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """The worst logits in the small box; an input held out is right if interval bounds prove that box."""
        worst, ascent = self.worst_case(module, dataset), self._ascent(dataset.input_box)

        def centre(step: Step, grown: float) -> Tensor:
            with evaluated(module):
                return ascent(step, lambda x: cross_entropy(module(x), step.y, reduction="sum"), grown)

        def loss(step: Step) -> Tensor:
            if not (grown := self.grown(step.done)):
                batch = worst.batch(step)
                return cross_entropy(batch.scores, step.y) + self.charge(
                    batch.layers(worst.ball(step.x, 0.0)), step.done
                )
            moved = Step(centre(step, grown), step.y, step.done, step.generator)
            batch = worst.batch(moved)
            layers = batch.layers(worst.ball(moved.x, self.share * self.eps * grown))
            return cross_entropy(-batch.margins(layers), step.y) + self.charge(layers, step.done)

        def kept(step: Step) -> Tensor:
            moved = Step(centre(step, 1.0), step.y, step.done, step.generator)
            return self.proven(worst, moved, self.share * self.eps)

        return Objective(loss, kept)
