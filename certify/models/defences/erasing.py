"""A filter that is asked about a text and about all that is left of it when tokens are erased (Kumar et al. 2023)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from certify.core.threats.insertions import LARGEST_TOKEN, MODES, tokens_of
from certify.core.values import one_of, whole
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.models.defences.base import DEFENCES, Defence

__all__ = ["MOST_TEXTS", "Erasing"]

MOST_TEXTS: Final = 100_000
"""Texts about which the filter is asked for one answer, at most."""


@DEFENCES.register("erasing")
@dataclass(frozen=True, slots=True)
class Erasing(Defence):
    """A text is flagged if the filter flags it, or what is left of it without up to so many tokens.

    Otherwise it has the class that the filter gives it. At least one token is left. The filter is asked about each text
    in a batch of its own: the same text has the same class, whatever it was left over from.

    Args:
        tokens: that are erased, at most.
        mode: ``"suffix"`` (the last ones), ``"block"`` (neighbours) or ``"subset"`` (any).
        pad: the token id that stands for no token.
        flagged: the class that flags a text.

    Raises:
        BadInput: for settings that cannot be right.

    >>> list(Erasing(1, "block").left(3))
    [(0, 1, 2), (1, 2), (0, 2), (0, 1)]
    >>> Erasing(2, "suffix").count((40,)), Erasing(2, "block").count((40,)), Erasing(2, "subset").count((40,))
    (3, 80, 821)
    """

    kind: ClassVar[str] = "erasing"

    tokens: int
    mode: str = "subset"
    pad: int = 0
    flagged: int = 1

    def __post_init__(self) -> None:
        one_of("mode", self.mode, MODES)
        if whole("tokens", self.tokens) < 0:
            raise BadInput(f"no fewer than 0 tokens can be erased, got {self.tokens}")
        if not 0 <= whole("pad", self.pad) <= LARGEST_TOKEN:
            raise BadInput(f"pad is a token id, a whole number from 0 to 2^24, got {self.pad}")
        if whole("flagged", self.flagged) < 0:
            raise BadInput(f"flagged is a class, a whole number from 0, got {self.flagged}")

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse what are no rows, and so many texts that nobody waits for an answer."""
        if len(shape) != 1:
            raise BadInput(f"a text is one row of token ids, the inputs have shape {tuple(shape)}")
        if self.count(shape) > MOST_TEXTS:
            raise BadInput(
                f"the filter would be asked about more than {MOST_TEXTS:,} texts for one answer (rows of {shape[0]} "
                f"tokens, up to {self.tokens} erased, mode {self.mode}): erase fewer, or in another mode"
            )

    def count(self, shape: tuple[int, ...]) -> int:
        """The texts that are left of one that fills the row, the text itself among them."""
        return self.texts(shape[0])

    def texts(self, length: int) -> int:
        """The texts that are left of one of so many tokens, itself among them; not counted far beyond the most."""
        most, count = max(0, min(self.tokens, length - 1)), 1
        if self.mode == "suffix":
            return 1 + most
        for erased in range(1, most + 1):
            count += length - erased + 1 if self.mode == "block" else math.comb(length, erased)
            if count > MOST_TEXTS:
                break
        return count

    def left(self, length: int) -> Iterator[tuple[int, ...]]:
        """The places of the tokens that are left of a text of so many, fewest erased first."""
        places = tuple(range(length))
        for erased in range(max(0, min(self.tokens, length - 1)) + 1):
            if self.mode == "subset":
                yield from itertools.combinations(places, length - erased)
            elif self.mode == "suffix" or erased == 0:
                yield places[: length - erased]
            else:
                yield from (places[:begin] + places[begin + erased :] for begin in range(length - erased + 1))

    def text(self, x: Tensor) -> list[float]:
        """The tokens of one row.

        Raises:
            BadInput: for a row without tokens, or with padding between them.
        """
        tokens = tokens_of(x.detach().cpu().numpy(), self.pad)
        if not tokens:
            raise BadInput(f"a text has at least one token, and padding ({self.pad}) behind its tokens only")
        return tokens

    def row(self, x: Tensor, places: tuple[int, ...]) -> Tensor:
        """What is left of a row (length,) where only some of its tokens stay."""
        shorter = torch.full_like(x, float(self.pad))
        shorter[: len(places)] = x[list(places)]
        return shorter

    def copies(self, classifier: Classifier, x: Tensor, which: Tensor) -> Tensor:
        """Texts (n, length) that are left, by number; numbers beyond the last one begin again."""
        length = len(self.text(x))
        wanted = (which % self.texts(length)).tolist()
        found = {}
        for number, places in enumerate(itertools.islice(self.left(length), max(wanted) + 1)):
            if number in wanted:
                found[number] = self.row(x, places)
        return torch.stack([found[number] for number in wanted])

    def together(self, scores: Tensor) -> Tensor:
        """The scores (K,) of the text that the filter is the most likely to flag, of scores (n, K)."""
        others = torch.cat([scores[:, : self.flagged], scores[:, self.flagged + 1 :]], dim=1)
        return scores[(scores[:, self.flagged] - others.amax(dim=1)).argmax()]

    def asked(self, classifier: Classifier, x: Tensor) -> tuple[int, int | None, int]:
        """The class of one row (length,), how few erased tokens it takes to be flagged, and about how many texts asked.

        The filter is asked until it flags one: the second is None where it flags none.
        """
        length, own, asked = len(self.text(x)), -1, 0
        for asked, places in enumerate(self.left(length), 1):
            label = int(classifier.predict(self.row(x, places)[None])[0])
            own = label if asked == 1 else own
            if label == self.flagged:
                return label, length - len(places), asked
        return own, None, asked

    def returned(self, classifier: Classifier, x: Tensor) -> int:
        """The class of one row: flagged, or that of the text itself."""
        return self.asked(classifier, x)[0]
