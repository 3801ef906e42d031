"""Logs of the field: what they hold is read exactly, and what they cannot hold is refused by file and line."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from certify.core.printed import Printing
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.errors import DataError
from certify.store.log_records import certificates_of_log, reported_of_log
from certify.store.logs import AttackLog, read_attack_log, read_certification_log, read_log

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime"
ATTACK = "idx\tlabel\tpredict\tbasePredict\tcorrect\ttime"
ROWS = (
    "0\t3\t3\t0.953\t1\t0:00:14.5",
    "1\t8\t0\t0.25\t0\t1:02:03",
    "2\t8\t-1\t0.0\t0\t14.25",
    "7\t1\t1\t2.68e-05\t1\t3",
)


def write(path: Path, *rows: str, header: str = HEADER, end: str = "\n") -> Path:
    path.write_text("".join(row + end for row in (header, *rows)), newline="")
    return path


def test_a_log_is_read_exactly_plain_or_packed_whatever_its_line_ends(tmp_path):
    plain = write(tmp_path / "plain.tsv", *ROWS)
    (tmp_path / "packed").write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, tmp_path / "packed", write(tmp_path / "dos.tsv", *ROWS, end="\r\n")):
        log = read_certification_log(path)
        assert (log.index.tolist(), log.label.tolist(), log.predict.tolist()) == (
            [0, 1, 2, 7],
            [3, 8, 8, 1],
            [3, 0, -1, 1],
        )
        assert (log.printed, log.radius.tolist()) == (
            ("0.953", "0.25", "0.0", "2.68e-05"),
            [0.953, 0.25, 0.0, 2.68e-05],
        )
        assert (log.correct.tolist(), log.seconds.tolist()) == ([True, False, False, True], [14.5, 3723.0, 14.25, 3.0])
        assert (log.steps, log.clock, log.printings) == ((1, 5), True, (Printing(3, None),))
    assert read_certification_log(plain).digest == read_certification_log(tmp_path / "packed").digest


def test_columns_may_stand_in_another_order(tmp_path):
    path = write(tmp_path / "log", "1\t0.5\t3\t3\t9\t4", header="correct\tradius\tlabel\tpredict\tidx\ttime")
    assert read_certification_log(path).index.tolist() == [9]


def test_parts_make_one_log_and_must_not_contradict_each_other(tmp_path):
    a, b = write(tmp_path / "a", *ROWS[:2]), write(tmp_path / "b", *ROWS[2:], ROWS[1].replace("1:02:03", "9"))
    log = read_certification_log(a, write(tmp_path / "empty"), b)
    assert (log.index.tolist(), log.source.tolist(), log.line.tolist()) == ([0, 1, 2, 7], [0, 0, 2, 2], [2, 3, 2, 3])
    assert (log.repeats, log.name) == (1, "a and 2 more")
    write(b, ROWS[1].replace("0.25", "0.26"))
    with pytest.raises(DataError, match=r"b line 2: idx 1 was there before with another answer, \S*a line 3"):
        read_certification_log(a, b)


def test_each_part_is_read_as_it_was_printed(tmp_path):
    a = write(tmp_path / "a", "0\t3\t3\t0.37\t1\t1", "1\t3\t3\t1.91\t1\t1")
    b = write(tmp_path / "b", "2\t3\t3\t0.3712\t1\t1", "3\t3\t-1\t0.0\t0\t1")
    log = read_certification_log(a, b)
    assert log.printings == (Printing(3, 2), Printing(4, None))
    assert [one.lowest for one in log.radii] == pytest.approx([0.365, 1.905, 0.37115, 0.0], rel=1e-15)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("1\t3\t3\t0.9\t1", "line 3 has 5 fields where the header names 6"),
        ("1\t3\t3\t0.9\t1\t2\t3", "line 3 has 7 fields"),
        ("", "line 3 has 1 fields"),
        ("x\t3\t3\t0.9\t1\t2", "line 3: idx 'x' is not a whole number"),
        ("-1\t3\t3\t0.9\t1\t2", "line 3: idx -1 is below 0"),
        ("1\t3.0\t3\t0.9\t1\t2", "label '3.0' is not a whole number"),
        ("1\t3\t-2\t0.0\t0\t2", "predict -2 is below -1"),
        ("1\t3\t3\tnan\t1\t2", "radius 'nan' is not a number >= 0"),
        ("1\t3\t3\tinf\t1\t2", "radius 'inf' is not"),
        ("1\t3\t3\t1e400\t1\t2", "radius '1e400' is not"),
        ("1\t3\t3\t-0.1\t1\t2", "radius '-0.1' is not"),
        ("1\t3\t3\t\t1\t2", "radius '' is not"),
        ("1\t3\t-1\t0.1\t0\t2", "radius 0.1 is claimed for no class"),
        ("1\t3\t3\t0.9\t0\t2", "correct is 0, but label is 3 and predict 3"),
        ("1\t3\t4\t0.9\t1\t2", "correct is 1, but label is 3 and predict 4"),
        ("1\t3\t3\t0.9\tyes\t2", "correct 'yes' is not 0 or 1"),
        ("1\t3\t3\t0.9\t1\t0:00:1", "time '0:00:1' is not H:MM:SS"),
        ("1\t3\t3\t0.9\t1\t-2", "time '-2' is not"),
        ("0\t3\t3\t0.952\t1\t2", "line 3: idx 0 was there before with another answer"),
    ],
)
def test_a_line_that_cannot_be_is_named(tmp_path, row, complaint):
    path = write(tmp_path / "log.tsv", ROWS[0], row)
    with pytest.raises(DataError, match=r"log\.tsv .*" + complaint) as problem:
        read_certification_log(path)
    assert "\n" not in str(problem.value)


def test_a_file_that_cannot_be_is_named(tmp_path):
    packed = gzip.compress("\n".join((HEADER, *ROWS * 50)).encode())
    files = {
        "cut.gz": (packed[: len(packed) // 2], "damaged"),
        "flipped.gz": (packed[:30] + bytes([packed[30] ^ 255]) + packed[31:], "damaged"),
        "binary": (b"\xff\xfe\x00", "is no text"),
        "empty": (b"", "has not even a header"),
        "header": (HEADER.encode(), "holds a header and no row"),
        "less": (b"idx\tlabel\tpredict\tradius\tcorrect\n", "line 1 names the columns"),
        "more": ((HEADER + "\tp\n").encode(), "line 1 names the columns"),
        "other": (b"radius,correct\n", "line 1 names the columns"),
    }
    for name, (content, complaint) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=complaint) as problem:
            read_certification_log(tmp_path / name)
        assert str(tmp_path / name) in str(problem.value)
        assert "\n" not in str(problem.value)
    with pytest.raises(DataError, match="cannot read log"):
        read_certification_log(tmp_path / "absent")


def test_attack_logs_are_another_kind(tmp_path):
    path = write(tmp_path / "attack", "0\t3\t3\t1\t1\t0:00:01", "20\t7\t-1\t7\t0\t0:00:01", header=ATTACK)
    log = read_attack_log(path)
    assert isinstance(read_log(path), AttackLog)
    first, second = reported_of_log(log, "l2", 0.5)
    assert (first.correct, first.base_prediction, second.prediction, second.correct) == (True, 1, None, False)
    with pytest.raises(DataError, match="is an attack log; name it by --attack"):
        read_certification_log(path)
    with pytest.raises(DataError, match="is a certification log; name it without --attack"):
        read_attack_log(write(tmp_path / "log", *ROWS))


def test_every_row_becomes_a_certificate_that_says_where_it_was_read(tmp_path):
    log = read_certification_log(write(tmp_path / "log", *ROWS))
    threat = ThreatModel("l2", (0.0, 0.25))
    records = certificates_of_log(log, threat, sigma=0.25, n=100_000, alpha=0.001, inferred=True)
    assert [one.verdict for one in records] == [Verdict.CERTIFIED] * 2 + [Verdict.ABSTAIN, Verdict.CERTIFIED]
    assert [one.radius for one in records] == [0.953, 0.25, None, 2.68e-05]
    lowest = [one.evidence.lowest for one in records]
    assert lowest == pytest.approx([0.9525, 0.2495, 0.0, 2.675e-05], rel=1e-15)
    assert all(
        Decimal(low) <= Decimal(text) for low, text in zip(lowest, ("0.9525", "0.2495", "0", "2.675e-05"), strict=True)
    )
    assert (records[1].evidence.line, records[1].evidence.printed, records[1].alpha) == (3, "0.25", 0.001)
    assert np.unique([one.model_digest for one in records]).size == 1
