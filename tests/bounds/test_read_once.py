"""A network is read once, whichever modules hold it; one that differs in any way is read for itself."""

from __future__ import annotations

import copy
import gc
import weakref
from collections import OrderedDict

import pytest
import torch
from torch import nn

from certify import output_bounds
from certify.bounds.importers import read_once as room
from certify.bounds.importers.executed import calls_of
from certify.errors import ModelError

SLOPE = 0.5
LOOKS = False
ADDED = 0.0
LARGE = torch.ones(8)
LOWER, UPPER = torch.full((1, 3), -1.0), torch.full((1, 3), 2.0)


class Net(nn.Module):
    """Reads its numbers from a parameter, a buffer, an attribute, a method, and a global variable."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 4)
        self.register_buffer("shift", torch.ones(4))
        self.scale, self.outputs = 2.0, 3
        self.register_buffer("once", torch.ones(4))
        self.part = LARGE[2:6]

    def bent(self, x):
        return nn.functional.leaky_relu(x, SLOPE)

    def forward(self, x):
        if LOOKS and x.detach().numpy().sum() > 5:  # which it is not where it is looked at
            return -x
        more = self.once.clone().add_(ADDED)
        return (self.scale * self.bent(self.layer(x)) + self.shift * more + self.part)[:, : self.outputs]


def halved(module, given, out):
    return out / 2


CHANGES = {
    "weight": lambda net, patch: net.layer.weight.data.mul_(3),
    "buffer": lambda net, patch: net.shift.numpy().__setitem__(0, 7.0),
    "attribute": lambda net, patch: setattr(net, "scale", -1.0),
    "output": lambda net, patch: setattr(net, "outputs", 2),
    "hook": lambda net, patch: net.layer.register_forward_hook(halved),
    "method": lambda net, patch: setattr(net, "bent", torch.tanh),
    "class": lambda net, patch: patch.setattr(Net, "bent", lambda self, x: torch.tanh(x)),
    "global": lambda net, patch: patch.setitem(globals(), "SLOPE", 0.25),
    "code": lambda net, patch: patch.setattr(Net.bent, "__code__", (lambda self, x: torch.tanh(x)).__code__),
    "written": lambda net, patch: patch.setitem(globals(), "ADDED", 1.0),
    "shared": lambda net, patch: LARGE.mul_(2),
}


@pytest.fixture
def reads(monkeypatch):
    """The modules that were really read."""
    seen, read = [], room.import_module
    monkeypatch.setattr(room, "_READ", OrderedDict())
    monkeypatch.setattr(room, "import_module", lambda module, *rest: seen.append(id(module)) or read(module, *rest))
    return seen


@pytest.mark.parametrize("change", CHANGES)
def test_a_module_is_read_again_once_it_has_changed(change, reads, monkeypatch):
    net = Net().eval()
    first = output_bounds(net, LOWER, UPPER)
    for same in (net, copy.deepcopy(net), Net().eval()):
        again = output_bounds(same, LOWER, UPPER)
        assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert len(reads) == 1
    CHANGES[change](net, monkeypatch)
    now = output_bounds(net, LOWER, UPPER)
    assert len(reads) == 2
    room._READ.clear()
    fresh = output_bounds(net, LOWER, UPPER)
    assert all(torch.equal(one, two) for one, two in zip(now, fresh, strict=True))
    assert not torch.equal(first[0], now[0])


def test_code_that_looks_at_numbers_outside_of_torch_is_refused_as_ever(reads, monkeypatch):
    net = Net().eval()
    output_bounds(net, LOWER, UPPER)
    monkeypatch.setitem(globals(), "LOOKS", True)
    with pytest.raises(ModelError):
        output_bounds(net, LOWER, UPPER)
    assert len(reads) == 2


def test_another_shape_or_type_is_read_for_itself(reads):
    net = nn.Sequential(nn.ReLU(), nn.Flatten()).eval()
    for lower in (torch.zeros(1, 3), torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)):
        output_bounds(net, lower, lower + 1)
    assert len(reads) == 2
    net = nn.Linear(3, 2).eval()
    output_bounds(net, LOWER, UPPER)
    output_bounds(net.double(), LOWER, UPPER)
    assert len(reads) == 4


def test_what_is_kept_belongs_to_no_module():
    net = Net().eval()
    before = output_bounds(net, LOWER, UPPER)
    gone = weakref.ref(net)
    with torch.no_grad():
        net.layer.weight.zero_()  # training goes on in place
    again = output_bounds(Net().eval(), LOWER, UPPER)
    assert all(torch.equal(one, two) for one, two in zip(before, again, strict=True))
    del net
    gc.collect()
    assert gone() is None


def test_only_so_much_is_kept(reads, monkeypatch):
    monkeypatch.setattr(room, "MOST", 500)
    nets = [nn.Linear(3, width).eval() for width in (4, 5, 6)]  # 64, 80 and 96 bytes, and as many to compare with
    for net in (*nets, nets[2], nets[0], nn.Linear(3, 100).eval()):
        output_bounds(net, LOWER, UPPER)
    assert len(reads) == 4
    output_bounds(nn.Linear(3, 9).eval(), LOWER, UPPER)  # twice 144 bytes
    output_bounds(nets[0], LOWER, UPPER)
    assert len(reads) == 5, "the one that was asked for last is kept"


class Writes(nn.Module):
    """Adds a global variable to a buffer, in one of several ways, before it reads it."""

    def __init__(self, way) -> None:
        super().__init__()
        self.way = way
        self.register_buffer("shift", torch.ones(4))

    def forward(self, x):
        self.way(self.shift)
        return x + self.shift


WAYS = {
    "in place": lambda shift: shift.add_(ADDED),
    "through data": lambda shift: shift.data.add_(ADDED),
    "through a view": lambda shift: shift[1:].view(-1).add_(ADDED),
    "out": lambda shift: torch.add(shift, ADDED, out=shift),
    "numpy": lambda shift: shift.numpy().__iadd__(ADDED),
    "another storage": lambda shift: setattr(shift, "data", torch.full((4,), 1 + ADDED)),
    "storage": lambda shift: shift.untyped_storage().fill_(int(2 * ADDED)),
    "dlpack": lambda shift: torch.from_dlpack(torch.utils.dlpack.to_dlpack(shift)).add_(ADDED),
    "unseen": lambda shift: _unseen(shift).__iadd__(ADDED),
}


class Undoes(nn.Module):
    """Multiplies its weights by what a global variable says while it uses them, through memory that it took before."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4))
        self.held = (self.weight.detach().numpy(),)

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        self.held[0][...] *= 1 + ADDED
        y = x @ self.weight
        self.held[0][...] /= 1 + ADDED
        return y


def test_what_a_run_writes_and_takes_back_shows_in_its_calls(monkeypatch):
    net, x = Undoes().eval(), torch.zeros(1, 4)
    before = calls_of(net, x)
    monkeypatch.setitem(globals(), "ADDED", 3.0)
    assert calls_of(net, x) != before
    assert torch.equal(net.weight, torch.ones(4, 4))


def _unseen(shift):
    with torch._C.DisableTorchFunction():
        return shift.numpy()


@pytest.mark.parametrize("way", WAYS)
def test_what_a_run_writes_to_the_tensors_of_its_module_shows_in_its_calls(way, monkeypatch):
    net, x = Writes(WAYS[way]).eval(), torch.zeros(1, 4)
    before = calls_of(net, x)
    assert calls_of(net, x) == before
    monkeypatch.setitem(globals(), "ADDED", 3.0)
    assert calls_of(net, x) != before
    assert torch.equal(net.shift, torch.ones(4))


@pytest.mark.parametrize(("one", "other"), [(0.0, -0.0), (1.0, 1 + 2.0**-23), (1.0, 2.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_compared_bit_by_bit(one, other, dtype, reads):
    nets = [nn.Linear(1, 3).to(dtype).eval() for _ in range(2)]
    for net, numbers in zip(nets, ([one, other, 5.0], [other, one, 5.0]), strict=True):
        net.weight.data = torch.tensor(numbers, dtype=dtype)[:, None]  # the same sum of bits
        net.bias.data.fill_(0.5)
    for net in nets:
        output_bounds(net, torch.zeros(1, 1), torch.ones(1, 1))
    output_bounds(nets[1], torch.zeros(1, 1), torch.ones(1, 1))
    assert len(reads) == 2
