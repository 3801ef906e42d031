"""The digest pins weights, structure and code: whatever changes the function changes it, and nothing else does."""

from __future__ import annotations

import functools

import torch
from torch import nn

from certify.models.digest import function_digest, module_digest


class First(nn.Module):
    def forward(self, x):
        return x


class Second(nn.Module):
    def forward(self, x):
        return -x


def test_what_changes_the_function_changes_the_digest():
    layer = nn.Linear(2, 2)
    assert module_digest(layer) == module_digest(layer)
    before = module_digest(layer)
    with torch.no_grad():
        layer.weight[0, 0] += 1e-6
    assert module_digest(layer) != before
    pairs = [
        (nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.Conv2d(1, 1, 3, padding=0, bias=False)),
        (nn.AvgPool2d(2), nn.AvgPool2d(2, ceil_mode=True)),
        (nn.AvgPool2d(2), nn.AvgPool2d(2, count_include_pad=False)),
        (nn.ReLU(), nn.Tanh()),
        (First(), Second()),
        (nn.Sequential(nn.ReLU(), nn.Flatten()), nn.Sequential(nn.Flatten(), nn.ReLU())),
    ]
    for one, other in pairs:
        if list(one.parameters()):
            other.load_state_dict(one.state_dict())
        assert module_digest(one) != module_digest(other)


def test_strides_do_not_count():
    module, again = nn.Module(), nn.Module()
    module.register_buffer("index", torch.arange(4)[::2][:1])
    again.register_buffer("index", torch.tensor([0]))
    assert module.index.stride() == (2,)
    assert module_digest(module) == module_digest(again)


def test_tensors_outside_the_state_dict_count():
    digests = set()
    for value in (0.0, 1.0):
        hidden, plain = nn.ReLU(), nn.ReLU()
        hidden.register_buffer("offset", torch.tensor(value), persistent=False)
        plain.offset = torch.tensor(value)
        digests |= {module_digest(hidden), module_digest(plain)}
    assert len(digests) == 4


def test_mode_and_gradients_do_not_change_the_digest():
    layer = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = module_digest(layer)
    assert module_digest(layer.eval().requires_grad_(False)) == before


def same(x):
    return x


def opposite(x):
    return -x


def shifted(by):
    return lambda x: x + by


def test_what_a_function_holds_counts():
    assert function_digest(shifted(1)) == function_digest(shifted(1))
    assert function_digest(shifted(1)) != function_digest(shifted(2))
    assert function_digest(functools.partial(same, x=1)) != function_digest(functools.partial(same, x=2))
    assert function_digest(shifted(nn.Linear(1, 1))) != function_digest(shifted(nn.Linear(1, 1)))


def test_functions_are_named_by_their_source():
    assert function_digest(same) != function_digest(opposite)
    assert function_digest(same) == function_digest(same)
    assert len(function_digest(print)) == 64
