"""How a monitor looks at one input: the class, a certified radius at little cost, and scores that need no label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from certify.attacks.target import Plain
from certify.certifiers.base import CERTIFIERS, Certifier
from certify.certifiers.bounds import Bounds
from certify.certifiers.complete import Complete
from certify.certifiers.smoothing import Smoothing
from certify.checker.result import Standing
from certify.checker.sample import sample_of
from certify.core.evidence.sampled import Sampled
from certify.core.input_box import InputBox
from certify.core.properties.base import property_from
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat, threat_from
from certify.core.threats.transform import Transform
from certify.data.batch import Batch
from certify.data.dataset import Dataset, input_digest, seeded_generator
from certify.data.given import arrays_of
from certify.device import as_alone
from certify.errors import BadInput, DataError, ModelError
from certify.models.classifier import Classifier
from certify.progress.observer import Observer
from certify.registry import make, settings_of
from certify.store.run_folder import Manifest
from certify.study.at_hand import AtHand, at_hand, data_of

__all__ = ["Looked", "Looking", "looking_at", "stated_radius"]

MOST: Final = 2_000
"""Inputs of a run that a monitor compares with: more would make its beginning long, and its alarms little earlier."""

VOTES: Final = 1_000
"""Draws about each input, where the run's certifier votes under noise."""


class Looked(NamedTuple):
    """What was seen of one input; None stands for what the model or the certifier cannot say.

    Args:
        digest: of its values.
        prediction: the class.
        radius: the certified radius.
        read: whether neither the input nor what the model answers is NaN.
        scores: by name.
    """

    digest: str
    prediction: int | None
    radius: float | None
    read: bool
    scores: dict[str, float | None]


@dataclass(frozen=True, slots=True, eq=False)
class Looking:
    """A model with what looks at its inputs, one by one: no input's scores depend on those beside it.

    Args:
        classifier: the model of the run, behind its transform where the threat is one.
        certifier: at little cost.
        threat: with the stated radius declared.
        shape: of one input of the stream.
        input_box: what inputs may hold; None for no bounds.
        data: of the run.
        positions: of the run's inputs in their data, or of :data:`MOST` of them drawn at random.
    """

    classifier: Classifier
    certifier: Certifier
    threat: Threat
    shape: tuple[int, ...]
    input_box: InputBox | None
    data: Dataset
    positions: Sequence[int]

    def values(self, x: Any, where: str) -> NDArray[np.float32]:
        """One input of the stream as the model sees it; NaN stays, and stands for a missing value.

        Raises:
            DataError: for another number of features, or values outside the input box; ``where`` names the row.
        """
        try:
            given = np.asarray(x, dtype=np.float64)
        except (TypeError, ValueError) as problem:
            raise DataError(f"{where}: an input is an array of numbers") from problem
        if given.size != math.prod(self.shape):
            raise DataError(
                f"{where} has {given.size} features, the inputs of the run have {math.prod(self.shape)}: it is another "
                "stream"
            )
        with np.errstate(over="ignore"):
            values = given.astype(np.float32).reshape(self.shape)
        if self.input_box is not None:
            lower, _ = self.input_box.ends(self.shape)
            known = np.where(np.isnan(values), lower.astype(np.float32), values)
            if fault := self.input_box.fault(known[None]):
                raise DataError(
                    f"{where}: {fault.replace(' of input 0', '')}: it is in other units, or of another stream"
                )
        return values

    def look(self, x: NDArray[np.float32], position: int, scores: Sequence[str], certified: bool) -> Looked:
        """The class, the radius where ``certified`` asks for it, and the scores that are asked for."""
        digest = input_digest(x)
        if not np.isfinite(x).all():
            return Looked(digest, None, None, False, dict.fromkeys(scores))
        with as_alone():
            return self._look(x, position, digest, scores, certified)

    def _look(
        self, x: NDArray[np.float32], position: int, digest: str, scores: Sequence[str], certified: bool
    ) -> Looked:
        batch = Batch(torch.from_numpy(x)[None], None, (position,), (digest,))
        if isinstance(self.threat, Transform):
            parameters = torch.zeros(1, len(self.threat.parameters))
            batch = replace(batch, x=torch.cat([batch.x.flatten(1), parameters], dim=1))
        found: dict[str, float | None] = dict.fromkeys(scores)
        prediction, radius, read = None, None, True
        plain = isinstance(self.certifier.target(self.classifier, self.threat), Plain)  # no model made of this one
        if certified or not plain or "radius" in found:
            [certificate] = self.certifier.certify(self.classifier, batch, self.threat)
            prediction, radius, read = certificate.prediction, certificate.radius, not certificate.verdict.failed
            if "radius" in found and not certificate.verdict.failed:
                found["radius"] = 0.0 if radius is None else radius
            if "p_A" in found and isinstance(certificate.evidence, Sampled):
                last = certificate.evidence.looks[-1]
                found["p_A"] = (0 if prediction is None else last.counts.get(prediction, 0)) / last.n
        if plain or "margin" in found:
            with torch.inference_mode():
                own = self.classifier.scores(batch.x)
            finite = bool(torch.isfinite(own).all())
            if plain:
                prediction, read = (int(self.classifier.answers_at(own)[0]), read) if finite else (None, False)
            if "margin" in found and finite:
                first, second = own[0].double().topk(2).values.tolist()
                found["margin"] = first - second
        return Looked(digest, prediction, radius, read, found)

    def looked_at_run(self, scores: Sequence[str], certified: bool, progress: Observer) -> list[Looked]:
        """The same of the run's inputs, in the order of :attr:`positions`."""
        rows = {position: row for row, position in enumerate(self.data.positions)}
        made = []
        with progress.stage("looking at the inputs of the run", len(self.positions)) as advance:
            for position in self.positions:
                x = self.data.x[rows[position]].reshape(-1)[: math.prod(self.shape)].reshape(self.shape)
                made.append(self.look(x, position, scores, certified))
                advance(1, "")
        return made

    @property
    def beyond(self) -> int:
        """The position of the first input of a stream: behind all data, so that it shares noise with none of them."""
        return max(self.data.positions) + 1

    @property
    def labels(self) -> list[int]:
        """The labels of the run's inputs, in the order of :attr:`positions`."""
        rows = {position: row for row, position in enumerate(self.data.positions)}
        return [int(self.data.y[rows[position]]) for position in self.positions]


def stated_radius(settings: Mapping[str, Any], radius: float | None) -> float:
    """The radius at which answers should be certified: the smallest declared one above 0, if none is named.

    Raises:
        BadInput: for one that is negative or no number.
    """
    if radius is None:
        declared = [float(one) for one in settings["threat"]["radii"]]
        return next((one for one in declared if one > 0), 0.0)
    if not 0 <= radius < math.inf:
        raise BadInput(f"a radius is a finite number, 0 or more, got {radius}")
    return float(radius)


def looking_at(
    manifest: Manifest, path: Path, radius: float, searched: bool, model: str | Classifier | None, data: Any
) -> Looking:
    """The model and the data of a run, ready to look at inputs.

    Args:
        manifest, path: of the run.
        radius: the stated one.
        searched: whether the radius itself is asked for, and not only whether it reaches the stated one.
        model, data: SPECs in place of the manifest's; or a classifier, and the inputs with their labels.

    Raises:
        BadInput, CertifyError: for a run of another property than the top class, one whose model or data are not at
            hand or are others than the run's, and a radius that its certifier cannot prove.
    """
    settings = manifest.settings
    if property_from(settings.get("property")) != TOP_CLASS:
        raise BadInput(f"{path} is about another property than the top class, and a monitor compares classes")
    there = _at_hand(manifest, model, data)
    if there.lacking or there.classifier is None or there.dataset is None:
        raise ModelError(f"a monitor asks the model about the data: {there.lacking}")
    if there.classifier.digest != settings["model"]["digest"]:
        named, other = str(settings["model"]["digest"])[:12], there.classifier.digest[:12]
        raise ModelError(
            f"the run is about model {named}, {there.classifier.name} is {other}: name the right one with --model"
        )
    if there.dataset.several:
        raise BadInput(f"{path} is about inputs with several labels, and a monitor compares classes")
    sample = sample_of(settings["data"], there.dataset, there.no_data)
    if sample.positions is None or sample.claim.standing is Standing.REFUTED:
        raise BadInput(f"the data at hand are not those of the run ({sample.claim.said}): name them with --data")
    threat = threat_from(settings["threat"])
    threat = threat.at((0.0, radius) if radius else (0.0,))
    certifier = _quick(settings["certifiers"], searched).fitted(threat)
    shape = there.dataset.x.shape[1:]
    if isinstance(threat, Transform):
        shape = (shape[0] - len(threat.parameters),)
    first = torch.from_numpy(there.dataset.x[:1])
    with as_alone():
        certifier.check(there.classifier, threat, first)
    return Looking(
        classifier=there.classifier,
        certifier=certifier,
        threat=threat,
        shape=tuple(shape),
        input_box=threat.input_box or there.input_box,
        data=there.dataset,
        positions=_drawn(sample.positions, str(settings["data"]["digest"])),
    )


def _at_hand(manifest: Manifest, model: str | Classifier | None, data: Any) -> AtHand:
    """The model and the data by their SPECs, or as they are given."""
    if not isinstance(model, Classifier):
        if data is not None and not isinstance(data, str):
            raise BadInput("inputs that are no SPEC go with a certify.Classifier: give it as model")
        return at_hand(manifest.settings, manifest.context, model, data)
    threat = threat_from(manifest.settings["threat"])
    if data is None or isinstance(threat, Transform):
        raise BadInput("with a certify.Classifier, give the run's inputs as data; a transform takes SPECs of both")
    if isinstance(data, str):
        data = data_of(data, model.input_box, threat, False)
    elif not isinstance(data, Dataset):
        data = Dataset("given inputs", *arrays_of(data), model.num_classes, model.input_box)
    rows = {position: row for row, position in enumerate(data.positions)}
    return AtHand(model, data, data.input_box, rows, "", "")


def _drawn(positions: Sequence[int], digest: str) -> list[int]:
    """At most :data:`MOST` positions; which ones depends on the data alone."""
    if len(positions) <= MOST:
        return list(positions)
    chosen = seeded_generator("monitor", digest).choice(len(positions), MOST, replace=False)
    return [positions[place] for place in sorted(chosen.tolist())]


def _quick(recorded: Sequence[Mapping[str, Any]], searched: bool) -> Certifier:
    """The run's first certifier at little cost: bounds without optimization or search, votes of fewer draws."""
    first = recorded[0]
    if (method := first["method"]) not in CERTIFIERS:
        raise BadInput(f"the run's certifier {method!s:.40} is none that can look at new inputs")
    known = settings_of(CERTIFIERS, method)
    made = make(CERTIFIERS, method, {name: value for name, value in first.items() if name in known})
    if isinstance(made, Smoothing):
        n = min(made.n, VOTES)
        return replace(made, n=n, schedule="fixed", selection="draws", bound="one-sided", looks=None, look_alphas=None)
    if isinstance(made, Complete):
        return Bounds("crown", decide=not searched)
    if isinstance(made, Bounds):
        quick = made.method if made.method in ("ibp", "crown-ibp") else "crown"
        return replace(made, method=quick, decide=not searched, timeout=None)
    return made
