"""Beam search over edits of a text: tokens inserted or replaced, one at a time, without gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from certify.attacks.base import ATTACKS, Attack, Search
from certify.attacks.defended import Defended
from certify.attacks.target import Target
from certify.core.threats.base import THREATS, Threat
from certify.core.values import whole
from certify.data.generators import keyed_generator
from certify.errors import BadInput

__all__ = ["Beam"]

_TOGETHER: Final = 256
"""Texts in one pass of a search. It bounds memory and changes no finding."""

_EXECUTED: Final = 4
"""Texts that a defended model answers in full at the end of a search."""


@ATTACKS.register("beam")
@dataclass(frozen=True, slots=True)
class Beam(Attack):
    """Edit a text again and again, and go on from those edits that bring another class the nearest.

    It asks for scores alone, so any function will do. At each step, edits of as many texts as the beam is wide are
    tried: all of them, or some that are drawn; the best of all go on. Of equal ones the newest go on, so that it walks
    where a model returns nothing but classes. The first step also has random texts of the threat.

    Args:
        steps: edits in a row.
        width: texts that go on from step to step.
        tries: edits of each text at each step, at most.

    Raises:
        BadInput: for fewer than one of any.
    """

    steps: int = 12
    width: int = 4
    tries: int = 64
    name = "beam"
    follows_gradients = False
    limits = "edits texts only"

    def __post_init__(self) -> None:
        for setting in ("steps", "width", "tries"):
            if (count := whole(f"beam's {setting}", getattr(self, setting))) < 1:
                raise BadInput(f"beam's {setting} must be at least 1, got {count}")

    @classmethod
    def knows(cls, norm: str) -> bool:
        """Threats that say what an edit of a text is."""
        return norm in THREATS and THREATS[norm].edits is not Threat.edits

    def check(self, target: Target, threat: Threat) -> None:
        """Refuse to invent tokens without a vocabulary; gradients are not needed."""
        if threat.apart and threat.input_box is None:
            raise BadInput("beam takes tokens from the input box, and there is none: declare one, such as (0, 999)")

    def perturb(self, search: Search) -> Tensor:
        """The best text found for each row, one row after the other."""
        return torch.stack([self._row(search, row) for row in range(len(search.x))])

    def _row(self, search: Search, row: int) -> Tensor:
        x, generator = search.x[row : row + 1], keyed_generator(f"{search.keys[row]}:edits")
        starts = [search.random_start(torch.tensor([row]), str(number)) for number in range(self.width)]
        beam = torch.cat([x, *starts])
        margins = self._margins(search, row, beam, "start")
        for step in range(self.steps):
            if search.target.deterministic and float(margins.max()) > 0:
                break
            edited = torch.cat([search.edits(row, one, generator, self.tries) for one in beam.split(1)])
            edited = torch.unique(edited, dim=0)
            edited = edited[torch.randperm(len(edited), generator=generator).to(edited.device)]
            tried = torch.cat([edited, beam])
            margins = torch.cat([self._margins(search, row, edited, str(step)), margins])
            best = margins.argsort(descending=True, stable=True)[: self.width]
            beam, margins = tried[best], margins[best]
        order = margins.argsort(descending=True, stable=True)
        if isinstance(search.target, Defended):
            for place in order[:_EXECUTED].tolist():
                found = search.target.examine(beam[place].cpu(), int(search.labels[row]), "", 1)
                search.passes[row] += found.forward_passes
                if found.refuted:
                    return beam[place]
        return beam[int(order[0])]

    @torch.no_grad()
    def _margins(self, search: Search, row: int, texts: Tensor, draw: str) -> Tensor:
        """Margins (n,) of texts (n, length) for one row; NaN is the least."""
        found = []
        for part in texts.split(_TOGETHER):
            rows, labels = torch.full((len(part),), row), search.labels[row].expand(len(part))
            found.append(search.target.classifier.property.margin(search.scores(part, rows, draw), labels))
        return torch.cat(found).nan_to_num(nan=-torch.inf)
