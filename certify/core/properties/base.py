"""What every property says of itself, and the registry of properties."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.schema import read
from certify.errors import BadInput
from certify.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PROPERTIES", "Clauses", "Property", "Rows", "need_property", "property_from", "wanted"]

Clauses = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Rows C (clauses, rows, classes) and offsets d (clauses, rows): the property holds where of every clause one row is
positive, ``C y + d > 0`` for the scores y."""

Rows = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The same (rows, classes) and (rows,), one after the other."""

_NAME: Final = "property"


class Property(ABC):
    """What must stay true about the scores of an input: that a class stays on top, or less than that.

    A property turns the scores at a point into an *answer*, a whole number from 0, and a claim is that the answer stays
    the one at the input. For the top class the answer is that class. A model smoothed by noise gives the answer that
    the votes of its samples speak for: what they vote for, and what breaks an answer, is said here as well. A member is
    a frozen dataclass of plain values in a file of its own, registered in :data:`PROPERTIES` under its ``kind``. Scores
    are tensors (B, classes); torch itself is not imported here, because methods of tensors are all it takes.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The registered name, which flags and records keep."""

    like_classes: ClassVar[bool] = True
    """Whether the answer is the place of the largest of its scores, as a class is: what is made for classes serves."""

    under_noise: ClassVar[str] = "majority vote under the noise"
    """What a smoothed model answers."""

    cited: ClassVar[tuple[str, ...]] = ()
    """What a bibliography looks up where a smoothed model is certified for it, as ``family:member``."""

    several: ClassVar[bool] = False
    """Whether an input has several labels at once, so that a row of 0 and 1 says which."""

    per_input: ClassVar[bool] = False
    """Whether it is another one for each input: about a number, or a label map, that belongs to the input."""

    by_pixel: ClassVar[bool] = False
    """Whether it is about a class for each pixel, which asks for a certifier and an examination of its own."""

    @property
    @abstractmethod
    def sentence(self) -> str:
        """What an input does, to go on after "is proven to": ``"keep its class"``."""

    task: ClassVar[str] = "classification"
    """The kind of model that it is asked of."""

    def word(self, answer: int) -> str:
        """An answer as reports name it."""
        return f"answer {answer}"

    @property
    def target(self) -> float | str | None:
        """The number of the input that it is about, or the text of its label map, where it is about one."""
        return None

    @property
    def family(self) -> Property:
        """What the properties of all inputs of a run are members of: itself, unless it is about one input."""
        return self

    def at(self, target: float | str) -> Property:
        """The property about an input with a number, or a label map, of its own."""
        return self

    def answers(self, classes: int) -> int:
        """How many answers there are for so many classes.

        Raises:
            BadInput: for a property that does not fit them.
        """
        if classes < 2:
            raise BadInput(f"{self.kind} is about classes, and the model returns one number: ask for certify.Within")
        return classes

    def check_outputs(self, shape: tuple[int, ...]) -> None:
        """Refuse a model that returns scores of this shape for one input.

        Raises:
            BadInput: where there is not one score a class, (K,).
        """
        if len(shape) != 1:
            raise BadInput(
                f"{self.kind} is about one class an input, and the model gives each pixel one: certify.Pixels"
            )

    def wanted(self, label: int) -> int:
        """The answer that is right for an input of a class."""
        return label

    def scores(self, scores: Tensor) -> Tensor:
        """Scores (B, answers) for attacks, which raise those of other answers: the largest is the answer's, or tied."""
        return scores

    def answer(self, scores: Tensor, kept: Tensor | None = None) -> Tensor:
        """The answers (B,) at scores (B, classes), int64; -1 where rounding leaves open which it is.

        A vote under noise and a counterexample both rest on it, so it has to follow from the class that the model
        returns, the first one where scores tie, or be certain.

        Args:
            scores: finite.
            kept: answers (B,) that points near to others should have, for properties that are about one of them.
        """
        return self.scores(scores).argmax(dim=1)

    @property
    def places(self) -> int:
        """Under noise an answer is kept while fewer others than this are more probable."""
        return 1

    @property
    def sides(self) -> int:
        """How many events can break an answer under noise: each has to stay less probable than one half."""
        return 1

    def votable(self, answer: int) -> bool:
        """Whether votes can show that an answer is kept, at one alpha; one that they cannot show is abstained from."""
        return True

    def ballots(self, classes: int) -> int:
        """How many things a sample under noise may vote for: the answers, unless more have to be told apart."""
        return self.answers(classes)

    def vote(self, scores: Tensor) -> Tensor:
        """What samples vote for (B,), from 0, at scores (B, classes); -1 where rounding leaves that open."""
        return self.answer(scores)

    def against(self, kept: int, counts: Mapping[int, int]) -> tuple[int, ...]:
        """The votes against an answer, on each of its :attr:`sides`."""
        return (sum(counts.values()) - counts.get(kept, 0),)

    def elected(self, counts: Mapping[int, int], kept: int | None = None) -> int | None:
        """The answer that votes speak for, the first one in a tie; None without votes.

        Args:
            counts: votes.
            kept: the answer that is asked about, for properties that are about one of several.
        """
        return max(counts, key=lambda one: (counts[one], -one), default=None)

    def margin(self, scores: Tensor, kept: Tensor) -> Tensor:
        """How far answers (B,) are from being kept, at scores (B, answers): positive where they are not."""
        others = scores.scatter(1, kept[:, None], float("-inf")).amax(dim=1)
        return others - scores.gather(1, kept[:, None]).squeeze(1)

    def clearance(self, scores: Tensor) -> Tensor:
        """How far the answers at scores (B, answers) are from other ones, (B,)."""
        best = scores.topk(2, dim=1).values
        return best[:, 0] - best[:, 1]

    @abstractmethod
    def clauses(self, kept: int, classes: int) -> Clauses:
        """What the scores have to satisfy for an answer to be kept; of one shape for every answer.

        A clause with fewer rows than others is filled up with rows that are 0, and fewer clauses with ones that are 1.
        """

    def rows(self, kept: int, classes: int) -> Rows:
        """The rows that bounds are taken of, from which :meth:`margins` follow."""
        C, d = self.clauses(kept, classes)
        return C.reshape(-1, classes), d.reshape(-1)

    def margins(self, lower: Tensor, classes: int) -> Tensor:
        """From lower bounds (n, rows) of the rows, numbers (n, m) that are all positive where it is proven."""
        return lower.reshape(len(lower), *self.clauses(0, classes)[1].shape).amax(dim=2)

    @property
    def named(self) -> Mapping[str, Any]:
        """SHA-256 of the property, under the name by which findings keep it; nothing for the top class."""
        return {_NAME: hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()}

    def named_by(self, settings: Mapping[str, Any]) -> bool:
        """Whether the settings of a finding name this property."""
        return {name: settings[name] for name in (_NAME,) if name in settings} == dict(self.named)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, from which :func:`property_from` makes the property again."""
        return {_NAME: self.kind, **asdict(self)}  # type: ignore[call-overload]

    def __str__(self) -> str:
        return self.sentence


PROPERTIES: Registry[type[Property]] = Registry("property", package="certify.core.properties", named="kind")


def property_from(fields: Mapping[str, Any] | None) -> Property:
    """The property with the values of :meth:`Property.to_dict`, after a trip through JSON; the top class for None.

    Raises:
        BadInput: for an unknown kind, or values that it cannot have.
    """
    from certify.core.properties.top_class import TOP_CLASS

    if fields is None:
        return TOP_CLASS
    if not isinstance(fields, Mapping) or _NAME not in fields:
        raise BadInput(f"a property is a table with its name, got {fields!r:.60}")
    return read(PROPERTIES[fields[_NAME]], {name: value for name, value in fields.items() if name != _NAME})


def need_property(given: object) -> Property:
    """Return what is a property already, or the top class for None.

    Raises:
        BadInput: for anything else.

    >>> need_property("top-k")
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: expected a property, got a str; make one: certify.TopK(3), certify.Never(2)
    """
    from certify.core.properties.top_class import TOP_CLASS

    if given is None:
        return TOP_CLASS
    if isinstance(given, Property):
        if given.target is not None:
            raise BadInput(f"{given.kind} takes its target from each input: leave it out")
        return given
    raise BadInput(f"expected a property, got a {type(given).__name__}; make one: certify.TopK(3), certify.Never(2)")


def wanted(property: Property, labels: Sequence[int] | None) -> Sequence[int] | None:
    """The right answers for labels, None for none."""
    return None if labels is None else [property.wanted(label) for label in labels]
