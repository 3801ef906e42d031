"""Rules of ``certify improve``: a planted run that each one speaks about, and one about which it is silent."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import typer
from torch import nn

import certify
from certify.cli import main
from certify.cli.app import app, pairs
from certify.core.guarantee import Guarantee
from certify.core.run import Run
from certify.core.sandwich import VERDICTS, Sandwich
from certify.core.summary import Contradiction, Row, Summary
from certify.core.threats.base import Threat
from certify.core.threats.features import Features
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.errors import BadInput, IncompleteRun, ModelError, StoreError
from certify.models.networks.base import NETWORKS
from certify.registry import make
from certify.study.evaluate import _asked
from certify.study.improve.advise import Improvement, _under_noise, case_of, improve
from certify.study.improve.base import RULES, Advice, Case
from certify.study.improve.commands import commands_of
from certify.study.improve.losses import MEANINGS, losses_of
from certify.study.improve.origin import Origin, origin_of
from certify.study.improve.prices import PRICES
from certify.study.improve.records import Sampling, Spent, Votes, spent_and_votes
from certify.study.read import certificates_of, read_run
from certify.study.settings import sweep
from certify.training.recipe import RECIPES

L2 = ThreatModel("l2", (0.0, 0.25, 0.5), (0.0, 1.0))
LINF = ThreatModel("linf", (0.0, 0.05, 0.1), (0.0, 1.0))
N = 100


def origin(recipe: str, curve: Any = ((0.1, None),) * 60, held_out: int = 0, chosen: int | None = None, **settings):
    defaults = {"epochs": len(curve), "batch_size": 64, "learning_rate": 0.01, "shift": 0, "flip": False}
    share = 0.1 if held_out else 0.0
    end = chosen or len(curve)
    return Origin(
        recipe, {**defaults, **settings}, "small", {"width": "8"}, 0, (held_out, share), tuple(curve), end, 6.0
    )


def case(
    radii: Any = (),
    *,
    threat: Threat = LINF,
    method: str = "crown",
    broken: Any = (),
    wrong: int = 0,
    votes: Any = None,
    origin: Origin | None = None,
    verdicts: dict[int, Verdict] | None = None,
    frozen: bool = False,
    attacked: bool = True,
    label: Any = None,
    late: int = 0,
    classes: int = 10,
    looks: Any = ((1000, 0.001),),
    contradictions: Any = (),
    reasons: Any = (),
) -> Case:
    """The i-th of 100 inputs is certified to radii[i] and broken at broken[i]; the last ``wrong`` are misclassified.

    ``votes`` are for the label, of those of the last look; the rest are for one other class.
    """
    sigma = 0.25
    certified = np.full(N, np.nan)
    certified[: len(radii)] = radii
    distance = np.full(N, np.nan)
    distance[: len(broken)] = broken
    labels = np.zeros(N, dtype=np.int64) if label is None else np.array(label)
    prediction = np.where(np.arange(N) >= N - wrong, labels + 1, labels)
    distance[prediction != labels] = 0.0
    places = np.full(N, VERDICTS.index(Verdict.UNKNOWN), dtype=np.int8)
    places[~np.isnan(certified)] = VERDICTS.index(Verdict.CERTIFIED)
    for row, verdict in (verdicts or {}).items():
        places[row] = VERDICTS.index(verdict)
    sandwich = Sandwich(
        np.arange(N), labels, prediction, places, certified, certified, distance, certified, np.full(N, 0.1)
    )
    rows = tuple(
        Row(radius, float(np.mean(certified >= radius)), 0.0, 0.5 if attacked else None, 0, 0)
        for radius in threat.radii
    )
    smoothed = votes is not None
    summary = Summary(
        threat=threat,
        n=N,
        clean=1 - wrong / N,
        rows=rows,
        acr=0.0,
        contradictions=tuple(contradictions),
        guarantee=Guarantee.probabilistic(0.001) if smoothed else Guarantee.deterministic(),
        statement="",
        sandwich=sandwich,
        head={"model": "net", "data": "digits", "threat": str(threat)},
        methods=("smoothing" if smoothed else method,),
        dimensions=784,
    )
    certifier = {"method": summary.methods[0], **({"sigma": sigma, "n": 1000} if smoothed else {"timeout": 2.0})}
    settings = {
        "model": {"name": "net", "digest": "d"},
        "data": {"name": "digits test", "digest": "e", "inputs": N, "of": N},
        "threat": threat.to_dict(),
        "certifiers": [certifier],
        "attack": None,
    }
    study = {"model": "models/net", "data": "digits", "radii": list(threat.radii), "certifier": [summary.methods[0]]}
    study |= {"sigma": sigma, "n": 1000} if smoothed else {}
    context = {"study": study, "num_classes": classes}
    run = Run("made", summary, settings, context, Path("runs/made"))
    found = None
    if smoothed:
        own, n = np.array(votes), np.full(N, looks[-1][0])
        found = Votes(np.arange(N), own / n, n, own, n - own, Sampling("gaussian", sigma, tuple(looks), 0.001))
    return Case(
        run,
        losses_of(run, found, None if found is None else found.sampling.cap),
        found,
        Spent(N * 1000, late, Counter(dict(reasons))),
        origin,
        commands_of(settings, context, origin, str(run.path)),
        {
            "label": [
                {
                    str(one): (int(np.sum((certified >= radius) & (labels == one))), int(np.sum(labels == one)))
                    for one in sorted(set(labels.tolist()))
                }
                for radius in threat.radii
            ]
        },
        frozen,
    )


SURE = [1000] * N
"""Votes of which all are for the label."""

BARE = {"threat": L2, "votes": [300] * N, "verdicts": dict.fromkeys(range(N), Verdict.ABSTAIN), "wrong": 0}
FALLING = tuple((2.0 * 0.9**epoch, None) for epoch in range(10))
FELL = tuple((2.0 * 0.9**epoch, 0.9 if epoch < 5 else 0.7) for epoch in range(60))
HALF_BROKEN = {"radii": [0.01] * N, "broken": [0.05] * 50}
OPEN = {"radii": [0.06] * N}
KNOWS = origin("noise", sigma=0.25)


def hidden(retention: int, last: float, recipe: Origin | None) -> Case:
    """A run of ablation on 64 features: the base model is right on 60 % of what it is shown."""
    one = case([], threat=Features((0, 1, last), input_box=(0.0, 1.0)), votes=[600] * N, origin=recipe, wrong=0)
    law = {"noise": "ablation", "retention": retention, "null": -1.0, "n": 1000}
    settings = {**one.run.settings, "certifiers": [{"method": "smoothing", **law}]}
    study = {"model": "models/net", "data": "digits", "radii": [0, 1, last], "threat": "features", **law}
    context = {**one.run.context, "study": study}
    votes = replace(one.votes, sampling=replace(one.votes.sampling, noise="ablation", measure=(64, retention)))
    return replace(
        one,
        run=replace(one.run, settings=settings, context=context),
        votes=votes,
        losses=losses_of(one.run, votes, votes.sampling.cap),
        commands=commands_of(settings, context, recipe, "runs/made"),
    )


PLANTED: dict[str, tuple[Case, Case]] = {
    "ablation": (
        hidden(10, 2, origin("ablation", retention=30)),
        hidden(10, 2, origin("ablation", retention=10, null=-1.0)),
    ),
    "retention": (hidden(30, 8, None), hidden(5, 2, None)),
    "breaks": (case(**HALF_BROKEN, origin=origin("standard")), case(**HALF_BROKEN, origin=origin("pgd", eps=0.1))),
    "cap": (
        case([0.6] * N, threat=replace(L2, radii=(0.0, 0.5, 1.0)), votes=SURE, origin=KNOWS),
        case([0.6] * N, threat=L2, votes=SURE),
    ),
    "clean-loss": (
        case([0.1] * 70, wrong=30, origin=origin("ibp", eps=0.1)),
        case([0.1] * 70, wrong=30, origin=origin("standard")),
    ),
    "consistency": (
        case([0.3] * N, threat=L2, votes=[960] * N, origin=KNOWS),
        case([0.5] * N, threat=L2, votes=SURE, origin=KNOWS),
    ),
    "contradiction": (
        case([0.1] * N, contradictions=[Contradiction(3, "crown", 0.1, "pgd", 0.05)]),
        case([0.1] * N),
    ),
    "denoise": (case(**BARE, origin=origin("standard"), frozen=True), case(**BARE, origin=origin("standard"))),
    "eps": (case(**OPEN, origin=origin("sabr", eps=0.05)), case(**OPEN, origin=origin("sabr", eps=0.1))),
    "failed": (
        case([0.1] * 90, verdicts=dict.fromkeys(range(90, N), Verdict.ERROR), reasons=[("no rule", 10)]),
        case([0.1] * 90),
    ),
    "group": (
        case([0.1] * 80, label=[0] * 40 + [1] * 40 + [2] * 20),
        case([0.1 if row % 2 else 0.0 for row in range(N)], label=[row % 10 // 2 for row in range(N)]),
    ),
    "lipschitz": (case([0.1] * N, threat=L2, attacked=False), case([0.1] * N)),
    "no-attack": (case(**OPEN, attacked=False), case(**OPEN)),
    "noise": (
        case(**BARE, origin=origin("standard")),
        case([0.5] * N, threat=L2, votes=SURE, origin=origin("standard")),
    ),
    "overfit": (
        case([0.05] * N, origin=origin("ibp", FELL, held_out=500, chosen=1, eps=0.1)),
        case([0.05] * N, origin=origin("ibp", FELL, held_out=10, chosen=1, eps=0.1)),
    ),
    "provable": (case(**OPEN, origin=origin("pgd", eps=0.1)), case([0.1] * N, origin=origin("pgd", eps=0.1))),
    "samples": (case([0.4] * N, threat=L2, votes=[990] * N), case([0.4] * N, threat=L2, votes=[800] * N)),
    "short": (
        case(**OPEN, origin=origin("ibp", FALLING, eps=0.1)),
        case(**OPEN, origin=origin("ibp", ((0.1, None),) * 10, eps=0.1)),
    ),
    "sigma-large": (
        case([0.5] * 70, threat=replace(L2, radii=(0.0, 0.1)), votes=[700] * N, origin=KNOWS, wrong=30),
        case([0.5] * 70, threat=L2, votes=[700] * N, origin=KNOWS, wrong=30),
    ),
    "sigma-small": (
        case([0.5] * 50 + [0.3] * 50, threat=L2, votes=[990] * N, origin=KNOWS),
        case([0.5] * 50 + [0.3] * 50, threat=replace(L2, radii=(0.0, 0.1)), votes=[990] * N, origin=KNOWS),
    ),
    "smoothadv": (
        case([0.3] * N, threat=L2, votes=[960] * N, origin=origin("consistency", sigma=0.25)),
        case([0.3] * N, threat=L2, votes=[960] * N, origin=KNOWS),
    ),
    "tighter": (case(**OPEN), case(**OPEN, method="complete")),
    "timeouts": (case(**OPEN, method="complete", late=20), case(**OPEN, method="complete")),
}


def said_by(rule: str, one: Case) -> list[Advice]:
    return list(RULES[rule](one))


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_speaks_about_its_planted_run_and_is_silent_about_another(rule):
    speaks, silent = PLANTED[rule]
    [advice, *_] = said_by(rule, speaks)
    assert not said_by(rule, silent)
    assert advice.rule == rule
    assert 0 <= advice.reach <= 1
    assert all([advice.do, advice.sees, advice.why, advice.source, advice.cost, advice.refuted, advice.commands])


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_command_is_understood(rule):
    for advice in said_by(rule, PLANTED[rule][0]):
        for command in advice.commands:
            understood(command)


def understood(command: str) -> None:
    """Parse a command as the shell and the command line do, up to the point where files are opened."""
    name, verb, *words = shlex.split(command)
    assert name == "certify"
    __import__(f"certify.cli.{verb}")
    context = typer.main.get_command(app).commands[verb].make_context(verb, words)  # type: ignore[attr-defined]
    given = {key: value for key, value in context.params.items() if value is not None}
    if verb == "train":
        make(RECIPES, given["recipe"], pairs("setting", given.get("setting", [])))
        options = pairs("network option", given.get("network_option", []))
        make(NETWORKS, given.get("network", "small"), {**options, "input_shape": (1, 28, 28), "num_classes": 10})
    if verb == "run":
        for option in ("option", "attack_option"):
            given[option] = pairs(option, given.get(option) or []) or None
        flags = {**given, "out": str(given["out"])}
        del flags["quiet"], flags["verbose"]
        for settings, _ in sweep({key.replace("_", "-"): value for key, value in flags.items() if value is not None}):
            _asked(settings)


def test_losses_count_every_input_once():
    verdicts = {97: Verdict.ERROR, 98: Verdict.ABSTAIN, 99: Verdict.ABSTAIN}
    one = case(
        [0.3] * 50,
        threat=replace(L2, radii=(0.0, 0.5, 1.0)),
        votes=[900] * 99 + [100],
        verdicts=verdicts,
        wrong=3,
        broken=[0.5] * 60,
    )
    for loss in one.losses:
        assert loss.certified + loss.of(*MEANINGS) == pytest.approx(1)
    at_half, beyond = one.losses[1:]
    assert at_half.shares == pytest.approx(
        {"failed": 0.01, "wrong": 0.01, "abstained": 0.01, "beyond": 0.0, "broken": 0.6, "open": 0.37}
    )
    assert beyond.of("beyond") == pytest.approx(0.97)


def test_a_frozen_model_is_never_trained(monkeypatch):
    for speaks, _ in PLANTED.values():
        for rule in RULES:
            for advice in said_by(rule, replace(speaks, frozen=True)):
                assert not advice.trains or rule == "denoise", rule
                assert rule == "denoise" or "certify train" not in " ".join(advice.commands)


def test_the_most_promising_comes_first_and_of_equals_what_trains_nothing():
    one = case(**OPEN, origin=origin("standard"))
    said = [advice for rule in RULES for advice in RULES[rule](one)]
    first, second, *_ = sorted(said, key=lambda advice: (-advice.reach, advice.trains))
    assert (first.rule, second.rule) == ("tighter", "provable")
    assert first.reach == second.reach


def test_a_projection_of_votes_is_what_ten_times_the_samples_certify():
    [advice] = said_by("samples", PLANTED["samples"][0])
    votes = PLANTED["samples"][0].votes
    assert votes is not None
    assert advice.projected
    assert votes.sampling.radius(100, 10_000, 0.001) >= 0.5 > votes.sampling.radius(10, 1000, 0.001)
    assert advice.reach == 0.5  # all inputs at one of two radii above 0


def test_sampling_agrees_with_the_theorem():
    sampling = Sampling("gaussian", 0.5, ((1000, 0.0005), (100_000, 0.0005)), 0.001)
    theorem = certify.Smoothing(sigma=0.5, n=100_000, alpha=0.0005, schedule="fixed").largest_radius(L2, (4,))
    assert sampling.cap == pytest.approx(theorem, rel=1e-6)
    assert sampling.samples_for(sampling.radius(0, 5000, 0.001)) == pytest.approx(5000, rel=1e-3)


def test_prices_are_about_the_recipes_as_they_are():
    assert PRICES.keys() == set(RECIPES)
    for name, price in PRICES.items():
        recipe = make(RECIPES, name, {"base": "net"} if name == "denoise" else {})
        assert recipe.epochs == price.epochs, name
        own = vars(recipe)
        assert price.step(own) == price.step({}), name
    crown, ibp = PRICES["crown-ibp"].step, PRICES["ibp"].step
    assert crown({"growth": 0.8}) > crown({"growth": 0.8, "warm_up": 0.4}) == crown({}) > 4 * ibp({})


def test_commands_quote_what_a_manifest_says():
    study = {"model": "a net; rm -rf x", "data": "npz:t.npz", "radii": [0.1], "decide": True, "option": {"threat.k": 1}}
    commands = commands_of({}, {"study": study}, None, "runs/a")
    words = shlex.split(commands.again("b", attack="pgd"))
    assert words[3] == "a net; rm -rf x"
    assert words[-7:] == ["--decide", "--option", "threat.k=1", "--attack", "pgd", "--out", "runs/a-b"]
    train, run = commands.trained("noise", sigma=8 / 255)
    assert "TRAINING_DATA" in train
    assert shlex.split(run)[3] == "runs/a-noise-model"
    assert float(shlex.split(train)[6].partition("=")[2]) == 8 / 255


def test_a_network_of_ones_own_is_certified_by_its_function_and_its_new_weights():
    own = Origin("noise", {"sigma": 0.25}, "mynet:build", {}, 0, (0, 0.0), ((0.5, None),), 1, 6.0)
    study = {"model": "mynet:build@m/model.safetensors", "data": "digits", "radii": [0.1]}
    commands = commands_of({}, {"study": study}, own, "runs/a")
    train, run = (shlex.split(one) for one in commands.trained("consistency", sigma=0.25))
    assert train[-1] == "runs/a-consistency-model"
    assert run[3] == "mynet:build@runs/a-consistency-model"
    assert shlex.split(commands.trained("lipschitz")[1])[3] == "runs/a-lipschitz-model"


X = np.random.default_rng(0).uniform(0, 1, (16, 1, 4, 4)).astype(np.float32)
Y = (X[:, 0, :2].mean((1, 2)) > X[:, 0, 2:].mean((1, 2))).astype(np.int64)
THREAT = certify.ThreatModel("linf", (0.0, 0.01, 0.05), (0.0, 1.0))


class Halves(nn.Module):
    """The brighter half of an image wins: the parts of its margin are known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 0, 2:].mean((1, 2)), x[:, 0, :2].mean((1, 2))], dim=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("improve")
    np.savez(folder / "t.npz", x=X, y=Y)
    out = folder / "net"
    data = certify.Dataset("t", X, Y, 2, (0.0, 1.0))
    certify.train("standard", data, out, network="mlp", epochs=3, batch_size=8)
    args = ["--model", str(out), "--data", f"npz:{folder / 't.npz'}", "--quiet", "--input-box", "0,1"]
    args += ["--attack", "pgd", "--attack-option", "steps=5", "--attack-option", "restarts=1"]
    run = str(folder / "run")
    assert main(["run", *args, "--certifier", "crown", "--radii", "0,0.01,0.05", "--out", run]) == 0
    smoothed = str(folder / "smoothed")
    main(["run", *args, "--sigma", "0.5", "--n", "200", "--radii", "0,0.25", "--out", smoothed])
    return SimpleNamespace(folder=folder, run=run, smoothed=smoothed, net=out)


def test_a_run_from_the_command_line_in_every_format(made, capsys):
    assert main(["improve", made.run]) == 0
    text = capsys.readouterr().out
    assert "radius  certified %" in text
    assert max(len(line) for line in text.splitlines() if " certify " not in line) <= 110
    assert main(["improve", made.run, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["origin"] == "standard"
    assert {"losses", "advice", "notes", "explained"} <= told.keys()
    reaches = [one["reach"] for one in told["advice"]]
    assert reaches == sorted(reaches, reverse=True)
    assert main(["improve", made.smoothed, "--format", "markdown", "--frozen"]) == 0
    assert "The model may not be trained again" in capsys.readouterr().out
    for one in improve(made.smoothed).advice:
        for command in one.commands:
            understood(command)


def test_votes_are_those_of_the_records(made):
    records = list(certificates_of(made.smoothed))
    spent, votes = spent_and_votes(records)
    assert votes is not None
    assert spent.passes == sum(one.forward_passes for one in records)
    first = [one.evidence.looks[0].counts.get(one.label, 0) / one.evidence.looks[0].n for one in records]
    assert votes.accuracy == pytest.approx(np.mean(first))
    assert votes.accuracy_within()[0] < votes.accuracy < votes.accuracy_within()[1]


def test_a_run_begun_from_python_has_stand_ins(tmp_path):
    classifier = certify.Classifier(Halves().eval(), num_classes=2, input_box=(0.0, 1.0))
    certify.evaluate(classifier, (X, Y), threat=THREAT, certifier="ibp", attack="pgd", out=tmp_path / "run")
    found = improve(tmp_path / "run")
    assert any("MODEL and DATA stand for" in note for note in found.notes)
    assert found.case.origin is None
    for advice in found.advice:
        for command in advice.commands:
            understood(command)


def test_nothing_to_improve_is_said():
    found = Improvement(case([0.1] * N), (), ())
    assert "nothing to improve: 0.0 points" in str(found)
    assert "no rule explains the 50.0 points" in Improvement(case([0.1] * 50), (), ()).closing


def test_a_threat_without_recipes_has_advice_about_certifying_alone():
    one = case([1.0] * 50, threat=Features(radii=(1, 2), input_box=(0.0, 1.0)), origin=None)
    said = [advice for rule in RULES for advice in RULES[rule](one)]
    assert said
    assert not any(advice.trains for advice in said)


def test_bad_input_is_one_line(made, tmp_path, capsys):
    for words, said in (
        (["improve", str(tmp_path)], "is not a run folder"),
        (["improve", made.run, "--format", "xml"], "unknown improve format 'xml'"),
        (["improve", made.run, "--plot", "a.svg"], "--plot is for explanations"),
        (["improve", made.run, "--explain", "0"], "explain must be a number of inputs"),
        (["improve", made.run, "--explain", "2", "--plot", "a.gif"], "none of .svg, .png, .pdf"),
        (["improve", made.run, "--group", "a.csv:b"], "no file 'a.csv'"),
    ):
        assert main(words) == 2, words
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1


def test_unfinished_empty_and_published_runs_are_refused(made, tmp_path, logs_of, capsys):
    part = shutil.copytree(made.run, tmp_path / "part")
    with sqlite3.connect(part / "run.sqlite") as store:
        store.execute("DELETE FROM certificates WHERE position > 10")
    store.close()
    with pytest.raises(IncompleteRun, match="is not finished, 11 of 16 inputs"):
        improve(part)
    with sqlite3.connect(part / "run.sqlite") as store:
        store.execute("DELETE FROM certificates")
    store.close()
    with pytest.raises(StoreError, match="holds no certificate yet"):
        improve(part)
    settings = ["--sigma", "0.25", "--n", "100", "--alpha", "0.0001", "--out", str(tmp_path / "log")]
    assert main(["import", str(logs_of), *settings]) == 0
    assert main(["improve", str(tmp_path / "log")]) == 2
    assert "is a published log without model and data" in capsys.readouterr().err


@pytest.fixture
def logs_of(tmp_path) -> Path:
    lines = "".join(f"{place}\t1\t1\t0.3\t1\t0:00:01.5\n" for place in range(5))
    file = tmp_path / "log.tsv"
    file.write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n" + lines)
    return file


def test_a_group_is_named_no_more_often_than_stated_where_groups_do_not_differ():
    label = np.arange(N) % 2
    certified = [0.2 if place // 2 < (40, 30)[place % 2] else np.nan for place in range(N)]
    # 30 of 50 beside 40 of 50: 0.001 if the 80 % were known exactly, 0.024 as they are
    assert not said_by("group", case(certified, label=label))
    certified = [0.2 if place // 2 < (45, 25)[place % 2] else np.nan for place in range(N)]
    assert len(said_by("group", case(certified, label=label))) == 1
    rng = np.random.default_rng(0)
    named = sum(
        bool(said_by("group", case(np.where(rng.random(N) < 0.7, 0.2, np.nan), label=label))) for _ in range(400)
    )
    assert named <= 0.05 * 400


def test_inputs_of_a_fold_are_grouped_by_their_positions_in_the_whole_data(made, tmp_path):
    run = read_run(made.run)
    np.savez(tmp_path / "parts.npz", part=np.arange(40) % 2)
    fold = {**run.settings["data"], "of": 17, "fold": [0, 2]}
    found, _ = case_of(replace(run, settings={**run.settings, "data": fold}), [f"{tmp_path / 'parts.npz'}:part"])
    [of_each] = [tables[0] for name, tables in found.groups.items() if name != "label"]
    assert {name: n for name, (_, n) in of_each.items()} == {"0": 8, "1": 8}
    np.savez(tmp_path / "slices.npz", low=np.arange(40) < 9)
    with pytest.raises(BadInput, match="slices overlap: name one column"):
        case_of(replace(run, settings={**run.settings, "data": fold}), [f"slices:{tmp_path / 'slices.npz'}"])


def test_origins_are_those_of_the_certified_model(made, tmp_path):
    digest = json.loads((made.net / "model.json").read_text())["digest"]
    found, unknown = origin_of(str(made.net), digest)
    assert found is not None
    assert (found.recipe, len(found.curve), unknown) == ("standard", 3, "")
    assert origin_of(str(made.net), "0" * 64)[1].endswith("how the certified one was trained is unknown")
    assert origin_of("net.onnx", digest)[0] is None
    trained = json.loads((made.net / "training.json").read_text())["asked"]
    assert origin_of(str(made.net), digest, trained)[0] == found
    assert "holds another training by now" in origin_of(str(made.net), digest, {**trained, "seed": 1})[1]
    at = shutil.copytree(made.net, tmp_path / "net@home")
    assert origin_of(str(at), digest)[0] == found
    smoothed = read_run(made.smoothed)
    kept = case_of(smoothed)[0]
    measured = replace(kept.origin, curve=((0.5, 0.25), (0.4, 0.75), (0.3, 0.5)), chosen_epoch=2)
    assert "without noise it was right on 75.0 %" in _under_noise(replace(kept, origin=measured))
    assert "do not say" in _under_noise(kept)
    broken = shutil.copytree(made.net, tmp_path / "net")
    (broken / "training.json").write_text('{"asked": {"recipe": 3}}')
    with pytest.raises(ModelError, match="is no whole model folder"):
        origin_of(str(broken), digest)
    whole = (made.net / "training.json").read_text()
    for content in (
        whole.replace('"settings": {', '"settings": {"steps": "many", '),
        whole.replace('"settings": {', '"settings": {"draws": 0, '),
        '{"asked": ' + '{"a": ' * 5000 + "1" + "}" * 5001,
    ):
        (broken / "training.json").write_text(content)
        with pytest.raises(ModelError, match="is no whole model folder"):
            origin_of(str(broken), digest)
