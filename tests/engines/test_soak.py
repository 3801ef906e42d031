"""Runs that are killed, doubled and sharded at random; ``benchmarks/faults.py`` gives them minutes or hours."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from certify.engines.local import Local

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which processes a command has started")
def test_runs_to_which_anything_happens_end_with_the_records_of_one_to_which_nothing_does():
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(ROOT / "benchmarks" / "faults.py"), "--seconds", "20", "--seed", "1"]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "nothing lost, doubled or changed" in ended.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which processes a command has started")
def test_a_soak_finds_the_workers_of_a_command_whatever_they_are_called(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from faults import below

    with Local(2).crew(abs) as crew:
        assert list(crew.results([-1])) == [(-1, 1)]
        assert {worker.process.pid for worker in crew.workers} <= {*below(os.getpid())}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which processes a command has started")
def test_a_soak_that_can_break_nothing_fails(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import faults

    monkeypatch.setattr(faults, "FAULTS", {"worker killed": lambda *_: False})
    soak, alive = faults.Soak(random.Random(0), [], math.inf, pace=0.0), SimpleNamespace(is_alive=lambda: True)
    for _ in range(faults.TRIES - 1):
        soak.harm([alive], (), ("--workers", "2"))
    with pytest.raises(faults.Found, match="tried 12 times under --workers 2, and never happened"):
        soak.harm([alive], (), ("--workers", "2"))
