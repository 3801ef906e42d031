"""Prediction sets of a run's inputs: its model, data, threat and certifier, and calibration inputs beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from certify.certifiers.base import CERTIFIERS, Certifier
from certify.checker.result import Standing
from certify.checker.sample import sample_of
from certify.core.finding import Finding
from certify.core.legible import many
from certify.core.prediction_sets import PredictionSets
from certify.core.properties.base import property_from
from certify.core.threats.base import Threat, threat_from
from certify.data.batch import Batch
from certify.data.dataset import Dataset
from certify.errors import BadInput, ModelError
from certify.progress.observer import Observer, watching
from certify.registry import make, settings_of
from certify.sets.asked import Sets, check_threat, gives_scores
from certify.sets.make import with_sets
from certify.sets.scores import LEAST
from certify.store.run_folder import RunFolder
from certify.study.at_hand import AtHand, at_hand, data_of, loaded
from certify.study.read import head_of
from certify.study.subject import MOST_HELD_OUT, overlap_of

__all__ = ["REST", "RunSets", "conformal_run", "sets_of"]

REST: Final = "rest"
"""Stands for the inputs of the run's data that its random draw left out."""

_NEEDED: Final = ("model", "data", "threat", "certifiers", "device", "property")
"""Settings of a run that its sets depend on."""


@dataclass(frozen=True, slots=True)
class RunSets:
    """What sets are asked for about the inputs of a run.

    Args:
        settings, context: of the run, from its manifest.
        calibration: SPEC of the calibration inputs, or :data:`REST`.
        coverage, score, samples: as for :func:`~certify.sets.conformal.conformal`.
        radii: other radii than the declared ones; None for those.
        model, data: SPECs in place of the manifest's.
        believed: whether SPECs of the manifest or a record may name Python functions: False, unless they were given.
    """

    settings: Mapping[str, Any]
    context: Mapping[str, Any]
    calibration: str
    coverage: float
    score: str = LEAST
    samples: int | None = None
    radii: tuple[float, ...] | None = None
    model: str | None = None
    data: str | None = None
    believed: bool = True


def conformal_run(
    path: Path | str,
    calibration: str,
    *,
    coverage: float = 0.9,
    score: str = LEAST,
    samples: int | None = None,
    radii: Sequence[float] | None = None,
    model: str | None = None,
    data: str | None = None,
    progress: bool | Observer = False,
) -> PredictionSets:
    """The prediction sets of a run's inputs, with the run's model, data, threat and certifier.

    Args:
        path: the run folder, finished or not: of its records, only the examples that its attack found are used.
        calibration: SPEC of other data with labels; or ``"rest"``, the inputs that the run's random draw left out.
        coverage, score, samples: as for :func:`~certify.sets.conformal.conformal`.
        radii: other radii than the declared ones.
        model, data: SPECs in place of the manifest's; naming a Python function lets it run.
        progress: True shows how far it is.

    Raises:
        StoreError: for no run folder.
        BadInput: where the run's certifier bounds no scores or its threat is not symmetric; for calibration inputs
            that are among the run's inputs, or that the model was trained or chosen by; for a sample that cannot be
            drawn again.
        CertifyError: for models and data that cannot be loaded, or are others than the run's.
    """
    with RunFolder.open(path) as folder:
        manifest, findings = folder.manifest, folder.records.findings()
    asked = RunSets(
        {name: manifest.settings[name] for name in _NEEDED if name in manifest.settings},
        {"specs": manifest.context.get("specs", {})},
        calibration,
        coverage,
        score,
        samples,
        None if radii is None else tuple(radii),
        model,
        data,
    )
    notes = []
    if isinstance(met := manifest.context.get("met"), Mapping):
        notes.append(
            f"The model was trained on {met.get('trained')!s:.20} of the run's inputs and chosen by "
            f"{met.get('held_out')!s:.20}: coverage of these says little about new ones."
        )
    return with_sets(sets_of(asked, findings, {"model": head_of(manifest)["model"]}, tuple(notes)), watching(progress))


def sets_of(
    asked: RunSets, findings: Sequence[Finding] = (), head: Mapping[str, str] | None = None, notes: tuple[str, ...] = ()
) -> Sets:
    """Load what sets are made from, and refuse early what they cannot be made from.

    Raises:
        BadInput, CertifyError: as :func:`conformal_run`.
    """
    settings = asked.settings
    threat = threat_from(settings["threat"])
    threat = threat if asked.radii is None else threat.at(asked.radii)
    check_threat(threat)
    if property_from(settings.get("property")).kind != "top-class":
        raise BadInput("prediction sets are sets of classes, and this run is about another property than the top class")
    certifiers = _certifiers(settings["certifiers"])
    there = at_hand(settings, asked.context, asked.model, asked.data)
    if there.lacking or there.classifier is None or there.dataset is None:
        raise ModelError(f"sets ask the model about the data: {there.lacking}")
    if there.classifier.digest != settings["model"]["digest"]:
        named, other = str(settings["model"]["digest"])[:12], there.classifier.digest[:12]
        raise ModelError(
            f"the run is about model {named}, {there.classifier.name} is {other}: name the right one with --model"
        )
    sample = sample_of(settings["data"], there.dataset, there.no_data)
    if sample.positions is None or sample.claim.standing is Standing.REFUTED:
        raise BadInput(f"the data at hand are not those of the run ({sample.claim.said}): name them with --data")
    inputs = _part(there.dataset, there.rows, sample.positions)
    calibration = _calibration(asked, there, threat, sample.positions)
    notes = (*notes, *_met(asked, calibration))
    box, own = calibration.input_box, there.classifier.input_box
    if box != own:
        raise BadInput(
            f"the calibration inputs lie in the box {box}, those of the model in {own}: declare the same box"
        )
    known: dict[int, list[torch.Tensor]] = {}
    for one in findings:
        if one.x_adv is not None and one.x_adv.shape == inputs.x.shape[1:]:
            known.setdefault(one.index, []).append(torch.from_numpy(one.x_adv.astype(np.float32)))
    of = "" if asked.calibration != REST else ", drawn from the same data as the run's"
    return Sets(
        classifier=there.classifier,
        data=_batch(inputs, there.classifier.num_classes),
        calibration=_batch(calibration, there.classifier.num_classes),
        threat=threat,
        certifiers=certifiers,
        coverage=asked.coverage,
        score=asked.score,
        samples=asked.samples,
        parts=asked.calibration == REST,
        known=known,
        head={
            **(head or {}),
            "data": f"{inputs.name}, {many(len(inputs), 'input')}",
            "calibrated": f"on {many(len(calibration), 'other input')} of {calibration.name}{of}",
        },
        pinned={"run": {**settings, "specs": asked.context["specs"]}, "calibration_spec": asked.calibration},
        notes=notes,
    )


def _certifiers(recorded: Sequence[Mapping[str, Any]]) -> tuple[Certifier, ...]:
    """The certifiers of a run that bound scores.

    Raises:
        BadInput: where none does.
    """
    made = []
    for one in recorded:
        if (method := one["method"]) in CERTIFIERS:
            known = settings_of(CERTIFIERS, method)
            made.append(make(CERTIFIERS, method, {name: value for name, value in one.items() if name in known}))
    found = tuple(one for one in made if gives_scores(one))
    if not found:
        named = ", ".join(str(one["method"]) for one in recorded)
        raise BadInput(
            f"{named} bounds no scores, only the class on top, and sets need the scores: make a run with a bound "
            "method or with smoothing"
        )
    return found


def _part(dataset: Dataset, rows: Mapping[int, int], positions: Sequence[int]) -> Dataset:
    return dataset.rows([rows[position] for position in positions])


def _calibration(asked: RunSets, there: AtHand, threat: Threat, taken: Sequence[int]) -> Dataset:
    dataset = there.dataset
    assert dataset is not None
    if asked.calibration != REST:
        if asked.believed:
            return data_of(asked.calibration, there.input_box, threat, False)
        found, why = loaded("data", None, asked.calibration, lambda spec: data_of(spec, there.input_box, threat, False))
        if found is None:
            raise BadInput(why)
        return found
    left = sorted({*dataset.positions} - {*taken})
    if not left:
        raise BadInput(
            "the run is about all of its data, so there is no rest to calibrate on: name other data with "
            "--calibration, or make a run with --limit"
        )
    return _part(dataset, there.rows, left)


def _met(asked: RunSets, calibration: Dataset) -> list[str]:
    """What has to be said of calibration inputs that the model has met.

    Raises:
        BadInput: for more than a few of them: their scores are not those of new inputs.
    """
    spec = asked.model or str(asked.context["specs"].get("model", asked.settings["model"]["name"]))
    met = overlap_of(spec, calibration)
    said = (
        f"was trained on {met.trained:,} and chosen by {met.held_out:,} of the {len(calibration):,} calibration inputs"
    )
    if sum(met) > MOST_HELD_OUT * len(calibration):
        raise BadInput(f"{spec} {said}: they are not like new inputs to it, and would promise too much; name others")
    return [f"The model {said}."] if any(met) else []


def _batch(dataset: Dataset, classes: int) -> Batch:
    return Batch.of(dataset.x, dataset.y, classes, dataset.positions)
