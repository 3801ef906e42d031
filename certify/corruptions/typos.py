"""Words are mistyped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

import torch
from torch import Tensor

from certify.core.legible import many
from certify.corruptions.base import CORRUPTIONS, Corruption, Draws, Form

__all__ = ["Typos", "mistyped"]

LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"

UNKNOWN: Final = 1
"""The token id of every word that is not in the vocabulary; 0 is padding. See :mod:`certify.data.texts`."""


def mistyped(word: str, kind: int, place: int, letter: str) -> str:
    """A word with one typo: a letter left out, doubled, swapped with the next one, or replaced by another.

    >>> [mistyped("word", kind, 1, "a") for kind in range(4)]
    ['wrd', 'woord', 'wrod', 'ward']
    >>> mistyped("a", 0, 0, "b")
    'b'
    """
    place %= len(word)
    before, at, after = word[:place], word[place], word[place + 1 :]
    if kind == 0 and len(word) > 1:
        return before + after
    if kind == 1:
        return before + at + at + after
    if kind == 2 and after:
        return before + after[0] + at + after[1:]
    return before + letter + after


@CORRUPTIONS.register("typos")
@dataclass(frozen=True, slots=True)
class Typos(Corruption):
    """Words of a text, drawn for each text, get one typo each; what is then in no line of the vocabulary is unknown.

    A strength is a radius of the threat ``substitutions`` where its sets hold what the typos lead to. A word that is
    mistyped at one strength is mistyped in the same way at every larger one.
    """

    name: ClassVar[str] = "typos"
    units: ClassVar[str] = "words"
    strengths: ClassVar[tuple[float, float, float, float, float]] = (1, 2, 3, 4, 5)

    def amount(self, strength: float) -> str:
        """How many."""
        return many(int(strength), "word")

    def refusal(self, form: Form) -> str:
        """What is no text."""
        if form.words is None:
            return "is about texts whose words are known: name the data csv:FILE:TEXT,LABEL:VOCABULARY"
        return ""

    def apply(self, x: Tensor, strength: float, form: Form, draws: Draws) -> Tensor:
        """The text with its typos, as token ids."""
        assert form.words is not None
        generator, ids, changed = draws.of_input(), _ids(form.words), x.clone()
        places = (x > UNKNOWN).nonzero().flatten()
        for place in places[torch.randperm(len(places), generator=generator)][: int(strength)].tolist():
            kind, at, letter = torch.randint(2**31, (3,), generator=generator).tolist()
            word = mistyped(form.words[int(x[place])], kind % 4, at, LETTERS[letter % len(LETTERS)])
            changed[place] = ids.get(word, UNKNOWN)
        return changed


@lru_cache(maxsize=4)
def _ids(words: tuple[str, ...]) -> dict[str, int]:
    return {word: token for token, word in enumerate(words)}
