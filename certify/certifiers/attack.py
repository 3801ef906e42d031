"""The Python entry: attack a batch and get one finding an input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from certify.attacks.function import attack_of
from certify.attacks.run import run_attack
from certify.attacks.smoothed import NoiseLaw, smoothed
from certify.attacks.target import Plain, Target
from certify.certifiers.base import Certifier
from certify.certifiers.certify import batch_of, posed
from certify.core.finding import Finding
from certify.core.properties.base import Property, need_property
from certify.core.threats.base import Threat, need_threat
from certify.device import as_alone
from certify.errors import BadInput
from certify.models.classifier import Classifier, need_classifier
from certify.progress.observer import Observer, watching
from certify.smoothing.noise.base import Law, law_of

__all__ = ["attack"]


@as_alone()
def attack(
    clf: Classifier,
    x: Any,
    y: Any,
    *,
    threat: Threat,
    property: Property | None = None,
    attack: str | Callable[..., Any] = "pgd",
    seed: int = 0,
    noise: str | NoiseLaw | None = None,
    sigma: float | None = None,
    retention: int | None = None,
    null: Any = None,
    draws: int = 32,
    n: int = 1000,
    alpha: float = 0.001,
    certifier: Certifier | None = None,
    index: Sequence[int] | None = None,
    progress: bool | Observer = False,
    **settings: Any,
) -> list[Finding]:
    """Search for adversarial examples at the declared radii; one finding an input, in order.

    Every example is re-checked before it counts; see :func:`~certify.attacks.run.run_attack`. A finding without an
    example promises nothing.

    Args:
        clf: the classifier.
        x: inputs (B, ...), in the units of the threat model.
        y: labels (B,).
        threat: norm, declared radii and input box.
        property: what an example breaks, such as ``certify.TopK(3)``; None for the top class.
        attack: registered name: ``"fgsm"``, ``"pgd"``, ``"autoattack"``; ``"hopskipjump"`` in balls, ``"sparse-rs"``
            where positions count and ``"grid"`` in transforms need no gradients. Or one of a library, such as
            ``"art:DeepFool"`` or ``"foolbox:LinfPGD"``; or a function ``f(model_fn, x, eps, norm, ...)``, itself or as
            ``"package.module:function"``; see :class:`~certify.attacks.function.FunctionAttack`.
        seed: master seed.
        noise, sigma, retention, null: attack the classifier smoothed with this noise instead of the classifier itself:
            a law, or a name with its settings.
        draws, n, alpha: for smoothed classifiers, noise samples behind each score, samples of each examination, and
            the probability of accepting a wrong example; see :class:`~certify.attacks.smoothed.Smoothed`.
        certifier: attack the model that this one's certificates are about, such as the two rounds of
            ``certify.Masking(side=3)``; ``draws``, ``n`` and ``alpha`` play no part then.
        index: positions of the inputs in their data set; 0..B-1 if not given.
        progress: True shows a progress bar.
        settings: the attack's own, for example ``steps`` and ``restarts``.

    Raises:
        BadInput: for an unknown attack or setting, or noise together with a certifier.
        DataError: for inputs outside the box, labels out of range or none.
        ModelError: where a gradient attack meets a function.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 2, bias=False).eval()
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> from certify import ThreatModel
    >>> threat = ThreatModel(norm="linf", radii=(0.05, 0.2))
    >>> [found] = attack(Classifier(layer, num_classes=2), [[0.6, 0.4]], [0], threat=threat)
    >>> found.radius, found.adversarial_prediction
    (0.2, 1)
    """
    chosen = attack_of(attack, settings)
    clf = need_classifier(clf).with_property(need_property(property))
    batch = batch_of(clf, x, y, index)
    clf, batch = posed(clf, batch, need_threat(threat))
    if batch.labels is None and clf.property.per_input:
        batch = replace(batch, labels=(0,) * len(batch))
    for first in range(0, len(batch), 128):
        clf.check(batch.x[first : first + 128])
    threat = need_threat(threat)
    law = None if noise is None else law_of(noise, sigma=sigma, retention=retention, null=null)
    law = law.about(threat) if isinstance(law, Law) else law
    if law is not None and certifier is not None:
        raise BadInput("noise and a certifier both say which model is attacked: leave one of them out")
    target: Target = Plain(clf) if law is None else smoothed(clf, law, draws=draws, n=n, alpha=alpha)
    if certifier is not None:
        certifier.check_scope(threat, clf.property)
        target = certifier.fitted(threat).target(clf, threat)
    with watching(progress).stage(f"attacking ({chosen.name})", len(batch)) as advance:
        return run_attack(target, batch, threat, chosen, seed, lambda made: advance(len(made), ""))
