"""``ablation``: training on inputs of which few positions are left, the base model that ablation smoothing wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from certify.core.threats.budget import Groups, groups_of
from certify.data.dataset import Dataset
from certify.registry import Reader
from certify.smoothing.noise.ablation import Ablation, Null, null_of
from certify.training.recipe import RECIPES, Objective, Recipe, Step

__all__ = ["AblationAugmentation"]


def _read_null(named: str, text: Any) -> Null:
    return null_of(text)


@RECIPES.register("ablation")
@dataclass(frozen=True)
class AblationAugmentation(Recipe):
    """Cross-entropy on inputs of which a fresh random subset of positions is kept at every step (Levine, Feizi 2020).

    Certify with the same ``retention``, ``null`` and groups: a network that never saw hidden positions is near chance
    on them. For images, tables and token ids alike. A null value that no input has, such as -1 for grey levels in
    [0, 1] or the id of a mask token, tells the network what is hidden.

    Args:
        retention: how many positions are kept.
        null: what hidden features become: one number, or one a feature with commas.
        groups: features that are kept or hidden together, as the threat has them: ``0:3,3:6``; features in none are
            always kept. None for each by itself.

    >>> AblationAugmentation(retention=0)
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: retention must be at least 1, the number of positions that are kept, got 0
    """

    epochs: int = 100
    learning_rate: float = 0.002
    retention: int = 10
    null: Annotated[Null, Reader(_read_null)] = -1.0
    groups: Annotated[Groups | None, Reader(groups_of)] = None

    name: ClassVar[str] = "ablation"

    def __post_init__(self) -> None:
        super().__post_init__()
        law = Ablation(self.retention, self.null, self.groups)
        object.__setattr__(self, "null", law.null)
        object.__setattr__(self, "groups", law.groups)

    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """Cross-entropy on what is left; an input held out is right if its class is, under one draw.

        Raises:
            BadInput: for fewer positions than are to be kept, or null values that do not fit.
        """
        law = Ablation(self.retention, self.null, self.groups).about(None, dataset.x.shape[1:])

        def scores(step: Step) -> Tensor:
            return module(law.apply(step.x, law.sample(step.x.shape, step.generator).to(step.x)))

        return Objective(
            lambda step: cross_entropy(scores(step), step.y), lambda step: scores(step).argmax(1) == step.y
        )
