"""alpha-CROWN: what its search gains, and what its hints alone prove."""

from __future__ import annotations

import base64
import zlib

import pytest
import torch
from torch import nn

from certify.bounds import crown
from certify.bounds.alpha_crown import prove, search
from certify.bounds.hints import Hint, packed, unpacked
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.region import Region, ball
from certify.bounds.tensors import Interval
from certify.data.dataset import seeded_generator
from certify.errors import BadInput

from .conftest import filled


def case(points, module: nn.Module, *shape: int, half: float = 0.3):
    x = points("alpha", 3, *shape).double()
    graph = import_module(module, x[:1].float()).to(torch.float64)
    rows = points("alpha rows", 3, 4, graph.output.shape[0]).double()
    return graph, Region(Interval(x - half, x + half)), rows


@pytest.fixture(params=["mlp", "conv", "smooth"])
def problem(request, points):
    if request.param == "smooth":
        layers = [nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3)]
        return case(points, filled(nn.Sequential(*layers), "smooth"), 4)
    return case(points, request.getfixturevalue(request.param), *{"mlp": (4,), "conv": (2, 6, 6)}[request.param])


def test_each_search_gains_on_the_one_before(problem):
    crown_, last, joint = (METHODS[name](*problem).lower for name in ("crown", "alpha-crown-last", "alpha-crown"))
    assert (last >= crown_ - 1e-9).all()
    assert (last > crown_ + 1e-4).float().mean() > 0.5
    assert joint.mean() > last.mean()
    # Tighter boxes give other starts: rows gain on the whole, not each one at every iteration.
    assert (joint > last - 1e-2).all()


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_searches_gain_over_balls_cut_by_a_box(conv, points, norm):
    x = points("alpha ball", 2, 2, 6, 6).sigmoid().double()
    graph = import_module(conv, x[:1].float()).to(torch.float64)
    C = points("alpha C", 2, 3, 3).double()
    region = ball(x, torch.tensor([0.4, 1.0]).double(), norm, (0.0, 1.0))
    plain, tight = (METHODS[name](graph, region, C).lower for name in ("crown", "alpha-crown"))
    assert (tight >= plain - 1e-9).all()
    assert (tight > plain + 1e-4).any()


@pytest.mark.parametrize("claim", ["exact", "float32"])
def test_hints_prove_without_a_search_what_the_search_found(problem, claim, monkeypatch):
    graph, region, C = problem
    found = METHODS["alpha-crown"](graph, region, C, claim=claim)
    monkeypatch.setattr("certify.bounds.alpha_crown.optimize_rows", None)
    for i, hints in enumerate(found.hints):
        one = slice(i, i + 1)
        again = prove(graph, region.rows(one), C[one], unpacked(packed(hints)), claim=claim)
        assert torch.equal(again.lower, found.lower[one])


def test_any_hints_are_sound_and_good_ones_matter(problem):
    graph, region, C = problem
    generator, one = seeded_generator("hints"), slice(0, 1)
    _, hints = search(graph, region.rows(one), C[one])
    best = prove(graph, region.rows(one), C[one], hints, claim="exact").lower
    box = region.rows(one).box
    shares = torch.as_tensor(generator.uniform(size=(4000, *box.shape[1:])))
    corners = torch.where(shares < 0.5, box.lower, box.upper)
    y = graph.forward(torch.cat([box.lower + (box.upper - box.lower) * shares, corners])) @ C[0].T
    for _ in range(5):
        random = [
            Hint(
                hint.name,
                hint.entries[torch.as_tensor(generator.permutation(len(hint.entries)))],
                {
                    k: torch.as_tensor(generator.integers(0, 256, v.shape), dtype=torch.uint8)
                    for k, v in hint.shares.items()
                },
            )
            for hint in hints
        ]
        lower = prove(graph, region.rows(one), C[one], random, claim="exact").lower
        assert (lower <= y.amin(0)).all()
        assert lower.mean() < best.mean()


def test_a_sample_is_searched_alone(problem):
    graph, region, C = problem
    whole = METHODS["alpha-crown"](graph, region, C).lower
    one = METHODS["alpha-crown"](graph, region.rows(slice(1, 2)), C[1:2]).lower
    assert torch.equal(whole[1:2], one)


def test_chunks_change_no_bound(conv, points, monkeypatch):
    problem = case(points, conv, 2, 6, 6)
    whole = METHODS["alpha-crown"](*problem).lower
    monkeypatch.setattr(crown, "CHUNK", 1000)
    monkeypatch.setattr("certify.bounds.alpha_crown.CHUNK", 100)  # less than the rows of a sample
    assert torch.allclose(METHODS["alpha-crown"](*problem).lower, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("text", ["", "!", "AAAA", packed([])[:-3]])
def test_changed_hints_are_refused(text):
    with pytest.raises(BadInput, match="slopes of a certificate cannot be read"):
        unpacked(text)


def test_hints_that_unpack_to_more_than_there_is_are_refused(monkeypatch):
    monkeypatch.setattr("certify.bounded.memory.free_memory", lambda: 2**22)
    for begin in (2, 2**40):
        bomb = base64.b64encode(zlib.compress(begin.to_bytes(8, "big") + b"[]" + bytes(2**24))).decode()
        with pytest.raises(BadInput, match="slopes of a certificate takes? .* more than this machine has to spare"):
            unpacked(bomb)
