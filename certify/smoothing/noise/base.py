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
from certify.core.threats.transform import Transform
from certify.core.values import number
from certify.errors import BadInput
from certify.registry import Registry, make, settings_of

__all__ = ["IN_FLOATS", "NOISES", "Law", "Noise", "OfStrength", "law_of", "named_law", "recorded_law"]

IN_FLOATS: Final = "an input transformed in float32 stands for one transformed exactly"
"""What is taken on trust, besides, of noise about the strength of a transform."""

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

    def about(self, threat: Threat | None, shape: tuple[int, ...] | None = None) -> Law:  # type: ignore[override]
        """The law itself; against a transform, noise about its strength.

        Raises:
            BadInput: for a transform whose strengths do not add up, and for a law about inputs on a grid.
        """
        return OfStrength(self, threat) if isinstance(threat, Transform) else self


@dataclass(frozen=True, slots=True)
class OfStrength(Law):
    """Noise about the strength of a transform: inputs are features with a strength behind, and nothing else moves.

    Where a transform T is additive, ``T(T(x, a), theta) = T(x, a + theta)``. So what a smoothed model, which shows the
    base model ``T(x', theta)``, answers about ``x' = T(x, a)`` is what noise around the strength a makes of x. The
    radius theorem of the law about that one number is therefore one about the transform (Fischer, Baader and Vechev
    2020; Li et al. 2021, additive transformations). Balls of one number are the same in every norm, so all laws serve.

    Args:
        law: of the noise.
        transform: with one strength, and additive.

    Raises:
        BadInput: for another transform, saying why, and for a law about inputs on a grid.
    """

    law: Noise
    transform: Transform

    def __post_init__(self) -> None:
        law, transform = self.law, self.transform
        if why := transform.unadditive:
            raise BadInput(f"{law.name} noise over the strength of {transform.noun} proves nothing: {why}")
        if len(transform.parameters) != 1:
            raise BadInput(
                f"{law.name} noise is about one strength, a {transform.kind} has {len(transform.parameters)}"
            )
        if law.slack(1, law.norms[0]) > 0 or law.total_variation(1) > 0:
            raise BadInput(f"{law.name} noise is about inputs on a grid, and strengths lie on none: use gaussian")

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the law."""
        return self.law.name

    @property
    def norms(self) -> tuple[str, ...]:  # type: ignore[override]
        """The transform."""
        return (self.transform.kind,)

    @property
    def citation(self) -> str:  # type: ignore[override]
        """The law's theorem, and the one that carries it over."""
        return f"{self.law.citation}; Li et al. 2021, additive transformations"

    @property
    def assumption(self) -> str:  # type: ignore[override]
        """What is said of the draws, and of arithmetic."""
        return f"{self.law.assumption}; {IN_FLOATS}"

    @property
    def remedy(self) -> str:  # type: ignore[override]
        """That of the law."""
        return self.law.remedy

    @property
    def scale(self) -> str:
        """That of the law, in units of strengths."""
        return self.law.scale

    def settings(self) -> dict[str, Any]:
        """Those of the law; the transform is the threat."""
        return self.law.settings()

    def sample(self, shape: Sequence[int], generator: torch.Generator, out: Tensor | None = None) -> Tensor:
        """Independent draws (samples, 1) for the strength, behind zeros for the features, (samples, n)."""
        samples, features = shape
        if out is None:
            out = torch.empty(samples, features, dtype=torch.float32, device=generator.device)
        out.zero_()
        out[:, -1:] = self.law.sample((samples, 1), generator)
        return out

    def radius(self, q_upper: float, rival_upper: float, norm: str) -> float:
        """The radius of the law, which is a strength."""
        self.check_norm(norm)
        return self.law.radius(q_upper, rival_upper, self.law.norms[0])

    def radius_above(self, q_upper: float, least: float, norm: str) -> float:
        """That of the law as well, so that the top k reach as far about strengths as about inputs."""
        self.check_norm(norm)
        return self.law.radius_above(q_upper, least, self.law.norms[0])


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
