"""Verdicts of complete verification beside the truth: enumeration, dense samples, crafted and planted networks."""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from complete_exactness import KINDS, METHODS, examined, wrong
from onnx import helper, numpy_helper

from certify.bounds.deadline import Deadline
from certify.bounds.importers.onnx_file import OnnxFile, read_onnx
from certify.bounds.importers.onnx_import import import_file
from certify.complete.neurons.split import split_neurons
from certify.complete.portfolio import decide
from certify.complete.problem import VerificationProblem, Witness, outcome
from certify.complete.proofs.proof import CompleteProof, InputProof, NeuronProof
from certify.complete.proofs.replay import replayed
from certify.complete.proofs.tree import Tree
from certify.complete.query import Condition, Disjunct, Query
from certify.complete.verify_file import posed
from certify.complete.witnesses.execution import executed
from certify.data.dataset import seeded_generator

every_method = pytest.mark.parametrize("method", METHODS)


def network(layers: list[tuple[np.ndarray, np.ndarray]], bend: str = "Relu", kind: type = np.float32) -> OnnxFile:
    """Dense layers with an activation between them."""
    nodes, stored, name = [], [], "x"
    for i, (W, b) in enumerate(layers):
        stored += [numpy_helper.from_array(kind(W), f"W{i}"), numpy_helper.from_array(kind(b), f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"W{i}", f"b{i}"], [f"z{i}"], transB=1))
        name = f"z{i}"
        if i < len(layers) - 1:
            nodes.append(helper.make_node(bend, [name], [f"h{i}"]))
            name = f"h{i}"
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    ends = (("x", layers[0][0].shape[1]), (name, layers[-1][0].shape[0]))
    given, made = (helper.make_tensor_value_info(end, code, [1, size]) for end, size in ends)
    graph = helper.make_graph(nodes, "net", [given], [made], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return read_onnx(model.SerializeToString())


def asked(file: OnnxFile, case: Disjunct, claim: str = "exact") -> VerificationProblem:
    graph = import_file(file)
    return executed(Query(len(case.lower), math.prod(graph.output.shape), (case,)), file, graph, claim)


def below(bound: float | Fraction, output: int = 0) -> Condition:
    return Condition((), ((output, Fraction(1)),), Fraction(bound))


def box(low: list[float], high: list[float], *conditions: Condition) -> Disjunct:
    return Disjunct(tuple(map(Fraction, low)), tuple(map(Fraction, high)), conditions)


@pytest.mark.parametrize("kind", KINDS)
def test_verdicts_equal_enumeration(kind):
    """Splitting of inputs and of neurons, each by itself, with its proofs as text."""
    found: Counter[tuple[str, str]] = Counter()
    for number in range(1000, 1002):
        for truth, *said in examined(kind, number, 3, seconds=0.5, margins=(0.01, 0.1)):
            for method, one in zip(METHODS, said, strict=True):
                assert not wrong(truth, one), f"{kind} network {number}, {method}: {one}, and it is {truth}"
                found[truth, one] += 1
    assert min(found["sat", "sat"], found["unsat", "unsat"]) >= 1


@every_method
@pytest.mark.parametrize("bend", ["Tanh", "Sigmoid"])
def test_curves_between_samples_and_lipschitz_bounds(method, bend):
    rng = seeded_generator("curves", bend)
    steepest = {"Tanh": 1.0, "Sigmoid": 0.25}[bend]
    axis = torch.linspace(-1, 1, 801, dtype=torch.float64)
    grid, decided = torch.cartesian_prod(axis, axis), 0
    for _ in range(2):
        sizes = (2, 5, 4, 1)
        layers = [(rng.normal(size=(b, a)) * 2 / a**0.5, rng.normal(size=b) * 0.5) for a, b in pairwise(sizes)]
        file = network(layers, bend)
        least = float(import_file(file).to(torch.float64).forward(grid).min())
        norms = math.prod(float(np.abs(np.float32(W)).sum(1).max()) for W, _ in layers)
        below_all = least - norms * steepest ** (len(layers) - 1) * float(axis[1] - axis[0]) / 2 - 1e-9
        ends = ([-1, -1], [1, 1])
        if not decided:  # one proof is enough, however busy the machine
            true = METHODS[method](asked(file, box(*ends, below(min(below_all, least - 0.3)))), Deadline(30))
            assert not isinstance(true, Witness)
            decided += isinstance(true, CompleteProof)
        for margin in (0.0, 1e-2):
            found = METHODS[method](asked(file, box(*ends, below(least + margin))), Deadline(0.3))
            assert not isinstance(found, CompleteProof)
    assert decided >= 1


def hidden_input(base: float) -> list[tuple[list[list[float]], list[float]]]:
    """``relu(x + base) - base + 1/4``: floats lose x (Jia & Rinard 2021). Exactly, it is below 0 below -1/4."""
    return [([[1.0]], [base]), ([[1.0], [-1.0]], [-base, base]), ([[1.0, -1.0]], [0.25])]


def backdoor(base: float) -> list[tuple[list[list[float]], list[float]]]:
    """``1 - 64 relu(base + relu(-1/4 - x) - base)``: exactly, it is below 0 below -0.27 (Zombori et al. 2021)."""
    return [
        ([[-1.0], [0.0]], [-0.25, base]),
        ([[1.0, 1.0]], [0.0]),
        ([[64.0]], [-64.0 * base]),
        ([[-1.0]], [1.0]),
    ]


def stored(layers: list[tuple[list[list[float]], list[float]]], kind: type = np.float32) -> OnnxFile:
    return network([(np.array(W), np.array(b)) for W, b in layers], kind=kind)


@every_method
@pytest.mark.parametrize(("kind", "bases"), [(np.float32, [2.0**26, 1e30]), (np.float64, [2.0**56, 1e200])])
@pytest.mark.parametrize("build", [hidden_input, backdoor])
def test_what_only_exact_arithmetic_sees_is_not_proven_away(method, build, kind, bases):
    for base in bases:
        problem = asked(stored(build(base), kind), box([-1], [1], below(-0.125)))
        blind = replace(problem, examine=lambda points: None)
        assert not isinstance(METHODS[method](blind, Deadline(0.3)), CompleteProof)
        assert decide(problem, Deadline(0.3)).outcome != "unsat"
        everything = torch.ones(1, 1, dtype=torch.bool)
        assert not replayed(problem, CompleteProof("crown", everything)).any()


def exact_output(layers: list[tuple[np.ndarray, np.ndarray]], x: list[float]) -> Fraction:
    """The first output in exact arithmetic, of weights in float32."""
    values = [Fraction(v) for v in x]
    for i, (W, b) in enumerate(layers):
        if i:
            values = [max(v, Fraction(0)) for v in values]
        lines = zip(np.float32(W).tolist(), np.float32(b).tolist(), strict=True)
        values = [sum((Fraction(w) * v for w, v in zip(w, values, strict=True)), Fraction(b)) for w, b in lines]
    return values[0]


def test_what_is_exactly_reached_is_not_proven_away():
    """Points as boxes, and large biases that cancel: without error terms half of the bounds would be too high."""
    rng = seeded_generator("exactly reached")
    sizes = (5, 8, 8, 1)
    layers = [(rng.normal(size=(b, a)), rng.normal(size=b)) for a, b in pairwise(sizes)]
    layers[1] = (layers[1][0], layers[1][1] + 1e4)
    layers[2] = (layers[2][0], layers[2][1] - 1e4 * layers[2][0].sum(1))
    file = network(layers)
    graph, cases = import_file(file), []
    for _ in range(40):
        x = rng.uniform(size=5).astype(np.float32).tolist()
        reached = exact_output(layers, x)
        cases += [box(x, x, below(reached)), box(x, x, below(reached - Fraction(1, 10**4)))]
    blind = replace(executed(Query(5, 1, tuple(cases)), file, graph, "exact"), examine=lambda points: None)
    truth = torch.tensor([[False, True]]).expand(40, 2)
    nothing, none = torch.zeros(40, 2, dtype=torch.bool), torch.zeros(0, dtype=torch.long)
    planes = torch.zeros(2, 0, 2, 1, dtype=torch.uint8)
    whole = InputProof(torch.arange(40), Tree(40), none, planes[0], planes[1].expand(0, 2, 16))
    for proof in (
        CompleteProof("ibp", ~nothing),
        CompleteProof("crown", ~nothing),
        CompleteProof("crown", nothing, whole),
    ):
        assert torch.equal(replayed(blind, proof), truth)
    for region in range(10):
        steps = (split_neurons(blind, region, torch.tensor([clause]), Deadline(1)) for clause in (0, 1))
        reached, above = map(outcome, steps)
        assert reached is None
        assert isinstance(above, NeuronProof)


@every_method
def test_what_only_executions_do_is_not_proven_away(method):
    """``relu(x + base) - base``: exactly it is x, and in float32 a multiple of 4."""
    layers = [([[1.0]], [2.0**25]), ([[1.0]], [-(2.0**25)])]
    file = stored(layers)
    case = box([0.5], [1.75], below(0.25))
    assert file.run(torch.tensor([[0.5]])) <= 0.25
    exact = asked(file, case)
    assert isinstance(METHODS[method](replace(exact, examine=lambda points: None), Deadline(5)), CompleteProof)
    float32 = asked(file, case, "float32")
    assert not isinstance(METHODS[method](replace(float32, examine=lambda p: None), Deadline(0.5)), CompleteProof)
    assert decide(float32, Deadline(2)).outcome == "sat"


def test_a_decimal_that_is_no_float_is_executed_as_one():
    """Executions are on what it rounds to, so a claim about executions is about that as well."""
    ends = (helper.make_tensor_value_info(name, 1, [1, 1]) for name in "xy")
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "net", *([end] for end in ends)
    )  # rounds nothing
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    file = read_onnx(model.SerializeToString())
    tenth, float32 = Fraction("0.1"), Fraction(float(np.float32(0.1)))
    assert float32 > tenth
    between, everything = (float32 + tenth) / 2, CompleteProof("crown", torch.ones(1, 1, dtype=torch.bool))
    for x, bound in (((), -between), (((0, Fraction(1)),), tenth - between)):  # y >= between, y - x >= between - tenth
        case = Disjunct((tenth,), (tenth,), (Condition(x, ((0, Fraction(-1)),), bound),))
        assert replayed(asked(file, case), everything).all()
        assert not replayed(asked(file, case, "float32"), everything).any()


def test_regions_and_rows_enclose_decimals():
    """Ends lie outside of decimals, and rows of decimals below what is asked."""
    rng = seeded_generator("decimals")
    file = network([(np.eye(3), np.zeros(3))])
    for _ in range(20):
        low = [Fraction(f"{v:.7f}") for v in rng.normal(size=3)]
        high = [v + Fraction(f"{w:.7f}") for v, w in zip(low, rng.uniform(size=3), strict=True)]
        x, bound = (
            tuple((i, Fraction(f"{v:.5f}")) for i, v in enumerate(rng.normal(size=3))),
            Fraction(f"{rng.normal():.9f}"),
        )
        problem = asked(file, Disjunct(tuple(low), tuple(high), (Condition(x, ((0, Fraction(1)),), bound),)))
        box = problem.region.box
        assert all(Fraction(a) <= b for a, b in zip(box.lower[0].tolist(), low, strict=True))
        assert all(Fraction(a) >= b for a, b in zip(box.upper[0].tolist(), high, strict=True))
        D, d = problem.goals.D[0, 0, 0].tolist(), Fraction(float(problem.goals.d))
        for point in (low, high):
            exact = sum(a * v for (_, a), v in zip(x, point, strict=True)) - bound
            assert sum(Fraction(a) * v for a, v in zip(D, point, strict=True)) + d <= exact


def test_numbers_that_are_none_prove_nothing():
    for value in (np.nan, np.inf):
        for place in range(3):
            layers = [(np.eye(2), np.zeros(2)), (np.eye(2), np.zeros(2)), (np.eye(2), np.zeros(2))]
            problem = asked(network(layers), box([1, 1], [2, 2], below(0)))
            nodes = list(problem.graph.nodes)
            linear = [i for i, node in enumerate(nodes) if node.operator.kind == "linear"][place]
            weight = nodes[linear].operator.weight.clone()
            weight[0, 0] = value
            nodes[linear] = replace(nodes[linear], operator=replace(nodes[linear].operator, weight=weight))
            broken = replace(problem, graph=replace(problem.graph, nodes=tuple(nodes)))
            assert decide(problem, Deadline(2)).outcome == "unsat"
            for method in METHODS.values():
                assert not isinstance(method(broken, Deadline(0.3)), CompleteProof)


@pytest.mark.parametrize("number", range(0, 16, 2))
def test_planted_instances_are_never_proven(bench_data, number):
    folder = bench_data / "planted"
    if not folder.is_dir():
        pytest.skip(f"no planted instances in {bench_data}")
    with (folder / "expected.csv").open() as file:
        one = list(csv.DictReader(file))[number]
    problem = posed(folder / one["onnx"], folder / one["vnnlib"], "exact").problem
    assert decide(problem, Deadline(0.5)).outcome != "unsat"
    blind = replace(problem, examine=lambda points: None)
    if math.prod(problem.graph.shape) < 100:
        for method in METHODS.values():
            assert not isinstance(method(blind, Deadline(0.3)), CompleteProof)
