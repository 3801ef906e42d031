"""Rows of few entries, as in attention: the same bounds as from whole rows, which hold, and less work."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from certify.bounds import crown as crown_module
from certify.bounds import few as few_module
from certify.bounds.crown import crown, tighten
from certify.bounds.few import Few
from certify.bounds.ibp import propagate
from certify.bounds.importers.torch_import import import_module
from certify.bounds.output import output_bounds
from certify.bounds.region import Region
from certify.bounds.rules.layer_norm import Center
from certify.bounds.rules.linear import Linear
from certify.bounds.rules.reduce import Reduce
from certify.bounds.rules.reshape import Reshape
from certify.bounds.rules.select import Select
from certify.bounds.rules.softmax import Differences
from certify.bounds.tensors import Interval
from certify.data.dataset import seeded_generator

from .conftest import filled

TOKENS, WIDTH = 6, 4


class Encoder(nn.Module):
    """Attention of two heads, or four of one number each, or one that weighs tokens; and two linear layers."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.embed, self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(5))
        self.up, self.down, self.last = nn.Linear(WIDTH, 6), nn.Linear(6, WIDTH), nn.Linear(WIDTH, 3)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x):
        if self.kind != "bare":
            x = self.embed(x)
        before = self.norm(x) if self.kind == "normed" else x
        if self.kind == "pooling":
            x = torch.tanh(before)
            return self.last((torch.softmax(self.q(x), dim=1) * x).sum(1))
        heads = (4, 1) if self.kind == "thin" else (2, 2)
        q, k, v = (part(before).unflatten(2, heads).transpose(1, 2) for part in (self.q, self.k, self.v))
        if self.kind == "causal":
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            mixed = torch.softmax(q @ k.transpose(2, 3), dim=-1) @ v
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return self.last((x + self.down(torch.relu(self.up(x)))).mean(1))


KINDS = ("bare", "embedded", "causal", "normed", "thin", "pooling")


def problem(kind, eps=0.02, count=2):
    net = filled(Encoder(kind), "few", kind)
    x = torch.as_tensor(seeded_generator("few", kind).uniform(size=(count, TOKENS, WIDTH))).float()
    return net, import_module(net, x[:1]), Region(Interval(x.double() - eps, x.double() + eps))


@pytest.fixture(params=[0.25, 0.9])
def largest(request, monkeypatch):
    """Rows are held whole early, and late."""
    monkeypatch.setattr(few_module, "LARGEST", request.param)


@pytest.mark.parametrize("ends", ["one end first", "both ends"])
@pytest.mark.parametrize("kind", KINDS)
def test_few_entries_give_the_bounds_of_whole_rows(kind, ends, largest, monkeypatch):
    monkeypatch.setattr(crown_module, "LARGE", 0 if ends == "one end first" else 2**60)
    _, graph, region = problem(kind)
    wide, used, real = graph.to(torch.float64), [], Few.through
    monkeypatch.setattr(Few, "through", lambda *given: (used.append(1), real(*given))[1])
    few = propagate(wide, region, claim="exact", tighten=tighten)
    assert used
    monkeypatch.setattr(crown_module, "_reached", lambda graph, name: None)
    monkeypatch.setattr(crown_module, "_without_twins", lambda graph, name, wanted: (wanted, None))
    whole = propagate(wide, region, claim="exact", tighten=tighten)
    for name, box in whole.boxes.items():
        width = (box.upper - box.lower).clamp(min=1e-9)
        for one, other in ((few.boxes[name].lower, box.lower), (few.boxes[name].upper, box.upper)):
            assert ((one - other).abs() <= 1e-9 * width).all(), name


@pytest.mark.parametrize("kind", KINDS)
def test_margins_are_those_of_whole_rows_with_coefficients_in_float32_too(kind, largest, monkeypatch):
    _, graph, region = problem(kind)
    C = torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    few = crown(graph.mixed(), region, C).lower
    monkeypatch.setattr(crown_module, "_reached", lambda graph, name: None)
    whole = crown(graph.mixed(), region, C).lower
    assert torch.allclose(few, whole, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold_at_points(kind, largest):
    net, _, region = problem(kind, eps=0.2)
    lower, upper = region.box.lower.float(), region.box.upper.float()
    below, above = output_bounds(net, lower, upper)
    g = seeded_generator("points of few", kind)
    shares = torch.as_tensor(g.uniform(size=(400, *lower.shape)))
    shares[::2] = shares[::2].round()
    with torch.no_grad():
        net.double()
        for share in shares:
            y = net(lower.double() + share * (upper.double() - lower.double()))
            assert (below <= y).all()
            assert (y <= above).all()
        net.float()


def test_of_two_opposite_differences_one_is_bounded(monkeypatch):
    _, graph, region = problem("embedded")
    graph, asked, real = graph.to(torch.float64), {}, crown_module.entry_rows

    def counted(layers, name, wanted, **how):
        asked.setdefault(name, wanted.clone())
        return real(layers, name, wanted, **how)

    monkeypatch.setattr(crown_module, "entry_rows", counted)
    monkeypatch.setattr(crown_module, "LARGE", 2**60)
    layers = propagate(graph, region, claim="exact", tighten=tighten)
    [name] = [node.name for node in graph.nodes if node.operator.kind == "differences"]
    assert asked[name].sum() == 2 * 2 * TOKENS * TOKENS * (TOKENS - 1) // 2
    box = layers.boxes[name]
    assert torch.equal(box.lower, -box.upper.transpose(3, 4))


def test_entries_listed_twice_are_added_up_also_where_other_rows_list_none_twice():
    entries = torch.tensor([[[0, 3, 5], [4, 1, 4], [2, 2, 2]]])
    A = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, -4.0], [6.0, 7.0, 8.0]]])
    one = Few(A, entries, (6,))
    merged = one.merged()
    assert torch.equal(merged.dense(), one.dense())
    assert torch.equal(merged.A.abs().sum(2), torch.tensor([[6.0, 5.0, 21.0]]))
    both = one.merged() + Few(torch.ones(2, 3, 1), torch.tensor([[[5], [0], [2]]]), (6,))
    assert both.dense()[1].tolist() == [[1, 0, 0, 2, 0, 4], [1, 5, 0, 0, 0, 0], [0, 0, 22, 0, 0, 0]]
    assert torch.equal(both.A.abs().sum(2)[0], torch.tensor([7.0, 6.0, 22.0]))


def few_rows(g, shape, batch):
    """Rows of few entries, in one sample or several, some of them listed twice, and not all coefficients."""
    count, rows = int(g.integers(1, 4)), int(g.integers(1, 4))
    entries = torch.as_tensor(g.integers(math.prod(shape), size=(batch[0], rows, count)))
    return Few(torch.as_tensor(g.normal(size=(batch[1], rows, count))), entries, shape).merged()


@pytest.mark.parametrize("batch", [(1, 1), (1, 2), (2, 2)])
def test_a_step_through_an_operator_is_that_of_whole_rows(batch):
    g = seeded_generator("steps of few", batch)
    select = Select(torch.tensor([[0, 5, -1, 3], [5, 2, 1, 11]]), (3, 4))
    linear = Linear(torch.as_tensor(g.normal(size=(2, 4))))
    operators = [
        (linear, (3, 4), (3, 2)),
        (linear, (2, 3, 4), (2, 3, 2)),
        (Center((3, 4), 1), (3, 4), (3, 4)),
        (Differences(0, 3), (3, 4), (3, 3, 4)),
        (Differences(1, 4), (3, 4), (3, 4, 4)),
        (Differences(0, 1), (1, 4), (1, 1, 4)),
        (Reduce((3, 4), (0,)), (3, 4), (4,)),
        (Reduce((3, 4), (1,), keep=True), (3, 4), (3, 1)),
        (Reshape((12,)), (3, 4), (12,)),
        (select, (3, 4), (2, 4)),
    ]
    for operator, shape, after in operators:
        for _ in range(20):
            rows = few_rows(g, after, batch)
            [found] = rows.through(operator, (shape,))
            whole = rows.dense()
            [expected] = operator.adjoint(whole.flatten(0, 1), (shape,))
            assert torch.allclose(found.dense(), expected.unflatten(0, whole.shape[:2]), rtol=1e-12, atol=1e-12)
