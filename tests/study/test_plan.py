"""What a study will cost is said before it begins, from a few of its inputs, and nothing is kept of them."""

import json

import numpy as np
import pytest

import certify
from certify.cli import main
from certify.errors import BadInput
from certify.study.evaluate import build
from certify.study.plan import plan_of
from tests.conftest import linear

X = np.random.default_rng(0).uniform(0, 1, (40, 2)).astype(np.float32)
Y = X.argmax(axis=1)


def study_of(certifier, threat, **settings):
    from certify.data.dataset import from_arrays

    plain = {"certifiers": [certifier], "seed": 0, "attack": None, "attack_option": {}, "options": {}}
    clf = certify.Classifier(linear([[1.0, 0.0], [0.0, 1.0]]), 2)
    return build(clf, from_arrays("given", X, Y, 2), threat, **{**plain, **settings})


def test_smoothing_is_priced_by_its_samples():
    smoothing = certify.Smoothing(sigma=0.25, n=5000, schedule="fixed", selection="label")
    plan = plan_of(study_of(smoothing, certify.ThreatModel("l2", (0.0, 0.3, 0.7))), probe=4, workers=2)
    [price] = plan.prices
    assert (plan.probed, price.inputs, price.forward_passes) == (4, 40, 5000)
    assert price.within(2) == price.within(1) / 2
    assert 0.7 < price.largest_radius < 0.8
    assert "n 500" in price.tenth
    assert price.tenth.endswith("no longer 0.7")
    assert "200,000 forward passes" in str(plan)
    assert plan.memory > 2**26


def test_proofs_and_attacks_are_priced_by_their_time():
    plan = plan_of(study_of(certify.Complete(timeout=20), certify.ThreatModel("linf", (0.0, 0.05)), attack="fgsm"))
    proof, attack = plan.prices
    assert (proof.largest_radius, proof.tenth, attack.tenth) == (None, "timeout 2.0", "")
    assert (proof.stage, attack.stage) == ("complete", "attack fgsm")
    assert 0 < proof.seconds <= proof.slowest


@pytest.mark.parametrize("asked", [{"probe": 0}, {"workers": 0}])
def test_numbers_that_mean_nothing_are_refused(asked):
    with pytest.raises(BadInput, match="at least 1"):
        plan_of(study_of(certify.Bounds("ibp"), certify.ThreatModel("linf", (0.0, 0.05))), **asked)


def test_the_command_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x=X, y=Y)
    (tmp_path / "net.py").write_text(
        "import torch\n\ndef net():\n    return torch.nn.Linear(2, 2).requires_grad_(False).eval()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "study.toml").write_text(
        'model = "net:net"\ndata = "npz:data.npz"\nradii = "0,0.1"\nsigma = "0.25,0.5"\nn = 1000\nworkers = 2\n'
    )
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["plan", "study.toml", "--probe", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("from a probe of 2 inputs") == 2
    assert "with 2" in shown
    assert main(["plan", "study.toml", "--probe", "2", "--workers", "1", "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [one["workers"] for one in made] == [1, 1]
    assert [name for name in sorted(path.name for path in tmp_path.iterdir()) if name != "__pycache__"] == before
    for wrong in (["none.toml"], ["study.toml", "--format", "xml"], ["study.toml", "--workers", "0"]):
        assert main(["plan", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
