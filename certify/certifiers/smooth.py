"""``certify.smooth`` and ``certify.predict``: randomized smoothing of arrays and tensors in one call."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Any

from certify.certifiers.certify import certify, posed
from certify.certifiers.smoothing import Smoothing
from certify.core.certificate import Certificate
from certify.core.properties.base import Property
from certify.core.threats.base import Threat, need_threat
from certify.data.batch import Batch
from certify.device import as_alone
from certify.errors import BadInput
from certify.models.classifier import Classifier, need_classifier
from certify.progress.observer import Observer
from certify.smoothing.certify import Predictions, predict_votes
from certify.smoothing.median import medians
from certify.smoothing.noise.ablation import Null
from certify.smoothing.noise.base import Law
from certify.smoothing.sampler import Sampler
from certify.smoothing.theorem import Theorem

__all__ = ["predict", "smooth"]


def smooth(
    clf: Classifier,
    x: Any,
    y: Any = None,
    *,
    threat: Threat,
    property: Property | None = None,
    sigma: float | None = None,
    n: int = 100_000,
    n0: int = 100,
    alpha: float = 0.001,
    seed: int = 0,
    schedule: str = "declared",
    noise: str | Law = "gaussian",
    selection: str | None = None,
    bound: str = "one-sided",
    looks: Sequence[int] | None = None,
    look_alphas: Sequence[float] | None = None,
    batch_size: int | None = None,
    retention: int | None = None,
    null: Null | None = None,
    index: Sequence[int] | None = None,
    progress: bool | Observer = False,
) -> list[Certificate]:
    """Certify the *smoothed* classifier at each input by randomized smoothing (Cohen et al. 2019).

    Args:
        clf: the base classifier; train it with noise of the same sigma, or most inputs will abstain.
        x, property, index, progress: as for :func:`~certify.certifiers.certify.certify`.
        y: labels (B,), or None. Given labels, the declared schedule certifies the label's class and needs no selection;
            without them the top class of ``n0`` separate samples is certified.
        threat: norm and declared radii; the norm must be one for which the noise has a radius theorem.
        sigma, n, n0, alpha, seed, schedule, noise, selection, bound, looks, look_alphas, batch_size, retention, null:
            see :class:`Smoothing`. ``noise`` is a name, with the settings of its law, or a law such as
            ``certify.Gaussian(0.25)``.
            ``schedule="fixed"`` spends n samples on every input, as in the paper.

    Returns:
        One certificate an input, each false with probability at most alpha over the noise. This holds for inputs that
        were chosen independently of the noise: nothing is promised where somebody who knew the seed chose them.

    Raises:
        BadInput: for settings that cannot certify the largest declared radius.
        DataError, ModelError: for inputs or models that cannot be certified.

    >>> clf = Classifier(lambda x: (x.mean(1) > 0.5).long(), num_classes=2)
    >>> from certify import ThreatModel
    >>> threat = ThreatModel(norm="l2", radii=(0.0, 0.25))
    >>> [certificate] = smooth(clf, [[0.9] * 16], [1], threat=threat, sigma=0.5)
    >>> certificate.holds_at(0.25), certificate.forward_passes < 1000
    (True, True)
    """
    certifier = Smoothing(
        sigma=sigma,
        n=n,
        n0=n0,
        alpha=alpha,
        seed=seed,
        noise=noise,  # type: ignore[arg-type]  # a law, of which the certifier keeps name and settings
        schedule=schedule,
        selection=selection,
        bound=bound,
        looks=looks,
        look_alphas=look_alphas,
        batch_size=batch_size,
        retention=retention,
        null=null,
    )
    return certify(clf, x, y, threat=threat, property=property, certifier=certifier, index=index, progress=progress)


@as_alone()
def predict(
    clf: Classifier,
    x: Any,
    *,
    sigma: float | None = None,
    n: int = 1000,
    alpha: float = 0.001,
    seed: int | None = None,
    noise: str | Law = "gaussian",
    batch_size: int | None = None,
    retention: int | None = None,
    null: Null | None = None,
    threat: Threat | None = None,
) -> Predictions:
    """The smoothed classifier's class at each input, or None where the samples do not decide (Cohen et al. 2019).

    Of a regressor, the median of its outputs under the noise, with an interval for the true median at every input
    within each declared radius of the threat; see :class:`~certify.smoothing.median.SmoothedNumber`.

    Each class returned is wrong with probability at most alpha, over noise that was drawn after the input was chosen.
    Whoever knows the seed can try inputs until the noise errs on one, and nothing is promised for such an input. The
    seed is therefore fresh for each call, from the system's own randomness; give one only to draw the same noise again.

    Args:
        clf, x, sigma, n, alpha, noise, batch_size, retention, null: as in :func:`smooth`.
        seed: of the noise; a fresh one that nobody can guess if None.
        threat: with ablation as noise, the threat whose groups are kept or hidden together; each feature by itself if
            None. To answer under a transform, that transform: the noise then is about its strength. Of a regressor, the
            threat whose declared radii the intervals are about; radius 0 if None.

    Returns:
        A list with the class, or the :class:`~certify.smoothing.median.SmoothedNumber`, of each input, and the seed as
        its attribute ``seed``.

    >>> clf = Classifier(lambda x: (x.mean(1) > 0.5).long(), num_classes=2)
    >>> predict(clf, [[0.9] * 16], sigma=0.5)
    [1]
    """
    if need_classifier(clf).property.several:
        raise BadInput(
            "predict answers with the class of most votes, and each of several labels has a majority of its own"
        )
    if clf.property.by_pixel:
        raise BadInput(
            "predict answers with one class an input; the classes of pixels under noise are in the evidence of a "
            "certificate by certify.Pixelwise: certificate.evidence.classes"
        )
    seed = secrets.randbits(63) if seed is None else seed
    smoothing = Smoothing(
        n=n,
        alpha=alpha,
        seed=seed,
        noise=noise,  # type: ignore[arg-type]
        sigma=sigma,
        retention=retention,
        null=null,
        schedule="fixed",
        batch_size=batch_size,
    )
    batch = Batch.of(x, None, clf.num_classes)
    if threat is None:
        law = smoothing.law().about(None, batch.shape)
        theorem = Theorem(law, law.norms[0], math.prod(batch.shape))
    else:
        clf, batch = posed(clf, batch, need_threat(threat))
        theorem = smoothing.theorem(threat, batch.shape)
        law = theorem.noise
    clf.check(batch.x)
    law.check_inputs(batch.x, clf.input_box)
    smoothing.check_batches(clf, batch.x)
    sampler = Sampler(clf, batch.x, batch.digests, law, seed=smoothing.seed, batch_size=batch_size)
    looks = smoothing.plan().looks_for(theorem, 0.0)
    if clf.base.num_classes == 1:
        radii = (0.0,) if threat is None else threat.radii
        return Predictions(medians(sampler, theorem, looks.most, looks.alpha[0], radii), smoothing.seed)
    return Predictions(predict_votes(sampler, looks.most, looks.alpha[0]), smoothing.seed)
