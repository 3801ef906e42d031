"""Corruptions that draw numbers about each feature, or whole places of an input: what those members share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from certify.core.legible import many
from certify.corruptions.base import Corruption, Draws, Form

__all__ = ["Boxed", "Places", "boxless"]

WORDS: Final = "is about numbers, and these are words of a text: choose typos"


def boxless(form: Form) -> str:
    """Why numbers without bounds, and texts, cannot be corrupted in shares of the bounds; empty where they can."""
    if form.words is not None:
        return WORDS
    return "" if form.input_box is not None else "is a share of the bounds of each feature: declare an input box"


@dataclass(frozen=True, slots=True)
class Boxed(Corruption):
    """A change of values between the bounds of their features; the result is cut to them."""

    def refusal(self, form: Form) -> str:
        """Features without bounds, and texts."""
        return boxless(form)

    @abstractmethod
    def changed(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """Values (...) from 0 to 1, changed; the result may lie outside."""

    def apply(self, x: Tensor, strength: float, form: Form, draws: Draws) -> Tensor:
        """The changed input, cut."""
        if strength == 0:
            return x
        lower, upper = form.ends
        width = (upper - lower).clamp(min=1e-30)  # a feature with one value keeps it
        changed = lower + width * self.changed((x - lower) / width, strength, draws)
        return changed.maximum(lower).minimum(upper)


@dataclass(frozen=True, slots=True)
class Places(Corruption):
    """So many places of an input read something else.

    A place is a feature of a table, a time step of a series, a column of an image: one step along the last axis, with
    all that the other axes hold there.
    """

    def amount(self, strength: float) -> str:
        """How many."""
        return many(int(strength), "place")

    def refusal(self, form: Form) -> str:
        """Features without bounds, texts, and inputs with no more places than severity 5 takes."""
        if said := boxless(form):
            return said
        if form.shape[-1] <= self.strengths[-1]:
            return f"takes up to {self.strengths[-1]:g} places, and inputs of shape {form.shape} have {form.shape[-1]}"
        return ""
