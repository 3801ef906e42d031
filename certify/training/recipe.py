"""What a training recipe is: settings, the loss of a batch, and what counts on inputs held out; and the registry."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from certify.core.input_box import check_box
from certify.core.written import decimal
from certify.data.dataset import Dataset
from certify.errors import BadInput
from certify.registry import Reader, Registry

__all__ = ["RECIPES", "Objective", "Recipe", "Size", "Step", "check_size", "ramp"]


@dataclass(frozen=True, slots=True)
class Step:
    """A batch of a training.

    Args:
        x: inputs (B, ...).
        y: labels (B,).
        done: share of the training that is done, in [0, 1).
        generator: the randomness of this step, on the processor: it depends on seed and epoch alone, so that a training
            that was interrupted goes on as if it had not been.
    """

    x: Tensor
    y: Tensor
    done: float
    generator: torch.Generator

    def normal(self) -> Tensor:
        """Standard normal noise of the shape of the inputs."""
        return torch.randn(self.x.shape, generator=self.generator).to(self.x)

    def uniform(self) -> Tensor:
        """Numbers from -1 to 1, of the shape of the inputs."""
        return (2 * torch.rand(self.x.shape, generator=self.generator) - 1).to(self.x)


class Objective(NamedTuple):
    """What a recipe wants of a network while it is trained.

    Args:
        loss: of a step, a scalar.
        kept: of a step with inputs held out, which of them (B,) count as right, as a certificate later would want it:
            under noise, under attack, or proven.
    """

    loss: Callable[[Step], Tensor]
    kept: Callable[[Step], Tensor]


@dataclass(frozen=True)
class Recipe(ABC):
    """A way of training: a frozen dataclass of settings with defaults; a member adds its own and an objective.

    Args:
        epochs: passes over the data.
        batch_size: inputs a step.
        learning_rate: of AdamW (Loshchilov and Hutter 2019), for the first 70 % of the steps; it then falls to zero.
        weight_decay: share of the weights that a step at learning rate 1 takes away.
        shift: images are moved by up to this many pixels in each direction, with zeros behind them.
        flip: whether images are mirrored left to right, half of the time.

    Raises:
        BadInput: for a setting that cannot be right.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    shift: int = 0
    flip: bool = False

    name: ClassVar[str]
    network: ClassVar[str] = "small"
    """The architecture that is trained where no other is asked for."""

    def __post_init__(self) -> None:
        for setting in ("epochs", "batch_size"):
            value = getattr(self, setting)
            if not isinstance(value, int) or value < 1:
                raise BadInput(f"{setting} must be a whole number above 0, got {value}")
        if not isinstance(self.shift, int) or self.shift < 0:
            raise BadInput(f"shift must be a whole number of pixels, at least 0, got {self.shift}")
        self._check_above_zero("learning_rate")
        self._check_within("weight_decay", 0, math.inf)

    @property
    def settled(self) -> float:
        """Share of the training after which the objective is the final one: states before are no candidates."""
        return 0.0

    def module(self, dataset: Dataset, seed: int) -> nn.Sequential | None:
        """What is trained, where a recipe brings its own network; None where it trains the one that is asked for.

        Raises:
            BadInput: for settings that do not fit the data.
        """
        return None

    def pins(self, dataset: Dataset) -> dict[str, str]:
        """Digests of what settings only name: trainings with equal settings and pins end in equal models."""
        return {}

    def begin(self, module: nn.Module, generator: torch.Generator) -> None:
        """Change initial weights in place, once; most recipes leave them as the network has them.

        Raises:
            BadInput: for a network that cannot be trained in this way.
        """
        return

    def finish(self, module: nn.Module) -> None:
        """Bring what was trained into the form in which it is kept, in place."""
        return

    @abstractmethod
    def objective(self, module: nn.Module, dataset: Dataset) -> Objective:
        """The objective for a network. Parameters are updated in place and never replaced: it may hold on to them.

        Raises:
            BadInput: for settings that do not fit the data.
        """

    def _check_above_zero(self, *settings: str) -> None:
        for setting in settings:
            if not 0 < getattr(self, setting) < math.inf:
                raise BadInput(f"{setting} must be a finite number above 0, got {getattr(self, setting)}")

    def _check_within(self, setting: str, least: float, most: float) -> None:
        value = getattr(self, setting)
        if not least <= value <= most or math.isinf(value):
            said = f"at least {least}" if math.isinf(most) else f"from {least} to {most}"
            raise BadInput(f"{setting} must be {said}, got {value}")


RECIPES: Registry[Callable[..., Recipe]] = Registry("recipe", package="certify.training.recipes")


def _size(named: str, text: Any) -> float:
    try:
        return decimal(text)
    except ValueError as problem:
        raise BadInput(f"{named} must be a number, or a fraction such as 8/255, got {str(text)!r}") from problem


Size = Annotated[float, Reader(_size)]
"""The annotation of settings in input units, which may be written as fractions: ``eps=8/255``."""


def check_size(setting: str, value: float, dataset: Dataset, norm: str = "linf") -> None:
    """Refuse a size in other units than the data; where these have no input box, nobody can tell.

    Raises:
        BadInput: if no two inputs are so far apart in the norm, which is ``"linf"`` or ``"l2"``. Noise is held against
            ``"linf"``: its standard deviation against the range of a feature, of which published ones are at most all.
    """
    if (box := check_box(dataset.input_box)) is None:
        return
    features = dataset.x[0].size
    widest = float(box.widths(features).max())
    if value > (widest if norm == "linf" else box.diameter(features)):
        whole = f"the whole range of the inputs, {box}" if norm == "linf" else f"any two inputs in {box} are apart"
        said = f"; {value:g} of 255 grey levels is written {setting}={value:g}/255" if 1 < value < 255 else ""
        raise BadInput(f"{setting} {value:g} is more than {whole}: it is meant in input units{said}")


def ramp(done: float, start: float, end: float) -> float:
    """0 before ``start``, 1 after ``end``, linear between.

    >>> ramp(0.1, 0.25, 0.75), ramp(0.5, 0.25, 0.75), ramp(0.9, 0.25, 0.75)
    (0.0, 0.5, 1.0)
    """
    return min(1.0, max(0.0, (done - start) / (end - start)))
