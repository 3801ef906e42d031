"""The driver of every attack: it alone decides what counts as an adversarial example."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.attacks.base import Attack, Search
from certify.attacks.target import Examination, Target
from certify.core.finding import Finding
from certify.core.threats.base import Threat
from certify.data.batch import Batch
from certify.device import on_one_thread
from certify.errors import DataError

__all__ = ["run_attack", "without_result"]

_SAMPLES: Final = 512
"""Inputs times noise draws that a gradient step holds at once. It bounds memory and changes no finding."""


@dataclass(frozen=True, slots=True)
class _Success:
    radius: float
    x_adv: NDArray[np.float32]
    examination: Examination


@on_one_thread()
def run_attack(
    target: Target,
    batch: Batch,
    threat: Threat,
    attack: Attack,
    seed: int,
    tell: Callable[[list[Finding]], None] = lambda findings: None,
) -> list[Finding]:
    """Attack each input at the declared radii, ascending, until one succeeds; one finding an input, in order.

    Whatever the attack returns is projected into ball and box again, measured in float64 with distances rounded up,
    and examined by the target alone and afresh: a wrong attack can miss examples, never invent one. An input that is
    already misclassified is its own example, at distance 0 and the smallest declared radius; radius 0 is not searched.
    Where each input has a property of its own, one input is attacked after the other.

    Randomness is seeded by (seed, input digest, attack, radius), so findings do not depend on the batch they were made
    in, beyond float rounding of the model, nor on how many threads torch has: one does all. Forward passes are counted
    for each input; the time of a batch is divided in proportion to them. ``tell`` is called with findings as they are
    made.

    Raises:
        DataError: for a batch without labels.
        BadInput: for a scale of another size than the inputs.
        CertifyError: if the attack cannot run on this target or in this threat model.
    """
    if batch.labels is None:
        raise DataError("attacks need labels: an adversarial example is one whose class differs from the label")
    threat = threat.within(target.input_box)
    threat.check_inputs(batch.x.numpy())
    attack.check_scope(threat, target.classifier.property)
    attack.check(target, threat)
    findings = []
    for about, part in _parts(target, batch):
        findings += (made := _attack_part(about, part, threat, attack, seed))
        tell(made)
    return findings


def without_result(
    target: Target, batch: Batch, threat: Threat, attack: Attack, seed: int, error: str
) -> list[Finding]:
    """Records that say that inputs could not be attacked, and why: not that an attack on them found nothing."""
    return [
        Finding(
            index=part.index[row],
            input_digest=part.digests[row],
            label=label,
            prediction=None,
            norm=threat.norm,
            radii=threat.radii,
            attack=attack.name,
            settings=_settings(about, threat, attack),
            seed=seed,
            model_digest=target.digest,
            error=error,
        )
        for about, part in _parts(target, batch)
        for row, label in enumerate(part.labels or ())
    ]


def _settings(target: Target, threat: Threat, attack: Attack) -> dict[str, Any]:
    return {**attack.settings(), **target.settings(), **threat.named, **target.classifier.property.named}


def _parts(target: Target, batch: Batch) -> Iterator[tuple[Target, Batch]]:
    """The parts of a batch that are attacked together, each with its target."""
    if target.classifier.property.per_input:
        assert batch.targets is not None
        for row, number in enumerate(batch.targets):
            yield target.about(number), batch.rows(slice(row, row + 1))
        return
    size = max(1, _SAMPLES // target.passes)
    for first in range(0, len(batch), size):
        yield target, batch.rows(slice(first, first + size))


def _attack_part(target: Target, part: Batch, threat: Threat, attack: Attack, seed: int) -> list[Finding]:
    started = time.perf_counter()
    labels = part.labels or ()
    searched = [radius for radius in threat.radii if radius > 0]
    tries = 1 + len(searched)
    clean = [
        target.examine(x, label, f"{seed}:{digest}:clean", tries)
        for x, label, digest in zip(part.x, labels, part.digests, strict=True)
    ]
    passes = [examination.forward_passes for examination in clean]
    successes: dict[int, _Success] = {
        row: _Success(threat.radii[0], part.x[row].numpy(), examination)
        for row, examination in enumerate(clean)
        if examination.refuted
    }
    for radius in searched:
        rows = [row for row in range(len(part)) if row not in successes]
        if not rows:
            break
        keys = tuple(f"{seed}:{part.digests[row]}:{attack.name}:{radius!r}" for row in rows)
        search = Search(
            target=target,
            # Copies: an attack that writes to its inputs changes nothing that is checked below.
            x=part.x[rows].clone().to(target.device),
            labels=torch.tensor([labels[row] for row in rows], device=target.device),
            threat=threat,
            radius=radius,
            keys=keys,
            passes=[0] * len(rows),
        )
        candidates = attack.perturb(search).detach().cpu()
        candidates = search.moves.project(part.x[rows], candidates, radius)
        for row, candidate, key, spent in zip(rows, candidates, keys, search.passes, strict=True):
            passes[row] += spent
            if not _admissible(part.x[row], candidate, threat, radius):
                continue
            examination = target.examine(candidate, labels[row], f"{key}:examine", tries)
            passes[row] += examination.forward_passes
            if examination.refuted:
                successes[row] = _Success(radius, candidate.numpy().copy(), examination)
    seconds = time.perf_counter() - started
    settings, findings = _settings(target, threat, attack), []
    for row in range(len(part)):
        success = successes.get(row)
        x_adv = None if success is None else success.x_adv
        findings.append(
            Finding(
                index=part.index[row],
                input_digest=part.digests[row],
                label=labels[row],
                prediction=clean[row].prediction,
                norm=threat.norm,
                radii=threat.radii,
                attack=attack.name,
                settings=settings,
                seed=seed,
                radius=None if success is None else success.radius,
                distance=None if x_adv is None else threat.distance(part.x[row].numpy(), x_adv),
                x_adv=x_adv,
                adversarial_prediction=None if success is None else success.examination.prediction,
                p_label_upper=None if success is None else success.examination.p_label_upper,
                model_digest=target.digest,
                seconds=seconds * passes[row] / sum(passes),
                forward_passes=passes[row],
            )
        )
    return findings


def _admissible(x: Tensor, candidate: Tensor, threat: Threat, radius: float) -> bool:
    """Whether a candidate needs an examination: it lies in the threat and is not the input, examined already."""
    return not torch.equal(x, candidate) and threat.contains(x.numpy(), candidate.double().numpy(), radius)
