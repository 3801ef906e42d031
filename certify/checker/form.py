"""The form of a record: the types, ranges and words that its fields may hold.

A negative count, arithmetic in float16, or the name of another method is no evidence, even where nothing was derived
from it. :func:`unchecked` lists the fields that nobody can derive from anything, so that a check can say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from certify.checker.derivations.base import derivation_for
from certify.core.certificate import Certificate
from certify.core.evidence import evidence_from
from certify.core.finding import Finding
from certify.core.norms import NORMS, Norm
from certify.core.reported import Reported
from certify.core.schema import Count, Probability, Real
from certify.core.threats.base import THREATS
from certify.core.values import one_of
from certify.errors import BadInput

__all__ = ["misformed", "unchecked", "unchecked_of"]


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of a table. Fields that older records lack have a default."""


class _Example(_Fields):
    dtype: Literal["float32", "float64"]
    shape: list[Count]
    base64: str


class _Certificate(_Fields):
    index: Count
    input_digest: str
    label: Count | None
    prediction: Count | None
    verdict: str
    radius: Real | None
    radius_hex: str | None
    norm: str
    guarantee: str
    alpha: Probability | None
    method: str
    threat: dict[str, Any]
    model_digest: str
    evidence: dict[str, Any] | None
    seconds: Real
    forward_passes: Count
    reason: str
    property: dict[str, Any] | None = None


class _Finding(_Fields):
    index: Count
    input_digest: str
    label: Count
    prediction: Count | None
    norm: str
    radii: list[Real]
    attack: str
    settings: dict[str, Any]
    seed: int
    radius: Real | None
    distance: Real | None
    distance_hex: str | None
    x_adv: _Example | None
    adversarial_prediction: Count | None
    p_label_upper: Probability | None
    model_digest: str
    seconds: Real
    forward_passes: Count
    error: str = ""


class _Reported(_Fields):
    index: Count
    label: Count
    prediction: Count | None
    base_prediction: Count | None
    norm: Norm
    radius: Real
    source: str
    source_digest: str
    radius_hex: str


_FORMS: Final = {
    Certificate: msgspec.json.Decoder(_Certificate).decode,
    Finding: msgspec.json.Decoder(_Finding).decode,
    Reported: msgspec.json.Decoder(_Reported).decode,
}


def misformed(record: Certificate | Finding | Reported, text: str | None = None) -> str:
    """Which field of a record holds what it cannot, in words; empty where none does.

    Args:
        record: the record.
        text: as it was stored; as it would be stored where that is None.
    """
    try:
        form = _FORMS[type(record)](json.dumps(record.to_dict()) if text is None else text)
        if isinstance(form, _Certificate) and form.evidence is not None:
            evidence_from(form.evidence)
        if isinstance(form, _Certificate | _Finding):
            one_of("norm", form.norm, (*NORMS, *(name for name in THREATS if name != "lp")))
    except (msgspec.MsgspecError, BadInput, KeyError, RecursionError, TypeError, ValueError) as problem:
        return str(problem)
    if isinstance(record, Certificate):
        return _of_another(record)
    if isinstance(record, Finding):
        return _without_example(record)
    return ""


def _of_another(certificate: Certificate) -> str:
    """Why the evidence cannot be that of the method that the record names; empty where it can."""
    evidence = certificate.evidence
    if evidence is None or evidence.by(certificate):
        return ""
    return f"its evidence of {evidence.kind} is not what {certificate.method} leaves behind"


def _without_example(finding: Finding) -> str:
    """Why a finding must not mention an example or votes although it does; empty where it may."""
    about = {"adversarial_prediction": finding.adversarial_prediction, "p_label_upper": finding.p_label_upper}
    for name, value in about.items():
        if value is not None and finding.x_adv is None:
            return f"{name} is {value}, and there is no example"
    if finding.p_label_upper is not None and "noise" not in finding.settings:
        return f"p_label_upper is {finding.p_label_upper}, and the model that was attacked is not a smoothed one"
    return ""


_UNCHECKED: Final[dict[str, tuple[str, ...]]] = {
    "manifest": (
        "settings.model.name",
        "settings.data.name",
        "settings.threat.units",
        "settings.device",
        "settings.shard",
        "settings.certifiers.tolerance",
        "settings.certifiers.reach",
        "settings.certifiers.decide",
        "context",
    ),
    "certificate": ("seconds", "reason"),
    "finding": ("p_label_upper", "seconds", "forward_passes", "error"),
    "reported": ("label", "prediction", "base_prediction"),
}


def unchecked_of(kind: str) -> tuple[str, ...]:
    """Fields of a kind of record, or of evidence, that nobody can derive; docs/check.md says why of each."""
    return _UNCHECKED[kind] if kind in _UNCHECKED else derivation_for(kind).unchecked


def unchecked(records: Iterable[Certificate | Finding | Reported]) -> dict[str, tuple[str, ...]]:
    """The fields of these records that are taken on trust, by kind of record; the manifest comes first."""
    kinds, drawn = dict.fromkeys(["manifest"]), False
    for one in records:
        if isinstance(one, Certificate):
            kinds["certificate"] = None
            if one.evidence is not None:
                kinds[one.evidence.kind] = None
                drawn |= derivation_for(one.evidence.kind).drawn
        else:
            kinds["finding" if isinstance(one, Finding) else "reported"] = None
            drawn |= isinstance(one, Finding)
    listed = {kind: fields for kind in kinds if (fields := unchecked_of(kind))}
    if not drawn:
        listed["manifest"] += ("settings.seed",)
    return listed
