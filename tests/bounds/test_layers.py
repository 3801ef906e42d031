"""What backward passes know about intermediate results: rounding errors of their steps, and how free planes lean."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from certify.bounds.backward import backward, minimum, usual_planes
from certify.bounds.crown import tighten
from certify.bounds.ibp import propagate
from certify.bounds.importers.torch_import import import_module
from certify.bounds.layers import Layers
from certify.bounds.linear import LinearBounds
from certify.bounds.region import Region
from certify.bounds.rounding import unit
from certify.bounds.tensors import Interval

EVERYONE = slice(None)


def pushed(layers, C):
    """Rows of the output back at the input, by the planes that all rows share."""
    return backward(layers, LinearBounds.of(layers.graph.output.name, C), EVERYONE, usual_planes)


@pytest.mark.parametrize("activation", [nn.Sigmoid(), nn.Tanh(), nn.GELU()])
def test_rows_lose_what_executions_of_a_smooth_node_may_be_off(points, activation):
    last = nn.Linear(6, 3).requires_grad_(False)
    last.weight.copy_(points("last", 3, 6))
    x, C = points("smooth", 4, 6).double(), points("smooth rows", 4, 5, 3).double()
    graph = import_module(nn.Sequential(activation, last), x[:1].float()).to(torch.float64)
    region = Region(Interval(x - 0.1, x + 0.1))
    exact, executed = (propagate(graph, region, claim=claim, tighten=tighten) for claim in ("exact", "float32"))
    smooth, linear = graph.nodes
    of_smooth, of_linear = (node.operator.executed(*executed.inputs(node)) for node in (smooth, linear))
    reached = (C @ last.weight.double()).abs() @ of_smooth.unsqueeze(2)
    off = (reached + C.abs() @ of_linear.unsqueeze(2)).squeeze(2)
    more = pushed(executed, C).slack - pushed(exact, C).slack
    assert (pushed(exact, C).slack > 0).all()
    assert (more >= off).all()
    assert (more <= off * 1.001).all()
    assert (reached.squeeze(2) > off / 4).all()


class Mirrored(nn.Module):
    """The input is read twice, by operators that only move and add."""

    def forward(self, x):
        return x + x.flip(1)


def test_adding_up_branches_rounds_even_where_each_only_moves_entries(points):
    x, C = points("branches", 3, 5).double(), points("branch rows", 3, 4, 5).double()
    graph = import_module(Mirrored(), x[:1].float()).to(torch.float64)
    box = Interval(x - 0.1, x + 0.1)
    slack = pushed(propagate(graph, Region(box), claim="exact", tighten=tighten), C).slack
    rounding = unit(torch.float64) * ((C.abs() + C.flip(2).abs()) @ box.magnitude().unsqueeze(2)).squeeze(2)
    assert (slack >= rounding).all()


def test_planes_lean_as_the_backward_pass_says_where_interval_arithmetic_cut_its_box():
    """The cut box leans to the right; the slope 1 that this would choose loses 2 where slope 0 loses nothing."""
    graph = import_module(nn.ReLU(), torch.zeros(1, 1))
    alone, cut = (Interval(torch.tensor([[end]]), torch.tensor([[1.5]])) for end in (-2.0, -1.0))
    both = torch.tensor([[[1.0], [-1.0]]])
    lower = {}
    for name, box in (("alone", alone), ("cut", cut)):
        layers = Layers(graph, Region(alone), None, {graph.input: box}, leans={graph.input: alone})
        lower[name] = minimum(layers, pushed(layers, both), EVERYONE).lower
    assert (lower["cut"] >= lower["alone"]).all()
    assert lower["alone"][0].tolist() == pytest.approx([0.0, -1.5])
    [node] = graph.nodes
    planes = layers.relaxation(node, node.operator)
    assert planes.lower_slopes[0].item() == 0.0
    assert planes.upper_slopes[0].item() == pytest.approx(1.5 / 2.5)


def test_tightened_boxes_are_leant_by_as_backward_passes_found_them(mlp, points):
    x = points("leans", 64, 4)
    graph = import_module(mlp, x[:1])
    layers = propagate(graph, Region(Interval(x - 0.8, x + 0.8)), claim=None, tighten=tighten)
    second = [node for node in graph.nodes if node.operator.kind == "relu"][1]
    [box], [name] = layers.inputs(second), second.inputs
    bent = second.operator.bent(box)
    start, naive = (second.operator.start(one)[0] for one in (layers.leans[name], box))
    assert (start != naive)[bent].any()
    slopes = layers.relaxation(second, second.operator).lower_slopes[0]
    assert torch.equal(slopes[bent], start[bent])
