"""Where numbers end: points without a value, executions that overflow, numbers too small for a float."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from certify.bounds.methods import METHODS
from certify.bounds.output import ball_bounds, output_bounds
from certify.certifiers.bounds import bound
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.data.dataset import seeded_generator
from certify.models.classifier import Classifier


class Against0(nn.Module):
    """Scores of two classes: a function of one input, and 0."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return torch.cat([self.function(x), 0 * x], 1)


WITHOUT_VALUES = {
    "log": lambda x: torch.sigmoid(torch.log(x - 0.5)) + 1,
    "sqrt": lambda x: torch.sqrt(x - 0.5) + 1,
    "root": lambda x: torch.clamp(torch.pow(x - 0.5, 1.5), 0, 1) + 1,
    "pole": lambda x: torch.sin(1 / (x - 0.5)) + 2,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", WITHOUT_VALUES)
def test_no_ball_is_certified_that_holds_a_point_without_a_value(name, method):
    clf = Classifier(Against0(WITHOUT_VALUES[name]).eval(), 2, (0.0, 1.0))
    near, far = (
        bound(clf, [[0.8]], threat=ThreatModel("linf", (radius,)), method=method, decide=True)[0]
        for radius in (0.1, 0.4)
    )
    assert near.radius == 0.1
    assert far.verdict is Verdict.UNKNOWN


class Huge(nn.Module):
    """``saturate(h - relu(h - 1e38))`` for ``h = relu(3e38 x)``: no number above x = 1.13 in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        self.layer.weight.data.fill_(3e38)

    def forward(self, x):
        h = torch.relu(self.layer(x))
        return torch.cat([torch.sigmoid((h - torch.relu(h - 1e38)) * 1e-38) + 1, 0 * x], 1)


@pytest.mark.parametrize(
    "module", [Huge(), Against0(lambda x: (x * 1.5e19) * (x * 1.5e19 + 1) * 1e-38 + 1)], ids=["affine", "product"]
)
@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_executions_that_overflow_are_not_certified(module, method):
    clf = Classifier(module.eval(), 2, None)
    assert clf.predict(torch.tensor([[1.0], [1.5]])).tolist() != [0, 0]
    for claim, verdict in (("exact", Verdict.CERTIFIED), ("float32", Verdict.UNKNOWN)):
        [one] = bound(clf, [[1.0]], threat=ThreatModel("linf", (0.5,)), method=method, claim=claim, decide=True)
        assert one.verdict is verdict


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("method", METHODS)
def test_executions_of_a_first_layer_stay_inside_the_claim_over_any_ball(method, norm):
    generator = seeded_generator("first layer")
    for _ in range(2):
        module = nn.Sequential(nn.Linear(64, 1), nn.ReLU(), nn.Linear(1, 1, bias=False)).eval().requires_grad_(False)
        weight, x = (torch.as_tensor(generator.uniform(size=64), dtype=torch.float32) for _ in range(2))
        module[0].weight.copy_(weight.unsqueeze(0))
        module[0].bias.fill_(-float(weight.double() @ x.double()))
        module[2].weight.fill_(1e8)
        ends = {}
        for claim in ("exact", "float32"):
            ends[claim] = ball_bounds(module, x.unsqueeze(0), 1e-10, norm, method=method, claim=claim)
        ran = []
        for _ in range(50):
            total = torch.zeros(())
            for i in generator.permutation(64):
                total = total + weight[i] * x[i]
            ran.append(float(torch.relu(total + module[0].bias[0]) * module[2].weight[0, 0]))
        assert float(ends["float32"][0]) <= min(ran)
        assert float(ends["float32"][1]) >= max(ran)
        assert float(ends["exact"][1]) < max(ran)


@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_tiny_inputs_of_huge_weights_keep_their_errors(method):
    generator = seeded_generator("denormal")
    for _ in range(10):
        x = torch.as_tensor(generator.uniform(size=(1, 40)) * 1e-310)
        w = torch.as_tensor((generator.uniform(size=(1, 40)) - 0.5) * 1e300)
        rest = sum(Fraction(a) * Fraction(b) for a, b in zip(x[0, :-1].tolist(), w[0, :-1].tolist(), strict=True))
        w[0, -1] = float(-rest / Fraction(float(x[0, -1])))
        layers = nn.Linear(40, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False)
        module = nn.Sequential(*layers).double().eval().requires_grad_(False)
        module[0].weight.copy_(w)
        module[2].weight.fill_(1e30)
        exact = sum(Fraction(a) * Fraction(b) for a, b in zip(x[0].tolist(), w[0].tolist(), strict=True))
        exact = max(exact, Fraction(0)) * Fraction(1e30)
        lower, upper = output_bounds(module, x, x, method)
        assert Fraction(float(lower)) <= exact <= Fraction(float(upper))
