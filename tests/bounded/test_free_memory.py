"""How much memory is free: of the machine, or of the container that sets a limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from certify.bounded import memory
from certify.bounded.memory import free_memory

V1 = "memory/memory."


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 8000 * 1024),
        ({"memory.max": "5000\n", "memory.current": "2000\n"}, 3000),
        ({"memory.max": "5000", "memory.current": "2000", "memory.stat": "anon 7\ninactive_file 1500\n"}, 4500),
        ({"memory.max": "5000", "memory.current": "6000"}, 0),
        ({"memory.max": "max\n", "memory.current": "2000"}, 8000 * 1024),
        ({"memory.max": "5000"}, 8000 * 1024),
        ({"memory.max": str(2**40), "memory.current": "2000"}, 8000 * 1024),
        ({f"{V1}limit_in_bytes": "7000", f"{V1}usage_in_bytes": "1000"}, 6000),
        (
            {
                f"{V1}limit_in_bytes": "7000",
                f"{V1}usage_in_bytes": "1000",
                f"{V1}stat": "inactive_file 1\ntotal_inactive_file 500\n",
            },
            6500,
        ),
        ({f"{V1}limit_in_bytes": str(2**63 - 4096), f"{V1}usage_in_bytes": "0"}, 8000 * 1024),
    ],
)
def test_a_container_may_take_less_than_the_machine_has(
    files: dict[str, str], free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:   8000 kB\n")
    (tmp_path / "memory").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    assert free_memory() == free


def test_a_system_without_such_files_says_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "absent")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    assert free_memory() > 0
