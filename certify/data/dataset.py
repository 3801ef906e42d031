"""Labelled inputs in raw units, with the digests that pin them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify.core.digests import about, data_digest
from certify.core.input_box import BoxLike, check_box
from certify.core.properties.base import Property
from certify.core.runs import map_text
from certify.errors import BadInput, DataError

__all__ = [
    "Dataset",
    "as_positions",
    "from_arrays",
    "input_digest",
    "label_maps",
    "label_sets",
    "seeded_generator",
    "to_float32",
]


def input_digest(x: NDArray[np.floating]) -> str:
    """SHA-256 of one input: its shape and its values as little-endian float32.

    >>> input_digest(np.zeros(3))[:12]
    'b99f303254ab'
    """
    values = np.ascontiguousarray(x, dtype="<f4")
    return hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()


def seeded_generator(*key: Any) -> np.random.Generator:
    """A numpy generator seeded by a hash of ``key``: the same stream on every machine, whatever was drawn before."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def to_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """The values as float32, which is what models see and claims are about.

    Raises:
        DataError: if rounding would move them by more than a hundred-thousandth of their range: such data lose what
            tells them apart.

    >>> to_float32(np.array([0.1, 0.2])).dtype
    dtype('float32')
    """
    rounded = np.ascontiguousarray(values, dtype=np.float32)
    if rounded.dtype != values.dtype and rounded.size and np.isfinite(rounded).all():
        moved, spread = float(np.abs(rounded.astype(np.float64) - values).max()), float(values.max() - values.min())
        if spread > 0 and moved > 1e-5 * spread:
            raise DataError(
                f"float32 cannot hold these inputs: it moves them by {moved:g} in a range from {rounded.min():g} to "
                f"{rounded.max():g}; subtract an offset or rescale them"
            )
    return rounded


def as_positions(index: Any, count: int) -> NDArray[np.int64]:
    """Positions of ``count`` inputs in their data set; ``0..count-1`` if ``index`` is None.

    Raises:
        DataError: unless they are ``count`` different integers >= 0.

    >>> as_positions(None, 2), as_positions([7, 3], 2)
    (array([0, 1]), array([7, 3]))
    """
    if index is None:
        return np.arange(count)
    try:
        values = np.asarray(index)
        positions = values.astype(np.int64)
    except (TypeError, ValueError, OverflowError) as problem:
        raise DataError(f"index must be {count} different integers >= 0, one an input") from problem
    if positions.shape != (count,) or not np.issubdtype(values.dtype, np.integer):
        raise DataError(
            f"index must be {count} different integers >= 0, one an input, got {values.dtype} of shape {values.shape}"
        )
    if int(positions.min()) < 0 or len(np.unique(positions)) < count:
        raise DataError(f"index must be {count} different integers >= 0, one an input; some repeat or are negative")
    return positions


def label_sets(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Rows (n, L) that say of each of L labels whether an input has it, each as the number with these binary digits.

    Raises:
        DataError: for anything but 0 and 1, or more than 16 labels.

    >>> label_sets(np.array([[1, 0, 1], [0, 1, 0]]))
    array([5, 2])
    """
    if rows.dtype.kind not in "bui" or not np.isin(rows, (0, 1)).all() or not 2 <= rows.shape[1] <= 16:
        raise DataError(f"rows of labels hold 0 or 1 for each of 2 to 16 labels, got {rows.dtype} of {rows.shape}")
    return np.asarray(rows.astype(np.int64) @ (1 << np.arange(rows.shape[1], dtype=np.int64)), dtype=np.int64)


def label_maps(name: str, maps: NDArray[Any]) -> NDArray[np.object_]:
    """Label maps (n, H, W) of images as texts, see :func:`~certify.core.runs.map_text`.

    Raises:
        DataError: for one that does not hold whole numbers from 0; ``name`` is what the message calls the data.

    >>> label_maps("two", np.array([[[0, 1]], [[2, 2]]])).tolist()
    ['1x2 0 1', '1x2 2*2']
    """
    texts = np.empty(len(maps), dtype=object)
    for place, one in enumerate(maps):
        try:
            texts[place] = map_text(one)
        except BadInput as problem:
            raise DataError(f"{name}: label map {place}: {problem}") from problem
    return texts


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Inputs (n, ...) as float32 and labels (n,) as int64, in raw units.

    Args:
        name: what reports call it.
        x: the inputs.
        y: the labels; or the true values (n,) of a regression, floats, which become :attr:`targets`; or rows (n, L) of
            0 and 1 that say which of L labels an input has, which become numbers, see :func:`label_sets`; or label maps
            (n, H, W) of images, which become the texts in :attr:`targets`.
        num_classes: number of classes, or of labels; the largest label plus one if not given.
        input_box: declared (lower, upper) bound of every feature: two numbers, or two arrays with one number for each.
        index: each input's position in the full data set; ``0..n-1`` unless this is a subset.
        targets: the true values of a regression, float64, or the label maps of images as
            :func:`~certify.core.runs.map_text` writes them; the labels are then 0. None for classes.
        several: whether the numbers in ``y`` stand for several labels an input.
        drawn_from: size of the data set that :meth:`subset` drew these inputs from at random; None for all other
            data, however their ``index`` was chosen. It cannot be given: whoever chose the inputs is not believed.
        drawn_seed: the seed of that draw, by which anybody can make it again; None as above.
        fold: (i, K) where these are the i-th of K folds, or drawn from it; see
            :func:`~certify.training.folds.fold_of`. It cannot be given.

    Raises:
        DataError: for NaN or infinity, values outside the box, labels out of range, positions that repeat, or shapes
            that do not fit.

    >>> points = Dataset("two points", np.zeros((2, 3)), np.array([0, 1]), num_classes=2)
    >>> points.subset(1, seed=0).drawn_from, points.drawn_from
    (2, None)
    """

    name: str
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    num_classes: int
    input_box: BoxLike = (0.0, 1.0)
    index: NDArray[np.int64] | None = None
    targets: NDArray[np.float64] | NDArray[np.object_] | None = None
    several: bool = False
    drawn_from: int | None = field(default=None, init=False)
    drawn_seed: int | None = field(default=None, init=False)
    fold: tuple[int, int] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        x = to_float32(np.asarray(self.x))
        raw = np.asarray(self.y)
        if x.ndim < 2 or x.size == 0:
            raise DataError(f"{self.name}: inputs must have shape (n, ...) and not be empty, got {x.shape}")
        if raw.shape == (len(x),) and np.issubdtype(raw.dtype, np.floating):
            if not np.isfinite(raw).all():
                raise DataError(f"{self.name}: a true value is NaN or infinite; clean the data")
            object.__setattr__(self, "targets", raw.astype(np.float64))
            object.__setattr__(self, "num_classes", 1)
            raw = np.zeros(len(x), dtype=np.int64)
        if raw.ndim == 3 and len(raw) == len(x):
            object.__setattr__(self, "targets", label_maps(self.name, raw))
            raw = np.zeros(len(x), dtype=np.int64)
        if raw.ndim == 2 and len(raw) == len(x):
            object.__setattr__(self, "num_classes", raw.shape[1])
            object.__setattr__(self, "several", True)
            raw = label_sets(raw)
        if raw.shape != (len(x),) or not np.issubdtype(raw.dtype, np.integer):
            raise DataError(f"{self.name}: labels must be {len(x)} integers, got {raw.dtype} of shape {raw.shape}")
        bad = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(axis=1))
        if bad.size:
            raise DataError(
                f"{self.name}: input {bad[0]} contains NaN or infinity ({bad.size} such inputs); clean the data"
            )
        box = check_box(self.input_box)
        object.__setattr__(self, "input_box", box)
        if box is not None and (fault := box.fault(x)):
            raise DataError(
                f"{self.name}: {fault}; rescale them, declare their box, or leave their normalization to the "
                "Classifier (mean, std)"
            )
        most = 2**self.num_classes if self.several else min(self.num_classes, 2**31)
        wrong = np.flatnonzero((raw < 0) | (raw >= most))
        if wrong.size:
            raise DataError(
                f"{self.name}: label {raw[wrong[0]]} of input {wrong[0]} is out of range; classes are 0 to {most - 1}"
            )
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", raw.astype(np.int64))
        object.__setattr__(self, "index", as_positions(self.index, len(x)))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def positions(self) -> list[int]:
        """Each input's position in the full data set."""
        return [int(position) for position in np.asarray(self.index)]

    @property
    def of_pixels(self) -> bool:
        """Whether the targets are label maps."""
        return self.targets is not None and self.targets.dtype == object

    @property
    def identities(self) -> list[tuple[int, int, str]]:
        """Position, label and digest of every input."""
        targets: list[Any] = [None] * len(self) if self.targets is None else self.targets.tolist()
        inputs = [about(input_digest(x), target) for x, target in zip(self.x, targets, strict=True)]
        return list(zip(self.positions, self.y.tolist(), inputs, strict=True))

    @property
    def digest(self) -> str:
        """SHA-256 over the position, label and digest of every input."""
        return data_digest(self.identities)

    def wanted(self, property: Property, classes: int) -> Dataset:
        """The same inputs with the answers that a property wants of them in place of their classes.

        Raises:
            BadInput: for a property that does not fit so many classes.
        """
        answers = property.answers(classes)
        y = np.array([property.wanted(label) for label in self.y.tolist()], dtype=np.int64)
        if self.targets is None and np.array_equal(y, self.y):
            return self  # data may lack the last classes of a model
        return self._with(y=y, num_classes=answers)

    def beside(self, parameters: int) -> Dataset:
        """The features (n, m) of the same inputs, with so many parameters of 0 behind them, and no input box.

        Raises:
            DataError: for inputs that are none.
        """
        zeros = np.zeros((len(self), parameters), dtype=self.x.dtype)
        return self._with(x=np.concatenate([self.x.reshape(len(self), -1), zeros], axis=1), input_box=None)

    def rows(self, chosen: ArrayLike) -> Dataset:
        """The inputs in these rows, which keep their positions; no random draw, whoever chose them."""
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        each = ("x", "y", "index", *["targets"] * (self.targets is not None))
        return Dataset(**given | {name: given[name][np.asarray(chosen)] for name in each})

    def _with(self, **changed: Any) -> Dataset:
        """The same draw of inputs with other values."""
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.init} | changed
        made = Dataset(**given)
        for name in ("drawn_from", "drawn_seed", "fold"):
            object.__setattr__(made, name, getattr(self, name))
        return made

    def subset(self, limit: int | None, seed: int) -> Dataset:
        """A seeded random subset of ``limit`` inputs, in ascending position; everything if ``limit`` is None or larger.

        A seeded permutation is a random sample of the data set; "every 20th" is not. Of a subset made by hand this is a
        random subset, not of what that was taken from.
        """
        if limit is not None and limit < 1:
            raise BadInput(f"limit must be at least 1, got {limit}")
        if limit is None or limit >= len(self):
            return self
        chosen = np.sort(seeded_generator(seed, "subset").permutation(len(self))[:limit])
        drawn = self.rows(chosen)
        object.__setattr__(drawn, "drawn_from", len(self))
        object.__setattr__(drawn, "drawn_seed", seed)
        object.__setattr__(drawn, "fold", self.fold)
        return drawn


def from_arrays(
    name: str,
    x: np.ndarray[Any, Any],
    y: np.ndarray[Any, Any],
    num_classes: int | None = None,
    input_box: BoxLike = (0.0, 1.0),
) -> Dataset:
    """A data set from arrays of unknown origin; ``num_classes`` defaults to the largest label plus one, at least 2.

    Raises:
        DataError: if ``x`` does not hold real numbers, or the arrays do not make a data set.
    """
    if x.dtype.kind not in "buif":
        raise DataError(f"{name}: inputs must be numbers, got {x.dtype}")
    if x.size == 0:
        raise DataError(f"{name}: inputs of shape {x.shape} hold no values")
    if num_classes is None:
        num_classes = max(2, int(y.max(initial=0)) + 1) if y.dtype.kind in "ui" else 2
    with np.errstate(over="ignore"):  # an overflow to infinity is refused by name in Dataset
        return Dataset(name, x.astype(np.float32, copy=False), y, num_classes, input_box)
