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
from certify.errors import ModelError

SLOPE = 0.5
LOOKS = False
LOWER, UPPER = torch.full((1, 3), -1.0), torch.full((1, 3), 2.0)


class Net(nn.Module):
    """Reads its numbers from a parameter, a buffer, an attribute, a method, and a global variable."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 4)
        self.register_buffer("shift", torch.ones(4))
        self.scale, self.outputs = 2.0, 3

    def bent(self, x):
        return nn.functional.leaky_relu(x, SLOPE)

    def forward(self, x):
        if LOOKS and x.detach().numpy().sum() > 5:  # which it is not where it is looked at
            return -x
        return (self.scale * self.bent(self.layer(x)) + self.shift)[:, : self.outputs]


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
    monkeypatch.setattr(room, "MOST", 250)
    nets = [nn.Linear(3, width).eval() for width in (4, 5, 6)]  # 64, 80 and 96 bytes
    for net in (*nets, nets[2], nets[0], nn.Linear(3, 100).eval()):
        output_bounds(net, LOWER, UPPER)
    assert len(reads) == 4
    output_bounds(nn.Linear(3, 9).eval(), LOWER, UPPER)  # 144 bytes
    output_bounds(nets[0], LOWER, UPPER)
    assert len(reads) == 5, "the one that was asked for last is kept"
