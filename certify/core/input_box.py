"""The input box: which values each feature can take at all, whoever changes an input."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from certify.bounded.arrays import array_of
from certify.core.packed import pack, unpack
from certify.core.rounding import brief
from certify.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BoxLike", "InputBox", "Recorded", "check_box", "read_box"]

BoxLike = Any
"""What :func:`check_box` takes: a pair of numbers, a pair of arrays, an :class:`InputBox`, or None for no bounds."""

Side = float | tuple[float, ...] | str
Recorded = tuple[Side, Side]
"""A box as records hold it: see :meth:`InputBox.to_json`."""

_FORM = (
    "an input box is two numbers (lower, upper) for all features, or two arrays with a number for each feature, "
    "every lower end at most the upper one and one of them below it"
)


class InputBox(NamedTuple):
    """Lower and upper bound of every feature: a pair of floats, or a pair of tuples with one float for each feature.

    Tuples are in the order of the flattened input, and hold float32 numbers: see :func:`check_box`, which makes boxes.

    >>> print(check_box((0, 1)), check_box(([0, 17], [1, 99])))
    [0, 1] bounds of 2 features (sha256 dbbe17bc)
    """

    lower: float | tuple[float, ...]
    upper: float | tuple[float, ...]

    @property
    def features(self) -> int | None:
        """How many features the box is about; None where one pair of numbers bounds any number of them."""
        return len(self.lower) if isinstance(self.lower, tuple) else None

    @property
    def pair(self) -> tuple[float, float] | None:
        """The bounds that all features share; None where they differ."""
        ends = tuple(set(end) if isinstance(end, tuple) else {end} for end in self)
        return (min(ends[0]), min(ends[1])) if all(len(end) == 1 for end in ends) else None

    def of(self, feature: int) -> tuple[float, float]:
        """The bounds of one feature; of one that no input has, as wide as can be."""
        if not isinstance(self.lower, tuple) or not isinstance(self.upper, tuple):
            return self.lower, self.upper  # type: ignore[return-value]
        return (self.lower[feature], self.upper[feature]) if feature < len(self.lower) else (-math.inf, math.inf)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse inputs of a shape (without a batch axis) with another number of features.

        Raises:
            BadInput: naming both numbers.
        """
        if self.features not in (None, math.prod(shape)):
            raise BadInput(
                f"the input box has bounds of {self.features} features, an input of shape {tuple(shape)} has "
                f"{math.prod(shape)}: give one pair of numbers for each feature, or one for all"
            )

    def ends(self, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper bounds in the shape of one input.

        Raises:
            BadInput: for inputs with another number of features.
        """
        self.check_shape(shape)
        lower, upper = (
            np.broadcast_to(np.reshape(np.array(end, dtype=np.float64), shape if self.features else ()), shape)
            for end in self
        )
        return lower, upper

    def around(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds in the dtype of a batch x (B, ...), and of a shape that broadcasts against it.

        Raises:
            BadInput: for inputs with another number of features.
        """
        self.check_shape(tuple(x.shape[1:]))
        shape = x.shape[1:] if self.features else ()
        return x.new_tensor(self.lower).reshape(shape), x.new_tensor(self.upper).reshape(shape)

    def inside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The float32 numbers next to the ends that lie inside the box, of a shape as in :meth:`around`."""
        low, high = self.around(x.double())
        lower, upper = low.float(), high.float()
        lower = lower.where(lower.double() >= low, lower.nextafter(lower.new_tensor(math.inf)))
        upper = upper.where(upper.double() <= high, upper.nextafter(upper.new_tensor(-math.inf)))
        return lower, upper

    def fault(self, x: NDArray[np.floating]) -> str:
        """What leaves the box in a batch x (B, ...), in words; empty where nothing does. NaN does.

        Raises:
            BadInput: for inputs with another number of features.
        """
        self.check_shape(x.shape[1:])
        if self.features is None:
            # One pass each: arrays of gigabytes are looked at without a copy. Comparing as Python floats, because
            # numpy would round the ends of the box to float32.
            least, most = float(x.min()), float(x.max())
            if self.lower <= least <= most <= self.upper:  # type: ignore[operator]
                return ""
            return f"values range from {least:g} to {most:g}, outside the declared input box {self}"
        lower, upper = (end.astype(np.float32) for end in self.ends(x.shape[1:]))  # exact: they are float32 numbers
        inside = (x >= lower) & (x <= upper)
        if inside.all():
            return ""
        row, *place = (int(one) for one in np.argwhere(~inside)[0])
        feature = int(np.ravel_multi_index(place, x.shape[1:]))
        low, high = (float(end.ravel()[feature]) for end in (lower, upper))
        found = f"feature {feature} of input {row} is {x[row].ravel()[feature]:g}"
        return f"{found}, outside the declared input box [{low:g}, {high:g}]"

    def contains(self, box: InputBox) -> bool:
        """Whether another box lies inside this one."""
        if None not in (self.features, box.features) and self.features != box.features:
            return False
        return bool(np.all(np.array(self.lower) <= box.lower) and np.all(np.array(box.upper) <= self.upper))

    def widths(self, features: int) -> NDArray[np.float64]:
        """Upper minus lower bound of each of so many features."""
        lower, upper = self.ends((features,))
        return upper - lower

    def diameter(self, features: int) -> float:
        """The Euclidean distance of the two inputs that are farthest apart, rounded to nearest."""
        if isinstance(self.lower, float) and isinstance(self.upper, float):
            return math.sqrt(features) * (self.upper - self.lower)
        return math.sqrt(math.fsum(np.square(self.widths(features)).tolist()))

    @property
    def hull(self) -> tuple[float, float]:
        """The least lower and the largest upper bound: one interval that holds all features."""
        return float(np.min(self.lower)), float(np.max(self.upper))

    def to_json(self) -> list[Any]:
        """Two numbers, or two rows of numbers as :func:`~certify.core.packed.pack` writes them."""
        return [pack(end) if isinstance(end, tuple) else end for end in self]

    def __str__(self) -> str:
        if self.pair is None:
            digest = hashlib.sha256(np.array(self, dtype="<f8").tobytes()).hexdigest()
            return f"bounds of {self.features} features (sha256 {digest[:8]})"
        shared = "[{}, {}]".format(*map(brief, self.pair))
        return shared if self.features is None else f"{shared} of each of {self.features} features"


def check_box(box: BoxLike) -> InputBox | None:
    """The box that a pair of numbers, a pair of arrays or a record states; None for no box.

    Arrays may have any shape with the input's number of features, and either end may stay a single number. They are
    rounded outward to float32, in which models see inputs: so data lie inside the bounds that were taken from them in
    float64. A pair of numbers is for inputs of any size, arrays only for inputs of theirs, alike or not.

    Raises:
        BadInput: for anything else, ends that are not finite, or a lower end above the upper one.

    >>> check_box((0, 1))
    InputBox(lower=0.0, upper=1.0)
    >>> check_box((np.zeros(2), [1, 20])).upper
    (1.0, 20.0)
    """
    if box is None:
        return None
    try:
        if isinstance(box, str) or len(box) != 2:
            raise TypeError("it is no pair")
        ends = [unpack("an input box", end) if isinstance(end, str) else end for end in box]
        if all(type(end) is tuple for end in ends):
            return _per_feature(*ends)
        rows = [np.asarray(end) for end in ends]
        if any(row.dtype.kind not in "uif" for row in rows):
            raise TypeError("it holds something else than numbers")
        if all(row.ndim == 0 for row in rows):
            return _alike(*map(float, rows))
        low, high = np.broadcast_arrays(*(row.ravel() if row.ndim else row for row in rows))
        return _per_feature(tuple(low.tolist()), tuple(high.tolist()))
    except (TypeError, ValueError, OverflowError, RuntimeError) as problem:
        raise BadInput(f"{_FORM}; got {box!r:.60}") from problem


def _alike(lower: float, upper: float) -> InputBox:
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise BadInput(f"input box {(lower, upper)} is not an interval; give finite (lower, upper) with lower < upper")
    return InputBox(lower, upper)


@lru_cache(maxsize=64)  # ten thousand records share one box
def _per_feature(low: tuple[float, ...], high: tuple[float, ...]) -> InputBox:
    lower, upper = _float32(low, -np.inf), _float32(high, np.inf)
    if not lower.shape == upper.shape or not (lower <= upper).all() or not (lower < upper).any():
        raise ValueError("it is empty")
    if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        raise ValueError("its ends are not finite in float32")
    return InputBox(tuple(lower.tolist()), tuple(upper.tolist()))


def _float32(values: tuple[float, ...], towards: float) -> NDArray[np.float32]:
    """Values as float32, rounded in a direction; -0 becomes 0."""
    exact = np.array(values, dtype=np.float64) + 0.0
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    inward = rounded < exact if towards > 0 else rounded > exact
    return np.where(inward, np.nextafter(rounded, np.float32(towards)), rounded)


def read_box(text: str) -> InputBox | None:
    """A box as flags and settings name it: two numbers ``0,1``, or a file of two rows that ``numpy.save`` wrote.

    Raises:
        BadInput: for anything else, or a file that is not there; pickled objects are refused.

    >>> read_box("0,1")
    InputBox(lower=0.0, upper=1.0)
    """
    path = Path(text)
    if path.suffix != ".npy":
        try:
            return check_box([float(end) for end in text.split(",")])
        except ValueError as problem:
            raise BadInput(
                f"an input box is two numbers, such as 0,1, or a file .npy of two rows, got {text!r:.60}"
            ) from problem
    try:
        return check_box(array_of(path))
    except OSError as problem:
        raise BadInput(f"cannot read input box {path} ({problem.strerror}); check the path") from problem
    except ValueError as problem:
        raise BadInput(
            f"{path} holds no plain array ({problem}); save one: numpy.save(FILE, [lower, upper])"
        ) from problem
