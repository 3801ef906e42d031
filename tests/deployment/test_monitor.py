"""``certify monitor`` on small runs: states, resumption, labels that come late, forged files, bad input."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from msgspec import structs

import certify
from certify.checker.life import level
from certify.cli import main
from certify.core.monitoring import Force, Header, Row
from certify.store.life_log import LifeLog

NETS = """
import torch
from torch import nn

def build():
    net = nn.Linear(2, 3)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 3.0], [1.8, 1.8]]))
        net.bias.zero_()
    return net.eval()
"""


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.uniform(0, 1, (n, 2)).astype(np.float32)
    y = (30 * x @ np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.6]]) + generator.gumbel(size=(n, 3))).argmax(1)
    return x, y


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("monitor")
    (folder / "monitor_nets.py").write_text(NETS)
    x, y = drawn(80, 0)
    np.savez(folder / "data.npz", x=x, y=y)
    lines = [f"{a:.4f},{b:.4f},{label}" for (a, b), label in zip(x.tolist(), y.tolist(), strict=True)]
    (folder / "table.csv").write_text("\n".join(["first,second,label", *lines]) + "\n")
    run = ["run", "--model", "monitor_nets:build", "--input-box", "0,1", "--quiet", "--attack", "none"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        common = [*run, "--radii", "0,0.02"]
        assert main([*common, "--data", "npz:data.npz", "--certifier", "crown", "--out", "bounds"]) == 0
        assert main([*common, "--data", "csv:table.csv", "--certifier", "ibp", "--out", "table"]) == 0
        noisy = [*run, "--data", "npz:data.npz", "--radii", "0,0.05", "--sigma", "0.1", "--n", "200"]
        assert main([*noisy, "--limit", "12", "--out", "noisy"]) == 0
        for name in ("bounds", "table"):
            assert main(["monitor", name, "--model", "monitor_nets:build", "--quiet"]) == 0
    return folder


@pytest.fixture(autouse=True)
def there(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(made))
    for name in ("bounds", "table", "noisy"):
        shutil.copytree(made / name, name)
    for file in [*made.glob("*.npz"), *made.glob("*.csv")]:
        shutil.copy(file, file.name)


MODEL = {"model": "monitor_nets:build"}
ASK = ["monitor", "bounds", "--model", "monitor_nets:build", "--quiet"]


@pytest.fixture
def begun(made):
    """A monitor of the run ``bounds`` that has seen nothing yet, in a file of that name."""

    def begin(state: str) -> certify.Monitor:
        shutil.copy(made / "bounds/monitor.jsonl", state)
        return certify.Monitor("bounds", state, **MODEL)

    return begin


def write_csv(file: str, x: np.ndarray, y=None, ids=None, times=None) -> None:
    names = ["id"] * (ids is not None) + ["time"] * (times is not None) + ["first", "second", "label"]
    lines = [",".join(names)]
    for place, row in enumerate(x.tolist()):
        cells = [*([ids[place]] if ids else []), *([times[place]] if times else []), *map(repr, row)]
        lines.append(",".join(map(str, [*cells, "" if y is None else y[place]])))
    Path(file).write_text("\n".join(lines) + "\n")


def told(file: str = "bounds/monitor.jsonl") -> bytes:
    return Path(file).read_bytes()


def test_a_stream_like_the_run_stays_in_force_and_another_does_not(capsys):
    x, y = drawn(60, 1)
    write_csv("stream.csv", x, y)
    assert main([*ASK, "--stream", "stream.csv", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["rows"], found["labels"]) == ("in force", 60, 60)
    assert [one["name"] for one in found["processes"]] == ["error", "certified", "margin"]
    write_csv("stream.csv", np.concatenate([x, x[:, ::-1]]), [*y, *((y + 1) % 3)])
    assert main([*ASK, "--stream", "stream.csv"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "expired after 120 inputs and 120 labels" in text
    assert "certify again first: row" in text
    assert "is at most 0.05" in text
    assert main(["check", "bounds/monitor.jsonl", "--quiet"]) == 0
    assert "the certificate is expired" in " ".join(capsys.readouterr().out.split())


def test_inputs_that_moved_put_it_in_doubt_and_are_named():
    x, _ = drawn(80, 2)
    near = 0.05 * x
    with certify.Monitor("bounds", **MODEL) as monitor:
        assert monitor.update(x[:40]).force is Force.IN_FORCE
        found = monitor.update(near)
    assert found.force is Force.IN_DOUBT
    margin = next(one for one in found.processes if one.name == "margin")
    assert 40 < margin.alarm.rows < 80
    assert margin.since <= 45
    assert sum(one.row > 40 for one in found.moved) >= 15
    assert found.labels == 0


def test_the_same_rows_twice_change_nothing(capsys):
    x, y = drawn(20, 3)
    write_csv("stream.csv", x, y)
    assert main([*ASK, "--stream", "stream.csv"]) == 0
    before, text = told(), capsys.readouterr().out
    assert main([*ASK, "--stream", "stream.csv"]) == 0
    assert main([*ASK]) == 0
    assert told() == before
    assert capsys.readouterr().out == 2 * text
    with certify.Monitor("bounds", **MODEL) as monitor:
        monitor.update(x[:5], y[:5], ids=[f"row {place + 1}" for place in range(5)])
    assert told() == before


@pytest.mark.parametrize("cut", [0, 1, 2, 9, 10])
def test_a_monitor_that_was_killed_goes_on_as_if_it_had_not_been(cut):
    x, y = drawn(10, 4)
    labels = [None if place % 3 else int(label) for place, label in enumerate(y)]
    write_csv("stream.csv", x, ["" if one is None else one for one in labels])
    assert main([*ASK, "--stream", "stream.csv"]) == 0
    whole = told()
    lines = whole.splitlines(keepends=True)
    torn = b"".join(lines[: cut + 1]) + (lines[cut + 1][:50] if cut < len(lines) - 1 else b"")
    Path("bounds/monitor.jsonl").write_bytes(torn)
    assert main([*ASK, "--stream", "stream.csv"]) == 0
    assert told() == whole


def test_a_growing_table_counts_as_far_as_its_lines_have_ended(begun):
    x, y = drawn(9, 5)
    write_csv("stream.csv", x, y)
    text = Path("stream.csv").read_text()
    end = text.rindex("\n", 0, -1)
    Path("stream.csv").write_text(text[: end + 6])  # the last line is being written
    with begun("grown.jsonl") as monitor:
        assert monitor.follow("stream.csv").rows == 8
        Path("stream.csv").write_text(text)
        assert monitor.follow("stream.csv").rows == 9
    with begun("at-once.jsonl") as monitor:
        monitor.follow("stream.csv")
    assert told("grown.jsonl") == told("at-once.jsonl")


def test_rows_one_by_one_are_rows_together():
    x, y = drawn(12, 6)
    with certify.Monitor("noisy", "one.jsonl", **MODEL) as monitor:
        shutil.copy("one.jsonl", "all.jsonl")
        for place in range(12):
            monitor.update(x[place : place + 1], [int(y[place])])
    with certify.Monitor("noisy", "all.jsonl", **MODEL) as monitor:
        monitor.update(x, y)
    assert told("one.jsonl") == told("all.jsonl")


def test_labels_come_late_in_any_order_and_some_never(begun):
    x, y = drawn(30, 7)
    ids = [f"input {place}" for place in range(30)]
    order = np.random.default_rng(0).permutation(30)[:20]
    with begun("late.jsonl") as monitor:
        monitor.update(x, ids=ids)
        found = monitor.label([ids[place] for place in order], y[order])
    assert (found.rows, found.labels) == (30, 20)
    with begun("fresh.jsonl") as monitor:
        now = monitor.update(x[order], y[order])
    late, at_once = (
        {one.name: (one.observed, one.failures, one.log_e) for one in report.processes} for report in (found, now)
    )
    assert (late["error"], late["certified"]) == (at_once["error"], at_once["certified"])
    write_csv("late.csv", x, None, ids)
    with Path("late.csv").open("a") as file:
        file.writelines(f"{ids[place]},,,{y[place]}\n" for place in order)
    with begun("table.jsonl") as monitor:
        again = monitor.follow("late.csv")
    assert again.processes == found.processes
    Path("labels.csv").write_text("id,label\n" + "".join(f"{ids[place]},{y[place]}\n" for place in order))
    with begun("two.jsonl") as monitor:
        monitor.update(x, ids=ids)
        assert monitor.follow("labels.csv").processes == found.processes


def test_a_rise_of_a_risk_is_told_by_its_labels(begun):
    x, y = drawn(80, 21)
    with begun("fresh.jsonl") as monitor:
        monitor.update(x)
        late = monitor.label([f"row {place}" for place in range(1, 81)], np.where(np.arange(80) < 30, y, (y + 1) % 3))
    [error] = [one for one in late.processes if one.name == "error"]
    assert 20 <= error.since < 45
    assert error.alarm.rows == 80
    assert f"error: the evidence grows from label {error.since + 1} on" in " ".join(late.table().split())


def test_inputs_that_nobody_can_read_are_counted_and_never_fine(begun):
    x, y = drawn(30, 8)
    x[10:] = np.nan
    with begun("fresh.jsonl") as monitor:
        found = monitor.update(x, y)
    assert found.unread == 20
    assert found.force is Force.EXPIRED
    named = {one.name: one for one in found.processes}
    assert named["error"].failures >= 20
    assert named["margin"].failures == 20
    assert "20 inputs could not be read" in found.table()
    json.loads(json.dumps(found.to_dict(), allow_nan=False))


def test_a_disk_that_was_full_for_a_while_loses_nothing(begun, monkeypatch):
    x, y = drawn(6, 20)
    with begun("full.jsonl") as monitor:
        with monkeypatch.context() as patch:
            patch.setattr(
                "certify.store.life_log._settle", lambda _: (_ for _ in ()).throw(OSError(28, "No space left"))
            )
            with pytest.raises(certify.CertifyError, match="cannot write full.jsonl"):
                monitor.update(x[:3], y[:3])
        monitor.update(x[3:], y[3:])
    with begun("never-full.jsonl") as monitor:
        monitor.update(x, y)
    assert told("full.jsonl") == told("never-full.jsonl")


def test_votes_radii_and_groups_are_watched(capsys):
    x, y = drawn(10, 9)
    watch = ["--watch", "error,p_A,radius", "--group", "label"]
    write_csv("stream.csv", x, y)
    ask = ["monitor", "noisy", "--model", "monitor_nets:build", "--quiet"]
    assert main([*ask, "--stream", "stream.csv", *watch, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [one["name"] for one in found["processes"]]
    assert names == ["error", "error in 0", "error in 1", "error in 2", "p_A", "radius"]
    seen = {one["name"]: one["observed"] for one in found["processes"]}
    assert seen["error"] == sum(seen[f"error in {label}"] for label in range(3)) == 10
    assert main(["check", "noisy/monitor.jsonl", "--quiet"]) == 0


def test_groups_have_names_of_their_own():
    x, y = drawn(8, 10)
    Path("groups.csv").write_text("index,kind\n" + "".join(f"{place},{'ab'[place % 2]}\n" for place in range(80)))
    with certify.Monitor("bounds", False, group="groups.csv:kind", watch=["error"], **MODEL) as monitor:
        found = monitor.update(x, y, groups=["a", "b"] * 4)
        assert [one.observed for one in found.processes] == [8, 4, 4]
        with pytest.raises(certify.CertifyError, match="group 'c' is none of the run's; they are a, b"):
            monitor.update(x[:1], y[:1], groups=["c"])


def test_json_lines_folders_and_standard_input_say_the_same(monkeypatch):
    x, y = drawn(6, 11)
    labels = [int(one) for one in y]
    lines = [{"columns": ["first", "second"], "box": [0, 1], "units": "input units"}]
    lines += [{"id": f"{place}.npy", "x": row, "label": labels[place]} for place, row in enumerate(x.tolist())]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    Path("stream.jsonl").write_text(text)
    Path("folder").mkdir()
    for place, row in enumerate(x):
        np.save(f"folder/{place}.npy", row)
    Path("folder/labels.csv").write_text("id,label\n" + "".join(f"{n}.npy,{one}\n" for n, one in enumerate(labels)))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    found = []
    for place, source in enumerate(("stream.jsonl", "folder", "-")):
        with certify.Monitor("bounds", f"{place}.jsonl", **MODEL) as monitor:
            found.append([one.log_e for one in monitor.follow(source).processes])
    assert found[0] == found[1] == found[2]
    assert told("0.jsonl") == told("2.jsonl")


def test_pages_and_files_for_machines(capsys):
    x, y = drawn(30, 12)
    write_csv("stream.csv", x, (y + 1) % 3)
    written = ["--html", "page.html", "--junit", "monitor.xml", "--prometheus", "monitor.prom"]
    assert main([*ASK, "--stream", "stream.csv", *written]) == 1
    page = Path("page.html").read_text()
    assert "State: expired" in page
    assert "<svg" in page
    assert "<script" not in page
    assert "src=" not in page
    suite = ElementTree.parse("monitor.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")
    lines = Path("monitor.prom").read_text().splitlines()
    assert 'certify_monitor_state{run="bounds"} 2' in lines
    assert any(line.startswith('certify_monitor_log10_e{run="bounds",process="error"} ') for line in lines)
    for format in ("markdown", "html", "latex", "junit"):
        capsys.readouterr()
        assert main([*ASK, "--format", format]) == 1
        assert "expired" in capsys.readouterr().out


def refusal(capsys, *arguments: str) -> str:
    capsys.readouterr()
    assert main([*arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_files_that_somebody_edited_are_refused(capsys):
    x, y = drawn(12, 13)
    write_csv("stream.csv", x, y)
    assert main([*ASK, "--stream", "stream.csv"]) == 0
    file, lines = Path("bounds/monitor.jsonl"), told().splitlines(keepends=True)
    for edited in (
        lines[:5] + lines[6:],  # one left out
        [*lines[:5], lines[6], lines[5], *lines[7:]],
        [*lines[:5], lines[5].replace(b'"label":', b'"label": '), *lines[6:]],
        [*lines[:-1], lines[-1].replace(b'"prediction":', b'"prediction":1')],
    ):
        file.write_bytes(b"".join(edited))
        assert "was edited" in refusal(capsys, *ASK)
        assert main(["check", str(file), "--quiet"]) == 1
    file.write_bytes(b"hello\n")
    assert "line 1 is none that certify monitor" in refusal(capsys, *ASK)


def rewritten(change) -> None:
    """The file with all digests made anew, after a change of its events."""
    log = LifeLog("bounds/monitor.jsonl")
    events = [change(event) for _, event in log.read()]
    Path("bounds/monitor.jsonl").unlink()
    LifeLog("bounds/monitor.jsonl").append(events)


def test_files_whose_digests_were_made_anew_still_have_to_follow(capsys):
    x, y = drawn(12, 14)
    write_csv("stream.csv", x, (y + 1) % 3)
    assert main([*ASK, "--stream", "stream.csv"]) == 1
    kept = told()

    def quieter(event):
        return structs.replace(event, log_e=dict.fromkeys(event.log_e, 0.0)) if isinstance(event, Row) else event

    def wider(event):
        if not isinstance(event, Header):
            return event
        watched = {
            name: one if one.tolerance is None else structs.replace(one, tolerance=0.9)
            for name, one in event.watched.items()
        }
        return structs.replace(event, watched=watched)

    def right(event):
        return structs.replace(event, label=event.prediction) if isinstance(event, Row) else event

    for change, said in (
        (quieter, "e-values are others"),
        (wider, "is not the upper limit"),
        (right, "e-values are others"),
    ):
        Path("bounds/monitor.jsonl").write_bytes(kept)
        rewritten(change)
        assert said in refusal(capsys, *ASK)
        assert main(["check", "bounds/monitor.jsonl", "--quiet"]) == 1


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda header: {"classes": 99}, "number of classes"),
        (lambda header: {"features": 3}, "number of features"),
        (lambda header: {"certifier": {**header.certifier, "method": "ibp"}}, "certifier"),
        (lambda header: {"threat": {**header.threat, "radii": [0.0, 0.5]}}, "threat"),
        (
            lambda header: {
                "watched": {
                    name: structs.replace(one, inputs=79, scores=one.scores[:79], stated=one.tolerance is not None)
                    for name, one in header.watched.items()
                }
            },
            "number of inputs",
        ),
    ],
)
def test_a_header_that_is_not_about_the_run_at_hand_is_refused(other, said, capsys):
    rewritten(lambda event: structs.replace(event, **other(event)))
    assert f"the {said} is another one" in refusal(capsys, *ASK)


def test_levels_that_vanish_and_tolerances_without_an_inverse_are_none(capsys):
    def change(header, alpha, **fields):
        watched = {name: structs.replace(one, alpha=level(alpha, 3)) for name, one in header.watched.items()}
        watched["error"] = structs.replace(watched["error"], **fields)
        return structs.replace(header, alpha=alpha, watched=watched)

    kept = told()
    for fields in ({"alpha": 5e-324}, {"alpha": 0.05, "tolerance": 1e-310, "stated": True}):
        Path("bounds/monitor.jsonl").write_bytes(kept)
        rewritten(lambda header, fields=fields: change(header, **fields))
        assert "was not begun by a monitor" in refusal(capsys, *ASK)
        assert main(["check", "bounds/monitor.jsonl", "--quiet"]) == 1


def test_numbers_of_a_file_are_as_they_were_written(capsys):
    x, y = drawn(3, 15)
    write_csv("stream.csv", x, y)
    assert main([*ASK, "--stream", "stream.csv"]) == 0
    lines = told().splitlines()
    text = lines[2][len('{"chain":"') + 64 + len('","event":') : -1]
    twice = text.replace(b'{"type":"row",', b'{"type":"row","id":"row 9",')
    before = lines[1][len('{"chain":"') : len('{"chain":"') + 64]
    chain = hashlib.sha256(before + twice).hexdigest().encode()
    lines[2] = b'{"chain":"' + chain + b'","event":' + twice + b"}"
    Path("bounds/monitor.jsonl").write_bytes(b"\n".join(lines[:3]) + b"\n")
    assert "is not written as" in refusal(capsys, *ASK)


def test_a_file_of_another_run_is_refused(capsys):
    x, y = drawn(3, 16)
    write_csv("stream.csv", x, y)
    assert main([*ASK, "--stream", "stream.csv"]) == 0
    other = ["monitor", "noisy", "--model", "monitor_nets:build", "--state", "bounds/monitor.jsonl"]
    assert "is about another run" in refusal(capsys, *other)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("first,third,label\n0.1,0.2,0\n", "has other columns than the run: it lacks second"),
        ("second,first,label\n0.1,0.2,0\n", "'second' stands where 'first' should"),
        ("first,second,more,label\n0.1,0.2,1,0\n", "it has more as well"),
        ("first,second,label\n0.1,25,0\n", "row 1: values range from 0.1 to 25, outside the declared input box"),
        ("first,second,label\n0.1,0.2,3\n", "label 3 is no class of the run; they are 0 to 2"),
        ("first,second,label\n0.1,0.2,cat\n", "label cat is no class of the run"),
        ("first,second,label\n0.1,x,0\n", "row 1: 'x' is no number"),
        ("first,second,label\n0.1,0.2\n", "row 1 has 2 columns, the header names 3"),
        ("time,first,second\n2,0.1,0.2\n1,0.1,0.2\n", "row 2: time 1 is before 2"),
        ("time,first,second\n2026-11-30,0.1,0.2\n2026-11-29T10:00,0.1,0.2\n", "is before 2026-11-30"),
        ("time,first,second\nnoon,0.1,0.2\n", "time 'noon' is no number and no ISO 8601 date"),
        ("id,first,second\na,0.1,0.2\na,0.1,0.3\n", "row 2: 'a' had other values before"),
        ("id,first,second,label\na,0.1,0.2,1\na,0.1,0.2,2\n", "the label of 'a' was 1, and is 2 now"),
        ("id,first,second,label\nb,,,1\n", "a label of 'b', which is no input so far"),
        ("id,first,second\n,0.1,0.2\n", "row 1 has no id"),
        ("label\n1\n", "holds no features"),
        (f"first,{'s' * 200_000}\n", "is no table of text"),
        ('first,second,id\n0.1,0.2,"a\n', "is no table of text"),
        (f'{{"x": [{"9" * 400}, 0.2]}}\n', "x is no array of numbers"),
        (f'{{"x": [0.1, 0.2], "label": {"9" * 400}}}\n', "is no class of the run"),
        ('{"x": [0.1, 0.2], "id": null}\n', "row 1 has no id"),
        ('{"x": [0.1, 0.2], "id": "\\ud800"}\n', "half of a surrogate pair"),
        ("first,first\n0.1,0.2\n", "two columns of one name"),
        ('{"x": [0.1, 0.2, 0.3]}\n', "row 1 has 3 features, the inputs of the run have 2"),
        ('{"x": [0.1, "a"]}\n', "x is no array of numbers"),
        ('{"x": [0.1, 0.2]\n', "is no JSON"),
        ('{"x": [0.1, 0.2], "y": 1}\n', "has a field 'y'"),
        ('{"units": "pixels"}\n', "is in 'pixels', the run in 'input units'"),
        ('{"box": [0, 255]}\n', "states the input box [0, 255], the run has [0, 1]"),
        ('{"columns": ["second", "first"]}\n', "'second' stands where 'first' should"),
    ],
)
def test_streams_of_something_else_are_refused_in_one_line(text, said, capsys):
    Path("stream").write_text(text)
    ask = ["monitor", "table", "--model", "monitor_nets:build", "--quiet", "--stream", "stream"]
    assert said in refusal(capsys, *ask)
    assert main(["check", "table/monitor.jsonl", "--quiet"]) == 0 or "no features" in said or "twice" in said


def test_a_stream_that_changes_its_columns_is_refused(capsys):
    Path("stream.csv").write_text("one,two\n0.1,0.2\n")
    assert main([*ASK, "--stream", "stream.csv"]) == 0
    Path("stream.csv").write_text("two,one\n0.1,0.2\n")
    assert "other columns than before" in refusal(capsys, *ASK, "--stream", "stream.csv")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--stream", "nowhere.csv"], "there is no file or folder nowhere.csv"),
        (["--stream", "/dev/null"], "cannot be read"),
        (["--watch", "accuracy"], "accuracy"),
        (["--watch", "p_A"], "watch margin"),
        (["--watch", "error,error"], "each once"),
        (["--alpha", "0"], "alpha must lie strictly between 0 and 1"),
        (["--alpha", "nan"], "alpha"),
        (["--alpha", "5e-324"], "too small to be shared"),
        (["--tolerance", "error=1e-310"], "lies strictly between 0 and 1"),
        (["--tolerance", "error=1"], "lies strictly between 0 and 1"),
        (["--tolerance", "error=few"], "is no number"),
        (["--tolerance", "recall=0.1"], "recall"),
        (["--radius", "-1"], "a radius is a finite number"),
        (["--radius", "0.9"], "so that no stream can be worse"),
        (["--group", "kind"], "unknown group"),
        (["--format", "yaml"], "yaml"),
        (["--html", "nowhere/page.html"], "there is no folder nowhere"),
        (["--prometheus", "bounds/monitor.jsonl"], "--state and --prometheus both name"),
        (["--state", "bounds/run.sqlite"], "would overwrite what is read"),
        (["--state", "data.npz"], "line 1 is none that certify monitor"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(more, said, capsys):
    Path("bounds/monitor.jsonl").unlink()
    assert said in refusal(capsys, *ASK, *more)
    assert not Path("bounds/monitor.jsonl").exists()


def test_a_monitor_keeps_what_it_was_begun_with(capsys):
    Path("bounds/monitor.jsonl").unlink()
    assert main([*ASK, "--alpha", "0.01", "--tolerance", "error=0.2"]) == 0
    assert "was begun with alpha 0.01, not 0.05" in refusal(capsys, *ASK, "--alpha", "0.05")
    assert "was begun with watch" in refusal(capsys, *ASK, "--watch", "error")
    assert "was begun with tolerance" in refusal(capsys, *ASK, "--tolerance", "error=0.3")
    assert "was begun with radius 0.02, not 0.01" in refusal(capsys, *ASK, "--radius", "0.01")
    assert main([*ASK, "--alpha", "0.01", "--tolerance", "error=0.2", "--radius", "0.02"]) == 0


def test_a_run_that_is_not_finished_has_nothing_in_force(capsys):
    run = ["run", "--model", "monitor_nets:build", "--input-box", "0,1", "--data", "npz:data.npz", "--radii", "0,0.02"]
    assert main([*run, "--certifier", "ibp", "--attack", "none", "--out", "part", "--quiet"]) == 0
    store = sqlite3.connect("part/run.sqlite")
    with store:
        store.execute("DELETE FROM certificates WHERE position > 40")
    store.close()
    capsys.readouterr()
    assert main(["monitor", "part", "--model", "monitor_nets:build", "--quiet"]) == 3
    assert "part is incomplete" in capsys.readouterr().err
    assert not Path("part/monitor.jsonl").exists()


def test_a_closed_monitor_takes_in_nothing(begun):
    x, y = drawn(3, 18)
    with begun("fresh.jsonl") as monitor:
        monitor.update(x)
    with certify.Monitor("bounds", "fresh.jsonl", **MODEL) as other:
        other.update(x, y, ids=["a", "b", "c"])
        with pytest.raises(certify.CertifyError, match="was closed"):
            monitor.update(x)
        assert other.report().rows == 6


def test_a_file_that_somebody_shortened_meanwhile_is_not_filled_up(begun):
    x, _ = drawn(4, 22)
    with begun("fresh.jsonl") as monitor:
        monitor.update(x[:2])
        short = told("fresh.jsonl")[:-40]
        Path("fresh.jsonl").write_bytes(short)
        with pytest.raises(certify.CertifyError, match="was shortened meanwhile"):
            monitor.update(x[2:])
    assert told("fresh.jsonl") == short


@pytest.mark.parametrize(
    "place", ["certify.deployment.monitor.monitor.structs.replace", "certify.store.life_log._settle"]
)
def test_an_interrupt_between_two_steps_leaves_a_whole_life(begun, monkeypatch, place):
    x, y = drawn(6, 19)
    with begun("fresh.jsonl") as monitor:
        monitor.update(x[:2], y[:2])
        with monkeypatch.context() as patch:
            patch.setattr(place, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                monitor.update(x[2:4], y[2:4])
        rows = monitor.report().rows
        assert rows in (2, 4)
        monitor.update(x[rows:], y[rows:])
        chain = monitor.report().chain
    with begun("other.jsonl") as other:
        assert other.update(x, y).chain == chain
    assert certify.Monitor("bounds", "fresh.jsonl", **MODEL).report().rows == 6


def test_classes_that_only_the_stream_has_are_named():
    x, y = drawn(80, 0)
    np.savez("two.npz", x=x[y != 1], y=y[y != 1])
    run = ["run", "--model", "monitor_nets:build", "--input-box", "0,1", "--data", "npz:two.npz", "--radii", "0,0.02"]
    assert main([*run, "--certifier", "ibp", "--attack", "none", "--out", "two", "--quiet"]) == 0
    with certify.Monitor("two", group="label", **MODEL) as monitor:
        found = monitor.update(x[:9], y[:9])
    assert "error in 1" not in [one.name for one in found.processes]
    assert any("Of label 1 the run has no input" in text for text in found.statement)


def test_two_monitors_do_not_write_one_file():
    with (
        certify.Monitor("bounds", **MODEL),
        pytest.raises(certify.CertifyError, match="another process is at work"),
    ):
        certify.Monitor("bounds", **MODEL)


def test_arrays_that_do_not_fit_are_refused(begun):
    x, y = drawn(3, 17)
    with begun("fresh.jsonl") as monitor:
        with pytest.raises(certify.CertifyError, match="y has 2 entries for 3 inputs"):
            monitor.update(x, y[:2])
        with pytest.raises(certify.CertifyError, match="there are 3 labels for 1 ids"):
            monitor.label(["a"], y)
        with pytest.raises(certify.CertifyError, match="input 1: time 1 is before 2"):
            monitor.update(x, times=[2, 1, 3])
        assert monitor.report().rows == 1
