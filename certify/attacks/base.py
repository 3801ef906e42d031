"""What an attack is and what it works on, and the registry of attacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from certify.attacks.moves import Moves, Nearby, moves_of
from certify.attacks.target import Target
from certify.core.properties.base import Property
from certify.core.scope import Scope, check_scope, scopes
from certify.core.threats.base import Threat
from certify.data.generators import keyed_generator
from certify.errors import ModelError
from certify.registry import Registry

__all__ = ["ATTACKS", "Attack", "Search"]


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What an attack works on: inputs to be moved by at most a radius so that their class changes.

    Args:
        target: what is attacked.
        x: inputs (B, ...) float32, on the target's device.
        labels: their classes (B,).
        threat, radius: where an example may lie.
        moves: how to move in the threat.
        keys: one a row; all randomness of a row derives from its key, so rows do not disturb each other.
        passes: forward passes spent on each row so far; :meth:`scores` keeps count.
    """

    target: Target
    x: Tensor
    labels: Tensor
    threat: Threat
    radius: float
    keys: tuple[str, ...]
    passes: list[int]
    moves: Moves = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "moves", moves_of(self.threat))

    def scores(self, z: Tensor, rows: Tensor, draw: str) -> Tensor:
        """Scores of ``z``, points for ``rows``. A random target draws anew for every ``draw``."""
        chosen, passes = rows.tolist(), self.target.passes
        for row in chosen:
            self.passes[row] += passes
        random = not self.target.deterministic
        scores = self.target.scores(z, [f"{self.keys[row]}:scores:{draw}" for row in chosen] if random else ())
        if z.requires_grad and not scores.requires_grad:  # piecewise constant models have slope 0, not none
            scores = scores + (0.0 * z).flatten(1).sum(1, keepdim=True)
        return scores

    def near(self, rows: Tensor) -> Nearby:
        """How to move points for ``rows`` within the threat, for many steps of the same rows."""
        return self.moves.about(self.x[rows], self.radius)

    def project(self, z: Tensor, rows: Tensor) -> Tensor:
        """``z``, points for ``rows``, brought into the threat."""
        return self.near(rows).project(z)

    def climb(self, z: Tensor, gradient: Tensor, share: float, rows: Tensor) -> Tensor:
        """Points one step from ``z``, points for ``rows``, in the direction in which the loss grows."""
        return self.near(rows).climb(z, gradient, share)

    def edits(self, row: int, z: Tensor, generator: torch.Generator, count: int) -> Tensor:
        """Points (m, ...) for a row, each one edit from a point z (1, ...) of it; ``count`` at most."""
        return self.moves.edits(self.x[row : row + 1], z, self.radius, generator, count)

    def random_start(self, rows: Tensor, draw: str) -> Tensor:
        """A random point of the threat for each of ``rows``."""
        generators = (keyed_generator(f"{self.keys[row]}:start:{draw}") for row in rows.tolist())
        return self.moves.random(self.x[rows], self.radius, generators)


class Attack(Scope, ABC):
    """A search. Nothing it returns is believed: :func:`~certify.attacks.run.run_attack` projects and examines it.

    An attack is a frozen dataclass of its settings, so that findings record them. The defaults are those of an attack
    that follows gradients, in any threat.
    """

    __slots__ = ()

    name: str
    """The name that it is asked for by: the registered one, of a whole class."""

    limits: ClassVar[str] = "knows what threats do to single features only"

    follows_gradients: ClassVar[bool] = True
    """Whether it needs a model that has gradients."""

    def settings(self) -> dict[str, Any]:
        """Steps, step size, restarts and the like, as plain values for JSON."""
        fields = asdict(self)  # type: ignore[call-overload]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    @classmethod
    def handles(cls, property: type[Property]) -> bool:
        """Whether it knows properties of this class: all, by their margins."""
        return True

    def check_scope(self, threat: Threat, property: Property) -> None:
        """Refuse a threat or a property that this attack does not know.

        Raises:
            BadInput: naming those that do.
        """
        check_scope(self.name, self, ATTACKS, threat, property)

    def check(self, target: Target, threat: Threat) -> None:
        """Raise, in one line, before any work, if this attack cannot run on this target or in this threat model.

        Raises:
            ModelError: without gradients that it needs, naming attacks that need none.
        """
        if self.follows_gradients and not target.differentiable:
            kind, norm = type(target.classifier.property), threat.norm
            fit = [one for one in scopes(ATTACKS).values() if one.knows(norm) and one.handles(kind)]
            others = [one.name for one in fit if not one.follows_gradients]
            way_out = f"use {' or '.join(others)} instead, or " if others else ""
            raise ModelError(f"{self.name} needs gradients, and a plain function has none: {way_out}wrap an nn.Module")

    @abstractmethod
    def perturb(self, search: Search) -> Tensor:
        """The most promising point (B, ...) for each row; the row's input itself where there is none."""


ATTACKS: Registry[Callable[..., Attack]] = Registry("attack", package="certify.attacks", named="name")
