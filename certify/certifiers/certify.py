"""``certify.certify``: one batch, one certifier. ``smooth``, ``bound`` and ``verify`` are shorter ways to call it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from certify.certifiers.base import CERTIFIERS, Certifier
from certify.core.certificate import Certificate
from certify.core.properties.base import Property, need_property, wanted
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat, need_threat
from certify.core.threats.transform import Transform
from certify.data.batch import Batch, as_inputs, as_labels
from certify.data.dataset import label_maps, label_sets
from certify.device import as_alone
from certify.errors import BadInput, DataError
from certify.models.classifier import Classifier, check_targets, need_classifier
from certify.models.transformed import behind, beside
from certify.progress.observer import Observer, watching
from certify.registry import make

__all__ = ["batch_of", "certified", "certify", "posed"]


@as_alone()
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
        progress: True shows a progress bar.

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
    clf = clf.with_property(need_property(property))
    certifier.check_scope(threat, clf.property)
    batch, certifier = batch_of(clf, x, y, index), certifier.fitted(threat)
    clf, batch = posed(clf, batch, threat)
    clf.check(batch.x)
    certifier.check(clf, threat, batch.x)
    watcher = watching(progress)
    if said := certifier.shortfall(threat, batch.shape, clf.property):
        watcher.warn(f"{said}; no certificate reaches it")
    made = []
    with watcher.stage(f"certifying ({certifier.method})", len(batch)) as advance:
        for certificate in certified(certifier, clf, batch, threat):
            made.append(certificate)
            advance(1, "")
    return made


def batch_of(clf: Classifier, x: Any, y: Any, index: Sequence[int] | None = None) -> Batch:
    """Inputs and labels as a batch; labels become answers of the property that the classifier should keep.

    Raises:
        DataError: for inputs or labels that do not fit.
    """
    if clf.property.per_input:
        targets: Sequence[float | str] = _maps(clf, x, y) if clf.property.by_pixel else _targets(clf, x, y)
        check_targets(clf, as_inputs(x), targets)
        return Batch.of(x, None if y is None else [0] * len(targets), clf.num_classes, index, targets)
    if clf.property.several:
        y = _sets(y, (len(x), clf.base.num_classes))
    of_class = y is not None and clf.property != TOP_CLASS and not clf.property.several
    labels = as_labels(y, len(x), clf.base.num_classes) if of_class else y
    return Batch.of(x, labels if labels is y else wanted(clf.property, labels), clf.num_classes, index)


def posed(clf: Classifier, batch: Batch, threat: Threat) -> tuple[Classifier, Batch]:
    """The classifier and the inputs that a threat is about: behind a transform, both have its parameters as well."""
    if not isinstance(threat, Transform):
        return clf, batch
    return behind(clf, threat, batch.shape), batch.with_inputs(beside(batch.x, threat))


def certified(certifier: Certifier, clf: Classifier, batch: Batch, threat: Threat) -> Iterator[Certificate]:
    """Certificates of a batch; one input after the other where each has a property of its own."""
    if not clf.property.per_input:
        yield from certifier.certify(clf, batch, threat)
        return
    assert batch.targets is not None
    for row, target in enumerate(batch.targets):
        yield from certifier.certify(
            clf.with_property(clf.property.at(target)), batch.rows(slice(row, row + 1)), threat
        )


def _sets(y: Any, shape: tuple[int, int]) -> Any:
    """Rows of 0 and 1 for each of several labels as the numbers that they stand for; anything else as it is."""
    values = np.asarray(y.detach().cpu() if isinstance(y, torch.Tensor) else y)
    return label_sets(values) if values.shape == shape else y


def _maps(clf: Classifier, x: Any, y: Any) -> list[str]:
    """The label maps of images; where none are given, what the model itself returns.

    Raises:
        DataError: for label maps that are none, or not one for each image.
    """
    inputs = as_inputs(x)
    if y is None:
        y = clf.base.predict(inputs)
        if len(bad := np.flatnonzero((y < 0).flatten(1).any(dim=1).cpu().numpy())):
            raise DataError(f"the model returns NaN or infinity for image {bad[0]}: give label maps, or leave it out")
    values = np.asarray(y.detach().cpu() if isinstance(y, torch.Tensor) else y)
    if values.ndim != 3 or len(values) != len(inputs):
        raise DataError(
            f"label maps have shape {values.shape}, and there are {len(inputs)} images; give one (height, width) each"
        )
    return label_maps("given images", values).tolist()


def _targets(clf: Classifier, x: Any, y: Any) -> list[float]:
    """The true values of inputs; where none are given, what the model itself returns.

    Raises:
        DataError: for values that are no finite numbers, or not one for each input.
    """
    inputs = as_inputs(x)
    if y is None:
        with torch.no_grad():
            own = clf.base.scores(inputs)[:, 0].double().cpu().numpy()
        if len(bad := np.flatnonzero(~np.isfinite(own))):
            raise DataError(
                f"the model returns {own[bad[0]]} for input {bad[0]}: no target; give true values, or leave it out"
            )
        return [float(one) for one in own]
    values = np.asarray(y.detach().cpu() if isinstance(y, torch.Tensor) else y)
    if values.shape != (len(inputs),) or values.dtype.kind not in "uif" or not np.isfinite(values).all():
        raise DataError(f"true values must be {len(inputs)} finite numbers, got {values.dtype} of shape {values.shape}")
    return values.astype(np.float64).tolist()
