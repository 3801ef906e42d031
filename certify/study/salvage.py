"""What can be saved of a run folder that a disk or a copy has damaged: records that still say what they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certify.checker.derivations.base import derived_claims
from certify.checker.records import read_rows
from certify.checker.result import Standing
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.reported import Reported
from certify.errors import BadInput, StoreError
from certify.progress.observer import Observer, watching
from certify.store.run_folder import RunFolder

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
        damage = f"damage: {self.damage}\n" if self.damage else "the file is as SQLite left it\n"
        return (
            f"{damage}{self.kept:,} records kept, {self.dropped:,} dropped; the same run command adds what is missing"
        )


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
    progress, kept, dropped = watching(progress), 0, 0
    with RunFolder.open(path) as folder, RunFolder.create(out, folder.manifest) as whole:
        try:
            damage = folder.records.damage()
        except StoreError as problem:  # some pages cannot even be looked at
            damage = str(problem)
        for table, kind in (("certificates", Certificate), ("findings", Finding), ("reported", Reported)):
            with progress.stage(f"reading {table}", 0) as advance:
                for row in folder.records.readable(table):
                    records = _sound(row, kind, folder.manifest.digest)
                    whole.records.add(records)
                    kept, dropped = kept + len(records), dropped + (not records)
                    advance(1, "")
    return Salvaged(damage, kept, dropped)


def _sound(row: dict[str, Any], kind: Any, digest: str) -> list[Any]:
    """The record of a row, unless it contradicts its key, the manifest, or its own evidence."""
    stored = read_rows([row], kind, digest)
    claims = [*stored.claims, *(derived_claims(stored.records) if kind is Certificate else ())]
    return [] if any(one.standing is Standing.REFUTED for one in claims) else list(stored.records)
