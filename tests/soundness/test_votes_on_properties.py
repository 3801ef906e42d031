"""A vote on a property counts only where the property certainly holds: at a tie, and within rounding, it does not."""

import re

import pytest
import torch
from torch import nn

import certify
from certify.core.properties.base import PROPERTIES
from certify.core.verdict import Verdict
from certify.device import as_alone

L2 = certify.ThreatModel("l2", (0.0, 0.25))
X = torch.full((1, 3), 127 / 255)


def constant(*outputs, dtype=torch.float32):
    """A model that returns the same outputs everywhere."""
    return lambda x: torch.tensor(outputs, dtype=dtype).expand(len(x), -1)


def dead():
    """A network whose two outputs are 0 everywhere, because its last layer is a ReLU."""
    layer = nn.Linear(3, 2).eval()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.fill_(-1.0)
    return nn.Sequential(layer, nn.ReLU()).eval()


def smoothed(model, classes, property):
    [one] = certify.smooth(
        certify.Classifier(model, classes), X, threat=L2, property=property, sigma=0.25, n=1000, seed=0
    )
    return one


@pytest.mark.parametrize(
    ("property", "answer"),
    [(certify.Never(0), 1), (certify.Never(1), 0), (certify.Superclass([[1], [0]]), 1)],
    ids=str,
)
def test_where_scores_tie_the_answer_is_that_of_the_class_which_the_model_returns(property, answer):
    clf = certify.Classifier(dead(), 2)
    assert clf.predict(X).tolist() == [0]
    one = smoothed(dead(), 2, property)
    assert one.prediction == answer
    assert certify.check(one, clf.with_property(property), X)


@pytest.mark.parametrize(
    ("model", "classes", "rows"),
    [
        (dead(), 2, certify.LinearRows([[1, 0]])),
        (constant(-1e-14, 1.0, dtype=torch.float64), 2, certify.LinearRows([[1, 1]], [-1.0])),
        (constant(1e-17, 1.0, dtype=torch.float64), 2, certify.LinearRows([[1, 1]], [-1.0])),
        (constant(1e250, 1.5e250, 1e250, dtype=torch.float64), 3, certify.LinearRows([[1e58, -1e58, 0], [0, 0, 1]])),
    ],
    ids=["exactly 0", "below by little", "above by less than rounding", "overflow"],
)
def test_a_condition_that_may_fail_is_not_certified(model, classes, rows):
    one = smoothed(model, classes, rows)
    assert not (one.verdict is Verdict.CERTIFIED and one.prediction == 0)


@pytest.mark.parametrize(
    "property", [certify.Never(2), certify.Superclass([[0, 1], [2]]), certify.LinearRows([[0, 1, 0]])]
)
def test_an_infinite_score_is_a_vote_for_nothing_whatever_is_asked(property):
    one = smoothed(constant(-torch.inf, 2.0, 1.0), 3, property)
    assert one.verdict is Verdict.ERROR
    said = re.search(r"NaN or infinity on (\d+) of (\d+) samples", one.reason)
    assert said is not None
    assert said[1] == said[2]


def test_an_example_within_rounding_of_a_condition_breaks_nothing():
    rows = certify.LinearRows([[1, 1]], [-1.0])
    y = torch.tensor([[1e-17, 1.0], [1e-3, 1.0], [-1e-3, 1.0]], dtype=torch.float64)
    assert rows.answer(y).tolist() == [-1, 0, 1]


def test_properties_that_vote_follow_the_class_of_the_model():
    """Of any scores with ties: the answer is one of the returned class alone, or left open."""
    members = [certify.Never(1), certify.Superclass([[2], [0, 1]]), PROPERTIES["top-class"]()]
    scores = torch.randint(0, 2, (200, 3), generator=torch.Generator().manual_seed(0)).float()
    top = scores.argmax(dim=1)
    for one in members:
        answers = one.answer(scores)
        for label in range(3):
            assert len(set(answers[top == label].tolist())) == 1


def setting(name):
    """What somebody may have set around a call, as a context."""
    contexts = {
        "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        "no grad": torch.no_grad,
        "inference": torch.inference_mode,
        "float64": lambda: _Default(torch.float64),
        "bfloat16": lambda: _Default(torch.bfloat16),
        "meta": lambda: torch.device("meta"),
    }
    return contexts[name]()


class _Default:
    def __init__(self, dtype):
        self.dtype = dtype

    def __enter__(self):
        torch.set_default_dtype(self.dtype)

    def __exit__(self, *_):
        torch.set_default_dtype(torch.float32)


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval()


USES = {
    "gaussian": lambda clf: certify.smooth(clf, X, threat=L2, sigma=0.25, n=500, seed=0),
    "gaussian-grid": lambda clf: certify.smooth(clf, X, threat=L2, sigma=0.25, n=500, seed=0, noise="gaussian-grid"),
    "alpha-crown": lambda clf: certify.bound(
        clf, X, threat=certify.ThreatModel("linf", (0.0, 0.1)), method="alpha-crown"
    ),
    "complete": lambda clf: certify.verify(clf, X, threat=certify.ThreatModel("linf", (0.0, 0.1)), timeout=60),
    "pgd": lambda clf: certify.attack(
        clf, X, [0], threat=certify.ThreatModel("linf", (0.0, 0.4)), attack="pgd", seed=0
    ),
    "study": lambda clf: (
        certify.evaluate(clf, (X.numpy(), [0]), threat=L2, sigma=0.25, n=500, seed=0, attack="pgd").certificates
    ),
}


def said(records):
    return [
        (one.radius, one.evidence, one.verdict) if hasattr(one, "evidence") else (one.succeeded, one.distance)
        for one in records
    ]


@pytest.mark.parametrize("use", USES)
def test_what_is_set_around_a_call_does_not_reach_its_results(use):
    clf = certify.Classifier(small(), 2)
    plain = said(USES[use](clf))
    for name in ("autocast", "no grad", "inference", "float64", "bfloat16", "meta"):
        with setting(name):
            found = said(USES[use](clf))
        assert found == plain, name


def test_a_model_that_changes_the_default_type_changes_no_noise():
    def scores(x):
        torch.set_default_dtype(torch.bfloat16)
        return net(x)

    net = small()
    try:
        plain = certify.smooth(certify.Classifier(net, 2), X, threat=L2, sigma=0.25, n=500, seed=0)
        found = certify.smooth(certify.Classifier(scores, 2), X, threat=L2, sigma=0.25, n=500, seed=0)
    finally:
        torch.set_default_dtype(torch.float32)
    assert said(found) == said(plain)


def test_alone_means_gradients_float32_and_the_processor():
    with torch.inference_mode(), torch.device("meta"), _Default(torch.float64), as_alone():
        x = torch.zeros(2)
        assert (x.dtype, x.device.type, torch.is_grad_enabled(), x.is_inference()) == (
            torch.float32,
            "cpu",
            True,
            False,
        )
    assert torch.get_default_dtype() is torch.float32
