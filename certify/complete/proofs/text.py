"""Proofs as text: a JSON table of contents followed by arrays, compressed, in base 64. Reading executes nothing."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from certify.bounded.memory import check_room
from certify.bounds.hints import LISTED, Hint
from certify.complete.neurons.leaves import Leaves
from certify.complete.neurons.lemmas import Lemma
from certify.complete.proofs.proof import CompleteProof, InputProof, NeuronProof
from certify.complete.proofs.tree import Splits, Tree
from certify.errors import BadInput

__all__ = ["packed", "unpacked"]

UNREADABLE = "the proof cannot be read: it was cut or changed"

BYTE, WHOLE, SINGLE, DOUBLE = "<u1", "<i8", "<f4", "<f8"


def packed(proof: CompleteProof) -> str:
    """A proof as text for a file or a certificate.

    >>> direct = torch.tensor([[True, False]])
    >>> unpacked(packed(CompleteProof("crown", direct))).direct
    tensor([[ True, False]])
    """
    numbers = _Written()
    contents = {
        "method": proof.method,
        "direct": numbers.put(BYTE, proof.direct),
        "inputs": None if proof.inputs is None else _contents_of_inputs(numbers, proof.inputs),
        "neurons": [_contents_of_neurons(numbers, one) for one in proof.neurons],
    }
    head, tail = json.dumps(contents, separators=(",", ":")).encode(), b"".join(numbers.parts)
    sizes = b"".join(len(part).to_bytes(8, "big") for part in (head, tail))
    return base64.b64encode(zlib.compress(sizes + head + tail, 9)).decode()


def unpacked(text: str) -> CompleteProof:
    """Inverse of :func:`packed`; whether the proof is valid is for :func:`~certify.complete.proofs.replay.replayed`.

    Raises:
        BadInput: for any other text, or if unpacking it takes more memory than there is.
    """
    try:
        data, take = base64.b64decode(text, validate=True), zlib.decompressobj()
        sizes = take.decompress(data, 16)
        head, tail = int.from_bytes(sizes[:8], "big"), int.from_bytes(sizes[8:], "big")
        check_room("the proof", LISTED * head + tail)  # text can unpack to a thousand times its size
        contents: Any = json.loads(_exactly(take, head))
        numbers = _Read(_exactly(take, tail))
        if take.decompress(take.unconsumed_tail, 1) or not take.eof or take.unused_data:
            raise BadInput(UNREADABLE)
        proof = CompleteProof(
            str(contents["method"]),
            numbers.take(BYTE, contents["direct"], 2) != 0,
            None if contents["inputs"] is None else _inputs(numbers, contents["inputs"]),
            tuple(_neurons(numbers, one) for one in contents["neurons"]),
        )
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError, zlib.error) as problem:
        raise BadInput(UNREADABLE) from problem
    if numbers.left:
        raise BadInput(UNREADABLE)
    return proof


def _exactly(take: Any, size: int) -> bytes:
    """Decompress exactly the next ``size`` bytes."""
    found: bytes = take.decompress(take.unconsumed_tail, size) if size else b""
    if len(found) != size:
        raise ValueError(f"{len(found)} bytes of {size}")
    return found


class _Written:
    """Collects arrays in order."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def put(self, kind: str, values: Any) -> list[int]:
        """Append an array; returns its shape for the table of contents."""
        array = np.asarray(values)
        self.parts.append(np.ascontiguousarray(array, kind).tobytes())
        return list(array.shape)


class _Read:
    """Reads the arrays back in the same order."""

    def __init__(self, data: bytes) -> None:
        self.data, self.begin = data, 0

    @property
    def left(self) -> bool:
        """Whether bytes remain that were not read."""
        return self.begin < len(self.data)

    def take(self, kind: str, shape: list[int], axes: int) -> Tensor:
        """The next array."""
        if len(shape) != axes or any(type(size) is not int or size < 0 for size in shape):
            raise ValueError(f"{shape} is no shape of {axes} axes")
        end = self.begin + math.prod(shape) * np.dtype(kind).itemsize
        if end > len(self.data):
            raise ValueError("there are fewer numbers than that")
        array = np.frombuffer(self.data[self.begin : end] or b"", kind).reshape(shape)
        self.begin = end
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))


def _contents_of_inputs(numbers: _Written, proof: InputProof) -> Mapping[str, Any]:
    return {
        "regions": numbers.put(WHOLE, proof.regions),
        "splits": _contents_of_splits(numbers, proof.tree),
        "nodes": numbers.put(WHOLE, proof.nodes),
        "weights": numbers.put(BYTE, proof.weights),
        "shares": numbers.put(BYTE, proof.shares),
    }


def _inputs(numbers: _Read, contents: Any) -> InputProof:
    regions = numbers.take(WHOLE, contents["regions"], 1)
    tree = _tree(numbers, contents["splits"], len(regions))
    nodes = numbers.take(WHOLE, contents["nodes"], 1)
    weights, shares = (numbers.take(BYTE, contents[name], 3) for name in ("weights", "shares"))
    return InputProof(regions, tree, nodes, weights, shares)


def _contents_of_neurons(numbers: _Written, proof: NeuronProof) -> Mapping[str, Any]:
    contents = {
        "region": proof.region,
        "clauses": numbers.put(WHOLE, proof.clauses),
        "splits": _contents_of_splits(numbers, proof.tree),
        "hints": [
            {
                "name": hint.name,
                "entries": numbers.put(WHOLE, hint.entries),
                "shares": {name: numbers.put(BYTE, shares) for name, shares in hint.shares.items()},
            }
            for hint in proof.hints
        ],
        **_contents_of_leaves(numbers, proof.leaves),
    }
    lemmas = [
        {
            "name": lemma.name,
            "entries": numbers.put(WHOLE, lemma.entries),
            "splits": _contents_of_splits(numbers, lemma.tree),
            **_contents_of_leaves(numbers, lemma.leaves),
        }
        for lemma in proof.lemmas
    ]
    return {**contents, "lemmas": lemmas} if lemmas else contents


def _neurons(numbers: _Read, contents: Any) -> NeuronProof:
    if type(region := contents["region"]) is not int:
        raise ValueError("a region is a whole number")
    clauses = numbers.take(WHOLE, contents["clauses"], 1)
    tree = _tree(numbers, contents["splits"], len(clauses))
    hints = [
        Hint(
            str(one["name"]),
            numbers.take(WHOLE, one["entries"], 1),
            {name: numbers.take(BYTE, shape, len(shape)) for name, shape in one["shares"].items()},
        )
        for one in contents["hints"]
    ]
    leaves, lemmas = _leaves(numbers, contents), []
    for one in contents.get("lemmas", ()):
        entries = numbers.take(WHOLE, one["entries"], 1)
        grown = _tree(numbers, one["splits"], 2 * len(entries))
        lemmas.append(Lemma(str(one["name"]), entries, grown, _leaves(numbers, one)))
    return NeuronProof(region, clauses, tuple(hints), tree, leaves, tuple(lemmas))


def _contents_of_leaves(numbers: _Written, leaves: Leaves) -> Mapping[str, Any]:
    return {
        "free": numbers.put(WHOLE, leaves.free),
        "shares": numbers.put(BYTE, leaves.shares),
        "weights": numbers.put(SINGLE, leaves.weights),
        "beta": numbers.put(SINGLE, leaves.beta),
    }


def _leaves(numbers: _Read, contents: Any) -> Leaves:
    kinds = {"free": (WHOLE, 1), "shares": (BYTE, 2), "weights": (SINGLE, 2), "beta": (SINGLE, 1)}
    return Leaves(**{name: numbers.take(kind, contents[name], axes) for name, (kind, axes) in kinds.items()})


def _contents_of_splits(numbers: _Written, tree: Tree) -> list[int]:
    nodes, entries, at = tree.splits
    numbers.put(WHOLE, entries)
    numbers.put(DOUBLE, at)
    return numbers.put(WHOLE, nodes)


def _tree(numbers: _Read, shape: list[int], roots: int) -> Tree:
    entries, at, nodes = (numbers.take(kind, shape, 1).numpy() for kind in (WHOLE, DOUBLE, WHOLE))
    splits: Splits = nodes, entries, at
    # The bound on entries depends on the network; the replay checks it.
    return Tree.of(roots, splits, np.iinfo(np.int64).max)
