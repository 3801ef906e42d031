"""A run folder with its model and its inputs loaded again: what is done to them here is beside its certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from certify.attacks.smoothed import Smoothed
from certify.attacks.target import Examination, Plain, Target
from certify.certifiers.base import CERTIFIERS
from certify.checker.result import Standing
from certify.checker.sample import sample_of
from certify.core.properties.base import property_from
from certify.core.run import Run
from certify.core.threats.base import Threat, threat_from
from certify.core.threats.lp import ThreatModel
from certify.core.threats.transform import Transform
from certify.corruptions.base import Corruption, Form, corrupted
from certify.corruptions.transforms import AlongThreat
from certify.data.csv import words_in
from certify.data.dataset import Dataset, input_digest
from certify.errors import BadInput, ModelError, StoreError
from certify.models.classifier import Classifier
from certify.models.transformed import behind, beside
from certify.registry import make, settings_of
from certify.store.run_folder import RunFolder
from certify.study.at_hand import at_hand
from certify.study.read import read_runs

__all__ = ["Certified", "Opened", "opened"]

ALPHA: Final = 1e-6
"""Probability with which votes about one input, at all its corruptions together, refute its label although it wins."""


_TOKENS: Final = ("insertions", "substitutions")
"""Threats whose inputs are rows of token ids: as numbers, they mean nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Certified:
    """One run's certificates about the inputs at hand.

    Args:
        run: the run, read.
        threat: what is certified, with the input box of the classifier.
        target: the model that the certificates are about.
        radius: (n,) float64: the largest radius proven around the right class; NaN for none.
    """

    run: Run
    threat: Threat
    target: Target
    radius: np.ndarray[Any, Any]

    def is_axis(self, corruption: Corruption) -> bool:
        """Whether the corruption is the transform of the threat, so that strengths are radii."""
        transform = corruption.transform
        return transform is not None and isinstance(self.threat, Transform) and not self.threat.difference(transform)

    def points(
        self, x: Tensor, changed: Tensor, corruption: Corruption | None = None, strengths: Sequence[float] = ()
    ) -> Tensor:
        """What became of an input (...), plain inputs (S, ...), as inputs of the certified model.

        Behind a transform that is the corruption's own, they are the input with the strengths behind its features: the
        very points that the certificate is about.
        """
        if not (isinstance(corruption, AlongThreat) and self.is_axis(corruption)):
            return beside(changed, self.threat)
        points = beside(x.expand(len(strengths), *x.shape), self.threat)
        points[:, x.numel()] = points.new_tensor([corruption.parameter(one) if one else 0.0 for one in strengths])
        return points

    def distance(self, x: Tensor, point: Tensor) -> float:
        """How far a point lies from an input, both of the certified model; infinite outside the threat."""
        one, other = x.numpy(), point.numpy()
        return self.threat.distance(one, other) if self.threat.contains(one, other, np.inf) else np.inf

    def examine(self, points: Tensor, label: int, key: str) -> list[Examination]:
        """What the certified model answers at points (S, ...) about one input."""
        if isinstance(self.target, Plain):
            labels = torch.full((len(points),), label)
            found = self.target.classifier.answers(points, labels).tolist()
            return [Examination(one if one >= 0 else None, one not in (-1, label), None, 1) for one in found]
        tries = [f"{key}:{place}" for place in range(len(points))]
        return [self.target.examine(one, label, name, len(points)) for one, name in zip(points, tries, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A run, its model and its inputs, and other runs about the same.

    Args:
        classifier: the plain model, without what a run puts before it.
        inputs: the inputs of the run, plain, in their order.
        form: what corruptions have to know of them.
        runs: the run, and the others.
    """

    classifier: Classifier
    inputs: Dataset
    form: Form
    runs: tuple[Certified, ...]

    @property
    def first(self) -> Certified:
        """The run itself: accuracy is that of its model."""
        return self.runs[0]

    def matched(self, corruption: Corruption) -> Corruption:
        """The corruption with the settings of the first run whose threat is the same transform."""
        for one in self.runs:
            if isinstance(one.threat, Transform) and (made := corruption.along(one.threat)) is not corruption:
                return made
        return corruption

    def changed(self, x: Tensor, corruption: Corruption, severities: tuple[int, ...], seed: int) -> Tensor:
        """One input (...) under a corruption, (S, ...)."""
        return corrupted(x, corruption, severities, self.form, seed)


def opened(
    path: Path | str, others: tuple[Path | str, ...] = (), *, samples: int = 100, model: str | None, data: str | None
) -> Opened:
    """Open a run folder, load what it is about, and hold both against each other.

    Args:
        path: the run folder, finished or not.
        others: further run folders about the same model and inputs.
        samples: votes about one input, where the certified model is smoothed.
        model, data: SPECs in place of the manifest's.

    Raises:
        StoreError: for no run folder, or records that are not about what the manifest says.
        BadInput: for another property than the top class, or other runs about other models or inputs.
        CertifyError: for models and data that cannot be loaded, or are others than the run's.
    """
    with RunFolder.open(path) as folder:
        settings, context = folder.manifest.settings, folder.manifest.context
    if property_from(settings.get("property")).kind != "top-class":
        raise BadInput(f"{path} is about another property than the top class; corruptions count classes")
    threat, there = threat_from(settings["threat"]), at_hand(settings, context, model, data)
    plain = there
    if isinstance(threat, Transform) and there.dataset is not None and there.classifier is not None:
        bare = ThreatModel("linf", (0.0,), input_box=there.input_box)
        plain = at_hand({**settings, "threat": bare.to_dict()}, context, model, data, there.input_box)
    if there.lacking or plain.lacking or plain.classifier is None or plain.dataset is None or there.dataset is None:
        raise ModelError(f"corruptions ask the model about the data: {there.lacking or plain.lacking}")
    sample = sample_of(settings["data"], there.dataset, there.no_data)
    if sample.positions is None or sample.claim.standing is Standing.REFUTED:
        raise BadInput(f"the data at hand are not those of the run ({sample.claim.said}): name them with --data")
    inputs = plain.dataset.rows([plain.rows[position] for position in sample.positions])
    words = words_in(data if data is not None else _spec(context, settings))
    if words is None and threat.kind in _TOKENS:
        raise BadInput(
            f"{path} is about token ids whose words are not known: name the data csv:FILE:TEXT,LABEL:VOCABULARY"
        )
    form = Form(tuple(inputs.x.shape[1:]), plain.classifier.input_box, words)
    runs = tuple(
        _certified(run, plain.classifier, inputs, samples, strict=bool(place))
        for place, run in enumerate(read_runs([path, *others], pinned=True))
    )
    for one in runs[1:]:
        if one.target.settings() != runs[0].target.settings():
            raise BadInput(f"{one.run.path} certifies another model than {path}: one of them is smoothed or defended")
    return Opened(plain.classifier, inputs, form, runs)


def _spec(context: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    specs = context.get("specs")
    return str((specs if isinstance(specs, Mapping) else {}).get("data", settings["data"]["name"]))


def _certified(run: Run, plain: Classifier, inputs: Dataset, samples: int, *, strict: bool) -> Certified:
    """The certificates of a run about inputs; ``strict``: of all of them.

    Raises:
        BadInput: for a run about another model, another property or other inputs.
    """
    settings, shape = run.settings, tuple(inputs.x.shape[1:])
    threat = threat_from(settings["threat"])
    if property_from(settings.get("property")).kind != "top-class":
        raise BadInput(f"{run.path} is about another property than the top class; corruptions count classes")
    classifier = behind(plain, threat, shape)
    if classifier.digest != settings["model"]["digest"]:
        named, other = str(settings["model"]["digest"])[:12], classifier.digest[:12]
        raise ModelError(f"{run.path} is about model {named}, {plain.name} is {other}: name the right one with --model")
    certifier = next((one for one in settings["certifiers"] if one["method"] in CERTIFIERS), None)
    if certifier is None:
        raise BadInput(f"{run.path} holds claims of others, not certificates of ours: nobody knows what they are about")
    known = settings_of(CERTIFIERS, certifier["method"])
    chosen = {name: value for name, value in certifier.items() if name in known}
    target = make(CERTIFIERS, certifier["method"], chosen).target(classifier, threat)
    if isinstance(target, Smoothed):
        target = replace(target, n=samples, alpha=ALPHA)
    radius = np.full(len(inputs), np.nan)
    rows = {position: row for row, position in enumerate(inputs.positions)}
    assert run.path is not None
    with RunFolder.open(run.path) as folder:
        columns = folder.records.certificate_columns()
    digests = dict(zip(columns.index.tolist(), columns.digest, strict=True))
    held = beside(torch.from_numpy(inputs.x), threat).numpy()
    for position, row in rows.items():
        digest = digests.get(position)
        if digest is None and strict:
            raise BadInput(f"{run.path} has no certificate of input {position}: name a run about the same inputs")
        if digest is not None and digest != input_digest(held[row]):
            raise StoreError(f"{run.path}: its input {position} is another one than that of the data at hand")
    sandwich = run.summary.sandwich
    for position, label, certified in zip(
        sandwich.index.tolist(), sandwich.label.tolist(), sandwich.certified.tolist(), strict=True
    ):
        if position in rows and label != int(inputs.y[rows[position]]):
            raise StoreError(f"{run.path}: its label of input {position} is another one than that of the data at hand")
        if position in rows:
            radius[rows[position]] = certified
    return Certified(run, threat.within(classifier.input_box), target, radius)
