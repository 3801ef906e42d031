"""What a noise law must provide, and the registry of laws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from certify.core.input_box import InputBox
from certify.core.norms import Norm
from certify.core.values import number
from certify.errors import BadInput
from certify.registry import Registry

__all__ = ["NOISES", "Noise", "law_of", "name_and_sigma"]

SMALLEST_SIGMA: Final = 1e-30
LARGEST_SIGMA: Final = 1e30
"""Scales well inside the range of float32, so that draws neither underflow nor overflow."""


@dataclass(frozen=True, slots=True)
class Noise(ABC):
    """A distribution of additive noise with a radius theorem; a law is one file with one final subclass.

    A subclass states ``name``, ``norms`` (those for which :meth:`radius` is a theorem), ``citation`` and
    ``assumption``, and defines :meth:`sample` and :meth:`radius`. The defaults of the other methods say that draws
    follow the law exactly, that the base model sees input plus noise, and that any input is allowed.

    Args:
        sigma: standard deviation of the noise in every coordinate, in input units.

    Raises:
        BadInput: unless sigma is a positive number of ordinary size.
    """

    sigma: float
    name: ClassVar[str]
    """The registered name."""
    norms: ClassVar[tuple[Norm, ...]]
    """The norms for which the radius is a theorem."""
    citation: ClassVar[str]
    """Author, year and theorem."""
    assumption: ClassVar[str]
    """What a certificate takes on trust about the draws; it is written into every certificate."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", number("sigma", self.sigma))
        if not SMALLEST_SIGMA <= self.sigma <= LARGEST_SIGMA:
            raise BadInput(
                f"sigma must be a positive number from {SMALLEST_SIGMA:g} to {LARGEST_SIGMA:g}, got {self.sigma}; "
                "it is in input units, 0.25 is usual"
            )

    @abstractmethod
    def sample(self, shape: Sequence[int], generator: torch.Generator, out: Tensor | None = None) -> Tensor:
        """Independent noise of ``shape`` in float32, on the generator's device; written to ``out`` if given."""

    @abstractmethod
    def radius(self, q_upper: float, rival_upper: float, norm: Norm) -> float:
        """Radius within which the smoothed prediction is constant, rounded down; 0 where nothing is proven.

        Args:
            q_upper: upper bound on the probability that the top class is *not* returned, 1 - p_lower.
            rival_upper: upper bound on the probability of the runner-up; ``q_upper`` itself is always one.
            norm: one of :attr:`norms`.
        """

    def check_norm(self, norm: str) -> Norm:
        """Return a norm in which the law has a radius theorem.

        Raises:
            BadInput: naming the norms that it has.
        """
        for known in self.norms:
            if norm == known:
                return known
        raise BadInput(
            f"{self.name} noise has no radius theorem in {norm}; it certifies {', '.join(self.norms)}: choose that or "
            "another noise"
        )

    def check_inputs(self, x: Tensor, input_box: InputBox | None) -> None:
        """Raise if the law cannot be used around these inputs, shape (B, ...)."""

    def project(self, noisy: Tensor) -> None:
        """Turn input plus noise into what the base model is shown, in place; most laws change nothing."""

    def sample_anywhere(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Noise about any real point, which attacks need; the same as :meth:`sample` for most laws."""
        return self.sample(shape, generator)

    def total_variation(self, dimensions: int) -> float:
        """Total variation distance between one drawn noise vector and the law, rounded up; alpha pays for it."""
        return 0.0

    def slack(self, dimensions: int, norm: Norm) -> float:
        """Largest distance between an input as given and the point that the noise is centred on, rounded up."""
        return 0.0


NOISES: Registry[Callable[[float], Noise]] = Registry("noise", package="certify.smoothing.noise", named="name")


def name_and_sigma(noise: str | Noise, sigma: float | None = None) -> tuple[str, float]:
    """The registered name and the scale of noise that is given as a name with ``sigma``, or as a law.

    Raises:
        BadInput: for a name without ``sigma``, a law with another one, or a law that its name and scale do not make.

    >>> name_and_sigma(NOISES["gaussian"](0.5)), name_and_sigma("laplace", 0.25)
    (('gaussian', 0.5), ('laplace', 0.25))
    """
    if not isinstance(noise, Noise):
        if sigma is None:
            raise BadInput(f"sigma must be a number, the scale of {noise} noise in input units: 0.25 is usual")
        return noise, sigma
    if noise.name not in NOISES or NOISES[noise.name](noise.sigma) != noise:
        raise BadInput(f"{noise} is not what the registered noise {noise.name!r} of this sigma is; register it")
    if sigma is not None and sigma != noise.sigma:
        raise BadInput(f"sigma={sigma} is given beside noise of sigma={noise.sigma:g}; give one of the two")
    return noise.name, noise.sigma


def law_of(noise: Any, sigma: float | None = None) -> Any:
    """The law of noise that is given as a registered name with ``sigma``, or as a law, which may be unregistered.

    Raises:
        BadInput: for a name without ``sigma``, or a law with another one.
    """
    if isinstance(noise, str):
        name, scale = name_and_sigma(noise, sigma)
        return NOISES[name](scale)
    if sigma is not None and sigma != noise.sigma:
        raise BadInput(f"sigma={sigma} is given beside noise of sigma={noise.sigma:g}; give one of the two")
    return noise
