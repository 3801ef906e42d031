"""Balls of the three norms: the threat of most papers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.input_box import BoxLike
from certify.core.norms import ORDER, Norm, check_norm, distance_up
from certify.core.packed import pack, unpack
from certify.core.scale import Scale, check_scale, scale_digest, scale_in_words
from certify.core.threats.base import THREATS, UNITS, Threat
from certify.errors import BadInput

__all__ = ["ThreatModel"]

_MAY: Final[dict[Norm, str]] = {
    "linf": "change every feature, each by at most the radius",
    "l2": "change all features at once, together by at most the radius in Euclidean length",
    "l1": "change any features, by at most the radius in total",
}


@THREATS.register("lp")
@dataclass(frozen=True, slots=True)
class ThreatModel(Threat):
    """An adversary who moves an input by at most a radius in a norm, and stays inside the input box.

    With a scale w, radius r means ``|| (x' - x) / w || <= r``: in linf, feature i moves by at most ``r w_i``. Features
    with w = 0 do not move at all, so a scale of zeros and ones is a mask.

    Args:
        norm: ``"l1"``, ``"l2"`` or ``"linf"``, over all features of one input.
        radii: the declared radii, ascending and not negative, in the units of the inputs: the ones the summary reports.
            Each is a number, or text: ``"8/255"`` declares the float just above that fraction, see
            :func:`~certify.core.written.radius_of`.
        input_box: (lower, upper) bound of every feature, two numbers or two arrays, see
            :func:`~certify.core.input_box.check_box`; None for all real inputs.
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

    kind: ClassVar[str] = "lp"
    symmetric: ClassVar[bool] = True

    norm: Norm
    radii: tuple[float, ...]
    input_box: BoxLike = None
    units: str = UNITS
    scale: Scale | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", check_norm(self.norm))
        Threat.__post_init__(self)
        if self.scale is not None:
            object.__setattr__(self, "scale", check_scale(self.scale))

    @property
    def measure(self) -> str:
        """What a radius is measured in: the norm, and whether features count by their scale."""
        return self.norm if self.scale is None else f"scaled {self.norm}"

    @property
    def noun(self) -> str:
        """A ball."""
        return f"{self.measure} ball"

    def change(self, radius: float | None = None) -> str:
        """A change measured in the norm."""
        reach = "up to its radius" if radius is None else f"of at most {self.number(radius)} ({self.units})"
        return f"{self.measure} change {reach}"

    @property
    def may(self) -> str:
        """What may change, and by how much in all."""
        scaled = "" if self.scale is None else f", in multiples of a {scale_in_words(self.scale)}"
        return f"{_MAY[self.norm]} ({self.norm}{scaled})"

    @property
    def named(self) -> Mapping[str, str]:
        """The scale, where there is one."""
        return {} if self.scale is None else {"scale": scale_digest(self.scale)}

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse an input box or a scale of another number of features."""
        Threat.check_shape(self, shape)
        self.scale_of(shape)

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

    def farthest(self, features: int) -> float:
        """The diameter of the input box, in multiples of the scale; features that cannot move do not count."""
        if self.input_box is None:
            return math.inf
        scale = np.ones(features) if self.scale is None else np.array(self.scale)
        sides = self.input_box.widths(features)[scale > 0] / scale[scale > 0]
        return float(np.linalg.norm(sides, ord=ORDER[self.norm]))

    def distance(self, x: NDArray[np.floating], x_adv: NDArray[np.floating]) -> float:
        """The norm of the difference, in multiples of the scale, in float64 and rounded up."""
        return distance_up(x, x_adv, self.norm, self.scale_of(x.shape))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; without a scale there is no such key, as in records made before there was one."""
        fields: dict[str, Any] = {
            "norm": self.norm,
            "radii": list(self.radii),
            "input_box": None if self.input_box is None else self.input_box.to_json(),
            "units": self.units,
        }
        return fields if self.scale is None else fields | {"scale": pack(self.scale)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ThreatModel:
        """Inverse of :meth:`to_dict`."""
        scale = fields.get("scale")
        return cls(
            norm=fields["norm"],
            radii=tuple(fields["radii"]),
            input_box=fields["input_box"],
            units=fields["units"],
            scale=None if scale is None else unpack("a scale", scale),
        )

    def __str__(self) -> str:
        scale = "" if self.scale is None else f", {scale_in_words(self.scale)}"
        return f"{Threat.__str__(self)}{scale}"
