"""What a model has met in its training, and members of an ensemble in theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import certify
from certify.errors import BadInput
from certify.study.settings import Settings
from certify.study.subject import subject_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    few = certify.load_data("digits:train").subset(100, seed=0)
    made = tmp_path_factory.mktemp("models")
    option = {"hidden": (8,)}
    certify.train("standard", few, made / "seed-0", epochs=1, network="mlp", network_option=option)
    certify.train(
        "standard", few, made / "seed-1", epochs=1, network="mlp", network_option=option, seed=1, validation=0.3
    )
    return made


@pytest.mark.parametrize("model", ["ensemble:{}", "ensemble:{0}/seed-0,{0}/seed-1", "{}/seed-1"])
def test_a_model_is_not_certified_on_inputs_by_which_it_or_a_member_was_chosen(model: str, folder: Path) -> None:
    settings = Settings.of({"model": model.format(folder), "data": "digits:train", "radii": "0.1", "sigma": 0.25})
    with pytest.raises(BadInput, match=r"was chosen by 30 of the 100 inputs to certify, which its training held out"):
        subject_of(settings, certify.load_data("digits:train").subset(100, seed=0))
    subject = subject_of(settings, certify.load_data("digits"))
    assert not subject.cautions
    assert "met" not in subject.context


@pytest.mark.parametrize("model", ["ensemble:{0}/seed-0,{0}/seed-0", "{}/seed-0"])
def test_inputs_that_a_model_was_trained_on_are_named(model: str, folder: Path) -> None:
    settings = Settings.of({"model": model.format(folder), "data": "digits:train", "radii": "0.1", "sigma": 0.25})
    subject = subject_of(settings, certify.load_data("digits:train").subset(100, seed=0))
    [said] = subject.cautions
    assert "was trained on 100 of the 100 inputs to certify" in said
    assert subject.context["met"] == {"trained": 100, "held_out": 0}


LINF = certify.ThreatModel("linf", (0.01,))


@pytest.mark.parametrize("model", ["ensemble:{}", "{}/seed-1"])
def test_a_model_that_was_loaded_remembers_what_it_was_chosen_by(model: str, folder: Path) -> None:
    classifier = certify.load_model(model.format(folder))
    few = certify.load_data("digits:train").subset(100, seed=0)
    for data in (few, (few.x, few.y)):
        with pytest.raises(BadInput, match=r"was chosen by 30 of the 100 inputs to certify, which its training held"):
            certify.evaluate(classifier, data, threat=LINF, certifier="ibp")


def test_a_model_that_was_loaded_remembers_what_it_was_trained_on(folder: Path, tmp_path: Path) -> None:
    classifier = certify.load_model(str(folder / "seed-0"))
    few = certify.load_data("digits:train").subset(100, seed=0).subset(10, seed=0)
    with pytest.warns(UserWarning, match="was trained on 10 of the 10 inputs to certify"):
        certify.evaluate(classifier, few, threat=LINF, certifier="ibp", out=tmp_path / "run")
    context = json.loads((tmp_path / "run" / "manifest.json").read_text())["context"]
    assert context["met"] == {"trained": 10, "held_out": 0}
    assert classifier.module is not None
    for silent in (certify.Classifier(classifier.module, 10), classifier):  # nobody knows; nothing was met
        data = few if silent is not classifier else certify.load_data("digits").subset(10, seed=0)
        certify.evaluate(silent, data, threat=LINF, certifier="ibp")
