"""A table whose features have bounds of their own: proofs, examples, records, checks, the command line."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.bounds.output import ball_bounds
from certify.cli import main
from certify.core.input_box import check_box
from certify.errors import BadInput, DataError
from certify.study.checking import check_run
from certify.study.evaluate import evaluate
from tests.conftest import linear

LOWER, UPPER = [0.0, -5.0, 100.0], [1.0, 5.0, 100.0]  # the last one never moves


@pytest.fixture
def table() -> tuple[certify.Classifier, torch.Tensor, list[int]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    clf = certify.Classifier(net, num_classes=2, input_box=(LOWER, UPPER))
    x = torch.tensor([[0.5, 1.0, 100.0], [1.0, -5.0, 100.0], [0.0, 4.0, 100.0]])
    return clf, x, clf.predict(x).tolist()


def corners(x: torch.Tensor, radius: float) -> torch.Tensor:
    """All corners, and a grid between, of a linf ball cut by the box."""
    low = torch.maximum(x - radius, torch.tensor(LOWER))
    high = torch.minimum(x + radius, torch.tensor(UPPER))
    shares = torch.tensor(list(itertools.product(torch.linspace(0, 1, 9).tolist(), repeat=3)))
    return low + shares * (high - low)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_bounds_hold_in_the_box_and_use_it(
    table: tuple[certify.Classifier, torch.Tensor, list[int]], norm: str
) -> None:
    clf, x, _ = table
    exact = copy.deepcopy(clf.module).double()
    lower, upper = ball_bounds(clf, x, 2.0, norm)
    for i, centre in enumerate(x):
        points = corners(centre, 2.0)
        near = torch.linalg.vector_norm(points - centre, ord={"linf": torch.inf, "l2": 2, "l1": 1}[norm], dim=1) <= 2
        scores = exact(points[near].double())
        assert (scores >= lower[i].double()).all()
        assert (scores <= upper[i].double()).all()
    wide = ball_bounds(clf, x, 2.0, norm, input_box=(-200, 200))
    assert ((upper - lower) < (wide[1] - wide[0])).all()


def test_an_attack_and_a_proof_decide_what_enumeration_says() -> None:
    net = linear([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], [-102.0, 0.0])  # class 0 where the sum is above 102
    clf = certify.Classifier(net, num_classes=2, input_box=(LOWER, UPPER))
    x = torch.tensor([[0.5, 2.5, 100.0]])
    threat = certify.ThreatModel("linf", (0.0, 0.75, 2.0))
    [bound] = certify.bound(clf, x, threat=threat)
    # The first feature falls to 0 and no further, the last stays: 0.5 + r = 1 is where the sum is 102.
    assert 0.499 < bound.radius <= 0.5
    [complete] = certify.verify(clf, x, threat=threat, gap=0.01)
    assert 0.49 < complete.radius <= 0.5
    [found] = certify.attack(clf, x, [0], threat=threat, attack="pgd")
    assert found.x_adv is not None
    assert (found.x_adv >= LOWER).all()
    assert (found.x_adv <= UPPER).all()


def test_features_take_any_value_of_their_own_bounds() -> None:
    net = linear([[1.0, 0.1, 0.0], [0.0, 0.0, 0.0]], [0.3, 0.0])
    clf = certify.Classifier(net, num_classes=2, input_box=(LOWER, UPPER))
    x = torch.tensor([[0.5, 1.0, 100.0]])
    threat = certify.Features((1, 2))
    for certified in (certify.bound(clf, x, threat=threat), certify.verify(clf, x, threat=threat)):
        # The worst single change is the second feature's fall to -5: 0.5 - 0.5 + 0.3 > 0; both: -0.2.
        assert certified[0].radius == 1
    [found] = certify.attack(clf, x, [0], threat=threat, attack="pgd")
    assert found.distance == 2


@pytest.mark.parametrize("data", ["csv:table.csv", "npz:table.npz"])
def test_a_run_on_a_table_and_its_check(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "boxed_net.py").write_text(
        "import torch\ndef net():\n    torch.manual_seed(1)\n    return torch.nn.Linear(3, 2).eval()\n"
    )
    generator = np.random.default_rng(0)
    x = np.column_stack([generator.random(20), generator.uniform(-5, 5, 20), np.full(20, 100.0)])
    rows = "\n".join(f"{','.join(map(repr, row.tolist()))},{i % 2}" for i, row in enumerate(x))
    Path("table.csv").write_text(f"a,b,c,label\n{rows}\n")
    np.savez("table.npz", x=x, y=np.arange(20) % 2)
    np.save("box.npy", np.array([LOWER, UPPER]))
    run = ["run", "--model", "boxed_net:net", "--data", data, "--threat", "features", "--radii", "0,1"]
    run += ["--certifier", "crown", "--attack", "pgd", "--out", "r", "--quiet"]
    assert main([*run, "--input-box", "box.npy"]) == 0
    assert "bounds of 3 features" in capsys.readouterr().out
    assert main(["check", "r", "--model", "boxed_net:net", "--quiet"]) == 3
    assert "say so with --input-box" in capsys.readouterr().out.replace("\n", " ")
    assert main(["check", "r", "--model", "boxed_net:net", "--input-box", "box.npy", "--quiet"]) == 0
    assert check_run("r", model="boxed_net:net", input_box=(-200, 200)).refuted  # the run left out what may be
    assert main([*run[:-2], "s"]) == 2  # features without a box
    assert main([*run[:-2], "t", "--input-box", "0,1"]) == 2  # the data leave it
    assert main(["report", "r", "--html", "r.html"]) == 0
    assert "bounds of 3 features" in Path("r.html").read_text()


def test_data_and_model_state_the_same_box(table: tuple[certify.Classifier, torch.Tensor, list[int]]) -> None:
    clf, x, y = table
    threat = certify.ThreatModel("linf", (0.0, 0.1))
    assert (
        evaluate(clf, (x, y), threat=threat, certifier="ibp", attack="fgsm").summary.threat.input_box == clf.input_box
    )
    with pytest.raises(BadInput, match="state it once"):
        certify.bound(clf, x, threat=certify.ThreatModel("linf", (0.1,), input_box=(0, 1)))
    with pytest.raises(DataError, match="feature 0 of input 0 is 1.5, outside"):
        certify.bound(clf, [[1.5, 0.0, 100.0]], threat=threat)
    with pytest.raises(BadInput, match="one pair of bounds for all features"):
        certify.attack(clf, x, y, threat=threat, attack="autoattack")


def test_bounds_from_the_data_hold_the_data() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4)) * [1, 10, 100, 1e-3]
    clf = certify.Classifier(linear(np.eye(4).tolist()), 4, input_box=(x.min(axis=0), x.max(axis=0)))
    assert len(certify.bound(clf, x, threat=certify.ThreatModel("l2", (0.0, 0.1)))) == 50
    assert clf.input_box.contains(check_box((x.min(axis=0), x.max(axis=0))))
