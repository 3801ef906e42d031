"""The fast gradient method: one step, for a first impression."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from certify.attacks.base import ATTACKS, Attack, Search
from certify.attacks.pgd import PGD

__all__ = ["FGSM"]


@ATTACKS.register("fgsm")
@dataclass(frozen=True, slots=True)
class FGSM(Attack):
    """One step from the input to the edge of the ball along the gradient (Goodfellow et al. 2015), in all norms.

    Cheap and weak: report it beside a stronger attack, not alone. In l1 the step moves few features, and the box soon
    stops them.

    Args:
        loss: ``"ce"``, cross-entropy as in the paper, or ``"margin"``.

    Raises:
        BadInput: for an unknown loss.
    """

    loss: str = "ce"
    name = "fgsm"

    def __post_init__(self) -> None:
        self._one_step()

    def _one_step(self) -> PGD:
        return PGD(steps=1, restarts=1, step_scale=1.0, loss=self.loss)

    def perturb(self, search: Search) -> Tensor:
        """The point after the step, or the input where its margin is the larger."""
        return self._one_step().perturb(search)
