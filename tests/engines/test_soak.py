"""Runs that are killed, doubled and sharded at random; ``benchmarks/faults.py`` gives them minutes or hours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
