"""Tokens inserted into a text: at its end, as one block, or anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from certify.core.input_box import BoxLike
from certify.core.rounding import brief
from certify.core.threats.base import THREATS, Threat
from certify.core.values import one_of, whole
from certify.errors import BadInput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["LARGEST_TOKEN", "MODES", "Insertions", "check_tokens", "tokens_of"]

LARGEST_TOKEN: Final = 2**24
"""Inputs are float32, which holds every whole number up to here."""

MODES: Final = {"suffix": "at the end of the text", "block": "as one block", "subset": "anywhere"}
"""Where tokens are inserted."""


def check_tokens(x: NDArray[np.floating]) -> None:
    """Refuse inputs (B, length) that are no rows of token ids.

    Raises:
        BadInput: naming the first value that is none.
    """
    if x.ndim != 2:
        raise BadInput(f"a text is one row of token ids, the inputs have shape {tuple(x.shape[1:])}")
    wrong = ~((x >= 0) & (x <= LARGEST_TOKEN) & (x == np.floor(x)))  # NaN is none
    if wrong.any():
        row, place = np.argwhere(wrong)[0]
        raise BadInput(
            f"token ids are whole numbers from 0 to 2^24, input {row} has {x[row, place]:g} at place {place}"
        )


def tokens_of(x: NDArray[np.floating], pad: int) -> list[float] | None:
    """The tokens of one row (length,), before the padding; None where padding stands between tokens.

    >>> tokens_of(np.array([5.0, 7.0, 0.0, 0.0]), 0), tokens_of(np.array([5.0, 0.0, 7.0]), 0)
    ([5.0, 7.0], None)
    """
    count = int((x != pad).sum())
    return None if (x[:count] == pad).any() else x[:count].tolist()


def _common(one: list[float], other: list[float]) -> int:
    """How many tokens at the beginning of two texts are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


@THREATS.register("insertions")
@dataclass(frozen=True, slots=True)
class Insertions(Threat):
    """An adversary who inserts a few tokens into a text: an adversarial suffix, a block, or single tokens anywhere.

    Inputs are rows of token ids, whole numbers as float32. A row has a fixed length; behind its tokens follows padding.
    A radius of k says that at most k tokens are inserted, and that the longer text still fits into the row. Rows have
    to be as long as the longest text that the model is ever given: what is cut off is covered by no claim.

    Args:
        radii: whole numbers of tokens, ascending: (0, 1, 5).
        mode: ``"suffix"`` (at the end), ``"block"`` (in one piece, at any place) or ``"subset"`` (anywhere).
        pad: the token id that stands for no token.
        input_box: (lower, upper) bound of token ids, the vocabulary; attacks insert tokens from there.
        units: what a radius counts, in words.

    Raises:
        BadInput: for radii that are no whole numbers, or another mode.

    >>> threat = Insertions((1, 2), mode="block")
    >>> threat.distance(np.array([5.0, 7, 0, 0]), np.array([5.0, 9, 9, 7]))
    2.0
    >>> threat.distance(np.array([5.0, 7, 0, 0]), np.array([9.0, 5, 9, 7]))
    inf
    """

    kind: ClassVar[str] = "insertions"
    counted: ClassVar[bool] = True
    apart: ClassVar[bool] = True

    radii: tuple[float, ...]
    mode: str = "subset"
    pad: int = 0
    input_box: BoxLike = None
    units: str = "tokens inserted"

    def __post_init__(self) -> None:
        one_of("mode", self.mode, MODES)
        if not 0 <= whole("pad", self.pad) <= LARGEST_TOKEN:
            raise BadInput(f"pad is a token id, a whole number from 0 to 2^24, got {self.pad}")
        Threat.__post_init__(self)

    @property
    def norm(self) -> str:  # type: ignore[override]
        """The threat's own name: there is no norm."""
        return self.kind

    @property
    @override
    def noun(self) -> str:
        return f"tokens inserted {MODES[self.mode]}, padding {self.pad}"

    @property
    @override
    def quantity(self) -> str:
        return f"number of {self.units}"

    @property
    @override
    def measured(self) -> str:
        return self.quantity

    @override
    def number(self, radius: float, shown: Callable[[float], str] = brief) -> str:
        return str(int(radius)) if float(radius).is_integer() else shown(radius)

    @override
    def amount(self, radius: float, shown: Callable[[float], str] = brief) -> str:
        return f"{self.number(radius, shown)} inserted {'token' if radius == 1 else 'tokens'}"

    @override
    def change(self, radius: float | None = None) -> str:
        count = "tokens up to its radius" if radius is None else f"at most {self.number(radius)} tokens"
        return f"insertion of {count} {MODES[self.mode]}"

    @property
    @override
    def may(self) -> str:
        return f"insert as many tokens as the radius says {MODES[self.mode]}"

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse what are no rows, and more insertions than a text with one token has room for."""
        Threat.check_shape(self, shape)
        if len(shape) != 1:
            raise BadInput(f"a text is one row of token ids, the inputs have shape {tuple(shape)}")
        if self.largest > shape[0] - 1:
            raise BadInput(f"radius {self.largest:g} is more than a row of {shape[0]} tokens has room for")

    def check_inputs(self, x: NDArray[np.floating]) -> None:
        """Refuse inputs (B, length) that are no token ids, have padding between tokens, or no token at all."""
        self.check_shape(x.shape[1:])
        check_tokens(x)
        for row, one in enumerate(x):
            tokens = tokens_of(one, self.pad)
            if not tokens:
                said = "has no token at all" if tokens is not None else "has padding between its tokens"
                raise BadInput(f"input {row} {said}: tokens come first, then padding ({self.pad})")

    def distance(self, x: NDArray[np.floating], x_adv: NDArray[np.floating]) -> float:
        """How many tokens were inserted; infinite where anything else happened."""
        if x.shape != x_adv.shape:
            raise BadInput(f"cannot measure a distance between shapes {x.shape} and {x_adv.shape}")
        self.check_shape(x.shape)
        for row in (x, x_adv):
            if not (np.isfinite(row).all() and (row == np.floor(row)).all() and (row >= 0).all()):
                return np.inf
        before, after = tokens_of(x, self.pad), tokens_of(x_adv, self.pad)
        if not before or after is None or not self._holds(before, after):
            return np.inf
        return float(len(after) - len(before))

    def _holds(self, before: list[float], after: list[float]) -> bool:
        """Whether a text is what is left of another one when insertions are taken out again."""
        more = len(after) - len(before)
        if more < 0:
            return False
        if self.mode == "suffix":
            return after[: len(before)] == before
        if self.mode == "block":
            return _common(before, after) + _common(before[::-1], after[::-1]) >= len(before)
        rest = iter(after)
        return all(token in rest for token in before)  # each search goes on where the last one ended

    def to_dict(self) -> dict[str, Any]:
        """Plain values; where tokens are inserted, and the padding, among them."""
        return Threat.to_dict(self) | {"mode": self.mode, "pad": self.pad}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Insertions:
        """Inverse of :meth:`to_dict`."""
        return cls(
            radii=tuple(fields["radii"]),
            mode=fields["mode"],
            pad=fields["pad"],
            input_box=fields["input_box"],
            units=fields["units"],
        )

    def project(self, x: Tensor, z: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Texts within the radius as they are; x in place of all others, as nothing is near to a text."""
        rows = zip(x.cpu().numpy(), z.cpu().numpy(), radius.tolist(), strict=True)
        kept = [self.distance(one, other) <= most for one, other, most in rows]
        return z.where(x.new_tensor(kept).bool().unsqueeze(1), x)

    def random(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor, generator: torch.Generator) -> Tensor:
        """As many random tokens as there is room for, at random places."""
        z = x
        for _ in range(int(radius)):
            z = self.edits(x, z, radius, lower, upper, generator, 1)
        return z

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
        """One token inserted; where no more may be, or there is no room, one inserted token replaced by another."""
        before, after = (tokens_of(row[0].cpu().numpy(), self.pad) or [] for row in (x, z))
        most = min(int(radius), x.shape[1] - len(before))
        first, last = math.ceil(float(lower.min())), math.floor(float(upper.max()))
        shares = x.new_empty(count, 3).uniform_(generator=generator).tolist()
        found = []
        for which, token, place in shares:
            text, word = list(after), float(min(last, first + int(token * (last - first + 1))))
            if len(after) - len(before) >= most:
                ways = self._inserted(before, after)
                if not ways:
                    break
                at = ways[int(which * len(ways))]
                text[at] = word
            else:
                text.insert(self._place(before, after, place), word)
            found.append(text + [float(self.pad)] * (x.shape[1] - len(text)))
        if not found:
            return z
        edited = x.new_tensor(found)
        return self.project(x.expand_as(edited), edited, radius.expand(len(edited)), lower, upper)

    def _inserted(self, before: list[float], after: list[float]) -> list[int]:
        """Places of a longer text that were inserted: one way in which it may have come about."""
        more = len(after) - len(before)
        if self.mode == "subset":
            kept, places = 0, []
            for place, token in enumerate(after):
                if kept < len(before) and token == before[kept]:
                    kept += 1
                else:
                    places.append(place)
            return places
        begin = len(before)
        if self.mode == "block":
            begin = max(0, begin - _common(before[::-1], after[::-1]))
        return list(range(begin, begin + more))

    def _place(self, before: list[float], after: list[float], share: float) -> int:
        """Where one more token may be inserted: a share of the way along."""
        inserted = self._inserted(before, after)
        if self.mode == "subset" or (self.mode == "block" and not inserted):
            return int(share * (len(after) + 1))
        return inserted[-1] + 1 if inserted else len(before)
