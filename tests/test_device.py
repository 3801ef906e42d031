"""Models on an accelerator, on a machine without: a device that is not there finds the tensors that stayed here.

Its tensors say that they lie elsewhere, are computed with here, and do not mix with ours. It is called ``meta``, the
one device of torch that needs no hardware, and that nothing else may use inside.
"""

import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

import certify
import certify.device as device_room
from certify.core.verdict import Verdict
from certify.device import available, exactly, see_one
from certify.errors import BadInput, DeviceLost
from certify.smoothing.sampler import in_batches_that_fit

FAR = torch.device("meta")
_HERE = torch.device("cpu")
_MOVES = {"aten::_to_copy", "aten::copy_", "aten::to"}
_ANSWERS = {"aten::_local_scalar_dense", "aten::equal"}


class Far(torch.Tensor):
    __module__ = "torch"  # digests name the source of tensors that somebody else wrote

    @staticmethod
    def __new__(cls, here):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=FAR,
        )

    def __init__(self, here):
        self.here = here

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.tolist:
            return args[0].here.tolist()
        if func is torch.Tensor.new_tensor:
            return torch.tensor(args[1], **{"dtype": args[0].dtype, **(kwargs or {})}).to(FAR)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):  # or torch makes an index on the real meta
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            index = tuple(torch.tensor(one) if isinstance(one, list) else one for one in index)
            args = args[0], index, *args[2:]
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


class _Constants(TorchFunctionMode):
    """``torch.tensor(..., device=FAR)`` would make an empty tensor of torch's own, which holds no numbers."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or _HERE) == FAR:
            return func(*args, **{**kwargs, "device": _HERE}).to(FAR)
        return func(*args, **kwargs)


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


def _call(func, args, kwargs):
    flat = tree_flatten((args, kwargs))[0]
    given = [one for one in flat if isinstance(one, torch.Tensor)]
    devices = [one for one in flat if isinstance(one, torch.device)]
    name, far = func._schema.name, [one for one in given if isinstance(one, Far)]
    # Like CUDA: take numbers and indices from here, and nothing else.
    mixed = far and any(not isinstance(one, Far) and one.dim() for one in given)
    if mixed and name not in _MOVES and not (name.startswith("aten::index") and isinstance(given[0], Far)):
        raise RuntimeError(f"{func}: tensors on two devices")
    args, kwargs = tree_map(_here, (args, kwargs))
    made = func(*args, **kwargs)
    if name == "aten::copy_":
        return given[0]
    if name in _ANSWERS or (devices[0].type != FAR.type if devices else not far):
        return made
    same = {id(one.here): one for one in far}
    return tree_map(lambda one: _there(one, same) if isinstance(one, torch.Tensor) else one, made)


def _there(one, same):
    return same[id(one)] if id(one) in same else Far(one)


def _here(one):
    return one.here if isinstance(one, Far) else _HERE if isinstance(one, torch.device) else one


@contextmanager
def far_away(monkeypatch):
    """Inside, a classifier may be given :data:`FAR` as its device; noise is drawn here and moved there."""
    monkeypatch.setattr(device_room, "KINDS", ("cpu", "meta"))
    monkeypatch.setitem(device_room._SWITCHES, "meta", device_room._SWITCHES["cpu"])
    monkeypatch.setattr("certify.study.study.described", lambda chosen: chosen.type)
    monkeypatch.setattr("certify.bounds.memory.free_memory", lambda chosen: 2**30)
    patient = SimpleNamespace(**{**vars(torch), "inference_mode": torch.no_grad})  # ours have no place in that mode
    for user in ("certify.smoothing.sampler", "certify.checker.replay"):
        monkeypatch.setattr(f"{user}.torch", patient)
    for user in ("certify.smoothing.streams", "certify.data.generators"):
        monkeypatch.setattr(f"{user}.random_generator", lambda chosen=_HERE: torch.Generator())
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # assigning .data would leave the old one behind
    try:
        with _Mode(), _Constants():
            yield FAR
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


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


@pytest.mark.parametrize("before", ["ieee", "tf32"])
def test_an_accelerator_computes_exactly_whatever_was_set_before(before):
    """The switches are there without an accelerator, too."""
    switches = device_room._SWITCHES["cuda"]
    settings = [one.fp32_precision for one in switches]
    flags = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        for one in switches:
            one.fp32_precision = before
        with exactly(torch.device("cuda")):
            assert {one.fp32_precision for one in switches} == {"ieee"}
            assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (False, True)
        assert {one.fp32_precision for one in switches} == {before}
        assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == flags
    finally:
        for one, setting in zip(switches, settings, strict=True):
            one.fp32_precision = setting


def test_a_model_that_sets_the_default_type_and_fails_leaves_nothing_behind():
    def scores(x):
        torch.set_default_dtype(torch.float64)
        raise ValueError("too odd")

    with pytest.raises(ValueError, match="too odd"):
        certify.Classifier(scores, 2).predict(torch.zeros(1, 2))
    assert torch.get_default_dtype() is torch.float32


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


def test_what_a_manifest_says_of_a_device_finds_one_of_its_kind(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some Product 3000")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    cuda = torch.device("cuda")
    assert device_room.like(device_room.described(cuda)) == cuda
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for recorded in (device_room.described(cuda), "cuda", "cpu", "xpu", None, 3, ""):
        assert device_room.like(recorded) == torch.device("cpu")


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
