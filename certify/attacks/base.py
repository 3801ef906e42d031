"""What can be attacked, what an attack is, and the registry of attacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from certify.attacks.moves import Moves, moves_of
from certify.core.properties.base import Property
from certify.core.threats.base import Threat
from certify.data.generators import keyed_generator
from certify.errors import BadInput, ModelError
from certify.models.classifier import Classifier
from certify.registry import Registry

__all__ = ["ATTACKS", "Attack", "Examination", "OfClassifier", "Problem", "Target", "need_gradients", "need_top_class"]


@dataclass(frozen=True, slots=True)
class Examination:
    """What a target answers at one point, outside any search.

    Args:
        prediction: its class there, or None if its scores are NaN.
        refuted: whether the class is shown to differ from the label: never for NaN, and for a smoothed classifier only
            with confidence.
        p_label_upper: for a smoothed classifier, the upper confidence bound on the label's probability.
        forward_passes: samples sent through the model to find out.
    """

    prediction: int | None
    refuted: bool
    p_label_upper: float | None
    forward_passes: int


class Target(Protocol):
    """Something attackable: scores to search on, and an examination to believe."""

    @property
    def digest(self) -> str:
        """SHA-256 of the model."""

    @property
    def keeps(self) -> Property:
        """What an example breaks: the top class, or another property, whose answers are the classes then."""

    @property
    def num_classes(self) -> int:
        """Number of classes K."""

    @property
    def input_box(self) -> tuple[float, float] | None:
        """Bounds of every feature."""

    @property
    def device(self) -> torch.device:
        """Where the model runs."""

    @property
    def differentiable(self) -> bool:
        """Whether gradients of the scores flow to the input."""

    @property
    def deterministic(self) -> bool:
        """Whether the scores do not depend on the keys."""

    @property
    def passes(self) -> int:
        """Samples sent through the model for the scores of one input."""

    def settings(self) -> dict[str, Any]:
        """What a finding depends on besides model, input and attack, as plain values for JSON."""

    def scores(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """Scores (B, K) of a batch; a random target seeds each input's randomness with that input's key."""

    def examine(self, x: Tensor, label: int, key: str, tries: int) -> Examination:
        """Examine one input, without a batch axis, alone, with fresh randomness seeded by ``key``.

        ``tries`` is how often one input may be examined in all: error probabilities are split among them.
        """


class OfClassifier:
    """What a target takes over from the classifier that it is made of."""

    __slots__ = ()
    classifier: Classifier

    @property
    def keeps(self) -> Property:
        """What an example breaks."""
        return self.classifier.keeps

    @property
    def digest(self) -> str:
        """SHA-256 of the classifier."""
        return self.classifier.digest

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.classifier.num_classes

    @property
    def input_box(self) -> tuple[float, float] | None:
        """Bounds of every feature, before any noise."""
        return self.classifier.input_box

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.classifier.device

    @property
    def differentiable(self) -> bool:
        """True where the classifier is a module."""
        return self.classifier.differentiable


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One search: inputs to be moved by at most a radius so that their class changes.

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
        chosen = rows.tolist()
        for row in chosen:
            self.passes[row] += self.target.passes
        scores = self.target.scores(z, [f"{self.keys[row]}:scores:{draw}" for row in chosen])
        if z.requires_grad and not scores.requires_grad:  # of steps and of integers the slope is 0, not unknown
            scores = scores + (0.0 * z).flatten(1).sum(1, keepdim=True)
        return scores

    def project(self, z: Tensor, rows: Tensor) -> Tensor:
        """``z``, points for ``rows``, brought into the threat."""
        return self.moves.project(self.x[rows], z, self.radius)

    def climb(self, z: Tensor, gradient: Tensor, share: float, rows: Tensor) -> Tensor:
        """A step from ``z``, points for ``rows``, along which a loss grows, a share of the radius long."""
        return self.moves.climb(self.x[rows], z, gradient, share, self.radius)

    def random_start(self, rows: Tensor, draw: str) -> Tensor:
        """A random point of the threat for each of ``rows``."""
        drawn = [
            self.moves.random(self.x[row][None], self.radius, keyed_generator(f"{self.keys[row]}:start:{draw}"))
            for row in rows.tolist()
        ]
        return torch.cat(drawn)


class Attack(Protocol):
    """A search. Nothing it returns is believed: :func:`~certify.attacks.run.run_attack` projects and examines it.

    An attack is a frozen dataclass of its settings, so that findings record them.
    """

    @property
    def name(self) -> str:
        """The registered name."""

    def settings(self) -> dict[str, Any]:
        """Steps, step size, restarts and the like, as plain values for JSON."""

    def check(self, target: Target, threat: Threat) -> None:
        """Raise, in one line, before any work, if this attack cannot run on this target or in this threat model."""

    def perturb(self, problem: Problem) -> Tensor:
        """The most promising point (B, ...) for each row; the row's input itself where there is none."""


def need_gradients(attack: str, target: Target) -> None:
    """Refuse a target without gradients.

    Raises:
        ModelError: naming the attack that needs none.
    """
    if not target.differentiable:
        raise ModelError(
            f"{attack} needs gradients, and a plain function has none: use hopskipjump, which asks for classes alone, "
            "or wrap an nn.Module"
        )


def need_top_class(attack: str, target: Target) -> None:
    """Refuse a target that is asked for a property which is no vote.

    Raises:
        BadInput: naming the attacks that know it.
    """
    if not target.keeps.votes:
        raise BadInput(f"{attack} looks for another top class, and {target.keeps.kind} is not about that: use pgd")


ATTACKS: Registry[Callable[..., Attack]] = Registry("attack", package="certify.attacks")
