"""A process that is killed while it writes loses nothing that it had written, and leaves nothing half written."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from certify.core.certificate import Certificate
from certify.core.guarantee import Guarantee
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.store.run_folder import Manifest, RunFolder

KILLS = 100
ROUNDS_A_FOLDER = 10
LONGEST = 0.12
"""Seconds until a process is killed, at most: some are before they have written anything."""


def test_a_hundred_kills_at_any_moment_of_writing():
    """In a process without torch, which forks those that are killed."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    ended = subprocess.run(
        [sys.executable, __file__], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith(f"{KILLS} kills, ")


def lots() -> Iterator[list[Certificate]]:
    """Records without end, in lots of one to nine, which are written together."""
    sizes, threat, index = random.Random(0), ThreatModel("l2", (0.0, 0.5)), 0
    while True:
        lot = range(index, index := index + sizes.randint(1, 9))
        yield [
            Certificate(
                index=one,
                input_digest=f"{one:064x}",
                label=0,
                prediction=None,
                verdict=Verdict.UNKNOWN,
                radius=None,
                threat=threat,
                guarantee=Guarantee.empirical(),
                method="crown",
                evidence=None,
                model_digest="ab",
                reason="x" * sizes.randint(0, 9000),  # some take pages of their own
            )
            for one in lot
        ]


def write(folder: Path, told: int) -> None:
    """Write what is missing, and say after each lot how many records there are by now."""
    with RunFolder.create(folder, Manifest({"seed": 0})) as run:
        done = run.records.decided("crown")
        for lot in lots():
            if not done.issuperset(one.index for one in lot):
                run.records.add(lot)
                os.write(told, f"{lot[-1].index + 1}\n".encode())


def killed(folder: Path, seconds: float) -> int:
    """How many records a process had written for certain before it was killed after some time."""
    reader, told = os.pipe()
    if (child := os.fork()) == 0:
        try:
            write(folder, told)
        finally:
            os._exit(1)
    os.close(told)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with os.fdopen(reader) as words:
        return max(map(int, words.read().split()), default=0)


def main() -> None:
    rng, written = random.Random(0), 0
    for kill in range(KILLS):
        if kill % ROUNDS_A_FOLDER == 0:
            folder, least = Path(tempfile.mkdtemp()) / "run", 0
        least = max(least, killed(folder, rng.uniform(0, LONGEST)))
        with RunFolder.create(folder, Manifest({"seed": 0})) as run:
            found, damage = run.records.certificates(), run.records.damage()
        expected, ends = [], {0}
        for lot in lots():
            if len(expected) >= len(found):
                break
            expected += lot
            ends.add(len(expected))
        assert not damage
        assert found == expected[: len(found)], f"kill {kill}: records differ, or are missing, doubled or out of order"
        assert len(found) in ends, f"kill {kill}: part of a lot is there"
        assert len(found) >= least, f"kill {kill}: {len(found)} records are left of {least}"
        least = len(found)
        if kill % ROUNDS_A_FOLDER == ROUNDS_A_FOLDER - 1:
            written += len(found)
            shutil.rmtree(folder.parent)
    assert written > KILLS
    sys.stdout.write(f"{KILLS} kills, {written} records")


if __name__ == "__main__":
    main()
