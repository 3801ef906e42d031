"""A file of certificates says what its run says, attacks left out; none that was forged is believed, or bursts."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from adversary.forgeries import altered, get, leaves, make_runs, name_of, put
from pyarrow import parquet

from certify.checker.result import CheckResult, Standing
from certify.cli import main
from certify.errors import BadInput, CertifyError, MissingExtra, StoreError
from certify.report.check_result import check_text
from certify.store import exported
from certify.store.export import EXPORTS
from certify.study.checking import check_run
from certify.study.held import check_records
from certify.study.published import import_logs

METHODS = ("declared", "bounds", "lipschitz", "complete", "published")
READABLE = [name for name in EXPORTS if EXPORTS[name].read is not None]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run of every kind, and both files of each beside it."""
    folder = make_runs(tmp_path_factory.mktemp("exported"), METHODS[:-1])
    rows = [f"{i}\t1\t1\t{radius}\t1\t0:00:01\n" for i, radius in enumerate(("0.9", "0.5", "0.25"))]
    (folder / "log").write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n" + "".join(rows))
    rows = [f"{i}\t1\t1\t1\t1\t0:00:01\n" for i in range(3)]
    (folder / "eps").write_text("idx\tlabel\tpredict\tbasePredict\tcorrect\ttime\n" + "".join(rows))
    import_logs([folder / "log"], folder / "published", sigma=0.5, n=1000, alpha=0.001, attacks={folder / "eps": 0.25})
    for name in METHODS:
        for format in READABLE:
            exporting = ["export", str(folder / name), "--format", format, "--out", str(folder / f"{name}.{format}")]
            assert main(exporting) == 0
    return folder


@pytest.fixture
def copied(made, tmp_path) -> Callable[[str], Path]:
    """A copy of a file and its manifest, to forge."""

    def copy(name: str) -> Path:
        shutil.copy(exported.manifest_beside(made / name), tmp_path)
        return Path(shutil.copy(made / name, tmp_path))

    return copy


def certificates_alone(found: CheckResult) -> list[str]:
    """The claims about certificates and their manifest, in words."""
    attacks = re.compile(r", (pgd|eps|[0-9a-f]{64})\b")
    return [str(one) for one in found.claims if one.claim != "database" and not attacks.search(one.subject)]


@pytest.mark.parametrize("format", READABLE)
@pytest.mark.parametrize("name", METHODS)
def test_a_file_is_checked_as_its_run_is(made, name, format):
    options = {"replay": 3, "seed": 1} if name == "declared" else {}
    of_run, of_file = check_run(made / name, **options), check_run(made / f"{name}.{format}", **options)
    assert certificates_alone(of_file) == certificates_alone(of_run)
    assert len(of_file.claims) > 9
    assert (of_file.confirmed, of_file.complete) == (of_run.confirmed, of_run.complete)
    assert of_file.complete
    assert (of_file.head, of_file.statement) == (of_run.head, of_run.statement)


@pytest.mark.parametrize(("name", "attack"), [("declared", "pgd"), ("published", "eps")])
def test_that_attacks_are_missing_is_said_and_never_that_they_were_checked(made, name, attack):
    found = check_run(made / f"{name}.jsonl")
    assert f"Attacks ({attack}) are not in this file, so nothing that they found is checked" in check_text(found)
    assert found.to_dict()["absent"] == found.absent
    assert {"settings.attack", "settings.reported"} <= {*found.unchecked["manifest"]}
    assert not [one for one in found.claims if attack in one.subject]
    assert "finding" not in found.unchecked
    assert not check_run(made / name).absent
    assert not check_run(made / "lipschitz.jsonl").absent


def test_a_model_and_data_that_are_named_are_the_ones_that_count(made):
    found = check_run(made / "complete.parquet", model=str(made / "other"), data=f"npz:{made / 'data.npz'}")
    assert "model digest" in {one.claim for one in found.refuted}


def rewritten(file: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    """The same records, but for a change, as JSON lines."""
    assert file.suffix == ".jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    change(records)
    file.write_text("".join(json.dumps(one) + "\n" for one in records))
    return file


def refuted(file: Path) -> set[tuple[str, str]]:
    return {(one.subject, one.claim) for one in check_run(file).refuted}


def certified(records: list[dict[str, Any]]) -> dict[str, Any]:
    return next(one for one in records if one["radius"])


def test_a_forged_radius_is_refuted(copied):
    def wider(records):
        one = certified(records)
        one["radius"] = 2 * one["radius"] + 0.1
        one["radius_hex"] = one["radius"].hex()

    for name in ("declared", "bounds", "lipschitz"):
        assert {"radius", "record"} & {claim for _, claim in refuted(rewritten(copied(f"{name}.jsonl"), wider))}, name


def test_a_radius_that_is_told_twice_has_to_be_one(copied):
    def wider(records):
        certified(records)["radius"] *= 2

    [(_, claim)] = [one for one in refuted(rewritten(copied("declared.jsonl"), wider)) if one[1] == "record"]
    assert claim == "record"


def test_forged_votes_are_refuted(copied):
    def more(records):
        look = certified(records)["evidence"]["looks"][-1]
        look["counts"] = {name: count + 1 for name, count in look["counts"].items()}

    assert refuted(rewritten(copied("declared.jsonl"), more))


def test_records_beside_the_manifest_of_another_run_are_refuted(made, copied):
    file = copied("declared.jsonl")
    shutil.copy(made / "lipschitz.manifest.json", exported.manifest_beside(file))
    assert len({subject for subject, _ in refuted(file)}) >= 10


def test_records_of_other_settings_are_refuted(made, copied):
    file = copied("declared.jsonl")
    with file.open("a") as more, (made / "lipschitz.jsonl").open() as others:
        more.write(others.readline())
    assert ("input 0, lipschitz", "method") in refuted(file)


def test_a_doubled_or_a_dropped_record_is_refuted(copied):
    assert ("input 0, smoothing", "inputs") in refuted(
        rewritten(copied("declared.jsonl"), lambda records: records.append(records[0]))
    )
    found = refuted(rewritten(copied("declared.jsonl"), lambda records: records.pop(4)))
    assert ("input 4, smoothing", "inputs") in found


def test_a_file_that_ends_early_is_no_pass(copied):
    file = rewritten(copied("declared.jsonl"), lambda records: records.pop())
    assert not check_records(file).complete


@pytest.mark.parametrize("name", ["declared", "complete", "published"])
def test_a_field_of_the_manifest_that_was_changed_is_refuted_or_listed(copied, name):
    file = copied(f"{name}.jsonl")
    beside = exported.manifest_beside(file)
    text, listed, missed = beside.read_text(), check_run(file).unchecked["manifest"], []
    for number, at in enumerate(leaves(json.loads(text))):
        if any(name_of(at) == one or name_of(at).startswith(f"{one}.") for one in listed):
            continue
        forged = json.loads(text)
        put(forged, at, altered(get(forged, at), random.Random(f"{number}:{at}")))
        beside.write_text(json.dumps(forged))
        try:
            if not (check_records(file).refuted or check_run(file).refuted):
                missed.append(name_of(at))
        except CertifyError:
            pass
    assert not missed


def table(file: Path) -> pyarrow.Table:
    return parquet.read_table(file)


def column(file: Path, name: str, change: Callable[[list[Any]], Any], kind: Any = None) -> None:
    """Write the same table, but for the values, and perhaps the type, of one column."""
    held = table(file)
    values = pyarrow.array(change(held[name].to_pylist()), kind or held.schema.field(name).type)
    parquet.write_table(held.set_column(held.schema.get_field_index(name), name, values), file)


def cut(file: Path, share: float = 0.5) -> None:
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])


def replaced(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


def first(value: object) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [value, *values[1:]]


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no manifest": ("jsonl", lambda file: exported.manifest_beside(file).unlink(), "has no manifest beside it"),
    "a cut manifest": ("jsonl", lambda file: cut(exported.manifest_beside(file)), "is damaged or no manifest"),
    "an empty manifest": ("jsonl", lambda file: exported.manifest_beside(file).write_text("{}"), "no manifest"),
    "a manifest of logs without a name": (
        "jsonl",
        lambda file: replaced(exported.manifest_beside(file), '"attack": {', '"reported": [0], "attack": {'),
        "has a manifest that lacks what a run needs",
    ),
    "no record": ("jsonl", lambda file: file.write_text(""), "holds no certificate"),
    "no row": ("parquet", lambda file: parquet.write_table(table(file).slice(0, 0), file), "holds no certificate"),
    "a cut line": ("jsonl", cut, "damaged at record"),
    "a cut table": ("parquet", cut, "as Parquet it cannot be read"),
    "a table without its end": ("parquet", lambda file: cut(file, 0.999), "as Parquet it cannot be read"),
    "an empty table": ("parquet", lambda file: file.write_bytes(b""), "as Parquet it cannot be read"),
    "no number": ("jsonl", lambda file: replaced(file, '"seconds": ', '"seconds": NaN, "s": '), "NaN is no number"),
    "no number in a table": ("parquet", lambda file: column(file, "radius", first(float("nan"))), "not JSON compliant"),
    "a name that stands twice": (
        "jsonl",
        lambda file: replaced(file, '"index": 0', '"index": 0, "index": 1'),
        "'index' stands twice",
    ),
    "a name that stands twice in a table": (
        "parquet",
        lambda file: column(file, "threat", first('{"norm": "l2", "norm": "l1"}')),
        "'norm' stands twice",
    ),
    "a list": ("jsonl", lambda file: file.write_text("[]\n"), "it is no record"),
    "another record": ("jsonl", lambda file: file.write_text('{"index": 0}\n'), "it has no input_digest"),
    "no text": ("jsonl", lambda file: file.write_bytes(b"\xff\xfe"), "can't decode byte"),
    "deep lists": ("jsonl", lambda file: file.write_text("[" * 100_000), "nested too deeply"),
    "texts for numbers": (
        "parquet",
        lambda file: column(file, "index", lambda values: [*map(str, values)], pyarrow.string()),
        "column 'index' is of type string and not int64",
    ),
    "lists for texts": (
        "parquet",
        lambda file: column(file, "reason", lambda values: [[one] for one in values], pyarrow.list_(pyarrow.string())),
        "column 'reason' is of type list",
    ),
    "a column more": (
        "parquet",
        lambda file: parquet.write_table(table(file).append_column("more", table(file)["index"]), file),
        "column 'more' is none of such a record",
    ),
    "a column twice": (
        "parquet",
        lambda file: parquet.write_table(table(file).append_column("index", table(file)["index"]), file),
        "its columns are not index, input_digest",
    ),
    "a column less": (
        "parquet",
        lambda file: parquet.write_table(table(file).drop_columns("reason"), file),
        "its columns are not index, input_digest",
    ),
    "codes that build on what came before": (
        "parquet",
        lambda file: parquet.write_table(
            table(file), file, use_dictionary=False, column_encoding={"reason": "DELTA_BYTE_ARRAY"}
        ),
        "a kind that certify export does not write",
    ),
    "pages of another version": (
        "parquet",
        lambda file: parquet.write_table(table(file), file, data_page_version="2.0"),
        "a kind that certify export does not write",
    ),
}


@pytest.mark.parametrize(("format", "spoil", "said"), BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_is_one_line(copied, capsys, format, spoil, said):
    file = copied(f"declared.{format}")
    spoil(file)
    assert main(["check", str(file)]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("records.csv", "that is a run folder, or --format jsonl or --format parquet of certify export"),
        ("records.txt", "of no kind that can be checked"),
        ("absent.parquet", "No such file"),
        ("folder.parquet", "is not a run folder"),
        ("nothing", "is not a run folder"),
    ],
)
def test_what_is_no_such_file_is_one_line(tmp_path, capsys, name, said):
    (tmp_path / "records.csv").touch()
    (tmp_path / "records.txt").touch()
    (tmp_path / "folder.parquet").mkdir()
    assert main(["check", str(tmp_path / name)]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_rows_of_attack_logs_are_no_certificates(made, capsys, tmp_path):
    for format in READABLE:
        out = tmp_path / f"rows.{format}"
        assert main(["export", str(made / "published"), "--attack-logs", "--format", format, "--out", str(out)]) == 0
        assert [*tmp_path.glob("*.manifest.json")] == []  # nobody can check those
        shutil.copy(made / "published.manifest.json", exported.manifest_beside(out))
        with pytest.raises(StoreError, match="is no file of certificates"):
            check_run(out)
        exported.manifest_beside(out).unlink()


def test_a_bundle_is_compared_with_a_folder(made):
    with pytest.raises(BadInput, match="a bundle is compared with a run folder"):
        check_run(made / "declared.jsonl", bundle=(made / "bundle", made / "key"))


def test_reading_a_table_says_what_brings_the_library(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'certify\[parquet\]'"):
        check_run(made / "declared.parquet")
    assert check_run(made / "declared.jsonl").complete


def test_a_table_of_which_bytes_were_changed_is_refused_or_read(copied):
    """Whatever the bytes say: one line, or rows to be checked."""
    file = copied("bounds.parquet")
    content = file.read_bytes()
    for seed in range(60):
        dice, forged = random.Random(seed), bytearray(content)
        for _ in range(3):
            forged[dice.randrange(len(forged))] = dice.choice([0, 127, 128, 255])
        file.write_bytes(forged)
        try:
            exported.read_exported(file)
        except CertifyError as problem:
            assert "\n" not in str(problem)


def test_more_records_than_there_is_memory_for_are_refused(made, monkeypatch):
    monkeypatch.setattr(exported, "room", lambda _: exported.AS_OBJECTS * 4000)
    with pytest.raises(StoreError, match=r"cannot read .*declared.jsonl \(it holds more than 4,000 bytes"):
        check_run(made / "declared.jsonl")
    monkeypatch.setattr(exported, "content_of", lambda file, _: file.read_bytes())
    for format in READABLE:  # texts may be longer than what they are packed in
        with pytest.raises(BadInput, match=r"cannot be read here: it holds more records than .* which is \d"):
            check_run(made / f"declared.{format}")


def test_a_table_that_unpacks_to_more_than_there_is_memory_for_is_named(copied, capsys, monkeypatch):
    file = copied("declared.parquet")
    column(file, "reason", first("0" * 2**24))
    monkeypatch.setattr("certify.bounded.memory.free_memory", lambda: 2**25)
    assert main(["check", str(file)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"{file} cannot be read here: a table, unpacked, takes" in line


@pytest.mark.parametrize(
    ("study", "inputs"), [("mnist5k-l2-noise", 200), ("mnist5k-l2-consistency", 200), ("mnist5k-linf-ibp", 1000)]
)
def test_the_records_of_this_repository_are_what_their_manifests_ask_for(study, inputs):
    """By arithmetic alone: the trained models are not here."""
    files = sorted((Path(__file__).parents[2] / "results" / "training").glob(f"{study}-seed-*.parquet"))
    assert len(files) == 3
    for file in files:
        found = check_records(file)
        assert found.counts["record"][Standing.CONFIRMED] == found.counts["settings"][Standing.CONFIRMED] == inputs
        assert found.counts["data digest"][Standing.CONFIRMED] == 1
        assert not found.refuted
