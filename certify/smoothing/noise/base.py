"""What a noise law must provide, and the registry of laws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor

from certify.core.input_box import InputBox
from certify.core.scope import scopes
from certify.core.threats.base import Threat
from certify.core.values import number
from certify.errors import BadInput
from certify.registry import Registry, make, settings_of

__all__ = ["NOISES", "Law", "Noise", "law_of", "named_law", "recorded_law"]

SMALLEST_SIGMA: Final = 1e-30
LARGEST_SIGMA: Final = 1e30
"""Scales well inside the range of float32, so that draws neither underflow nor overflow."""


class Law(ABC):
    """A random change of inputs with a radius theorem; a law is one file with one final, frozen dataclass.

    A member states ``name``, ``norms`` (those for which :meth:`radius` is a theorem), ``citation`` and ``assumption``,
    and defines :meth:`settings`, :meth:`sample` and :meth:`radius`. The defaults of the other methods say that draws
    follow the law exactly, that the base model sees input plus draw, and that any input is allowed. Laws that add noise
    of one scale are subclasses of :class:`Noise`.
    """

    __slots__ = ()

    name: ClassVar[str]
    """The registered name."""
    norms: ClassVar[tuple[str, ...]]
    """The norms for which the radius is a theorem, or the threats whose radii it counts."""
    citation: ClassVar[str]
    """Author, year and theorem."""
    assumption: ClassVar[str]
    """What a certificate takes on trust about the draws; it is written into every certificate."""

    remedy: ClassVar[str] = "raise sigma"
    """What helps where no number of samples can certify a radius."""

    @property
    @abstractmethod
    def scale(self) -> str:
        """How strong the change is, as sentences say it: ``"sigma=0.25"``."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The name as ``noise``, and what besides makes the law, as plain values for JSON: what records keep of it."""

    @abstractmethod
    def sample(self, shape: Sequence[int], generator: torch.Generator, out: Tensor | None = None) -> Tensor:
        """Independent draws of ``shape`` in float32, on the generator's device; written to ``out`` if given."""

    @abstractmethod
    def radius(self, q_upper: float, rival_upper: float, norm: str) -> float:
        """Radius within which the smoothed prediction is constant, rounded down; 0 where nothing is proven.

        Args:
            q_upper: upper bound on the probability that the top class is *not* returned, 1 - p_lower.
            rival_upper: upper bound on the probability of the runner-up; ``q_upper`` itself is always one.
            norm: one of :attr:`norms`.
        """

    def radius_above(self, q_upper: float, least: float, norm: str) -> float:
        """Radius within which a class stays more probable than ``least``, rounded down; 0 where nothing is proven.

        For any law, one that is more probable than all others together is more probable than any ``least`` up to 1/2.

        Args:
            q_upper: upper bound on the probability that the class is *not* returned.
            least: at most 1/2.
            norm: one of :attr:`norms`.
        """
        return self.radius(q_upper, q_upper, norm) if q_upper < 0.5 else 0.0

    def about(self, threat: Threat | None, shape: tuple[int, ...] | None = None) -> Self:
        """The law as it is used against a threat, for inputs of a shape, as far as both are known; most stay the same.

        Raises:
            BadInput: where the law does not fit the inputs.
        """
        return self

    def check_norm(self, norm: str) -> str:
        """Return a norm, or a counted threat, about which the law has a radius theorem.

        Raises:
            BadInput: naming those that it has, and the laws that have one.
        """
        if norm in self.norms:
            return norm
        others = [name for name, law in scopes(NOISES).items() if norm in getattr(law, "norms", ())]
        raise BadInput(
            f"{self.name} noise has no radius theorem in {norm}; it certifies {', '.join(self.norms)}: choose that or "
            f"another noise{f', {norm} is certified by ' * bool(others)}{', '.join(others)}"
        )

    def check_inputs(self, x: Tensor, input_box: InputBox | None) -> None:
        """Raise if the law cannot be used around these inputs, shape (B, ...)."""

    def apply(self, x: Tensor, drawn: Tensor, out: Tensor | None = None) -> Tensor:
        """Inputs changed as drawn, before :meth:`project`: the sum, for most laws; gradients flow to ``x``.

        ``x`` and ``drawn`` broadcast; the result is written to ``out`` if given.
        """
        return torch.add(drawn, x, out=out)

    def project(self, noisy: Tensor) -> None:
        """Turn changed inputs into what the base model is shown, in place; most laws change nothing."""

    def sample_anywhere(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Draws about any real point, which attacks need; the same as :meth:`sample` for most laws."""
        return self.sample(shape, generator)

    def total_variation(self, dimensions: int) -> float:
        """Total variation distance between one draw and the law, rounded up; alpha pays for it."""
        return 0.0

    def slack(self, dimensions: int, norm: str) -> float:
        """Largest distance between an input as given and the point that the draws are centred on, rounded up."""
        return 0.0


@dataclass(frozen=True, slots=True)
class Noise(Law):
    """Additive noise of one scale; a law is one file with one final subclass. See :class:`Law`.

    Args:
        sigma: standard deviation of the noise in every coordinate, in input units.

    Raises:
        BadInput: unless sigma is a positive number of ordinary size.
    """

    sigma: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", number("sigma", self.sigma))
        if not SMALLEST_SIGMA <= self.sigma <= LARGEST_SIGMA:
            raise BadInput(
                f"sigma must be a positive number from {SMALLEST_SIGMA:g} to {LARGEST_SIGMA:g}, got {self.sigma}; "
                "it is in input units, 0.25 is usual"
            )

    @property
    def scale(self) -> str:
        """The standard deviation."""
        return f"sigma={self.sigma:g}"

    def settings(self) -> dict[str, Any]:
        """Name and scale."""
        return {"noise": self.name, "sigma": self.sigma}


NOISES: Registry[Callable[..., Law]] = Registry("noise", package="certify.smoothing.noise", named="name")


def law_of(noise: Any, **settings: Any) -> Any:
    """The law of noise that is given as a registered name with its settings, or as a law, which may be unregistered.

    Args:
        noise: a name or a law.
        settings: the settings of a named law, such as ``sigma``; None for one that is not given.

    Raises:
        BadInput: for a setting that the law misses or does not have, or a law with another one.

    >>> law_of("laplace", sigma=0.25)
    Laplace(sigma=0.25)
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if isinstance(noise, str):
        if "sigma" in settings_of(NOISES, noise) and "sigma" not in given:
            raise BadInput(f"sigma must be a number, the scale of {noise} noise in input units: 0.25 is usual")
        return make(NOISES, noise, given)
    for name, value in given.items():
        if (own := getattr(noise, name, None)) != value:
            raise BadInput(f"{name}={value} is given beside noise of {name}={own}; give one of the two")
    return noise


def named_law(noise: str | Law, **settings: Any) -> Law:
    """As :func:`law_of`, for what records keep by name and settings: a law has to be what they make.

    Raises:
        BadInput: as there, and for a law that its name and settings do not make.

    >>> named_law(NOISES["gaussian"](0.5)).settings()
    {'noise': 'gaussian', 'sigma': 0.5}
    """
    if not isinstance(noise, Law):
        NOISES[noise]  # raises for what is no name
    law: Law = law_of(noise, **settings)
    if law is noise and (law.name not in NOISES or recorded_law(law.settings()) != law):
        raise BadInput(f"{law!r} is not what the registered noise {law.name!r} of its settings is; register it")
    return law


def recorded_law(settings: Mapping[str, Any]) -> Law:
    """The law that settings name as ``noise``, with those of them that it has.

    Raises:
        BadInput: for an unknown law, or settings that do not make it.
        KeyError: where none is named.

    >>> recorded_law({"noise": "gaussian", "sigma": 0.5, "draws": 32})
    Gaussian(sigma=0.5)
    """
    known = settings_of(NOISES, settings["noise"])
    return make(NOISES, settings["noise"], {name: settings[name] for name in known if name in settings})
