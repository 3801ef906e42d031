"""The command line as a user meets it: exit codes, one-line errors, and a run that survives kill -9."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import typer

from certify.cli import main
from certify.cli.app import app
from certify.core.comparison import COMPARISON_FORMATS
from certify.core.monitoring import MONITOR_FORMATS
from certify.core.summary import FORMATS
from certify.gate.judge import GATE_FORMATS
from certify.store.export import EXPORTS
from certify.store.run_folder import RunFolder

MODEL = """
import os, time
import numpy as np, torch
from torch import nn

def net():
    module = nn.Linear(6, 2, bias=False).eval()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]))
    return module

calls = 0

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        global calls
        calls += 1
        if calls > int(os.environ.get("HOLD_AFTER", "1000000000")):
            time.sleep(60)
        return self.net(x)

def slow():
    return Slow().eval()

def data():
    x = np.random.default_rng(0).uniform(0, 1, (40, 6)).astype(np.float32)
    return x, (x[:, :3].sum(1) < x[:, 3:].sum(1)).astype(np.int64)

def bad_data():
    x, y = data()
    x[3, 2] = np.nan
    return x, y
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "example_net.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUN = [
    "run",
    "--model",
    "example_net:slow",
    "--data",
    "example_net:data",
    "--sigma",
    "0.25",
    "--n",
    "300",
    "--schedule",
    "fixed",
]
RUN += ["--radii", "0,0.1,0.3", "--attack", "pgd", "--attack-option", "steps=4", "--attack-option", "restarts=1"]


MAIN = """
import signal, sys
# A parent that ignores an interrupt hands that on to its children, and then nobody could interrupt them.
signal.signal(signal.SIGINT, signal.default_int_handler)
from certify.cli import main
sys.exit(main())
"""


@pytest.fixture
def certify() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``certify`` in a process of its own; what still runs at the end of the test is killed."""
    with ExitStack() as started:

        def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
            command, pipe = [sys.executable, "-c", MAIN, *arguments], subprocess.PIPE
            process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment})
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


def records(folder: Path) -> list[dict]:
    with RunFolder.open(folder) as run:
        found = [*run.records.certificates(), *run.records.findings()]
    return [{key: value for key, value in one.to_dict().items() if key != "seconds"} for one in found]


def stored(folder: Path) -> int:
    try:
        return len(records(folder))
    except Exception:  # not there yet, or being written
        return 0


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_records(here, certify):
    quiet = certify(*RUN, "--out", "whole")
    out, err = quiet.communicate(timeout=120)
    assert quiet.returncode == 0, err
    assert "contradictions 0" in out
    assert "\r" not in err  # no progress bar in a pipe, but lines
    assert "certifying (smoothing)  40/40  in " in err
    # Three calls of the model an input; the model stops answering, so that the moment does not depend on speed.
    for number, moment, calls in ((signal.SIGKILL, 40, 200), (signal.SIGINT, 20, 95)):
        folder = here / f"killed-{number}-{moment}"
        running = certify(*RUN, "--out", folder.name, HOLD_AFTER=str(calls))
        deadline = time.monotonic() + 100
        while stored(folder) < moment and time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(number)
        _, err = running.communicate(timeout=60)
        assert moment <= stored(folder) < 80
        if number is signal.SIGINT:
            assert running.returncode == 3
            assert err.strip().splitlines()[-1].startswith("certify: interrupted")
        assert main([*RUN, "--out", folder.name]) == 0
        assert records(folder) == records(here / "whole")


def test_run_summary_export(here, capsys):
    assert main([*RUN, "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["summary", "run", "--format", "json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["n"] == 40
    assert [row["radius"] for row in summary["rows"]] == [0.0, 0.1, 0.3]
    assert all(r["certified"] <= r["empirical"] <= summary["clean"] for r in summary["rows"])
    assert main(["summary", "run", "--radii", "0.05,0.2"]) == 0
    assert "0.05" in capsys.readouterr().out
    assert main(["export", "run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(40))
    assert main(["export", "run", "--format", "csv", "--out", "run.csv"]) == 0
    assert len(Path("run.csv").read_text().splitlines()) == 41
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert manifest["settings"]["threat"]["radii"] == [0.0, 0.1, 0.3]
    assert {"torch", "certify"} <= set(manifest["context"]["versions"])


def test_standard_output_holds_the_table_alone_and_standard_error_how_far_it_is(here, capsys):
    few = ["run", *NET, *DATA, "--sigma", "0.25", "--n", "300", "--radii", "0,8/255", "--limit", "4"]
    told = {}
    for name, more in (("plain", ["--label", "retrained"]), ("quiet", ["--quiet"]), ("verbose", ["--verbose"])):
        assert main([*few, *more, "--out", name]) == 0
        told[name] = capsys.readouterr()
        assert told[name].out == told["plain"].out
        assert told[name].out.startswith("model")
    assert "8/255" in told["plain"].out
    assert "certifying (smoothing)  4/4  in " in told["plain"].err
    assert "records in plain; next: certify summary" in told["plain"].err
    assert told["quiet"].err == ""
    assert told["verbose"].err.count("\ninput ") == 4
    assert main(["summary", "plain", "quiet"]) == 0
    shown = capsys.readouterr().out
    assert "retrained" in shown
    assert "plain" not in shown
    for radius in ("8/255", "0.03"):
        Path("POLICY.toml").write_text(
            f'[threat]\nnorm = "l2"\n[[require]]\nkind = "certified_accuracy"\nat_least = 0.01\nradius = "{radius}"\n'
        )
        assert main(["gate", "plain", "--policy", "POLICY.toml"]) in (0, 1), capsys.readouterr().err
        assert radius in capsys.readouterr().out


def test_a_check_puts_the_normalization_inside_again(here, capsys):
    asked = ["--certifier", "ibp", "--radii", "0,1/255", "--limit", "4", "--mean", "0.25", "--std", "0.5"]
    assert main(["run", *NET, *DATA, *asked, "--out", "run"]) == 0
    assert "(which normalizes by mean 0.25 and std 0.5)" in capsys.readouterr().err
    check = ["check", "run", *NET, *DATA, "--quiet"]
    assert main(check) == 0
    manifest = Path("run/manifest.json")
    manifest.write_text(manifest.read_text().replace('"mean": [\n        0.25', '"mean": [\n        0.5'))
    assert '"mean": [\n        0.5' in manifest.read_text()
    assert main(check) == 1
    assert capsys.readouterr().err == ""


def test_completion_names_commands_and_options(certify):
    asked = {"_CERTIFY_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    for words, place, found in (("certify su", "1", "summary"), ("certify run --lab", "2", "--label")):
        completing = certify(**asked | {"COMP_WORDS": words, "COMP_CWORD": place})
        out, _ = completing.communicate(timeout=60)
        assert found in out.split()


def test_the_help_shows_defaults(capsys):
    assert main(["run", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(words in text for words in ("smoothing (default)", "none (default)", "cpu (default)"))
    assert main(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out


def test_a_study_file_and_flags_that_override_it(here, capsys):
    Path("study.toml").write_text(
        'model = "example_net:net"\ndata = "example_net:data"\ncertifier = "smoothing"\nradii = [0, 0.1]\n'
        'sigma = 0.25\nn = 300\nlimit = 10\nout = "run"\n'
    )
    assert main(["run", "study.toml", "--limit", "5"]) == 0
    assert "n=5" in capsys.readouterr().out
    assert main(["run", "study.toml"]) == 2
    assert "made with other settings" in capsys.readouterr().err


def change(folder: str, statement: str, *values: object) -> None:
    with sqlite3.connect(f"{folder}/run.sqlite") as database:
        database.execute(statement, values)
    database.close()


def test_a_contradiction_has_its_own_exit_code(here, capsys):
    assert main([*RUN, "--out", "run"]) == 0
    with RunFolder.open("run") as run:
        found = next(one for one in run.records.findings() if one.distance)
    # Forge a certificate that claims more than the attack leaves.
    forged = (
        "json_set(record, '$.radius_hex', '0x1p+1', '$.radius', 2.0, '$.verdict', 'certified', '$.prediction', ?, "
        "'$.evidence.q_upper', 0.1, '$.evidence.rival_upper', 0.1)"
    )
    change("run", f"UPDATE certificates SET record={forged} WHERE position=?", found.label, found.index)
    capsys.readouterr()
    assert main(["summary", "run"]) == 4
    assert f"CONTRADICTION input {found.index}" in capsys.readouterr().out
    assert main([*RUN, "--out", "run"]) == 4
    assert main(["merge", "run", "--out", "merged"]) == 4


def test_an_incomplete_run_has_its_own_exit_code(here, capsys):
    assert main([*RUN, "--out", "run"]) == 0
    change("run", "DELETE FROM findings WHERE position >= 32")
    capsys.readouterr()
    assert main(["summary", "run", "--format", "json"]) == 3
    summary = json.loads(capsys.readouterr().out)
    assert summary["complete"] is False
    assert {row["empirical"] for row in summary["rows"]} == {None}
    assert main(["summary", "run"]) == 3
    assert "INCOMPLETE: 40 of 40 inputs attempted, 32 attacked" in capsys.readouterr().out
    change("run", "DELETE FROM certificates WHERE position >= 30")
    assert main(["summary", "run"]) == 3
    assert "INCOMPLETE: 30 of 40" in capsys.readouterr().out


def test_a_run_folder_that_cannot_be_written_can_be_read(here, capsys):
    assert main([*RUN, "--out", "run"]) == 0
    before = Path("run/run.sqlite").read_bytes()
    assert main(["summary", "run"]) == 0
    assert main(["export", "run"]) == 0
    assert Path("run/run.sqlite").read_bytes() == before


def test_what_nobody_foresaw_is_one_line_too(here, capsys, monkeypatch):
    def surprise(*_: object, **__: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("certify.cli.summary.read_runs", surprise)
    assert main(["summary", "run"]) == 2
    assert capsys.readouterr().err == "certify: unexpected KeyError: 'surprise'; --debug shows where\n"


OK = ["--sigma", "0.25", "--radii", "0,0.1", "--n", "300", "--out", "run"]
NET, DATA = ["--model", "example_net:net"], ["--data", "example_net:data"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", *NET, "--data", "example_net:bad_data", *OK], "input 3 contains NaN"),
        (["run", *NET, "--data", "npz:none.npz", *OK], "none.npz"),
        (["run", *NET, "--data", "npz:corrupt.npz", *OK], "corrupt.npz"),
        (["run", *NET, "--data", "npz:outside.npz", *OK], "outside the declared input box"),
        (["run", *NET, "--data", "npz:label.npz", *OK], "out of range"),
        (["run", *NET, "--data", "digit", *OK], "digits"),
        (["run", *DATA, "--model", "nothing", *OK], "unknown model"),
        (["run", *DATA, "--model", "example_net:none", *OK], "example_net"),
        (["run", *DATA, "--model", "example_net:net@evil.pt", *OK], "safetensors"),
        (["run", *NET, *DATA, *OK, "--sigma", "-1"], "sigma must be"),
        (["run", *NET, *DATA, *OK, "--alpha", "2"], "alpha must lie"),
        (["run", *NET, *DATA, *OK, "--radii", "0.5,0.1"], "radii must ascend"),
        (["run", *NET, *DATA, *OK, "--radii=-1"], "finite number >= 0"),
        (["run", *NET, *DATA, *OK, "--n", "20", "--radii", "0,0.4"], "use n >="),
        (["run", *NET, *DATA, *OK, "--limit", "100"], "limit 100"),
        (["run", *NET, *DATA, *OK, "--out", "file/run"], "file/run"),
        (["run", *NET, *DATA, *OK, "--certifier", "magic"], "unknown certifier"),
        (["run", *NET, *DATA, *OK, "--attack-option", "steps"], "not name=value"),
        (["run", *NET, *DATA, *OK, "--n", "many"], "--n"),
        (["run", *NET, *DATA, *OK, "--device", "cuda"], "cuda"),
        (["run", *NET, *DATA, *OK, "--device", "meta"], "not supported"),
        (["run", *NET, *DATA, *OK, "--shard", "²/3"], "not i/n"),
        (["run", *NET, *DATA, *OK, "--attack-option", "steps=3"], "no attack"),
        (["run", *NET, *DATA, *OK, "--n", "100000000000"], "at most"),
        (["run", *NET, *DATA, *OK, "--certifier", "smoothing,ibp"], "make two runs"),
        (["run", *NET, "--data", "npz:many.npz", *OK], "must return scores"),
        (["run", *NET, *DATA, *OK[:-2]], "--out"),
        (["run", "none.toml"], "cannot read study"),
        (["run", "--bogus"], "--bogus"),
        (["summary", "nowhere"], "not a run folder"),
        (["summary", "nowhere", "--format", "tabel"], "did you mean 'table'"),
        (["summary", "nowhere", "--radii", "x"], "must be numbers"),
        (["export", "nowhere", "--format", "xml"], "unknown export format"),
        (["merge", "nowhere", "--out", "all"], "not a run folder"),
        (["train", "magic", "--data", "digits:train", "--out", "m"], "unknown recipe"),
        (["train", "noise", "--data", "digits:train", "--out", "m", "--setting", "sgima=1"], "sgima"),
        (
            ["train", "noise", "--data", "digits:train", "--out", "m", "--setting", "sigma=x"],
            "must be a number, or a fraction such as 8/255, got 'x'",
        ),
        (
            ["run", *NET, *DATA, *OK, "--attack", "pgd", "--attack-option", "steps=few"],
            "steps of attack 'pgd' must be a whole number, got 'few'",
        ),
        (["run", *NET, *DATA, *OK, "--mean", "0.5"], "both mean and std"),
        (["run", *NET, *DATA, *OK, "--mean", "imagnet"], "did you mean 'imagenet'"),
        (["run", *NET, *DATA, *OK, "--quiet", "--verbose"], "choose one of them"),
        (["run", *NET, *DATA, *OK, "--label", "two\nlines"], "label must be one line"),
        (["summry"], "did you mean 'summary'? known: audit, check, compare"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(here, capsys, arguments, words):
    import torch

    Path("file").touch()
    Path("corrupt.npz").write_bytes(b"PK\x03\x04 no archive")
    x = np.full((3, 6), 0.5, np.float32)
    np.savez("outside.npz", x=x * 4, y=np.zeros(3, int))
    np.savez("many.npz", x=x, y=np.array([0, 1, 100]))
    np.savez("label.npz", x=x, y=np.array([0, 1, -2]))
    torch.save({"code": Path("somewhere"), "run": print}, "evil.pt")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("certify: ")
    assert len(captured.err.strip().splitlines()) == 1
    assert words in captured.err
    assert captured.out == ""
    assert not Path("run/run.sqlite").exists()


def test_a_traceback_only_with_debug(here, capsys):
    assert main(["summary", "nowhere", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in ("demo", "run", "summary", "export", "merge", "train"):
        assert command in text


@pytest.mark.parametrize(
    ("command", "formats"),
    [
        ("summary", FORMATS),
        ("compare", COMPARISON_FORMATS),
        ("gate", GATE_FORMATS),
        ("export", EXPORTS),
        ("monitor", MONITOR_FORMATS),
    ],
)
def test_the_help_of_a_command_names_every_format_it_knows(command, formats):
    assert main(["--help"]) == 0  # which imports every command
    group = typer.main.get_command(app)
    [option] = [one for one in group.commands[command].params if one.name == "format"]
    assert {name for name in formats if not re.search(rf"\b{name}\b", option.help)} == set()


def test_a_sweep_over_sigma_is_one_command_and_resumes(here, capsys):
    command = ["run", "--model", "example_net:net", "--data", "example_net:data", "--radii", "0,0.1", "--n", "200"]
    command += ["--sigma", "0.12,0.25", "--limit", "5", "--out", "sweep"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "sigma-0.12" in shown.out
    assert shown.err.splitlines()[-1].endswith("next: certify summary sweep/sigma-0.12 sweep/sigma-0.25 --envelope")
    before = [records(here / "sweep" / f"sigma-{sigma}") for sigma in ("0.12", "0.25")]
    assert main(command) == 0
    assert [records(here / "sweep" / f"sigma-{sigma}") for sigma in ("0.12", "0.25")] == before
    context = json.loads(Path("sweep/sigma-0.12/manifest.json").read_text())["context"]
    assert context["study"]["sigma"] == 0.12
    assert main(["run", *command[1:-6], "--sigma", "0.12,-1", "--out", "other"]) == 2
    assert not Path("other").exists()


def test_time_that_ends_before_the_first_input_is_an_incomplete_run(here, capsys):
    study = ["run", *NET, *DATA, *OK[2:-2]]
    assert main([*study, "--sigma", "0.1", "--out", "sweep/sigma-0.1"]) == 0
    capsys.readouterr()
    late = ["--time-budget", "0.000001s", "--order", "hardest"]
    for out, sigmas, tables in (("run", "0.1", 0), ("sweep", "0.1,0.2", 1)):
        assert main([*study, "--sigma", sigmas, "--out", out, *late]) == 3
        captured = capsys.readouterr()
        assert "out of time before the first input; the same command goes on" in captured.err
        assert captured.out.count("INCOMPLETE") == 0
        assert captured.out.count("certified %") == tables  # that of the run that had finished


def test_an_empty_shard_is_done_and_says_what_it_is(here, capsys):
    for number in range(3):
        assert main(["run", *NET, *DATA, *OK[:-1], f"part{number}", "--shard", f"{number}/3"]) == 0
    assert "shard 2/3 is empty and complete" in capsys.readouterr().err
    assert main(["status", "part2"]) == 0
    for reader in ("summary", "check", "export"):
        assert main([reader, "part2"]) == 2
        assert "part2 is shard 2/3, which is empty: certify merge" in capsys.readouterr().err
    assert main(["merge", "part0", "part1", "part2", "--out", "whole"]) == 0


def test_an_interrupt_while_a_command_is_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("certify.cli.importlib.import_module", interrupted)
    assert main(["summary", "run"]) == 2
    assert capsys.readouterr().err == "certify: aborted\n"
