"""Reports speak of every threat and every property in their own words."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import certify
from certify.core.properties.base import PROPERTIES, property_from
from certify.core.rounding import round_down
from certify.core.threats.base import THREATS
from certify.core.threats.transform import Transform
from certify.report.card import model_card
from certify.report.machine import csv_of_runs
from certify.report.page.page import page
from certify.store.export import EXPORTS
from certify.store.run_folder import RunFolder

THREAT_EXAMPLES = {
    "lp": (certify.ThreatModel("linf", (0.0, 0.1)), ("linf 1", "linf 2", "linf 0.5000")),
    "features": (
        certify.Features((0, 1, 2), groups="0:2,2:4,4:6"),
        ("1 group of features", "2 groups of features", "0.5000 groups of features"),
    ),
    "brightness": (
        certify.Brightness((0.0, 0.1)),
        ("1 input units", "2 input units", "0.5000 input units"),
    ),
    "categories": (
        certify.Categories((0, 1, 2), groups="0:3,3:6"),
        ("1 categorical input", "2 categorical inputs", "0.5000 categorical inputs"),
    ),
    "patch": (certify.Patch((0, 1, 2)), ("a patch of side 1", "a patch of side 2", "a patch of side 0.5000")),
}
THREAT_EXAMPLES["insertions"] = (
    certify.Insertions((0, 1, 2)),
    ("1 inserted token", "2 inserted tokens", "0.5000 inserted tokens"),
)
THREAT_EXAMPLES["substitutions"] = (
    certify.Substitutions((0, 1, 2), {0: [0, 1], 1: [0, 1]}),
    ("1 replaced token", "2 replaced tokens", "0.5000 replaced tokens"),
)
MEMBERS = [name for name, member in THREATS.items() if not issubclass(member, Transform) or name == "brightness"]
"""Transforms share their words."""

CROWN = {"certifier": "crown", "attack": "pgd"}

PROPERTY_EXAMPLES = {
    "top-class": (certify.TopClass(), "class 1"),
    "top-k": (certify.TopK(2), "class 1"),
    "never": (certify.Never(2), "class 2"),
    "superclass": (certify.Superclass("0:2,2:4"), "group 1"),
    "within": (certify.Within(0.5), "outside the tolerance"),
    "rows": (certify.LinearRows([[1, -1, 0, 0]], [0.5]), "a condition broken"),
    "labels": (certify.Labels([0.0] * 4), "label 0"),
    "pixels": (certify.Pixels(0.5), "too few pixels right"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def made(folder, threat, property):
    """A small run of a threat and a property, both by name."""
    out = folder / f"{threat}-{property}"
    if not out.exists():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            layers = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1 if property == "within" else 4)
            net = nn.Sequential(nn.Flatten(), *layers).eval()
        if property == "pixels":
            net = nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 1)).eval()
        clf = certify.Regressor(net) if property == "within" else certify.Classifier(net, 4)
        clf = certify.Segmenter(net, 4) if property == "pixels" else clf
        hot = np.eye(3, dtype=np.float32)[np.random.default_rng(0).integers(0, 3, (8, 2))].reshape(8, 6)
        hot = hot.reshape(8, 1, 2, 3) if threat == "patch" else hot
        hot = np.tri(8, 6, dtype=np.float32) if threat == "insertions" else hot
        with torch.no_grad():
            y = clf.scores(torch.tensor(hot))[:, 0].numpy() if property == "within" else clf.predict(torch.tensor(hot))
        if property == "labels":
            y = (clf.scores(torch.tensor(hot)) > 0).numpy().astype(int)
        asked = {"threat": THREAT_EXAMPLES[threat][0], "property": PROPERTY_EXAMPLES[property][0]}
        ways = {"certifier": "erase-and-check", "attack": "beam"} if threat == "insertions" else CROWN
        if property == "pixels":
            asked["threat"] = certify.ThreatModel("l2", (0.0, 0.1))
            ways = {"certifier": certify.Pixelwise(sigma=0.2, n=200, n0=20), "attack": "pgd"}
        certify.evaluate(clf, (hot, np.asarray(y)), out=out, **ways, **asked)
    [run] = certify.read_runs([out])
    return run


@pytest.mark.parametrize("name", MEMBERS)
def test_an_amount_of_every_threat_reads_as_people_say_it(name):
    threat, (one, two, half) = THREAT_EXAMPLES[name]
    assert (threat.amount(1.0), threat.amount(2.0)) == (one, two)
    assert threat.amount(0.5, round_down) == half


@pytest.mark.parametrize("name", PROPERTIES)
def test_an_answer_of_every_property_has_a_word(name):
    property, word = PROPERTY_EXAMPLES[name]
    assert property.word(1) == word
    assert property.word(0) != word


@pytest.mark.parametrize("threat", MEMBERS)
def test_a_page_names_what_a_radius_counts(threat, folder):
    run = made(folder, threat, "top-class")
    member = run.summary.threat
    text = re.sub(r"<[^>]+>", " ", page([run]))
    assert f"Accuracy over the {member.quantity}" in text
    assert not re.search(rf"\b{threat} (radius|[0-9])", text)  # the registered name is no unit
    if member.counted:
        [numbers] = re.findall(r"certified radius\s+inputs\s+((?:\d+\s+\d+\s+)+)", text)
        assert numbers.split()[::2] == [str(count) for count in range(len(numbers.split()) // 2)]
        assert "0.0000" not in text


@pytest.mark.parametrize("property", PROPERTIES)
def test_cards_pages_and_tables_say_which_property_holds(property, folder, tmp_path):
    run = made(folder, "lp", property)
    member = run.summary.property
    results = yaml.safe_load(model_card([run]).split("---")[1])["model-index"][0]["results"]
    metrics = [metric for result in results for metric in result["metrics"]]
    assert {result["task"]["type"] for result in results} == {member.task}
    assert all(metric["args"]["property"] == str(member) for metric in metrics)
    assert all((str(member) in one["name"]) == (property != "top-class") for one in metrics)
    assert all(("accuracy" in one["type"]) == (property == "top-class") for one in metrics)
    weak = page([run]).partition('id="weakest"')[2].partition("</ul>")[0]
    assert member.word(run.summary.sandwich.weakest(1)[0].label) in weak
    assert ("class" in re.sub("<[^>]*>", "", weak)) == ("class" in member.word(0))
    assert str(member) in csv_of_runs([run])
    assert property_from(json.loads(run.summary.render("json"))["property"]) == member
    with RunFolder.open(run.path) as kept, (tmp_path / "records.csv").open("w") as out:
        EXPORTS["csv"](kept.records.certificates(), out)
        found = [one for one in kept.records.findings() if one.succeeded]
    assert all((" class " in str(one)) == (property == "top-class") for one in found)
    with (tmp_path / "records.csv").open() as written:
        for line in csv.DictReader(written):
            assert line["property"] == str(member)
            assert (line["target"] != "") == member.per_input
            assert ("l2" if property == "pixels" else "linf") in line["threat"]
