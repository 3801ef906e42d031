"""What attacks of other libraries have in common: one input at a time, a seed of its own, and a space to search in."""

from __future__ import annotations

import contextlib
import inspect
import random
import sys
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Annotated, Any, ClassVar, Final

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from certify.attacks.base import Attack, Search
from certify.core.norms import NORMS
from certify.core.properties.base import Property
from certify.core.threats.lp import ThreatModel
from certify.data.generators import keyed_seed
from certify.errors import BadInput, CertifyError, ModelError, one_line
from certify.registry import Reader, nearest

__all__ = ["ORDERS", "Foreign", "Space", "apart", "factory", "member", "refused", "share_of"]

ORDERS: Final = {"l1": 1, "l2": 2, "linf": np.inf}
"""Norms as the libraries number them."""

_UNBOUNDED: Final = 16.0
"""Radii about an input that a library is told as its bounds where the inputs have no box."""


@dataclass(frozen=True, slots=True)
class Foreign(Attack):
    """An attack that somebody else wrote, on one input after the other.

    The driver believes it as little as ours: what it returns is projected into ball and box, measured, and examined
    afresh. Libraries draw from generators of the whole process; each input is attacked alone with these seeded for it,
    so that findings do not depend on the batch, and they are as before afterwards.

    Args:
        name: as it was asked for, such as ``"art:DeepFool"``.
        options: settings of the attack by name, as plain values. Radius and norm are the threat's.

    Raises:
        BadInput: for a setting that no record could keep.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    follows_gradients = False  # which of a library's do, the library says when it asks for one
    limits = "looks for another top class, in balls of the three norms only"
    library: ClassVar[str] = ""
    """The distribution that it comes from, whose version records keep."""

    def __post_init__(self) -> None:
        for setting, value in self.options.items():
            if not _plain(value):
                kinds = "a number, text, true, false or a list of these"
                raise BadInput(f"{setting} of {self.name} must be {kinds}, got {value!r:.60}")

    @classmethod
    def knows(cls, norm: str) -> bool:
        """Balls."""
        return norm in NORMS

    @classmethod
    def handles(cls, property: type[Property]) -> bool:
        """What is answered as by a class."""
        return property.like_classes

    def settings(self) -> dict[str, Any]:
        """The options that were given, in a table of their own, and the library whose defaults stand for the rest."""
        told = {name: list(value) if isinstance(value, tuple) else value for name, value in self.options.items()}
        return {"options": told, **({"library": f"{self.library} {version(self.library)}"} if self.library else {})}

    def perturb(self, search: Search) -> Tensor:
        """What the library returns for each row, one after the other."""
        return torch.cat([self._perturb_row(search, row) for row in range(len(search.x))])

    def _perturb_row(self, search: Search, row: int) -> Tensor:
        space = Space(search, row)
        try:
            with apart(search.keys[row]):
                moved = self.walk(space)
        except (CertifyError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as problem:  # somebody else's code may raise anything
            raise ModelError(f"{self.name} raised {one_line(problem)}") from problem
        if not isinstance(moved, Tensor) or moved.shape != space.origin.shape:
            said = f"shape {tuple(moved.shape)}" if isinstance(moved, Tensor) else type(moved).__name__
            raise ModelError(f"{self.name} returned {said} for an input of shape {tuple(space.origin.shape)}")
        if moved.layout != torch.strided or moved.is_complex():
            raise ModelError(
                f"{self.name} returned a {moved.layout} tensor of {moved.dtype}, and inputs are dense and real"
            )
        return space.points(moved.detach().to(space.origin))

    @abstractmethod
    def walk(self, space: Space) -> Tensor:
        """The most promising point (1, ...) of a space."""


class Space(nn.Module):
    """The space about one input as a library sees it: a model, an origin, and bounds, in multiples of the scale.

    Attributes:
        origin: the input (1, ...).
        label: its class (1,).
        lower, upper: bounds of every feature (1, ...), those of the input box where there is one.
        radius, norm: how far examples may lie.
    """

    def __init__(self, search: Search, row: int) -> None:
        super().__init__()
        assert isinstance(search.threat, ThreatModel)  # it knows no other
        self.search, self.row = search, row
        self.radius, self.norm = search.radius, search.threat.norm
        self.label = search.labels[row : row + 1].clone()  # somebody else's code may write into it
        self.whole = search.x[row : row + 1]
        scale = search.threat.scale
        weight = torch.ones_like(self.whole) if scale is None else torch.tensor(scale).to(self.whole)
        # A feature that may not move keeps its value whatever a library does to it.
        self.free = weight.reshape(self.whole.shape) > 0
        self.weight = torch.where(self.free, weight.reshape(self.whole.shape), 1.0)
        origin = self.whole / self.weight
        reach = _UNBOUNDED * self.radius
        self.lower, self.upper = origin - reach, origin + reach
        self.bounded = search.threat.input_box is not None
        if search.threat.input_box is not None:
            ends = search.threat.input_box.ends(tuple(self.whole.shape[1:]))
            self.lower, self.upper = (torch.from_numpy(end.copy()).to(self.whole) / self.weight for end in ends)
        self.origin = origin.clamp(self.lower, self.upper)
        self.eval()

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.search.target.num_classes

    @property
    def ends(self) -> tuple[float, float]:
        """The bounds as two numbers, for libraries that know one box for all features."""
        return float(self.lower.min()), float(self.upper.max())

    def points(self, moved: Tensor) -> Tensor:
        """Inputs (B, ...) of the target at points of the space."""
        return torch.where(self.free, moved * self.weight, self.whole)

    def forward(self, moved: Tensor) -> Tensor:
        """Scores (B, K). Where they are no numbers the label wins: nothing was found there.

        Raises:
            ModelError: where a slope is asked for and the model is a function without any.
        """
        target = self.search.target
        if moved.requires_grad and torch.is_grad_enabled() and not target.differentiable:
            raise ModelError(
                "this attack follows gradients, and a plain function has none: use one that asks for classes alone, "
                "such as hopskipjump, or wrap an nn.Module"
            )
        rows = torch.full((len(moved),), self.row, device=self.whole.device)
        scores = self.search.scores(self.points(moved.to(self.whole)), rows, "decision")
        kept = torch.nn.functional.one_hot(self.label, scores.shape[1]).to(scores)
        return torch.where(scores.isfinite().all(dim=1, keepdim=True), scores, kept)


@contextmanager
def apart(key: str) -> Iterator[None]:
    """Let somebody else's code run: with seeds of ``key``, and without a trace in generators, warnings or output."""
    seed = keyed_seed(key)
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng(), warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            torch.manual_seed(seed)
            yield
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)


def factory(
    make: Callable[[str, Mapping[str, Any]], Attack], name: str, maker: Callable[..., Any], given: tuple[str, ...]
) -> Callable[..., Attack]:
    """What makes an attack from the settings of somebody else's class or function, by name.

    Args:
        make: from the name and the options.
        name: as it was asked for.
        maker: the class or function whose parameters are the settings.
        given: parameters that are no settings: the threat, the model or the driver say what they are.
    """

    def made(**options: Any) -> Attack:
        return make(name, options)

    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    made.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Any, Reader(_read)])
            for one in inspect.signature(maker).parameters.values()
            if one.name not in given and one.kind not in variable
        ]
    )
    return made


def member(name: str, library: Any, base: type) -> Callable[..., Any]:
    """The class below ``base`` that ``LIBRARY:CLASS`` names.

    Raises:
        BadInput: for none; the nearest is named.
    """
    said, _, asked = name.partition(":")
    attacks = {one: each for one, each in vars(library).items() if isinstance(each, type) and issubclass(each, base)}
    if asked in attacks:
        return attacks[asked]
    known = sorted(attacks)
    raise BadInput(f"{said} has no attack {asked!r}{nearest(asked, known)} known: {', '.join(known)}")


def refused(name: str, problem: Exception) -> BadInput:
    """The refusal of settings that a library does not accept."""
    return BadInput(f"{name} refuses these settings: {one_line(problem)}")


def share_of(maker: Callable[..., Any], step: str, radius: str) -> float | None:
    """A step as a share of the radius, as the library's own defaults have it; None where it has no such defaults."""
    parameters = inspect.signature(maker).parameters
    numbers = [parameters[one].default if one in parameters else None for one in (step, radius)]
    if not all(isinstance(one, int | float) for one in numbers) or not numbers[1]:
        return None
    return float(numbers[0] / numbers[1])


def _read(named: str, value: str) -> Any:
    """Text of a command line as the value that it looks like: 10, 0.5, true, null, [1, 2]; anything else is text."""
    try:
        return msgspec.json.decode(value.encode())
    except msgspec.DecodeError:
        return str(value)


def _plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
