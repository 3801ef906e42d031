"""Forged runs: a record, a manifest or a threat model that says what nobody derived, which a check has to refute."""

from __future__ import annotations

import json
import random
from pathlib import Path

from adversary.forgeries import (
    QUICK,
    claims_something,
    copied,
    excused,
    forged_manifest,
    forged_record,
    forged_threat,
    known,
    leaves,
    made_runs,
    name_of,
    records,
)
from certify.checker.form import unchecked_of
from certify.errors import CertifyError
from certify.study.checking import check_run

__all__ = ["attempt"]


def attempt(seed: int) -> str | None:
    """One forgery: None if it is refuted, refused or listed as unchecked, otherwise what a check let pass."""
    dice = random.Random(f"runs {seed}")
    run = dice.choice(QUICK)
    with copied(run) as folder:
        try:
            return dice.choice([_record, _record, _manifest, _box])(folder, seed, dice)
        except CertifyError as refusal:
            return f"{run}: more than a line: {refusal}" if "\n" in str(refusal) else None
        except Exception as crash:
            return f"{run}: {type(crash).__name__}: {crash}"


def _record(folder: Path, seed: int, dice: random.Random) -> str | None:
    table, number, record = dice.choice([one for one in records(folder) if claims_something(one[0], one[2])])
    at = dice.choice(list(leaves(record)))
    forged_record(folder, table, number, at, seed)
    found, field = check_run(folder), known(table, record, at)
    passed = not any(one.subject.startswith(f"input {record['index']},") for one in found.refuted)
    return (
        f"{folder.name}, {table} {number}: another {field[1]} is confirmed"
        if passed and not excused(found, *field)
        else None
    )


def _manifest(folder: Path, seed: int, dice: random.Random) -> str | None:
    at = dice.choice(list(leaves(json.loads((folder / "manifest.json").read_text()))))
    name = name_of(at)
    if any(name == one or name.startswith(f"{one}.") for one in unchecked_of("manifest")):
        return None
    forged_manifest(folder, at, seed)
    return None if check_run(folder).refuted else f"{folder.name}: another {name} in the manifest is confirmed"


def _box(folder: Path, seed: int, dice: random.Random) -> str | None:
    if folder.name == "declared":  # of several methods; a forger needs one that gives the same proofs again
        return None
    box = sorted(dice.choice([-3.0, -0.5, 0.0, 0.25, 1.0, 2.0]) + dice.random() for _ in range(2))
    forged_threat(folder, f"npz:{made_runs() / 'data.npz'}", input_box=box)
    found = {one.claim for one in check_run(folder).refuted}
    return None if "input box" in found else f"{folder.name}: all is confirmed in the box {box}"
