"""Do new data look like those of a run? Loads both, asks the model, and compares the samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from certify.certifiers.bounds import Bounds
from certify.certifiers.certify import certify
from certify.checker.result import Standing
from certify.checker.sample import sample_of
from certify.core.columns import NO_CLASS
from certify.core.threats.base import Threat, threat_from
from certify.core.threats.transform import Transform
from certify.data.dataset import Dataset
from certify.deployment.samples import DataComparison, Sample, compare_samples, drawn
from certify.errors import BadInput, CertifyError, DataError
from certify.models.classifier import Classifier
from certify.stats.two_sample import mingled
from certify.store.run_folder import MANIFEST, Manifest, RunFolder
from certify.study.at_hand import AtHand, at_hand, data_of
from certify.study.read import head_of, read_run

__all__ = ["compare_data"]

BATCH: Final = 256
"""Inputs that the model is asked about at a time."""

_SAME: Final = ("model", "threat", "property", "certifiers")
"""Settings that two runs share where their radii can be compared."""


def compare_data(
    run: Path | str,
    data: Path | str | NDArray[Any],
    *,
    level: float = 0.05,
    model: str | None = None,
    run_data: str | None = None,
) -> DataComparison:
    """Whether new data look like those of a run: their features, the model's margins on them, and certified radii.

    Args:
        run: the run folder.
        data: a second run folder, SPEC of data, or inputs (m, ...). Radii around the right class are those of a second
            run that was certified in the same way; for others, interval bounds of the predicted class.
        level: probability of a false alarm, and the rate of false discoveries among inputs.
        model, run_data: SPECs in place of those in the run's manifest; naming a Python function lets it run.

    Raises:
        BadInput: for data of another shape or too few of them, or a level outside (0, 1).
        CertifyError: for a run folder, a model or data that cannot be read, or data outside of the run's box.
    """
    there, manifest, old = _of_run(run, model, run_data)
    settings, notes = manifest.settings, list[str]()
    if there.classifier is not None and there.classifier.digest != settings["model"]["digest"]:
        named, other = str(settings["model"]["digest"])[:12], there.classifier.digest[:12]
        raise BadInput(
            f"{run} is about model {named}, {there.classifier.name} is {other}: name the right one with --model"
        )
    if isinstance(data, Path | str) and (Path(data) / MANIFEST).is_file():
        others, second, new = _of_run(data, None, None)
        if (theirs := others.input_box) != (ours := there.input_box) and theirs is not None and ours is not None:
            raise BadInput(f"{data} has inputs in the box {theirs}, {run} in {ours}")
        if any(settings.get(name) != second.settings.get(name) for name in _SAME):
            new = replace(new, radii=None)
    else:
        new = _given(data, there, threat_from(settings["threat"]))
    if old.x.shape[1:] == new.x.shape[1:]:
        if there.classifier is None:
            notes.append(f"Margins are not compared: {there.no_model}.")
        else:
            classifier = there.classifier
            before, after = _together(old, new, lambda x: _margins(classifier, x))
            old, new = replace(old, margins=before), replace(new, margins=after)
            if old.margins is None:
                notes.append("Margins are not compared: the model names classes alone, or one for each pixel.")
        if old.radii is None or new.radii is None:
            threat = threat_from(settings["threat"])
            before, after = _together(old, new, lambda x: _quick_radii(there.classifier, threat, x))
            old, new = replace(old, radii=before), replace(new, radii=after)
            notes.append(
                "Radii are those that interval bounds prove of the predicted class."
                if old.radii is not None and new.radii is not None
                else "Radii are not compared: that takes a second run that was certified in the same way, or a network."
            )
        same = len({one.tobytes() for one in new.x} & {one.tobytes() for one in old.x})
        if same:
            notes.append(f"{same:,} of the new inputs are inputs of the run, which makes the samples look alike.")
    if isinstance(met := manifest.context.get("met"), Mapping):
        notes.append(
            f"The model was trained on {met.get('trained')!s:.20} of the run's inputs and chosen by "
            f"{met.get('held_out')!s:.20}: margins and radii may differ for this alone."
        )
    head = {"model": head_of(manifest)["model"]}
    found = compare_samples(old, new, level=level, head=head, notes=tuple(notes))
    return replace(found, model_digest=str(settings["model"]["digest"]))


def _of_run(path: Path | str, model: str | None, data: str | None) -> tuple[AtHand, Manifest, Sample]:
    """Model and data of a run, what it was asked, and its inputs with their radii.

    Raises:
        DataError: where its data are not at hand, or are others.
    """
    with RunFolder.open(path) as folder:
        manifest = folder.manifest
    settings = manifest.settings
    there = at_hand(settings, manifest.context, model, data)
    if there.dataset is None:
        raise DataError(f"{path}: {there.no_data}")
    sample = sample_of(settings["data"], there.dataset, there.no_data)
    if sample.positions is None or sample.claim.standing is Standing.REFUTED:
        raise DataError(f"the data at hand are not those of {path} ({sample.claim.said}): name them with --data")
    chosen: Dataset = there.dataset.rows([there.rows[position] for position in sample.positions])
    layers = read_run(path).summary.sandwich
    radius = dict(zip(layers.index.tolist(), np.nan_to_num(layers.certified, nan=NO_CLASS).tolist(), strict=True))
    positions = chosen.positions
    whole = all(position in radius for position in positions)
    radii = np.array([radius[position] for position in positions]) if whole else None
    return there, manifest, Sample(str(path), chosen.x, np.array(positions, dtype=np.int64), radii=radii)


def _given(data: Path | str | NDArray[Any], there: AtHand, threat: Threat) -> Sample:
    """New inputs by their SPEC, or as they are."""
    assert there.dataset is not None
    if isinstance(data, Path | str):
        regression = there.dataset.targets is not None and not there.dataset.of_pixels
        dataset = data_of(str(data), there.input_box, threat, regression)
    else:
        x = np.asarray(data)
        dataset = Dataset("the inputs given", x, np.zeros(len(x), dtype=np.int64), 2, there.input_box)
    if isinstance(threat, Transform):
        dataset = dataset.beside(len(threat.parameters))
    return Sample(dataset.name, dataset.x, np.array(dataset.positions, dtype=np.int64))


def _together(
    old: Sample, new: Sample, of: Callable[[NDArray[Any]], NDArray[np.float64] | None]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Something of each input of both samples that tests look at, NaN for others; None where nobody can say it.

    All inputs go together and mingled: what comes of an input depends in its last bits on those beside it, and equal
    inputs that differ by sample would be told apart.
    """
    rows = [drawn(len(one.x), place) for place, one in enumerate((old, new))]
    order = mingled(*map(len, rows))
    told = of(np.concatenate([old.x[rows[0]], new.x[rows[1]]])[order])
    if told is None:
        return None, None
    back = np.empty(len(order))
    back[order] = told
    ours, theirs = (np.full(len(one.x), np.nan) for one in (old, new))
    ours[rows[0]], theirs[rows[1]] = np.split(back, [len(rows[0])])
    return ours, theirs


def _quick_radii(classifier: Classifier | None, threat: Threat, x: NDArray[Any]) -> NDArray[np.float64] | None:
    """Radii of the predicted class by interval bounds; None where there are none."""
    if classifier is None or isinstance(threat, Transform):
        return None
    try:
        found = certify(classifier.base, x, threat=threat, certifier=Bounds("ibp"))
    except CertifyError:
        return None
    return np.array([NO_CLASS if one.radius is None else one.radius for one in found], dtype=np.float64)


@torch.no_grad()
def _margins(classifier: Classifier, x: NDArray[Any]) -> NDArray[np.float64] | None:
    """The lead of the first class over the second, by input, or the one output; None for classes alone, or pixels."""
    asked, found, graded = classifier.base, [], False
    for start in range(0, len(x), BATCH):
        scores = asked.scores(torch.from_numpy(np.ascontiguousarray(x[start : start + BATCH])).to(asked.device))
        graded = graded or bool(((scores != 0) & (scores != 1)).any())
        if scores.dim() > 2:  # each pixel has a class
            return None
        if scores.shape[1] == 1:
            found.append(scores[:, 0])
            continue
        best = scores.double().topk(2, dim=1).values
        found.append(best[:, 0] - best[:, 1])
    margins: NDArray[np.float64] = torch.cat(found).double().cpu().numpy()
    return np.where(np.isnan(margins), -np.inf, margins) if graded else None
