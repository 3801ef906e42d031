"""AutoAttack, through the pyautoattack library."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from certify.attacks.base import ATTACKS, Attack, Search
from certify.attacks.target import Target
from certify.core.norms import NORMS
from certify.core.properties.base import Property
from certify.core.threats.base import Threat
from certify.core.threats.lp import ThreatModel
from certify.data.generators import keyed_seed
from certify.errors import BadInput, MissingExtra, ModelError
from certify.registry import nearest

__all__ = ["AutoAttack"]

_VERSIONS: Final = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
_FEWEST_CLASSES: Final = {"apgd-dlr": 3, "apgd-t": 4}
"""Classes that a part needs at least: its loss divides by a difference to the third or fourth largest score."""
_PARTS: Final = tuple(_VERSIONS["plus"])


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Undo the library's side effects: it seeds the global generator, resets the debugger's hook and logs."""
    logger, hook = logging.getLogger("auto-attack"), sys.gettrace()
    disabled, logger.disabled = logger.disabled, True
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        logger.disabled = disabled
        sys.settrace(hook)


@ATTACKS.register("autoattack")
@dataclass(frozen=True, slots=True)
class AutoAttack(Attack):
    """The ensemble of APGD, FAB and Square of Croce and Hein (2020).

    Each input is attacked alone and with a seed of its own, which costs speed and makes findings independent of the
    batch. The library works in [0, 1]; inputs in another box and their radius are rescaled.

    Args:
        version: ``"standard"``, ``"plus"``, ``"rand"`` (the one for smoothed classifiers) or ``"custom"``.
        attacks: the parts of a custom version, from ``apgd-ce, apgd-dlr, fab, square, apgd-t, fab-t``.

    Raises:
        BadInput: for an unknown version or part, or parts without ``version="custom"``.
    """

    version: str = "standard"
    attacks: tuple[str, ...] = ()
    name = "autoattack"
    limits = "looks for another top class, in balls of the three norms only"

    def __post_init__(self) -> None:
        object.__setattr__(self, "attacks", tuple(self.attacks))
        versions = [*_VERSIONS, "custom"]
        if self.version not in versions:
            hint = nearest(self.version, versions)
            raise BadInput(f"unknown autoattack version {self.version!r}{hint} known: {', '.join(versions)}")
        if (self.version == "custom") != bool(self.attacks):
            raise BadInput("autoattack takes a list of attacks with version='custom', and only with it")
        for part in self.attacks:
            if part not in _PARTS:
                raise BadInput(f"unknown part {part!r}{nearest(part, list(_PARTS))} known: {', '.join(_PARTS)}")

    def _parts(self) -> tuple[str, ...]:
        return self.attacks or _VERSIONS[self.version]

    @classmethod
    def knows(cls, norm: str) -> bool:
        """Balls."""
        return norm in NORMS

    @classmethod
    def handles(cls, property: type[Property]) -> bool:
        """What is answered as by a class."""
        return property.like_classes

    def check(self, target: Target, threat: Threat) -> None:
        """Refuse what the library cannot do: no box, a scale, too few classes, no gradients, noise outside ``rand``.

        Raises:
            MissingExtra: without pyautoattack.
            BadInput, ModelError: as above.
        """
        if importlib.util.find_spec("pyautoattack") is None:
            raise MissingExtra("pyautoattack", "autoattack", "AutoAttack")
        if threat.input_box is None:
            raise BadInput("autoattack needs an input box: declare one with input_box=(lower, upper), or use pgd")
        if threat.input_box.pair is None:
            raise BadInput("autoattack takes one pair of bounds for all features, the threat has one for each: use pgd")
        if isinstance(threat, ThreatModel) and threat.scale is not None:
            raise BadInput("autoattack moves all features alike, the threat model has a per-feature scale: use pgd")
        if not target.deterministic and self.version != "rand":
            raise BadInput(
                f"autoattack {self.version} is for deterministic models; a smoothed one needs version='rand'"
            )
        for part in self._parts():
            fewest = _FEWEST_CLASSES.get(part, 2)
            if target.num_classes < fewest:
                raise BadInput(
                    f"autoattack's {part} needs at least {fewest} classes, the model has {target.num_classes}: "
                    "use version='custom', attacks=('apgd-ce', 'fab', 'square')"
                )
            if part != "square" and not target.differentiable:
                raise ModelError(
                    f"autoattack's {part} needs gradients, and a plain function has none: "
                    "use hopskipjump, or on images version='custom', attacks=('square',)"
                )

    def perturb(self, search: Search) -> Tensor:
        """What the ensemble returns for each row, one row after the other."""
        if "square" in self._parts() and (search.x.dim() != 4 or min(search.x.shape[2:]) < 5):
            raise BadInput(
                f"autoattack's square needs images (channels, height, width) of at least 5 x 5, "
                f"the inputs have shape {tuple(search.x.shape[1:])}: use version='custom' without square, "
                "pgd, or hopskipjump for functions"
            )
        with _undisturbed():
            return torch.cat([self._perturb_row(search, row) for row in range(len(search.x))])

    def _perturb_row(self, search: Search, row: int) -> Tensor:
        from pyautoattack import AutoAttack as Ensemble

        threat = search.threat
        assert threat.input_box is not None  # check() refused it
        lower, upper = threat.input_box.hull
        width = upper - lower
        rows = torch.tensor([row], device=search.x.device)
        start, draw = search.x[rows], itertools.count()

        def scores(z: Tensor) -> Tensor:
            point = z if (lower, upper) == (0.0, 1.0) else lower + width * z
            return search.scores(point.reshape(start.shape), rows, str(next(draw)))

        ensemble = Ensemble(
            scores,
            attacks=list(self.attacks) or None,
            version=self.version,
            norm=threat.norm.capitalize(),
            eps=search.radius / width,
            seed=keyed_seed(search.keys[row]),
            device=search.x.device,
        )
        rivals = search.target.num_classes - 1
        for targeted in (ensemble.apgd_targeted, ensemble.fab):
            targeted.n_target_classes = min(targeted.n_target_classes, rivals)
        # The library takes three axes for an image that lost its batch axis: it sees images or flat inputs.
        x = (start if start.dim() == 4 else start.flatten(1)).sub(lower).div(width)
        with torch.no_grad():
            x_adv, _ = ensemble.run_standard_evaluation(x, search.labels[rows], batch_size=1)
        # Scaling to [0, 1] and back may round x; inputs that the library left alone stay bit for bit.
        return torch.where((x_adv == x).reshape(start.shape), start, (lower + width * x_adv).reshape(start.shape))
