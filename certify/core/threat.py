"""What the adversary may do. No number is printed without one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.norms import Norm, check_norm, distance_up
from certify.core.rounding import brief
from certify.core.scale import Scale, check_scale, scale_digest, scale_from_json, scale_in_words, scale_to_json
from certify.core.written import radii_of
from certify.errors import BadInput

__all__ = ["UNITS", "ThreatModel", "check_box", "need_threat"]

UNITS: Final = "input units"
"""What radii are in where nobody says more."""


def check_box(box: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the box as two floats, lower below upper, or None for no box."""
    if box is None:
        return None
    try:
        lower, upper = (float(edge) for edge in box)
    except (TypeError, ValueError) as problem:
        raise BadInput(f"an input box is two numbers (lower, upper), got {box!r}") from problem
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise BadInput(f"input box {box} is not an interval; give finite (lower, upper) with lower < upper")
    return lower, upper


@dataclass(frozen=True, slots=True)
class ThreatModel:
    """An adversary who moves an input by at most a radius in a norm, and stays inside the input box.

    With a scale w, radius r means ``|| (x' - x) / w || <= r``: in linf, feature i moves by at most ``r w_i``. Features
    with w = 0 do not move at all, so a scale of zeros and ones is a mask.

    Args:
        norm: ``"l1"``, ``"l2"`` or ``"linf"``, over all features of one input.
        radii: the declared radii, ascending and not negative, in the units of the inputs: the ones the summary reports.
            Each is a number, or text: ``"8/255"`` declares the float just above that fraction, see
            :func:`~certify.core.written.radius_of`.
        input_box: (lower, upper) bound of every feature, or None for all real inputs.
        units: the inputs' units in words, for the head of every table.
        scale: one number >= 0 a feature, any array of the input's size; kept flat. None for 1 everywhere.

    Raises:
        BadInput: for an unknown norm, no radii, negative, non-finite or unsorted radii, an empty box, a scale with
            negative or non-finite numbers or nothing but zeros.

    >>> threat = ThreatModel(norm="linf", radii=(0.0, 0.1), input_box=(0.0, 1.0))
    >>> threat.contains(np.array([0.5, 0.0]), np.array([0.55, 0.05]))
    True
    >>> threat.contains(np.array([0.5, 0.0]), np.array([0.55, -0.05]))
    False
    >>> ThreatModel("linf", (0.1,), scale=(2.0, 0.0)).contains(np.array([0.5, 0.0]), np.array([0.69, 0.0]))
    True
    """

    norm: Norm
    radii: tuple[float, ...]
    input_box: tuple[float, float] | None = None
    units: str = UNITS
    scale: Scale | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", check_norm(self.norm))
        object.__setattr__(self, "input_box", check_box(self.input_box))
        if self.scale is not None:
            object.__setattr__(self, "scale", check_scale(self.scale))
        radii = radii_of("radii", self.radii)
        if not radii:
            raise BadInput("no radii declared; give at least one, for example 0,0.25,0.5")
        for radius in radii:
            if not (math.isfinite(radius) and radius >= 0):
                raise BadInput(f"radius {radius} is not a finite number >= 0")
        for before, after in itertools.pairwise(radii):
            if not before < after:
                raise BadInput(f"radii must ascend without repeats, but {after} follows {before}")
        object.__setattr__(self, "radii", radii)

    @property
    def largest(self) -> float:
        """The largest declared radius."""
        return self.radii[-1]

    @property
    def measure(self) -> str:
        """What a radius is measured in: the norm, and whether features count by their scale."""
        return self.norm if self.scale is None else f"scaled {self.norm}"

    @property
    def ball(self) -> tuple[Norm, tuple[float, ...], Scale | None]:
        """Norm, radii and scale: what radii of two threat models must share to be compared."""
        return self.norm, self.radii, self.scale

    @property
    def scale_digest(self) -> str | None:
        """SHA-256 of the scale, by which findings name it; None without one."""
        return None if self.scale is None else scale_digest(self.scale)

    def scale_of(self, shape: Sequence[int]) -> NDArray[np.float64] | None:
        """The scale in the shape of one input, without a batch axis; None without one.

        Raises:
            BadInput: for inputs of another number of features.
        """
        if self.scale is None:
            return None
        if len(self.scale) != math.prod(shape):
            raise BadInput(
                f"the threat model's scale has {len(self.scale)} numbers, an input of shape {tuple(shape)} has "
                f"{math.prod(shape)} features: give one number for each feature"
            )
        return np.array(self.scale).reshape(shape)

    def within(self, input_box: tuple[float, float] | None) -> ThreatModel:
        """The same threat model with the classifier's input box, where it states none of its own.

        Raises:
            BadInput: if both state a box and the two differ.
        """
        box = check_box(input_box)
        if self.input_box is None or self.input_box == box:
            return replace(self, input_box=box)
        raise BadInput(f"the threat model's input box {self.input_box} is not the classifier's {box}; state it once")

    def contains(self, x: NDArray[np.floating], x_adv: NDArray[np.floating], radius: float | None = None) -> bool:
        """Whether ``x_adv`` lies within ``radius`` (default: the largest declared) of ``x`` and inside the box.

        Both are single inputs. The distance is computed in float64 and rounded up, so True is never a rounding error.

        Raises:
            BadInput: for inputs of two shapes, or of another number of features than the scale.
        """
        if not np.isfinite(x_adv).all():
            return False
        if self.input_box is not None:
            lower, upper = self.input_box
            exact = x_adv.astype(np.float64)  # comparing in float32 would round the edges of the box
            if bool((exact < lower).any()) or bool((exact > upper).any()):
                return False
        return distance_up(x, x_adv, self.norm, self.scale_of(x.shape)) <= (self.largest if radius is None else radius)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; without a scale there is no such key, as in records made before there was one."""
        fields: dict[str, Any] = {
            "norm": self.norm,
            "radii": list(self.radii),
            "input_box": None if self.input_box is None else list(self.input_box),
            "units": self.units,
        }
        return fields if self.scale is None else fields | {"scale": scale_to_json(self.scale)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> ThreatModel:
        """Inverse of :meth:`to_dict`."""
        box, scale = fields["input_box"], fields.get("scale")
        return cls(
            norm=fields["norm"],
            radii=tuple(fields["radii"]),
            input_box=None if box is None else (box[0], box[1]),
            units=fields["units"],
            scale=None if scale is None else scale_from_json(scale),
        )

    def __str__(self) -> str:
        box = "no input box" if self.input_box is None else f"inputs in [{self.input_box[0]:g}, {self.input_box[1]:g}]"
        radii = ", ".join(brief(radius) for radius in self.radii)
        scale = "" if self.scale is None else f", {scale_in_words(self.scale)}"
        return f"{self.norm} ball, declared radii {radii} ({self.units}), {box}{scale}"


def need_threat(threat: object) -> ThreatModel:
    """Return what is a threat model already.

    Raises:
        BadInput: for anything else.

    >>> need_threat(("l2", 0.5))
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: expected a certify.ThreatModel, got a tuple; make one: ThreatModel("l2", (0.0, 0.25))
    """
    if isinstance(threat, ThreatModel):
        return threat
    raise BadInput(
        f'expected a certify.ThreatModel, got a {type(threat).__name__}; make one: ThreatModel("l2", (0.0, 0.25))'
    )
