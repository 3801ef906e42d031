"""Studies: the same records however they were made, and settings that are refused before any work."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from certify.certifiers.base import Certifier
from certify.core.certificate import Certificate
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.data.dataset import Dataset
from certify.errors import BadInput, DataError, StoreError, UnsupportedOperator
from certify.models.classifier import Classifier
from certify.progress.observer import Quiet
from certify.store.run_folder import RunFolder
from certify.study.evaluate import build, evaluate, study_from
from certify.study.read import merge, summarize_run
from certify.study.settings import Settings, read_toml
from certify.study.study import Study

X = np.random.default_rng(0).uniform(0, 1, (70, 6)).astype(np.float32)
Y = (X[:, :3].sum(1) < X[:, 3:].sum(1)).astype(np.int64)


class Sorted(nn.Module):
    """No rule covers it."""

    def forward(self, x):
        return x.sort(1).values


@pytest.fixture(scope="module")
def clf() -> Classifier:
    module = nn.Linear(6, 2, bias=False).eval()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]))
    return Classifier(module, num_classes=2, name="halves")


THREAT = ThreatModel("l2", (0.0, 0.1, 0.3))


ARGUMENTS = {
    "certifiers": ["smoothing"],
    "attack": "pgd",
    "attack_option": {"steps": 5, "restarts": 1},
    "seed": 7,
    "options": {"sigma": 0.25, "n": 300, "n0": 10, "schedule": "fixed"},
}


def study(clf: Classifier, **changes) -> Study:
    return build(clf, Dataset("points", X, Y, 2), THREAT, **{**ARGUMENTS, **changes})


def plain(records) -> list[dict]:
    """Records without the time they took."""
    return [{key: value for key, value in record.to_dict().items() if key != "seconds"} for record in records]


@pytest.fixture(scope="module")
def whole(clf):
    """The uninterrupted run that all others must equal."""
    return study(clf).run()


def test_the_join_brackets_each_input(whole):
    summary = whole.summary
    assert summary.n == 70
    assert summary.contradictions == ()
    for row in summary.rows:
        assert row.certified <= row.empirical <= summary.clean
    # The boundary of this linear model is known: |difference of the sums| / sqrt(6).
    true = np.abs(X[:, :3].sum(1) - X[:, 3:].sum(1)) / np.sqrt(6)
    for certificate, finding in zip(whole.certificates, whole.findings, strict=True):
        if certificate.radius is not None:
            assert certificate.radius <= true[certificate.index] * 1.0001
        if finding.distance is not None:
            assert finding.distance >= true[certificate.index] * 0.9
    assert summary.rows[1].certified > 0.3
    assert summary.rows[2].empirical < summary.rows[0].empirical


class Interrupting(Quiet):
    """Raises at the k-th advance, as a person pressing Ctrl-C would."""

    def __init__(self, after: int) -> None:
        self.left = after

    def stage(self, what, total, done=0, unit="inputs"):
        outer = self

        class Stage:
            def __enter__(self):
                return self.advance

            def __exit__(self, *_):
                return None

            def advance(self, count, note):
                outer.left -= 1
                if outer.left < 0:
                    raise KeyboardInterrupt

        return Stage()


def test_interrupted_anywhere_and_resumed_the_records_are_the_same(clf, whole, tmp_path):
    for after in (0, 3, 69, 71):
        out = tmp_path / str(after)
        with pytest.raises(KeyboardInterrupt):
            study(clf).run(out, Interrupting(after))
        assert not summarize_run(out).complete
        resumed = study(clf).run(out)
        assert plain(resumed.certificates) == plain(whole.certificates)
        assert plain(resumed.findings) == plain(whole.findings)
        assert summarize_run(out).to_dict()["rows"] == whole.summary.to_dict()["rows"]


def test_inputs_that_advance_together_are_kept_together(clf, tmp_path):
    declared = {"options": {"sigma": 0.25, "n": 3000}, "attack": None, "attack_option": {}}
    whole = study(clf, **declared).run()
    assert len({one.forward_passes for one in whole.certificates}) > 5
    with pytest.raises(KeyboardInterrupt):
        study(clf, **declared).run(tmp_path / "run", Interrupting(2))
    with RunFolder.open(tmp_path / "run") as folder:
        assert len(folder.records.certificates()) == 48
    assert plain(study(clf, **declared).run(tmp_path / "run").certificates) == plain(whole.certificates)
    paths = [tmp_path / f"part{i}" for i in range(2)]
    for number, path in enumerate(paths):
        study(clf, **declared, shard=(number, 2)).run(path)
    merge(paths, tmp_path / "all")
    with RunFolder.open(tmp_path / "all") as folder:
        assert plain(folder.records.certificates()) == plain(whole.certificates)


def test_shards_merge_into_the_same_records(clf, whole, tmp_path):
    paths = [tmp_path / f"part{i}" for i in range(3)]
    for number, path in enumerate(paths):
        result = study(clf, shard=(number, 3)).run(path)
        assert result.summary.complete
    merge(paths, tmp_path / "all")
    with RunFolder.open(tmp_path / "all") as folder:
        assert plain(folder.records.certificates()) == plain(whole.certificates)
        assert plain(folder.records.findings()) == plain(whole.findings)
    (tmp_path / "killed").mkdir()  # while it made its file
    shutil.copy(tmp_path / "all" / "manifest.json", tmp_path / "killed")
    (tmp_path / "killed" / "run.sqlite").touch()
    merge(paths, tmp_path / "killed")
    assert summarize_run(tmp_path / "killed").complete
    merge(paths[:2], tmp_path / "some")
    assert not summarize_run(tmp_path / "some").complete
    study(clf, seed=8).run(tmp_path / "other")
    with pytest.raises(BadInput, match="not shards of one run .*seed is 7 there, 8 now"):
        merge([paths[0], tmp_path / "other"], tmp_path / "none")


def test_copies_of_a_record_that_do_not_agree_are_refused_and_named(clf, tmp_path):
    """Of a shard twice, of a shard and the full run, and of a shard and what was merged before."""
    parts = [tmp_path / "part0", tmp_path / "part1"]
    quick = {"attack": None, "attack_option": {}}
    for number, path in enumerate(parts):
        study(clf, shard=(number, 2), **quick).run(path)
    study(clf, **quick).run(tmp_path / "full")
    merge([parts[0], tmp_path / "full", parts[1]], tmp_path / "same")  # copies that agree are one record
    changed = shutil.copytree(parts[0], tmp_path / "changed")
    with closing(sqlite3.connect(changed / "run.sqlite")) as db, db:
        db.execute("UPDATE certificates SET record=json_set(record, '$.forward_passes', 7) WHERE position=3")
    for others in ([parts[0]], [tmp_path / "full"]):
        with pytest.raises(BadInput, match=r"do not agree about input 3 \(smoothing certificate\): find out which"):
            merge([changed, *others], tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(BadInput, match=r"same and .*changed do not agree about input 3"):
        merge([changed], tmp_path / "same")


def test_a_resume_under_other_versions_says_so(clf, tmp_path):
    class Told(Quiet):
        def __init__(self):
            self.said = []

        def announce(self, text):
            self.said.append(text)

    quick = {"attack": None, "attack_option": {}}
    study(clf, **quick).run(tmp_path / "run")
    study(clf, **quick).run(tmp_path / "run", same := Told())
    assert not any("was begun under" in text for text in same.said)
    file = tmp_path / "run" / "manifest.json"
    fields = json.loads(file.read_text())
    fields["context"]["versions"]["certify"] = "0.0.1"
    file.write_text(json.dumps(fields))
    study(clf, **quick).run(tmp_path / "run", told := Told())
    [line] = [text for text in told.said if "was begun under" in text]
    assert "certify 0.0.1, now" in line


def test_records_whose_manifest_is_lost_belong_to_no_other_command(clf, tmp_path):
    quick = {"attack": None, "attack_option": {}}
    study(clf, **quick).run(tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    for seed in (7, 8):
        with pytest.raises(StoreError, match="manifest.json is lost: restore it, or use another --out"):
            study(clf, seed=seed, **quick).run(tmp_path / "run")
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_few_inputs_that_each_may_take_minutes_are_shared(clf, tmp_path):
    def part(certifier, shard):
        options = {"gap": 0.5} if certifier == "complete" else {}
        few, threat = Dataset("few", X[:5], Y[:5], 2), ThreatModel("linf", (0.0, 0.1))
        chosen = {"certifiers": [certifier], "options": options, "attack": "fgsm", "attack_option": {}}
        return build(clf, few, threat, **chosen, seed=7, shard=shard)

    paths = [tmp_path / "0", tmp_path / "1"]
    parts = [part("complete", (number, 2)).run(path) for number, path in enumerate(paths)]
    assert [[one.index for one in made.certificates] for made in parts] == [[0, 2, 4], [1, 3]]
    whole = part("complete", (0, 1)).run()
    merge(paths, tmp_path / "all")
    with RunFolder.open(tmp_path / "all") as folder:
        assert plain(folder.records.certificates()) == plain(whole.certificates)
        assert plain(folder.records.findings()) == plain(whole.findings)
    assert part("crown", (0, 2)).expected == 5
    assert [study(clf, shard=(number, 3)).expected for number in range(3)] == [32, 32, 6]
    assert (part("crown", (1, 2)).expected, part("crown", (1, 2)).run().certificates) == (0, [])


def test_a_folder_with_other_settings_is_refused(clf, tmp_path):
    study(clf).run(tmp_path)
    with pytest.raises(StoreError, match="certifiers.0.n is 300 there, 301 now"):
        study(clf, options={"sigma": 0.25, "n": 301, "n0": 10, "schedule": "fixed"}).run(tmp_path)
    with pytest.raises(StoreError, match="attack"):
        study(clf, attack=None, attack_option={}).run(tmp_path)


def test_batch_size_may_differ_at_a_resume(clf, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        study(clf).run(tmp_path, Interrupting(20))
    options = {"sigma": 0.25, "n": 300, "n0": 10, "schedule": "fixed", "batch_size": 7}
    assert plain(study(clf, options=options).run(tmp_path).certificates) == plain(whole.certificates)


def test_memory_may_differ_at_a_resume(clf, tmp_path):
    threat = ThreatModel("linf", (0.0, 0.05))
    first, again = (
        evaluate(clf, (X, Y), threat=threat, certifier=["ibp", "crown"], out=tmp_path, max_memory=given)
        for given in (None, 1)
    )
    assert plain(first.certificates) == plain(again.certificates)
    with pytest.raises(BadInput, match="max_memory is in bytes"):
        evaluate(clf, (X, Y), threat=threat, certifier="ibp", max_memory=0)


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_model_file_states_how_many_classes_it_has(kind, tmp_path):
    """Data that lack the last classes say less."""
    weight = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    file = tmp_path / f"net.{kind}"
    if kind == "onnx":
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", k]) for name, k in (("x", 6), ("y", 5)))
        product = helper.make_node("Gemm", ["x", "W"], ["y"], transB=1)
        graph = helper.make_graph([product], "net", [x], [y], [numpy_helper.from_array(weight, "W")])
        opsets = [helper.make_opsetid("", 13)]
        file.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    else:
        module = nn.Linear(6, 5, bias=False).requires_grad_(False)
        module.weight.copy_(torch.from_numpy(weight))
        batch = ({0: torch.export.Dim("batch")},)
        torch.export.save(torch.export.export(module.eval(), (torch.zeros(2, 6),), dynamic_shapes=batch), file)
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    given = {"model": str(file), "data": f"npz:{tmp_path / 'data.npz'}", "radii": "0,0.01", "certifier": "ibp"}
    result = study_from(Settings.of({**given, "limit": 8, "max-memory": "1M"})).run()
    assert len(result.certificates) == 8
    assert {len(one.evidence.margins) for one in result.certificates if one.evidence is not None} == {4}
    np.savez(tmp_path / "data.npz", x=X, y=Y + 5)
    with pytest.raises(DataError, match="the model's classes are 0 to 4"):
        study_from(Settings.of(given))


def test_the_derived_seed_depends_on_everything(clf):
    seeds = {
        study(clf, seed=None).seed,
        study(clf, seed=None, options={"sigma": 0.26, "n": 300, "n0": 10}).seed,
        study(clf, seed=None, attack_option={"steps": 6, "restarts": 1}).seed,
    }
    assert len(seeds) == 3
    # What results do not depend on, or defaults in words, are no way to shop for a seed.
    same = [
        {"sigma": 0.25},
        {"sigma": 0.25, "batch_size": 7},
        {"sigma": 0.25, "n0": 7},
        {"sigma": 0.25, "alpha": 0.001, "schedule": "declared", "noise": "gaussian"},
    ]
    assert len({study(clf, seed=None, options=options).seed for options in same}) == 1
    assert study(clf, seed=None).seed == study(clf, seed=None).seed
    renamed = build(clf, Dataset("points", X, Y, 2), replace(THREAT, units="grey levels"), **ARGUMENTS | {"seed": None})
    assert renamed.seed == study(clf, seed=None).seed
    assert renamed.manifest().context["seed"] == "derived from model, data and settings"
    assert study(clf, seed=3).manifest().context["seed"] == "given"


class Failing(Certifier):
    """A certifier whose computation fails on every third group."""

    method = "failing"

    def settings(self):
        return {"method": self.method}

    def describe(self, threat, shape, property):
        return "fails"

    def check(self, classifier, threat, x):
        pass

    def certify(self, classifier, batch, threat):
        if batch.index[0] % 3 == 0:
            raise RuntimeError("out of memory\nwith details")
        yield from evaluate(
            classifier, (batch.x, np.array(batch.labels)), threat=threat, sigma=0.25, n=100
        ).certificates


def test_a_failed_computation_is_an_error_not_an_undecided_input(clf):
    broken = replace(study(clf, attack=None, attack_option={}), certifiers=(Failing(),))
    certificates: list[Certificate] = broken.run().certificates
    failed = [one for one in certificates if one.verdict is Verdict.ERROR]
    assert [one.index for one in failed] == list(range(0, 70, 3))
    assert failed[0].reason == "RuntimeError: out of memory"
    assert failed[0].radius is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"certifiers": ["smothing"]}, "did you mean 'smoothing'"),
        ({"certifiers": ["smoothing", "ibp"]}, "make two runs|no setting 'sigma'"),
        ({"certifiers": ["ibp"]}, "'ibp' has no setting 'sigma'"),
        ({"options": {}}, "sigma must be a number, the scale of gaussian noise"),
        ({"attack": "pdg"}, "did you mean 'pgd'"),
        ({"attack_option": {"step": 3}}, "did you mean 'steps'"),
        ({"certifiers": []}, "needs a certifier"),
    ],
)
def test_settings_that_cannot_be_right(clf, changes, words):
    with pytest.raises(BadInput, match=words) as refused:
        study(clf, **changes)
    assert "\n" not in str(refused.value)


def test_toml_keys_are_the_flags(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(
        'model = "m"\ndata = "digits"\nradii = [0, 0.5]\nsigma = 0.25\ncertifier = ["ibp", "crown"]\n'
        "batch-size = 7\n[attack-option]\nsteps = 3\n"
    )
    settings = Settings.of(read_toml(file))
    assert (settings.radii, settings.certifier) == ((0.0, 0.5), ("ibp", "crown"))
    assert (settings.option["certifier.batch_size"], settings.attack_option) == (7, {"steps": 3})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sgima": 0.25}, "unknown setting 'sgima'; did you mean 'sigma'"),
        ({"radii": "0,x"}, "radii must be numbers"),
        ({"radii": ""}, "radii must be numbers"),
        ({"model": 3}, "model must be text"),
        ({"certifier": []}, "certifier must be one name"),
        ({"attack-option": 3}, "must be a table"),
        ({"model": None}, "no model given"),
        ({"radii": []}, "no radii declared"),
    ],
)
def test_settings_are_checked_by_kind(given, words):
    with pytest.raises(BadInput, match=words):
        Settings.of({"model": "m", "data": "d", "radii": "0", **given} if given.get("model", 1) else {"radii": "0"})


def test_shards_are_counted_from_zero():
    assert Settings.of({"model": "m", "data": "d", "radii": "0", "shard": "3/4"}).shard_of == (3, 4)
    for wrong in ("4/4", "1", "-1/4", "a/b", "1/0"):
        with pytest.raises(BadInput, match="not i/n"):
            _ = Settings.of({"model": "m", "data": "d", "radii": "0", "shard": wrong}).shard_of


def test_study_files_that_cannot_be_read(tmp_path):
    with pytest.raises(BadInput, match="cannot read study"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("radii = [0,\n=")
    with pytest.raises(BadInput, match=r"not a valid TOML file: .*line 2"):
        read_toml(tmp_path / "bad.toml")


def test_attack_settings_reach_the_findings(whole):
    assert whole.findings[0].settings["steps"] == 5
    assert whole.findings[0].settings["sigma"] == 0.25


def test_an_operator_without_a_rule_is_refused_before_a_folder_is_made(tmp_path):
    shrunk = Classifier(nn.Sequential(nn.Linear(6, 2), Sorted()).eval(), num_classes=2)
    with pytest.raises(UnsupportedOperator, match="sort.*has no rule.*use smoothing"):
        evaluate(shrunk, (X, Y), threat=ThreatModel("linf", (0.1,)), certifier="crown", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
