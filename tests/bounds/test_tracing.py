"""Tracing: what fails is said in one line and nowhere else, and nothing of the process is changed."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest
import torch
from torch import nn

from certify.bounds.importers.tracing import trace
from certify.errors import ModelError


class Guarded(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Sized(nn.Module):
    def forward(self, x):
        count = (x > 0).sum().item()
        return x[:, :count] if count > 1 else x * 2


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return nn.functional.linear(x, torch.ones(2, 2))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Guarded(), r"cannot trace the model on inputs of shape \(3,\)"),
        (Sized(), r"cannot trace the model on inputs of shape \(3,\)"),
        (nn.Linear(2, 2), r"refuses inputs of shape \(3,\) and type torch.float32: RuntimeError: .*multiplied"),
        (nn.Linear(3, 2).double(), r"refuses inputs of shape \(3,\) and type torch.float32: RuntimeError: .*dtype"),
    ],
)
def test_a_failure_is_one_line_and_nothing_is_printed(module, words, capfd, caplog):
    disabled, stderr, filters = logging.root.manager.disable, sys.stderr, list(warnings.filters)
    with pytest.raises(ModelError, match=words) as caught:
        trace(module, torch.zeros(1, 3))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert [one for one in caplog.records if one.levelno > logging.DEBUG] == []
    assert (logging.root.manager.disable, sys.stderr, warnings.filters) == (disabled, stderr, filters)


def test_asking_a_module_changes_neither_it_nor_the_global_generator():
    module, random = Counting(), nn.Dropout()
    before = torch.get_rng_state()
    with pytest.raises(ModelError, match="refuses inputs"):
        trace(module, torch.zeros(1, 3))
    trace(random, torch.zeros(1, 2))
    assert module.calls == 0
    assert torch.equal(torch.get_rng_state(), before)
