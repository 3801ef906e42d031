"""What can be saved of a run folder that a disk or a copy has damaged: records that still say what they rest on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from certify.checker.records import read_rows, subjects_of
from certify.checker.result import Standing
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.legible import many
from certify.core.properties.base import property_from
from certify.core.reported import Reported
from certify.core.threats.base import threat_from
from certify.errors import BadInput, StoreError
from certify.progress.observer import Observer, watching
from certify.store.run_folder import RunFolder
from certify.study.held import Held, record_claims

__all__ = ["Salvaged", "salvage"]


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What became of a damaged run.

    Args:
        damage: what is wrong with the file, in words; empty where nothing is.
        kept: records in the new folder.
        dropped: records that could be read, and contradict themselves or the manifest.
    """

    damage: str
    kept: int
    dropped: int

    def __str__(self) -> str:
        damage = f"damage: {self.damage}" if self.damage else "the file is as SQLite left it"
        kept = f"{many(self.kept, 'record')} kept, {self.dropped:,} dropped"
        hint = "the same run command adds what is missing"
        if self.dropped and not self.kept:
            hint = "the run's own data, as --data SPEC, tell which of them were changed"
        return f"{damage}\n{kept}; {hint}"


def salvage(path: Path | str, out: Path | str, progress: bool | Observer = False, data: str | None = None) -> Salvaged:
    """Copy every record that can be read, belongs to the manifest, and follows from its own evidence.

    Args:
        path: the damaged run folder; nothing in it is changed.
        out: a folder to make.
        progress: True shows how far it is.
        data: SPEC of the run's data: records of other inputs or labels are left out, each by itself. Without it nobody
            can tell which of them was changed where only their digest as a whole is wrong, and none is kept.

    Raises:
        CertifyError: for data that cannot be loaded.
        StoreError: for a folder without a manifest, or whose file is damaged where SQLite keeps its tables.
        BadInput: where both are one folder.
    """
    if Path(path).resolve() == Path(out).resolve():
        raise BadInput("salvage writes to another folder, so that nothing is lost; name it with --out")
    progress, found, dropped = watching(progress), dict[type, list[Any]](), 0
    known = None if data is None else _identities(data, path)
    with RunFolder.open(path) as folder, RunFolder.create(out, folder.manifest) as whole:
        try:
            damage = folder.records.damage()
        except StoreError as problem:  # some pages cannot even be looked at
            damage = str(problem).partition(";")[0]  # what to do about it is being done
        for table, kind in (("certificates", Certificate), ("findings", Finding), ("reported", Reported)):
            found[kind] = []
            with progress.stage(f"reading {table}", 0) as advance:
                for row in folder.records.readable(table):
                    records = _sound(row, kind, folder.manifest.digest, known)
                    found[kind] += records
                    dropped += not records
                    advance(1, "")
        settings, context = folder.manifest.settings, folder.manifest.context
        held = Held(Path(path), settings, context, found[Certificate], found[Finding], found[Reported], (), {})
        kept = _records(_belonging(held, progress))
        whole.records.add(kept)
    return Salvaged(damage, len(kept), dropped + sum(map(len, found.values())) - len(kept))


def _identities(data: str, path: Path | str) -> set[tuple[int, int | None, str]]:
    """Position, label and digest of each input of the data, as records of the run name them."""
    from certify.study.at_hand import data_of

    with RunFolder.open(path) as folder:
        settings = folder.manifest.settings
    threat, property = threat_from(settings["threat"]), property_from(settings.get("property"))
    inputs = data_of(data, None, threat, property.task == "regression").identities
    return {(index, property.wanted(label), digest) for index, label, digest in inputs}


def _sound(row: dict[str, Any], kind: Any, digest: str, known: set[tuple[int, int | None, str]] | None) -> list[Any]:
    """The record of a row, unless it contradicts its key, was made under other settings, or is of no known input."""
    stored = read_rows([row], kind, digest)
    sound = [] if any(one.standing is Standing.REFUTED for one in stored.claims) else stored.records
    return [
        one for one in sound if known is None or isinstance(one, Reported) or (one.index, one.label, one.about) in known
    ]


def _belonging(held: Held, progress: Observer) -> Held:
    """The records that neither the manifest, nor their own evidence, nor each other contradict."""
    while True:
        claims = [one for one in record_claims(held, None, progress) if one.standing is Standing.REFUTED]
        kept = _without(held, {one.subject for one in claims}, alone=True)
        if len(_records(kept)) == len(_records(held)):  # one of many may have been changed, and nobody can tell which
            kept = _without(held, {one.subject for one in claims if one.claim == "data digest"}, alone=False)
        if len(_records(kept)) == len(_records(held)):
            return held
        held = kept


def _without(held: Held, refuted: set[str], *, alone: bool) -> Held:
    """The records that are not the subject of these claims, each alone or together with all of its method."""

    def keeps(one: Certificate | Finding | Reported) -> bool:
        itself, method = subjects_of(one)
        return refuted.isdisjoint(itself if alone else {method})

    return replace(
        held,
        certificates=list(filter(keeps, held.certificates)),
        findings=list(filter(keeps, held.findings)),
        reported=list(filter(keeps, held.reported)),
    )


def _records(held: Held) -> list[Certificate | Finding | Reported]:
    return [*held.certificates, *held.findings, *held.reported]
