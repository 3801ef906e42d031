"""The job script of the documentation: a part that runs out of time ends whole and is queued again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def test_a_part_that_runs_out_of_time_is_queued_again(tmp_path):
    [script] = re.findall(r"```sh\n(#!/bin/sh\n#SBATCH.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    stubs = {
        "certify": 'trap "echo kept >> said; exit 3" TERM; echo "$*" >> said; while :; do sleep 0.05; done',
        "scontrol": 'echo "$*" >> said',
    }
    for name, text in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    paths = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    said = tmp_path / "said"
    with subprocess.Popen(["sh", "-c", script], cwd=tmp_path, env=os.environ | paths) as job:
        while not said.exists():
            assert job.poll() is None
            time.sleep(0.02)
        job.send_signal(signal.SIGUSR1)
        job.wait(timeout=60)
    began, *rest = said.read_text().splitlines()
    assert "--shard 3/16" in began
    assert rest == ["kept", "requeue 7_3"]
