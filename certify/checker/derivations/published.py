"""Radii that were read from a log. A log holds no counts to derive them from, but they can contradict it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from certify.checker.derivations.base import DERIVATIONS, Derivation, Difference, RunSettings, evidence_of
from certify.checker.laws import LAWS
from certify.checker.result import CheckedClaim, judged, left_open, refuted, subject_of
from certify.core.certificate import Certificate, PublishedEvidence
from certify.core.printed import Printed, Printing
from certify.core.rounding import round_down
from certify.core.verdict import Verdict
from certify.stats.ladder import fit, largest, top_rung

__all__ = ["PublishedDerivation", "published_claims"]

TOP_RTOL: Final = 1e-9
"""Relative tolerance at the top of the ladder, which is computed in ordinary floats."""

MAX_STRAYS: Final = 0.1
"""Largest share of radii off the ladder for which the radii are doubted; above it, n, alpha or sigma may be wrong."""


def published_claims(certificates: Sequence[Certificate], *, whole: bool = True) -> list[CheckedClaim]:
    """What the records of a log's lines say about themselves and each other.

    ``printed``: the radius is the number that the log prints, and ``lowest`` the least that prints so.
    ``published radius``: open at best. It is refuted where n samples at this alpha and sigma cannot certify it, or
    where the largest radii lie on the ladder of these three and this one does not.

    Args:
        certificates: with published evidence.
        whole: whether these are all lines of their files, which then show how many digits were printed.
    """
    printings = _printings(certificates)
    read = [printings[evidence.source_digest].read(text) for _, evidence, text in _radii(certificates)]
    strays = {evidence.printed for group in _strays(certificates, read) for evidence in group}
    claims = []
    for certificate in certificates:
        evidence = evidence_of(certificate, PublishedEvidence)
        subject = subject_of(certificate)
        printed = _misprinted(certificate, evidence, printings.get(evidence.source_digest), whole=whole)
        fault = _impossible(certificate, evidence)
        if not fault and certificate.radius is not None and evidence.printed in strays:
            fault = f"{evidence.printed} is no rung of the ladder of radii that the others lie on"
        said = f"read from line {evidence.line} of {evidence.source}: a log holds no counts to derive it from"
        claims.append(judged(subject, "printed", printed))
        claims.append((refuted if fault else left_open)(subject, "published radius", fault or said))
    return claims


def _radii(certificates: Iterable[Certificate]) -> Iterable[tuple[Certificate, PublishedEvidence, str]]:
    """The certificates with a radius, their evidence and the number that their log prints; "0" if it is no number."""
    for certificate in certificates:
        evidence = certificate.evidence
        if isinstance(evidence, PublishedEvidence) and certificate.radius is not None:
            yield certificate, evidence, evidence.printed if _number(evidence.printed) else "0"


def _number(text: str) -> bool:
    try:
        return 0 <= float(text) < float("inf") and not text.strip("0123456789.eE+-")
    except ValueError:
        return False


def _printings(certificates: Sequence[Certificate]) -> Mapping[str, Printing]:
    """How each file rounds, by its digest."""
    texts: dict[str, list[str]] = {}
    for _, evidence, text in _radii(certificates):
        texts.setdefault(evidence.source_digest, []).append(text)
    return {file: Printing.of(printed) for file, printed in texts.items()}


def _strays(certificates: Sequence[Certificate], read: Sequence[Printed]) -> Iterable[list[PublishedEvidence]]:
    """Radii that lie off the ladder of their (n, alpha, sigma) although nearly all of the largest lie on it."""
    rows: dict[tuple[int, float, float], list[tuple[PublishedEvidence, Printed]]] = {}
    for (certificate, evidence, _), printed in zip(_radii(certificates), read, strict=True):
        if certificate.alpha is not None:
            rows.setdefault((evidence.n, certificate.alpha, evidence.sigma), []).append((evidence, printed))
    for (n, alpha, sigma), group in rows.items():
        found = fit(largest(printed for _, printed in group), n, alpha, sigma)
        if found.reached and 0 < len(found.missing) <= MAX_STRAYS * found.compared:
            yield [evidence for evidence, printed in group if printed.text in found.missing]


def _misprinted(
    certificate: Certificate, evidence: PublishedEvidence, printing: Printing | None, *, whole: bool
) -> str:
    stated = certificate.radius
    if stated is None or printing is None:
        return "" if evidence.lowest == 0 else f"nothing is certified, yet lowest is {evidence.lowest!r}"
    if not _number(evidence.printed):
        return f"{evidence.printed!r} is no radius"
    expected = printing.read(evidence.printed)
    if stated != expected.value:
        return f"{stated!r} is stated, the log prints {evidence.printed}"
    if evidence.lowest == expected.lowest or (not whole and expected.lowest < evidence.lowest < stated):
        return ""
    return f"{expected.lowest!r} is the least that prints as {evidence.printed}, not {evidence.lowest!r}"


def _impossible(certificate: Certificate, evidence: PublishedEvidence) -> str:
    if certificate.verdict not in (Verdict.CERTIFIED, Verdict.ABSTAIN):
        return f"a line of a log is certified or abstained, not {certificate.verdict}"
    if certificate.radius is None or certificate.alpha is None:
        return ""
    if silence := LAWS["gaussian"].silence(certificate.threat):
        return f"a log of gaussian smoothing: {silence}"
    top = top_rung(evidence.n, certificate.alpha, evidence.sigma)
    if evidence.lowest > top * (1 + TOP_RTOL):
        return (
            f"{evidence.printed} is above {round_down(top)}, the largest that sigma={evidence.sigma:g}, "
            f"n={evidence.n:,} and alpha={certificate.alpha:g} can certify"
        )
    return ""


class PublishedDerivation(Derivation):
    """Lines of a log, which hold no counts: that they do not contradict each other proves none of them."""

    unchecked = ("line", "certificate.label", "certificate.prediction", "certificate.forward_passes")
    drawn = True
    statement = "Published radii ({threats}) hold no evidence: that they do not contradict their log proves none."

    def alone(self, certificates: Sequence[Certificate], *, whole: bool) -> list[CheckedClaim]:
        """All lines together, because only all of them show how many digits a log prints."""
        return published_claims(certificates, whole=whole)

    def settings(self, certificate: Certificate, asked: RunSettings) -> Iterator[Difference]:
        """The log is one of those that the manifest names, and the input is a line of it."""
        yield from super().settings(certificate, asked)
        evidence = evidence_of(certificate, PublishedEvidence)
        source = evidence.source, evidence.source_digest
        logs = [(one["name"], one["sha256"]) for one in asked.certifier["logs"]]
        if source not in logs:
            yield "log", source, " or ".join(map(str, logs))
        log = str(asked.run["data"]["digest"]).removeprefix("published:")
        yield "input digest", certificate.input_digest, f"published:{log[:16]}:{certificate.index}"


DERIVATIONS.register("published")(PublishedDerivation())
