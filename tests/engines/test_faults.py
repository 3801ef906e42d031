"""What really happens to runs: killed drivers, full disks, two drivers on one folder. Nothing certified is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from certify.store.run_folder import RunFolder

NET = """
import time, torch
class Slow(torch.nn.Module):
    def forward(self, x):
        time.sleep(0.004)
        return x
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), Slow(), torch.nn.Linear(16, 10)).eval()
"""
COMMAND = ["run", "--model", "slow_net:net", "--data", "npz:data.npz", "--sigma", "0.25", "--n", "300"]
COMMAND += ["--radii", "0,0.1", "--schedule", "fixed", "--quiet"]
MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from certify.cli import main
if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow_net.py").write_text(NET)
    (tmp_path / "main.py").write_text(MAIN)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.random((160, 64), dtype=np.float32), y=rng.integers(0, 10, 160))
    return tmp_path


def start(here: Path, *arguments: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [str(here), root, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "main.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=here,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, (out, err)
    return err


def records(folder: Path) -> list[str]:
    with RunFolder.open(folder) as run:
        return [json.dumps(one.to_dict() | {"seconds": 0}) for one in run.records.certificates()]


def until(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def stored(folder: Path) -> int:
    try:
        return len(records(folder))
    except Exception:  # not there yet, or being written
        return 0


def others(process: subprocess.Popen[str]) -> list[int]:
    """Those that a command has started, and those that they have."""
    listed = subprocess.run(["ps", "-o", "pid=", "--sid", str(process.pid)], capture_output=True, text=True, check=True)
    return [int(pid) for pid in listed.stdout.split() if int(pid) != process.pid]


def runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.slow
def test_killed_drivers_and_terminated_ones_resume_to_the_same_records(here):
    finish(start(here, *COMMAND, "--out", "whole"))
    for number, engine in (
        (signal.SIGKILL, ["--workers", "2"]),
        (signal.SIGTERM, []),
    ):
        out = f"out-{number}-{len(engine)}"
        running = start(here, *COMMAND, "--out", out, *engine)
        until(lambda out=out: stored(here / out) > 0)
        workers = others(running)
        assert len(workers) > 2 or not engine  # multiprocessing alone makes two, which do none of the work
        running.send_signal(number)
        err = finish(running, 3 if number == signal.SIGTERM else -number)
        if number == signal.SIGTERM:
            assert "interrupted; what was finished is kept" in err
        until(lambda workers=workers: not any(map(runs, workers)), 20)  # nobody works on for nobody
        assert records(here / out) != records(here / "whole")
        finish(start(here, *COMMAND, "--out", out, "--workers", "2"))
        assert records(here / out) == records(here / "whole")


@pytest.mark.slow
def test_two_drivers_on_one_folder_make_one_run(here):
    both = [start(here, *COMMAND, "--out", "shared") for _ in range(2)]
    for process in both:
        finish(process)
    finish(start(here, *COMMAND, "--out", "whole"))
    assert records(here / "shared") == records(here / "whole")


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_what_is_there_is_kept(here):
    disk = here / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only a superuser can make a small disk")
    try:
        err = finish(start(here, *COMMAND, "--out", "disk/run"), 2)
        [line] = [one for one in err.splitlines() if one.startswith("certify:")]
        assert "full" in line
        kept = stored(disk / "run")
        assert 0 < kept < 160
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        finish(start(here, *COMMAND, "--out", "disk/run"))
        finish(start(here, *COMMAND, "--out", "whole"))
        assert records(disk / "run") == records(here / "whole")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
