"""Verdicts on tiny random ReLU networks beside exhaustive enumeration of their activation patterns.

    python benchmarks/complete_exactness.py --networks 200 --out results/complete_exactness.md

On each cell of inputs on which all neurons keep their sign, a network is affine: a linear program says how low the
largest row of a conjunction gets there, and the least of all cells is exact up to the program's tolerance. Bounds of
the properties are put closely above and below it. Splitting of inputs and splitting of neurons are called by
themselves, without an attack in front that would take the violated ones away; every proof is replayed as text.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import linprog
from scipy.signal import correlate2d

from certify.bounds.deadline import Deadline
from certify.bounds.importers.onnx_file import OnnxFile, read_onnx
from certify.bounds.importers.onnx_import import import_file
from certify.complete.inputs.split import split_inputs
from certify.complete.neurons.split import split_neurons
from certify.complete.problem import VerificationProblem, Witness, outcome
from certify.complete.proofs.proof import CompleteProof
from certify.complete.proofs.replay import replayed
from certify.complete.proofs.text import packed, unpacked
from certify.complete.query import Condition, Disjunct, Query
from certify.complete.witnesses.execution import executed, stated
from certify.core.evidence import Claim
from certify.data.dataset import seeded_generator

KINDS: Final = ("dense", "deep", "residual", "convolution")
MARGINS: Final = (1e-5, 1e-3, 0.1)
"""How far bounds are put from what is exactly reached: beyond the tolerances of linear programs, and float32's."""

WIDE: Final = 3
"""How many inputs differ: where rows meet in a kink, boxes of one row each get small in all of them."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Network:
    """A file, and the same as matrices: ``z = W h + b``, plus the last but one ``h`` where ``skips`` says so."""

    file: OnnxFile
    layers: tuple[tuple[Array, Array], ...]
    skips: bool

    @property
    def inputs(self) -> int:
        """How many numbers it reads."""
        return self.layers[0][0].shape[1]


def random_network(kind: str, rng: np.random.Generator) -> Network:
    """Two or three layers of a few neurons, or one convolution before them, with weights in float32."""
    if kind == "convolution":
        return _convolution(rng)
    inputs, width = int(rng.integers(2, 7 if kind == "dense" else 4)), int(rng.integers(2, 5))
    hidden = [width] * 3 if kind == "residual" else list(rng.integers(2, 5, 3 if kind == "deep" else 2))
    sizes = [inputs, *hidden, int(rng.integers(1, 4))]
    layers = [_dense(rng, b, a) for a, b in pairwise(sizes)]
    nodes, stored, name, before = [], {}, "x", ""
    for i, (W, b) in enumerate(layers):
        stored |= {f"W{i}": W, f"b{i}": b}
        nodes.append(helper.make_node("Gemm", [name, f"W{i}", f"b{i}"], [f"z{i}"], transB=1))
        result = f"z{i}"
        if kind == "residual" and before and i < len(layers) - 1:
            nodes.append(helper.make_node("Add", [result, before], [f"s{i}"]))
            result = f"s{i}"
        if i < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [result], [f"h{i}"]))
            before, name = ("" if name == "x" else name), f"h{i}"
    return Network(_file(nodes, stored, [1, inputs], sizes[-1]), _exact(layers), kind == "residual")


def _convolution(rng: np.random.Generator) -> Network:
    """A 2 x 3 image, two filters of 2 x 2, and two layers behind."""
    kernel, bias = (rng.normal(size=size).astype(np.float32) for size in ((2, 1, 2, 2), (2,)))
    rest = [_dense(rng, 3, 4), _dense(rng, 2, 3)]
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["z0"]),
        helper.make_node("Relu", ["z0"], ["h0"]),
        helper.make_node("Flatten", ["h0"], ["f"]),
        helper.make_node("Gemm", ["f", "W1", "b1"], ["z1"], transB=1),
        helper.make_node("Relu", ["z1"], ["h1"]),
        helper.make_node("Gemm", ["h1", "W2", "b2"], ["z2"], transB=1),
    ]
    stored = {"kernel": kernel, "bias": bias, "W1": rest[0][0], "b1": rest[0][1], "W2": rest[1][0], "b2": rest[1][1]}
    columns = [
        np.concatenate([correlate2d(unit.reshape(2, 3), one[0], mode="valid").ravel() for one in kernel])
        for unit in np.eye(6)
    ]
    first = (np.stack(columns, 1), np.repeat(bias, 2))
    return Network(_file(nodes, stored, [1, 1, 2, 3], 2), _exact([first, *rest]), False)


def _dense(rng: np.random.Generator, outputs: int, inputs: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return (
        (rng.normal(size=(outputs, inputs)) * 1.5 / inputs**0.5).astype(np.float32),
        (rng.normal(size=outputs) * 0.5).astype(np.float32),
    )


def _exact(layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> tuple[tuple[Array, Array], ...]:
    return tuple((W.astype(np.float64), b.astype(np.float64)) for W, b in layers)


def _file(nodes: list[object], stored: dict[str, NDArray[np.float32]], shape: list[int], outputs: int) -> OnnxFile:
    ends = [("x", shape), (nodes[-1].output[0], [1, outputs])]  # type: ignore[attr-defined]
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in ends)
    weights = [numpy_helper.from_array(np.float32(value), name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "net", [given], [made], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return read_onnx(model.SerializeToString())


@dataclass(frozen=True)
class Cell:
    """Inputs of a box with ``G x <= g``, on which the network is ``M x + c``."""

    G: Array
    g: Array
    M: Array
    c: Array


def cells(network: Network, lower: Array, upper: Array) -> list[Cell]:
    """All of them: neuron after neuron, a cell stays whole or is cut where a linear program finds inputs beyond."""
    ends = list(zip(lower, upper, strict=True))

    def reaches(G: Array, g: Array, w: Array, b: float) -> bool:
        """Whether ``w x + b`` is above 0 anywhere in a cell."""
        if float(np.maximum(w * lower, w * upper).sum() + b) <= 0:
            return False
        found = linprog(-w, A_ub=G if len(G) else None, b_ub=g if len(G) else None, bounds=ends, method="highs")
        return found.status == 0 and b - found.fun > 1e-12

    def below(i: int, parts: list[tuple[Array, Array, list[tuple[Array, Array]]]]) -> list[Cell]:
        W, b = network.layers[i]
        grown = []
        for G, g, values in parts:
            M, c = W @ values[-1][0], W @ values[-1][1] + b
            if network.skips and len(values) > 2 and i < len(network.layers) - 1:
                M, c = M + values[-2][0], c + values[-2][1]
            if i == len(network.layers) - 1:
                grown.append((G, g, [*values, (M, c)]))
                continue
            pieces = [(G, g, np.ones(0))]
            for w, offset in zip(M, c, strict=True):
                pieces = [
                    (np.vstack([G, -s * w]), np.append(g, s * offset), np.append(on, s > 0))
                    for G, g, on in pieces
                    for s in (1, -1)
                    if reaches(G, g, s * w, s * offset)
                ]
            grown += [(G, g, [*values, (on[:, None] * M, on * c)]) for G, g, on in pieces]
        if i == len(network.layers) - 1:
            return [Cell(G, g, *values[-1]) for G, g, values in grown]
        return below(i + 1, grown)

    n = network.inputs
    return below(0, [(np.zeros((0, n)), np.zeros(0), [(np.eye(n), np.zeros(n))])])


def least(found: list[Cell], lower: Array, upper: Array, A: Array, B: Array) -> float:
    """The least value over a box of the largest of the rows ``A x + B y``."""
    best, r = math.inf, len(A)
    for cell in found:
        rows, offset = A + B @ cell.M, B @ cell.c
        bound = [np.hstack([rows, -np.ones((r, 1))]), np.hstack([cell.G, np.zeros((len(cell.G), 1))])]
        program = linprog(
            np.append(np.zeros(len(lower)), 1.0),
            A_ub=np.vstack(bound),
            b_ub=np.concatenate([-offset, cell.g]),
            bounds=[*zip(lower, upper, strict=True), (None, None)],
            method="highs",
        )
        best = min(best, program.fun if program.status == 0 else math.inf)
    return best


@dataclass(frozen=True)
class Question:
    """A query, and how low its largest row gets: at most 0 if there is a counterexample."""

    query: Query
    least: float


def questions(network: Network, rng: np.random.Generator, count: int, margins: Sequence[float]) -> Iterator[Question]:
    """Conjunctions and disjunctions over one or two boxes, some with inputs in their rows, closely true or false."""
    n, m = network.inputs, len(network.layers[-1][1])
    boxes = []
    for _ in range(2):
        center, width = rng.normal(size=n) * 0.5, rng.uniform(0.1, 1.5, size=n)
        width[rng.permutation(n)[WIDE:]] = 0
        # Decimals: most of them are no floats, and some inputs are fixed at one.
        ends = [[Fraction(f"{v:.4f}") for v in side] for side in (center - width, center + width)]
        lower, upper = (np.array([float(v) for v in side]) for side in ends)
        boxes.append((ends, lower, upper, cells(network, lower, upper)))
    for _ in range(count):
        cases, lowest = [], math.inf
        for _ in range(int(rng.integers(1, 4))):
            ends, lower, upper, found = boxes[int(rng.random() < 0.3)]
            r = int(rng.integers(1, 4))
            B = np.round(rng.normal(size=(r, m)), 0) + np.eye(r, m)
            A = np.round(rng.normal(size=(r, n)), 2) * (rng.random((r, 1)) < 0.25)
            exact = least(found, lower, upper, A, B)
            margin = float(rng.choice(margins)) * (1 if rng.random() < 0.75 else -1)
            conditions = tuple(
                Condition(_terms(a, 100), _terms(b, 1), Fraction(exact - margin)) for a, b in zip(A, B, strict=True)
            )
            cases.append(Disjunct(tuple(ends[0]), tuple(ends[1]), conditions))
            lowest = min(lowest, margin)
        yield Question(Query(n, m, tuple(cases)), lowest)


def _terms(numbers: Array, denominator: int) -> tuple[tuple[int, Fraction], ...]:
    exact = ((i, Fraction(round(float(v) * denominator), denominator)) for i, v in enumerate(numbers))
    return tuple((i, v) for i, v in exact if v != 0)


def by_inputs(problem: VerificationProblem, deadline: Deadline) -> CompleteProof | Witness | None:
    """Splitting of inputs alone."""
    open = torch.ones(problem.goals.d.shape[:2], dtype=torch.bool)
    found = outcome(split_inputs(problem, open, deadline))
    return found if found is None or isinstance(found, Witness) else CompleteProof("crown", ~open, found)


def by_neurons(problem: VerificationProblem, deadline: Deadline) -> CompleteProof | Witness | None:
    """Splitting of neurons alone."""
    regions, clauses = problem.goals.d.shape[:2]
    parts = []
    for region in range(regions):
        found = outcome(split_neurons(problem, region, torch.arange(clauses), deadline))
        if found is None or isinstance(found, Witness):
            return found
        parts.append(found)
    return CompleteProof("crown", torch.zeros(regions, clauses, dtype=torch.bool), None, tuple(parts))


METHODS: Final[dict[str, Callable[[VerificationProblem, Deadline], CompleteProof | Witness | None]]] = {
    "inputs": by_inputs,
    "neurons": by_neurons,
}


def answer(method: str, problem: VerificationProblem, query: Query, file: OnnxFile, seconds: float) -> str:
    """What a method says: sat, unsat, or unknown; or what is wrong with its witness or proof."""
    found = METHODS[method](problem, Deadline(seconds))
    if found is None:
        return "unknown"
    if isinstance(found, CompleteProof):
        return "unsat" if bool(replayed(problem, unpacked(packed(found))).all()) else "a proof that shows nothing"
    x = torch.from_numpy(found.x).reshape(1, *file.shape)
    y = [Fraction(v) for v in file.run(x).flatten().tolist()]
    holds = any(case.holds(stated(found.x, case), y) for case in query.cases)
    return "sat" if holds else "a witness that is none"


def examined(
    kind: str, number: int, count: int, seconds: float, claim: Claim = "exact", margins: Sequence[float] = MARGINS
) -> Iterator[tuple[str, ...]]:
    """One network: its questions' truth, and for each method what it said."""
    rng = seeded_generator("complete exactness", kind, number)
    network = random_network(kind, rng)
    graph = import_file(network.file)
    for question in questions(network, rng, count, margins):
        problem = executed(question.query, network.file, graph, claim)
        truth = "unsat" if question.least > 0 else "sat"
        yield truth, *(answer(method, problem, question.query, network.file, seconds) for method in METHODS)


def wrong(truth: str, said: str) -> bool:
    """Whether an answer contradicts the truth; ``unknown`` does not."""
    return said not in ("unknown", truth)


def main() -> int:
    """Ask, print the table, and return 1 after a wrong answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=200, help="of each kind")
    parser.add_argument("--questions", type=int, default=5, help="about each network")
    parser.add_argument("--seconds", type=float, default=10.0, help="limit of each answer")
    parser.add_argument("--claim", choices=["exact", "float32"], default="exact")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, lines, mistakes = time.perf_counter(), [], []
    for kind in KINDS:
        counts: Counter[tuple[str, str, str]] = Counter()
        for number in range(options.networks):
            for truth, *said in examined(kind, number, options.questions, options.seconds, options.claim):
                for method, one in zip(METHODS, said, strict=True):
                    counts[method, truth, one] += 1
                    if wrong(truth, one):
                        mistakes.append(f"{kind} network {number}, {method}: {one}, and it is {truth}")
        for method in METHODS:
            asked = {key: n for key, n in counts.items() if key[0] == method}
            right = {truth: sum(n for k, n in asked.items() if k[1] == k[2] == truth) for truth in ("sat", "unsat")}
            unknown = sum(n for key, n in asked.items() if key[2] == "unknown")
            total = {truth: sum(n for k, n in asked.items() if k[1] == truth) for truth in right}
            bad = sum(n for key, n in asked.items() if wrong(*key[1:]))
            lines.append(
                f"| {kind} | {method} | {right['sat']} of {total['sat']} | {right['unsat']} of {total['unsat']} "
                f"| {unknown} | {bad} |"
            )
        print(lines[-2], lines[-1], f"{time.perf_counter() - start:.0f} s", sep="\n", file=sys.stderr, flush=True)
    table = "\n".join(lines)
    text = f"""# Complete verification beside enumeration of activation patterns

`python {" ".join([os.path.relpath(sys.argv[0]), *sys.argv[1:]])}`

| networks | splits | sat | unsat | unknown | wrong |
|---|---|---:|---:|---:|---:|
{table}

Bounds lie {", ".join(map(str, MARGINS))} above or below what is exactly reached. Every proof was packed, unpacked and
replayed, every witness executed again and examined in exact arithmetic.

{time.perf_counter() - start:.0f} s on one of {os.cpu_count()} cores, shared with other work; claim {options.claim};
Python {platform.python_version()}, torch {torch.__version__}, scipy {version("scipy")}.
"""
    print(text)
    for line in mistakes[:20]:
        print(line, file=sys.stderr)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
