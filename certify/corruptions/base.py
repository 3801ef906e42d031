"""What a corruption is, and the registry of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from certify.core.input_box import InputBox
from certify.core.rounding import brief
from certify.core.threats.transform import Transform
from certify.core.values import whole
from certify.data.dataset import input_digest
from certify.data.generators import keyed_generator
from certify.errors import BadInput
from certify.registry import Registry

__all__ = ["CORRUPTIONS", "SEVERITIES", "Corruption", "Draws", "Form", "corrupted", "fitting", "severities_of"]

SEVERITIES: Final = (1, 2, 3, 4, 5)
"""The severities of Hendrycks and Dietterich (2019); 0 would be the input itself."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a corruption has to know about all inputs together.

    Args:
        shape: of one input, without a batch axis.
        input_box: bounds of every feature; None for none.
        words: of texts, the words by their token ids; None for inputs of numbers.
    """

    shape: tuple[int, ...]
    input_box: InputBox | None
    words: tuple[str, ...] | None = None

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds in the shape of one input: the float32 numbers that lie inside the box."""
        assert self.input_box is not None
        lower, upper = self.input_box.inside(torch.zeros(1, *self.shape))
        return lower.expand(self.shape), upper.expand(self.shape)


@dataclass(frozen=True, slots=True)
class Draws:
    """Where the randomness of a corruption comes from: never from the order of inputs or what was drawn before.

    Args:
        seed: master seed.
        name: of the corruption.
        digest: SHA-256 of the input.
    """

    seed: int
    name: str
    digest: str

    def of_input(self) -> torch.Generator:
        """A generator of the input's own: the same at every strength, so that what is stronger holds what is weaker."""
        return keyed_generator(f"corruption:1:{self.seed}:{self.name}:{self.digest}")

    def of_device(self) -> torch.Generator:
        """A generator that all inputs share: a worn sensor is the same one for each of them."""
        return keyed_generator(f"corruption:1:{self.seed}:{self.name}:device")


class Corruption(ABC):
    """A change of an input that nobody chose to fool a model, with five severities of it.

    A member is a frozen dataclass in a file of its own, registered in :data:`CORRUPTIONS`. A strength of 0 leaves every
    input as it is.
    """

    __slots__ = ()

    name: ClassVar[str]
    """The registered name."""

    units: ClassVar[str]
    """What a strength counts, in words."""

    strengths: ClassVar[tuple[float, float, float, float, float]]
    """The strengths of severities 1 to 5, ascending."""

    scaled: ClassVar[bool] = False
    """Whether strengths are shares of the width of the input box, and so given in input units."""

    @property
    def noun(self) -> str:
        """The corruption with what was chosen about it."""
        return self.name

    @abstractmethod
    def refusal(self, form: Form) -> str:
        """Why the corruption is not defined for inputs of a form, in words; empty where it is."""

    @abstractmethod
    def apply(self, x: Tensor, strength: float, form: Form, draws: Draws) -> Tensor:
        """One input (...) float32, changed by a strength; itself for a strength of 0."""

    def check(self, form: Form) -> None:
        """Refuse inputs of a form that the corruption is not defined for.

        Raises:
            BadInput: with the reason.
        """
        if said := self.refusal(form):
            raise BadInput(f"corruption {self.name} {said}")

    def strength(self, severity: int, form: Form) -> float:
        """The strength of a severity; 0 for severity 0.

        Raises:
            BadInput: for a severity outside 0 to 5.
        """
        if severity == 0:
            return 0.0
        [severity] = severities_of([severity])
        at = self.strengths[severity - 1]
        if self.scaled and form.input_box is not None:
            lower, upper = form.input_box.hull
            return at * (upper - lower)
        return at

    def amount(self, strength: float) -> str:
        """A strength in its unit."""
        return f"{brief(strength)} {self.units}"

    def along(self, threat: Transform) -> Corruption:
        """The corruption with the settings of a threat that is the same transform; itself where it is none."""
        return self

    @property
    def transform(self) -> Transform | None:
        """The threat whose transform this is: a strength of the corruption is a radius of the threat. None for none."""
        return None


CORRUPTIONS: Registry[type[Corruption]] = Registry("corruption", package="certify.corruptions", named="name")


def severities_of(given: Sequence[int]) -> tuple[int, ...]:
    """Severities in ascending order.

    Raises:
        BadInput: for none, one that is no whole number from 1 to 5, or one that is given twice.

    >>> severities_of([3, 1])
    (1, 3)
    >>> severities_of([6])
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: a severity is 1, 2, 3, 4 or 5, got 6
    """
    found = [whole("severity", one) for one in given]
    for one in found:
        if one not in SEVERITIES:
            raise BadInput(f"a severity is 1, 2, 3, 4 or 5, got {one}")
    if not found or len(set(found)) < len(found):
        raise BadInput("name at least one severity from 1 to 5, and each of them once")
    return tuple(sorted(found))


def corrupted(x: Tensor, corruption: Corruption, severities: Sequence[int], form: Form, seed: int) -> Tensor:
    """One input (...) at some severities, (S, ...) float32; what is drawn depends on the seed and the input alone.

    Args:
        x: the input, float32.
        corruption: what happens to it.
        severities: each from 0, which is the input itself, to 5.
        form: of all inputs.
        seed: master seed.

    Raises:
        BadInput: for a severity outside 0 to 5, or a form that the corruption is not defined for.

    >>> from certify.core.input_box import check_box
    >>> form = Form((4,), check_box((0.0, 1.0)))
    >>> corrupted(torch.zeros(4), CORRUPTIONS["brightness"](), (0, 5), form, seed=0)
    tensor([[0.0000, 0.0000, 0.0000, 0.0000],
            [0.3000, 0.3000, 0.3000, 0.3000]])
    """
    corruption.check(form)
    draws = Draws(seed, corruption.name, input_digest(x.numpy()))
    return torch.stack([corruption.apply(x, corruption.strength(one, form), form, draws).float() for one in severities])


def fitting(form: Form) -> list[Corruption]:
    """All corruptions that are defined for inputs of a form, by name."""
    made = [CORRUPTIONS[name]() for name in sorted(CORRUPTIONS)]
    return [one for one in made if not one.refusal(form)]
