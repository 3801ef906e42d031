"""New inputs beside those of a run: which tests tell them apart, which features moved, which inputs are foreign.

Needs no torch. Formats and drawings register themselves in :data:`DATA_FORMATS` and under ``data`` in ``DRAWINGS``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.legible import many
from certify.core.rounding import brief_up
from certify.core.shown import DRAWINGS
from certify.errors import BadInput
from certify.registry import Registry
from certify.stats.simultaneous import holm
from certify.stats.two_sample import (
    PERMUTATIONS,
    classifier_test,
    conformal_p_values,
    discoveries,
    distances,
    mingled,
    nearest_distances,
)
from certify.summary.words import percent

__all__ = ["DATA_FORMATS", "DataComparison", "ForeignInput", "Moved", "Sample", "Tested", "compare_samples", "drawn"]

MOST_INPUTS: Final = 1000
"""Of each sample, drawn by a seed, in a test: permutations take time, and a thousand show what matters."""

MOST_FEATURES: Final = 1024
"""More than these are thinned evenly: neighbouring values of images and series say the same."""

SEED: Final = 20_261_130

FEWEST: Final = 8
"""Inputs of each sample."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Inputs and what is known of them.

    Args:
        name: what tables call them.
        x: the inputs (n, ...).
        index: the position of each in its data.
        margins: the lead of the first class over the second (n,), of the model; None where it names classes alone.
        radii: the certified radius, -1 where there is none; None where nothing was certified. Of margins and radii,
            only rows that :func:`drawn` gives are looked at.
    """

    name: str
    x: NDArray[Any]
    index: NDArray[np.int64]
    margins: NDArray[np.float64] | None = None
    radii: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Tested:
    """One test of "both samples are drawn alike".

    Args:
        test: what it looks at.
        p_value: never rounded down.
        moved: whether it is rejected, at the level that all tests share.
        said: what was found, in words.
    """

    test: str
    p_value: float
    moved: bool
    said: str


@dataclass(frozen=True, slots=True)
class Moved:
    """One feature.

    Args:
        feature: its place in an input, from 0.
        distance: Kolmogorov-Smirnov distance of the two samples.
        p_value: allows for all features.
        before, after: its mean in the run's inputs and in the new ones.
    """

    feature: str
    distance: float
    p_value: float
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class ForeignInput:
    """One new input.

    Args:
        index: its position in its data.
        score: its distance to the fifth nearest of half of the run's inputs, in units of their spread.
        p_value: the share of the other half that are as far, itself included.
        foreign: whether it is named as one that is not drawn as the run's inputs are.
    """

    index: int
    score: float
    p_value: float
    foreign: bool


@dataclass(frozen=True, slots=True, eq=False)
class DataComparison:
    """Whether new inputs look like those of a run.

    Args:
        head: run, model and both data by name.
        n, m: inputs of the run, and new ones.
        level: probability with which anything is said to have moved where all inputs are drawn alike.
        tests: what was looked at.
        features: those that moved, the farthest first.
        of: number of features that were looked at.
        inputs: the new ones, in their order.
        statement: what the verdict means, a sentence each.
        notes: what else a reader has to know.
        model_digest: of the model of the run.
    """

    head: Mapping[str, str]
    n: int
    m: int
    level: float
    tests: tuple[Tested, ...]
    features: tuple[Moved, ...]
    of: int
    inputs: tuple[ForeignInput, ...]
    statement: tuple[str, ...]
    notes: tuple[str, ...] = ()
    model_digest: str = ""

    @property
    def moved(self) -> bool:
        """Whether any test is rejected."""
        return any(one.moved for one in self.tests)

    @property
    def foreign(self) -> tuple[ForeignInput, ...]:
        """The inputs that are named, the farthest first."""
        return tuple(sorted((one for one in self.inputs if one.foreign), key=lambda one: -one.score))

    @property
    def verdict(self) -> str:
        """In one sentence."""
        if not self.moved:
            return "No test tells the new inputs from those of the run: this proves no likeness."
        named = ", ".join(one.test for one in self.tests if one.moved)
        return f"The new inputs are not drawn as those of the run were: {named}."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model_digest": self.model_digest,
            "verdict": "moved" if self.moved else "not told apart",
            "level": self.level,
            "n": self.n,
            "m": self.m,
            "tests": [asdict(one) for one in self.tests],
            "features": [asdict(one) for one in self.features],
            "features_examined": self.of,
            "foreign": len(self.foreign),
            "inputs": [asdict(one) for one in self.inputs],
            "head": dict(self.head),
            "statement": list(self.statement),
            "notes": list(self.notes),
        }

    def to_frame(self) -> Any:
        """The new inputs as a pandas DataFrame by position."""
        import pandas

        return pandas.DataFrame([asdict(one) for one in self.inputs]).set_index("index")

    def render(self, format: str) -> str:
        """As text in a registered format: ``table``, ``markdown``, ``html``, ``latex``, ``json``."""
        return DATA_FORMATS[format](self)

    def table(self) -> str:
        """As plain text."""
        return self.render("table")

    def plot(self, axes: Any = None) -> Any:
        """Draw how the p-values of the new inputs are spread; return the Axes.

        Raises:
            MissingExtra: without matplotlib.
        """
        return DRAWINGS["data"](self, axes)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return self.render("html")


DATA_FORMATS: Registry[Callable[[DataComparison], str]] = Registry("data format", package="certify.report")


def compare_samples(
    old: Sample, new: Sample, *, level: float = 0.05, head: Mapping[str, str] | None = None, notes: tuple[str, ...] = ()
) -> DataComparison:
    """Whether new inputs are drawn as those of a run were.

    Args:
        old, new: inputs of one shape.
        level: probability of a false alarm of all tests together; and the rate of false discoveries among inputs.
        head, notes: for tables.

    Raises:
        BadInput: for inputs of other shapes, fewer than 8 in a sample, or a level outside (0, 1).
    """
    if not sys.float_info.min <= level < 1:
        raise BadInput(f"level must lie strictly between 0 and 1, got {level}; 0.05 is usual")
    shape, other = old.x.shape[1:], new.x.shape[1:]
    if shape != other:
        raise BadInput(f"the run's inputs have the shape {shape}, those of {new.name} {other}: they cannot be compared")
    for one in (old, new):
        if len(one.x) < FEWEST:
            raise BadInput(f"{one.name} has {many(len(one.x), 'input')}; tests need at least {FEWEST} of each sample")
    size = int(np.prod(shape))
    places = np.unique(np.linspace(0, size - 1, min(size, MOST_FEATURES)).round().astype(np.int64))
    before, after = (one.x.reshape(len(one.x), -1)[:, places].astype(np.float64) for one in (old, new))
    first, second = drawn(len(before), 0), drawn(len(after), 1)
    by_feature = distances(before[first], after[second])
    found = [
        (
            "features",
            by_feature.overall,
            f"{sum(p <= level for p in by_feature.p_value):,} of {len(places):,} features moved, the farthest by "
            f"{by_feature.distance.max():.3f}",
        )
    ]
    for test, ours, theirs in (("margins", old.margins, new.margins), ("certified radii", old.radii, new.radii)):
        if ours is not None and theirs is not None:
            apart = distances(ours[first, None], theirs[second, None])
            medians = f"medians {_median(ours[first]):.4g} and {_median(theirs[second]):.4g}"
            found.append((test, apart.overall, f"distance {apart.distance[0]:.3f}, {medians}"))
    split = classifier_test(before[first], after[second])
    found.append(
        (
            "classifier",
            split.p_value,
            f"a linear classifier names the sample of {split.right:,} of {split.of:,} rightly, "
            f"{100 * split.chance:.0f} % by chance",
        )
    )
    rejected = holm([p for _, p, _ in found], level)
    tests = tuple(Tested(test, p, moved, said) for (test, p, said), moved in zip(found, rejected, strict=True))
    moved = [
        Moved(
            _place(int(places[column]), shape),
            float(by_feature.distance[column]),
            by_feature.p_value[column],
            float(before[:, column].mean()),
            float(after[:, column].mean()),
        )
        for column in np.argsort(-by_feature.distance, kind="stable").tolist()
        if tests[0].moved and by_feature.p_value[column] <= level
    ]
    if size > len(places):
        notes = (*notes, f"Of {size:,} features, {len(places):,} are looked at, evenly spaced.")
    if max(len(before), len(after)) > MOST_INPUTS:
        notes = (*notes, f"Tests look at {MOST_INPUTS:,} inputs of a larger sample, drawn by a seed.")
    together = math.ceil(len(new.x) / (level * (len(old.x) - len(old.x) // 2 + 1)))
    if together > 1:
        few = f"With {len(old.x):,} inputs of the run and {len(new.x):,} new ones"
        if together > len(new.x):
            notes = (*notes, f"{few}, no single input can be named as foreign, however far it is.")
        else:
            notes = (*notes, f"{few}, none is named as foreign before {together:,} are farther than the calibration.")
    return DataComparison(
        head={**(head or {}), "run": old.name, "new data": new.name},
        n=len(old.x),
        m=len(new.x),
        level=level,
        tests=tests,
        features=tuple(moved),
        of=len(places),
        inputs=_foreign(before, after, new.index, level),
        statement=_statement(level, len(before), len(tests)),
        notes=notes,
    )


def drawn(count: int, place: int) -> NDArray[np.int64]:
    """The rows of a sample that tests look at: of the run's (``place`` 0) or the new one (1)."""
    if count <= MOST_INPUTS:
        return np.arange(count)
    return np.sort(np.random.default_rng([SEED, place]).permutation(count)[:MOST_INPUTS])


def _median(values: NDArray[np.float64]) -> float:
    """One of the values: half the sum of two infinite ones may be no number."""
    return float(np.sort(values)[(len(values) - 1) // 2])


def _place(feature: int, shape: tuple[int, ...]) -> str:
    """Where a feature is in an input."""
    return ",".join(str(int(one)) for one in np.unravel_index(feature, shape))


def _foreign(
    old: NDArray[np.float64], new: NDArray[np.float64], index: NDArray[np.int64], rate: float
) -> tuple[ForeignInput, ...]:
    order = np.random.default_rng([SEED, len(old)]).permutation(len(old))
    reference, calibration = old[order[: len(old) // 2]], old[order[len(old) // 2 :]]
    together = mingled(len(calibration), len(new))
    found = np.empty(len(together))
    found[together] = nearest_distances(np.concatenate([calibration, new])[together], reference)
    scores = found[len(calibration) :]
    p_values = conformal_p_values(found[: len(calibration)], scores)
    named = discoveries(p_values, rate)
    return tuple(
        ForeignInput(int(position), float(score), p, yes)
        for position, score, p, yes in zip(index, scores, p_values, named, strict=True)
    )


def _statement(level: float, n: int, tests: int) -> tuple[str, ...]:
    return (
        f"If all inputs, the run's and the new ones, are exchangeable, as independent draws from one source are: the "
        f"probability that any test says that they moved is at most {brief_up(level)} ({many(tests, 'test')} after "
        "Holm; "
        f"features, margins and radii by {PERMUTATIONS} permutations, a feature's p-value allowing for all of them; "
        "the "
        "classifier by an exact count on the half that it was not fitted on). That no test says so proves no likeness.",
        f"Foreign inputs: where the new inputs are independent, of those that are named at most {percent(level)} are "
        "drawn as "
        "the run's inputs were, on average (conformal p-values against one half of the run's inputs, by distance to "
        "the "
        f"other half; Benjamini and Hochberg over the new inputs). A p-value is at least 1 in {n - n // 2 + 1:,}.",
    )
