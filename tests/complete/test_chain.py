"""Chains: the bounds and planes of the search are those of the general passes, up to rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from certify.bounds.backward import backward, minimum, usual_planes
from certify.bounds.crown import tighten
from certify.bounds.ibp import propagate
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import ball
from certify.complete.inputs import chain as chains
from certify.complete.inputs.assess import _optimized
from certify.complete.inputs.chain import Chain, usual_lines
from certify.complete.inputs.climb import climbed

EVERYONE = slice(None)


class Shift(nn.Module):
    """Activations of several kinds, moves, scales, and weights without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 8), nn.Conv1d(2, 3, 2), nn.Linear(9, 6, bias=False), nn.Linear(6, 2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Two outputs of three inputs."""
        h = self.layers[0](2 * x - 1).relu().unflatten(1, (2, 4))
        h = self.layers[1](h).sigmoid().transpose(1, 2).flatten(1)
        return self.layers[3](self.layers[2](h).tanh().clamp(-0.5, 0.5))


class Branch(nn.Module):
    """A result that two nodes read."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A residual."""
        return x + x.relu()


def several(problems, kind: str, norm: str):
    """Layers by general passes and by the chain's, over overlapping boxes, and the goals there."""
    problem = problems(kind, "chain", 0.0, norm, regions=7).problem
    region, chain = problem.region.to(torch.float32), problem.chain
    assert chain is not None
    made = [propagate(problem.quick, region, claim=None, tighten=way) for way in (tighten, chain.tighten)]
    return chain, *made, problem.goals.to(torch.float32)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("kind", ["relu", "sigmoid", "conv"])
@pytest.mark.parametrize("most", [1, 2**20])
def test_boxes_and_rows_are_those_of_general_passes(problems, kind, norm, most, monkeypatch):
    monkeypatch.setattr(chains, "CHUNK", most)
    chain, one, two, goals = several(problems, kind, norm)
    for name, box in one.boxes.items():
        for end in ("lower", "upper"):
            torch.testing.assert_close(getattr(two.boxes[name], end), getattr(box, end), rtol=1e-4, atol=1e-5)
    rows = goals.rows(chain.graph).both_signs()
    plain = minimum(one, backward(one, rows, EVERYONE, usual_planes), EVERYONE).lower
    quick = minimum(two, chain.backward(two, rows, EVERYONE, usual_lines), EVERYONE).lower
    torch.testing.assert_close(quick, plain, rtol=1e-4, atol=1e-4)


def test_several_kinds_of_nodes_in_one_chain():
    torch.manual_seed(3)
    graph = import_module(Shift().eval().requires_grad_(False), torch.zeros(1, 3)).to(torch.float32)
    chain = Chain.of(graph)
    assert chain is not None
    x = torch.rand(5, 3)
    region = ball(x, torch.full((5,), 0.2), "linf", (0.0, 1.0))
    one, two = (propagate(graph, region, claim=None, tighten=way) for way in (tighten, chain.tighten))
    for name, box in one.boxes.items():
        torch.testing.assert_close(two.boxes[name].lower, box.lower, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(two.boxes[name].upper, box.upper, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["relu", "sigmoid", "conv"])
def test_planes_are_those_of_a_derivative_of_the_whole_pass(problems, kind, norm):
    chain, layers, _, goals = several(problems, kind, norm)
    samples = torch.tensor([0, 2, 3, 6])
    weights = torch.rand(4, 2, 2, generator=torch.Generator().manual_seed(4))
    mine = goals.of(samples)
    plain, quick = _optimized(layers, mine, samples, weights), climbed(chain, layers, mine, samples, weights, 3)
    assert bool((quick[0] > climbed(chain, layers, mine, samples, weights, 0)[0] + 1e-3).any())
    torch.testing.assert_close(quick[0], plain[0], rtol=1e-3, atol=1e-3)
    for one, two in zip(quick[1:], plain[1:], strict=True):
        assert one.shape == two.shape
        assert float(((one - two).abs() > 1e-2).float().mean()) < 0.02  # where a slope is 0 up to rounding


def test_what_is_no_chain():
    for module, inputs in ((Branch(), 2), (nn.PReLU(2), 2), (nn.Linear(1, 1025), 1)):
        graph = import_module(module.eval().requires_grad_(False), torch.zeros(1, inputs))
        assert Chain.of(graph) is None
    assert Chain.of(import_module(nn.ReLU(), torch.zeros(1, 2))) is not None
