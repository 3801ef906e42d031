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
from certify.core.reported import Reported
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
        return f"{damage}\n{kept}; the same run command adds what is missing"


def salvage(path: Path | str, out: Path | str, progress: bool | Observer = False) -> Salvaged:
    """Copy every record that can be read, belongs to the manifest, and follows from its own evidence.

    Args:
        path: the damaged run folder; nothing in it is changed.
        out: a folder to make.
        progress: True shows how far it is.

    Raises:
        StoreError: for a folder without a manifest, or whose file is damaged where SQLite keeps its tables.
        BadInput: where both are one folder.
    """
    if Path(path).resolve() == Path(out).resolve():
        raise BadInput("salvage writes to another folder, so that nothing is lost; name it with --out")
    progress, found, dropped = watching(progress), dict[type, list[Any]](), 0
    with RunFolder.open(path) as folder, RunFolder.create(out, folder.manifest) as whole:
        try:
            damage = folder.records.damage()
        except StoreError as problem:  # some pages cannot even be looked at
            damage = str(problem).partition(";")[0]  # what to do about it is being done
        for table, kind in (("certificates", Certificate), ("findings", Finding), ("reported", Reported)):
            found[kind] = []
            with progress.stage(f"reading {table}", 0) as advance:
                for row in folder.records.readable(table):
                    records = _sound(row, kind, folder.manifest.digest)
                    found[kind] += records
                    dropped += not records
                    advance(1, "")
        settings, context = folder.manifest.settings, folder.manifest.context
        held = Held(Path(path), settings, context, found[Certificate], found[Finding], found[Reported], (), {})
        kept = _records(_belonging(held, progress))
        whole.records.add(kept)
    return Salvaged(damage, len(kept), dropped + sum(map(len, found.values())) - len(kept))


def _sound(row: dict[str, Any], kind: Any, digest: str) -> list[Any]:
    """The record of a row, unless it contradicts its key or was made under other settings."""
    stored = read_rows([row], kind, digest)
    return [] if any(one.standing is Standing.REFUTED for one in stored.claims) else stored.records


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
