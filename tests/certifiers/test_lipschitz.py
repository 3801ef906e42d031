"""Certificates from Lipschitz constants."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from certify.certifiers.base import CERTIFIERS
from certify.certifiers.lipschitz import Lipschitz
from certify.core.certificate import Certificate, LipschitzEvidence
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.data.batch import Batch
from certify.errors import BadInput, ModelError
from certify.models.classifier import Classifier


def certificates(clf, x, labels, threat):
    batch = Batch.of(x, labels, clf.num_classes)
    certifier = CERTIFIERS["lipschitz"]()
    certifier.check(clf, threat, batch.x)
    return list(certifier.certify(clf, batch, threat))


def test_radii_are_distances_to_the_boundary_and_evidence_shows_them(halves, l2):
    far, near, wrong = certificates(halves, [[1.0, 0.0], [0.5, 0.25], [0.0, 1.0]], [0, 0, 0], l2)
    assert far.radius == pytest.approx(math.sqrt(0.5), rel=1e-12)
    assert far.radius <= math.sqrt(0.5)
    assert near.verdict is Verdict.CERTIFIED
    assert near.radius == near.evidence.radius
    assert wrong.verdict is Verdict.FALSIFIED
    assert far.forward_passes == 2
    assert str(far.guarantee) == "deterministic: a proof"
    assert Certificate.from_dict(json.loads(json.dumps(far.to_dict()))) == far


def test_a_radius_below_the_smallest_declared_one_is_unknown(halves):
    [certificate] = certificates(halves, [[0.6, 0.5]], None, ThreatModel("l2", (0.5,)))
    assert certificate.verdict is Verdict.UNKNOWN
    assert "below the smallest declared" in certificate.reason


def test_a_tie_is_not_certified_even_at_radius_zero(halves, l2):
    [certificate] = certificates(halves, [[0.5, 0.5]], None, l2)
    assert certificate.verdict is Verdict.UNKNOWN
    assert "do not exceed their rounding errors" in certificate.reason


def test_no_radius_exceeds_the_diameter_of_the_input_box():
    flat = nn.Linear(2, 2).requires_grad_(False)
    flat.weight.zero_()
    flat.bias.copy_(torch.tensor([1.0, 0.0]))
    boxed = Classifier(flat.eval(), 2, input_box=(0.0, 1.0))
    [certificate] = certificates(boxed, [[0.2, 0.9]], None, ThreatModel("l2", (0.0,), (0.0, 1.0)))
    assert certificate.radius == math.sqrt(2)
    for declared, most in ((0.0, 1.0), (0.5, 2.0)):  # without a box, no farther than other methods search
        [certificate] = certificates(Classifier(flat, 2), [[0.2, 0.9]], None, ThreatModel("l2", (declared,)))
        assert certificate.radius == most


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_other_norms_are_refused_not_converted(halves, norm):
    with pytest.raises(BadInput, match=f"in l2 only, got {norm}: use alpha-crown, .*, crown, .*, ibp"):
        certificates(halves, [[1.0, 0.0]], None, ThreatModel(norm, (0.1,)))


def test_a_scale_is_refused(halves):
    with pytest.raises(BadInput, match="use crown for a scaled norm"):
        certificates(halves, [[1.0, 0.0]], None, ThreatModel("l2", (0.1,), scale=np.array([1.0, 0.5])))


def test_a_function_is_refused():
    clf = Classifier(lambda x: x, num_classes=2)
    with pytest.raises(ModelError, match="smoothing"):
        certificates(clf, [[1.0, 0.0]], None, ThreatModel("l2", (0.1,)))


class Leaky(nn.Module):
    """Counts its calls and keeps its last result, neither of which changes what it computes."""

    def __init__(self):
        super().__init__()
        self.linear, self.relu, self.calls, self.last = nn.Linear(2, 2), nn.LeakyReLU(0.1), 0, None
        self.register_buffer("shift", torch.tensor([0.5, 0.0]))

    def forward(self, x):
        self.calls += 1
        self.last = self.relu(self.linear(x)) + self.shift
        return self.last


def _assigned(module):
    module.linear.weight = nn.Parameter(module.linear.weight * 1.01, requires_grad=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.linear.weight.mul_(1.01),
        lambda module: module.linear.weight.data.mul_(1.01),
        lambda module: module.linear.weight.numpy().fill(0.0),
        lambda module: module.shift.add_(0.01),
        lambda module: setattr(module.relu, "negative_slope", 0.2),
        _assigned,
    ],
)
@pytest.mark.parametrize("method", ["lipschitz", "crown"])
def test_a_module_that_was_changed_is_refused_whatever_wrote_to_it(change, method):
    module = Leaky().requires_grad_(False).eval()
    module.linear.weight.copy_(torch.tensor([[1.0, -0.5], [0.2, 0.7]]))
    clf, threat = Classifier(module, 2, None), ThreatModel("l2", (0.0,))
    batch = Batch.of([[1.0, 0.0]], None, 2)
    certifier = CERTIFIERS[method]()
    first, again = (next(iter(certifier.certify(clf, batch, threat))).radius for _ in range(2))
    assert first == again
    change(clf.module)
    for ask in (lambda: list(certifier.certify(clf, batch, threat)), lambda: certifier.check(clf, threat, batch.x)):
        with pytest.raises(ModelError, match="no longer computes what was imported: wrap the module in a new"):
            ask()
    assert certifier.check(Classifier(clf.module, 2, None), threat, batch.x) is None


def test_settings_and_description_say_what_is_claimed(l2):
    assert Lipschitz().settings() == {"method": "lipschitz", "dtype": "float64"}
    assert "exact real arithmetic" in Lipschitz().describe(l2, (2,))
    assert Lipschitz().default_norm == "l2"


def test_evidence_that_shows_less_than_the_claim_is_refused(halves, l2):
    [certificate] = certificates(halves, [[1.0, 0.0]], None, l2)
    record = certificate.to_dict()
    for change in ({"constants": [9.0]}, {"margins": [-1.0]}, {"constants": []}, {"constants": [math.nan]}):
        with pytest.raises(BadInput):
            Certificate.from_dict({**record, "evidence": {**record["evidence"], **change}})
    assert LipschitzEvidence((1.0,), (0.0,), (), 1.0, 0.0, "float64").radius == math.nextafter(math.inf, 0)
    assert LipschitzEvidence((1.0, math.nan), (1.0, 1.0), (), 1.0, 0.0, "float64").radius == 0.0
