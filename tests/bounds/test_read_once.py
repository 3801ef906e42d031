"""A module that has not changed is read once, and one that has changed in any way is read again."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from certify import output_bounds
from certify.bounds.importers import read_once as room

SLOPE = 0.5
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
        return (self.scale * self.bent(self.layer(x)) + self.shift)[:, : self.outputs]


def halved(module, given, out):
    return out / 2


CHANGES = {
    "weight": lambda net, patch: net.layer.weight.data.mul_(3),
    "parameter": lambda net, patch: setattr(net.layer, "bias", nn.Parameter(net.layer.bias.detach().clone())),
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
    monkeypatch.setattr(room, "import_module", lambda module, *rest: seen.append(id(module)) or read(module, *rest))
    return seen


@pytest.mark.parametrize("change", CHANGES)
def test_a_module_is_read_again_once_it_has_changed(change, reads, monkeypatch):
    net = Net().eval()
    first = output_bounds(net, LOWER, UPPER)
    again = output_bounds(net, LOWER, UPPER)
    assert len(reads) == 1
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    CHANGES[change](net, monkeypatch)
    now = output_bounds(net, LOWER, UPPER)
    assert len(reads) == 2
    fresh = output_bounds(copy.deepcopy(net), LOWER, UPPER)
    assert all(torch.equal(one, two) for one, two in zip(now, fresh, strict=True))
    assert change == "parameter" or not torch.equal(first[0], now[0])


def test_another_shape_or_type_is_read_anew(reads):
    net = nn.Sequential(nn.ReLU(), nn.Flatten()).eval()
    for lower in (torch.zeros(1, 3), torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)):
        output_bounds(net, lower, lower + 1)
    assert len(reads) == 2
    output_bounds(net.double(), torch.zeros(2, 2, 2), torch.ones(2, 2, 2))
    assert len(reads) == 2, "a module without numbers is the same in both types"


def test_modules_are_not_kept():
    net = Net().eval()
    output_bounds(net, LOWER, UPPER)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
