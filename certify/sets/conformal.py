"""``certify.conformal``: sets that hold the label with a stated probability, however an input was changed."""

from __future__ import annotations

from typing import Any

from certify.certifiers.base import CERTIFIERS, Certifier
from certify.core.prediction_sets import PredictionSets
from certify.core.threats.base import Threat, need_threat
from certify.data.batch import Batch
from certify.data.dataset import Dataset
from certify.data.given import arrays_of
from certify.device import as_alone
from certify.errors import DataError
from certify.models.classifier import Classifier, need_classifier
from certify.progress.observer import Observer, watching
from certify.registry import make
from certify.sets.asked import Sets
from certify.sets.make import with_sets
from certify.sets.scores import LEAST

__all__ = ["conformal"]


@as_alone()
def conformal(
    clf: Classifier,
    data: Any,
    calibration: Any,
    *,
    threat: Threat,
    coverage: float = 0.9,
    certifier: Certifier | str = "crown",
    score: str = LEAST,
    samples: int | None = None,
    attack: bool = True,
    seed: int | None = None,
    progress: bool | Observer = False,
) -> PredictionSets:
    """Prediction sets that hold the label with probability at least ``coverage``, however an input was changed.

    Split conformal prediction with robust inference: *unchanged* calibration inputs give a threshold, and the set of a
    new input holds every class whose least nonconformity score within the radius may be below it. Scores are bounded by
    bound propagation (Jeary et al. 2024, VRCP-I), or under noise from a few draws (Zargarbashi and Bojchevski 2025,
    BinCP). The promise is marginal: over the draw of the calibration inputs and of the new one, which must be
    exchangeable. Whoever changes the input may know all of it, the calibration inputs and the label too; of noise, all
    but that about the changed input.

    Args:
        clf: the classifier; for smoothing, any function.
        data: whose sets are wanted: (x, y), or (x, None) without labels; or anything else that ``certify.evaluate``
            takes.
        calibration: other inputs with labels, drawn as the new ones are, that the model was neither trained nor chosen
            by.
        threat: what may change, and the radii. One that is symmetric: what is within a radius of an input has that
            input within the radius.
        coverage: as a decimal number: 0.9 stands for nine tenths.
        certifier: what bounds the scores: a bound method, ``certify.Bounds(...)``, or ``certify.Smoothing(sigma=...)``,
            of which noise and sigma count.
        score: a nonconformity score: ``"lac"`` or ``"margin"``, see :mod:`~certify.sets.scores`.
        samples: for smoothing, draws about each input; 150 if None.
        attack: whether to search for changed inputs whose set lacks the label; this needs labels and gradients.
        seed: of whatever is drawn; derived from everything else if None. Give a fresh one that nobody knows for inputs
            that somebody may have chosen knowing yours.
        progress: True shows how far it is.

    Returns:
        The sets of each input at each radius and their table, beside those of plain conformal prediction.

    Raises:
        BadInput: for a coverage outside (0, 1), inputs of ``data`` among the calibration inputs, a threat that is not
            symmetric, or a certifier that bounds no scores.
        DataError, ModelError: for data or models that do not fit.

    >>> import numpy as np
    >>> import torch
    >>> net = torch.nn.Linear(2, 2, bias=False).requires_grad_(False).eval()
    >>> _ = net.weight.copy_(torch.eye(2))
    >>> clf = Classifier(net, num_classes=2)
    >>> x = np.random.default_rng(0).uniform(0, 1, (120, 2)).astype("float32")
    >>> y = x.argmax(1)
    >>> from certify import ThreatModel
    >>> threat = ThreatModel("linf", (0.0, 0.1))
    >>> found = conformal(clf, (x[:20], y[:20]), (x[20:], y[20:]), threat=threat)
    >>> found.rank, [row.size for row in found.rows]
    (91, [0.8, 1.4])
    """
    need_classifier(clf)
    one = make(CERTIFIERS, certifier, {}) if isinstance(certifier, str) else certifier
    return with_sets(
        Sets(
            classifier=clf,
            data=_batch(clf, data, "the inputs"),
            calibration=_batch(clf, calibration, "the calibration inputs"),
            threat=need_threat(threat).within(clf.input_box),
            certifiers=(one,),
            coverage=coverage,
            score=score,
            samples=samples,
            seed=seed,
            attack=attack,
        ),
        watching(progress),
    )


def _batch(clf: Classifier, data: Any, what: str) -> Batch:
    if isinstance(data, Dataset):
        x, y, index = data.x, data.y, data.positions
    else:
        (x, y), index = arrays_of(data), None
    try:
        return Batch.of(x, y, clf.num_classes, index)
    except DataError as problem:
        raise DataError(f"{what}: {problem}") from problem
