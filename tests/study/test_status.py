"""How far a run is, said by its folder; order, time budget, and many verification instances."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import certify
from certify.attacks.fgsm import FGSM
from certify.checker.result import Standing
from certify.cli import main
from certify.cli.app import ExitCode, exit_code
from certify.core.verdict import Verdict
from certify.data.dataset import Dataset
from certify.engines.serial import Serial
from certify.errors import BadInput, StoreError
from certify.process import age
from certify.progress.observer import Quiet
from certify.store import heartbeat
from certify.store.heartbeat import HEARTBEAT, Heartbeat, last_beat
from certify.store.run_folder import RunFolder
from certify.study.checking import check_run
from certify.study.evaluate import build, evaluate
from certify.study.instances import read_instances, verify_instances
from certify.study.read import summarize_run
from certify.study.settings import Settings, duration
from certify.study.status import status_of
from tests.conftest import linear

X = np.random.default_rng(0).uniform(0, 1, (40, 2)).astype(np.float32)
Y = X.argmax(axis=1)
THREAT = certify.ThreatModel("linf", (0.0, 0.05))


@pytest.fixture
def clf():
    return certify.Classifier(linear([[1.0, 0.0], [0.0, 1.0]]), 2)


def run(clf, out, **settings):
    return evaluate(clf, (X, Y), threat=THREAT, certifier=["ibp", "crown"], attack="fgsm", seed=0, out=out, **settings)


def test_a_finished_run_says_so(clf, tmp_path, capsys):
    run(clf, tmp_path / "run")
    found = status_of(tmp_path / "run")
    assert (found.finished, found.alive, found.done) == (True, False, {"ibp": 40, "crown": 40, "attack fgsm": 40})
    assert main(["status", str(tmp_path / "run")]) == 0
    assert "finished" in capsys.readouterr().out
    assert main(["status", str(tmp_path / "run"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["finished"] is True


def test_a_budget_of_time_ends_a_run_cleanly_and_the_same_call_goes_on(clf, tmp_path, capsys):
    for wrong in ("soon", 0, [1]):
        with pytest.raises(BadInput, match="^time_budget must be"):
            run(clf, tmp_path / "run", time_budget=wrong)
    result = run(clf, tmp_path / "run", time_budget="0.000000001s")
    assert result.certificates == []
    found = status_of(tmp_path / "run")
    assert not found.finished
    assert "stopped" in str(found)
    assert main(["status", str(tmp_path / "run"), "--watch"]) == 3  # nobody works on it, so there is nothing to watch
    shown = capsys.readouterr().out
    assert "ibp          0/40" in shown
    assert "out of time" in shown
    whole = run(clf, tmp_path / "run")
    assert [replace(one, seconds=0) for one in whole.certificates] == [
        replace(one, seconds=0) for one in run(clf, None).certificates
    ]


def test_the_cheapest_or_the_hardest_inputs_come_first(clf, tmp_path):
    lead = np.abs(X[:, 0] - X[:, 1])

    class Watching(Quiet):
        def detail(self, text):
            seen.append(int(text.split()[1].rstrip(":")))

    for order, sign in (("cheapest", -1), ("hardest", 1)):
        seen: list[int] = []
        certifier = certify.Complete(timeout=5)
        evaluate(clf, (X, Y), threat=THREAT, certifier=certifier, order=order, progress=Watching())
        assert seen == np.argsort(sign * lead, kind="stable").tolist()
    with pytest.raises(BadInput, match="unknown order 'easiest'"):
        run(clf, tmp_path / "run", order="easiest")


def test_inputs_that_failed_are_named(clf, tmp_path):
    def odd(x):
        if bool((x[:, 0] > 0.99).any()):
            raise RuntimeError("too odd")
        return (x[:, 1] > x[:, 0]).long()

    x = X.clip(0, 0.9)
    x[[5, 7], 0] = 0.995
    clf = certify.Classifier(odd, 2)
    clf.check = lambda x: None  # the checks before any work are not what is tested
    evaluate(clf, (x, Y), threat=certify.ThreatModel("l2", (0.0,)), sigma=1e-3, n=50, out=tmp_path / "run", seed=0)
    found = status_of(tmp_path / "run")
    assert (found.failed, [index for index, _ in found.errors]) == (2, [5, 7])
    assert "RuntimeError: too odd" in str(found)
    with RunFolder.open(tmp_path / "run") as folder:
        assert [one.index for one in folder.records.with_verdict(Verdict.ERROR)] == [5, 7]


def test_an_attack_that_failed_is_named_and_is_not_one_that_found_nothing(clf, tmp_path, monkeypatch):
    perturb, odd = FGSM.perturb, torch.from_numpy(X[5])

    def failing(self, search):
        if bool((search.x == odd).all(dim=1).any()):
            raise RuntimeError("too odd")
        return perturb(self, search)

    monkeypatch.setattr(FGSM, "perturb", failing)
    with pytest.warns(match="input 5 could not be attacked: RuntimeError: too odd") as caught:
        summary = run(clf, tmp_path / "run").summary
    assert {one.filename for one in caught} == {__file__}  # who called, not who was told
    monkeypatch.undo()
    for one in (summary, summarize_run(tmp_path / "run")):
        assert (one.attacked, one.complete, exit_code(one)) == (39, False, ExitCode.INCOMPLETE)
        assert [row.empirical for row in one.rows] == [None, None]
        assert one.head["errors"] == "attacks failed on 1 input: such inputs count as not attacked"
    found = status_of(tmp_path / "run")
    assert (found.finished, found.done["attack fgsm"], found.failed) == (False, 39, 1)
    assert found.errors == ((5, "attack fgsm: RuntimeError: too odd"),)
    checked = check_run(tmp_path / "run")
    assert not [one for one in checked.claims if one.standing is Standing.REFUTED]
    assert [one.subject for one in checked.claims if one.claim == "failed computation"] == ["input 5, fgsm"]
    whole, again = run(clf, None), run(clf, tmp_path / "run")
    assert [{**one.to_dict(), "seconds": 0} for one in again.findings] == [
        {**one.to_dict(), "seconds": 0} for one in whole.findings
    ]
    assert exit_code(again.summary) == ExitCode.DONE


def test_a_heartbeat_says_whether_its_process_lives(tmp_path):
    now = time.time()
    with Heartbeat(Quiet(), tmp_path, {"engine": "e"}, now=lambda: now) as heart:
        with pytest.warns(UserWarning, match="odd"):
            heart.warn("odd")
        with heart.stage("certifying", 10, 2) as advance:
            advance(3, "fine")
            assert last_beat(tmp_path)["alive"]
        said = last_beat(tmp_path)
        assert (said["stage"]["done"], said["warnings"], said["engine"]) == (5, ["odd"], "e")
    assert not last_beat(tmp_path)["alive"]
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    for change, alive in (
        ({"pid": int(dead.stdout)}, False),
        ({"host": "elsewhere"}, True),
        ({"pid": os.getpid()}, True),
        ({"beat": now - 1e6}, age() is None),  # of a process that was there before this one, and had its number
    ):
        text = {key: value for key, value in said.items() if key not in ("ended", "alive")} | change
        (tmp_path / HEARTBEAT).write_text(json.dumps(text))
        assert last_beat(tmp_path, now=now + 60)["alive"] is alive
        assert not last_beat(tmp_path, now=now + 1000)["alive"] or "host" not in change
    (tmp_path / HEARTBEAT).write_text(json.dumps({"pid": 1, "host": "elsewhere", "beat": 1e10}))
    assert not last_beat(tmp_path, now=2000.0)["alive"]  # a beat in the future is nobody's


def test_a_run_leaves_word_before_any_work_and_while_nothing_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "PAUSE", 0.01)
    words = []

    def beat():
        return last_beat(tmp_path / "run").get("beat")

    def model(x):
        before, until = beat(), time.monotonic() + 10
        while before and beat() == before and time.monotonic() < until:
            time.sleep(0.01)
        words.append((before, beat()))
        return (x[:, 1] > x[:, 0]).long()

    data, threat = Dataset("few", X[:4], Y[:4], 2), certify.ThreatModel("l2", (0.0,))
    chosen = {"certifiers": ["smoothing"], "options": {"sigma": 0.1, "n": 50}, "attack": None, "attack_option": {}}
    made = build(certify.Classifier(model, 2), data, threat, **chosen, seed=0)
    words.clear()  # the model was asked before the run, to check it
    made.run(tmp_path / "run")
    assert words
    assert all(before < after for before, after in words)


@pytest.mark.parametrize(
    ("raised", "ended"), [(RuntimeError("no"), "RuntimeError: no"), (KeyboardInterrupt(), "interrupted")]
)
def test_a_heartbeat_says_what_ended_its_run(clf, tmp_path, raised, ended):
    class Raising(Quiet):
        def detail(self, text):
            raise raised

    with pytest.raises(type(raised)):
        run(clf, tmp_path / "run", progress=Raising())
    assert last_beat(tmp_path / "run")["ended"] == ended


def test_what_is_no_heartbeat_is_no_word(tmp_path):
    whole = {"pid": 1, "host": "h", "beat": 1.0, "warnings": []}
    stage = {"what": "a", "total": 9, "done": 0, "unit": "b", "rate": 1.0, "note": ""}
    texts = [json.dumps(whole | {"stage": stage})]
    for change in (
        {"pid": "x"},
        {"pid": -1},
        {"beat": 1e18},
        {"beat": -1.0},
        {"warnings": 5},
        {"warnings": None},
        {"stage": stage | {"total": -1}},
        {"stage": stage | {"rate": "1"}},
    ):
        texts.append(json.dumps(whole | change))
    texts += ["", "[]", "[" * 200_000, texts[0].replace("9", "1e400"), texts[0].replace("1.0", "-1e400")]
    texts += [texts[0] + " " * 2**20, "\ud800"]
    for text in texts:
        (tmp_path / HEARTBEAT).write_bytes(text.encode("utf-8", "surrogatepass"))
        assert bool(last_beat(tmp_path)) == (text == texts[0]), text[:200]
    (tmp_path / HEARTBEAT).unlink()
    os.mkfifo(tmp_path / HEARTBEAT)
    assert last_beat(tmp_path) == {}


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "victim").write_text("precious")
    for name in (HEARTBEAT, f"{HEARTBEAT}.{os.getpid()}.tmp", f"{HEARTBEAT}.{os.getpid()}.part"):
        (tmp_path / name).symlink_to(tmp_path / "victim")
    with Heartbeat(Quiet(), tmp_path):
        pass
    assert (tmp_path / "victim").read_text() == "precious"
    assert last_beat(tmp_path)["ended"] == "at its end"


def test_a_hostile_folder_is_neither_finished_nor_watched_forever(clf, tmp_path, capsys):
    run(clf, tmp_path / "run")
    beat = {"pid": os.getpid(), "host": socket.gethostname(), "beat": time.time()}
    (tmp_path / "run" / HEARTBEAT).write_text(json.dumps(beat))
    assert main(["status", str(tmp_path / "run"), "--watch"]) == 0  # there is nothing left to wait for
    stage = {"what": "a", "total": 9, "done": 0, "unit": "b", "rate": 1e-320, "note": ""}
    (tmp_path / "run" / HEARTBEAT).write_text(json.dumps(beat | {"stage": stage}))
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as db:
        db.execute("DELETE FROM certificates WHERE position=3")
    assert "ETA -:--" in str(status_of(tmp_path / "run"))
    for position in ("abc", 1.5, b"3"):
        row = "method, settings, verdict, record FROM certificates WHERE position=0"
        with db:
            db.execute(f"INSERT INTO certificates SELECT ?, {row}", (position,))
        assert main(["status", str(tmp_path / "run")]) == 2
        assert "no position; restore it" in capsys.readouterr().err
        with db:
            db.execute("DELETE FROM certificates WHERE position=?", (position,))
    db.close()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    for change, code in (({"inputs": -1}, 2), ({"certifiers": [], "attack": None}, 3)):
        text = json.dumps(manifest | {"settings": manifest["settings"] | change})
        (tmp_path / "run" / "manifest.json").write_text(text)
        assert main(["status", str(tmp_path / "run")]) == code


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), (5, 5), ("2h", 7200), ("1.5m", 90), ("1d", 86400)])
def test_durations(text, seconds):
    assert duration("time-budget", text) == seconds
    given = {"model": "m", "data": "d", "radii": "0", "time-budget": text, "workers": 2}
    settings = Settings.of(given)
    assert settings.time_budget == seconds
    assert "time-budget" not in settings.given
    for wrong in ("2 weeks", "-1", 0, "nan"):
        with pytest.raises(BadInput, match="time-budget must be"):
            duration("time-budget", wrong)


@pytest.fixture
def instances(tmp_path):
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    for name, bound in (("safe", "(<= Y_0 -0.5)"), ("unsafe", "(>= Y_0 0.5)")):
        text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 1))"
        (tmp_path / f"{name}.vnnlib").write_text(f"{text}(assert {bound})")
    rows = ["net.onnx,safe.vnnlib,20", "net.onnx,unsafe.vnnlib,20", "net.onnx,none.vnnlib,20"]
    (tmp_path / "instances.csv").write_text("\n".join(rows))
    return tmp_path / "instances.csv"


def test_instances_are_decided_once_and_errors_again(instances, tmp_path, capsys):
    out = tmp_path / "answers.jsonl"
    command = ["verify", "--instances", str(instances), "--out", str(out), "--quiet"]
    assert main([*command, "--workers", "2", "--input-timeout", "1m"]) == 3
    shown = capsys.readouterr().out
    assert "3 instances: 1 sat, 1 unsat, 1 error" in shown
    assert main([*command, "--engine", "serial"]) == 3
    assert "3 instances: 1 sat, 1 unsat, 1 error" in capsys.readouterr().out
    assert "none.vnnlib" in shown
    lines = out.read_text().splitlines()
    out.write_text("\n".join([*lines[:-1], lines[-1][:20]]))  # a kill cut the last line
    (tmp_path / "none.vnnlib").write_text((tmp_path / "safe.vnnlib").read_text())
    found = verify_instances(read_instances(instances), out, Serial())
    assert [one.outcome for one in found] == ["unsat", "sat", "unsat"]
    assert found[1].witness
    again = verify_instances(read_instances(instances), out, Serial())
    assert again == found


def test_an_answer_is_kept_only_for_files_of_the_same_contents(instances, tmp_path):
    out, instances = tmp_path / "answers.jsonl", read_instances(instances)[:1]
    [safe] = verify_instances(instances, out, Serial())
    (tmp_path / "safe.vnnlib").write_text((tmp_path / "unsafe.vnnlib").read_text())
    [changed] = verify_instances(instances, out, Serial())
    other = tmp_path / "other"
    other.mkdir()
    for name in ("net.onnx", "unsafe.vnnlib"):
        (other / name.replace("unsafe", "safe")).write_bytes((tmp_path / name).read_bytes())
    (tmp_path / "safe.vnnlib").write_text("(assert")
    [elsewhere] = verify_instances([replace(instances[0], folder=other)], out, Serial())
    [broken] = verify_instances(instances, out, Serial())
    assert [one.outcome for one in (safe, changed, elsewhere, broken)] == ["unsat", "sat", "sat", "error"]


@pytest.mark.parametrize("text", ["my only copy", "line 1\nline 2", '{"network": "n"}\n', "\0"])
def test_a_file_that_is_not_one_of_answers_stays_as_it_is(instances, tmp_path, text):
    (tmp_path / "notes.txt").write_text(text)
    with pytest.raises(StoreError, match="holds no answers"):
        verify_instances(read_instances(instances), tmp_path / "notes.txt", Serial())
    assert (tmp_path / "notes.txt").read_text() == text


@pytest.mark.parametrize(
    "forged",
    [{"outcome": "banana"}, {"seconds": "x"}, {"network": ["a"]}, {"reason": 5}, {"timeout": True}, {"more": 1}],
)
def test_a_line_that_no_run_wrote_is_refused(instances, tmp_path, forged):
    out, instances = tmp_path / "answers.jsonl", read_instances(instances)[:1]
    verify_instances(instances, out, Serial())
    out.write_text(json.dumps({**json.loads(out.read_text()), **forged}) + "\n")
    with pytest.raises(StoreError, match="holds no answers"):
        verify_instances(instances, out, Serial())


def test_a_name_that_no_file_can_have_is_an_error_of_its_row(instances, tmp_path):
    rows = [replace(read_instances(instances)[0], network="n\0.onnx"), read_instances(instances)[0]]
    found = verify_instances(rows, tmp_path / "answers.jsonl", Serial())
    assert [one.outcome for one in found] == ["error", "unsat"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no instance"),
        ("a,b", "line 1: expected NET.onnx"),
        ("a,b,0", "above 0 seconds"),
        ("a,b,x", "expected"),
    ],
)
def test_instances_that_cannot_be_read_are_refused(tmp_path, text, words, capsys):
    (tmp_path / "i.csv").write_text(text)
    with pytest.raises(BadInput, match=words):
        read_instances(tmp_path / "i.csv")
    (tmp_path / "i.csv").write_text("a,b,1\na,b,1\n")
    with pytest.raises(BadInput, match="twice"):
        read_instances(tmp_path / "i.csv")
    (tmp_path / "out").write_text('{"some": "thing"}\n')
    with pytest.raises(StoreError, match="holds no answers"):
        verify_instances([], tmp_path / "out", Serial())
    assert main(["verify", "--instances", str(tmp_path / "i.csv")]) == 2
    capsys.readouterr()
    for option in ("--out", "--engine", "--workers", "--ray-address", "--input-timeout"):
        assert main(["verify", "n.onnx", "p.vnnlib", option, "2"]) == 2
        assert f"{option} goes with --instances" in capsys.readouterr().err


def test_a_model_on_threads_is_the_same(clf):
    before = torch.get_num_threads()
    assert [one.radius for one in run(clf, None, workers=1).certificates] == [
        one.radius for one in run(clf, None).certificates
    ]
    assert torch.get_num_threads() == before
