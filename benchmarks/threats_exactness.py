"""Every certificate of a threat beside the truth, on networks and sets so small that all of it can be enumerated.

    python benchmarks/threats_exactness.py              # some minutes, one core; writes results/threats/exactness.md

A network with one hidden layer is piecewise linear: over a box of a few free features its margins are least at a vertex
where planes of kinks and faces of the box cross, and all of those are tried. Categories, subsets of kept positions and
patches on a model that tells two values apart are finite. Transforms have one parameter: their margins are looked at on
a fine grid, and a Lipschitz constant says how far they can fall between two points. What a transform does is written
down again here, in float64. Nothing below asks the code that certifies.
"""

from __future__ import annotations

import argparse
import itertools
import math
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import certify
from certify.bounds.rules.resample import Resample
from certify.bounds.tensors import Interval
from certify.core.certificate import CompleteEvidence
from certify.core.threats.base import THREATS
from certify.data.dataset import seeded_generator

Array = NDArray[np.float64]

OUT: Final = Path(__file__).parent.parent / "results" / "threats" / "exactness.md"

CLOSE: Final = 1e-5
"""A least margin nearer to 0 than this decides nothing: float32 weights and float64 sums differ by less."""

GRID: Final = 4001
"""Strengths of a transform that are looked at."""


@dataclass(frozen=True)
class Case:
    """What one certifier says about one input, beside the truth.

    Args:
        member, certifier: names.
        radius: certified; None for none.
        falsified: the distance of an example; None for none.
        truth: by declared radius, whether the answer holds within it; radii that are too close to tell are missing.
    """

    member: str
    certifier: str
    radius: float | None
    falsified: float | None
    truth: Mapping[float, bool]

    @property
    def wrong(self) -> bool:
        """Whether a claim contradicts the truth."""
        claimed = -1.0 if self.radius is None else self.radius
        example = math.inf if self.falsified is None else self.falsified
        return any(claimed >= radius if not holds else example <= radius for radius, holds in self.truth.items())

    @property
    def exact(self) -> bool:
        """Whether just what is true is certified."""
        claimed = -1.0 if self.radius is None else self.radius
        return all((claimed >= radius) == holds for radius, holds in self.truth.items())


def cases(member: str, made: Sequence[certify.Certificate], truths: Sequence[Mapping[float, bool]]) -> Iterator[Case]:
    """Certificates beside the truths about their inputs."""
    for one, truth in zip(made, truths, strict=True):
        evidence = one.evidence
        falsified = evidence.falsified if isinstance(evidence, CompleteEvidence) else None
        yield Case(member, one.method, one.radius, falsified, truth)


@dataclass(frozen=True)
class Tiny:
    """A network with one hidden layer of a few neurons, as matrices and as a classifier of inputs of a shape."""

    W: Array
    b: Array
    V: Array
    c: Array
    clf: certify.Classifier

    @classmethod
    def of(cls, rng: np.random.Generator, shape: tuple[int, ...], hidden: int = 5, classes: int = 3) -> Tiny:
        """Random weights in float32."""
        size = math.prod(shape)
        layers = nn.Sequential(nn.Flatten(), nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, classes))
        with torch.no_grad():
            for one in layers.parameters():
                one.copy_(torch.as_tensor(rng.normal(size=tuple(one.shape)) * 2 / max(1, one[0].numel()) ** 0.5))
        W, b, V, c = (one.detach().double().numpy() for one in layers.parameters())
        return cls(W, b, V, c, certify.Classifier(layers.eval(), num_classes=classes, input_box=(0.0, 1.0)))

    def margins(self, x: Array, kept: int) -> Array:
        """The least margin of a class over the others at flat inputs (n, d), (n,)."""
        scores = np.maximum(x @ self.W.T + self.b, 0) @ self.V.T + self.c
        return scores[:, kept] - np.delete(scores, kept, axis=1).max(axis=1)

    def steepness(self, kept: int) -> Array:
        """How fast the least margin can change with each input, (d,)."""
        rows = np.abs(np.delete(self.V[kept] - self.V, kept, axis=0))
        return (rows @ np.abs(self.W)).max(axis=0)

    def least(self, x: Array, free: Sequence[int], kept: int) -> float:
        """The least margin while some features take all values from 0 to 1: at a vertex of the arrangement of planes.

        A margin over one class is linear between the planes on which a hidden neuron is 0, so on each cell it is least
        at a vertex; the least over all classes is the least of them.
        """
        if not free:
            return float(self.margins(x[None], kept)[0])
        count = len(free)
        normals = np.concatenate([self.W[:, free], np.repeat(np.eye(count), 2, axis=0)])
        rest = self.b + self.W @ np.where(np.isin(np.arange(len(x)), free), 0.0, x)
        offsets = np.concatenate([-rest, np.tile([0.0, 1.0], count)])
        chosen = np.array(list(itertools.combinations(range(len(normals)), count)))
        A, right = normals[chosen], offsets[chosen]
        regular = np.abs(np.linalg.det(A)) > 1e-9
        z = np.linalg.solve(A[regular], right[regular][..., None])[..., 0]
        z = z[(np.abs(z - 0.5) <= 0.5 + 1e-9).all(axis=1)].clip(0, 1)
        points = np.repeat(x[None], len(z), axis=0)
        points[:, free] = z
        return float(self.margins(points, kept).min())


def told(least: Mapping[float, float]) -> dict[float, bool]:
    """Whether margins that are least at each radius hold, where they are not too close to 0 to tell."""
    return {radius: margin > 0 for radius, margin in least.items() if abs(margin) > CLOSE}


def network_cases(
    member: str, tiny: Tiny, x: Array, threat: certify.Threat, sets: Callable[[int], Sequence[Sequence[int]]]
) -> Iterator[Case]:
    """Bounds and complete verification beside the least margin over each set of features that may be free."""
    flat = x.reshape(len(x), -1)
    images = torch.as_tensor(x, dtype=torch.float32)
    labels = tiny.clf.predict(images).tolist()
    truths = []
    for one, kept in zip(flat, labels, strict=True):
        least = {r: min(tiny.least(one, free, kept) for free in sets(int(r))) for r in threat.radii}
        truths.append(told(least))
    for certifier in ("ibp", "crown", "alpha-crown", certify.Complete(decide=True, timeout=30.0)):
        made = certify.certify(tiny.clf, images, labels, threat=threat, certifier=certifier)
        yield from cases(member, made, truths)


def drawn(rng: np.random.Generator, tiny: Tiny, shape: tuple[int, ...], shares: Sequence[float]) -> Array:
    """Inputs from 0 to 1 with margins of all sizes: of 40, those that are larger than some shares of all."""
    x = rng.random((40, *shape), dtype=np.float32).astype(np.float64)
    kept = tiny.clf.predict(torch.as_tensor(x, dtype=torch.float32)).tolist()
    sizes = [float(tiny.margins(one.reshape(1, -1), label)[0]) for one, label in zip(x, kept, strict=True)]
    return x[np.argsort(sizes)[[int(share * len(x)) for share in shares]]]


def features(rng: np.random.Generator) -> Iterator[Case]:
    """Up to 3 of 5 features free; or 2 groups of 3, beside a feature that never changes."""
    tiny = Tiny.of(rng, (5,))
    x = drawn(rng, tiny, (5,), (0.3, 0.95))
    yield from network_cases(
        "features", tiny, x, certify.Features((0, 1, 2, 3)), lambda k: [*itertools.combinations(range(5), k)]
    )
    groups = ((0, 1), (2,), (3,))
    yield from network_cases(
        "features in groups",
        tiny,
        x,
        certify.Features((0, 1, 2), groups="0:2,2,3"),
        lambda k: [sum(some, ()) for some in itertools.combinations(groups, k)],
    )


def patch(rng: np.random.Generator) -> Iterator[Case]:
    """Patches of side 1 and 2 in images of 3 x 4 pixels."""

    def places(side: int) -> list[list[int]]:
        corners = itertools.product(range(4 - side), range(5 - side))
        return [[4 * (i + a) + j + b for a in range(side) for b in range(side)] for i, j in corners]

    shape = (1, 3, 4)
    tiny = Tiny.of(rng, shape, hidden=4)
    yield from network_cases("patch", tiny, drawn(rng, tiny, shape, (0.6, 0.95)), certify.Patch((0, 1, 2)), places)


def categories(rng: np.random.Generator) -> Iterator[Case]:
    """Three categorical inputs of 3, 2 and 3 categories: all 18 patterns."""
    tiny, groups = Tiny.of(rng, (8,), hidden=8), (range(3), range(3, 5), range(5, 8))
    patterns = np.array([[float(i in one) for i in range(8)] for one in itertools.product(*groups)])
    x = patterns[rng.choice(len(patterns), 3, replace=False)]
    changed = (np.abs(x[:, None] - patterns).sum(axis=2) / 2).round()
    images, threat = torch.as_tensor(x, dtype=torch.float32), certify.Categories((0, 1, 2, 3), groups="0:3,3:5,5:8")
    labels = tiny.clf.predict(images).tolist()
    truths = []
    for moved, kept in zip(changed, labels, strict=True):
        margins = tiny.margins(patterns, kept)
        truths.append(told({r: float(margins[moved <= r].min()) for r in threat.radii}))
    for certifier in ("ibp", "crown", "alpha-crown", certify.Complete(decide=True, timeout=30.0)):
        made = certify.certify(tiny.clf, images, labels, threat=threat, certifier=certifier)
        yield from cases("categories", made, truths)


class Telling:
    """A function that tells hidden, low and high features apart: all it can be shown is finite."""

    def __init__(self, rng: np.random.Generator, size: int, classes: int = 2) -> None:
        weights = rng.normal(size=(3, size, classes))
        weights[0] *= 0.1  # what is hidden says little, so that there are majorities
        weights[1, :, 0] += 0.8
        self.weights = torch.as_tensor(weights)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The classes of inputs."""
        flat = x.flatten(1)
        kinds = torch.stack([flat < 0, (flat >= 0) & (flat <= 0.5), flat > 0.5]).double()
        return torch.einsum("kbi,kic->bc", kinds, self.weights).argmax(dim=1)


def ablation(rng: np.random.Generator) -> Iterator[Case]:
    """The vote over all subsets of 1 or 2 of 8 positions, for all inputs of two values, beside counts and samples."""
    size, model = 8, Telling(rng, 8)
    clf = certify.Classifier(model, num_classes=2, input_box=(0.0, 1.0))
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=size)))
    for retention, radii in ((1, (0, 1, 2, 3)), (2, (0, 1))):
        subsets = list(itertools.combinations(range(size), retention))
        keep = torch.tensor([[i in some for i in range(size)] for some in subsets])
        votes = torch.stack([model(torch.where(keep, one, -1.0)).bincount(minlength=2) for one in every]).numpy()
        chosen = rng.choice(len(every), 2, replace=False)
        x, labels = every[chosen], votes[chosen].argmax(axis=1).tolist()
        threat, truths = certify.Features(radii), []
        for one, own in zip(x, labels, strict=True):
            lead, apart = votes[:, own] - votes[:, 1 - own], (every != one).sum(dim=1).numpy()
            truths.append({radius: bool((lead[apart <= radius] > 0).all()) for radius in threat.radii})
        how = {"retention": retention, "null": -1.0}
        counted = certify.certify(clf, x, labels, threat=threat, certifier=certify.Enumeration(**how))
        yield from cases("ablation", counted, truths)
        yield from cases(
            "ablation", certify.smooth(clf, x, labels, threat=threat, noise="ablation", n=4000, **how), truths
        )


def defended(rng: np.random.Generator) -> Iterator[Case]:
    """The answers of both defences at every image of two values that a patch can make of one of 3 x 5 pixels."""
    shape, threat = (1, 3, 5), certify.Patch((0, 1, 2))
    clf = certify.Classifier(Telling(rng, 15), num_classes=2, input_box=(0.0, 1.0))
    x = torch.as_tensor(rng.integers(0, 2, size=(1, *shape)), dtype=torch.float32)
    for certifier in (
        certify.Derandomized(size=1, null=-1.0),
        certify.Derandomized(size=1, ablation="block", null=-1.0),
        certify.Masking(masks=4, side=2, null=-1.0),
    ):
        kept = certifier.predict(clf, x)
        truth = {0.0: kept[0] >= 0}
        for side in (1, 2):
            patched = torch.cat([*_patched(x[0], side)])
            truth[float(side)] = truth[side - 1.0] and set(certifier.predict(clf, patched)) == set(kept)
        made = certify.certify(clf, x, kept, threat=threat, certifier=certifier)
        yield from cases("patch, defended", made, [truth])


def _patched(x: torch.Tensor, side: int) -> Iterator[torch.Tensor]:
    """An image with every patch of two values, place by place."""
    _, height, width = x.shape
    squares = torch.tensor(list(itertools.product((0.0, 1.0), repeat=side * side))).reshape(-1, 1, side, side)
    for top, left in itertools.product(range(height - side + 1), range(width - side + 1)):
        some = x.repeat(len(squares), 1, 1, 1)
        some[:, :, top : top + side, left : left + side] = squares
        yield some


def interpolated(image: Array, u: Array, v: Array) -> Array:
    """An image (H, W) read at places of any shape, counted from its first pixel; zeros outside."""
    height, width = image.shape
    found = np.zeros(np.broadcast_shapes(u.shape, v.shape))
    for i in range(height):
        for j in range(width):
            found += image[i, j] * np.maximum(0, 1 - np.abs(v - i)) * np.maximum(0, 1 - np.abs(u - j))
    return found


def _warped(x: Array, s: Array, places: Callable[[Array, Array, Array], tuple[Array, Array]]) -> Array:
    height, width = x.shape
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in (height, width))
    u, v = places(columns[None, None, :], rows[None, :, None], s[:, None, None])
    return interpolated(x, u + (width - 1) / 2, v + (height - 1) / 2)


def _turned(u: Array, v: Array, s: Array) -> tuple[Array, Array]:
    a = np.deg2rad(s)
    return np.cos(a) * u - np.sin(a) * v, np.sin(a) * u + np.cos(a) * v


def _blurred(x: Array) -> Array:
    rows, columns = (np.exp(-(np.subtract.outer(np.arange(n), np.arange(n)) ** 2) / 2) for n in x.shape)
    mixed: Array = (rows / rows.sum(axis=1, keepdims=True)) @ x @ (columns / columns.sum(axis=1, keepdims=True)).T
    return mixed


def _noise(shape: tuple[int, ...]) -> Array:
    return np.random.Generator(np.random.Philox(0)).standard_normal(shape, dtype=np.float32).astype(np.float64)


@dataclass(frozen=True)
class Changed:
    """A transform written down again.

    Args:
        strength: the largest that is declared.
        made: of an image (H, W), and strengths (n,), the images (n, H, W).
        slope: how fast each pixel can change with the strength, up to the largest.
    """

    strength: float
    made: Callable[[Array, Array], Array]
    slope: Callable[[Array], Array | float]


def _jump(x: Array) -> float:
    """The largest difference of neighbouring pixels, zeros outside included: the slope of an interpolation."""
    padded = np.pad(x, 1)
    return float(max(np.abs(np.diff(padded, axis=axis)).max() for axis in (0, 1)))


def _far(x: Array) -> Array:
    """The distance of each pixel from the middle, (H, W)."""
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in x.shape)
    return np.hypot(*np.meshgrid(rows, columns, indexing="ij"))


def _cut(x: Array) -> Array:
    return x.clip(0, 1)


def _dim(x: Array) -> Array:
    return np.maximum(x, 2.0**-10)


TRANSFORMS: Final[Mapping[str, Changed]] = {
    "rotation": Changed(
        60.0,
        lambda x, s: _warped(x, s, _turned),
        lambda x: math.sqrt(2) * _jump(x) * _far(x) * math.pi / 180,
    ),
    "scaling": Changed(
        0.5,
        lambda x, s: _warped(x, s, lambda u, v, t: ((1 + t) * u, (1 + t) * v)),
        lambda x: math.sqrt(2) * _jump(x) * _far(x),
    ),
    "shear": Changed(
        0.8,
        lambda x, s: _warped(x, s, lambda u, v, t: (u + t * v, v + 0 * t)),
        lambda x: _jump(x) * _far(x),
    ),
    "time-shift": Changed(2.0, lambda x, s: _warped(x, s, lambda u, v, t: (u + t, v + 0 * t)), _jump),
    "brightness": Changed(0.5, lambda x, s: _cut(x + s[:, None, None]), lambda x: 1.0),
    "contrast": Changed(0.9, lambda x, s: _cut(0.5 + (1 + s[:, None, None]) * (x - 0.5)), lambda x: np.abs(x - 0.5)),
    "gain": Changed(0.8, lambda x, s: x * np.exp(s[:, None, None]), lambda x: x * math.exp(0.8)),
    "fade": Changed(0.9, lambda x, s: x + s[:, None, None] * (1 - x), lambda x: 1 - x),
    "gamma": Changed(
        0.8,
        lambda x, s: x * _dim(x) ** s[:, None, None],
        lambda x: x * _dim(x) ** -0.8 * np.abs(np.log(_dim(x))),
    ),
    "blur": Changed(1.0, lambda x, s: x + s[:, None, None] * (_blurred(x) - x), lambda x: np.abs(_blurred(x) - x)),
    "noise-floor": Changed(
        0.5, lambda x, s: _cut(x + s[:, None, None] * _noise(x.shape)), lambda x: np.abs(_noise(x.shape))
    ),
}
"""Of one parameter; translations and products have two or more, and tests of their own."""


def transform(name: str, rng: np.random.Generator) -> Iterator[Case]:
    """One transform of images of 4 x 4 pixels, or of series of 6 samples."""
    known, series = TRANSFORMS[name], name == "time-shift"
    shape = (1, 6) if series else (1, 4, 4)
    tiny = Tiny.of(rng, shape)
    x = drawn(rng, tiny, shape, (0.05, 0.3))
    images = torch.as_tensor(x, dtype=torch.float32)
    labels = tiny.clf.predict(images).tolist()
    threat = THREATS[name](tuple(known.strength * share for share in (0.1, 0.3, 1.0)))
    least = 0.0 if name in ("fade", "blur") else -known.strength
    grid = np.linspace(least, known.strength, GRID)
    truths = []
    for one, kept in zip(x.reshape(len(x), *(shape if series else shape[1:])), labels, strict=True):
        margins = tiny.margins(known.made(one, grid).reshape(GRID, -1), kept)
        fall = float(tiny.steepness(kept) @ np.broadcast_to(known.slope(one), one.shape).flatten())
        between = fall * (grid[1] - grid[0]) / 2
        truth = {}
        for radius in threat.radii:
            lowest = float(margins[np.abs(grid) <= radius].min())
            beyond = fall * (grid[1] - grid[0])  # the last point inside may lie up to a step before the radius
            if lowest < -CLOSE or lowest - max(between, beyond) > CLOSE:
                truth[radius] = lowest > 0
        truths.append(truth)
    for certifier in ("crown", certify.Complete(decide=True, timeout=30.0)):
        made = certify.certify(tiny.clf, images, labels, threat=threat, certifier=certifier)
        yield from cases(name, made, truths)


class Reading(nn.Module):
    """Class 0 where a weighted sum of the features is above a number."""

    def __init__(self, weights: Array, above: float) -> None:
        super().__init__()
        self.flat, self.last = nn.Flatten(), nn.Linear(weights.size, 2)
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.weight[0].copy_(torch.as_tensor(weights.flatten()))
            self.last.bias.copy_(torch.tensor([-above, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores."""
        scores: torch.Tensor = self.last(self.flat(x))
        return scores


def _one(shape: tuple[int, ...], *place: int) -> Array:
    weights = np.zeros(shape)
    weights[place] = 1.0
    return weights


RAMP: Final = np.tile(np.arange(7) / 8, (7, 1))[None]
"""An image that grows along its columns by 1/8 a pixel."""

DOT: Final = _one((1, 5, 5), 0, 2, 2)

PLANTED: Final[Sequence[tuple[str, Mapping[str, Any], Array, Array, float, float]]] = (
    ("brightness", {}, np.full((1, 2, 2), 0.5), np.ones((1, 2, 2)), 1.2, 0.2),
    ("contrast", {}, np.full((1, 1, 1), 0.9), np.ones((1, 1, 1)), 0.7, 0.5),
    ("gain", {}, np.full((1, 1, 1), 0.8), np.ones((1, 1, 1)), 0.8 * math.exp(-0.5), 0.5),
    ("fade", {"towards": 0.0}, np.full((1, 1, 1), 0.8), np.ones((1, 1, 1)), 0.4, 0.5),
    ("gamma", {}, np.full((1, 1, 1), 0.25), np.ones((1, 1, 1)), 0.125, 0.5),
    ("blur", {}, DOT, DOT, (1 + _blurred(DOT[0])[2, 2]) / 2, 0.5),
    (
        "noise-floor",
        {},
        np.full((1, 1), 0.5),
        np.sign(_noise((1, 1))),
        float(np.sign(_noise((1, 1)))[0, 0] * 0.5 - 0.2 * abs(_noise((1, 1))[0, 0])),
        0.2,
    ),
    ("time-shift", {}, RAMP[:, 0], -_one((1, 7), 0, 2), -(2 + 1.5) / 8, 1.5),
    ("translation", {}, RAMP, -_one((1, 7, 7), 0, 3, 3), -(3 + 1.5) / 8, 1.5),
    ("scaling", {}, RAMP, -_one((1, 7, 7), 0, 3, 5), -(3 + 2 * 1.25) / 8, 0.25),
    ("shear", {}, RAMP, -_one((1, 7, 7), 0, 5, 3), -(3 + 2 * 0.5) / 8, 0.5),
    ("rotation", {}, RAMP, _one((1, 7, 7), 0, 3, 5), (3 + 2 * math.cos(math.pi / 3)) / 8, 60.0),
)
"""A transform, its settings, an input, weights, a number to which their sum falls, and the strength where it does."""


def planted(names: Container[str] | None = None) -> Iterator[Case]:
    """Models whose true radius is known in closed form, for some threats or all."""
    complete = certify.Complete(decide=True, timeout=30.0)
    for threat, x, weights, above, true in (
        (certify.Features((0, 1, 2, 3, 4)), np.ones(6), np.ones(6), 3.5, 2),
        (
            certify.Categories((0, 1, 2, 3), groups="0:2,2:4,4:6,6:8"),
            np.tile([1.0, 0], 4),
            np.tile([1.0, 0], 4),
            1.5,
            2,
        ),
        (certify.Patch((0, 1, 2, 3, 4)), np.ones((1, 5, 5)), np.ones((1, 5, 5)), 25 - 4.5, 2),
    ):
        if names is not None and threat.kind not in names:
            continue
        clf = certify.Classifier(Reading(weights, above).eval(), num_classes=2, input_box=(0.0, 1.0))
        made = certify.certify(
            clf, torch.as_tensor(x[None], dtype=torch.float32), [0], threat=threat, certifier=complete
        )
        yield from cases(f"planted: {threat.kind}", made, [{radius: radius <= true for radius in threat.radii}])
    for name, settings, x, weights, above, true in PLANTED:
        if names is not None and name not in names:
            continue
        clf = certify.Classifier(Reading(weights, above).eval(), num_classes=2, input_box=(0.0, 1.0))
        threat = THREATS[name]((0.98 * true, 1.02 * true), **settings)
        made = certify.certify(
            clf, torch.as_tensor(x[None], dtype=torch.float32), [0], threat=threat, certifier=complete
        )
        truth = {0.98 * true: True, 1.02 * true: False}
        yield from cases(f"planted: {name}", made, [{radius: truth[radius] for radius in threat.radii}])


MEMBERS: Final[Mapping[str, Callable[[np.random.Generator], Iterator[Case]]]] = {
    "features": features,
    "patch": patch,
    "categories": categories,
    "ablation": ablation,
    "patch, defended": defended,
    **{name: lambda rng, name=name: transform(name, rng) for name in TRANSFORMS},  # type: ignore[misc]
}
"""What is enumerated, each for one random network. A new threat adds a line."""


def resampled(cells: int, points: int, seed: int = 0) -> Counter[str]:
    """Random cells of places in and around images, and how many points of them lie outside their bounds and planes.

    Cells are of all widths, some about a pixel; they cross lines of pixels and the border. Points are random ones, the
    corners, and the crossings of lines of pixels, read by the definition.
    """
    rng, found = seeded_generator("resampled", seed), Counter[str]()
    height, width = 4, 5
    for padding in ("zeros", "border"):
        image = rng.normal(size=(1, height, width))
        batch = cells // 2 // (height * width)
        ends = np.array([width - 1, height - 1]).reshape(2, 1, 1, 1, 1)
        middle = rng.random((2, batch, 1, height, width)) * ends
        far, whole = (rng.random((batch, 1, height, width)) < share for share in (0.4, 0.2))
        middle = np.where(far, 2 * middle - ends / 2, middle)
        middle = np.where(whole, middle.round(), middle)
        reach = 10 ** rng.uniform(-4, 0.5, size=middle.shape) * np.where(far, 1, 0.3)
        (left, top), (right, bottom) = middle - reach, middle + reach
        u, v = (Interval(*(torch.as_tensor(end) for end in ends)) for ends in ((left, right), (top, bottom)))
        still = torch.as_tensor(image).expand(batch, -1, -1, -1)
        operator, fixed = Resample(padding), Interval(still, still)
        box, planes = operator.interval(fixed, u, v, outward=True), operator.relax(fixed, u, v)
        share = rng.random((2, points, 1, 1, 1, 1))
        share[:, : points // 4] = share[:, : points // 4].round()
        at_u, at_v = left + share[0] * (right - left), top + share[1] * (bottom - top)
        lines = slice(points // 4, points // 2)
        at_u[lines], at_v[lines] = at_u[lines].round().clip(left, right), at_v[lines].round().clip(top, bottom)
        if padding == "zeros":
            value = interpolated(image[0], at_u, at_v)
        else:
            value = interpolated(image[0], at_u.clip(0, width - 1), at_v.clip(0, height - 1))
        slack = 1e-12
        outside = (value < box.lower.numpy() - slack) | (value > box.upper.numpy() + slack)
        for slopes, offset, sign in (
            (planes.lower_slopes, planes.lower_offset, 1),
            (planes.upper_slopes, planes.upper_offset, -1),
        ):
            assert offset is not None
            plane = slopes[1].numpy() * at_u + slopes[2].numpy() * at_v + offset.numpy()
            outside |= sign * (value - plane) < -slack
        crossed = (np.floor(left) < np.floor(right)) | (np.floor(top) < np.floor(bottom))
        edge = (left < 0) | (top < 0) | (right > width - 1) | (bottom > height - 1)
        for kind, mask in (("inside a pixel", ~crossed & ~edge), ("across pixels", crossed & ~edge), ("border", edge)):
            found[f"{kind}: cells"] += int(mask.sum())
            found[f"{kind}: points"] += int(mask.sum()) * points
            found[f"{kind}: violations"] += int((outside & mask).sum())
    return found


HEAD: Final = ["member", "certifier", "inputs", "statements", "certified", "falsified", "violations", "exact %"]


WHAT: Final = "cells", "points", "violations"


def lines(found: Sequence[Case]) -> Iterator[list[str]]:
    """A row for each member and certifier."""
    groups = defaultdict(list)
    for one in found:
        groups[one.member, one.certifier].append(one)
    for (member, certifier), some in groups.items():
        claims = sum(one.radius is not None and one.radius > 0 for one in some)
        examples = sum(one.falsified is not None for one in some)
        exact = 100 * sum(one.exact for one in some) / len(some)
        counts = len(some), sum(len(one.truth) for one in some), claims, examples, sum(one.wrong for one in some)
        yield [member, certifier, *(f"{count:,}" for count in counts), f"{exact:.0f}"]


ABOUT: Final = """Violations are certificates of radii within which the answer changes, and examples within radii in
which it does not. `inputs`: each with the statements that the truth decides, one for each declared radius; where a
margin comes within 1e-5 of 0, or the grid leaves open what is between its points, nothing is said. `certified`: a
radius above 0. `exact`: inputs of which just what is true was certified; what is incomplete certifies less. Ablation,
and the defended models against patches, are certified for every model that votes so, so that less is certified than is
true of the one at hand; the sampled certificates may be wrong with probability 0.001 each. Planted models have a radius
that is known in closed form, declared 2 % below and above it; counted radii are declared around it.

Substitutions of words are finite sets, too: their enumeration is part of the tests of that threat."""

CELLS: Final = """## Images read at places of a cell

The operator `resample` bounds the value of an interpolated image over all places of a cell, by an interval and by two
planes. Random cells, from 0.0001 to 3 pixels to either side, in and around random images of 4 x 5 pixels, with zeros or
the nearest pixel outside; their corners, crossings of the lines of pixels, and random points."""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=12, help="for each member")
    parser.add_argument("--points", type=int, default=1_000_000, help="of resampled images")
    asked = parser.parse_args()
    certify.tune_process()
    torch.set_num_threads(1)
    begin, found = time.process_time(), list(planted())
    for name, member in MEMBERS.items():
        for number in range(asked.networks):
            found += member(seeded_generator("exactness", name, number))
        print(name, f"{time.process_time() - begin:.0f} s", flush=True)
    rows, told_of = list(lines(found)), sum(len(one.truth) for one in found)
    counted = resampled(asked.points // 50, 50)
    made = f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one core"
    kinds = sorted({name.split(":")[0] for name in counted})
    page = [
        "# Threats beside enumeration",
        "",
        f"`python benchmarks/threats_exactness.py --networks {asked.networks} --points {asked.points}`, {made},",
        f"{time.strftime('%d %B %Y')}, {time.process_time() - begin:.0f} s of the processor. In all",
        f"{len(found):,} inputs and {told_of:,} statements: {sum(one.wrong for one in found)} violations.",
        "",
        ABOUT,
        "",
        "| " + " | ".join(HEAD) + " |",
        "|---" * len(HEAD) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        CELLS,
        "",
        "| cells | number | points | outside their bounds |",
        "|---|---|---|---|",
        *(f"| {kind} | " + " | ".join(f"{counted[f'{kind}: {what}']:,}" for what in WHAT) + " |" for kind in kinds),
    ]
    OUT.write_text("\n".join(page) + "\n")
    if any(one.wrong for one in found) or any(counted[f"{kind}: violations"] for kind in kinds):
        raise SystemExit("a claim contradicts the truth")


if __name__ == "__main__":
    main()
