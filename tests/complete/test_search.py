"""What the search finds, and that it is the same each time."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise

import numpy as np
import pytest
import torch

from certify.bounds.deadline import Deadline
from certify.bounds.importers.onnx_file import read_onnx
from certify.bounds.importers.onnx_import import import_file
from certify.bounds.region import ball
from certify.complete.problem import Witness
from certify.complete.query import Condition, Disjunct, Query
from certify.complete.reading.files import read_query
from certify.complete.witnesses.execution import executed, stated
from certify.complete.witnesses.ground import Ground
from certify.complete.witnesses.search import hunt
from certify.data.dataset import seeded_generator

LONG = Deadline(1e6)


def at_most(bound, strict=False, output=0, sign=1) -> Condition:
    return Condition((), ((output, Fraction(sign)),), Fraction(bound), strict)


def posed(file, *cases):
    """The problem of cases, each a lower end, an upper end and conditions."""
    graph = import_file(file)
    exact = tuple(
        Disjunct(tuple(map(Fraction, low)), tuple(map(Fraction, high)), tuple(rest)) for low, high, *rest in cases
    )
    return executed(Query(math.prod(graph.shape), math.prod(graph.output.shape), exact), file, graph, "exact")


def search(problem, pieces, seed=0) -> Witness | None:
    return next((found for found in islice(hunt(problem, LONG, seed), pieces) if found is not None), None)


def distance(network, target, outputs=1):
    """The l1 distance to a point, as a network."""
    n = len(target)
    first = np.concatenate([np.eye(n), -np.eye(n)])
    return network(
        [
            (first, np.concatenate([-np.float32(target), np.float32(target)])),
            (np.ones((outputs, 2 * n)), np.zeros(outputs)),
        ]
    )


def random_file(network, rng, inputs=5, outputs=4):
    sizes = [inputs, 16, 16, outputs]
    return network([(rng.normal(size=(b, a)) / a**0.5, rng.normal(size=b)) for a, b in pairwise(sizes)])


def test_a_tiny_violation_is_found_by_descending(network):
    """A cone of three inputs, below the bound in one part of 10^13 of the box."""
    problem = posed(distance(network, [0.3, -0.7, 0.1]), ([-1] * 3, [1] * 3, at_most("0.0001")))
    witness = search(problem, 60)
    assert np.abs(witness.x - [0.3, -0.7, 0.1]).sum() <= 1.01e-4


def test_strict_conditions_at_the_minimum(network):
    file = distance(network, [0.25, 0.5])
    cases = [([0, 0], [1, 1], at_most(0, strict)) for strict in (True, False)]
    assert search(posed(file, cases[0]), 60) is None
    assert search(posed(file, cases[1]), 60).y == 0


def test_the_same_witness_whatever_happens_between_the_pieces(network):
    rng = seeded_generator("same")
    problem = posed(distance(network, rng.random(6)), ([0] * 6, [1] * 6, at_most("0.001")))
    first = search(problem, 100)
    again = hunt(problem, LONG)
    with torch.no_grad():
        for found in again:
            torch.manual_seed(1)
            torch.rand(3)
            if found is not None:
                break
    assert np.array_equal(first.x, found.x)
    assert next(again, "over") == "over"
    assert not np.array_equal(first.x, search(problem, 100, seed=1).x)


def test_the_deadline_ends_it(network):
    problem = posed(distance(network, [0.5]), ([0], [1], at_most(-1)))
    assert list(hunt(problem, Deadline(1e-9))) == [None]


def test_witnesses_are_in_boxes_of_decimals(network):
    """Bounds between the least of few and of many points, so that boxes' faces matter."""
    rng = seeded_generator("decimals")
    for _ in range(12):
        file = random_file(network, rng)
        low = rng.normal(size=5)
        high = low + (0.5 + rng.random(5)) * 10.0 ** -rng.integers(0, 6, size=5)
        low[0] = high[0] = np.float32(low[0])
        points = torch.tensor(low + rng.random((64, 5)) * (high - low)).float()
        bound = file.run(points, together=False)[:, 0].min().item()
        ends = [[f"{v:.17f}" for v in end] for end in (low, high)]
        ends[1][0] = ends[0][0] = Fraction(float(low[0]))
        case = (*ends, at_most(bound))
        witness = search(posed(file, case), 30)
        exact = Disjunct(tuple(map(Fraction, ends[0])), tuple(map(Fraction, ends[1])), (at_most(bound),))
        assert exact.holds([Fraction(v) for v in witness.x.tolist()], [Fraction(v) for v in witness.y.tolist()])


def test_conjunctions_and_alternatives(network):
    """Near one point and far from another: each clause needs all of its rows, and one of two clauses has none."""
    rng = seeded_generator("clauses")
    n = 4
    first, second = rng.random((2, n)) / 4 + 0.25
    rows = np.concatenate([np.eye(n), -np.eye(n)] * 2)
    bias = np.concatenate([-first, first, -second, second])
    file = network([(rows, bias), (np.kron(np.eye(2), np.ones(2 * n)), np.zeros(2))])
    apart = np.abs(first - second).sum()
    never = ([0] * n, [1] * n, at_most(apart / 2 - 0.01), at_most(apart / 2 - 0.01, output=1))
    both = ([0] * n, [1] * n, at_most(apart / 2 + 0.005), at_most(apart / 2 + 0.005, output=1))
    assert search(posed(file, never), 40) is None
    witness = search(posed(file, never, both), 60)
    assert witness.y.max() <= apart / 2 + 0.005


def test_many_regions(network):
    """A grid of 1,600 boxes, one of which holds the point that is near enough."""
    target = [0.4123, 0.8765]
    cases = [([i / 40, j / 40], [(i + 1) / 40, (j + 1) / 40], at_most("0.0005")) for i in range(40) for j in range(40)]
    witness = search(posed(distance(network, target), *cases), 60)
    assert np.abs(witness.x - target).sum() <= 0.00051


def test_slopes_and_widths_of_all_sizes(network):
    """The one corner of a linear function, whose slopes and widths range over twenty orders of magnitude."""
    rng = seeded_generator("sizes")
    size = 10.0 ** rng.integers(-10, 10, size=12)
    w = rng.choice([-1.0, 1.0], size=12) * 10.0 ** rng.integers(-6, 1, size=12) / size * 1e-8
    low, high = -size, size.copy()
    high[3] = low[3]
    file = network([(w[None], np.zeros(1))])
    corner = np.float32(np.where(w > 0, low, high))
    least = float(file.run(torch.tensor(corner)[None]))
    ends = [np.float32(end).tolist() for end in (low, high)]
    assert search(posed(file, (*ends, at_most(least * (1 - 1e-6)))), 60) is not None


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_balls(network, norm):
    """A linear function in a ball: its least value is that at the center less the dual norm of its slopes."""
    rng = seeded_generator("balls", norm)
    w, center = rng.normal(size=(1, 20)), torch.tensor(rng.random(20) * 0.2 + 0.4)
    dual = np.abs(w).max() if norm == "l1" else np.linalg.norm(w)
    bound = float((w @ center.numpy())[0] - 0.1 * dual * 0.999)
    file = network([(w, np.zeros(1))])
    problem = posed(file, ([0] * 20, [1] * 20, at_most(bound)))
    region = ball(center[None], torch.tensor([0.1], dtype=torch.float64), norm, (0.0, 1.0))

    def examine(points):
        far = torch.linalg.vector_norm(points.double() - center, ord={"l1": 1, "l2": 2}[norm], dim=1)
        assert (far <= 0.1).all()
        return problem.examine(points)

    assert search(replace(problem, region=region, examine=examine), 60) is not None


def test_without_numbers_or_slopes(network):
    """NaN is never near a violation, and a constant network has no way to go."""
    ends = [0] * 3, [1] * 3
    file = network([(np.zeros((2, 3)), np.zeros(2)), (np.ones((1, 2)), np.ones(1))])
    assert search(posed(file, (*ends, at_most("0.5"))), 30) is None
    nan = posed(file, (*ends, at_most(2)))
    broken = replace(nan.graph.nodes[0].operator, offset=torch.full((2,), torch.nan))
    nodes = (replace(nan.graph.nodes[0], operator=broken), *nan.graph.nodes[1:])
    assert search(replace(nan, graph=replace(nan.graph, nodes=nodes)), 30) is None


def test_padding_is_no_clause(network):
    """Regions with fewer clauses than others are filled up with some that hold; no search goes there."""
    file = distance(network, [0.5])
    low, high = ([0], [1], at_most(-1)), ([2], [3], at_most(-1))
    problem = posed(file, low, high, (*high[:2], at_most(-2)))
    assert Ground.of(problem).live.tolist() == [0, 2, 3]


def test_inputs_without_bounds_are_searched_around_zero(network):
    """Some have one end that says something, or two; as far as floats go, samples would be of no use."""
    most = torch.finfo(torch.float32).max
    lower, upper = [-most, -most, 5, -most, -3e4], [most, 7, most, 1e6, most]
    ground = Ground.of(posed(distance(network, [0] * 5), (lower, upper, at_most(-1))))
    assert ground.lower.tolist() == [[-1024, 7 - 2048, 5, -1024, -1024]]
    assert ground.upper.tolist() == [[1024, 7, 5 + 2048, 1024, 1024]]
    target = [300.5, -20, 6, 1000, 0]
    witness = search(posed(distance(network, target), (lower, upper, at_most(10))), 60)
    assert np.abs(witness.x - target).sum() <= 10.01


EASY = 40
"""Pieces of work within which instances that are known to be violated are."""


def violated(root) -> list[tuple[str, str]]:
    """Every fourth published instance with a witness, and every third planted one; the largest networks left out."""
    listed = []
    for folder, step in (("verification", 4), ("planted", 3)):
        with (root / folder / "expected.csv").open() as file:
            rows = [
                row for row in csv.DictReader(file) if row["expected"] == "sat" and row.get("evidence") != "vote_only"
            ]
        listed += [(root / folder / row["onnx"], root / folder / row["vnnlib"]) for row in rows[::step]]
    return [pair for pair in listed if "cifar" not in str(pair[1]) and "oval" not in str(pair[1])]


def test_published_and_planted_counterexamples(bench_data, network):
    """Each within some pieces, and inside of the exact box once more."""
    for onnx, vnnlib in violated(bench_data):
        file = read_onnx(onnx)
        graph = import_file(file)
        query = read_query(vnnlib, math.prod(graph.shape), math.prod(graph.output.shape))
        witness = search(executed(query, file, graph, "exact"), EASY)
        assert witness is not None, vnnlib.name
        y = file.run(torch.tensor(witness.x).reshape(1, *file.shape)).flatten().tolist()
        assert any(case.holds(stated(witness.x, case), list(map(Fraction, y))) for case in query.cases)
