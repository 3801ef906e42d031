"""The searches behind an audit of robustness: attacks on one input at all radii in question, and proofs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from certify.attacks.base import Attack
from certify.attacks.pgd import PGD
from certify.attacks.run import run_attack
from certify.attacks.target import Plain
from certify.bounds.deadline import NEVER
from certify.bounds.graph import Graph
from certify.certifiers.complete import verify
from certify.certifiers.deterministic import graph_of
from certify.complete.question import Question
from certify.complete.witnesses.search import hunt
from certify.core.evidence import CompleteEvidence
from certify.core.finding import Finding
from certify.core.stated import Stated
from certify.core.threats.lp import ThreatModel
from certify.data.batch import Batch
from certify.device import CPU
from certify.errors import CertifyError
from certify.models.classifier import Classifier

__all__ = ["RadiusSearch", "Shown", "graph_if_any", "searched"]

ATTACKS: Final = (PGD(steps=100, restarts=3), PGD(steps=100, restarts=3, loss="ce"))
"""One after the other, as long as a claim stands that an example would decide."""

PIECES: Final = 32
"""Pieces of the witness search of complete verification that follow at each radius: more starts, other steps."""


@dataclass(frozen=True, slots=True)
class RadiusSearch:
    """How inputs are searched: the model, its graph (None where an operator has no rule), the threat without radii of
    its own, seconds for a decision, seed and threads."""

    classifier: Classifier
    graph: Graph | None
    threat: ThreatModel
    timeout: float
    seed: int
    workers: int

    @property
    def attacks(self) -> str:
        """How every input is attacked, in words."""
        pieces = [] if self.graph is None else [f"{PIECES} pieces of witness search at each radius"]
        return "; ".join([*map(_words, ATTACKS), *pieces])


@dataclass(slots=True)
class Shown:
    """What the searches about one input came to: its nearest example, and the largest radius that was proven."""

    example: Finding | None = None
    proven: float = -1.0
    searched: str = ""

    @property
    def distance(self) -> float:
        """Of the example, rounded up; infinite where there is none."""
        return math.inf if self.example is None or self.example.distance is None else self.example.distance

    def learn(self, found: Finding | None) -> None:
        """Take in what an attack or a search found."""
        if found is not None and found.distance is not None and found.distance < self.distance:
            self.example = found


def searched(claims: Sequence[Stated], part: Batch, drawn: bool, how: RadiusSearch) -> Shown:
    """Attack one input at all its radii, ascending; decide those that stand if it is drawn.

    Args:
        claims: what is stated about it, each robust or not robust.
        part: the input alone, with its label.
        drawn: whether complete verification decides the radii that no example does.
        how: model, threat and limits.

    Raises:
        CertifyError: if the model cannot be attacked, or not be decided.
    """
    assert part.labels is not None
    shown = Shown(searched="attacked")
    for attack in ATTACKS:
        if radii := _standing_radii(claims, shown):
            shown.learn(run_attack(Plain(how.classifier), part, how.threat.at(radii), attack, how.seed)[0])
    for radius in _standing_radii(claims, shown):
        if how.graph is not None and radius < shown.distance:
            shown.learn(_hunted(part, radius, how, how.graph))
    if drawn and (radii := _standing_radii(claims, shown)):
        [made] = verify(
            how.classifier,
            part.x,
            list(part.labels),
            threat=how.threat.at(radii),
            timeout=how.timeout,
            seed=how.seed,
            workers=how.workers,
            index=part.index,
        )
        shown.learn(made.finding)
        if isinstance(made.evidence, CompleteEvidence) and made.evidence.certified is not None:
            shown.proven = made.evidence.certified
        shown.searched += f", not decided within {how.timeout:g} s"
    return shown


def _hunted(part: Batch, radius: float, how: RadiusSearch, graph: Graph) -> Finding | None:
    """What the witness search of complete verification finds at one radius, moved as near to the input as it goes."""
    assert part.labels is not None
    kept = part.labels[0]
    question = Question(how.classifier, graph, part.x[0], kept, how.threat, "exact")
    pieces = itertools.islice(hunt(question.within(radius), NEVER, how.seed), PIECES)
    witness = next((one for one in pieces if one is not None), None)
    if witness is None:
        return None
    witness = question.nearer(witness)
    clean, example = (
        Plain(how.classifier).examine(x, kept, "", 1).prediction for x in (part.x[0], torch.from_numpy(witness.x))
    )
    return Finding(
        index=part.index[0],
        input_digest=part.digests[0],
        label=kept,
        prediction=clean,
        norm=how.threat.norm,
        radii=(radius,),
        attack="witness search",
        settings={"pieces": PIECES, **how.threat.named, **how.classifier.property.named},
        seed=how.seed,
        radius=radius,
        distance=question.distance(witness),
        x_adv=witness.x,
        adversarial_prediction=example,
        model_digest=how.classifier.digest,
    )


def graph_if_any(classifier: Classifier, batch: Batch, *, required: bool) -> Graph | None:
    """The graph that witness searches and proofs need; None for a function, or where an operator has no rule.

    Raises:
        CertifyError: where there is none although it is required.
    """
    try:
        return graph_of(classifier.base.on(CPU), batch.shape)
    except CertifyError:
        if required:
            raise
        return None


def _standing_radii(claims: Sequence[Stated], shown: Shown) -> tuple[float, ...]:
    """The radii of claims that the nearest example does not decide."""
    return tuple(sorted({row.eps for row in claims if row.eps < shown.distance}))


def _words(attack: Attack) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in attack.settings().items())
    return f"{attack.name} ({settings})"
