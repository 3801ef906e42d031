"""False answers of ``certify verify`` that a check has to refute: changed proofs, and witnesses that are none.

Proofs are found for properties that hold, changed at random, and replayed on properties with known counterexamples.
Witnesses are made up for properties that no input has, close to where rounding would make one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from typing import Any, Final

import numpy as np
import torch
from complete_exactness import METHODS
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from certify.bounds.deadline import Deadline
from certify.bounds.importers.onnx_file import OnnxFile, read_onnx
from certify.bounds.importers.onnx_import import import_file
from certify.complete.problem import VerificationProblem
from certify.complete.proofs.file import witness_fault
from certify.complete.proofs.proof import CompleteProof
from certify.complete.proofs.replay import replayed
from certify.complete.proofs.tree import Tree
from certify.complete.query import Condition, Disjunct, PropertyFile, Query
from certify.complete.verify_file import Posed
from certify.complete.witnesses.execution import executed
from certify.data.dataset import seeded_generator
from certify.errors import BadInput

__all__ = ["attempt", "confirmed_proofs", "confirmed_witnesses"]

Rng = np.random.Generator

SIGNS: Final = ((1, 1), (-1, 1))
"""Clause k asks whether both ``SIGNS[k][i] y_i`` are at most a bound."""


def attempt(seed: int) -> str | None:
    """Some false answers: None if none of them is confirmed, otherwise one that is."""
    made = confirmed_witnesses(seed, 60) if seed % 2 else confirmed_proofs(seed // 2, 20)
    return next((f"confirmed: {what}" for what, shown in made if shown), None)


def confirmed_proofs(seed: int, count: int, method: str | None = None) -> Iterator[tuple[str, int]]:
    """Change proofs ``count`` times and replay each on a property with counterexamples.

    Yields:
        What was changed, and the number of clauses with a counterexample that the changed proof showed: always 0.
    """
    rng = seeded_generator("changed proofs", seed)
    file = _network(rng)
    least = _least(file)
    asked = least - 0.02
    violated = torch.tensor(rng.random((2, 2)) < 0.5)
    violated[0, 0] |= not bool(violated.any())
    true, false = _posed(file, asked), _posed(file, torch.where(violated, least + 1e-3, asked))
    found = METHODS[method or ("inputs", "neurons")[seed % 2]](true, Deadline(60))
    assert isinstance(found, CompleteProof)
    for _ in range(count):
        changed, told = found, []
        for _ in range(rng.integers(1, 4)):
            changed, what = _changed(changed, rng)
            told.append(what)
        try:
            shown = replayed(false, changed)
        except BadInput:
            shown = torch.zeros_like(violated)
        yield ", ".join(told), int((shown & violated).sum())


def confirmed_witnesses(seed: int, count: int) -> Iterator[tuple[str, bool]]:
    """Make up witnesses that the output of a network that gives back its input is larger than the input.

    The margin is anything between the last digit of a decimal and the input itself; inputs are fixed at decimals, or
    range over boxes, where floats are near each other or far apart.

    Yields:
        The witness, and whether it was confirmed: never.
    """
    rng = seeded_generator("made-up witnesses", seed)
    weights = (np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    file = _dense([weights])
    graph = import_file(file)
    for _ in range(count):
        size = 10.0 ** rng.integers(-3, 9)
        texts = [f"{v:.{rng.integers(0, 12)}f}" for v in rng.random(2) * size]
        x = tuple(map(Fraction, texts))
        low = tuple(v if rng.random() < 0.5 else Fraction(0) for v in x)
        high = tuple(v if rng.random() < 0.5 else v + Fraction(int(size) + 1) for v in x)
        margin = Fraction(10.0 ** rng.uniform(-12, 1)) * Fraction(size)
        conditions = (Condition(((0, Fraction(1)),), ((0, Fraction(-1)),), -margin),)
        if rng.random() < 0.3:  # an input beside another one, whose numbers are only stated
            both = ((0, Fraction(1)), (1, Fraction(1)))
            conditions = (Condition(both, tuple((i, -one) for i, one in both), -margin),)
        query = Query(2, 2, (Disjunct(low, high, conditions),))
        asked = Posed(file, PropertyFile(query), executed(query, file, graph, "exact"))
        y = [repr(float(np.float32(v))) if rng.random() < 0.8 else f"{float(v) + float(margin):.9f}" for v in texts]
        pairs = [f"(X_{i} {v})" for i, v in enumerate(texts)] + [f"(Y_{i} {v})" for i, v in enumerate(y)]
        if rng.random() < 0.1:
            pairs.append(f"(X_0 {float(low[0]):.9f})")
        text = f"({' '.join(pairs)})"
        try:
            fault = witness_fault(asked, text)
        except BadInput as refused:
            fault = str(refused)
        yield text, not fault


def _dense(weights: list[tuple[np.ndarray, np.ndarray]]) -> OnnxFile:
    """A ReLU network of weights (out, in) and biases."""
    nodes, stored, name = [], [], "x"
    for i, (w, b) in enumerate(weights):
        if i:
            nodes.append(helper.make_node("Relu", [name], [f"r{i}"]))
            name = f"r{i}"
        stored += [numpy_helper.from_array(np.float32(w), f"w{i}"), numpy_helper.from_array(np.float32(b), f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [f"y{i}"], transB=1))
        name = f"y{i}"
    sizes = weights[0][0].shape[1], weights[-1][0].shape[0]
    info = helper.make_tensor_value_info
    ends = [info(end, TensorProto.FLOAT, [1, n]) for end, n in zip(("x", name), sizes, strict=True)]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return read_onnx(model.SerializeToString())


def _network(rng: Rng) -> OnnxFile:
    sizes = ((6, 2), (6, 6), (2, 6))
    return _dense([(rng.normal(size=size) * 2 / size[1] ** 0.5, rng.normal(size=size[0]) * 0.3) for size in sizes])


BOXES: Final = ((-1, 0), (Fraction(1, 2), 1))


def _least(file: OnnxFile) -> Tensor:
    """How low the larger row of each clause gets on grids over the boxes, (regions, clauses)."""
    graph, found = import_file(file).to(torch.float64), []
    for low, high in BOXES:
        axis = torch.linspace(float(low), float(high), 201, dtype=torch.float64)
        y = graph.forward(torch.cartesian_prod(axis, axis))
        found.append(torch.stack([(y * torch.tensor(signs, dtype=y.dtype)).amax(1).amin() for signs in SIGNS]))
    return torch.stack(found)


def _posed(file: OnnxFile, bounds: Tensor) -> VerificationProblem:
    cases = []
    for ends, region in zip(BOXES, bounds.tolist(), strict=True):
        low, high = ((Fraction(end),) * 2 for end in ends)
        for bound, signs in zip(region, SIGNS, strict=True):
            rows = (Condition((), ((i, Fraction(s)),), Fraction(bound)) for i, s in enumerate(signs))
            cases.append(Disjunct(low, high, tuple(rows)))
    return executed(Query(2, 2, tuple(cases)), file, import_file(file), "exact")


def _changed(proof: CompleteProof, rng: Rng) -> tuple[Any, str]:
    """A proof with one array changed somewhere, and the name of the array and of the change."""
    places = list(_arrays(proof))
    path, values = places[rng.integers(len(places))]
    name = str(rng.choice(list(CHANGES)))
    with np.errstate(all="ignore"):
        return _put(proof, path, CHANGES[name](values.copy(), rng)), f"{'.'.join(map(str, path))} {name}"


def _arrays(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], np.ndarray]]:
    """Every array in a proof, by the names on the way to it."""
    if isinstance(value, Tensor):
        yield path, value.numpy()
    elif isinstance(value, Tree):
        yield from (((*path, i), part) for i, part in enumerate(value.splits))
    elif isinstance(value, dict | tuple):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _arrays(part, (*path, key))
    elif is_dataclass(value):
        for one in fields(value):
            yield from _arrays(getattr(value, one.name), (*path, one.name))


def _put(value: Any, path: tuple[Any, ...], array: np.ndarray) -> Any:
    """The same with another array at a place."""
    if not path:
        return torch.from_numpy(np.array(array))
    head, rest = path[0], path[1:]
    if isinstance(value, Tree):
        splits = list(value.splits)
        splits[head] = array
        tree = Tree(value.roots)
        tree.grow(*splits)
        return tree
    if isinstance(value, dict):
        return {**value, head: _put(value[head], rest, array)}
    if isinstance(value, tuple):
        return tuple(_put(part, rest, array) if i == head else part for i, part in enumerate(value))
    return replace(value, **{head: _put(getattr(value, head), rest, array)})


def _some(values: np.ndarray, rng: Rng) -> Any:
    """Some places of an array."""
    return rng.random(values.shape) < rng.choice([0.05, 0.5, 1.0])


def _with(values: np.ndarray, rng: Rng, new: Any) -> np.ndarray:
    where = _some(values, rng)
    values[where] = np.broadcast_to(np.asarray(new).astype(values.dtype), values.shape)[where]
    return values


def _dropped(values: np.ndarray, rng: Rng) -> np.ndarray:
    return np.delete(values, rng.integers(len(values)), 0) if values.ndim and len(values) else values


CHANGES: Final[dict[str, Callable[[np.ndarray, Rng], np.ndarray]]] = {
    "shuffled": lambda values, rng: rng.permutation(values) if values.ndim else values,
    "reversed": lambda values, rng: values[::-1] if values.ndim else values,
    "one dropped": _dropped,
    "zeros": lambda values, rng: _with(values, rng, 0),
    "ones": lambda values, rng: _with(values, rng, 1),
    "the other way": lambda values, rng: _with(values, rng, ~values if values.dtype == bool else 0 - values),
    "small": lambda values, rng: _with(values, rng, rng.integers(0, 4, values.shape)),
    "large": lambda values, rng: _with(values, rng, rng.integers(0, 10**6, values.shape)),
    "anything": lambda values, rng: (
        np.frombuffer(rng.bytes(values.nbytes), values.dtype).reshape(values.shape).copy()
        if values.dtype != bool
        else rng.random(values.shape) < 0.5
    ),
}
