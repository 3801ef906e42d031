"""The Python entry to complete verification of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from certify.certifiers.certify import certify
from certify.certifiers.complete import Complete
from certify.core.certificate import Certificate
from certify.core.evidence import Claim
from certify.core.threats.base import Threat
from certify.models.classifier import Classifier
from certify.progress.observer import Observer

__all__ = ["verify"]


def verify(
    clf: Classifier,
    x: Any,
    y: Any = None,
    *,
    threat: Threat,
    timeout: float = 60.0,
    gap: float | None = None,
    claim: Claim = "exact",
    seed: int = 0,
    workers: int = 1,
    index: Sequence[int] | None = None,
    progress: bool | Observer = False,
) -> list[Certificate]:
    """Decide for each input whether its class is constant within the declared radii: a proof, an example, or neither.

    Branch and bound and attacks run side by side until one of them succeeds or the time is over.

    Args:
        clf: the classifier of a module whose operators all have a rule, on the CPU.
        x: inputs (B, ...), tensor or array, in input units.
        y: labels (B,), or None. An input whose prediction is not its label is falsified without any search.
        threat: norm and declared radii.
        timeout: seconds for each input.
        gap: None to decide the declared radii. A number between 0 and 1 asks for the true radius instead, up to four
            times the largest declared one: a proof and an example that are at most so far apart, relatively.
        claim: ``"exact"`` is about the network in exact real arithmetic; ``"float32"`` holds for every float32
            execution as well. Examples are executed on the classifier itself.
        seed: what the search for examples draws from.
        workers: threads; no answer depends on it.
        index: positions in the data set; 0..B-1 by default.
        progress: True shows how far it is.

    Returns:
        One certificate an input: certified with the largest radius proven, falsified where an example lies within the
        smallest declared radius, or unknown with a reason. ``evidence`` holds the proof and the nearest example, and
        ``finding`` the example as an attack would report it.

    Raises:
        BadInput: for a threat, time limit, gap, claim, seed or number of workers that means nothing.
        UnsupportedOperator: names the operator without a rule, or whose executions nothing is known about.
        DataError, ModelError: for inputs or models that cannot be certified.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 2, bias=False).eval()
    >>> _ = layer.weight.data.copy_(torch.eye(2))
    >>> from certify import ThreatModel
    >>> clf, threat = Classifier(layer, num_classes=2), ThreatModel("linf", (0.2,))
    >>> safe, broken = verify(clf, [[0.75, 0.25], [0.5, 0.25]], threat=threat)
    >>> print(safe)
    input 0: certified, class 0 constant within linf 0.2000; deterministic: a proof
    >>> print(broken.verdict, 0.125 <= broken.finding.distance <= 0.2)
    falsified True
    >>> [true] = verify(clf, [[0.75, 0.25]], threat=threat, gap=0.001)
    >>> 0.249 < true.radius < 0.25 <= true.evidence.falsified < 0.251
    True
    """
    certifier = Complete(claim, timeout, gap, gap is None, seed, workers)
    return certify(clf, x, y, threat=threat, certifier=certifier, index=index, progress=progress)
