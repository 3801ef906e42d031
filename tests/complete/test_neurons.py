"""Splitting neurons: verdicts against dense samples, leaves against points of their parts, proofs tampered with."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from certify.bounds.alpha_crown import search_layers
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.hints import Hint
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.complete import pieces
from certify.complete.neurons import lemmas, split
from certify.complete.neurons.leaves import paths
from certify.complete.neurons.lemmas import Lemma, search_lemmas
from certify.complete.neurons.parts import Parts, layers_of, lower_bounds, rows_of
from certify.complete.neurons.split import _known, replayed, split_neurons
from certify.complete.problem import Goals, VerificationProblem, Witness, outcome
from certify.complete.proofs.proof import CompleteProof, NeuronProof
from certify.complete.proofs.replay import replayed as replay
from certify.complete.proofs.text import packed, unpacked
from certify.complete.proofs.tree import Tree
from certify.data.dataset import seeded_generator
from certify.errors import BadInput

ROOM = 30.0
GAIN = {"relu": 1.8, "leaky": 1.8, "sigmoid": 2.0, "conv": 1.5, "pool": 1.5, "convs": 1.5}


def network(kind: str, seed: int) -> nn.Module:
    """A small network of two inputs and three outputs, whose bounds are loose enough to make a search split."""
    bend = {
        "relu": nn.ReLU,
        "leaky": lambda: nn.LeakyReLU(0.1),
        "sigmoid": nn.Sigmoid,
        "conv": nn.ReLU,
        "pool": nn.ReLU,
        "convs": nn.ReLU,
    }
    layers: list[nn.Module]
    if kind in ("conv", "pool"):
        first = nn.Sequential(nn.Linear(2, 32), nn.Unflatten(1, (2, 4, 4)), nn.Conv2d(2, 3, 3, padding=1), bend[kind]())
        rest = [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)] if kind == "pool" else [nn.Flatten(), nn.Linear(48, 3)]
        layers = [first, *rest]
    elif kind == "convs":
        first = [nn.Linear(2, 72), nn.Unflatten(1, (2, 6, 6)), nn.Conv2d(2, 2, 3, padding=1), bend[kind]()]
        layers = [*first, nn.Conv2d(2, 2, 3, padding=1), bend[kind](), nn.Flatten(), nn.Linear(72, 3)]
    else:
        layers = [nn.Linear(2, 10), bend[kind](), nn.Linear(10, 10), bend[kind](), nn.Linear(10, 3)]
    module = nn.Sequential(*layers).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan = parameter[0].numel() if parameter.dim() > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (GAIN[kind] / fan**0.5))
    return module


def problem_of(kind: str, seed: int, slack: float, claim: str = "exact") -> VerificationProblem:
    """Two clauses, of one and of two rows, that hold with ``slack`` at all points of a grid."""
    graph = import_module(network(kind, seed), torch.zeros(1, 2))
    box = Interval(-torch.ones(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))
    C = torch.tensor([[[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]], [[-1.0, 0.5, 0.5], [1.0, 1.0, -2.0]]], dtype=torch.float64)
    goals = Goals(C.unsqueeze(0), None, torch.tensor([[[0.0, -1.0], [0.0, 0.0]]], dtype=torch.float64))
    axis = torch.linspace(-1, 1, 301, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    everyone = goals.of(torch.zeros(len(grid), dtype=torch.long))
    values = everyone.values(grid, graph.to(torch.float64).forward(grid))
    least = torch.stack([values[:, 0, 0].amin(), values[:, 1].amax(1).amin()])
    d = torch.stack([torch.stack([slack - least[0], -least.new_ones(())]), (slack - least[1]).expand(2)])
    goals = Goals(goals.C, None, d.unsqueeze(0))

    def examine(x: Tensor) -> Witness | None:
        x = x.double().clamp(-1, 1)
        y = graph.to(torch.float64).forward(x)
        bad = (goals.of(torch.zeros(len(x), dtype=torch.long)).values(x, y) <= 0).all(2).any(1)
        return Witness(x[bad][0].numpy(), y[bad][0].numpy()) if bool(bad.any()) else None

    return VerificationProblem(graph, Region(box), goals, claim, examine)  # type: ignore[arg-type]


CLAUSES = torch.arange(2)


@pytest.mark.parametrize("kind", ["relu", "leaky", "conv", "sigmoid"])
@pytest.mark.parametrize("seed", [2])
def test_verdicts_agree_with_a_dense_grid(kind: str, seed: int) -> None:
    true = problem_of(kind, seed, slack=0.15)
    proof = outcome(split_neurons(true, 0, CLAUSES, Deadline(ROOM)))
    assert isinstance(proof, NeuronProof)
    assert replayed(true, proof).all()
    false = problem_of(kind, seed, slack=-1e-3)
    assert not replayed(false, proof).any()  # the same leaves about clauses that do not hold
    false = problem_of(kind, seed, slack=-0.05)
    found = outcome(split_neurons(false, 0, CLAUSES, Deadline(2.0 if kind == "sigmoid" else ROOM)))
    assert isinstance(found, Witness) or (kind == "sigmoid" and found is None)  # curves never become linear


def test_workers_do_the_same_as_one(monkeypatch):
    monkeypatch.setattr(pieces, "LEAST", 1)
    monkeypatch.setattr(split, "PIECE_PARTS", 8)
    problem = problem_of("relu", 2, 0.3)
    one, *others = (outcome(split_neurons(problem, 0, CLAUSES, NEVER, workers)) for workers in (1, 2, 3))
    assert isinstance(one, NeuronProof)
    assert len(one.leaves.shares) > 6
    assert bool(replayed(problem, one).all())
    for other in others:
        assert isinstance(other, NeuronProof)
        for first, second in zip(one.tree.splits, other.tree.splits, strict=True):
            assert np.array_equal(first, second)
        for name in ("free", "shares", "weights", "beta"):
            assert torch.equal(getattr(one.leaves, name), getattr(other.leaves, name))


@pytest.mark.parametrize("claim", ["exact", "float32"])
@pytest.mark.parametrize("kind", ["relu", "sigmoid"])
def test_no_leaf_is_above_a_point_of_its_part(kind: str, claim: str) -> None:
    problem = problem_of(kind, 3, slack=0.03, claim=claim)
    proof = outcome(split_neurons(problem, 0, CLAUSES, Deadline(ROOM)))
    assert isinstance(proof, NeuronProof)
    assert len(proof.tree.splits[0]) > 1
    neurons = _known(problem, 0, proof.hints)
    parts = proof.leaves.parts(proof.tree, proof.clauses, neurons)
    x = torch.rand(4000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    values = {problem.graph.input: x}
    for node in problem.exact.nodes:
        values[node.name] = node.operator.forward(*(values[name] for name in node.inputs))
    z = neurons.entries(values)[:, parts.entries]  # (points, parts, depth)
    inside = (parts.side * (z - parts.at) >= 0).all(2)
    rows = problem.goals.of(torch.zeros(len(x), dtype=torch.long)).values(x, values[problem.graph.output.name])
    rows = torch.einsum("nbr,br->nb", rows[:, parts.clauses], parts.weights.double())
    for multiplier in (0.0, 1.0, 7.0, -1.0, -30.0):  # whatever the multipliers
        lower = lower_bounds(neurons, replace(parts, beta=parts.beta * multiplier + 0.01 * multiplier))
        assert not (inside & (rows < lower)).any()
    for name, span in neurons.results.items():
        box, reached = layers_of(neurons, parts).boxes[name], neurons.entries(values)[:, span]
        outside = (reached.unsqueeze(1) < box.lower.flatten(1)) | (reached.unsqueeze(1) > box.upper.flatten(1))
        assert not (inside & outside.any(2)).any()
    for clause in range(2):  # each point is in a leaf of each clause
        assert inside[:, parts.clauses == clause].any(1).all()


def test_tampered_proofs_refute_nothing_that_does_not_hold() -> None:
    false = problem_of("relu", 0, slack=-0.01)
    true = problem_of("relu", 0, slack=0.15)
    proof = outcome(split_neurons(true, 0, CLAUSES, Deadline(ROOM)))
    assert isinstance(proof, NeuronProof)
    leaves = proof.leaves
    generator = torch.Generator().manual_seed(2)
    noise = torch.rand(len(leaves.beta), generator=generator)
    for beta in (-100 * noise, torch.full_like(noise, torch.nan), torch.full_like(noise, torch.inf), 1e6 * noise):
        assert not replayed(false, replace(proof, leaves=replace(leaves, beta=beta))).any()
    for weights in (-leaves.weights, leaves.weights * torch.nan, torch.zeros_like(leaves.weights)):
        assert not replayed(false, replace(proof, leaves=replace(leaves, weights=weights))).any()
        assert not replayed(true, replace(proof, leaves=replace(leaves, weights=weights))).any()
    nodes, entries, at = proof.tree.splits
    moved = Tree.of(2, (nodes, entries, at + 100), 20)  # parts that hold nothing, and parts that hold everything
    assert not replayed(false, replace(proof, tree=moved)).any()
    fewer = Tree.of(2, (nodes[:-1], entries[:-1], at[:-1]), 20)
    for wrong in (
        replace(proof, tree=fewer),
        replace(proof, clauses=torch.tensor([0])),
        replace(proof, clauses=torch.tensor([0, 2])),
        replace(proof, region=1),
        replace(proof, tree=Tree.of(2, (nodes, entries + 20, at), 40)),
        replace(proof, leaves=replace(leaves, shares=leaves.shares[1:])),
        replace(proof, leaves=replace(leaves, shares=leaves.shares.float() * 9)),
        replace(proof, leaves=replace(leaves, free=leaves.free + 20)),
    ):
        with pytest.raises(BadInput):
            replayed(true, wrong)


def lemmas_of(problem: VerificationProblem, most: int, workers: int = 1) -> tuple[tuple[Hint, ...], tuple[Lemma, ...]]:
    """Planes of all results, and lemmas of at most ``most`` parts each."""
    region = problem.region.to(torch.float32)
    hints = search_layers(problem.quick, region, lambda: False)
    with torch.no_grad():
        found, _ = search_lemmas(problem.quick, region, hints, most, NEVER, NEVER, workers)
    return hints, found


@pytest.mark.parametrize("claim", ["exact", "float32"])
@pytest.mark.parametrize("kind", ["relu", "sigmoid", "convs"])
def test_lemmas_tighten_boxes_and_whatever_they_say_no_point_is_outside(kind: str, claim: str) -> None:
    problem = problem_of(kind, 3, slack=0.0, claim=claim)
    hints, found = lemmas_of(problem, 600)
    assert found
    x = torch.rand(4000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    generator = torch.Generator().manual_seed(2)

    def forged(lemma: Lemma) -> Lemma:
        leaves = lemma.leaves
        noise = torch.rand(len(leaves.beta), generator=generator)
        shares = torch.randint(0, 256, leaves.shares.shape, generator=generator, dtype=torch.uint8)
        return replace(lemma, leaves=replace(leaves, shares=shares, beta=1e3 * noise, weights=leaves.weights * 7))

    with torch.no_grad():
        values = values_of(problem.exact, x)
        before, after = (_known(problem, 0, hints, some).layers.boxes for some in ((), found))
        wrong = _known(problem, 0, hints, tuple(map(forged, found))).layers.boxes
    widths = {name: [float((b[name].upper - b[name].lower).sum()) for b in (before, after)] for name in before}
    [wide, narrow] = widths[found[-1].name]
    assert narrow < 0.99 * wide
    for boxes in (after, wrong):
        for name, reached in values.items():
            assert ((boxes[name].lower <= reached) & (reached <= boxes[name].upper)).all()


def test_a_proof_with_lemmas_is_kept_and_replayed_and_needs_them(monkeypatch) -> None:
    problem = problem_of("relu", 2, slack=0.15)
    monkeypatch.setattr(split, "EFFORTS", ((0, 0), (512, float("inf"))))
    proof = outcome(split_neurons(problem, 0, CLAUSES, Deadline(ROOM)))
    assert isinstance(proof, NeuronProof)
    assert proof.lemmas
    kept = unpacked(packed(CompleteProof("crown", torch.zeros(1, 2, dtype=torch.bool), None, (proof,))))
    assert replay(problem, kept).all()
    assert not replayed(problem_of("relu", 2, slack=-1e-3), proof).any()
    [lemma] = proof.lemmas
    nodes, entries, at = lemma.tree.splits
    beyond = Tree.of(lemma.tree.roots, (nodes, entries + 10, at), 40)
    for wrong in (
        replace(lemma, name="nowhere"),
        replace(lemma, entries=lemma.entries[1:]),
        replace(lemma, entries=lemma.entries * 0),
        replace(lemma, entries=lemma.entries + 10),
        replace(lemma, tree=beyond),
        replace(lemma, leaves=replace(lemma.leaves, free=lemma.leaves.free - 1)),
    ):
        with pytest.raises(BadInput):
            replay(problem, replace(kept, neurons=(replace(proof, lemmas=(wrong,)),)))


def test_workers_find_the_same_lemmas_as_one(monkeypatch) -> None:
    monkeypatch.setattr(pieces, "LEAST", 1)
    monkeypatch.setattr(lemmas, "PIECE_PARTS", 8)
    problem = problem_of("relu", 2, slack=0.0)
    (_, [one]), (_, [two]) = (lemmas_of(problem, 300, workers) for workers in (1, 2))
    assert one.tree.size >= 300
    for first, second in zip(one.tree.splits, two.tree.splits, strict=True):
        assert np.array_equal(first, second)
    for name in ("free", "shares", "weights", "beta"):
        assert torch.equal(getattr(one.leaves, name), getattr(two.leaves, name))


def test_maxima_are_not_split_and_prove_nothing_false() -> None:
    for seed in range(3):
        false = problem_of("pool", seed, slack=-0.01)
        assert not isinstance(outcome(split_neurons(false, 0, CLAUSES, Deadline(0.7))), NeuronProof)


def test_paths_walk_down_from_the_roots() -> None:
    tree = Tree(2)
    tree.grow(np.array([1]), np.array([5]), np.array([0.5]))  # 2, 3
    tree.grow(np.array([3]), np.array([7]), np.array([-1.0]))  # 4, 5
    entries, at, side = paths(tree, tree.leaves())
    assert entries.tolist() == [[0, 0], [5, 0], [5, 7], [5, 7]]
    assert at.tolist() == [[0, 0], [0.5, 0], [0.5, -1], [0.5, -1]]
    assert side.tolist() == [[0, 0], [-1, 0], [1, -1], [1, 1]]


def test_split_parts_of_different_depths_keep_their_paths_together() -> None:
    parts = Parts.whole(CLAUSES, torch.ones(2, 1), torch.zeros(2, 0, dtype=torch.uint8))
    first = parts.of(slice(0, 1)).split(torch.tensor([4]), torch.tensor([0.0]))
    both = Parts.join([first, parts.of(slice(1, 2))]).split(torch.tensor([1, 2, 3]), torch.zeros(3))
    assert both.entries.tolist() == [[4, 1], [4, 2], [3, 0]] * 2
    assert both.side.tolist() == [[-1, -1], [1, -1], [-1, 0], [-1, 1], [1, 1], [1, 0]]


def test_the_time_limit_is_looked_at() -> None:
    problem = problem_of("relu", 0, slack=0.15)
    assert outcome(split_neurons(problem, 0, CLAUSES, Deadline(1e-9))) is None


def test_a_network_without_neurons_is_decided_or_given_up() -> None:
    graph = import_module(nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2))
    box = Interval(torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))
    C = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    for d, proven in ((100.0, True), (-100.0, False)):
        goals = Goals(C, None, torch.full((1, 1, 1), d, dtype=torch.float64))
        problem = VerificationProblem(graph, Region(box), goals, "exact", lambda x: None)
        proof = outcome(split_neurons(problem, 0, torch.tensor([0]), Deadline(ROOM)))
        assert isinstance(proof, NeuronProof) is proven


@pytest.mark.parametrize("claim", ["exact", "float32"])
def test_adding_up_rows_and_multipliers_loses_no_more_than_its_slack(claim: str) -> None:
    problem = problem_of("relu", 5, slack=0.0, claim=claim)
    neurons, count = _known(problem, 0, ()), 16
    rng = seeded_generator("slack of parts", claim)
    sizes = 10.0 ** rng.integers(-6, 7, (count, 6))
    parts = Parts(
        torch.as_tensor(rng.integers(0, 2, count)),
        torch.as_tensor(rng.random((count, 2)), dtype=torch.float32),
        torch.as_tensor(rng.integers(0, neurons.count, (count, 6))),
        torch.as_tensor(rng.normal(size=(count, 6))),
        torch.as_tensor(rng.choice([-1, 1], (count, 6)), dtype=torch.int8),
        torch.as_tensor(rng.random((count, 6)) * sizes, dtype=torch.float32),
        torch.zeros(count, len(neurons.free), dtype=torch.uint8),
    )
    rows = rows_of(neurons, parts)
    results = values_of(problem.exact, torch.as_tensor(rng.uniform(-1, 1, (1, 2))))
    lost = 0
    for i in range(count):
        stated = Fraction(rows.b[i, 0].item())
        for name, A in rows.A.items():
            terms = zip(A[i, 0].flatten().tolist(), results[name].flatten().tolist(), strict=True)
            stated += sum((Fraction(a) * Fraction(v) for a, v in terms), Fraction(0))
        exact, clause = Fraction(0), int(parts.clauses[i])
        for r, weight in enumerate(parts.weights[i].tolist()):
            row = zip(
                neurons.goals.C[0, clause, r].tolist(), results[problem.graph.output.name][0].tolist(), strict=True
            )
            value = Fraction(neurons.goals.d[0, clause, r].item()) + sum(Fraction(c) * Fraction(v) for c, v in row)
            exact += Fraction(weight) * value
        z = torch.cat([results[name].flatten() for name in neurons.results]).tolist()
        splits = (parts.entries[i], parts.at[i], parts.side[i], parts.beta[i])
        for entry, at, side, beta in zip(*(part.tolist() for part in splits), strict=True):
            exact -= Fraction(beta) * side * (Fraction(z[entry]) - Fraction(at))
        assert abs(stated - exact) <= Fraction(rows.slack[i, 0].item())
        lost += stated != exact
    assert lost > count / 2  # something was lost at all


def values_of(graph, x: Tensor) -> dict[str, Tensor]:
    """Every result of a network at one input."""
    values = {graph.input: x}
    for node in graph.nodes:
        values[node.name] = node.operator.forward(*(values[name] for name in node.inputs))
    return values
