"""What prediction sets are asked for, and what is refused of it before any work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from certify.bounds.radii.ladder import ladder
from certify.certifiers.base import Certifier
from certify.certifiers.bounds import Bounds
from certify.certifiers.smoothing import Smoothing
from certify.core.legible import many
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import THREATS, Threat
from certify.core.values import whole
from certify.data.batch import Batch
from certify.errors import BadInput, DataError
from certify.models.classifier import Classifier
from certify.sets.bounded import BoundedScores
from certify.sets.scorer import Scorer
from certify.sets.scores import LEAST, SCORES
from certify.sets.voted import SAMPLES, VotedScores, share_of
from certify.stats.conformal import as_written

__all__ = ["Sets", "check_threat", "gives_scores", "identity"]


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """What prediction sets are made from.

    Args:
        classifier: the model.
        data: the inputs whose sets are wanted; with labels, coverage is counted.
        calibration: other inputs, with labels.
        threat: what may change, with the radii.
        certifiers: bounds, of which the best bound counts, or smoothing.
        coverage, score, samples, seed: as for :func:`~certify.sets.conformal.conformal`.
        attack: whether to search for changed inputs whose sets lack the label.
        parts: whether both are parts of one data set, so that equal inputs in them are two inputs and not one.
        known: further points to begin that search from, by position of the input.
        head: model and data by name.
        pinned: what else a record of the sets should hold.
        notes: what else a reader has to know.
    """

    classifier: Classifier
    data: Batch
    calibration: Batch
    threat: Threat
    certifiers: tuple[Certifier, ...]
    coverage: float
    score: str = LEAST
    samples: int | None = None
    seed: int | None = None
    attack: bool = True
    parts: bool = False
    known: Mapping[int, Sequence[Tensor]] = field(default_factory=dict)
    head: Mapping[str, str] = field(default_factory=dict)
    pinned: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what nothing can be promised about.

        Raises:
            BadInput, DataError, ModelError: naming it.
        """
        as_written(self.coverage)
        SCORES[self.score]
        if self.classifier.property != TOP_CLASS or self.classifier.num_classes < 2:
            raise BadInput("prediction sets are sets of classes: this is about another property, or about a regression")
        if self.calibration.labels is None:
            raise BadInput("calibration inputs need labels")
        check_threat(self.threat)
        for what, batch in (("the inputs", self.data), ("the calibration inputs", self.calibration)):
            if batch.shape != self.data.shape:
                raise BadInput(f"{what} have shape {batch.shape}, the inputs that sets are made of {self.data.shape}")
            try:
                self.classifier.check(batch.x)
                self.threat.check_inputs(batch.x.numpy())
            except DataError as problem:
                raise DataError(f"{what}: {problem}") from problem
        if not self.parts and (shared := {*self.data.digests} & {*self.calibration.digests}):
            also = f"{'is' if len(shared) == 1 else 'are'} also among those whose sets are wanted"
            raise BadInput(
                f"{many(len(shared), 'input')} among the calibration inputs {also}: nothing is promised about them, "
                "leave them out of one"
            )

    @property
    def drawn_from(self) -> int:
        """The seed: the one that was given, or one that nobody chose."""
        if self.seed is not None:
            return whole("seed", self.seed)
        said = [
            self.classifier.digest,
            identity(self.calibration)["digest"],
            identity(self.data)["digest"],
            self.threat.to_dict(),
            [one.settings() for one in self.certifiers],
            [float(self.coverage), self.score, None if self.samples == SAMPLES else self.samples],
        ]
        digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=4).digest()
        return int.from_bytes(digest, "little")

    def scorer(self) -> Scorer:
        """What bounds the scores.

        Raises:
            BadInput: for certifiers that bound none, or a threat or a number of samples that they do not know.
        """
        score = SCORES[self.score]()
        for one in self.certifiers:
            if isinstance(one, Smoothing):
                theorem = one.theorem(self.threat, self.data.shape)
                samples = SAMPLES if self.samples is None else whole("samples", self.samples)
                each = share_of(as_written(self.coverage))
                return VotedScores(self.classifier, theorem, score, samples, each, self.drawn_from)
        bounds = [one for one in self.certifiers if isinstance(one, Bounds)]
        if not bounds:
            named = ", ".join(getattr(one, "method", type(one).__name__) for one in self.certifiers)
            raise BadInput(f"{named} bounds no scores, only the class on top: use a bound method or smoothing")
        if self.samples is not None:
            raise BadInput("samples are drawn by smoothing, and bounds draw nothing: leave them out")
        for one in bounds:
            one.check(self.classifier, self.threat, self.data.x)
        methods = tuple(dict.fromkeys(method for one in bounds for method in ladder(one.method)))
        return BoundedScores(self.classifier, self.threat, score, methods, bounds[0].max_memory)


def gives_scores(certifier: object) -> bool:
    """Whether a certifier bounds the scores that sets are made from, and not only the class on top."""
    return isinstance(certifier, Bounds | Smoothing)


def check_threat(threat: Threat) -> None:
    """Refuse a threat that is not symmetric.

    Raises:
        BadInput: naming those that are.
    """
    if not threat.symmetric:
        known = ", ".join(name for name, one in THREATS.items() if one.symmetric)
        raise BadInput(
            f"an input may not lie within the radius of what {threat.noun} makes of it, and sets look for it there: "
            f"symmetric threats are {known}"
        )


def identity(batch: Batch) -> dict[str, Any]:
    """How many inputs, and the digest of their digests and labels in order."""
    said = json.dumps([batch.digests, batch.labels]).encode()
    return {"inputs": len(batch), "digest": hashlib.sha256(said).hexdigest()}
