"""One batch, one certifier: what the Python entries share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from certify.certifiers.base import Certifier
from certify.certifiers.smoothing import Smoothing
from certify.core.certificate import Certificate
from certify.core.threat import ThreatModel, need_threat
from certify.data.batch import Batch
from certify.models.classifier import Classifier, need_classifier
from certify.progress.observer import Observer, watching

__all__ = ["certified"]


def certified(
    certifier: Certifier,
    clf: Classifier,
    x: Any,
    y: Any,
    threat: ThreatModel,
    index: Sequence[int] | None,
    progress: bool | Observer,
) -> list[Certificate]:
    """One certificate an input, after everything that can be refused was looked at.

    Raises:
        BadInput, DataError, ModelError: for a threat model, inputs or a classifier that this certifier cannot serve.
    """
    threat = need_threat(threat).within(need_classifier(clf).input_box)
    batch = Batch.of(x, y, clf.num_classes, index)
    clf.check(batch.x)
    certifier.check(clf, threat, batch.x)
    watcher = watching(progress)
    if isinstance(certifier, Smoothing) and (said := certifier.shortfall(threat, batch.shape)):
        watcher.warn(f"{said}; no certificate reaches it")
    made = []
    with watcher.stage(f"certifying ({certifier.method})", len(batch)) as advance:
        for certificate in certifier.certify(clf, batch, threat):
            made.append(certificate)
            advance(1, "")
    return made
