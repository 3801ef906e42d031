"""Models on an accelerator, on a machine without: a device that is not there finds the tensors that stayed here."""

import os

import pytest
import torch
from torch import nn

import certify
from certify.core.verdict import Verdict
from certify.device import available, exactly, see_one
from certify.errors import BadInput, DeviceLost
from certify.smoothing.sampler import in_batches_that_fit
from tests.far import far_away

LINF, L2 = certify.ThreatModel("linf", (0.0, 0.02)), certify.ThreatModel("l2", (0.0, 0.1))


def network():
    torch.manual_seed(1)
    parts = nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)
    module, x = nn.Sequential(*parts).eval(), torch.rand(1, 1, 4, 4)
    return module, x, module(x).argmax(dim=1).tolist()


def claims(certificates):
    return [(one.verdict, one.radius, one.prediction, one.reason) for one in certificates]


def smoothing(clf, x, y):
    made = certify.smooth(clf, x, y, threat=L2, sigma=0.1, n=200, seed=0)
    assert certify.check(made, clf, x)
    return claims(made), [one.evidence for one in made]


def crown(clf, x, y):
    return claims(certify.bound(clf, x, y, threat=LINF, method="crown"))


def complete(clf, x, y):
    made = certify.verify(clf, x, y, threat=LINF, timeout=60)
    assert certify.check(made, clf, x)
    return claims(made)


def attacks(name):
    large = certify.ThreatModel("linf", (0.0, 0.3))
    return lambda clf, x, y: [one.succeeded for one in certify.attack(clf, x, y, threat=large, attack=name, seed=0)]


def study(clf, x, y):
    made = certify.evaluate(clf, (x.numpy(), y), threat=L2, sigma=0.1, n=200, attack="pgd", seed=0)
    return claims(made.certificates), [one.succeeded for one in made.findings]


USES = {
    "smoothing": smoothing,
    "crown": crown,
    "complete": complete,
    "fgsm": attacks("fgsm"),
    "pgd": attacks("pgd"),
    "study": study,
}


@pytest.mark.parametrize("use", USES)
def test_what_is_computed_on_another_device_is_what_is_computed_here(use, monkeypatch):
    module, x, y = network()
    here = USES[use](certify.Classifier(module, 3), x, y)
    with far_away(monkeypatch) as far:
        there = USES[use](certify.Classifier(module, 3, device=far), x, y)
    assert there == here


def test_lipschitz_constants_are_found_on_another_device(monkeypatch):
    module, x = nn.Linear(2, 3).eval(), torch.rand(2, 2)

    def found(device):
        return claims(
            certify.certify(certify.Classifier(module, 3, device=device), x, threat=L2, certifier="lipschitz")
        )

    with far_away(monkeypatch) as far:
        there = found(far)
    assert there == found("cpu")


def test_the_device_that_is_not_there_refuses_to_mix(monkeypatch):
    with far_away(monkeypatch) as far, pytest.raises(RuntimeError, match="two devices"):
        torch.ones(2, device=far) + torch.ones(2)


@pytest.mark.parametrize(
    ("device", "words"), [("cdua", "unknown"), ("mps", "not supported"), ("cuda", "not available"), ("cuda:7", "not")]
)
def test_a_device_that_cannot_be_used_is_refused(device, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(BadInput, match=words):
        available(device)


@pytest.mark.parametrize("precision", ["medium", "high", "highest"])
def test_a_shortened_precision_of_the_process_does_not_reach_the_model(precision):
    seen = []

    def scores(x):
        seen.append((torch.backends.mkldnn.matmul.fp32_precision, torch.backends.mkldnn.conv.fp32_precision))
        return x

    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        certify.Classifier(scores, 2).predict(torch.zeros(1, 2))
        assert torch.get_float32_matmul_precision() == precision
        with exactly():
            assert torch.get_float32_matmul_precision() == "highest" or precision != "highest"
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(sum(seen, ())) <= {"none", "ieee"}


def test_a_batch_that_does_not_fit_is_halved_and_remembered():
    tried = []

    def scores(x):
        tried.append(len(x))
        if len(x) > 100:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return torch.stack([x.sum(1), 1 - x.sum(1)], dim=1)

    clf, x = certify.Classifier(scores, 2), torch.full((1, 2), 0.9)
    [fits] = certify.smooth(clf, x, [0], threat=L2, sigma=0.1, n=1000, seed=0, batch_size=512)
    first = max(tried)
    tried.clear()
    [again] = certify.smooth(clf, x, [0], threat=L2, sigma=0.1, n=1000, seed=0, batch_size=512)
    assert first == 512
    assert max(tried) <= 100
    whole = certify.Classifier(lambda x: torch.stack([x.sum(1), 1 - x.sum(1)], dim=1), 2)
    [same] = certify.smooth(whole, x, [0], threat=L2, sigma=0.1, n=1000, seed=0, batch_size=512)
    assert fits.evidence == again.evidence == same.evidence


def test_other_errors_and_a_single_input_that_does_not_fit_are_passed_on():
    clf = certify.Classifier(lambda x: x, 2)

    def never(size):
        raise MemoryError

    def wrong(size):
        raise RuntimeError("shapes do not match")

    with pytest.raises(MemoryError):
        in_batches_that_fit(clf, 8, never)
    with pytest.raises(RuntimeError, match="shapes"):
        in_batches_that_fit(clf, 8, wrong)


@pytest.mark.parametrize("workers", [None, 2])
def test_a_device_that_fails_in_the_middle_ends_the_run_and_keeps_what_is_there(workers, tmp_path):
    x = torch.tensor([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.75, 0.75]])

    def scores(x):
        near = (x - 0.75).abs().amax(dim=1)
        if not armed.exists() and ((near > 0) & (near < 0.06)).sum() > 10:
            armed.touch()
            raise torch.AcceleratorError("CUDA error: unspecified launch failure")
        return torch.stack([x.sum(1) + 1, -x.sum(1)], dim=1)

    armed = tmp_path / "failed"
    clf = certify.Classifier(scores, 2, digest="a model on a device that fails")
    given = {
        "threat": certify.ThreatModel("l2", (0.0, 0.02)),
        "sigma": 0.02,
        "n": 200,
        "seed": 0,
        "out": tmp_path / "run",
        "workers": workers,
    }
    with pytest.raises(DeviceLost, match="the same command goes on"):
        certify.evaluate(clf, (x.numpy(), [0] * 4), **given)
    again = certify.evaluate(clf, (x.numpy(), [0] * 4), **given)
    assert [one.verdict for one in again.certificates] == [Verdict.CERTIFIED] * 4


def test_workers_share_out_the_devices(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = []
    for turn in range(3):
        see_one(turn, 2)
        seen.append(os.environ.pop("CUDA_VISIBLE_DEVICES"))
    assert seen == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    see_one(1, 2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
