"""``certify check``: exit codes, what is named, what machines read."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from certify.cli import main

MODULE = """
import numpy as np, torch
from torch import nn

def net():
    module = nn.Linear(4, 2, bias=False).eval()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
    return module

def data():
    x = np.random.default_rng(0).uniform(0, 1, (9, 4)).astype(np.float32)
    return x, (x[:, :2].sum(1) < x[:, 2:].sum(1)).astype(np.int64)
"""
MODEL, DATA = ("--model", "checked_nets:net"), ("--data", "checked_nets:data")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "checked_nets.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(out: Path, *flags: str) -> str:
    assert main(["run", *MODEL, *DATA, "--out", str(out), *flags]) in (0, 4)
    return str(out)


def smoothing(out: Path, *flags: str) -> str:
    return made(out, "--certifier", "smoothing", "--sigma", "0.25", "--n", "300", "--radii", "0,0.1", *flags)


def edited(out: str, old: str, new: str) -> None:
    with closing(sqlite3.connect(f"{out}/run.sqlite")) as db, db:
        db.execute("UPDATE certificates SET record=replace(record, ?, ?) WHERE position=3", (old, new))


def test_a_run_that_holds(here, capsys):
    out = smoothing(here / "run")
    capsys.readouterr()
    assert main(["check", out, *MODEL, *DATA]) == 0
    shown = capsys.readouterr()
    assert all(line.startswith("deriving from") for line in shown.err.splitlines())
    assert "All" in shown.out
    assert "claims are confirmed" in shown.out
    assert "SMOOTHED model" in shown.out
    assert "l2 ball" in shown.out


def test_a_claim_that_is_false_is_named_and_fails(here, capsys):
    out = smoothing(here / "run")
    edited(out, '"sigma": 0.25', '"sigma": 0.24')
    capsys.readouterr()
    assert main(["check", out]) == 1
    shown = capsys.readouterr().out
    assert "refuted: input 3, smoothing: sigma, the record says 0.24, the run 0.25" in shown
    assert main(["check", out, "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["confirmed"]
    assert {one["subject"] for one in found["refuted"]} == {"input 3, smoothing"}
    assert found["counts"]["sigma"] == {"confirmed": 0, "refuted": 1, "not checked": 0}


def test_an_example_inside_a_certified_radius_is_a_contradiction(here, capsys):
    """The example is executed, so it does not matter which of the records was tampered with."""
    out = made(here / "run", "--certifier", "ibp", "--radii", "0,0.02,0.4", "--attack", "pgd")
    with closing(sqlite3.connect(f"{out}/run.sqlite")) as db, db:
        wider = f"json_set(record, '$.radius', 0.5, '$.radius_hex', '{(0.5).hex()}')"
        db.execute(f"UPDATE certificates SET record={wider} WHERE verdict='certified'")
    capsys.readouterr()
    assert main(["check", out, *MODEL, *DATA]) == 4
    assert "contradiction" in capsys.readouterr().out
    assert main(["check", out]) == 3  # without the model nothing is executed


def test_a_function_that_only_the_manifest_names_is_not_run(here, capsys):
    out = made(here / "run", "--certifier", "ibp", "--radii", "0,0.02", "--attack", "pgd")
    capsys.readouterr()
    assert main(["check", out]) == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert "not checked: radius" in shown
    assert "which only you may let run: --model checked_nets:net" in shown
    assert main(["check", out, *MODEL, *DATA]) == 0
    assert "not checked: attack failed" in capsys.readouterr().out


def test_the_arithmetic_of_smoothing_needs_neither_model_nor_data_and_is_no_pass(here, capsys):
    out = smoothing(here / "run")
    capsys.readouterr()
    assert main(["check", out]) == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert "radius 9 0 0" in shown
    assert "not checked: label (1): the manifest names a Python function" in shown
    assert "not checked: model digest (1)" in shown


def test_noise_is_drawn_again_on_request(here, capsys):
    out = smoothing(here / "run")
    capsys.readouterr()
    assert main(["check", out, "--replay", "2"]) == 3
    capsys.readouterr()
    assert main(["check", out, "--replay", "2", "--seed", "9", *MODEL, *DATA]) == 0
    assert "fresh samples" in capsys.readouterr().out


def test_a_run_that_is_not_finished(here, capsys):
    out = smoothing(here / "run")
    with closing(sqlite3.connect(f"{out}/run.sqlite")) as db, db:
        db.execute("DELETE FROM certificates WHERE position > 5")
    capsys.readouterr()
    assert main(["check", out]) == 3
    assert "3 of 9 inputs have no record" in capsys.readouterr().out


def test_many_faults_are_capped_and_counted(here, capsys):
    out = smoothing(here / "run")
    with closing(sqlite3.connect(f"{out}/run.sqlite")) as db, db:
        db.execute(
            "UPDATE certificates SET record=replace(replace(record, '0.25', '0.24'), '\"seed\": ', '\"seed\": 1')"
        )
    capsys.readouterr()
    assert main(["check", out]) == 1
    shown = capsys.readouterr().out
    assert shown.count("refuted: ") == 20
    assert "more refuted; --format json names them all" in shown


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--format", "xml"], "unknown check format"),
        (["--replay", "-1"], "0 or more"),
        (["--bundle", "b"], "give both --bundle and --key"),
        (["--data", "npz:nowhere.npz"], "nowhere.npz"),
    ],
)
def test_bad_input_is_one_line(here, capsys, flags, said):
    out = smoothing(here / "run")
    capsys.readouterr()
    assert main(["check", out, *flags]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_damaged_file_is_one_line(here, capsys):
    out = smoothing(here / "run")
    file = Path(out, "run.sqlite")
    file.write_bytes(file.read_bytes()[:3000])
    for name in ("run.sqlite-wal", "run.sqlite-shm"):
        Path(out, name).unlink(missing_ok=True)
    capsys.readouterr()
    assert main(["check", out]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_run_is_held_against_what_was_signed(here, capsys):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    from certify.store.bundle import write_bundle
    from certify.study.read import read_run

    def keys(name: str) -> tuple[Path, Path]:
        key = Ed25519PrivateKey.generate()
        private, public = here / f"{name}.key", here / f"{name}.pem"
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return private, public

    out = smoothing(here / "run")
    (private, public), (_, other) = keys("one"), keys("other")
    private.chmod(0o600)
    write_bundle(read_run(out), here / "run.bundle", private)
    signed = [*MODEL, *DATA, "--bundle", str(here / "run.bundle"), "--key"]
    assert main(["check", out, *signed, str(public)]) == 0
    assert main(["check", out, *signed, str(other)]) == 1
    edited(out, '"reason": "', '"reason": "fine ')  # nothing that could be derived
    assert main(["check", out, *MODEL, *DATA]) == 0
    capsys.readouterr()
    assert main(["check", out, *signed, str(public)]) == 1
    assert "refuted: input 3: signed record" in capsys.readouterr().out
