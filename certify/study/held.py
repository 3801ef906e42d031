"""The records of a run held against each other, their manifest and their evidence: no model, data or torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from certify.checker.derivations.base import derived_claims, statement
from certify.checker.form import unchecked
from certify.checker.records import presence_claims, read_rows
from certify.checker.result import NO_PROMISE, CheckedClaim, CheckResult, judged, left_open, subject_of
from certify.checker.settings import settings_claims
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.reported import Reported
from certify.core.threats.base import threat_from
from certify.errors import StoreError, one_line
from certify.progress.observer import Observer, watching
from certify.store.exported import is_exported, read_exported
from certify.store.run_folder import Manifest, RunFolder
from certify.study.read import head_of

__all__ = ["Held", "check_records", "held_records", "record_claims"]

TOGETHER: Final = 256
"""Certificates derived between two steps of the progress bar."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """All that a run folder holds, or a file of its certificates, as far as it can be read.

    Args:
        path: the folder or the file.
        settings, context: of its manifest.
        certificates, findings, reported: the records.
        claims: which rows are what they say, and whether the file is whole.
        head: model, data and threat model, as name and text.
        absent: what else the run found, which is not here, in a sentence; empty for a folder.
    """

    path: Path
    settings: Mapping[str, Any]
    context: Mapping[str, Any]
    certificates: Sequence[Certificate]
    findings: Sequence[Finding]
    reported: Sequence[Reported]
    claims: Sequence[CheckedClaim]
    head: Mapping[str, str]
    absent: str = ""

    @property
    def unchecked(self) -> Mapping[str, tuple[str, ...]]:
        """What nobody can derive of these records."""
        listed = unchecked([*self.certificates, *self.findings, *self.reported])
        if self.absent:
            listed["manifest"] += ("settings.attack", "settings.reported")
        return listed


def held_records(path: Path | str) -> Held:
    """Read a run folder, or a file of certificates that ``certify export`` wrote, to check it.

    Raises:
        StoreError: for neither of them, a damaged one, or one without any record.
        BadInput: for a file that takes too much memory, or of a format that leaves out the evidence.
    """
    if is_exported(path):
        manifest, rows = read_exported(Path(path))
        with _manifest_of(path):
            absent = _absent(manifest)
        # What attacks found is elsewhere, so that no input of theirs is missing here.
        return _held(path, manifest, {**manifest.settings, "attack": None}, [rows, [], []], [], absent)
    with RunFolder.open(path) as folder:
        manifest = folder.manifest
        claims = [judged("records", "database", folder.records.damage())]
        tables = [list(folder.records.rows(name)) for name in ("certificates", "findings", "reported")]
        if not tables[0]:
            folder.refuse_empty()
    return _held(path, manifest, manifest.settings, tables, claims)


def _held(
    path: Path | str,
    manifest: Manifest,
    settings: Mapping[str, Any],
    tables: Sequence[Sequence[Mapping[str, Any]]],
    claims: list[CheckedClaim],
    absent: str = "",
) -> Held:
    """The rows of a run as records, each with its claim."""
    kinds = (Certificate, Finding, Reported)
    stored = [read_rows(rows, kind, manifest.digest) for rows, kind in zip(tables, kinds, strict=True)]
    claims = [*claims, *(claim for one in stored for claim in one.claims)]
    with _manifest_of(path):
        head = {**head_of(manifest), "threat": str(threat_from(settings["threat"]))}
    certificates, findings, reported = (one.records for one in stored)
    return Held(Path(path), settings, manifest.context, certificates, findings, reported, claims, head, absent)


def _absent(manifest: Manifest) -> str:
    """What a file of certificates leaves out of what its run found, in a sentence."""
    attack = manifest.settings["attack"]
    names = [] if attack is None else [attack["attack"]]
    names += [str(log["name"]) for log in manifest.settings.get("reported", [])]
    if not names:
        return ""
    said = f"Attacks ({', '.join(names)}) are not in this file, so nothing that they found is checked"
    return f"{said}: that takes the run folder."


def check_records(path: Path | str, progress: bool | Observer = False) -> CheckResult:
    """Derive again what follows from the records alone: the arithmetic half of ``check_run``, without model or data.

    Raises:
        StoreError: as :func:`held_records`.
    """
    held = held_records(path)
    claims = record_claims(held, None, watching(progress))
    return CheckResult(tuple(claims), held.head, statement(held.certificates), held.unchecked, held.absent)


def record_claims(held: Held, positions: Sequence[int] | None, progress: Observer) -> list[CheckedClaim]:
    """What the records say of themselves, of each other and of their manifest; and what follows from their evidence.

    Args:
        held: the records.
        positions: of all inputs of the run, where the data are at hand.
        progress: told how far it is.
    """
    claims = list(held.claims)
    with _manifest_of(held.path):
        claims += settings_claims(held.certificates, held.findings, held.settings)
        claims += _reported(held.reported, held.settings)
        claims += presence_claims(held.certificates, held.findings, held.settings, positions)
    claims += _arithmetic(held.certificates, progress)
    return claims + _failed_attacks(held.certificates, held.findings)


@contextmanager
def _manifest_of(path: Path | str) -> Iterator[None]:
    """Say of a manifest in which something is missing, or of another type, that it is the manifest."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as problem:
        raise StoreError(f"{path} has a manifest that lacks what a run needs ({one_line(problem)})") from problem


def _arithmetic(certificates: Sequence[Certificate], progress: Observer) -> list[CheckedClaim]:
    """What follows from the certificates alone."""
    published = [one for one in certificates if one.evidence is not None and one.evidence.published]
    others = [one for one in certificates if one.evidence is None or not one.evidence.published]
    claims = derived_claims(published)
    with progress.stage("deriving from evidence", len(others)) as advance:
        for first in range(0, len(others), TOGETHER):
            part = others[first : first + TOGETHER]
            claims += derived_claims(part)
            advance(len(part), "")
    return claims


def _failed_attacks(certificates: Iterable[Certificate], findings: Iterable[Finding]) -> list[CheckedClaim]:
    """What nobody can derive again: that a search found nothing, complete verification as well, or was not made."""
    said = "that a search found no example cannot be derived from anything it left"
    searches = [*findings, *(one.finding for one in certificates)]
    return [
        left_open(subject_of(one), *(("failed computation", one.error) if one.error else (NO_PROMISE, said)))
        for one in searches
        if one is not None and not one.succeeded
    ]


def _reported(reported: Iterable[Reported], settings: Mapping[str, Any]) -> list[CheckedClaim]:
    """Rows of imported attack logs against the logs that the manifest names."""
    logs = [(one["name"], one["sha256"], one["radius"]) for one in settings.get("reported", [])]
    claims = []
    for one in reported:
        log = (one.source, one.source_digest, one.radius)
        said = "" if log in logs else f"the manifest names no log {one.source} at radius {one.radius}"
        claims.append(judged(f"input {one.index}, {one.source}", "log", said))
    return claims
