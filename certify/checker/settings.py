"""Records against the settings in their run's manifest: nothing was made in another way than the manifest says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, Final

from certify.checker.checked import Checked, Standing
from certify.checker.schedules import Schedule, schedule_fault, schedule_of
from certify.core.certificate import (
    BoundEvidence,
    Certificate,
    CompleteEvidence,
    Evidence,
    LipschitzEvidence,
    PublishedEvidence,
    SmoothingEvidence,
)
from certify.core.finding import Finding
from certify.core.threat import ThreatModel

__all__ = ["RIVAL_SHARE", "settings_claims"]

RIVAL_SHARE: Final = 0.1
"""The share of alpha that bounds the runner-up on its own, where a run asks for that."""

_SHARES: Final = {"runner-up": RIVAL_SHARE, "one-sided": 0.0}
"""What each bound of the runner-up costs."""

_EVIDENCE: Final[Mapping[str, type[Evidence]]] = {
    "smoothing": SmoothingEvidence,
    "lipschitz": LipschitzEvidence,
    "complete": CompleteEvidence,
    "published": PublishedEvidence,
}
"""What each method leaves behind; any other method is one of bound propagation."""

_TRANSLATED: Final = ("n", "alpha", "selection", "looks")
"""Settings of smoothing that its evidence holds under other names or in other forms."""

Difference = tuple[str, object, object]
"""Name of a setting, what the record says, what the manifest says."""


def settings_claims(
    certificates: Sequence[Certificate], findings: Sequence[Finding], settings: Mapping[str, Any]
) -> list[Checked]:
    """One outcome a record: ``settings`` confirmed, or each setting that differs by its own name.

    Args:
        certificates, findings: the records of one run.
        settings: those of its manifest.
    """
    threat = ThreatModel.from_dict(settings["threat"])
    certifiers = {one["method"]: one for one in settings["certifiers"]}
    shared = _shared(certificates)
    claims = _apart("manifest", _of_seeds(settings))
    for certificate in certificates:
        differences = _of_certificate(certificate, threat, certifiers.get(certificate.method), settings, shared)
        claims += _outcomes(f"input {certificate.index}, {certificate.method}", differences)
    for finding in findings:
        claims += _outcomes(f"input {finding.index}, {finding.attack}", _of_finding(finding, threat, settings))
    return claims


def _of_seeds(settings: Mapping[str, Any]) -> Iterator[Difference]:
    """Certifiers draw with the seed of the run, and nothing was drawn for a log."""
    for one in settings["certifiers"]:
        if "seed" in one or one["method"] == "published":
            yield f"seed of {one['method']}", one.get("seed"), settings["seed"]


def _outcomes(subject: str, differences: Iterable[Difference]) -> list[Checked]:
    return _apart(subject, differences) or [Checked(subject, "settings", Standing.CONFIRMED)]


def _apart(subject: str, differences: Iterable[Difference]) -> list[Checked]:
    return [
        Checked(subject, name, Standing.REFUTED, f"the record says {_brief(found)}, the run {_brief(asked)}")
        for name, found, asked in differences
        if found != asked
    ]


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:60]}..."


def _of_certificate(
    certificate: Certificate,
    threat: ThreatModel,
    certifier: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    shared: Mapping[str, object],
) -> Iterator[Difference]:
    yield "threat model", certificate.threat, threat
    yield "model digest", certificate.model_digest, settings["model"]["digest"]
    if certifier is None:
        yield "method", certificate.method, " or ".join(one["method"] for one in settings["certifiers"])
        return
    evidence = certificate.evidence
    if certificate.verdict.failed:
        return
    yield "guarantee", certificate.guarantee.kind, "probabilistic" if "alpha" in certifier else "deterministic"
    if "alpha" in certifier:
        yield "alpha", certificate.alpha, certifier["alpha"]
    expected = _EVIDENCE.get(certificate.method, BoundEvidence)
    if evidence is None and certifier["method"] not in ("smoothing", "published"):
        return  # an input that is misclassified is settled without any
    if not isinstance(evidence, expected):
        yield "evidence", "none" if evidence is None else evidence.kind, certificate.method
        return
    smoothing = isinstance(evidence, SmoothingEvidence)
    for name in {one.name for one in fields(evidence)} & certifier.keys():
        if not (smoothing and name in _TRANSLATED):
            yield name, getattr(evidence, name), certifier[name]
    if isinstance(evidence, SmoothingEvidence):
        yield from _of_smoothing(evidence, certifier, shared)
    elif isinstance(evidence, BoundEvidence):
        yield from _of_bounds(certificate, evidence, certifier)
    elif isinstance(evidence, CompleteEvidence):
        yield "gap", evidence.gap, certifier.get("gap")
    elif isinstance(evidence, PublishedEvidence):
        yield from _of_log(certificate, evidence, certifier, settings)


def _of_smoothing(
    evidence: SmoothingEvidence, certifier: Mapping[str, Any], shared: Mapping[str, object]
) -> Iterator[Difference]:
    yield "n", evidence.n_most, certifier["n"]
    yield "selection", evidence.chosen_by, certifier["selection"]
    yield "n0", None if evidence.selection is None else evidence.selection.n, certifier.get("n0")
    yield "bound", evidence.rival_share, _SHARES.get(certifier["bound"], certifier["bound"])
    for name, value in _same_for_all(evidence).items():
        yield name, value, shared[name]
    looks = certifier["looks"], certifier["look_alphas"]
    if looks[0] is None:
        yield "look alphas", None, looks[1]
    given = None if looks[0] is None else tuple(tuple(one) for one in looks)
    schedule, kind = schedule_of(evidence), certifier["schedule"]
    yield "schedule", _fault(schedule, certifier["n"], certifier["alpha"], kind, given, evidence.draws_alpha), ""


@lru_cache(maxsize=1024)
def _fault(
    schedule: Schedule, n: int, alpha: float, kind: str, given: tuple[tuple[float, ...], ...] | None, paid: float
) -> str:
    """As :func:`schedule_fault`, once for the many certificates that share a schedule."""
    looks, look_alphas = given or (None, None)
    settings = {"n": n, "alpha": alpha, "schedule": kind, "looks": looks, "look_alphas": look_alphas}
    return schedule_fault(schedule, settings, paid)


def _same_for_all(evidence: SmoothingEvidence) -> dict[str, object]:
    """What no setting spells out, and what is yet the same for all inputs of a run."""
    return {
        "looks": schedule_of(evidence),
        "dimensions": evidence.dimensions,
        "assumption": evidence.assumption,
        "block size": evidence.block_size,
    }


def _shared(certificates: Iterable[Certificate]) -> dict[str, object]:
    """What nearly all smoothing certificates say, so that one that says otherwise stands out."""
    said: dict[str, Counter[object]] = {}
    for certificate in certificates:
        if isinstance(certificate.evidence, SmoothingEvidence):
            for name, value in _same_for_all(certificate.evidence).items():
                said.setdefault(name, Counter())[value] += 1
    return {name: values.most_common(1)[0][0] for name, values in said.items()}


def _of_bounds(certificate: Certificate, evidence: BoundEvidence, certifier: Mapping[str, Any]) -> Iterator[Difference]:
    yield "input box", evidence.input_box, certificate.threat.input_box
    # Where nothing is proven the evidence may be that of interval arithmetic, which every method asks first.
    nothing = certificate.radius is None and evidence.bound_method == "ibp"
    if certifier["method"] != "auto" and not nothing:
        yield "bound method", evidence.bound_method, certifier["method"]


def _of_log(
    certificate: Certificate, evidence: PublishedEvidence, certifier: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[Difference]:
    source, logs = (
        (evidence.source, evidence.source_digest),
        [(one["name"], one["sha256"]) for one in certifier["logs"]],
    )
    if source not in logs:
        yield "log", source, " or ".join(map(str, logs))
    log = str(settings["data"]["digest"]).removeprefix("published:")
    yield "input digest", certificate.input_digest, f"published:{log[:16]}:{certificate.index}"


def _of_finding(finding: Finding, threat: ThreatModel, settings: Mapping[str, Any]) -> Iterator[Difference]:
    yield "model digest", finding.model_digest, settings["model"]["digest"]
    yield "norm", finding.norm, threat.norm
    yield "radii", finding.radii, threat.radii
    yield "seed", finding.seed, settings["seed"]
    asked = dict(settings["attack"] or {"attack": "none"})
    yield "attack", finding.attack, asked.pop("attack")
    if threat.scale_digest is not None:
        asked["scale"] = threat.scale_digest
    yield "attack settings", dict(finding.settings), asked
