"""Records compared with the settings in their run's manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from certify.checker.derivations.base import (
    Derivation,
    Difference,
    RunSettings,
    Underived,
    derivation_for,
    derivation_of,
)
from certify.checker.result import CheckedClaim, judged, left_open, refuted
from certify.core.certificate import Certificate
from certify.core.evidence import kinds_of
from certify.core.finding import Finding
from certify.core.properties.base import property_from
from certify.core.threats.base import Threat, threat_from

__all__ = ["settings_claims"]


def settings_claims(
    certificates: Sequence[Certificate], findings: Sequence[Finding], settings: Mapping[str, Any]
) -> list[CheckedClaim]:
    """One outcome a record: ``settings`` confirmed, or each setting that differs by its own name.

    Args:
        certificates, findings: the records of one run.
        settings: those of its manifest.
    """
    threat = threat_from(settings["threat"])
    certifiers = {one["method"]: one for one in settings["certifiers"]}
    shared = _shared(certificates)
    claims = _apart("manifest", _of_seeds(settings))
    for certificate in certificates:
        differences = _of_certificate(certificate, threat, certifiers.get(certificate.method), settings, shared)
        claims += _outcomes(f"input {certificate.index}, {certificate.method}", differences, derivation_of(certificate))
    for finding in findings:
        claims += _outcomes(f"input {finding.index}, {finding.attack}", _of_finding(finding, threat, settings))
    return claims


def _of_seeds(settings: Mapping[str, Any]) -> Iterator[Difference]:
    """Certifiers must have used the seed of the run; an imported log has none."""
    for one in settings["certifiers"]:
        if "seed" in one or one["method"] == "published":
            yield f"seed of {one['method']}", one.get("seed"), settings["seed"]


def _outcomes(
    subject: str, differences: Iterable[Difference], derivation: Derivation | None = None
) -> list[CheckedClaim]:
    unknown = left_open(subject, "settings", derivation.why) if isinstance(derivation, Underived) else None
    return _apart(subject, differences) or [unknown or judged(subject, "settings", "")]


def _apart(subject: str, differences: Iterable[Difference]) -> list[CheckedClaim]:
    return [
        refuted(subject, name, f"the record says {_brief(found)}, the run {_brief(asked)}")
        for name, found, asked in differences
        if found != asked
    ]


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:60]}..."


def _of_certificate(
    certificate: Certificate,
    threat: Threat,
    certifier: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    shared: Mapping[str, Mapping[str, object]],
) -> Iterator[Difference]:
    yield "threat model", certificate.threat, threat
    yield "property", certificate.property.family, property_from(settings.get("property"))
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
    expected = kinds_of(certificate.method)
    if evidence is None and "alpha" not in certifier:
        return  # an input that is misclassified is settled without any
    if evidence is None or evidence.kind not in expected:
        yield "evidence", "none" if evidence is None else evidence.kind, certificate.method
        return
    yield from derivation_for(evidence.kind).settings(
        certificate, RunSettings(certifier, settings, shared[evidence.kind])
    )


def _shared(certificates: Iterable[Certificate]) -> dict[str, dict[str, object]]:
    """The most frequent values among certificates of each kind, so that one with other values stands out."""
    said: dict[str, dict[str, Counter[object]]] = {}
    for certificate in certificates:
        if certificate.evidence is not None:
            of_kind = said.setdefault(certificate.evidence.kind, {})
            for name, value in derivation_for(certificate.evidence.kind).same_for_all(certificate).items():
                of_kind.setdefault(name, Counter())[value] += 1
    return {
        kind: {name: values.most_common(1)[0][0] for name, values in of_kind.items()} for kind, of_kind in said.items()
    }


def _of_finding(finding: Finding, threat: Threat, settings: Mapping[str, Any]) -> Iterator[Difference]:
    yield "model digest", finding.model_digest, settings["model"]["digest"]
    yield "norm", finding.norm, threat.norm
    yield "radii", finding.radii, threat.radii
    yield "seed", finding.seed, settings["seed"]
    property = property_from(settings.get("property"))
    asked = {**(settings["attack"] or {"attack": "none"}), **threat.named, **property.named}
    yield "attack", finding.attack, asked.pop("attack")
    target = {"target": finding.settings["target"]} if property.per_input and "target" in finding.settings else {}
    yield "attack settings", dict(finding.settings), {**asked, **target}
