"""Breaks runs at random moments and resumes them, until each has the records of a run that nothing happened to.

    python benchmarks/faults.py --minutes 30 --ray           # a seed that nobody tried
    python benchmarks/faults.py --seconds 60 --seed 7        # the same choices again

One study with smoothing and one with bounds and complete verification, both with an attack. In each round one of them
is run whole, or in shards that are merged. Its commands are killed and terminated, their workers killed, and second
ones started on the same folder; they are repeated, under another engine each time, until they end with exit code 0.
Then the run has to pass ``certify check``, and what ``certify export`` writes of it, and its findings, have to be those
of a serial run, byte for byte and in order. Only the seconds that each record took are left out.

Ends with 1 at the first difference, and keeps the folder; also if some kind of fault never happens, however often it
is tried: a soak that breaks nothing shows nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import random
import re
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from pathlib import Path

import numpy as np
import torch
from torch import nn

from certify.cli import main as certify_command
from certify.store.run_folder import RunFolder

NAMED = ["--model", "faults:network", "--data", "npz:data.npz", "--input-box", "0,1"]
STUDIES = {
    study: ["run", *NAMED, "--seed", "0", "--quiet", *flags.split()]
    for study, flags in {
        "noise": "--radii 0,0.1 --sigma 0.25 --n 5000 --schedule fixed --attack fgsm",
        "proofs": "--norm linf --radii 0,0.05,0.1 --certifier crown,complete --decide --attack pgd --limit 16",
    }.items()
}
"""The command of each, but for its folder."""
ENDED = (0, 3, -signal.SIGKILL, -signal.SIGTERM)
"""How a command may end to which anything may happen; 3 is incomplete."""

PATIENCE = 120.0
"""Seconds after which something that should have happened has not."""

TRIES = 12
"""How often a kind of fault may be tried, and not happen, before it is taken for one that cannot."""

RAYS_OWN = re.compile(r"ray(::|/).*agent", re.IGNORECASE)
"""Processes of a node of Ray that are no workers: without them it ends."""


class Found(Exception):
    """Something that must not be, in one line."""


def network() -> nn.Module:
    """A small network with random weights, which the commands name."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


@dataclass
class Soak:
    """What one seed does, in the current folder.

    Args:
        rng: makes all choices.
        engines: the flags of each.
        end: after that time, nothing more is broken.
        counts: of each kind of fault, and of what was run.
        missed: how often each kind was tried in vain under each engine; -inf once it has happened.
        pace: seconds of the last command to which nothing happened.
    """

    rng: random.Random
    engines: Sequence[Sequence[str]]
    end: float
    counts: Counter[str] = field(default_factory=Counter)
    missed: dict[tuple[str, Sequence[str]], float] = field(default_factory=dict)
    pace: float = 1.0

    def run(self, *command: str, out: str) -> None:
        """Repeat a command that makes a run folder, until nothing happens to it and it ends with 0."""
        for attempt in range(4):
            engine, since = self.rng.choice(self.engines) if command[0] == "run" else (), time.monotonic()
            began = [start(*command, *engine, "--out", out)]
            self.counts[" ".join(engine) or "serial" if command[0] == "run" else command[0]] += 1
            if attempt < 3 and time.monotonic() < self.end:
                self.harm(began, (*command, "--out", out), engine)
            codes = [finished(process) for process in began]
            if not {*codes} <= {*ENDED}:
                raise Found(f"{' '.join(command)} ended with {codes}: {said(began[0])}")
            if codes[-1] == 0:
                self.pace = time.monotonic() - since
                return
        raise Found(f"{' '.join(command)} --out {out} does not end with 0 when nothing happens to it, but with {codes}")

    def harm(self, began: list[ForkProcess], command: Sequence[str], engine: Sequence[str]) -> None:
        """Let something happen to a command, unless it ends before."""
        name = self.rng.choice([name for name in FAULTS if engine or name != "worker killed"])
        wait(lambda: not began[0].is_alive(), self.rng.uniform(0, self.pace))
        in_time = began[0].is_alive()
        happened = in_time and FAULTS[name](self, began, command)
        self.counts[name if happened else "too late"] += 1
        self.missed[name, engine] = -math.inf if happened else self.missed.get((name, engine), 0) + in_time
        if self.missed[name, engine] == TRIES:
            raise Found(f"{name} was tried {TRIES} times under {' '.join(engine)}, and never happened")


def killed(soak: Soak, began: list[ForkProcess], command: Sequence[str]) -> bool:
    """The process that writes is killed."""
    began[0].kill()
    return True


def terminated(soak: Soak, began: list[ForkProcess], command: Sequence[str]) -> bool:
    """The process that writes is asked to end."""
    began[0].terminate()
    return True


def worker_killed(soak: Soak, began: list[ForkProcess], command: Sequence[str]) -> bool:
    """One of the processes that compute is killed."""
    workers: list[int] = []
    wait(lambda: workers.extend(below(began[0].pid)) or workers or not began[0].is_alive(), soak.pace)
    if workers:
        os.kill(soak.rng.choice(workers), signal.SIGKILL)
    return bool(workers)


def doubled(soak: Soak, began: list[ForkProcess], command: Sequence[str]) -> bool:
    """A second command begins on the same folder, and the first may be killed."""
    engine = soak.rng.choice(soak.engines) if command[0] == "run" else ()
    began.append(start(*command, *engine))
    if soak.rng.random() < 0.5:
        wait(lambda: not began[0].is_alive(), soak.rng.uniform(0, soak.pace))
        began[0].kill()
    return True


FAULTS: dict[str, Callable[[Soak, list[ForkProcess], Sequence[str]], bool]] = {
    fault.__name__.replace("_", " "): fault for fault in (killed, terminated, worker_killed, doubled)
}


def one_round(soak: Soak, study: str) -> None:
    """A study that is run whole or in shards, and what came of it."""
    command, count = STUDIES[study], soak.rng.choice([1, 1, 2, 3])
    if count == 1:
        soak.run(*command, out=study)
    else:
        parts = [f"{study}-{shard}" for shard in range(count)]
        for shard, part in enumerate(parts):
            soak.run(*command, "--shard", f"{shard}/{count}", out=part)
        soak.run("merge", *parts, out=study)
    if (code := finished(checking := start("check", study, *NAMED, "--quiet"))) != 0:
        raise Found(f"certify check {study} ended with {code}: {said(checking)}")
    for place, (line, whole) in enumerate(zip(records(study), records(f"{study}-whole"), strict=True)):
        if line != whole:
            raise Found(f"record {place} of {study} is {line[:300]} and should be {whole[:300]}")
    for folder in Path().glob(f"{study}*"):
        if folder.name != f"{study}-whole":
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()


def records(folder: str) -> list[str]:
    """The certificates of a run as they are exported, and its findings, in order."""
    if (code := finished(exporting := start("export", folder, "--out", f"{folder}.jsonl"))) != 0:
        raise Found(f"certify export {folder} ended with {code}: {said(exporting)}")
    with RunFolder.open(folder) as run:
        findings = [json.dumps(one.to_dict()) for one in run.records.findings()]
    lines = Path(f"{folder}.jsonl").read_text().splitlines()
    return [re.sub(r'"seconds": [^,}]+', "", line) for line in (*lines, *findings)]


def start(*command: str) -> ForkProcess:
    """A process of its own that carries out a command; the processes that it starts belong to its session."""
    process = multiprocessing.get_context("fork").Process(target=_carry_out, args=(command,))
    process.start()
    return process


def _carry_out(command: Sequence[str]) -> None:
    os.setsid()
    with Path(f"said-{os.getpid()}").open("w") as words:
        for stream in (1, 2):
            os.dup2(words.fileno(), stream)
    sys.argv = ["certify", *command]
    sys.exit(certify_command())


def finished(process: ForkProcess) -> int:
    """The exit code of a command, after the last of its workers has gone: nobody works on for nobody."""
    process.join(PATIENCE)
    if process.exitcode is None:
        raise Found(f"process {process.pid} does not end: {said(process)}")
    if not wait(lambda: not list(of_session(process.pid)), PATIENCE):
        raise Found(f"processes {list(of_session(process.pid))} work on after {process.pid} has ended")
    if "Traceback" in (words := said(process)):
        raise Found(words)
    return process.exitcode


def said(process: ForkProcess) -> str:
    """What a command wrote."""
    return Path(f"said-{process.pid}").read_text() if Path(f"said-{process.pid}").exists() else ""


def wait(condition: Callable[[], object], seconds: float) -> bool:
    """Wait for something, but no longer than that; whether it happened."""
    end = time.monotonic() + seconds
    while not (happened := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return bool(happened)


def processes() -> Iterator[tuple[int, int, int, str]]:
    """Number, parent, session and command line of every living process, as Linux tells them."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if state not in "ZX":
                yield int(folder.name), int(parent), int(session), (folder / "cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue


def of_session(leader: int | None) -> Iterator[int]:
    """The living processes of a session."""
    return (number for number, _, session, _ in processes() if session == leader)


def below(driver: int | None) -> list[int]:
    """The workers of a command: all that its fork server has forked, or the node of the Ray that it started."""
    alive = {number: (parent, line) for number, parent, _, line in processes()}
    children = {number for number, (parent, _) in alive.items() if parent == driver}
    # A process that is about to become one of Ray's has no command line for a moment.
    named = {one: line for one, (parent, line) in alive.items() if parent in children and line}
    return [one for one, line in named.items() if not RAYS_OWN.search(line)]


def main() -> int:
    """Rounds until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, help="in place of minutes")
    parser.add_argument("--seed", type=int, help="of all choices; a random one if not given")
    parser.add_argument("--ray", action="store_true", help="Ray as well, which takes ten seconds to start")
    asked = parser.parse_args()
    began, seed = time.monotonic(), secrets.randbelow(2**32) if asked.seed is None else asked.seed
    engines = ["", "--workers 1", "--workers 2", *(["--engine ray --workers 2"] if asked.ray else [])]
    end = began + (60 * asked.minutes if asked.seconds is None else asked.seconds)
    soak = Soak(random.Random(seed), [tuple(flags.split()) for flags in engines], end)
    folder, done = tempfile.mkdtemp(prefix="certify-faults-"), 0
    here = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), here]))  # for Ray's actors
    os.chdir(folder)
    x = np.random.default_rng(0).random((120, 4), dtype=np.float32)
    np.savez("data.npz", x=x, y=np.asarray(network()(torch.from_numpy(x)).argmax(1)))
    print(f"seed {seed}, in {folder}", flush=True)
    try:
        for study, command in STUDIES.items():  # each later command is a fork of this process, with all imported
            since = time.monotonic()
            with contextlib.redirect_stdout(None):
                code = certify_command([*command, "--out", f"{study}-whole"])
            soak.pace = time.monotonic() - since
            print(f"{study}: exit code {code} after {soak.pace:.1f} s in one process", flush=True)
        while not done or time.monotonic() < end:
            one_round(soak, study := soak.rng.choice(list(STUDIES)))
            done += 1
            told = ", ".join(f"{name} {count}" for name, count in sorted(soak.counts.items()))
            print(f"round {done} ({study}): the same; so far {told}", flush=True)
    except (Found, ValueError) as problem:  # the second kind: not as many records as there should be
        print(f"round {done + 1} is wrong: {problem}\nrepeat it with --seed {seed}; {folder} is kept")
        return 1
    shutil.rmtree(folder)
    if never := [fault for fault in FAULTS if not soak.counts[fault]]:
        print(f"BUT NEVER {', '.join(never).upper()}: give it more time")
    print(f"{done} rounds in {time.monotonic() - began:.0f} s, nothing lost, doubled or changed; seed {seed}; {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
