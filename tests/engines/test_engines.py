"""Every engine makes the same records, and none of them loses a run to one input."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import certify
from certify.cli import main
from certify.cli.app import ExitCode, exit_code
from certify.core.verdict import Verdict
from certify.engines import local
from certify.engines.base import ENGINES, Lost, engine_from, tried_twice
from certify.engines.local import Local
from certify.engines.parcel import written
from certify.engines.serial import Serial
from certify.engines.shared import one_crew
from certify.errors import BadInput
from certify.store.run_folder import RunFolder
from certify.study.evaluate import evaluate
from certify.study.read import summarize_run

# Workers cannot import this file by its name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

X = np.random.default_rng(0).uniform(0.05, 0.9, (12, 2)).astype(np.float32)
X[7, 0] = 0.97
Y = X.argmax(axis=1)
SMOOTHING = {"certifier": certify.Smoothing(sigma=0.0625, n=500, selection="label"), "seed": 0}
L2 = certify.ThreatModel("l2", (0.0, 0.05))


LEAK = 400
"""Pieces of 4 MiB that a leak ends with: no test endangers the machine."""


def said(result) -> list[str]:
    """Everything in the records of a run but how long it took."""
    return [json.dumps(one.to_dict() | {"seconds": 0}) for one in (*result.certificates, *(result.findings or ()))]


class Odd:
    """A classifier of two classes by the sum of the first two features, that does something else on an odd input.

    Args:
        what: ``"raise"``, ``"value"``, ``"exit"``, ``"interrupt"``, ``"hang"``, ``"leak"``, ``"die"``, ``"die once"``.
        folder: where it leaves word that it died, and its process number.
        armed: whether it does so at all; the checks before a run are no part of what is tested.
    """

    def __init__(self, what: str, folder: Path) -> None:
        self.what, self.folder = what, folder
        self.__name__ = "odd"

    def __call__(self, x: Tensor) -> Tensor:
        if (self.folder / "armed").exists() and bool((x[:, 0] > 0.95).any()):
            self._misbehave()
        return torch.stack([x[:, 0], x[:, 1]], dim=1)

    def _misbehave(self) -> None:
        word = self.folder / "died"
        if self.what == "raise":
            raise RuntimeError("this input is too odd")
        if self.what == "value":
            raise ValueError("this input is too odd")
        if self.what == "exit":
            raise SystemExit(0)
        if self.what == "interrupt":
            raise KeyboardInterrupt
        if self.what == "hang":
            time.sleep(600)
        if self.what == "leak":
            held = []
            while len(held) < LEAK:
                held.append(torch.ones(2**20))
                time.sleep(0.005)
            raise AssertionError("nobody minds how much it takes")
        if self.what == "die" or (self.what == "die once" and not word.exists()):
            word.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def odd(tmp_path):
    """Makes a classifier that misbehaves in a certain way, from the moment that it is armed."""

    def make(what: str) -> certify.Classifier:
        return certify.Classifier(Odd(what, tmp_path), num_classes=2)

    return make


@pytest.fixture
def armed(tmp_path, monkeypatch):
    """Misbehaving begins after the checks before any work."""
    from certify.study.study import Study

    begin = Study.run
    monkeypatch.setattr(
        Study, "run", lambda self, *args, **way: ((tmp_path / "armed").touch(), begin(self, *args, **way))[1]
    )


def doubled(task: int) -> int:
    if task < 0:
        raise BadInput(f"task {-task} cannot be")
    return 2 * task


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_an_engine_does_every_task_once_and_raises_what_the_work_raises(name):
    engine = engine_from(name) if name == "serial" else engine_from(name, workers=2)
    with engine.crew(doubled) as crew:
        assert sorted(crew.results(range(20))) == [(task, 2 * task) for task in range(20)]
        assert list(crew.results([], alone=True)) == []
        assert list(crew.results([1, 2], alone=True)) == [(1, 2), (2, 4)]
        with pytest.raises(BadInput, match="task 3 cannot be"):
            list(crew.results([-3]))


def test_local_workers_make_the_records_of_a_serial_run():
    torch.manual_seed(0)
    clf = certify.Classifier(nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)).eval(), 2)
    y = clf.predict(torch.from_numpy(X)).numpy()
    proofs = {"threat": certify.ThreatModel("linf", (0.0, 0.02)), "certifier": ["crown", "complete"], "attack": "pgd"}
    noise = {"threat": L2, "certifier": "smoothing", "sigma": 0.25, "n": 500, "attack": "pgd"}
    for settings in (proofs, noise):
        serial = evaluate(clf, (X, y), seed=0, **settings)
        local = evaluate(clf, (X, y), seed=0, workers=2, **settings)
        assert said(serial) == said(local)


@pytest.mark.filterwarnings("ignore:.*tried again")
@pytest.mark.parametrize(
    ("what", "engine", "reason"),
    [
        ("raise", Serial(), "RuntimeError: this input is too odd"),
        ("raise", Local(2), "RuntimeError: this input is too odd"),
        ("value", Serial(), "ValueError: this input is too odd"),
        ("exit", Serial(), "RuntimeError: the model asked for the process to end (SystemExit: 0)"),
        ("exit", Local(2), "RuntimeError: the model asked for the process to end (SystemExit: 0)"),
        ("interrupt", Local(2), "the process that worked on it ended with exit code 1"),
    ],
)
def test_an_input_on_which_the_model_raises_is_an_error_and_the_rest_go_on(odd, armed, what, engine, reason):
    result = evaluate(odd(what), (X, Y), threat=L2, engine=engine, **SMOOTHING)
    failed = {one.index: one.reason for one in result.certificates if one.verdict is Verdict.ERROR}
    assert failed == {7: reason}
    assert result.summary.errors == 1
    assert exit_code(result.summary) == ExitCode.INCOMPLETE


class OddModule(nn.Module):
    """The same as a module, which attacks by gradients need."""

    def __init__(self, odd: Odd) -> None:
        super().__init__()
        self.odd = odd

    def forward(self, x: Tensor) -> Tensor:
        return self.odd(x)


@pytest.mark.parametrize("workers", [None, 2])
def test_an_input_at_which_the_model_raises_is_not_attacked_and_the_rest_are(armed, tmp_path, workers, monkeypatch):
    clf = certify.Classifier(OddModule(Odd("value", tmp_path)).eval(), 2)
    near = {"threat": certify.ThreatModel("l2", (0.0, 0.005)), "sigma": 0.01, "n": 200}
    given = {"attack": "fgsm", "workers": workers, "seed": 0, "out": tmp_path / "run", **near}
    with pytest.warns(match="input 7 could not be attacked: ValueError: this input is too odd"):
        result = evaluate(clf, (X, Y), **given)
    assert {one.index: one.error for one in result.findings if one.error} == {7: "ValueError: this input is too odd"}
    assert len(result.findings) == len(X)
    assert result.summary.attacked == 11
    assert exit_code(result.summary) == ExitCode.INCOMPLETE
    (tmp_path / "armed").unlink()
    monkeypatch.undo()  # the same command tries it again
    assert not any(one.error for one in evaluate(clf, (X, Y), **given).findings)
    assert exit_code(summarize_run(tmp_path / "run")) == ExitCode.DONE


@pytest.mark.filterwarnings("ignore:.*tried again")
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("die", "ended with signal SIGKILL"),
        pytest.param(
            *("leak", "took more than"),
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much a process has filled"),
        ),
    ],
)
def test_an_input_that_kills_its_worker_is_tried_once_more_alone_and_then_an_error(
    odd, armed, monkeypatch, what, reason
):
    monkeypatch.setattr(
        local, "free_memory", lambda: int(0.9 * 2**30)
    )  # alone, it may take all of that beside what it holds
    result = evaluate(odd(what), (X, Y), threat=L2, workers=2, **SMOOTHING)
    failed = {one.index: one.reason for one in result.certificates if one.verdict is Verdict.ERROR}
    assert list(failed) == [7]
    assert reason in failed[7]
    assert len(result.certificates) == 12
    assert exit_code(result.summary) == ExitCode.INCOMPLETE


def test_a_worker_that_is_killed_while_it_starts_or_waits_is_replaced_and_costs_nothing():
    def tasks():
        yield 0
        crew.workers[0].process.kill()
        yield from range(1, 6)

    with Local(2).crew(doubled) as crew:
        assert sorted(tried_twice(crew, tasks())) == [(task, 2 * task) for task in range(6)]
        for worker in crew.workers:
            worker.process.kill()
        assert sorted(tried_twice(crew, range(6))) == [(task, 2 * task) for task in range(6)]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers may be no forks, and /proc does not list them")
def test_a_fork_server_that_is_killed_is_replaced_and_nobody_works_on():
    def tasks():
        yield 0
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        yield from range(1, 6)

    with Local(1).crew(time.sleep) as busy, Local(2).crew(doubled) as crew:
        assert next(busy.results([0, 600])) == (0, None)
        orphan, deadline = Path(f"/proc/{busy.workers[0].process.pid}"), time.monotonic() + 60
        assert sorted(tried_twice(crew, tasks())) == [(task, 2 * task) for task in range(6)]
        while orphan.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize(("code", "words"), [(1, "__main__"), (255, "give fewer"), (-signal.SIGKILL, "give fewer")])
def test_why_no_worker_starts_is_said_at_once_or_after_some_more_that_were_killed(code, words):
    crew = local._Processes(("", 1, 0), 1, None, 0)
    for _ in range(0 if code == 1 else local.STARTS - 1):
        crew._refuse_stillborn(code)
    with pytest.raises(BadInput, match=words):
        crew._refuse_stillborn(code)


def test_workers_have_the_environment_of_the_run_and_no_other(monkeypatch):
    monkeypatch.setenv("SOME_SETTING", "1")
    for expected in ("1", None):
        with Local(1).crew(os.environ.get) as crew:
            assert list(crew.results(["SOME_SETTING"])) == [("SOME_SETTING", expected)]
        monkeypatch.delenv("SOME_SETTING", raising=False)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reaches a file without a name")
def test_no_file_is_left_of_a_run_that_is_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Local(1).crew(doubled) as crew:
        assert list(crew.results([1])) == [(1, 2)]
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1, 10**5])
def test_a_disk_that_is_too_small_for_the_model_is_no_fault_of_the_model(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))  # bytes of a file
    try:
        with pytest.raises(BadInput, match=r"cannot be written to .* \(File too large"), written(torch.ones(size).add):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_shared_crew_does_no_work_that_it_was_not_told_of():
    with one_crew(Serial(), [str.upper, X.sum]) as (upper, _):
        with upper.crew(str.upper) as crew:
            assert list(crew.results(["a"])) == [("a", "A")]
        with pytest.raises(BadInput, match="name it in one_crew"), upper.crew(str.lower):
            pass


def test_what_cannot_leave_its_process_says_so():
    with Local(1).crew(locked) as crew, pytest.raises(RuntimeError, match="lock cannot leave its process"):
        list(crew.results([1]))


def locked(task: int) -> object:
    return threading.Lock()


@pytest.mark.filterwarnings("ignore:.*tried again")
@pytest.mark.parametrize(("what", "limit"), [("die", None), ("hang", 2.0)])
def test_finding_out_which_inputs_come_first_is_left_to_workers(odd, armed, what, limit):
    given = {"threat": L2, "workers": 2, "order": "hardest", "input_timeout": limit, **SMOOTHING}
    result = evaluate(odd(what), (X, Y), **given)
    assert [one.index for one in result.certificates if one.verdict is Verdict.ERROR] == [7]


@pytest.mark.filterwarnings("ignore:.*tried again")
def test_a_worker_that_is_killed_once_costs_nothing(odd, armed, tmp_path):
    whole = evaluate(odd("none"), (X, Y), threat=L2, **SMOOTHING)
    (tmp_path / "armed").unlink()
    again = evaluate(odd("die once"), (X, Y), threat=L2, workers=2, **SMOOTHING)
    assert [one.evidence.looks for one in whole.certificates] == [one.evidence.looks for one in again.certificates]


@pytest.mark.filterwarnings("ignore:.*tried again")
def test_an_input_on_which_the_model_hangs_is_given_up(odd, armed):
    result = evaluate(odd("hang"), (X, Y), threat=L2, workers=2, input_timeout=1.5, **SMOOTHING)
    failed = {one.index: one.reason for one in result.certificates if one.verdict is Verdict.ERROR}
    assert failed == {7: "it did not end within 1.5 seconds an input"}


def test_a_model_that_cannot_be_sent_is_refused_in_one_line():
    lock = threading.Lock()

    def locked(x):
        with lock:
            return x

    clf = certify.Classifier(locked, num_classes=2)
    with pytest.raises(BadInput, match="cannot be sent to another process .* package.module:function") as refusal:
        evaluate(clf, (X, Y), threat=L2, workers=1, **SMOOTHING)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"workers": 0}, "workers must be at least 1"),
        ({"workers": 10**6}, r"workers of at least .* GiB do not fit"),
        ({"input_timeout": 0}, "above 0 seconds"),
        ({"name": "lokal"}, "did you mean 'local'"),
        ({"name": "serial", "workers": 2}, "has no setting 'workers'"),
        ({"name": "ray", "ray_address": "127.0.0.1:1"}, "nobody answers at 127.0.0.1:1"),
        ({"name": "ray", "ray_address": "nowhere"}, "HOST:PORT, for example"),
        ({"name": "ray", "ray_address": "localhost:99999"}, "HOST:PORT, for example"),
        ({"name": "ray", "ray_address": "ray://..:1"}, "nobody answers at ray://..:1"),
    ],
)
def test_engines_that_cannot_be_are_refused(settings, words):
    with pytest.raises(BadInput, match=words), engine_from(**settings).crew(doubled) as crew:
        list(crew.results([1]))


def test_what_is_lost_says_why():
    assert Lost("why").reason == "why"
    assert isinstance(engine_from(), Serial)
    assert engine_from(ray_address="auto") == ENGINES["ray"](ray_address="auto")


def test_a_run_goes_on_where_another_engine_stopped(odd, tmp_path):
    clf, out = odd("none"), tmp_path / "run"
    whole = evaluate(clf, (X, Y), threat=L2, **SMOOTHING)
    calls = []

    class Stops(Serial):
        @contextmanager
        def crew(self, work, device):
            def stopping(task):
                calls.append(task)
                if len(calls) == 2:
                    raise KeyboardInterrupt
                return work(task)

            with Serial.crew(self, stopping, device) as crew:
                yield crew

    with pytest.raises(KeyboardInterrupt):
        evaluate(clf, (X, Y), threat=L2, engine=Stops(), out=out, **SMOOTHING)
    assert said(evaluate(clf, (X, Y), threat=L2, workers=2, out=out, **SMOOTHING)) == said(whole)
    assert Path(out).is_dir()


def test_a_ray_cluster_without_a_gpu_is_refused_for_a_model_that_needs_one():
    with pytest.raises(BadInput, match="no GPU"), engine_from("ray", workers=1).crew(doubled, torch.device("cuda")):
        pass


@pytest.mark.parametrize(("gpus", "workers", "part"), [(2, 3, 1 / 2), (1, 3, 1 / 3), (4, 2, 1.0), (2, None, 1.0)])
def test_actors_take_parts_of_gpus_that_fit(gpus, workers, part):
    from certify.engines.ray import _Actors

    asked = {}

    class Made:
        def remote(self, reference):
            return object()

    class Cluster:
        def cluster_resources(self):
            return {"CPU": 16.0, "GPU": float(gpus)}

        def remote(self, **options):
            asked.update(options)
            return lambda worker: Made()

    actors = _Actors(Cluster(), b"", workers, None, True)
    actors._made()
    assert asked["num_gpus"] == part
    assert int(1 / part) * gpus >= actors._count()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which processes a command has started")
def test_ray_waits_for_no_worker_before_there_is_work():
    # It would wait for ever for one that dies as it starts, and no signal would reach this process.
    with engine_from("ray", workers=1).crew(doubled) as crew:
        assert not ray_workers()
        assert list(crew.results([1])) == [(1, 2)]
        assert ray_workers()


def ray_workers():
    """The workers of a Ray that this process started."""
    alive = {int(one.name): (one / "stat", one / "cmdline") for one in Path("/proc").iterdir() if one.name.isdigit()}
    parents, workers = {}, []
    for number, (stat, line) in alive.items():
        with suppress(OSError):
            parents[number] = int(stat.read_text().rpartition(")")[2].split()[1])
            if re.match("ray::(?!.*Agent)", line.read_text()):  # what workers call themselves, and two others
                workers.append(number)
    return [one for one in workers if parents.get(parents[one]) == os.getpid()]


def test_a_ray_that_does_not_start_is_one_line(monkeypatch):
    import ray

    def fails(**settings):
        raise Exception("The current node timed out during startup.\nThis could happen")

    monkeypatch.setattr(ray, "init", fails)
    with pytest.raises(BadInput, match="does not start on this machine") as refused:
        engine_from("ray", workers=1).crew(doubled).__enter__()
    assert "\n" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*tried again")
def test_a_ray_cluster_may_lose_an_actor_and_a_node(odd, armed, tmp_path):
    import ray
    from ray.cluster_utils import Cluster

    whole = evaluate(odd("none"), (X, Y), threat=L2, **SMOOTHING)
    (tmp_path / "armed").unlink()
    niceness = {"_system_config": {"worker_niceness": 0}}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **niceness})
    node = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    try:
        again = evaluate(odd("die once"), (X, Y), threat=L2, engine="ray", workers=2, **SMOOTHING)
        assert [one.evidence.looks for one in again.certificates] == [one.evidence.looks for one in whole.certificates]
        with engine_from("ray", workers=2).crew(slowly) as crew:
            found = []
            for task, made in crew.results(range(12)):
                found.append((task, made))
                if len(found) == 2:
                    cluster.remove_node(node, allow_graceful=False)
            lost = [task for task, made in found if isinstance(made, Lost)]
            found += crew.results(lost, alone=True)
        assert sorted(one for one in found if not isinstance(one[1], Lost)) == [(task, 2 * task) for task in range(12)]
    finally:
        ray.shutdown()
        cluster.shutdown()


def slowly(task: int) -> int:
    time.sleep(0.2)
    return 2 * task


def net():
    """A model that a SPEC can name."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)).eval()


def inputs():
    """Data that a SPEC can name."""
    return X, net()(torch.from_numpy(X)).argmax(dim=1).numpy()


def test_one_crew_serves_all_runs_of_a_sweep(tmp_path, monkeypatch):
    crews, crew = [], Local.crew
    monkeypatch.setattr(Local, "crew", lambda self, *work: (crews.append(self), crew(self, *work))[1])
    study = tmp_path / "study.toml"
    study.write_text(
        'model = "tests.engines.test_engines:net"\ndata = "tests.engines.test_engines:inputs"\ninput-box = [0, 1]\n'
        'radii = [0, 0.05]\nsigma = [0.0625, 0.125]\nn = 500\nattack = "fgsm"\nseed = 0\n'
    )
    found = []
    for engine in ([], ["--workers", "1"]):
        out = tmp_path / f"run{len(engine)}"
        assert main(["run", str(study), "--out", str(out), "--quiet", *engine]) == 0
        for sigma in ("0.0625", "0.125"):
            with RunFolder.open(out / f"sigma-{sigma}") as run:
                found.append(
                    said(SimpleNamespace(certificates=run.records.certificates(), findings=run.records.findings()))
                )
    assert found[:2] == found[2:]
    assert crews == [Local(1)]


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": "linf", "radii": "0,0.02,0.3", "certifier": "crown,complete", "timeout": 5, "attack": "pgd"},
        {"radii": "0,0.05", "sigma": 0.0625, "n": 500, "attack": "fgsm"},
    ],
    ids=["proofs", "noise"],
)
def test_a_check_by_workers_finds_what_a_check_in_this_process_finds(settings, tmp_path, capsys):
    out = str(tmp_path / "run")
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    named = ["--model", "tests.engines.test_engines:net", "--data", "tests.engines.test_engines:inputs"]
    assert main(["run", *named, *flags, "--out", out, "--seed", "0", "--quiet"]) in (0, 3)
    capsys.readouterr()
    codes, shown = set(), set()
    for engine in ([], ["--workers", "2"]):
        codes.add(
            main(["check", out, *named, "--replay", "2", "--input-box", "0,1", "--format", "json", "--quiet", *engine])
        )
        shown.add(capsys.readouterr().out)
    assert codes == {0}
    assert len(shown) == 1
