"""``check_run``: every claim of a run folder derived again, by the kernel in ``checker``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from certify.checker.check import derived_claims, needs_network, statement
from certify.checker.checked import Checked, Standing, judged, subject_of
from certify.checker.outcome import NO_PROMISE, Outcome
from certify.checker.records import presence_claims, read_rows
from certify.checker.sample import data_claims, sample_of
from certify.checker.settings import settings_claims
from certify.core.certificate import Certificate, PublishedEvidence, SmoothingEvidence
from certify.core.finding import Finding
from certify.core.reported import Reported
from certify.core.threat import ThreatModel
from certify.errors import BadInput, StoreError, one_line
from certify.progress.observer import Observer, watching
from certify.store.run_folder import RunFolder
from certify.study.at_hand import AtHand, at_hand
from certify.study.read import head_of

__all__ = ["check_run"]

TOGETHER: Final = 256
"""Certificates derived between two steps of the progress bar."""


def check_run(
    path: Path | str,
    *,
    replay: int = 0,
    seed: int | None = None,
    model: str | None = None,
    data: str | None = None,
    bundle: tuple[Path, Path] | None = None,
    progress: bool | Observer = False,
) -> Outcome:
    """Derive every claim of a run folder again.

    From the records alone: each smoothing radius from its counts, each record against the manifest's settings, and the
    digest of the data from positions, labels and input digests. From model and data, which are loaded by the SPECs in
    the manifest, or the ones given: which inputs were drawn, their labels and values, proofs, and adversarial examples,
    which are executed. What cannot be loaded leaves its claims open, with the reason.

    Args:
        path: the run folder.
        replay: how many blocks of noise to draw again, and about how many inputs to draw 1,000 fresh samples.
        seed: which blocks, and what fresh noise; derived from the records if None, so that a check can be repeated.
        model, data: SPECs to use in place of the manifest's; naming a Python function lets it run.
        bundle: a signed bundle of this run and the public key of whoever vouches for it: the folder has to hold what
            was signed.
        progress: True shows how far the check is.

    Raises:
        StoreError: for no run folder, a damaged one, or one without any record.
        BadInput: for a negative ``replay``.
        CertifyError: for a SPEC that was given and cannot be loaded.
        NotVerified: for a bundle that this key did not sign.
    """
    if replay < 0:
        raise BadInput(f"replay must be a number of noise blocks, 0 or more, got {replay}")
    progress = watching(progress)
    with RunFolder.open(path) as folder:
        settings, context, digest = folder.manifest.settings, folder.manifest.context, folder.manifest.digest
        tables = [(name, list(folder.records.rows(name))) for name in ("certificates", "findings", "reported")]
    if not tables[0][1]:
        raise StoreError(f"{path} holds no certificate yet; finish the run with the same certify run command")
    kinds = (Certificate, Finding, Reported)
    stored = [read_rows(rows, kind, digest) for (_, rows), kind in zip(tables, kinds, strict=True)]
    certificates, findings, reported = (one.records for one in stored)
    claims = [claim for one in stored for claim in one.claims] + (
        [] if bundle is None else _signed(*bundle, Path(path))
    )
    with _manifest_of(path):
        claims += settings_claims(certificates, findings, settings)
        claims += _reported(reported, settings)
        head = {**head_of(settings), "threat": str(ThreatModel.from_dict(settings["threat"]))}
    # Nobody has the model and the data behind a published log.
    wanted = not all(isinstance(one.evidence, PublishedEvidence) for one in certificates)
    there = at_hand(settings, context, model, data) if wanted or replay or model or data else None
    with _manifest_of(path):
        sample = None if there is None else sample_of(settings["data"], there.dataset, there.no_data)
        positions = None if sample is None else sample.positions
        claims += presence_claims(certificates, findings, settings, positions)
    claims += _arithmetic(certificates, progress)
    claims += _failed_attacks(certificates, findings)
    if there is not None and sample is not None:
        claims.append(sample.claim)
        claims += _at_hand(_Executed(certificates, findings, settings, there), replay, seed, progress)
    return Outcome(tuple(claims), head, statement(certificates))


@contextmanager
def _manifest_of(path: Path | str) -> Iterator[None]:
    """Say of a manifest in which something is missing, or of another type, that it is the manifest."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as problem:
        raise StoreError(f"{path} has a manifest that lacks what a run needs ({one_line(problem)})") from problem


def _signed(bundle: Path, key: Path, run: Path) -> list[Checked]:
    """The run folder against what was signed."""
    from certify.store.bundle import bundle_differences, verify_bundle

    signed = verify_bundle(bundle, key)
    try:
        differences = bundle_differences(signed, run)
    except StoreError as problem:  # records that cannot be: nobody signed those
        differences = [f"records: {problem}"]
    named = (one.partition(": ") for one in differences)
    refuted = [Checked(subject, "signed record", Standing.REFUTED, said) for subject, _, said in named]
    return [Checked("bundle", "signature", Standing.CONFIRMED), *refuted]


def _arithmetic(certificates: Sequence[Certificate], progress: Observer) -> list[Checked]:
    """What follows from the certificates alone."""
    published = [one for one in certificates if isinstance(one.evidence, PublishedEvidence)]
    others = [one for one in certificates if not isinstance(one.evidence, PublishedEvidence)]
    claims = derived_claims(published)
    with progress.stage("deriving from evidence", len(others)) as advance:
        for first in range(0, len(others), TOGETHER):
            part = others[first : first + TOGETHER]
            claims += derived_claims(part)
            advance(len(part), "")
    return claims


def _failed_attacks(certificates: Iterable[Certificate], findings: Iterable[Finding]) -> list[Checked]:
    """What nobody can derive again: that a search found nothing. Complete verification is one as well."""
    searches = [*findings, *(one.finding for one in certificates)]
    said = "that a search found no example cannot be derived from anything it left"
    return [
        Checked(subject_of(one), NO_PROMISE, Standing.OPEN, said)
        for one in searches
        if one is not None and not one.succeeded
    ]


def _reported(reported: Iterable[Reported], settings: Mapping[str, Any]) -> list[Checked]:
    """Rows of imported attack logs against the logs that the manifest names."""
    logs = [(one["name"], one["sha256"], one["radius"]) for one in settings.get("reported", [])]
    claims = []
    for one in reported:
        log = (one.source, one.source_digest, one.radius)
        said = "" if log in logs else f"the manifest names no log {one.source} at radius {one.radius}"
        claims.append(judged(f"input {one.index}, {one.source}", "log", said))
    return claims


@dataclass(frozen=True, slots=True, eq=False)
class _Executed:
    """The records of a run beside its model and data."""

    certificates: Sequence[Certificate]
    findings: Sequence[Finding]
    settings: Mapping[str, Any]
    there: AtHand

    def same_model(self) -> list[Checked]:
        """Whether the model at hand is the one in the manifest."""
        classifier, asked = self.there.classifier, self.settings["model"]["digest"]
        if classifier is None:
            return []
        said = f"the manifest is about model {asked[:12]}, {classifier.name} is {classifier.digest[:12]}"
        return [judged("manifest", "model digest", "" if classifier.digest == asked else said)]

    def unexecuted(self, why: str) -> list[Checked]:
        """What stays open where model or data are missing, or the model is another one."""
        missing = []
        if self.there.classifier is None:
            missing.append(("manifest", "model digest", self.there.no_model))
        if self.there.dataset is None:
            missing += [("records", claim, self.there.no_data) for claim in ("label", "input digest")]
        if any(isinstance(one.evidence, SmoothingEvidence) for one in self.certificates):
            missing.append(("records", "features", why))
        claims = [Checked(subject, claim, Standing.OPEN, said) for subject, claim, said in missing]
        claims += [
            Checked(subject_of(one), "prediction" if one.radius is None else "radius", Standing.OPEN, why)
            for one in self.certificates
            if needs_network(one)
        ]
        return claims + [
            Checked(subject_of(one), "example" if one.succeeded else "prediction", Standing.OPEN, why)
            for one in self.findings
        ]


def _at_hand(records: _Executed, replay: int, seed: int | None, progress: Observer) -> list[Checked]:
    """What model and data show, as far as they are there."""
    there = records.there
    same = claims = records.same_model()
    if there.dataset is not None:
        claims = same + data_claims([*records.certificates, *records.findings], there.dataset, there.rows)
    if there.lacking or there.classifier is None:
        claims += records.unexecuted(there.lacking)
        return claims + [Checked("replay", "votes", Standing.OPEN, there.lacking)] * bool(replay)
    if same[0].standing is Standing.REFUTED:
        return claims + records.unexecuted("the model at hand is another one")

    from certify.checker.examples import example_claims
    from certify.checker.networks import network_claims
    from certify.checker.replay import chosen, derived_seed, replay_claims

    seed = derived_seed(records.certificates) if seed is None else seed
    threat = ThreatModel.from_dict(records.settings["threat"])
    by_input: dict[int, list[Certificate]] = {}
    with progress.stage("deriving from the network", len(records.certificates)) as advance:
        for certificate in records.certificates:
            by_input.setdefault(certificate.index, []).append(certificate)
            x = there.input(certificate.index)
            claims += [] if x is None else network_claims(certificate, there.classifier, x)
            advance(1, "")
    with progress.stage("executing examples", len(records.findings)) as advance:
        for finding in records.findings:
            x, about = there.input(finding.index), by_input.get(finding.index, [])
            if x is not None:
                claims += example_claims(finding, about, there.classifier, x, threat, seed=seed)
            advance(1, "")
    again = chosen(records.certificates, replay, seed)
    with progress.stage("drawing noise again", len(again)) as advance:
        for one in again:
            x = there.input(one.certificate.index)
            if x is not None:
                claims += replay_claims(
                    one.certificate, there.classifier, x, blocks=one.blocks, level=one.level, seed=seed
                )
            advance(1, "")
    return claims
