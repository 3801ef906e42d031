"""Build a study from objects (Python) or from settings (command line), and run it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from certify.attacks.base import ATTACKS
from certify.attacks.function import attack_of
from certify.bounds.deadline import NEVER, Deadline
from certify.certifiers.base import CERTIFIERS, Certifier
from certify.core.properties.base import PROPERTIES, Property, need_property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.scale import read_scale
from certify.core.threats.base import THREATS, UNITS, Threat, need_threat
from certify.core.threats.transform import Transform
from certify.core.values import whole
from certify.data.dataset import Dataset
from certify.data.given import arrays_of
from certify.data.loaders import load_data
from certify.device import as_alone
from certify.engines.base import Engine, engine_from
from certify.errors import BadInput
from certify.models.classifier import Classifier, need_classifier
from certify.models.transformed import behind
from certify.progress.observer import Observer
from certify.registry import make, nearest, settings_of
from certify.smoothing.noise.base import named_law
from certify.study.result import Result
from certify.study.settings import Settings, duration, label_of
from certify.study.study import Study
from certify.study.subject import met_by, subject_of

__all__ = ["build", "check_asked", "evaluate", "studies_from", "study_from"]


def build(
    classifier: Classifier,
    dataset: Dataset,
    threat: Threat,
    *,
    certifiers: Sequence[str | Certifier],
    attack: str | Callable[..., Any] | None,
    attack_option: Mapping[str, Any],
    seed: int | None,
    options: Mapping[str, Any],
    property: Property = TOP_CLASS,
    shard: tuple[int, int] = (0, 1),
    context: Mapping[str, Any] | None = None,
    cautions: tuple[str, ...] = (),
) -> Study:
    """A study from names and options.

    ``seed`` None derives the seed from model, data and whatever else results depend on, so nobody can shop for one.
    What units are called is no such thing.
    """
    classifier, dataset = classifier.with_property(property), dataset.wanted(property, classifier.num_classes)
    if isinstance(threat, Transform):
        classifier, dataset = behind(classifier, threat, dataset.x.shape[1:]), dataset.beside(len(threat.parameters))
    if attack_option and (attack is None or attack == "none"):
        raise BadInput("attack options are given, but no attack: name one, for example pgd")
    chosen = None if attack is None or attack == "none" else attack_of(attack, attack_option)
    if derived := seed is None:
        asked = [
            classifier.digest,
            dataset.digest,
            threat.to_dict() | {"units": UNITS},
            [certifier.settings() for certifier in _certifiers(certifiers, options, seed=0, threat=threat)],
            None if chosen is None else [chosen.name, chosen.settings()],
            *([] if property == TOP_CLASS else [property.to_dict()]),
        ]
        seed = int.from_bytes(
            hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=4).digest(), "little"
        )
    seed = whole("seed", seed)
    built = _certifiers(certifiers, options, seed, threat)
    for certifier in built:
        certifier.check_scope(threat, property)
    targets = [certifier.target(classifier, threat) for certifier in built]
    for certifier, target in zip(built, targets, strict=True):
        if target.settings() != targets[0].settings():
            named = f"{built[0].method} and {certifier.method}"
            raise BadInput(
                f"claims by {named} are about two models, the network itself or one that is made of it: make two runs"
            )
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
        cautions=cautions,
    )


def _certifiers(
    names: Sequence[str | Certifier], options: Mapping[str, Any], seed: int, threat: Threat | None = None
) -> tuple[Certifier, ...]:
    """The certifiers, each with those options that it has, and with the study's seed if it draws anything.

    What is a certifier already keeps its settings, but a study draws everything from one seed. With a threat, all are
    as they go about that.

    Raises:
        BadInput: for an option that none of them has, or one that is missing; for something that names no certifier.
    """
    if not isinstance(options.get("noise"), str | None):
        given = {name: options.get(name) for name in ("sigma", "retention", "null")}
        options = {**options, **named_law(options["noise"], **given).settings()}
    named = [name for name in names if not isinstance(name, Certifier)]
    has = {name: settings_of(CERTIFIERS, name).keys() for name in named}
    unknown = {option: value for option, value in options.items() if not any(option in known for known in has.values())}
    if unknown and names and not named:
        raise BadInput(f"a certifier that is made already takes no options, got {', '.join(unknown)}: set them there")
    settings = {**options, "seed": seed}
    made = [
        _seeded(name, seed)
        if isinstance(name, Certifier)
        else make(CERTIFIERS, name, {**{key: settings[key] for key in settings if key in has[name]}, **unknown})
        for name in names
    ]
    return tuple(made if threat is None else [one.fitted(threat) for one in made])


def _seeded(certifier: Certifier, seed: int) -> Certifier:
    return replace(certifier, seed=seed) if hasattr(certifier, "seed") else certifier  # type: ignore[type-var]


@as_alone()
def evaluate(
    clf: Classifier,
    data: Any,
    *,
    threat: Threat,
    property: Property | None = None,
    certifier: str | Certifier | Sequence[str | Certifier] = "smoothing",
    attack: str | Callable[..., Any] | None = None,
    attack_option: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    engine: str | Engine | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    input_timeout: float | None = None,
    order: str = "given",
    time_budget: float | str | None = None,
    seed: int | None = None,
    label: str | None = None,
    progress: bool | Observer = False,
    **options: Any,
) -> Result:
    """Certify and attack a labelled data set, and join both: the whole way in one call.

    Args:
        clf: the classifier. Where ``certify.load_model`` read it from the folder of a training, or from several as an
            ensemble, inputs that it was trained on are named in a warning.
        data: (x, y); a DataLoader or Dataset of torch; a DataFrame with a column ``label``, or (DataFrame, column); see
            :func:`~certify.data.given.arrays_of`. Or a :class:`~certify.data.dataset.Dataset`.
        threat: norm and declared radii.
        property: what has to stay true, such as ``certify.TopK(3)``; None for the top class.
        certifier: such as ``certify.Smoothing(sigma=0.25)``, or a registered name; or several deterministic ones.
            Whatever seed one was made with, it draws from the study's.
        attack: a registered attack, one of a library such as ``"foolbox:LinfPGD"``, a function of a model and inputs,
            or None. Where smoothing certifies, the smoothed classifier is attacked.
        attack_option: the attack's own settings, such as ``{"steps": 100}``.
        out: run folder; the same call again resumes it. None keeps the records in memory.
        engine: where the work is done: ``"serial"``, in this process (default); ``"local"``, in worker processes;
            ``"ray"``, on a Ray cluster; or an :class:`~certify.engines.base.Engine`. Records do not depend on it.
        workers: how many hold the model; as many as there are free cores if None.
        ray_address: of the Ray cluster; None starts Ray on this machine.
        input_timeout: seconds per input of its group, after which a worker gives a group up; its inputs are tried once
            more, one by one, and recorded as errors where they take longer again. None waits.
        order: which inputs come first: as ``"given"``, the ``"cheapest"``, or the ``"hardest"``.
        time_budget: seconds, or text such as ``"2h"``, after which no more inputs are begun; the same call with ``out``
            goes on.
        seed: master seed; derived from model, data and settings if None.
        label: what tables and plots call the run; its folder if None.
        progress: True shows how far it is.
        options: the certifier's own settings, such as ``sigma``, ``n``, ``alpha``; ``claim``, ``max_memory``. ``noise``
            may be a name or a law.

    Returns:
        A result whose ``summary`` is the table.

    Raises:
        CertifyError: for anything that cannot be right, in one line, before any work: a loaded model that was chosen
            by more than one in a hundred of the inputs, for example.

    >>> import torch
    >>> from certify.models.classifier import Classifier
    >>> clf = Classifier(torch.nn.Linear(2, 2).eval(), num_classes=2)
    >>> from certify import ThreatModel
    >>> threat = ThreatModel("linf", (0.0, 0.1))
    >>> evaluate(clf, ([[0.9, 0.1], [0.2, 0.8]], [0, 1]), threat=threat, certifier="crown").summary.n
    2
    """
    need_classifier(clf)
    if isinstance(data, Dataset):
        dataset = data
    else:
        x, y = arrays_of(data, regression=clf.num_classes == 1)
        y = np.asarray(y, dtype=np.float64) if clf.num_classes == 1 else y
        dataset = Dataset("given inputs", x, y, clf.num_classes, clf.input_box)
    met, cautions = ({}, ()) if clf.spec is None else met_by(clf.spec, dataset)
    names = [certifier] if isinstance(certifier, str | Certifier) else list(certifier)
    study = build(
        clf,
        dataset,
        need_threat(threat),
        certifiers=names,
        attack=attack,
        attack_option=attack_option or {},
        seed=seed,
        options=options,
        property=need_property(property),
        context=met if label is None else {"label": label_of("label", label), **met},
        cautions=cautions,
    )
    where = {"workers": workers, "ray_address": ray_address, "input_timeout": input_timeout}
    chosen = engine if isinstance(engine, Engine) else engine_from(engine, **where)
    return study.run(
        out,
        progress,
        chosen,
        order=order,
        deadline=NEVER if time_budget is None else Deadline(duration("time_budget", time_budget)),
    )


def study_from(settings: Settings, command: Sequence[str] = ()) -> Study:
    """The study that ``certify run`` was asked for.

    Raises:
        CertifyError: for anything that cannot be right, in one line, before any work.
    """
    return studies_from([settings], command)[0]


def studies_from(sweep: Sequence[Settings], command: Sequence[str] = ()) -> list[Study]:
    """The studies of a sweep, which differ in their models and certifiers alone: each is loaded once.

    A model of a cross-validation is certified on the fold that its training left out, where the data are those of it.

    Raises:
        BadInput: for a model that was chosen by what is to be certified.
        CertifyError: as :func:`study_from`.
    """
    asked = [_asked(settings) for settings in sweep]
    data = load_data(sweep[0].data, sweep[0].input_box, asked[0][1].task == "regression")
    models = {one.model: subject_of(one, data) for one in {settings.model: settings for settings in sweep}.values()}
    return [
        build(
            models[settings.model].classifier,
            models[settings.model].dataset,
            threat,
            certifiers=settings.certifier,
            attack=settings.attack,
            attack_option=settings.attack_option,
            seed=settings.seed,
            options=options,
            property=property,
            shard=settings.shard_of,
            context={
                "command": list(command),
                "device": settings.device,
                "specs": settings.specs,
                "study": settings.given,
                **({} if settings.label is None else {"label": settings.label}),
                **models[settings.model].context,
            },
            cautions=models[settings.model].cautions,
        )
        for settings, (threat, property, options) in zip(sweep, asked, strict=True)
    ]


def check_asked(sweep: Sequence[Settings]) -> None:
    """Refuse what can be refused of a sweep without its models, which are trained first.

    Raises:
        CertifyError: as :func:`study_from`.
    """
    for settings in sweep:
        threat, property, options = _asked(settings)
        for certifier in _certifiers(settings.certifier, options, seed=0, threat=threat):
            certifier.check_scope(threat, property)
        if settings.attack != "none":
            make(ATTACKS, settings.attack, settings.attack_option)
    load_data(sweep[0].data, sweep[0].input_box, property.task == "regression")


_ELSEWHERE: Final = ("radii", "units", "input_box", "seed", "around", "truth")
"""Settings that a study gives its members: the first four have flags of their own, the others belong to an input."""


def _asked(settings: Settings) -> tuple[Threat, Property, Mapping[str, Any]]:
    """The threat and the property that were asked for, and the options of the certifiers.

    Raises:
        BadInput: for one that is not known, or settings that none of them has, or more than one.
    """
    options = _by_owner(settings)
    given = {"radii": settings.radii, "units": settings.units, **options["threat"]}
    if settings.threat == "lp":
        norm = settings.norm or given.get("norm")
        norm = norm or _certifiers(settings.certifier, options["certifier"], seed=0)[0].default_norm
        scale = settings.scale or given.get("scale")
        given |= {"norm": norm, "scale": read_scale(scale) if isinstance(scale, str) else scale}
    elif settings.norm is not None or settings.scale is not None:
        raise BadInput(f"norm and scale are about balls, the threat is {settings.threat}: leave them out")
    threat = make(THREATS, settings.threat, given)  # type: ignore[arg-type]
    return threat, make(PROPERTIES, settings.property_, options["property"]), options["certifier"]  # type: ignore[arg-type]


def _by_owner(settings: Settings) -> dict[str, dict[str, Any]]:
    """The options of the threat, of the property and of the certifiers, by what each is called in a study.

    Raises:
        BadInput: for an option that none of them has, or more than one where nobody says whose it is.
    """
    members: dict[tuple[str, str], Sequence[str]] = {
        ("threat", settings.threat): list(settings_of(THREATS, settings.threat)),  # type: ignore[arg-type]
        ("property", settings.property_): list(settings_of(PROPERTIES, settings.property_)),  # type: ignore[arg-type]
        **{("certifier", name): list(settings_of(CERTIFIERS, name)) for name in settings.certifier},
    }
    found: dict[str, dict[str, Any]] = {role: {} for role, _ in members}
    for key, value in settings.option.items():
        role, dot, name = key.rpartition(".")
        owners = {
            one: member for (one, member), names in members.items() if (name in names if not dot else one == role)
        }
        if name in _ELSEWHERE:
            flags = ", ".join(one.replace("_", "-") for one in _ELSEWHERE[:4])
            own = name if name in _ELSEWHERE[4:] else _ELSEWHERE[4]
            raise BadInput(f"{name} is no option: {flags} are settings of the study, {own} is each input's own")
        if len(owners) > 1:
            both = " and ".join(f"{one} {member}" for one, member in owners.items())
            raise BadInput(
                f"{both} both have {name}: say whose it is, {' or '.join(f'{one}.{name}' for one in owners)}"
            )
        if not owners:
            known = {
                f"{one} {member}": [name for name in names if name not in _ELSEWHERE]
                for (one, member), names in members.items()
            }
            all_names = list(dict.fromkeys(name for names in known.values() for name in names))
            listed = "; ".join(f"{one}: {', '.join(names) or 'none'}" for one, names in known.items())
            raise BadInput(f"this study has no setting {key!r}{nearest(name, all_names)} known: {listed}")
        [owner] = owners
        if name in found[owner]:
            raise BadInput(f"{owner}.{name} is given twice; give it once")
        found[owner][name] = value
    return found
