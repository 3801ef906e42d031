"""Whole studies of other properties than the top class: proven, voted on, attacked, checked, gated, and forged."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import nn

import certify
from certify.checker.sample import data_claims
from certify.cli import main
from certify.core.properties.base import PROPERTIES, property_from
from certify.errors import BadInput
from certify.study.evaluate import study_from
from certify.study.settings import Settings


@pytest.fixture(scope="module")
def classifier():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(nn.Linear(5, 24), nn.ReLU(), nn.Linear(24, 6)).eval()
    return certify.Classifier(network, num_classes=6, input_box=(0.0, 1.0))


@pytest.fixture(scope="module")
def data(classifier):
    """Inputs and the classes that they are given, one of them another."""
    x = np.random.default_rng(0).random((8, 5), np.float32)
    y = classifier.predict(torch.from_numpy(x)).numpy()
    y[0] = (y[0] + 1) % 6
    return x, y


def properties(y):
    """One of each kind, of which something holds."""
    return {
        "top-class": certify.TopClass(),
        "top-k": certify.TopK(2),
        "never": certify.Never(int(y[1] + 1) % 6),
        "superclass": certify.Superclass("0:3,3:6"),
        "rows": certify.LinearRows([[1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, 0]], [0.5, 0.3]),
    }


THREAT = certify.ThreatModel("linf", (0.0, 0.02, 0.05, 0.1, 0.2))


@pytest.mark.parametrize("name", [name for name in PROPERTIES if name not in ("within", "labels", "pixels")])
def test_proofs_lie_below_examples_and_are_derived_again(name, classifier, data):
    (x, y), one = data, properties(data[1])[name]
    radii = {}
    for certifier in (certify.Bounds("crown", decide=True), certify.Complete(timeout=30.0)):
        made = certify.certify(classifier, x, y, threat=THREAT, property=one, certifier=certifier)
        radii[certifier.method] = [-1.0 if item.radius is None else item.radius for item in made]
        assert all(item.property == one for item in made)
        assert all(certify.check(item, classifier, x[item.index]) for item in made)
    assert all(a <= b for a, b in zip(radii["crown"], radii["complete"], strict=True))
    assert max(radii["crown"]) > 0
    ends = [item.evidence.falsified for item in made]
    assert all(end is None or end > radius for end, radius in zip(ends, radii["complete"], strict=True))
    broken = [item.radius for item in certify.attack(classifier, x, y, threat=THREAT, property=one)]
    assert all(far is None or far > radius for far, radius in zip(broken, radii["complete"], strict=True))
    points = torch.rand(2000, 5, generator=torch.Generator().manual_seed(0))
    for item, input_ in zip(made, x, strict=True):
        if item.radius is not None:
            near = (torch.from_numpy(input_) + item.radius * (2 * points - 1)).clamp(0, 1)
            kept = torch.full((len(near),), item.prediction)
            assert torch.equal(classifier.with_property(one).answers(near, kept), kept)


def policy_about(threat, property):
    """The text of a policy, of inputs in [0, 1] where the threat fills its box."""
    fields = ", ".join(f"{name} = {json.dumps(value)}" for name, value in property.to_dict().items())
    box = "input_box = [0, 1]\n" if threat.fills_box else ""
    return f'[threat]\nnorm = "{threat.norm}"\n{box}property = {{ {fields} }}\n[[require]]\nkind = "no_contradiction"\n'


def test_weaker_properties_reach_further(classifier, data):
    x, _ = data
    radii = [
        [item.radius or 0.0 for item in certify.bound(classifier, x, threat=THREAT)],
        *(
            [
                item.radius or 0.0
                for item in certify.certify(classifier, x, threat=THREAT, property=certify.TopK(k), certifier="crown")
            ]
            for k in (1, 2, 3)
        ),
    ]
    assert radii[0] == pytest.approx(radii[1], rel=2e-3)
    for one, two in itertools.pairwise(radii[1:]):
        assert all(a <= b * 1.002 for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("name", ["never", "superclass"])
def test_votes_are_for_answers(name, classifier, data):
    (x, y), one = data, properties(data[1])[name]
    threat = certify.ThreatModel("l2", (0.0, 0.05))
    certifier = certify.Smoothing(sigma=0.1, n=2000)
    made = certify.certify(classifier, x, y, threat=threat, property=one, certifier=certifier)
    plain = certify.certify(classifier, x, y, threat=threat, certifier=certifier)
    assert sum(item.radius or 0.0 for item in made) > sum(item.radius or 0.0 for item in plain)
    assert all(certify.check(item, classifier, x[item.index]) for item in made)
    answers = range(classifier.with_property(one).num_classes)
    assert all(set(look.counts) <= set(answers) for item in made for look in item.evidence.looks)


@pytest.mark.parametrize("name", ["top-k", "never", "superclass", "rows"])
def test_a_run_is_summarized_checked_and_gated(name, classifier, data, tmp_path):
    (x, y), one = data, properties(data[1])[name]
    result = certify.evaluate(
        classifier, (x, y), threat=THREAT, property=one, certifier="crown", attack="pgd", out=tmp_path / "run"
    )
    assert f"each input has to {one.sentence}" in result.summary.table()
    assert f"to {one.sentence} under every linf change" in result.summary.statement
    assert result.summary.rows[1].certified > 0
    assert result.summary.contradictions == ()
    assert not certify.check_run(tmp_path / "run").refuted
    policy = tmp_path / "policy.toml"
    policy.write_text(policy_about(THREAT, one))
    assert certify.judge_run(certify.read_policy(policy), tmp_path / "run").passed


@pytest.mark.parametrize("name", ["top-k", "labels", "within"])
def test_a_smoothed_run_is_attacked_checked_and_gated(name, classifier, data, diabetes, tmp_path):
    (x, y), one, model = data, certify.TopK(2), classifier
    threat = certify.ThreatModel("l2", (0.0, 0.05, 0.3))
    if name == "labels":
        one = certify.Labels([0.0] * 6)
        y = (classifier.scores(torch.from_numpy(x)) > 0).numpy().astype(int)
        y[0, 1] = 1 - y[0, 1]
    if name == "within":
        (model, x, y), one = diabetes, certify.Within(60.0)
    result = certify.evaluate(
        model, (x, y), threat=threat, property=one, sigma=0.15, n=2000, attack="pgd", out=tmp_path / "run", seed=0
    )
    assert result.summary.rows[1].certified > 0
    assert f"each input has to {one.sentence}" in result.summary.table()
    assert result.summary.contradictions == ()
    assert not certify.check_run(tmp_path / "run").refuted
    policy = tmp_path / "policy.toml"
    policy.write_text(policy_about(threat, one))
    assert certify.judge_run(certify.read_policy(policy), tmp_path / "run").passed


def test_claims_of_one_property_prove_no_other(classifier, data):
    x, y = data
    weak = certify.certify(classifier, x, y, threat=THREAT, property=certify.TopK(2), certifier=certify.Bounds("crown"))
    strong = certify.certify(classifier, x, y, threat=THREAT, certifier=certify.Bounds("crown"))
    with pytest.raises(BadInput, match="different properties"):
        certify.summarize([*weak, *strong])
    refuted = 0
    for one, other in zip(weak, strong, strict=True):
        if one.radius is not None and one.radius > 1.01 * (other.radius or 0.0):
            refuted += 1
            assert not certify.check(dataclasses.replace(one, property=certify.TopClass()), classifier, x[one.index])
            assert not certify.check(dataclasses.replace(one, property=certify.TopK(1)), classifier, x[one.index])
    assert refuted > 0
    found = certify.attack(classifier, x, y, threat=THREAT)
    with pytest.raises(BadInput, match="different properties"):
        certify.summarize(weak, found)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"property": "top-k", "option": {"k": 20}}, "every class is among the top 20"),
        ({"property": "top-k", "option": {"j": 2}}, "has no setting 'j'"),
        ({"property": "top"}, "did you mean 'top-k'"),
        ({"property": "never"}, "needs forbidden"),
        ({"property": "superclass", "option": {"groups": "0:5,4:10"}}, "overlap"),
        (
            {"property": "top-k", "certifier": "smoothing", "sigma": 0.5, "schedule": "fixed", "selection": "votes"},
            "a theorem about the top class",
        ),
        (
            {"property": "never", "option": {"forbidden": 3}, "certifier": "lipschitz", "norm": "l2"},
            "got never: use .*crown",
        ),
        ({"property": "top-k", "attack": "autoattack"}, "another top class"),
        ({"property": "superclass", "threat": "features", "option": {"groups": "0:5,5:10"}}, "both have groups"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(settings, said):
    given = {"model": "tests.study.test_threats:network", "data": "digits", "radii": "0,1", "certifier": "crown"}
    with pytest.raises(BadInput, match=said):
        study_from(Settings.of({**given, "limit": 3, **settings}))


@pytest.fixture(scope="module")
def diabetes():
    """Ten numbers of patients in [0, 1], and how their disease went on, with a model of it."""
    x, y = load_diabetes(return_X_y=True)
    x = ((x - x.min(0)) / (x.max(0) - x.min(0))).astype(np.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 1))
        optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)
        for _ in range(200):
            optimizer.zero_grad()
            (((network(torch.from_numpy(x))[:, 0] - torch.from_numpy(y)) / 50) ** 2).mean().backward()
            optimizer.step()
    return certify.Regressor(network.eval()), x[:8], y[:8]


@pytest.mark.parametrize("threat", [certify.ThreatModel("linf", (0.0, 0.01, 0.05)), certify.Features((0, 1))], ids=str)
def test_a_regression_is_certified_attacked_checked_and_gated(threat, diabetes, tmp_path):
    model, x, y = diabetes
    result = certify.evaluate(
        model,
        (x, y),
        threat=threat,
        property=certify.Within(60.0),
        attack="pgd",
        out=tmp_path / "run",
        certifier=[certify.Bounds("crown"), certify.Complete(timeout=20.0)],
    )
    errors = np.abs(model.scores(torch.from_numpy(x))[:, 0].detach().numpy() - y)
    assert result.summary.clean == np.mean(errors <= 60)
    assert result.summary.contradictions == ()
    assert "stay within 60 of its target" in result.summary.table()
    for one in result.certificates:
        assert one.property == certify.Within(60.0, float(y[one.index]))
        assert certify.check(one, model, x[one.index])
        if one.radius:
            assert one.radius <= (one.finding.distance if one.finding and one.finding.succeeded else np.inf)
    assert any(one.radius for one in result.certificates)
    assert not certify.check_run(tmp_path / "run").refuted
    policy = tmp_path / "policy.toml"
    policy.write_text(policy_about(threat, certify.Within(60.0)))
    assert certify.judge_run(certify.read_policy(policy), tmp_path / "run").passed


def test_outputs_stay_within_what_was_certified(diabetes):
    model, x, _ = diabetes
    threat = certify.ThreatModel("linf", (0.0, 0.02))
    points = torch.rand(2000, 10, generator=torch.Generator().manual_seed(0))
    for one in certify.certify(model, x, threat=threat, property=certify.Within(10.0), certifier="crown"):
        assert one.radius > 0
        near = (torch.from_numpy(x[one.index]) + one.radius * (2 * points - 1)).clamp(0, 1)
        assert float((model.scores(near)[:, 0] - one.property.target).abs().max()) <= 10.0
        moved = dataclasses.replace(one, property=certify.Within(10.0, one.property.target + 9.0))
        assert not certify.check(moved, model, x[one.index])


def test_another_true_value_is_refuted_beside_the_data(diabetes, tmp_path):
    model, x, y = diabetes
    threat, property = certify.ThreatModel("linf", (0.0,)), certify.Within(60.0)
    [record] = certify.certify(model, x[:1], y[:1], threat=threat, property=property, certifier="crown")
    data = certify.Dataset("some", x[:1], y[:1] + 1.0, num_classes=1)
    said = [str(one) for one in data_claims([record], data, {0: 0})]
    assert any("the data say" in one for one in said)


def test_classes_and_numbers_do_not_mix(diabetes, classifier):
    model, x, y = diabetes
    threat = certify.ThreatModel("linf", (0.0,))
    with pytest.raises(BadInput, match="certify.Within"):
        certify.evaluate(model, (x, y), threat=threat, certifier="crown")
    with pytest.raises(BadInput, match="certify.Regressor"):
        certify.certify(classifier, x[:, :5], threat=threat, property=certify.Within(1.0), certifier="crown")
    with pytest.raises(certify.CertifyError, match="finite numbers"):
        certify.certify(model, x, y * np.nan, threat=threat, property=certify.Within(1.0), certifier="crown")


def test_runs_about_other_true_values_are_kept_apart(diabetes, tmp_path):
    model, x, y = diabetes
    given = {"threat": certify.ThreatModel("linf", (0.0, 0.01)), "property": certify.Within(60.0), "certifier": "crown"}
    certify.evaluate(model, (x, y), **given, out=tmp_path / "run")
    with pytest.raises(certify.CertifyError, match="settings"):
        certify.evaluate(model, (x, y + 100), **given, out=tmp_path / "run", seed=0)
    one, other = (
        certify.certify(model, x, true, **{**given, "certifier": method})
        for true, method in ((y, "ibp"), (y + 100, "crown"))
    )
    with pytest.raises(BadInput, match="different data"):
        certify.summarize([*one, *other])
    found = certify.attack(model, x, y + 19.0, threat=given["threat"], property=given["property"])
    with pytest.raises(BadInput, match="different data"):
        certify.summarize(one, found)


def test_a_gate_and_a_comparison_are_about_one_property(classifier, data, tmp_path):
    x, y = data
    for name, property in (("top", None), ("weak", certify.TopK(3))):
        certify.evaluate(classifier, (x, y), threat=THREAT, property=property, certifier="crown", out=tmp_path / name)
    policy = tmp_path / "policy.toml"
    policy.write_text('[threat]\nnorm = "linf"\n[[require]]\nkind = "no_contradiction"\n')
    assert certify.judge_run(certify.read_policy(policy), tmp_path / "top").passed
    with pytest.raises(BadInput, match="among the top 3"):
        certify.judge_run(certify.read_policy(policy), tmp_path / "weak")
    policy.write_text(policy.read_text().replace("[[", 'property = { property = "top-k", k = 3 }\n[['))
    assert certify.judge_run(certify.read_policy(policy), tmp_path / "weak").passed
    with pytest.raises(BadInput, match="among the top 3"):
        certify.judge_run(certify.read_policy(policy), tmp_path / "top")
    with pytest.raises(BadInput, match="keep its class"):
        certify.compare(certify.read_runs([tmp_path / "top", tmp_path / "weak"]))


def test_an_input_that_is_right_is_not_confirmed_as_wrong(classifier, data):
    x, _ = data
    second = classifier.scores(torch.from_numpy(x)).argsort(dim=1)[:, -2].tolist()
    for one in certify.certify(classifier, x, second, threat=THREAT, property=certify.TopK(2), certifier="crown"):
        assert one.prediction == second[one.index]
        top = int(classifier.predict(torch.from_numpy(x[one.index])[None])[0])
        forged = dataclasses.replace(
            one, prediction=top, verdict=certify.Verdict.FALSIFIED, radius=None, evidence=None, reason=""
        )
        assert not certify.check(forged, classifier, x[one.index])


def test_records_of_a_property_that_fits_no_input_are_refuted(diabetes):
    model, x, y = diabetes
    threat = certify.ThreatModel("linf", (0.0, 0.01))
    [one] = certify.certify(model, x[:1], y[:1], threat=threat, property=certify.Within(200.0), certifier="crown")
    for damaged in ({"property": "within", "tolerance": 200.0}, {"property": "never", "forbidden": 0}, None):
        record = one.to_dict() | {"property": damaged}
        assert not certify.check(certify.Certificate.from_dict(record), model, x[0])
    for property in (None, certify.TopClass(), certify.Never(0)):
        with pytest.raises(BadInput, match="certify.Within"):
            certify.certify(model, x[:1], threat=threat, property=property, certifier="crown")
    with pytest.raises(BadInput, match="leave it out"):
        certify.certify(model, x[:1], threat=threat, property=certify.Within(1.0, 3.0), certifier="crown")


def test_numbers_of_numpy_are_numbers(classifier, data):
    x, y = data
    property = certify.TopK(np.int64(2))
    [one] = certify.certify(classifier, x[:1], y[:1], threat=THREAT, property=property, certifier="crown")
    assert json.loads(json.dumps(one.to_dict()))["property"] == {"property": "top-k", "k": 2}
    assert certify.check(one, classifier, x[0])


def test_deep_records_are_refused():
    deep = []
    for _ in range(5000):
        deep = [deep]
    for threat in ({"threat": "features", "groups": deep}, {"threat": "features", "units": deep}, {"units": 3}):
        fields = {"norm": "l2", "radii": [1.0], "input_box": None, "units": "", **threat}
        with pytest.raises(BadInput):
            certify.Certificate.from_dict({"radius": None, "radius_hex": None, "evidence": None, "threat": fields})


@pytest.mark.parametrize("y", [[151, 75], [151.5, -75.25]], ids=["whole", "fractions"])
def test_the_true_values_of_a_table_are_certified_and_checked(y, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "table.csv").write_text(f"a,b,progression\n0.1,0.2,{y[0]}\n0.3,0.4,{y[1]}\n")
    (tmp_path / "number_for_a_test.py").write_text(
        "import torch\ndef net():\n    torch.manual_seed(0)\n    return torch.nn.Linear(2, 1).eval()\n"
    )
    run = ["run", "--model", "number_for_a_test:net", "--data", "csv:table.csv:progression", "--certifier", "crown"]
    run += ["--norm", "linf", "--radii", "0,0.1", "--property", "within", "--option", "tolerance=100", "--quiet"]
    assert main([*run, "--out", "r"]) == 0
    assert main(["export", "r", "--format", "jsonl", "--out", "r.jsonl"]) == 0
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [one["property"]["around"] for one in records] == y
    assert main(["check", "r", "--model", "number_for_a_test:net", "--quiet"]) == 0
    smoothed = [*run[:5], "--sigma", "0.2", "--radii", "0,0.1", *run[11:], "--attack", "pgd"]
    assert main([*smoothed, "--n", "500", "--out", "s"]) == 0
    assert main(["check", "s", "--model", "number_for_a_test:net", "--replay", "3", "--quiet"]) == 0


def test_several_labels_are_certified_and_checked_from_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    x = np.array([[0.9, 0.2, 0.8], [0.1, 0.6, 0.7], [0.9, 0.9, 0.1]], np.float32)
    np.savez("tags.npz", x=x, y=(x > 0.5).astype(int))
    np.savez("classes.npz", x=x, y=np.array([0, 1, 2]))
    (tmp_path / "tags_for_a_test.py").write_text(
        "import torch\ndef net():\n    layer = torch.nn.Linear(3, 3, bias=False).eval()\n"
        "    layer.weight.data.copy_(torch.eye(3))\n    return layer\n"
    )
    run = ["run", "--model", "tags_for_a_test:net", "--data", "npz:tags.npz", "--sigma", "0.1", "--n", "1000"]
    run += ["--radii", "0,0.05", "--quiet"]
    labels = ["--property", "labels", "--option", "thresholds=0.5,0.5,0.5"]
    assert main([*run, *labels, "--out", "r"]) == 0
    assert main(["summary", "r"]) == 0
    assert "each input has to keep all its labels, of 3" in capsys.readouterr().out
    assert main(["check", "r", "--model", "tags_for_a_test:net", "--replay", "2", "--quiet"]) == 0
    assert main([*run, "--out", "s"]) == 2
    assert "go with the property labels" in capsys.readouterr().err
    run[4] = "npz:classes.npz"
    assert main([*run, *labels, "--out", "s"]) == 2
    assert "go with the property labels" in capsys.readouterr().err


def test_a_record_that_names_the_class_otherwise_is_refused_by_the_name_of_the_field():
    with pytest.raises(BadInput, match="missing required field `forbidden`"):
        property_from({"property": "never", "of": 3})
