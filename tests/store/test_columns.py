"""Tables counted from columns of the file say what tables counted from whole records say."""

from __future__ import annotations

import json
import sqlite3
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import certify
from certify.core.certificate import RECORD, Certificate
from certify.core.evidence import EVIDENCE, Evidence
from certify.core.finding import Finding
from certify.core.properties.top_k import TopK
from certify.core.summary import Summary
from certify.errors import StoreError
from certify.store.columns import read_certificates, read_findings
from certify.store.run_folder import RunFolder
from certify.study.read import summarize_run
from certify.summary.columns import certificate_columns, finding_columns
from certify.summary.summarize import summarize, tabulate

X = np.random.default_rng(0).uniform(0, 1, (12, 2)).astype(np.float32)
Y = (X[:, 1] > X[:, 0]).astype(int)
Y[3] = 1 - Y[3]
METHODS = {
    "smoothing": ("l2", {"certifier": "smoothing", "sigma": 0.25, "n": 2000, "attack": "pgd"}),
    "draws": ("l2", {"certifier": "smoothing", "sigma": 0.25, "n": 2000, "n0": 50, "selection": "draws"}),
    "proofs": ("linf", {"certifier": ["ibp", "crown"], "attack": "fgsm"}),
    "complete": ("linf", {"certifier": "complete", "timeout": 5.0, "gap": 0.1}),
}


@pytest.fixture(scope="module", params=METHODS)
def run(request, tmp_path_factory, linear_classifier) -> Path:
    norm, options = METHODS[request.param]
    out = tmp_path_factory.mktemp("columns") / request.param
    threat = certify.ThreatModel(norm, (0.0, 0.05, 0.1))
    certify.evaluate(linear_classifier, (X, Y), threat=threat, seed=0, out=out, **options)
    return out


@pytest.fixture(scope="module")
def linear_classifier() -> certify.Classifier:
    import torch

    module = torch.nn.Linear(2, 2, bias=False).requires_grad_(False).eval()
    module.weight.copy_(torch.eye(2))
    return certify.Classifier(module, num_classes=2, input_box=(0.0, 1.0))


@pytest.fixture(scope="module")
def certificates(linear_classifier) -> list[Certificate]:
    l2, linf = certify.ThreatModel("l2", (0.0, 0.1)), certify.ThreatModel("linf", (0.0, 0.1))
    return [
        *certify.smooth(linear_classifier, X[:3], Y[:3], threat=l2, sigma=0.25, n=500),
        *certify.bound(linear_classifier, X[:3], Y[:3], threat=linf),
    ]


def plain(summary: Summary) -> dict[str, object]:
    """Everything a summary holds, columns included, as values that compare."""
    fields = summary.to_dict() | {"inputs": summary.inputs, "contents": summary.contents}
    return fields | {"sandwich": summary.sandwich.to_frame().to_csv()}


def test_both_ways_count_the_same(run):
    with RunFolder.open(run) as folder:
        settings, records = folder.manifest.settings, folder.records
        whole = summarize(
            records.certificates(),
            None if settings["attack"] is None else records.findings(),
            expected=settings["inputs"],
            head={"model": settings["model"]["name"], "data": settings["data"]["name"]},
        )
    assert plain(summarize_run(run)) == plain(whole)


def test_the_columns_are_those_of_whole_records(run):
    with RunFolder.open(run) as folder:
        methods = [one.get("method", "smoothing") for one in folder.manifest.settings["certifiers"]]
        whole = sorted(folder.records.certificates(), key=lambda one: methods.index(one.method))  # as they were made
        read, made = folder.records.certificate_columns(), certificate_columns(whole)
        found, again = folder.records.finding_columns(), finding_columns(folder.records.findings())
        assert [read.fetch(row) for row in range(len(read))] == whole
    for columns, others in ((read, made), (found, again)):
        for name in columns.__dataclass_fields__:
            if name not in ("kinds", "fetch"):
                assert np.array_equal(getattr(columns, name), getattr(others, name), equal_nan=name in _REAL), name
        assert len(columns.kinds) == len(others.kinds)


_REAL = ("radius", "sure", "p_lower", "seconds", "distance")


@pytest.mark.parametrize(
    "change",
    [
        {"radius_hex": "nan", "radius": 1.0},
        {"radius_hex": "-0x1p-3"},
        {"radius_hex": None, "verdict": "certified"},
        {"radius_hex": "inf"},
        {"radius_hex": "far"},
        {"verdict": "surely"},
        {"index": 77},
        {"label": "three"},
        {"label": 2**70},
        {"input_digest": None},
        {"seconds": float("inf")},
        {"radius_hex": (5.0).hex()},
        {"radius_hex": "0x1p+2000"},
        {"radius": None},
        {"radius": "0.1"},
        {"prediction": None},
        {"evidence": None},
        {"property": ["around"]},
        {"property": "around"},
        {"norm": "l1"},
        {"evidence.slack": -1.0},
        {"evidence.seed": "0"},
        {"evidence.more": 0},
    ],
)
def test_a_record_that_cannot_be_is_named(run, tmp_path, change):
    named = r"damaged record in certificates at \d+ \(.+\)|the record about input \d+ has fields of another kind"
    with pytest.raises(StoreError, match=rf"^[^\n]*({named}); restore it .+: certify salvage RUN --out NEW$"):
        summarize_run(edited(run, tmp_path, "certificates", changed(change)))


@pytest.mark.parametrize("field", ["radius", "radius_hex", "reason", "norm"])
def test_a_certificate_says_everything_once(run, tmp_path, field):
    for name, edit in (
        ("none", lambda text: json.dumps({key: value for key, value in json.loads(text).items() if key != field})),
        ("two", lambda text: f"{text[:-1]}, {json.dumps(field)}: {json.dumps(json.loads(text)[field])}}}"),
    ):
        with pytest.raises(StoreError, match="damaged record in certificates"):
            summarize_run(edited(run, tmp_path / name, "certificates", edit))


def test_a_disguised_colon_makes_up_for_no_repeated_field(run, tmp_path):
    def repeat(text):
        head, _, tail = text[:-1].rpartition('"reason": ""')
        return f'{head}"reason": "\\u003a\\u003A"{tail}, "label": 0, "seconds": 0.0}}'

    with pytest.raises(StoreError, match="damaged record in certificates .*'label' stands twice"):
        summarize_run(edited(run, tmp_path, "certificates", repeat))


@pytest.mark.parametrize("run", ["smoothing", "proofs"], indirect=True)
@pytest.mark.parametrize(
    "change",
    [
        {"settings": ["target"]},
        {"settings": "target"},
        {"distance_hex": "0x1p+2000"},
        {"distance_hex": "0x0p+0", "distance": 1.0},
        {"x_adv": 3},
        {"more": 0},
        {"error": 3},
        {"error": "although there is a class or an example"},
    ],
)
def test_a_finding_that_cannot_be_is_named(run, tmp_path, change):
    with pytest.raises(
        StoreError, match=r"damaged record in findings at \d+ \(.+\); restore it .+: certify salvage RUN --out NEW$"
    ):
        summarize_run(edited(run, tmp_path, "findings", changed(change)))


def test_evidence_shows_what_is_counted(run, tmp_path):
    """Margins, the proven end of a bracket, or a bound on a probability that show no radius; unknown arithmetic."""
    unproven = {"margins": [-1.0], "certified": 0.0, "q_upper": 1.0, "dtype": "float16"}
    with RunFolder.open(run) as folder:
        fields = {name for one in folder.records.certificates() for name in (one.to_dict()["evidence"] or {})}
    for name in unproven.keys() & fields:
        changes = changed({f"evidence.{name}": unproven[name]})
        with pytest.raises(StoreError, match="damaged record in certificates"):
            summarize_run(edited(run, tmp_path / name, "certificates", changes))


def changed(change):
    """Edits the text of a record; names with a point are fields of its evidence."""

    def edit(text):
        record = json.loads(text)
        for name, value in change.items():
            table, dot, field = name.partition(".")
            (record[table] if dot else record)[field or table] = value
        return json.dumps(record)

    return edit


def edited(run, to, table, edit) -> Path:
    """A copy of a run in which one record says something else: the last one, as the first of a kind is read whole."""
    to.mkdir(exist_ok=True)
    for file in ("manifest.json", "run.sqlite"):
        (to / file).write_bytes((run / file).read_bytes())
    with sqlite3.connect(to / "run.sqlite") as db:
        chosen = "verdict='certified' AND json_extract(record, '$.radius') > 0" if table == "certificates" else "1"
        query = f"SELECT rowid, record FROM {table} WHERE {chosen} ORDER BY rowid DESC LIMIT 1"
        [(number, text)] = db.execute(query).fetchall()
        db.execute(f"UPDATE {table} SET record=? WHERE rowid=?", (edit(text), number))
    db.close()
    return to


def test_votes_over_groups_are_counted_by_their_threat(tmp_path):
    clf = certify.Classifier(lambda x: (x.sum(1) > 0.5).long(), num_classes=2)
    threat = certify.Features((0, 1), groups="0:2,2:4,4:6")
    for number, certifier in enumerate((certify.Enumeration(retention=1), "smoothing")):
        options = {"noise": "ablation", "retention": 1, "n": 200} if certifier == "smoothing" else {}
        data, out = ([[0.9] * 6] * 2, [1, 1]), tmp_path / str(number)
        certify.evaluate(clf, data, threat=threat, certifier=certifier, out=out, **options)
        assert [row.certified for row in summarize_run(out).rows] == [1.0, 1.0]


def test_columns_ask_a_kind_of_evidence_from_elsewhere_what_tells_claims_apart(scoped, certificates):
    @dataclass(frozen=True, slots=True)
    class Foreign(Evidence):
        part: str
        weight: float
        kind: Literal["foreign"] = "foreign"

        def by(self, certificate):
            return True

        def fault(self, certificate):
            return ""

        @property
        def subject(self):
            return self.kind, self.part

        def sure(self, radius):
            return radius * self.weight

    scoped(EVIDENCE)["foreign"] = Foreign
    proof = next(one for one in certificates if one.guarantee.kind == "deterministic" and one.radius)
    made = [replace(proof, index=i, evidence=Foreign(part, 0.5)) for i, part in enumerate("aabb")]
    rows = [(one.index, one.index, json.dumps(one.to_dict())) for one in made]
    read = read_certificates(rows, lambda number, position: made[position])
    assert read.kind.tolist() == [0, 0, 1, 1]
    assert read.sure.tolist() == [proof.radius / 2] * 4


def test_evidence_that_cannot_be_is_damage_and_no_crash(certificates):
    smoothed = next(one for one in certificates if one.guarantee.kind == "probabilistic")
    text = smoothed.to_dict()
    text["evidence"] |= {"looks": [], "later": []}
    with pytest.raises(StoreError, match="fields of another kind"):
        read_certificates([(1, smoothed.index, json.dumps(text))], lambda number, position: smoothed)


def test_a_summary_takes_a_few_hundred_bytes_an_input(certificates):
    """Ten million certificates, each with a finding, fit into 4 GB."""
    smoothed = next(one for one in certificates if one.guarantee.kind == "probabilistic")
    digest, aim = smoothed.input_digest, {"noise": "gaussian", "sigma": 0.25, "alpha": 0.001}
    failed = Finding(0, digest, smoothed.label, 0, "l2", (0.1,), "pgd", aim, 0, model_digest=smoothed.model_digest)

    def rows(record, count):
        text = json.dumps(record.to_dict())
        for index in range(count):
            other = text.replace(digest, f"{index:064x}").replace(f'"index": {record.index}', f'"index": {index}')
            yield index, index, other

    def peak(count):
        tracemalloc.start()
        try:
            found = read_findings(rows(failed, count), lambda *_: failed)
            summary = tabulate(read_certificates(rows(smoothed, count), lambda *_: smoothed), found)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert summary.attacked == summary.n == count
        assert summary.misjudged is not None
        return most

    first, large = peak(1000), peak(6000)
    assert (large - first) / 5000 < 400


def test_a_record_has_the_fields_of_the_schema(certificates):
    for one in certificates:
        assert [*one.to_dict(), "property"] == list(RECORD)
        assert list(replace(one, property=TopK(k=1)).to_dict()) == list(RECORD)
