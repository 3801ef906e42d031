"""Accuracy of a run's model under corruptions, beside what the run and others certified of the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from certify.attacks.smoothed import Smoothed
from certify.attacks.target import Plain
from certify.core.corrupted import BesideRun, Corrupted, CorruptedRow
from certify.core.legible import many
from certify.core.rounding import brief_up, percent_down
from certify.corruptions.base import SEVERITIES, severities_of
from certify.deployment.answers import NONE, answers_under, chosen
from certify.deployment.opened import Opened, opened
from certify.errors import BadInput
from certify.progress.observer import Observer, watching
from certify.stats.binomial import clopper_pearson_lower, clopper_pearson_upper
from certify.stats.simultaneous import check_delta, share

__all__ = ["corrupt_run"]


def corrupt_run(
    path: Path | str,
    corruptions: Sequence[str] | None = None,
    *,
    severities: Sequence[int] = SEVERITIES,
    beside: Sequence[Path | str] = (),
    seed: int = 0,
    samples: int = 100,
    delta: float = 0.05,
    model: str | None = None,
    data: str | None = None,
    progress: bool | Observer = False,
) -> Corrupted:
    """Accuracy of a run's model on its inputs under corruptions, beside certified accuracy of the same inputs.

    Args:
        path: the run folder, finished or not.
        corruptions: registered names; None for all that fit the inputs.
        severities: from 1 to 5.
        beside: further run folders about the same model and inputs, whose certificates stand beside the accuracy.
        seed: of what is drawn.
        samples: votes about each corrupted input, where the certified model is smoothed.
        delta: probability with which some interval of the table may miss.
        model, data: SPECs in place of the manifest's; naming a Python function lets it run.
        progress: True shows how far it is.

    Returns:
        One row for the inputs themselves, and one for each corruption and severity.

    Raises:
        StoreError: for no run folder.
        BadInput: for a corruption that is unknown or does not fit the inputs, a severity outside 1 to 5, another
            property than the top class, or other runs about other models or inputs.
        CertifyError: for models and data that cannot be loaded, or are others than the run's.
    """
    wanted, watch = severities_of(severities), watching(progress)
    check_delta(delta)
    if samples < 1:
        raise BadInput(f"samples must be at least 1, got {samples}")
    there = opened(path, tuple(beside), samples=samples, model=model, data=data)
    kinds = chosen(there, corruptions)
    n, labels = len(there.inputs), there.inputs.y.tolist()
    answers = answers_under(there, kinds, seed, watch)
    level = share(delta, 2 * (1 + len(kinds) * len(wanted)))

    def row(name: str, severity: int, strength: float, amount: str, right: NDArray[np.bool_]) -> CorruptedRow:
        count, made = int(right.sum()), answers[name].certified
        column = severity - 1 if severity else 0
        return CorruptedRow(
            corruption=name,
            severity=severity,
            strength=strength,
            amount=amount,
            right=count,
            accuracy=count / n,
            lower=clopper_pearson_lower(count, n, level),
            upper=clopper_pearson_upper(count, n, level),
            certified=tuple(None if one is None else int(one[:, column].sum()) / n for one in made),
            missed=tuple(
                position for position, ok in zip(there.inputs.positions, right.tolist(), strict=True) if not ok
            ),
        )

    rows = [row(NONE, 0, 0.0, "", answers[NONE].right[:, 0])]
    for kind in kinds:
        for severity in wanted:
            strength = kind.strength(severity, there.form)
            right = answers[kind.name].right[:, severity - 1]
            rows.append(row(kind.name, severity, strength, kind.amount(strength), right))
    runs = tuple(
        BesideRun(
            one.run.name,
            one.run.summary.threat.noun,
            one.run.summary.guarantee.alpha,
            tuple(kind.name for kind in kinds if one.is_axis(kind)),
            one.run.summary.complete and not one.run.summary.errors,
        )
        for one in there.runs
    )
    summary = there.first.run.summary
    return Corrupted(
        n=n,
        confidence=1 - delta,
        runs=runs,
        rows=tuple(rows),
        contradictions=tuple(
            one for found in answers.values() for one in found.contradictions if one.severity in (0, *wanted)
        ),
        pinned={
            "model_digest": there.first.run.settings["model"]["digest"],
            "data_digest": there.first.run.settings["data"]["digest"],
            "seed": seed,
            "samples": None if isinstance(there.first.target, Plain) else samples,
            "corruptions": {kind.name: kind.noun for kind in kinds},
            "labels": labels,
        },
        head={name: text for name, text in summary.head.items() if name in ("model", "data", "met")},
        statement=_statement(there, len(rows), delta, samples),
        notes=_notes(there, runs, n),
    )


def _statement(there: Opened, rows: int, delta: float, samples: int) -> tuple[str, ...]:
    """What is promised, a sentence each."""
    n, smoothed = len(there.inputs), not isinstance(there.first.target, Plain)
    fixed = "the model, the corruptions and the seed are fixed"
    votes = f", and over the votes ({samples:,} about each input)" if isinstance(there.first.target, Smoothed) else ""
    whose = f"the vote of {samples:,} draws" if votes else "the model that its run certifies"
    model = f"{whose}, and not of the network alone," if smoothed else "the model"
    said = [
        f"With probability at least {percent_down(1 - delta)} % over the draw of the {many(n, 'input')}{votes}, the "
        f"accuracy of {model} on new inputs lies inside the interval in all {rows:,} rows at once; the inputs are "
        f"assumed to be independent draws from one source, new ones come from there, and {fixed}.",
        f"Certified: the share of these {n:,} inputs that are right and certified at least as far as their own "
        "corruption lies from them: the worst change of that size is covered, and so is this one. Empty: the run's "
        "threat does not reach such changes.",
    ]
    for one in there.runs:
        alpha = one.run.summary.guarantee.alpha
        kind = "proofs" if alpha is None else f"each false with probability at most {brief_up(alpha)}"
        said.append(f"{one.run.name}: certificates about every {one.run.summary.threat.change()} ({kind}).")
    return tuple(said)


def _notes(there: Opened, runs: Sequence[BesideRun], n: int) -> tuple[str, ...]:
    """What else a reader has to know."""
    axes = [f"{axis} (run {one.name})" for one in runs for axis in one.axes]
    notes = []
    if axes:
        notes.append(
            f"The strength of {', '.join(axes)} is a radius of the run's threat: accuracy and certified accuracy are "
            "on one axis, the average case and the worst."
        )
    if len(np.unique(there.inputs.x.reshape(n, -1), axis=0)) < n:
        notes.append("Some inputs are equal: such inputs are no independent draws, and the intervals assume that.")
    if isinstance(met := there.first.run.context.get("met"), Mapping):
        trained, held_out = met.get("trained"), met.get("held_out")
        notes.append(
            f"The model was trained on {trained!s:.20} of these inputs and chosen by {held_out!s:.20}: accuracy on "
            "them says little about new ones."
        )
    notes += [
        f"{one.name} is not complete: what it has not certified yet counts as not certified."
        for one in runs
        if not one.complete
    ]
    return tuple(notes)
