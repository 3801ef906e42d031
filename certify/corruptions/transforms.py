"""Corruptions that are the transform of a threat: what those members share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from certify.core.threats.transform import Transform
from certify.corruptions.base import Corruption, Draws, Form
from certify.errors import BadInput
from certify.models.transformed import Transformed

__all__ = ["AlongThreat", "reached"]


def reached(strength: float) -> float:
    """The largest float32 that is no more than a strength: a step beyond it would leave the radius of that size.

    >>> reached(0.5), reached(0.1) < 0.1
    (0.5, True)
    """
    nearest = np.float32(strength)
    return float(nearest if float(nearest) <= strength else np.nextafter(nearest, np.float32(-np.inf)))


@dataclass(frozen=True, slots=True)
class AlongThreat(Corruption):
    """A transform of a known strength, in its first parameter: the adversary of the threat would choose the strength.

    Args:
        threat: the transform with other settings than usual; None for the usual ones.
    """

    direction: ClassVar[int] = 1
    """The sign of the parameter."""

    shares: ClassVar[bool] = False
    """Whether it is about values from 0 to 1 alone, which keep their ends."""

    threat: Transform | None = None

    def parameter(self, strength: float) -> float:
        """What the first parameter of the transform is at a strength: a float32 within that radius of 0."""
        return self.direction * reached(strength)

    @abstractmethod
    def usual(self) -> Transform:
        """The transform with its usual settings."""

    @property
    def transform(self) -> Transform:
        """The threat, whose radii are strengths."""
        return self.usual() if self.threat is None else self.threat

    @property
    def noun(self) -> str:
        """The transform with what was chosen about it."""
        return self.transform.noun

    def along(self, threat: Transform) -> Self:
        """The same corruption with the settings of a threat, where that is of the same kind."""
        return replace(self, threat=threat) if threat.kind == self.usual().kind else self

    def refusal(self, form: Form) -> str:
        """What the transform itself refuses, and texts."""
        if form.words is not None:
            return "is about numbers, and these are words of a text: choose typos"
        try:
            self.transform.check_form(form.shape)
        except BadInput as problem:
            return f"does not fit: {problem}"
        if self.shares and (form.input_box is None or form.input_box.pair != (0.0, 1.0)):
            return "is about values from 0 to 1: declare the input box 0,1"
        return ""

    def apply(self, x: Tensor, strength: float, form: Form, draws: Draws) -> Tensor:
        """The transformed input."""
        if strength == 0:
            return x
        threat: Any = self.transform
        step = [x.new_tensor([self.parameter(strength)]), x.new_zeros(len(threat.parameters) - 1)]
        with torch.no_grad():
            made: Tensor = Transformed(nn.Identity(), threat, form.shape, form.input_box)(
                torch.cat([x.flatten(), *step])[None]
            )
        return made[0]
