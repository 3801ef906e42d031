"""Models that differ in their seed alone, or in the fold that their training left out: one table for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from certify.core.legible import many
from certify.core.run import Run
from certify.core.shown import VIEWS
from certify.core.summary import Summary
from certify.errors import BadInput
from certify.stats.replicates import corrected_interval, shared_inputs_interval, student_interval
from certify.summary.same_training import same_training, trained_on
from certify.summary.words import percent

__all__ = ["ReplicateRow", "Replicates", "Spread", "replicates"]


@dataclass(frozen=True, slots=True)
class Spread:
    """A share of several models, in [0, 1].

    Args:
        mean, least, most: over the models.
        lower, upper: an interval for the mean over all seeds, or for the recipe, from folds; None where all models have
            the same share, so that nobody can tell.
    """

    mean: float
    least: float
    most: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class ReplicateRow:
    """One radius.

    Args:
        radius: in input units.
        certified: predicted correctly and certified at this radius.
        certified_lower: with the confidence of the table, the mean over these models of the fraction of inputs that is
            truly right and robust is at least this; over the sampling noise.
        inputs_lower, inputs_upper: an interval for the mean of these models over the population of the inputs; None for
            folds, and where nothing can be said of a population.
        attacked: predicted correctly and not broken within this radius; None where an attack did not run everywhere.
    """

    radius: float
    certified: Spread
    certified_lower: float
    inputs_lower: float | None
    inputs_upper: float | None
    attacked: Spread | None


@dataclass(frozen=True, slots=True)
class Replicates:
    """Several models of one recipe, data and certifier, and how far others like them may be from their mean.

    Args:
        about: recipe, data and certifiers, in words.
        kind: ``"seed"`` or ``"fold"``: in what they differ.
        runs: their names.
        n: inputs certified, by each of them for seeds, by all of them together for folds.
        rows: one a radius.
        clean: predicted correctly.
        measure, units: of the radii.
        confidence: of each interval, and of the column of lower bounds.
        probabilistic: whether certificates may be false, so that ``certified_lower`` is another number.
        statements: what each column covers and what it does not, a sentence or more for each.
    """

    about: str
    kind: str
    runs: tuple[str, ...]
    n: int
    rows: tuple[ReplicateRow, ...]
    clean: Spread
    measure: str
    units: str
    confidence: float
    probabilistic: bool
    statements: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row a radius."""
        import pandas

        return pandas.DataFrame(self.columns()).set_index("radius")

    def columns(self) -> list[dict[str, Any]]:
        """Each row as plain values under one name each: ``certified_mean``, ``certified_lower``, ..."""
        named = []
        for row in self.rows:
            spreads = {"certified": row.certified, "attacked": row.attacked, "clean": self.clean}
            values = {
                f"{name}_{part}": None if spread is None else value
                for name, spread in spreads.items()
                for part, value in asdict(spread or self.clean).items()
            }
            own = {
                "inputs_lower": row.inputs_lower,
                "inputs_upper": row.inputs_upper,
                "true_lower": row.certified_lower,
            }
            named.append({"radius": row.radius, **values, **own})
        return named

    def render(self, format: str) -> str:
        """The table as text: ``table``, ``json``, ``csv``, ``latex``, ``markdown`` or ``html``."""
        return VIEWS[f"replicates.{format}"](self)

    def __str__(self) -> str:
        return self.render("table")

    def _repr_html_(self) -> str:
        return self.render("html")


def replicates(runs: Sequence[Run], confidence: float = 0.95) -> Replicates:
    """The mean over several models that differ in their seed alone, or in their fold, with intervals.

    Args:
        runs: one a model, at the same radii, each with lower bounds of its own that all hold together with probability
            ``confidence``: with k runs, each made with ``delta = (1 - confidence) / k``. Each manifest has to say how
            its model was trained, as those of models that ``certify train`` wrote do.
        confidence: of each interval.

    Raises:
        BadInput: for fewer than two runs, an unfinished one, the same seed twice, folds that are not all there or were
            not certified on themselves, or runs that differ otherwise: the first difference is named.
    """
    if len(runs) < 2:
        name = f" ({runs[0].name})" if runs else ""
        raise BadInput(f"an interval over seeds or folds needs at least two runs, got {len(runs)}{name}")
    for run in runs:
        if not run.summary.complete:
            raise BadInput(f"{run.name} is unfinished: the same run command resumes it")
        if len(runs) * (1 - run.summary.confidence) > (1 - confidence) * (1 + 1e-9):
            raise BadInput(
                f"the bounds of {len(runs)} runs at {run.summary.confidence:g} each do not hold at {confidence:g}"
            )
    kind, trainings = same_training(runs)
    return _of_seeds(runs, confidence) if kind == "seed" else _of_folds(runs, trainings, confidence)


def _spread(shares: Sequence[float], delta: float, ratio: float | None) -> Spread:
    found = student_interval(shares, delta) if ratio is None else corrected_interval(shares, ratio, delta)
    lower, upper = (None, None) if found is None else found
    return Spread(float(np.mean(shares)), min(shares), max(shares), lower, upper)


def _rows(summaries: Sequence[Summary], delta: float, ratio: float | None) -> tuple[ReplicateRow, ...]:
    # Folds are different inputs, and their interval is about these as well. A population is what all runs speak of.
    sample = ratio is None and all(one.rows[0].population_lower is not None for one in summaries)

    def row(place: int) -> ReplicateRow:
        rows = [one.rows[place] for one in summaries]
        attacked = [one.empirical for one in rows if one.empirical is not None]
        radius = rows[0].radius
        certified = sum(int(np.count_nonzero(one.sandwich.certified >= radius)) for one in summaries)
        inputs = shared_inputs_interval(certified, summaries[0].n, len(summaries), delta) if sample else (None, None)
        return ReplicateRow(
            radius=radius,
            certified=_spread([one.certified for one in rows], delta, ratio),
            certified_lower=float(np.mean([one.certified_lower for one in rows])),
            inputs_lower=inputs[0],
            inputs_upper=inputs[1],
            attacked=_spread(attacked, delta, ratio) if len(attacked) == len(rows) else None,
        )

    return tuple(row(place) for place in range(len(summaries[0].rows)))


def _of_seeds(runs: Sequence[Run], confidence: float) -> Replicates:
    k, n, sure = len(runs), runs[0].summary.n, percent(confidence)
    seeds = (
        f"Over seeds: with probability {sure}, on these same inputs, the mean over all seeds of this training is in "
        f"the interval, if their accuracies are about normal (Student's t with {many(k - 1, 'degree')} of "
        "freedom). It does not cover other inputs, nor other training data."
    )
    inputs = (
        f"Over inputs: with probability at least {sure}, the mean certified accuracy of these {k} models over a "
        f"population that these {n:,} inputs are an independent random sample of is in the interval, at each radius by "
        "itself, if that was declared beforehand. It does not cover other seeds: a claim about new seeds on new inputs "
        "needs both."
    )
    return _table("seed", runs, n, confidence, None, (seeds, inputs))


def _of_folds(runs: Sequence[Run], trainings: Sequence[Mapping[str, Any]], confidence: float) -> Replicates:
    _, count = trainings[0]["fold"]
    for run, training in zip(runs, trainings, strict=True):
        if run.settings["data"].get("fold") != training["fold"]:
            raise BadInput(f"{run.name} was not certified on its own fold: cross-validation is over runs that were")
    there = {training["fold"][0] for training in trainings}
    if (missing := next((fold for fold in range(count) if fold not in there), None)) is not None:
        raise BadInput(f"fold {missing} of {count} is missing: certify its model as well")
    ratio = max(run.summary.n / trained_on(run, training) for run, training in zip(runs, trainings, strict=True))
    folds = (
        f"Over folds: with probability about {percent(confidence)}, the accuracy of this recipe on new inputs, trained "
        f"on as many as here, is in the interval. It is approximate: the variance of {count} folds times 1/{count} + "
        f"{ratio:.3g}, because models share what they were trained on, and Student's t with "
        f"{many(count - 1, 'degree')} of freedom (Nadeau and Bengio 2003); no unbiased estimator of that variance "
        "exists (Bengio and Grandvalet 2004). It is about no single one of these models and does not cover other seeds."
    )
    return _table("fold", runs, sum(run.summary.n for run in runs), confidence, ratio, (folds,))


def _table(
    kind: str, runs: Sequence[Run], n: int, confidence: float, ratio: float | None, statements: tuple[str, ...]
) -> Replicates:
    summaries, delta = [run.summary for run in runs], 1 - confidence
    first = summaries[0]
    probabilistic = first.guarantee.alpha is not None
    if probabilistic:
        statements += (
            f"'>=': with probability at least {percent(confidence)} over the sampling noise of all {len(runs)} runs, "
            "at all radii at once, the mean over these smoothed models of the share of these inputs on which each is "
            "truly right and robust is at least this.",
        )
    contradictions = sum(len(one.contradictions) for one in summaries)
    if contradictions:
        statements = (f"CONTRADICTION: {many(contradictions, 'certificate')}; see the runs' own tables.", *statements)
    return Replicates(
        about=_about(runs[0]),
        kind=kind,
        runs=tuple(run.name for run in runs),
        n=n,
        rows=_rows(summaries, delta, ratio),
        clean=_spread([one.clean for one in summaries], delta, ratio),
        measure=first.threat.measure,
        units=first.threat.units,
        confidence=confidence,
        probabilistic=probabilistic,
        statements=statements,
    )


def _about(run: Run) -> str:
    """What all runs of a table share."""
    training, settings = run.context["training"], run.settings
    trained = training.get("data")
    trained_on = trained.get("name") if isinstance(trained, Mapping) else trained
    methods = [
        " with ".join([one["method"], *(f"{name}={one[name]}" for name in ("sigma", "retention") if name in one)])
        for one in settings["certifiers"]
    ]
    certified = f"certified by {' and '.join(methods)} on {settings['data']['name']}"
    return f"{training.get('recipe')} on {trained_on}, {certified}"
