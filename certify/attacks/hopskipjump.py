"""HopSkipJump, through the Adversarial Robustness Toolbox: an attack for models that have no gradients."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.attacks.base import ATTACKS, Attack, Search
from certify.attacks.target import Target
from certify.core.norms import NORMS, distance_up
from certify.core.properties.base import Property
from certify.core.threats.base import Threat
from certify.core.threats.lp import ThreatModel
from certify.core.values import whole
from certify.data.generators import keyed_seed
from certify.errors import BadInput, MissingExtra

__all__ = ["HopSkipJump"]

Array = NDArray[np.float32]

_WIDTHS: Final = (1.0, 4.0, 16.0, 64.0, 256.0)
"""Half-widths, in radii, of the boxes about an input in which a first point of another class is sought."""

_STEPS_BETWEEN_CHECKS: Final = 5
"""Steps of the walk after which its distance is compared with the radius."""

_BATCH: Final = 256
"""Points per forward pass."""


@ATTACKS.register("hopskipjump")
@dataclass(frozen=True, slots=True)
class HopSkipJump(Attack):
    """A walk along the decision boundary that only asks for classes (Chen, Jordan and Wainwright 2020).

    It works on any function of vectors, images or series: scikit-learn estimators, ONNX files that are executed,
    services that return labels. It searches in linf or l2; for l1 it walks in l2, which is weaker. Each input is
    attacked alone with a seed of its own, so that findings do not depend on the batch. A smoothed classifier shows the
    search one fixed draw of its noise; examples are examined on fresh noise as always.

    Args:
        steps: of the walk, at most; it ends as soon as a point lies within the radius.
        evaluations: classes asked for in the first estimate of a direction; later ones take more.
        starts: random points tried at each distance to find another class at all.

    Raises:
        BadInput: unless all are whole numbers of at least 1.
    """

    steps: int = 20
    evaluations: int = 100
    starts: int = 50
    name = "hopskipjump"
    follows_gradients = False
    limits = "looks for another top class, in balls of the three norms only"

    def __post_init__(self) -> None:
        for setting, value in asdict(self).items():
            if whole(f"hopskipjump's {setting}", value) < 1:
                raise BadInput(f"hopskipjump's {setting} must be at least 1, got {value}")

    @classmethod
    def knows(cls, norm: str) -> bool:
        """Balls."""
        return norm in NORMS

    @classmethod
    def handles(cls, property: type[Property]) -> bool:
        """What is answered as by a class."""
        return property.like_classes

    def check(self, target: Target, threat: Threat) -> None:
        """No target is refused: classes are all it asks for.

        Raises:
            MissingExtra: without the Adversarial Robustness Toolbox.
        """
        if importlib.util.find_spec("art") is None:
            raise MissingExtra("adversarial-robustness-toolbox", "blackbox", "the attack hopskipjump")

    def perturb(self, search: Search) -> Tensor:
        """Where the walk of each row ended, one row after the other; its input where no other class was found."""
        return torch.cat([self._perturb_row(search, row) for row in range(len(search.x))])

    def _perturb_row(self, search: Search, row: int) -> Tensor:
        from art.attacks.evasion import HopSkipJump as Walk
        from art.estimators.classification import BlackBoxClassifier

        space = _Space(search, row)
        generator = np.random.default_rng(keyed_seed(search.keys[row]))
        begun = self._start(space, generator)
        if begun is None:
            return search.x[row : row + 1]
        point, ends = begun
        with _seeded(int(generator.integers(2**32))):
            model = BlackBoxClassifier(space.decide, space.origin.shape, search.target.num_classes, clip_values=ends)
            walk = Walk(
                model,
                batch_size=_BATCH,
                norm="inf" if search.threat.norm == "linf" else 2,
                max_iter=_STEPS_BETWEEN_CHECKS,
                init_eval=self.evaluations,
                verbose=False,
            )
            for done in range(0, self.steps, _STEPS_BETWEEN_CHECKS):
                walk.max_iter = min(_STEPS_BETWEEN_CHECKS, self.steps - done)
                point = walk.generate(space.origin[None], x_adv_init=point[None].copy(), resume=done > 0)[0]
                if space.distance(point) <= search.radius:
                    break
        return space.points(point[None])

    def _start(self, space: _Space, generator: np.random.Generator) -> tuple[Array, tuple[Array, Array]] | None:
        """The nearest point of another class among random ones, and the box that it was drawn from."""
        for width in _WIDTHS:
            lower, upper = space.around(width)
            drawn = generator.uniform(lower, upper, (self.starts, *lower.shape)).astype(np.float32)
            drawn[::2] = np.where(generator.random(drawn[::2].shape) < 0.5, lower, upper)
            drawn = drawn.clip(lower, upper)
            other = drawn[space.decide(drawn).argmax(axis=1) != space.label]
            if len(other):
                return min(other, key=space.distance), (lower, upper)
        return None


class _Space:
    """The space that the library searches: the features of one row that may move, in multiples of the scale."""

    def __init__(self, search: Search, row: int) -> None:
        self.search, self.rows = search, torch.tensor([row], device=search.x.device)
        self.label = int(search.labels[row])
        self.whole = search.x[row].double().flatten().cpu()
        assert isinstance(search.threat, ThreatModel)  # it knows no other
        self.threat = search.threat
        scale = self.threat.scale
        weight = torch.ones_like(self.whole) if scale is None else torch.tensor(scale, dtype=torch.float64)
        self.free = weight > 0
        self.weight = weight[self.free]
        self.one_hot = np.eye(search.target.num_classes, dtype=np.float32)
        self.origin: Array = (self.whole[self.free] / self.weight).float().numpy()

    def points(self, moved: Array) -> Tensor:
        """Inputs (B, ...) of the target at vectors (B, d)."""
        flat = torch.from_numpy(moved)
        if self.threat.scale is not None:
            flat, given = self.whole.repeat(len(moved), 1), flat
            flat[:, self.free] = given.double() * self.weight
        return flat.to(self.search.x).reshape(len(moved), *self.search.x.shape[1:])

    def decide(self, moved: Array) -> Array:
        """The class at each vector as one-hot rows; scores that are not finite count as the label: nothing found."""
        with torch.no_grad():
            scores = self.search.scores(self.points(moved), self.rows.expand(len(moved)), "decision").cpu().numpy()
        classes = np.where(np.isfinite(scores).all(axis=1), scores.argmax(axis=1), self.label)
        return self.one_hot[classes]

    def around(self, width: float) -> tuple[Array, Array]:
        """Ends of the box ``width`` radii about the input, cut to the input box."""
        reach = width * self.search.radius
        lower, upper = self.origin - reach, self.origin + reach
        if self.search.threat.input_box is not None:
            shape = tuple(self.search.x.shape[1:])
            ends = self.search.threat.input_box.ends(shape)
            moved = (torch.from_numpy(end.flatten())[self.free] / self.weight for end in ends)
            low, high = (end.float().numpy() for end in moved)
            lower, upper = np.maximum(lower, low), np.minimum(upper, high)
        return lower.astype(np.float32), upper.astype(np.float32)

    def distance(self, point: Array) -> float:
        """From the input, in the search's norm."""
        return distance_up(self.origin, point, self.threat.norm)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, from which the library draws, and restore its state afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.random.seed(seed)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
