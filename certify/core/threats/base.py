"""What every threat says of itself, and the registry of threats."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from certify.core.input_box import BoxLike, InputBox, check_box
from certify.core.rounding import brief
from certify.core.written import radii_of
from certify.errors import BadInput
from certify.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["THREATS", "UNITS", "Reaching", "Threat", "need_threat", "threat_from"]

UNITS: Final = "input units"
"""What radii are in where nobody says more."""


_SHOWN: Final = 60
"""Characters of a setting that a sentence shows as it is."""

_NAMES: Final = ("scale", "threat")
"""Settings of findings that name a threat."""


class Reaching:
    """What an adversary reaches, as proofs and attacks ask for it. A threat answers itself, unless the shape matters.

    Torch itself is not imported here: what is needed of it are methods of tensors.
    """

    __slots__ = ()

    # For proofs. Inputs are flat, x (b, n), with radii (b,) and the ends (b, n) of a box: the input box, or a part of
    # it that a search cut out.

    def hull(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The ends (b, n) of boxes that hold every input within the radius of x, inside the given ones."""
        raise NotImplementedError

    def minimum(self, A: Tensor, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """The exact minimum (b, r) of rows A (b, r, n) over the inputs within the radius of x and inside the boxes.

        The result must be a sum of ``A_i * v_i``, with each ``v_i`` inside the box of feature i. The caller's rounding
        bound assumes this. Where :meth:`misses` is true, the result may be anything.
        """
        raise NotImplementedError

    def regions(self, radius: float) -> int:
        """How many boxes make up what a radius reaches, where each is simpler to bound than all together; else 1.

        Where there are several, bounds and complete verification prove each.
        """
        return 1

    def boxes(
        self, x: Tensor, radius: float, lower: Tensor, upper: Tensor, which: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """The ends (s, n) of some of these boxes for one x (1, n), by their numbers; all together are the union."""
        raise NotImplementedError

    def misses(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Which boxes (b,) hold no input within the radius of x, for certain."""
        raise NotImplementedError

    # For attacks, of the same shapes; all may be loose, because examples are measured and executed again.

    def project(self, x: Tensor, z: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Inputs within the radius of x and inside the box, near to points z (b, n)."""
        raise NotImplementedError

    def climb(
        self, x: Tensor, z: Tensor, gradient: Tensor, share: float, radius: Tensor, lower: Tensor, upper: Tensor
    ) -> Tensor:
        """Inputs one step from z (b, n) along which a loss with this gradient (b, n) grows; a share of the way."""
        raise NotImplementedError

    def random(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor, generator: torch.Generator) -> Tensor:
        """A random input within the radius of x (1, n)."""
        raise NotImplementedError

    def edits(
        self,
        x: Tensor,
        z: Tensor,
        radius: Tensor,
        lower: Tensor,
        upper: Tensor,
        generator: torch.Generator,
        count: int,
    ) -> Tensor:
        """Inputs (m, n) within the radius of x (1, n), each one edit from z (1, n): ``count`` of them at most.

        Only threats whose inputs are texts have edits; where there are more, some are drawn.
        """
        raise NotImplementedError


class Threat(Reaching, ABC):
    """An adversary who replaces an input by another one, at most a radius away, inside the input box.

    A member is a frozen dataclass in a file of its own, registered in :data:`THREATS` under its ``kind``. It says what
    a radius counts, which inputs lie within one (a larger one reaches them all, too), how records and flags spell it,
    and how sentences name it. Whoever proves or attacks asks it what is
    written below under "For proofs" and "For attacks"; balls of the three norms have faster forms of their own beside
    the engines.

    Args:
        radii: the declared radii, ascending and not negative: the ones the summary reports. Each is a number, or text:
            ``"8/255"`` declares the float just above that fraction, see :func:`~certify.core.written.radius_of`.
        input_box: (lower, upper) bound of every feature, two numbers or two arrays, see
            :func:`~certify.core.input_box.check_box`; None for all real inputs.
        units: what a radius counts, in words, for the head of every table.

    Raises:
        BadInput: for no radii, negative, non-finite or unsorted ones, or an empty box.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The registered name, which flags and records keep."""

    counted: ClassVar[bool] = False
    """Radii are whole numbers. Only the declared ones are decided; nothing is searched between them."""

    boxed: ClassVar[bool] = False
    """What is reached is all of its hull, which then stands for it in proofs."""

    fills_box: ClassVar[bool] = False
    """Changes reach the ends of the input box, whatever the radius: without the box a radius says nothing."""

    symmetric: ClassVar[bool] = False
    """Whether of two inputs that the threat is about, inside the box, each reaches the other within the same radius."""

    apart: ClassVar[bool] = False
    """Whether only those certifiers and attacks know the threat that name it: what it reaches has no box, no minimum of
    rows and no steps along gradients."""

    norm: str
    """The name under which records keep what radii are measured in: a norm, or the threat's own name."""

    radii: tuple[float, ...]
    input_box: InputBox | None
    units: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_box", check_box(self.input_box))
        if not isinstance(self.units, str):
            raise BadInput(f"units must be text, got {self.units!r:.60}")
        radii = radii_of("radii", self.radii)
        if not radii:
            raise BadInput("no radii declared; give at least one, for example 0,0.25,0.5")
        for radius in radii:
            if not (math.isfinite(radius) and radius >= 0):
                raise BadInput(f"radius {radius} is not a finite number >= 0")
            if self.counted and not radius.is_integer():
                raise BadInput(f"radius {radius} is no whole number: it counts {self.measure}")
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
        """What a radius is measured in, as tables and sentences say it."""
        return self.norm

    @property
    def noun(self) -> str:
        """What holds the inputs within a radius, in words."""
        return self.measure

    @property
    def quantity(self) -> str:
        """What a radius is, as headings, axes and sentences name it."""
        return f"{self.measure} radius"

    @property
    def measured(self) -> str:
        """The same with its units."""
        return f"{self.quantity} in {self.units}"

    def number(self, radius: float, shown: Callable[[float], str] = brief) -> str:
        """A radius, a distance or an average of them as a number, by a function that rounds it the right way."""
        return shown(radius)

    def amount(self, radius: float, shown: Callable[[float], str] = brief) -> str:
        """The same with what it is a number of: ``"linf 0.5"``, ``"2 features"``."""
        return f"{self.measure} {self.number(radius, shown)}"

    def change(self, radius: float | None = None) -> str:
        """What happens to an input within a radius, or within its own, to go on after "under every"."""
        if radius is None:
            return f"change of {self.measure} up to its radius"
        return f"change of at most {self.amount(radius)} ({self.units})"

    @property
    @abstractmethod
    def may(self) -> str:
        """What the adversary may do, to go on after "An adversary who sees everything may"."""

    @property
    def named(self) -> Mapping[str, str]:
        """SHA-256 of what a finding does not spell out, under the name by which its settings keep it."""
        return {}

    def difference(self, other: Threat) -> str:
        """The first setting besides the radii in which another threat differs, in words; empty where none does.

        >>> from certify.core.threats.lp import ThreatModel
        >>> ThreatModel("l2", (0.5,), units="pixels").difference(ThreatModel("l2", (0.1,)))
        "the units are 'pixels' and 'input units'"
        """
        if (self.kind, self.norm) != (other.kind, other.norm):
            return f"the norm is {self.norm} and {other.norm}"
        for setting in fields(self):  # type: ignore[arg-type]
            ours, theirs = getattr(self, setting.name), getattr(other, setting.name)
            if setting.name != "radii" and ours != theirs:
                verb = "are" if setting.name.endswith("s") else "is"
                return f"the {setting.name.replace('_', ' ')} {verb} {self._told(ours)} and {other._told(theirs)}"
        return ""

    def _told(self, setting: Any) -> str:
        """A setting in a few words: a long one by the digest under which records keep it."""
        if setting is None:
            return "none"
        text = str(setting) if isinstance(setting, InputBox) else repr(setting)
        digests = [f"sha256 {digest[:8]}" for digest in self.named.values()]
        return digests[0] if len(text) > _SHOWN and digests else text[:_SHOWN]

    def named_by(self, settings: Mapping[str, Any]) -> bool:
        """Whether the settings of a finding name this threat and no other of its norm."""
        return {name: settings[name] for name in _NAMES if name in settings} == dict(self.named)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse inputs of a shape (without a batch axis) that the threat says nothing about.

        Raises:
            BadInput: naming what does not fit.
        """
        if self.input_box is not None:
            self.input_box.check_shape(shape)

    def check_inputs(self, x: NDArray[np.floating]) -> None:
        """Refuse inputs (B, ...) that are none of those the threat is about.

        Raises:
            BadInput: naming what does not fit.
        """
        self.check_shape(x.shape[1:])

    def reaching(self, shape: tuple[int, ...]) -> Reaching:
        """What the threat reaches from inputs of a shape (without a batch axis): itself, where only their size counts.

        Raises:
            BadInput: for a shape that the threat says nothing about.
        """
        return self

    def farthest(self, features: int) -> float:
        """The radius beyond which no further input of so many features is reached; infinite where there is none.

        Where radii are not counted, searches try every radius up to there, and up to a multiple of the declared ones.
        """
        return math.inf

    @abstractmethod
    def distance(self, x: NDArray[np.floating], x_adv: NDArray[np.floating]) -> float:
        """The least radius that reaches from ``x`` to ``x_adv`` (both without a batch axis), rounded up; else infinite.

        The input box plays no part.

        Raises:
            BadInput: for inputs of two shapes, or of one that the threat says nothing about.
        """

    def contains(self, x: NDArray[np.floating], x_adv: NDArray[np.floating], radius: float | None = None) -> bool:
        """Whether ``x_adv`` lies within ``radius`` (default: the largest declared) of ``x`` and inside the box.

        Both are single inputs. Distances are rounded up, so True is never a rounding error.

        Raises:
            BadInput: as :meth:`distance`.
        """
        if not np.isfinite(x_adv).all():
            return False
        if self.input_box is not None:
            lower, upper = self.input_box.ends(x_adv.shape)
            exact = x_adv.astype(np.float64)  # comparing in float32 would round the edges of the box
            if bool((exact < lower).any()) or bool((exact > upper).any()):
                return False
        return self.distance(x, x_adv) <= (self.largest if radius is None else radius)

    def within(self, input_box: BoxLike) -> Self:
        """The same threat with the classifier's input box, where it states none of its own.

        Raises:
            BadInput: if both state a box and the two differ.
        """
        box = check_box(input_box)
        if self.input_box is None or self.input_box == box:
            return replace(self, input_box=box)  # type: ignore[type-var]
        own = "none" if box is None else box
        raise BadInput(f"the threat model's input box {self.input_box} is not the classifier's, {own}; state it once")

    def at(self, radii: Any) -> Self:
        """The same threat with other declared radii.

        Raises:
            BadInput: as for the threat itself.
        """
        return replace(self, radii=radii)  # type: ignore[type-var]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, from which :func:`threat_from` makes the threat again."""
        box = None if self.input_box is None else self.input_box.to_json()
        return {"threat": self.kind, "radii": list(self.radii), "input_box": box, "units": self.units}

    @classmethod
    @abstractmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The member with the values of :meth:`to_dict`."""

    def __str__(self) -> str:
        box = "no input box" if self.input_box is None else f"inputs in {self.input_box}"
        radii = ", ".join(brief(radius) for radius in self.radii)
        return f"{self.noun}, declared radii {radii} ({self.units}), {box}"


THREATS: Registry[type[Threat]] = Registry("threat", package="certify.core.threats", named="kind")


def threat_from(fields: Mapping[str, Any]) -> Threat:
    """The threat with the values of :meth:`Threat.to_dict`, after a trip through JSON.

    Raises:
        BadInput: for an unknown kind.
        KeyError, TypeError, ValueError: for a missing value, or one of another type.

    >>> threat_from({"norm": "l2", "radii": [0.5], "input_box": None, "units": "pixels"}).measure
    'l2'
    """
    return THREATS[fields.get("threat", "lp")].from_dict(fields)


def need_threat(threat: object) -> Threat:
    """Return what is a threat already.

    Raises:
        BadInput: for anything else.

    >>> need_threat(("l2", 0.5))
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: expected a certify.ThreatModel, got a tuple; make one: ThreatModel("l2", (0.0, 0.25))
    """
    if isinstance(threat, Threat):
        return threat
    raise BadInput(
        f'expected a certify.ThreatModel, got a {type(threat).__name__}; make one: ThreatModel("l2", (0.0, 0.25))'
    )
