"""Every field of every record and of the manifest is checked, or a check says by name that nobody can."""

from __future__ import annotations

import json
import random
import re
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
from adversary.forgeries import (
    claims_something,
    excused,
    forged_manifest,
    forged_record,
    known,
    leaves,
    make_runs,
    name_of,
    records,
)

from certify.checker.derivations.base import DERIVATIONS, Derivation
from certify.checker.form import unchecked_of
from certify.checker.result import Standing
from certify.core.certificate import (
    BoundEvidence,
    Certificate,
    CompleteEvidence,
    LipschitzEvidence,
    PublishedEvidence,
    SmoothingEvidence,
)
from certify.core.evidence import (
    AblationEvidence,
    EnumerationEvidence,
    ErasedEvidence,
    MasksEvidence,
    PixelsEvidence,
    VotesEvidence,
)
from certify.core.finding import Finding
from certify.core.reported import Reported
from certify.report.check_result import check_text
from certify.study.checking import check_run
from certify.study.held import check_records
from certify.study.published import import_logs

RUNS = ("declared", "ablation", "enumeration", "bounds", "lipschitz", "complete", "bands", "masks", "erased", "pixels")
RECORDS = {
    "certificate": Certificate,
    "smoothing": SmoothingEvidence,
    "ablation": AblationEvidence,
    "enumeration": EnumerationEvidence,
    "bounds": BoundEvidence,
    "lipschitz": LipschitzEvidence,
    "complete": CompleteEvidence,
    "votes": VotesEvidence,
    "masks": MasksEvidence,
    "erased": ErasedEvidence,
    "pixels": PixelsEvidence,
    "published": PublishedEvidence,
    "finding": Finding,
    "reported": Reported,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Runs that leave every kind of record behind."""
    folder = make_runs(tmp_path_factory.mktemp("fields"), RUNS)
    head = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"
    rows = [f"{i}\t1\t1\t{radius}\t1\t0:00:01\n" for i, radius in enumerate(("0.9", "0.5", "0.25"))]
    (folder / "log").write_text(head + "".join(rows))
    attack = "idx\tlabel\tpredict\tbasePredict\tcorrect\ttime\n"
    (folder / "eps").write_text(attack + "".join(f"{i}\t1\t1\t1\t1\t0:00:01\n" for i in range(3)))
    import_logs([folder / "log"], folder / "published", sigma=0.5, n=1000, alpha=0.001, attacks={folder / "eps": 0.25})
    return folder


@pytest.mark.parametrize("run", [*RUNS, "published"])
def test_a_field_of_a_record_that_was_changed_is_refuted_or_listed(made, tmp_path, run):
    """Each record gets another field changed, until every field was; whoever was not changed is not blamed."""
    waiting = {
        known(table, record, at)
        for table, _, record in records(made / run)
        if claims_something(table, record)
        for at in leaves(record)
    }
    assert waiting
    seed = 0
    while waiting:
        seed += 1
        folder = Path(shutil.copytree(made / run, tmp_path / str(seed)))
        dice, changed = random.Random(seed), {}
        for table, number, record in records(made / run):
            ways = [at for at in leaves(record) if known(table, record, at) in waiting]
            if claims_something(table, record) and ways:
                at = dice.choice(ways)
                waiting.discard(known(table, record, at))
                forged_record(folder, table, number, at, seed)
                changed[f"input {record['index']},"] = known(table, record, at), at
        found = check_run(folder)
        blamed = {one.subject.partition(",")[0] + "," for one in found.refuted}
        for subject, ((kind, name), at) in changed.items():
            assert subject in blamed or excused(found, kind, name), (subject, kind, name, at)


@pytest.mark.parametrize("run", [*RUNS, "published"])
def test_evidence_without_a_derivation_or_one_that_derives_nothing_stays_open(made, scoped, run):
    derivations, kinds = scoped(DERIVATIONS), list(DERIVATIONS)
    for left in ({}, {kind: Derivation() for kind in kinds}):
        derivations.clear()
        derivations.update(left)
        found = check_run(made / run)
        assert left or not found.refuted
        assert not found.complete
        radii = [one for one in found.claims if one.claim == "radius" and not one.subject.endswith(("pgd", "beam"))]
        assert not [one for one in radii if one.standing is Standing.CONFIRMED]
        assert left or "there is no derivation of" in check_text(found)
        assert left or not check_records(made / run).complete


@pytest.mark.parametrize("run", ["declared", "ablation", "enumeration", "complete", "published"])
def test_a_field_of_the_manifest_that_was_changed_is_refuted_or_listed(made, tmp_path, run):
    manifest = json.loads((made / run / "manifest.json").read_text())
    listed, missed = unchecked_of("manifest"), []
    for number, at in enumerate(leaves(manifest)):
        name = name_of(at)
        if any(name == one or name.startswith(f"{one}.") for one in listed):
            continue
        folder = Path(shutil.copytree(made / run, tmp_path / str(number)))
        forged_manifest(folder, at, number)
        if not refused(folder):
            missed.append(name)
    assert not missed


def refused(folder: Path) -> bool:
    from certify.errors import CertifyError

    try:
        return bool(check_records(folder).refuted or check_run(folder).refuted)
    except CertifyError:
        return True


def test_the_table_in_the_documentation_names_every_field():
    text = (Path(__file__).parents[2] / "docs" / "check.md").read_text()
    table = text[text.index("## Field by field") :]
    for kind, record in RECORDS.items():
        [line] = re.findall(rf"^\| {kind} \|.*$", table, re.MULTILINE)
        names = {one.split(".")[0] for one in re.findall(r"`([^`]+)`", line)}
        assert names >= {one.name for one in fields(record)} - {"kind"}, kind
        assert {one.split(".")[0] for one in unchecked_of(kind) if not one.startswith("certificate.")} <= names
    assert all(f"`{name}`" in table for name in unchecked_of("manifest"))
