"""Explanations of the weakest inputs of a run: integrated gradients of the margin, by captum, on the model itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from certify.attacks.smoothed import Smoothed
from certify.attacks.target import Plain, Target
from certify.checker.examples import example_claims
from certify.checker.result import Standing
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.properties.base import property_from
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import brief_up
from certify.core.run import Run
from certify.core.sandwich import Layer
from certify.core.threats.base import threat_from
from certify.core.values import whole
from certify.data.dataset import Dataset, input_digest
from certify.device import on_one_thread
from certify.errors import BadInput, ModelError, needs
from certify.models.classifier import Classifier
from certify.smoothing.noise.base import recorded_law
from certify.store.run_folder import RunFolder
from certify.study.at_hand import at_hand
from certify.study.improve.explanation import Explanation

__all__ = ["explain", "weakest"]

STEPS: Final = 64
"""Points of the Gauss-Legendre rule along the way from the baseline to the input."""

DRAWS: Final = 64
"""Draws of noise over which the margin of a smoothed model is averaged, the same at every point."""

AT_ONCE: Final = 512
"""Inputs times draws that are held at once."""


def weakest(run: Run, count: int) -> list[Layer]:
    """The inputs of least radius: those that are predicted correctly, or abstained on, and certified least.

    Of equal ones, those that are broken nearest come first. Misclassified inputs are wrong without anybody pushing.
    """
    inputs = run.summary.sandwich
    order = np.lexsort(
        (inputs.index, np.nan_to_num(inputs.attacked, nan=np.inf), np.nan_to_num(inputs.certified, nan=-1.0))
    )
    return [inputs[row] for row in order if inputs.correct[row]][:count]


@on_one_thread()
def explain(run: Run, count: int, *, model: str | None = None, data: str | None = None) -> tuple[Explanation, ...]:
    """Explain the weakest inputs of a run (Sundararajan, Taly and Yan 2017, by captum, Kokhlikyan et al. 2020).

    Args:
        run: a finished run with its folder.
        count: how many inputs.
        model, data: SPECs, in place of those in the manifest.

    Raises:
        MissingExtra: without captum.
        BadInput: for a count below 1, a property other than the top class, or no input that is predicted correctly.
        ModelError: where the model is not at hand, is another one, or has no gradients.
    """
    if whole("explain", count) < 1:
        raise BadInput(f"explain must be a number of inputs, 1 or more, got {count}")
    with needs("captum", "explain", "explaining inputs"):
        from captum.attr import IntegratedGradients
    assert run.path is not None
    if property_from(run.settings.get("property")) != TOP_CLASS:
        raise BadInput("explanations are of the margin between two classes, and this run is about another property")
    there = at_hand(run.settings, run.context, model, data)
    if there.lacking or there.classifier is None or there.dataset is None:
        raise ModelError(f"an explanation asks the model: {there.lacking}")
    classifier = there.classifier
    if not classifier.differentiable:
        raise ModelError("the model is a function without gradients, and integrated gradients need them: use a module")
    if classifier.digest != run.settings["model"]["digest"]:
        asked, other = str(run.settings["model"]["digest"])[:12], classifier.digest[:12]
        raise ModelError(
            f"the run is about model {asked}, {classifier.name} is {other}: name the right one with --model"
        )
    if not (chosen := weakest(run, count)):
        raise BadInput("no input of this run is predicted correctly: there is no margin to explain")
    certificates, examples = _records(run.path)
    baseline = torch.from_numpy(there.dataset.x.mean(axis=0, dtype=np.float64).astype(np.float32))
    threat, found = threat_from(run.settings["threat"]), []
    for layer in chosen:
        certificate, x = certificates[layer.index], there.input(layer.index)
        if x is None or _other(certificate, there.dataset, there.rows):
            raise BadInput(f"input {layer.index} is another one in the data at hand: name the right ones with --data")
        target = _target(classifier, certificate)
        rival, margin = _margin(target, x, layer.label, f"explain:{certificate.input_digest}")
        finding, example, said = examples.get(layer.index), None, "no attack recorded an example"
        if finding is not None and finding.x_adv is not None:
            claims = example_claims(finding, [], classifier, x, threat)
            wrong = [one for one in claims if one.standing is Standing.REFUTED]
            how = "executed again" if all(one.standing is Standing.CONFIRMED for one in claims) else "measured again"
            said = f"NOT SHOWN, the record is refuted: {wrong[0]}" if wrong else _example(finding, how)
            example = None if wrong else finding.x_adv
        attributed = IntegratedGradients(margin).attribute(
            x[None], baseline[None], n_steps=STEPS, internal_batch_size=max(1, AT_ONCE // target.passes)
        )
        adds = attributed[0].detach().double().numpy()
        with torch.no_grad():
            ends = float(margin(x[None])), float(margin(baseline[None]))
        found.append(
            Explanation(
                layer.index,
                layer.label,
                rival,
                ends[0],
                layer.certified,
                x.numpy(),
                adds,
                ends[1],
                float(adds.sum()) - (ends[0] - ends[1]),
                example,
                said,
            )
        )
    return tuple(found)


def _records(path: Path) -> tuple[dict[int, Certificate], dict[int, Finding]]:
    """A certificate of each position, and the nearest example."""
    with RunFolder.open(path) as folder:
        certificates = list(folder.records.each_certificate())
        findings = folder.records.findings()
    findings += [found for one in certificates if (found := one.finding) is not None]
    nearest: dict[int, Finding] = {}
    for one in findings:
        if one.distance is not None and one.distance > 0:
            before = nearest.setdefault(one.index, one)
            nearest[one.index] = min(before, one, key=lambda finding: finding.distance or 0.0)
    return {one.index: one for one in certificates}, nearest


def _other(certificate: Certificate, dataset: Dataset, rows: Mapping[int, int]) -> bool:
    """Whether the data at hand hold another input, or label, at the position of a certificate."""
    row = rows[certificate.index]
    return (input_digest(dataset.x[row]), int(dataset.y[row])) != (certificate.input_digest, certificate.label)


def _target(classifier: Classifier, certificate: Certificate) -> Target:
    """What was certified: the model, or the model smoothed by the noise of the certificate."""
    smoothed = None if certificate.evidence is None else certificate.evidence.smoothed
    if smoothed is None:
        return Plain(classifier)
    return Smoothed(classifier, recorded_law(smoothed).about(certificate.threat), draws=DRAWS)


def _margin(target: Target, x: Tensor, label: int, key: str) -> tuple[int, Callable[[Tensor], Tensor]]:
    """The runner-up at an input, and the function of a batch (B, ...) that is explained: margins (B,)."""

    def scores(batch: Tensor) -> Tensor:
        """Scores of the model itself; of a smoothed one, mean probabilities under the same noise at every point."""
        found = target.scores(batch, [key] * len(batch))
        return found if target.deterministic else found.exp()

    with torch.no_grad():
        there = scores(x[None])[0].clone()
    there[label] = -torch.inf
    rival = int(there.argmax())

    def margin(batch: Tensor) -> Tensor:
        both = scores(batch)
        return both[:, label] - both[:, rival]

    return rival, margin


def _example(finding: Finding, how: str) -> str:
    return (
        f"{finding.attack} turns it into {finding.adversarial_prediction} at {finding.norm} distance "
        f"{brief_up(finding.distance or 0.0)} ({how})"
    )
