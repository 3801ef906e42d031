"""Code that computes something else while torch.export traces it, where no input of a comparison shows it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from certify.bounds.importers.torch_import import import_module
from certify.errors import ModelError


class Network(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor, self.calls, self.filled = factor, 0, None

    def forward(self, x):
        return x + torch.relu(x - 1e6) * self.factor(self, x)


def _counted(network, x):
    network.calls += 1
    return network.calls


def _alternating(network, x):
    network.calls = 1 - network.calls
    return torch.tensor([1.0, float(network.calls)])


@pytest.mark.parametrize(
    "factor",
    [
        lambda network, x: 1.0 if torch.compiler.is_compiling() else 2.0,
        lambda network, x: 1.0 if torch.compiler.is_exporting() else 2.0,
        lambda network, x: 1.0 if type(x) is torch.Tensor else 2.0,
        lambda network, x: x if torch.compiler.is_compiling() else x * 1.0,
        _counted,
        _alternating,
    ],
)
def test_other_calls_than_those_executed_are_refused(factor):
    with pytest.raises(ModelError, match="look for (code that asks which it is|state that changes)"):
        import_module(Network(factor).eval(), torch.zeros(1, 2))


def test_an_attribute_filled_by_the_first_answer_stays_as_it_was():
    def filled(network, x):
        if network.filled is None:
            network.filled = torch.full((2,), 3.0)
        return network.filled

    network = Network(filled).eval()
    graph, x = import_module(network, torch.zeros(1, 2)), torch.tensor([[1e6 + 2.0, 1.0]])
    assert network.filled is None
    assert torch.equal(graph.forward(x), network(x))


def test_attention_is_compared_without_its_joined_kernel():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval().requires_grad_(False)
    assert torch.backends.mha.get_fastpath_enabled()
    import_module(layer, torch.zeros(1, 3, 4))
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("seed", [14, 18, 22])
def test_normalization_of_what_is_equal_is_no_difference(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Conv1d(2, 3, 3), nn.InstanceNorm1d(3, affine=True), nn.ELU(), nn.Flatten(), nn.LayerNorm(12)
        network = nn.Sequential(*layers, nn.Softplus(), nn.Linear(12, 3)).eval().requires_grad_(False)
    import_module(network, torch.zeros(1, 2, 6))
