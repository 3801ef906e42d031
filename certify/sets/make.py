"""Prediction sets: calibration, the sets at every radius, and what an attack leaves of their coverage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

from torch import Tensor

from certify.core.legible import many
from certify.core.prediction_sets import InputSets, PredictionSets, SetRow, set_row
from certify.core.rounding import brief, percent_below
from certify.data.batch import Batch
from certify.data.dataset import input_digest
from certify.progress.observer import Observer
from certify.sets.asked import Sets, identity
from certify.sets.hardest import hardest
from certify.sets.scorer import Scorer
from certify.sets.scores import SCORES
from certify.stats.conformal import as_written, conformal_rank, coverage_given, order_statistic

__all__ = ["with_sets"]

DELTA: Final = 0.01
"""Share of calibration sets for which the coverage that is stated of one of them may be too high."""

TOGETHER: Final = 32
"""Inputs between two steps of the progress bar."""


def with_sets(asked: Sets, progress: Observer) -> PredictionSets:
    """Calibrate, and make the sets of all inputs at all radii.

    Raises:
        BadInput, DataError, ModelError: as :func:`~certify.sets.conformal.conformal`.
    """
    asked.check()
    data, scorer = asked.data, asked.scorer()
    scores = _calibrated(scorer, asked.calibration, progress)
    level = as_written(asked.coverage) + scorer.paid
    rank = conformal_rank(len(scores), level)
    threshold = order_statistic(scores, rank)
    given = max(0.0, math.nextafter(coverage_given(rank, len(scores), DELTA) - float(scorer.paid), -math.inf))
    made = _Made(asked, scorer, threshold, progress)
    plain = made.sets(0.0)
    sets = [made.sets(radius) if radius else plain for radius in asked.threat.radii]
    labels = data.labels or (None,) * len(data)
    ends = None if data.labels is None else scorer.highest(data.x, data.labels, 0.0)
    sure = None if ends is None else [end <= threshold for end in ends]
    rows, missed = [], set[int]()
    for radius, found in zip(asked.threat.radii, sets, strict=True):
        row, under_attack = made.row(radius, found, plain)
        rows.append(row)
        missed |= under_attack
        missed |= {place for place, label in enumerate(labels) if label not in found[place]}
    return PredictionSets(
        coverage=float(asked.coverage),
        threat=asked.threat,
        method=scorer.method,
        score=asked.score,
        threshold=threshold,
        rank=rank,
        paid=str(scorer.paid),
        scores=tuple(scores),
        given=given,
        delta=DELTA,
        plain=set_row(0.0, plain, labels),
        rows=tuple(rows),
        inputs=tuple(
            InputSets(position, digest, label, one, each)
            for position, digest, label, one, each in zip(
                data.index, data.digests, labels, plain, zip(*sets, strict=True), strict=True
            )
        ),
        proven=None if sure is None else sum(sure) / len(sure),
        contradictions=tuple(sorted(data.index[place] for place in missed if sure is not None and sure[place])),
        pinned={
            "model": {"name": asked.classifier.name, "digest": asked.classifier.digest},
            "certifiers": [one.settings() for one in asked.certifiers],
            "calibrated_on": identity(asked.calibration),
            "sets_of": identity(data),
            "seed": asked.drawn_from,
            **scorer.pinned,
            **asked.pinned,
        },
        head={
            **asked.head,
            "threat": str(asked.threat),
            "scores": f"{asked.score} ({SCORES[asked.score].citation}), bounded by {scorer.method}",
        },
        statement=_statement(asked, scorer, given),
        notes=(*_few(level, len(scores), rank), *_far(asked, scorer), *made.notes, *asked.notes),
    )


def _calibrated(scorer: Scorer, calibration: Batch, progress: Observer) -> list[float]:
    scores: list[float] = []
    with progress.stage("calibrating", len(calibration)) as advance:
        for first in range(0, len(calibration), TOGETHER):
            part = calibration.rows(slice(first, first + TOGETHER))
            scores += scorer.calibrate(part.x, part.labels or (), part.digests)
            advance(len(part), "")
    return scores


class _Made:
    """Makes the sets of all inputs, radius by radius."""

    def __init__(self, asked: Sets, scorer: Scorer, threshold: float, progress: Observer) -> None:
        self.asked, self.scorer, self.threshold, self.progress = asked, scorer, threshold, progress
        self.attacked = asked.attack and asked.data.labels is not None and asked.classifier.differentiable
        self.notes: list[str] = []
        if self.attacked:
            self.notes.append("Attacked: by gradient ascent on the score of the label. That promises nothing.")
        elif asked.attack and asked.data.labels is not None:
            self.notes.append("Not attacked: the model is a function without gradients.")

    def sets(self, radius: float) -> list[tuple[int, ...]]:
        """The set of each input: every class whose score may be low enough within the radius."""
        made: list[tuple[int, ...]] = []

        def add(part: Batch) -> None:
            kept = ~(self.scorer.lowest(part.x, radius, part.digests) > self.threshold)
            made.extend(tuple(row.nonzero().flatten().tolist()) for row in kept)

        self._each(f"sets at {brief(radius)}", add)
        return made

    def row(
        self, radius: float, sets: Sequence[tuple[int, ...]], plain: Sequence[tuple[int, ...]]
    ) -> tuple[SetRow, set[int]]:
        """The row of a radius, and the places of inputs whose set lacks the label under attack."""
        data = self.asked.data
        if data.labels is None:
            return set_row(radius, sets, [None] * len(data)), set()
        ends = self.scorer.highest(data.x, data.labels, radius)
        proven = None if ends is None else sum(end <= self.threshold for end in ends) / len(ends)
        if not self.attacked:
            return set_row(radius, sets, data.labels, plain_proven=proven), set()
        if radius:
            missed, plain_missed = self._missed(radius)
        else:
            missed, plain_missed = (
                {place for place, label in enumerate(data.labels) if label not in found[place]}
                for found in (sets, plain)
            )
        kept, plain_kept = (1 - len(one) / len(data) for one in (missed, plain_missed))
        return set_row(radius, sets, data.labels, attacked=kept, plain_proven=proven, plain_attacked=plain_kept), missed

    def _missed(self, radius: float) -> tuple[set[int], set[int]]:
        """Places of inputs whose set, and whose plain set, lacks the label where they were changed."""
        places: tuple[list[bool], list[bool]] = [], []

        def attack(part: Batch) -> None:
            points = self._points(part, radius)
            digests = [input_digest(one) for one in points.numpy()]
            for found, within in zip(places, (radius, 0.0), strict=True):
                lowest = self.scorer.lowest(points, within, digests, part.labels).flatten()
                found.extend((lowest > self.threshold).tolist())

        self._each(f"attacking at {brief(radius)}", attack)
        missed, plain_missed = ({place for place, lost in enumerate(found) if lost} for found in places)
        return missed, plain_missed

    def _points(self, part: Batch, radius: float) -> Tensor:
        asked, known = self.asked, dict[int, Tensor]()
        for place, position in enumerate(part.index):
            for one in asked.known.get(position, ()):
                if asked.threat.contains(part.x[place].numpy(), one.numpy(), radius):
                    known[place] = one
        return hardest(
            asked.certifiers[0].target(asked.classifier, asked.threat),
            part.x,
            part.labels or (),
            asked.threat,
            radius,
            SCORES[asked.score](),
            [f"{asked.drawn_from}:{digest}:conformal:{radius!r}" for digest in part.digests],
            known,
        )

    def _each(self, stage: str, use: Callable[[Batch], None]) -> None:
        data = self.asked.data
        with self.progress.stage(stage, len(data)) as advance:
            for first in range(0, len(data), TOGETHER):
                part = data.rows(slice(first, first + TOGETHER))
                use(part)
                advance(len(part), "")


def _few(level: Fraction, n: int, rank: int) -> list[str]:
    if rank <= n:
        return []
    enough = math.ceil(1 / (1 - level)) - 1
    return [
        f"TOO FEW: {many(n, 'calibration input')} cannot give this coverage, so that every set holds all classes; "
        f"{enough:,} can."
    ]


def _far(asked: Sets, scorer: Scorer) -> list[str]:
    said = [scorer.shortfall(radius) for radius in asked.threat.radii]
    return [f"TOO FEW: {one}, so that every set there holds all classes." for one in said if one]


def _statement(asked: Sets, scorer: Scorer, given: float) -> tuple[str, ...]:
    n, coverage = len(asked.calibration), f"{float(100 * as_written(asked.coverage)):g}"
    unknown = f", but not {scorer.unknown}" if scorer.unknown else ""
    noise = " and over the noise" if scorer.unknown else ""
    paid = f"The noise may fail for {float(100 * scorer.paid):g} % of inputs, which the threshold pays for. "
    paid = paid if scorer.paid else ""
    return (
        f"With probability at least {coverage} %, the set of a new input at a radius holds its label, whatever an "
        f"adversary makes of the input within the radius. The adversary may {asked.threat.may}, and may know the "
        f"model, the calibration inputs and the label{unknown}. The probability is over the draw of the "
        f"{many(n, 'calibration input')}, which are unchanged, and of the new input together{noise}: inputs have to be "
        "exchangeable, as if drawn from one source.",
        f"{paid}If inputs are independent draws, {100 * (1 - DELTA):g} of 100 such calibration sets give a coverage of "
        f"at least {percent_below(given)} %.",
    )
