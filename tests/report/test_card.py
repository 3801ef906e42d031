"""The model card reads back, each number with its norm, radius and guarantee."""

from __future__ import annotations

import re
import socket
import sys
from dataclasses import replace

import pytest

from certify.errors import BadInput, MissingExtra
from certify.report.card import model_card

hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub comes with certify[card]")


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model card needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_card_reads_back_with_every_number(smoothed, unattacked, offline):
    card = hub.ModelCard(model_card([smoothed, unattacked]))
    assert card.data.model_name == smoothed.settings["model"]["name"]
    assert {"certified-robustness", "smoothing", "ibp", "crown"} <= set(card.data.tags)
    results = card.data.eval_results
    for run in (smoothed, unattacked):
        rows = run.summary.rows
        mine = [one for one in results if one.metric_args["run"] == run.name]
        per_row = 1 + (run.summary.guarantee.alpha is not None) + (rows[0].empirical is not None)
        assert len(mine) == 1 + per_row * len(rows)
        for row in rows:
            at = [one for one in mine if one.metric_args.get("radius") == row.radius]
            values = {one.metric_type: one.metric_value for one in at}
            assert values["certified_accuracy"] <= 100 * row.certified
            assert values.get("certified_accuracy_lower", 0) <= 100 * row.certified_lower
            assert values.get("accuracy_under_attack", 100) >= 100 * (row.empirical or 0)
            assert all(f"{run.summary.threat.norm} {row.radius:g}" in one.metric_name for one in at)
            assert all(one.metric_args["norm"] == run.summary.threat.norm for one in at)
    assert hub.ModelCard(str(card)).data.to_dict() == card.data.to_dict()


def test_claims_are_rounded_down_and_limits_up(smoothed):
    rows = tuple(replace(row, certified=2 / 3, certified_lower=2 / 3, empirical=2 / 3) for row in smoothed.summary.rows)
    run = replace(smoothed, summary=replace(smoothed.summary, rows=rows, clean=2 / 3))
    values = {(one.metric_type, one.metric_value) for one in hub.ModelCard(model_card([run])).data.eval_results}
    assert values == {
        ("accuracy", 66.7),
        ("certified_accuracy", 66.6),
        ("certified_accuracy_lower", 66.6),
        ("accuracy_under_attack", 66.7),
    }


def test_the_names_say_what_is_promised(smoothed, unattacked):
    names = {one.metric_type: one.metric_name for one in hub.ModelCard(model_card([smoothed])).data.eval_results}
    assert "smoothed model" in names["certified_accuracy"]
    assert "false with probability at most 0.001" in names["certified_accuracy"]
    assert "95% sure" in names["certified_accuracy_lower"]
    assert "under pgd within l2" in names["accuracy_under_attack"]
    assert "empirical, no promise" in names["accuracy_under_attack"]
    names = {one.metric_type: one.metric_name for one in hub.ModelCard(model_card([unattacked])).data.eval_results}
    assert "(proven)" in names["certified_accuracy"]
    assert "accuracy_under_attack" not in names


def test_the_text_has_its_sections(smoothed):
    text = hub.ModelCard(model_card([smoothed])).text
    for title in ("What is claimed", "Threat model", "Results", "Limits", "Reproduce"):
        assert f"\n## {title}\n" in text
    assert smoothed.summary.statement in text
    assert smoothed.settings["data"]["digest"] in text


def test_a_contradiction_stands_above_the_claims(contradicted):
    text = hub.ModelCard(model_card([contradicted])).text
    assert text.index("CONTRADICTION") < text.index("What is claimed")


def test_hostile_names_keep_the_metadata_whole(hostile):
    card = hub.ModelCard(model_card([hostile]))
    assert card.data.model_name == hostile.name
    assert not re.search(r"(?<!\\)<script>", card.text)


def test_runs_about_two_models_are_refused(smoothed, unattacked):
    other = {**unattacked.settings, "model": {"name": "other", "digest": "f" * 64}}
    with pytest.raises(BadInput, match=r"smoothed is about .* and unattacked about other \(sha256 ffffffffffff\)"):
        model_card([smoothed, replace(unattacked, settings=other)])
    with pytest.raises(BadInput, match="at least one run"):
        model_card([])


def test_without_the_library_the_extra_is_named(smoothed, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"certify\[card\]"):
        model_card([smoothed])


def test_the_same_runs_make_the_same_card(smoothed):
    assert model_card([smoothed]) == model_card([smoothed])
