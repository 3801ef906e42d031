"""``certify.certify``: one batch, one certifier. ``smooth``, ``bound`` and ``verify`` are doors to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from certify.certifiers.base import CERTIFIERS, Certifier
from certify.core.certificate import Certificate
from certify.core.properties.base import Property, need_property, wanted
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat, need_threat
from certify.data.batch import Batch, as_labels
from certify.errors import BadInput
from certify.models.classifier import Classifier, need_classifier
from certify.progress.observer import Observer, watching
from certify.registry import make

__all__ = ["certify"]


def certify(
    clf: Classifier,
    x: Any,
    y: Any = None,
    *,
    threat: Threat,
    property: Property | None = None,
    certifier: Certifier | str,
    index: Sequence[int] | None = None,
    progress: bool | Observer = False,
) -> list[Certificate]:
    """Certify each input with any certifier; one certificate an input, in order.

    Args:
        clf: the classifier.
        x: inputs (B, ...), tensor or array, in input units.
        y: labels (B,), or None where they are unknown.
        threat: norm and declared radii.
        property: what has to stay true, such as ``certify.TopK(3)``; None for the top class.
        certifier: such as ``certify.Smoothing(sigma=0.25)``, ``certify.Bounds("crown")``, ``certify.Complete()`` or
            ``certify.Lipschitz()``; or the name of one that needs no settings.
        index: positions of the inputs in their data set; 0..B-1 if not given.
        progress: True shows how far it is.

    Raises:
        BadInput: for a threat model that this certifier cannot prove, or something that is no certifier.
        DataError, ModelError: for inputs or models that cannot be certified.

    >>> import torch
    >>> from certify.certifiers.bounds import Bounds
    >>> clf = Classifier(torch.nn.Linear(2, 2).eval(), num_classes=2)
    >>> from certify import ThreatModel
    >>> threat = ThreatModel(norm="linf", radii=(0.0, 0.01))
    >>> [certificate] = certify(clf, [[0.9, 0.1]], threat=threat, certifier=Bounds("crown"))
    >>> certificate.method
    'crown'
    """
    if isinstance(certifier, str):
        certifier = make(CERTIFIERS, certifier, {})
    if not isinstance(certifier, Certifier):
        raise BadInput(
            f"expected a certifier, got a {type(certifier).__name__}; make one: certify.Smoothing(sigma=0.25), "
            'certify.Bounds("crown")'
        )
    threat = need_threat(threat).within(need_classifier(clf).input_box)
    keeps = need_property(property)
    clf = clf.keeping(keeps)
    certifier.check_property(keeps)
    if y is not None and keeps != TOP_CLASS:
        labels = as_labels(y, len(x), clf.base.num_classes)
        y = wanted(keeps, labels)
    batch, certifier = Batch.of(x, y, clf.num_classes, index), certifier.fitted(threat)
    clf.check(batch.x)
    certifier.check(clf, threat, batch.x)
    watcher = watching(progress)
    if said := certifier.shortfall(threat, batch.shape):
        watcher.warn(f"{said}; no certificate reaches it")
    made = []
    with watcher.stage(f"certifying ({certifier.method})", len(batch)) as advance:
        for certificate in certifier.certify(clf, batch, threat):
            made.append(certificate)
            advance(1, "")
    return made
