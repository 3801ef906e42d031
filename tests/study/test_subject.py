"""What a model has met in its training, and members of an ensemble in theirs."""

from __future__ import annotations

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
