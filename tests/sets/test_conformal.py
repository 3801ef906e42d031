"""``certify.conformal``: what it promises and shows, and what it refuses, each in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import certify
from certify.core.prediction_sets import SET_FORMATS, SET_PLOTS
from certify.core.threats.base import THREATS
from certify.errors import CertifyError
from certify.sets.bounded import BoundedScores
from certify.sets.scores import SCORES, leads
from tests.conftest import linear

LINF = certify.ThreatModel("linf", (0.0, 0.05, 0.2))


@pytest.fixture(scope="module")
def clf():
    return certify.Classifier(linear([[3.0, 0.0], [0.0, 3.0], [1.0, 1.0]]), num_classes=3)


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.uniform(0, 1, (n, 2)).astype(np.float32)
    return x, (9 * x @ np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 0.3]]) + generator.gumbel(size=(n, 3))).argmax(1)


@pytest.fixture(scope="module")
def found(clf):
    return certify.conformal(clf, drawn(60, 1), drawn(99, 2), threat=LINF)


def test_sets_grow_with_the_radius_and_keep_what_is_proven(found):
    assert (found.rank, len(found.scores), found.threshold) == (90, 99, sorted(found.scores)[89])
    assert [row.size for row in found.rows] == sorted(row.size for row in found.rows)
    for one in found.inputs:
        assert one.plain == one.sets[0]
        assert set(one.sets[0]) <= set(one.sets[1]) <= set(one.sets[2])
    for row in found.rows:
        assert found.proven <= row.attacked <= 1
        assert row.plain_proven <= row.plain_attacked
        assert found.proven <= row.covered
    assert found.rows[2].plain_attacked < found.rows[2].attacked
    assert found.contradictions == ()


def test_bounds_on_the_wrong_side_are_a_contradiction(clf, monkeypatch):
    right = BoundedScores._lowest
    monkeypatch.setattr(BoundedScores, "_lowest", lambda self, x, classes, radius: right(self, x, classes, radius) + 5)
    found = certify.conformal(clf, drawn(60, 1), drawn(99, 2), threat=LINF)
    assert len(found.contradictions) > 10
    assert "CONTRADICTION: the sets of inputs" in str(found)


def test_the_same_call_gives_the_same_record(clf, found):
    again = certify.conformal(clf, drawn(60, 1), drawn(99, 2), threat=LINF)
    assert json.dumps(again.to_dict()) == json.dumps(found.to_dict())


@pytest.mark.parametrize("format", list(SET_FORMATS))
def test_every_format_says_what_is_promised(found, format):
    text = found.render(format)
    assert "With probability at least 90" in text
    assert found._repr_html_().startswith("<div>")
    assert str(found).splitlines()[0].startswith("threat")


@pytest.mark.parametrize("kind", list(SET_PLOTS))
def test_plots_are_drawn(found, kind):
    from matplotlib.figure import Figure

    assert found.plot(Figure().subplots(), kind).get_legend() is not None


def test_without_labels_there_are_sets_and_no_coverage(clf):
    x, _ = drawn(10, 1)
    found = certify.conformal(clf, (x, None), drawn(99, 2), threat=LINF)
    assert found.proven is None
    assert found.rows[1].covered is None
    assert len(found.inputs[0].sets) == 3
    assert found.inputs[0].label is None


def test_too_few_calibration_inputs_give_every_class_and_say_so(clf):
    found = certify.conformal(clf, drawn(5, 1), drawn(8, 2), threat=LINF, attack=False)
    assert found.threshold == np.inf
    assert all(one.sets == ((0, 1, 2),) * 3 for one in found.inputs)
    assert "TOO FEW: 8 calibration inputs" in str(found)
    assert "9 can" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_larger_coverage_makes_larger_sets(clf):
    sizes = [
        certify.conformal(clf, drawn(60, 1), drawn(99, 2), threat=LINF, coverage=c, attack=False).rows[1].size
        for c in (0.5, 0.8, 0.95)
    ]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"coverage": 1.5}, "coverage must lie strictly between 0 and 1, got 1.5"),
        ({"score": "aps"}, "unknown nonconformity score 'aps'"),
        ({"certifier": "lipschitz"}, "lipschitz bounds no scores"),
        ({"certifier": certify.Complete()}, "complete bounds no scores"),
        ({"threat": certify.Brightness((0.1,))}, "symmetric threats are"),
        ({"threat": ("linf", 0.1)}, "expected a certify.ThreatModel"),
        ({"calibration": drawn(60, 1)}, "60 inputs among the calibration inputs are also among those"),
        ({"calibration": (np.zeros((9, 3), np.float32), np.zeros(9, int))}, "calibration inputs have shape (3,)"),
        ({"calibration": (2 + drawn(9)[0], drawn(9)[1])}, "the calibration inputs"),
        ({"calibration": (drawn(9)[0], np.full(9, 7))}, "the calibration inputs: label 7 of input 0 is out of range"),
        ({"calibration": (drawn(9)[0], None)}, "calibration inputs need labels"),
        ({"calibration": (np.full((9, 2), np.nan), np.zeros(9, int))}, "the calibration inputs: input 0 contains NaN"),
    ],
)
def test_what_cannot_be_right_is_one_line(clf, changed, words):
    given = {"calibration": drawn(30, 2), "threat": LINF, **changed}
    with pytest.raises(CertifyError) as caught:
        certify.conformal(clf, drawn(60, 1), given.pop("calibration"), **given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_models_without_classes_or_bounds_are_refused():
    regressor = certify.Regressor(linear([[1.0, 2.0]]))
    with pytest.raises(CertifyError, match="sets of classes"):
        certify.conformal(regressor, (drawn(5)[0], None), (drawn(9, 1)[0], np.zeros(9, int)), threat=LINF)
    function = certify.Classifier(lambda x: x, num_classes=2)
    with pytest.raises(CertifyError, match="nn.Module"):
        certify.conformal(function, drawn(5, 1), (drawn(9)[0], np.zeros(9, int)), threat=LINF)
    with pytest.raises(CertifyError, match="num_classes must be at least 2"):
        certify.Classifier(torch.nn.Linear(2, 1).eval(), num_classes=1)


def test_threats_that_call_themselves_symmetric_are():
    """What sets rest on: whoever made x' out of X within a radius could make X out of x'."""
    generator = np.random.default_rng(0)
    threats = [certify.ThreatModel(norm, (1.0,), scale=(1.0, 2.0, 0.5, 1.0)) for norm in ("linf", "l2", "l1")]
    threats += [certify.Features((1,), input_box=(0.0, 1.0)), certify.Features((1,), "0:2,2:4", input_box=(0.0, 1.0))]
    threats += [certify.Categories((1,), "0:2,2:4"), certify.Patch((1,), input_box=(0.0, 1.0))]
    assert {type(one) for one in threats} == {one for one in THREATS.values() if one.symmetric}
    for threat in threats:
        for _ in range(50):
            x, other = (np.round(generator.uniform(0, 1, 4), 1).astype(np.float32) for _ in range(2))
            if isinstance(threat, certify.Categories):
                x, other = (np.eye(2, dtype=np.float32)[generator.integers(0, 2, 2)].ravel() for _ in range(2))
            if isinstance(threat, certify.Patch):
                x, other = x.reshape(1, 2, 2), other.reshape(1, 2, 2)
            assert threat.distance(x, other) == threat.distance(other, x)


def test_sets_hold_their_label_under_patches():
    net = torch.nn.Sequential(torch.nn.Flatten(), linear([[3.0, 3.0, 0.0, 0.0], [0.0, 0.0, 3.0, 3.0]])).eval()
    clf = certify.Classifier(net, num_classes=2)
    generator = np.random.default_rng(5)
    x = generator.uniform(0, 1, (90, 1, 2, 2)).astype(np.float32)
    y = (x[:, 0, 1].sum(axis=1) > x[:, 0, 0].sum(axis=1)).astype(int)
    found = certify.conformal(clf, (x[:40], y[:40]), (x[40:], y[40:]), threat=certify.Patch((0, 1)), coverage=0.8)
    for row in range(40):
        scores = [found.inputs[row].sets[1]]
        for pixel, value in ((pixel, value) for pixel in range(4) for value in (0.0, 1.0)):
            changed = x[row : row + 1].copy()
            changed.reshape(-1)[pixel] = value
            with torch.no_grad():
                own = clf.scores(torch.from_numpy(changed))[0]
            scores.append(tuple(k for k in range(2) if own[1 - k] - own[k] <= found.threshold - 1e-5))
        assert all(set(one) <= set(scores[0]) for one in scores)
    assert found.rows[1].size > found.rows[0].size


def test_rows_of_differences_are_those_of_the_labels_alone():
    clf = certify.Classifier(linear(np.eye(5).tolist()), num_classes=5)
    bounded = BoundedScores(clf, LINF, SCORES["lac"](), ("ibp",))
    labels = torch.tensor([[0, 3], [4, 1]])
    for row, asked in zip(bounded._rows(labels), labels, strict=True):
        expected = [np.eye(5)[k] - np.eye(5)[y] for y in asked.tolist() for k in range(5) if k != y]
        np.testing.assert_array_equal(row, expected)


def test_leads_of_one_label_are_among_those_of_all():
    scores, labels = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 4, 2, 1, 3, 0])
    assert torch.equal(leads(scores, labels), leads(scores)[torch.arange(6), labels])
