"""What the fields of a record may hold at all: types, ranges and words, whatever the record says besides.

A count below zero, arithmetic in float16, or the name of another method is no evidence, even where nothing was derived
from it. And what nobody can derive from anything is named in :data:`UNCHECKED`, so that a check can say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import msgspec

from certify.core.certificate import BoundEvidence, Certificate, CompleteEvidence, Evidence, LipschitzEvidence
from certify.core.evidence import PublishedEvidence, SmoothingEvidence
from certify.core.finding import Finding
from certify.core.reported import Reported

__all__ = ["UNCHECKED", "misformed", "unchecked"]

Count = Annotated[int, msgspec.Meta(ge=0)]
Some = Annotated[int, msgspec.Meta(ge=1)]
Real = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Digits = Annotated[str, msgspec.Meta(pattern="^[0-9]+$")]
Norm = Literal["l1", "l2", "linf"]
Claim = Literal["exact", "float32"]
Arithmetic = Literal["float64"]
"""In which all proofs are made and derived again."""


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    """A table; what older records lack has a default."""


class _Look(_Fields):
    n: Some
    counts: dict[Digits, Count]
    alpha: Probability
    invalid: Count


class _Smoothing(_Fields, tag_field="kind", tag="smoothing"):
    noise: str
    sigma: Positive
    dimensions: Some
    chosen_by: Literal["draws", "label", "votes"]
    selection: _Look | None
    looks: list[_Look]
    later: list[tuple[Some, Probability]]
    q_upper: Probability
    rival_upper: Probability
    rival_share: Probability
    draws_alpha: Probability
    slack: Real
    assumption: str
    seed: int
    block_size: Some
    generator: str


class _Bounds(_Fields, tag_field="kind", tag="bounds"):
    bound_method: str
    input_box: tuple[float, float] | None
    margins: list[float]
    dtype: Arithmetic
    slack: Real
    evaluations: Count
    claim: Claim = "exact"
    slopes: str = ""


class _Part(_Fields):
    node: str
    norm: Real
    proof: Literal["gram", "spectrum", "absolute"]


class _Lipschitz(_Fields, tag_field="kind", tag="lipschitz"):
    margins: list[float]
    constants: list[Real]
    layers: list[_Part]
    lipschitz: Real
    slack: Real
    dtype: Arithmetic


class _Example(_Fields):
    dtype: Literal["float32", "float64"]
    shape: list[Count]
    base64: str


class _Complete(_Fields, tag_field="kind", tag="complete"):
    claim: Claim
    dtype: Arithmetic
    certified: Real | None
    proof: str
    falsified: Real | None
    example: _Example | None
    adversarial_prediction: Count | None
    solver: str
    subproblems: Count
    timeout: Positive
    gap: Probability | None
    seed: int
    reason: str = ""


class _Published(_Fields, tag_field="kind", tag="published"):
    source: str
    source_digest: str
    line: Annotated[int, msgspec.Meta(ge=2)]
    printed: str
    lowest: Real
    noise: Literal["gaussian"]
    sigma: Positive
    n: Some
    inferred: bool


class _Certificate(_Fields):
    index: Count
    input_digest: str
    label: Count | None
    prediction: Count | None
    verdict: str
    radius: Real | None
    radius_hex: str | None
    norm: Norm
    guarantee: str
    alpha: Probability | None
    method: str
    threat: dict[str, Any]
    model_digest: str
    evidence: _Smoothing | _Bounds | _Lipschitz | _Complete | _Published | None
    seconds: Real
    forward_passes: Count
    reason: str


class _Finding(_Fields):
    index: Count
    input_digest: str
    label: Count
    prediction: Count | None
    norm: Norm
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

_METHODS: Final[dict[type[Evidence], str]] = {
    SmoothingEvidence: "smoothing",
    LipschitzEvidence: "lipschitz",
    CompleteEvidence: "complete",
    PublishedEvidence: "published",
}
"""Whose evidence is of which kind; bounds name their method themselves."""


def misformed(record: Certificate | Finding | Reported, text: str | None = None) -> str:
    """Which field of a record holds what it cannot, in words; empty where none does.

    Args:
        record: the record.
        text: as it was stored; as it would be stored where that is None.
    """
    try:
        _FORMS[type(record)](json.dumps(record.to_dict()) if text is None else text)
    except msgspec.MsgspecError as problem:
        return str(problem)
    if isinstance(record, Certificate):
        return _of_another(record)
    if isinstance(record, Finding):
        return _without_example(record)
    return ""


def _of_another(certificate: Certificate) -> str:
    """Whether the evidence is that of another method than the record names."""
    evidence, method = certificate.evidence, certificate.method
    if isinstance(evidence, BoundEvidence):
        # Where nothing is proven it may be that of interval arithmetic, which every method asks first.
        own = method in ("auto", evidence.bound_method) and method not in _METHODS.values()
        if own or (certificate.radius is None and evidence.bound_method == "ibp" and method not in _METHODS.values()):
            return ""
        return f"its bounds are by {evidence.bound_method}, the record is by {method}"
    if evidence is None or _METHODS[type(evidence)] == method:
        return ""
    return f"its evidence is of {evidence.kind}, the record is by {method}"


def _without_example(finding: Finding) -> str:
    """Whether a finding says something of an example that it does not have, or of votes of a model that has none."""
    about = {"adversarial_prediction": finding.adversarial_prediction, "p_label_upper": finding.p_label_upper}
    for name, value in about.items():
        if value is not None and finding.x_adv is None:
            return f"{name} is {value}, and there is no example"
    if finding.p_label_upper is not None and "noise" not in finding.settings:
        return f"p_label_upper is {finding.p_label_upper}, and the model that was attacked is not a smoothed one"
    return ""


UNCHECKED: Final[dict[str, tuple[str, ...]]] = {
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
    "smoothing": ("generator",),
    "bounds": ("slack", "evaluations", "certificate.forward_passes"),
    "lipschitz": ("slack", "certificate.forward_passes"),
    "complete": ("solver", "subproblems", "reason", "certificate.forward_passes"),
    "published": ("line", "certificate.label", "certificate.prediction", "certificate.forward_passes"),
    "finding": ("p_label_upper", "seconds", "forward_passes"),
    "reported": ("label", "prediction", "base_prediction"),
}
"""Fields by kind of record that nobody can derive from records, model and data; docs/check.md says why of each."""


def unchecked(records: Iterable[Certificate | Finding | Reported]) -> dict[str, tuple[str, ...]]:
    """What is taken on trust of a run with these records, by kind of record; the manifest comes first."""
    kinds = dict.fromkeys(["manifest"])
    for one in records:
        if isinstance(one, Certificate):
            kinds["certificate"] = None
            if one.evidence is not None:
                kinds[one.evidence.kind] = None
        else:
            kinds["finding" if isinstance(one, Finding) else "reported"] = None
    listed = {kind: UNCHECKED[kind] for kind in kinds if UNCHECKED[kind]}
    if not kinds.keys() & {"smoothing", "complete", "published", "finding"}:  # nothing was drawn
        listed["manifest"] += ("settings.seed",)
    return listed
