"""No command writes its output over what it reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certify.cli import main

WRITERS = {
    "gate --junit": ("gate", "run", "--policy", "POLICY.toml", "--junit"),
    "gate --markdown": ("gate", "run", "--policy", "POLICY.toml", "--markdown"),
    "export --out": ("export", "run", "--out"),
    "export --bundle": ("export", "run", "--key", "key.pem", "--bundle"),
    "report --html": ("report", "run", "other", "--html"),
    "report --card": ("report", "run", "other", "--card"),
    "report --markdown": ("report", "run", "other", "--markdown"),
}
EVIDENCE = ("manifest.json", "run.sqlite", "run.sqlite-wal", "run.sqlite-shm")


@pytest.fixture(autouse=True)
def key(two_runs) -> None:
    private = Ed25519PrivateKey.generate()
    Path("key.pem").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def contents() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


def refused(capsys, *arguments: str) -> None:
    before = contents()
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert "would overwrite what is read; choose another file" in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert contents() == before


@pytest.mark.parametrize("writer", WRITERS)
def test_the_evidence_of_a_run_is_not_overwritten(capsys, writer):
    for name in EVIDENCE:
        refused(capsys, *WRITERS[writer], f"run/{name}")
    Path("link").symlink_to("run", target_is_directory=True)
    refused(capsys, *WRITERS[writer], "link/run.sqlite")
    os.link("run/manifest.json", "same")
    refused(capsys, *WRITERS[writer], "same")


@pytest.mark.parametrize("option", ["--html", "--card", "--markdown"])
def test_nor_is_that_of_any_other_run(capsys, option):
    refused(capsys, "report", "run", "other", option, "other/run.sqlite")


def test_nor_that_of_a_baseline_a_policy_or_a_key(capsys):
    asked = 'kind = "non_inferior"\nradius = 0.1\nmargin = 0.5\n'
    Path("POLICY.toml").write_text(f'[threat]\nnorm = "linf"\n[[require]]\n{asked}')
    gate = ("gate", "run", "--policy", "POLICY.toml", "--baseline", "other")
    for option in ("--junit", "--markdown"):
        for file in ("other/manifest.json", "other/run.sqlite", "POLICY.toml"):
            refused(capsys, *gate, option, file)
    refused(capsys, "export", "run", "--key", "key.pem", "--bundle", "key.pem")


def test_a_picture_is_not_written_over_a_run(capsys):
    Path("run/manifest.json").rename("picture.svg")  # a store may be a link to a file of any name
    Path("run/manifest.json").symlink_to("../picture.svg")
    refused(capsys, "compare", "run", "other", "--plot", "picture.svg")


def test_two_outputs_of_a_gate_are_two_files(capsys):
    assert main(["gate", "run", "--policy", "POLICY.toml", "--junit", "one", "--markdown", "one"]) == 2
    assert "--junit and --markdown both name one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("writer", "name"),
    [
        ("gate --junit", "gate.xml"),
        ("gate --markdown", "gate.md"),
        ("report --html", "page.html"),
        ("report --markdown", "comment.md"),
        ("export --out", "run.jsonl"),
        ("export --bundle", "run.bundle"),
    ],
)
def test_reports_belong_into_the_folder_of_a_run(writer, name):
    assert main([*WRITERS[writer], f"run/{name}"]) == 0
    assert Path("run", name).stat().st_size
    assert main(["summary", "run"]) == 0
