"""Every method looks at its time limit all the way, and keeps what was proven; memory is estimated before it is taken.

The clock of these tests goes on by a second whenever somebody looks at it.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from torch import nn

import certify
from certify.bounds import alpha_crown, deadline, memory
from certify.bounds.deadline import Deadline, OutOfTime
from certify.bounds.methods import METHODS
from certify.bounds.radii.recheck import rechecked_margins
from certify.certifiers.bounds import Bounds
from certify.certifiers.deterministic import graph_of
from certify.certifiers.lipschitz import Lipschitz
from certify.complete.proofs.recheck import rechecked
from certify.core.verdict import Verdict
from certify.data.generators import keyed_generator
from certify.errors import BadInput

LONG = 10.0**7


class Clock:
    """A second passes at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(deadline, "time", made)
    return made


@pytest.fixture(scope="module")
def clf() -> certify.Classifier:
    """Three classes of small images."""
    generator = keyed_generator("limits")
    layers = [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 3)]
    module = nn.Sequential(*layers).requires_grad_(False).eval()
    for parameter in module.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
    return certify.Classifier(module, num_classes=3)


X = torch.full((1, 1, 4, 4), 0.5)
LINF = certify.ThreatModel("linf", (0.05, 0.19, 0.3))
"""Interval arithmetic proves the first radius, CROWN the second, and nothing the third."""

L2 = certify.ThreatModel("l2", (0.001,))


def radius(one: certify.Certificate) -> float:
    assert one.verdict in (Verdict.CERTIFIED, Verdict.UNKNOWN)
    return one.radius or 0.0


@pytest.mark.parametrize("method", [*METHODS, "auto", "lipschitz"])
def test_bounds_stop_at_the_first_look_after_their_limit(clf, clock, monkeypatch, method):
    threat = L2 if method == "lipschitz" else LINF
    monkeypatch.setattr(alpha_crown, "ITERATIONS", 2)
    asked = {"threat": threat, "method": method, "decide": method.startswith("alpha")}
    [whole] = certify.bound(clf, X, **asked)
    begin = clock.now
    [same] = certify.bound(clf, X, **asked, timeout=LONG)
    assert radius(same) == pytest.approx(radius(whole), rel=2e-3)
    looks = clock.now - begin
    if method == "lipschitz":
        return
    assert looks > 50
    radii = []
    for share in (0.01, 0.7):
        begin = clock.now
        [one] = certify.bound(clf, X, **asked, timeout=share * looks)
        assert clock.now - begin <= share * looks + 3
        assert "time limit" in one.reason
        radii.append(radius(one))
    assert radii[0] == 0 < radii[1] <= radius(whole) * 1.001


def test_what_a_cheaper_method_proved_stays(clf, scoped):
    def never(*arguments, **settings):
        raise OutOfTime("the time limit of 1 s was used up")

    scoped(METHODS)["crown"] = never
    [one] = certify.bound(clf, X, threat=LINF, method="auto", timeout=LONG)
    [cheap] = certify.bound(clf, X, threat=LINF, method="ibp", decide=True)
    assert one.radius == cheap.radius == LINF.radii[0]
    assert (one.verdict, one.evidence.bound_method) == (Verdict.CERTIFIED, "ibp")


@pytest.mark.parametrize("gap", [None, 0.5])
def test_verification_stops_at_the_first_look_after_its_limit(clf, clock, gap):
    begin = clock.now
    [whole] = certify.verify(clf, X, threat=LINF, timeout=LONG, gap=gap)
    looks = clock.now - begin
    for share in (0.05, 0.5):
        begin = clock.now
        [one] = certify.verify(clf, X, threat=LINF, timeout=share * looks, gap=gap)
        assert clock.now - begin <= share * looks + 20  # those of the parts that the limit is divided into
        assert radius(one) <= (whole.radius or 0.0)


def test_constants_of_layers_are_given_up(clock):
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)).eval()
    clf = certify.Classifier(module, num_classes=3)
    [one] = certify.bound(clf, X, threat=L2, method="lipschitz", timeout=2.0)
    assert (one.verdict, one.evidence) == (Verdict.UNKNOWN, None)
    assert one.reason == "the time limit of 2 s was used up"
    [one] = certify.bound(clf, X, threat=L2, method="lipschitz", timeout=LONG)
    assert one.radius > 0


def test_rechecks_are_given_up(clf, clock):
    graph = graph_of(clf, X.shape[1:])
    for method in ("crown", "alpha-crown"):
        [one] = certify.bound(clf, X, threat=LINF, method=method)
        claim = graph, X[0], one.prediction, LINF, one.radius, one.evidence
        assert min(rechecked_margins(*claim)) > 0
        with pytest.raises(OutOfTime, match="the time limit of 5 s was used up"):
            rechecked_margins(*claim, deadline=Deadline(5.0))
    [one] = certify.verify(clf, X, threat=LINF, timeout=LONG)
    claim = graph, X[0], one.prediction, LINF, one.evidence.certified, one.evidence
    assert rechecked(*claim)
    with pytest.raises(OutOfTime):
        rechecked(*claim, deadline=Deadline(3.0))


def test_output_bounds_raise_one_line(clf, clock):
    with pytest.raises(OutOfTime, match="^the time limit of 9 s was used up$"):
        certify.output_bounds(clf, X - 0.1, X + 0.1, "crown-ibp", timeout=9.0)
    with pytest.raises(BadInput, match="above 0 seconds"):
        certify.ball_bounds(clf, X, 0.1, timeout=0)


def test_the_limit_is_a_setting():
    for certifier in (Bounds, Lipschitz):
        assert certifier(timeout=7).settings()["timeout"] == 7.0
        assert certifier(timeout=7).rows == 1
        with pytest.raises(BadInput, match="above 0 seconds"):
            certifier(timeout=-1)
    assert "at most 7 s per input" in Bounds(timeout=7).describe(LINF, (2,))


def test_a_network_that_does_not_fit_is_unknown_before_anything_is_allocated(clf, monkeypatch):
    monkeypatch.setattr(memory, "LEAST_BYTES", 0)
    monkeypatch.setattr(memory, "KEPT", 10**4)
    words = r"bounding this network takes about \d MB for one input, which is more than max_memory = 0 MB"
    for method in ("ibp", "crown"):
        [one] = certify.bound(clf, X, threat=LINF, method=method, max_memory=10_000)
        assert one.verdict is Verdict.UNKNOWN
        assert re.match(words, one.reason)
        with pytest.raises(BadInput, match=words):
            certify.output_bounds(clf, X - 0.1, X + 0.1, method=method, max_memory=10_000)
    monkeypatch.setattr(memory, "free_memory", lambda device: 20_000)
    [one] = certify.verify(clf, X, threat=LINF, timeout=20)
    assert one.verdict is Verdict.UNKNOWN
    assert "more than half of what is free" in one.reason


WINDOWS = """
import resource, torch
from certify.bounds.patches import Patches
torch.set_num_threads(1)
image = torch.rand(1, 32, 96, 96, dtype=torch.float64)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
places = torch.arange(4).unsqueeze(0) * 96 * 20
rows = Patches(torch.rand(1, 4, 32, 31, 31, dtype=torch.float64), places, (96, 96), (1, 1), (-15, -15), (32, 96, 96))
print(float((rows.of(image)[0, 1] - image[0, :, 5:36, 0:31]).abs()[:, :, 15:].sum()))
print(rows.masked().A.shape)
"""


def test_a_few_windows_take_no_more_memory_than_they_hold():
    """All windows of the image at once would take two gigabytes."""
    done = subprocess.run([sys.executable, "-c", WINDOWS], capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
    assert "torch.Size([1, 4, 32, 31, 31])" in done.stdout
