"""Build a study from objects (Python) or from settings (command line), and run it."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from certify.attacks.base import ATTACKS
from certify.certifiers.base import CERTIFIERS, Certifier
from certify.core.norms import check_norm
from certify.core.scale import read_scale
from certify.core.threat import UNITS, ThreatModel, need_threat
from certify.core.values import whole
from certify.data.dataset import Dataset
from certify.data.given import arrays_of
from certify.data.loaders import load_data
from certify.errors import BadInput
from certify.models.classifier import Classifier, need_classifier
from certify.models.loaders import load_model
from certify.progress.observer import Observer
from certify.registry import make
from certify.smoothing.noise.base import name_and_sigma
from certify.study.result import Result
from certify.study.settings import Settings, label_of
from certify.study.study import Study

__all__ = ["build", "evaluate", "study_from"]


def build(
    classifier: Classifier,
    dataset: Dataset,
    threat: ThreatModel,
    *,
    certifiers: Sequence[str],
    attack: str | None,
    attack_option: Mapping[str, Any],
    seed: int | None,
    options: Mapping[str, Any],
    shard: tuple[int, int] = (0, 1),
    context: Mapping[str, Any] | None = None,
) -> Study:
    """A study from names and options.

    ``seed`` None derives the seed from model, data and whatever else results depend on, so nobody can shop for one.
    What units are called is no such thing.
    """
    if attack_option and (attack is None or attack == "none"):
        raise BadInput("attack options are given, but no attack: name one, for example pgd")
    chosen = None if attack is None or attack == "none" else make(ATTACKS, attack, attack_option)
    if derived := seed is None:
        asked = [
            classifier.digest,
            dataset.digest,
            threat.to_dict() | {"units": UNITS},
            [certifier.settings() for certifier in _certifiers(certifiers, options, seed=0)],
            None if chosen is None else [chosen.name, chosen.settings()],
        ]
        seed = int.from_bytes(
            hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=4).digest(), "little"
        )
    seed = whole("seed", seed)
    built = _certifiers(certifiers, options, seed)
    targets = [certifier.target(classifier) for certifier in built]
    if any(target.settings() != targets[0].settings() for target in targets):
        raise BadInput("smoothing is about the smoothed model, bounds are about the model itself: make two runs")
    return Study(
        classifier=classifier,
        dataset=dataset,
        threat=threat,
        certifiers=built,
        attack=chosen,
        target=targets[0] if chosen is not None and targets else None,
        seed=seed,
        shard=shard,
        context={**(context or {}), "seed": "derived from model, data and settings" if derived else "given"},
    )


def _certifiers(names: Sequence[str], options: Mapping[str, Any], seed: int) -> tuple[Certifier, ...]:
    """The certifiers, each with those options that it has, and with the study's seed if it draws anything.

    Raises:
        BadInput: for an option that none of them has, or one that is missing.
    """
    if not isinstance(options.get("noise"), str | None):
        noise, sigma = name_and_sigma(options["noise"], options.get("sigma"))
        options = {**options, "noise": noise, "sigma": sigma}
    has = {name: inspect.signature(CERTIFIERS[name]).parameters.keys() for name in names}
    unknown = {option: value for option, value in options.items() if not any(option in known for known in has.values())}
    settings = {**options, "seed": seed}
    return tuple(
        make(CERTIFIERS, name, {**{key: settings[key] for key in settings if key in has[name]}, **unknown})
        for name in names
    )


def evaluate(
    clf: Classifier,
    data: Any,
    *,
    threat: ThreatModel,
    certifier: str | Sequence[str] = "smoothing",
    attack: str | None = None,
    attack_option: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    seed: int | None = None,
    label: str | None = None,
    progress: bool | Observer = False,
    **options: Any,
) -> Result:
    """Certify and attack a labelled data set, and join both: the whole way in one call.

    Args:
        clf: the classifier.
        data: (x, y); a DataLoader or Dataset of torch; a DataFrame with a column ``label``, or (DataFrame, column); see
            :func:`~certify.data.given.arrays_of`. Or a :class:`~certify.data.dataset.Dataset`.
        threat: norm and declared radii.
        certifier: a registered name, or several deterministic ones.
        attack: a registered attack, or None. Where smoothing certifies, the smoothed classifier is attacked.
        attack_option: the attack's own settings, such as ``{"steps": 100}``.
        out: run folder; the same call again resumes it. None keeps the records in memory.
        seed: master seed; derived from model, data and settings if None.
        label: what tables and plots call the run; its folder if None.
        progress: True shows how far it is.
        options: the certifier's own settings, such as ``sigma``, ``n``, ``alpha``; ``claim``, ``max_memory``. ``noise``
            may be a name or a law.

    Returns:
        A result whose ``summary`` is the table.

    Raises:
        CertifyError: for anything that cannot be right, in one line, before any work.

    >>> import torch
    >>> from certify.models.classifier import Classifier
    >>> clf = Classifier(torch.nn.Linear(2, 2).eval(), num_classes=2)
    >>> threat = ThreatModel("linf", (0.0, 0.1))
    >>> evaluate(clf, ([[0.9, 0.1], [0.2, 0.8]], [0, 1]), threat=threat, certifier="crown").summary.n
    2
    """
    need_classifier(clf)
    if isinstance(data, Dataset):
        dataset = data
    else:
        x, y = arrays_of(data)
        dataset = Dataset("given inputs", x, y, clf.num_classes, clf.input_box)
    names = [certifier] if isinstance(certifier, str) else list(certifier)
    study = build(
        clf,
        dataset,
        need_threat(threat),
        certifiers=names,
        attack=attack,
        attack_option=attack_option or {},
        seed=seed,
        options=options,
        context={} if label is None else {"label": label_of("label", label)},
    )
    return study.run(out, progress)


def study_from(settings: Settings, command: Sequence[str] = ()) -> Study:
    """The study that ``certify run`` was asked for.

    Raises:
        CertifyError: for anything that cannot be right, in one line, before any work.
    """
    norm = settings.norm or _certifiers(settings.certifier, settings.options, seed=0)[0].default_norm
    scale = None if settings.scale is None else read_scale(settings.scale)
    threat = ThreatModel(check_norm(norm), settings.radii, units=settings.units, scale=scale)
    dataset = load_data(settings.data)
    if settings.limit is not None and settings.limit > len(dataset):
        raise BadInput(f"limit {settings.limit} is more than the {len(dataset)} inputs of {settings.data}")
    dataset = dataset.subset(settings.limit, seed=0 if settings.seed is None else settings.seed)
    classifier = load_model(
        settings.model,
        num_classes=dataset.num_classes,
        input_box=dataset.input_box,
        mean=settings.mean,
        std=settings.std,
        device=settings.device,
    )
    return build(
        classifier,
        dataset,
        threat,
        certifiers=settings.certifier,
        attack=settings.attack,
        attack_option=settings.attack_option,
        seed=settings.seed,
        options=settings.options,
        shard=settings.shard_of,
        context={
            "command": list(command),
            "device": settings.device,
            "specs": settings.specs,
            "study": settings.given,
            **({} if settings.label is None else {"label": settings.label}),
        },
    )
