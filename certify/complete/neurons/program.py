"""Linear programs for parts in which every neuron is linear; their duals are the best multipliers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from certify.bounds.backward import backward
from certify.bounds.linear import LinearBounds, whole
from certify.bounds.tensors import flat
from certify.complete.neurons.numbering import Neurons
from certify.complete.neurons.parts import EVERY, Met, Parts, layers_of

__all__ = ["solved"]

LARGEST_MULTIPLIER = 1e4
"""Multipliers are at most this many times the rows' largest coefficient, which suffices to refute an empty part."""


def solved(neurons: Neurons, part: Parts) -> tuple[Parts, Tensor]:
    """One part with optimal multipliers and weights, and the point (1, ...) at which its largest row is least.

    The program is ``min t`` over the box of inputs, with all rows at most t and every split satisfied. A split may be
    violated at a price, so that a solution always exists. The duals of the rows are the weights.
    """
    from scipy.optimize import linprog  # only programs need it: start-up does not wait for it

    graph, goals = neurons.graph, neurons.goals
    layers, depth, count = layers_of(neurons, part), int(part.depth), goals.d.shape[2]
    met = Met(neurons, layers, neurons.shares(part.shares))
    some = LinearBounds.of(graph.output.name, goals.C[0][part.clauses].unflatten(2, graph.output.shape))
    rows = backward(layers, some, EVERY, met)
    c, d = _input(neurons, rows, count), rows.b[0] + goals.d[0][part.clauses[0]]
    if goals.D is not None:
        c = c + goals.D[0][part.clauses[0]]
    units = torch.zeros(1, depth, neurons.count, dtype=graph.dtype)
    units[0, torch.arange(depth), part.entries[0, :depth]] = part.side[0, :depth].to(graph.dtype)
    A = {name: units[:, :, span].unflatten(2, graph.shapes[name]) for name, span in neurons.results.items()}
    zero = torch.zeros(1, depth, dtype=graph.dtype)
    splits = backward(layers, LinearBounds(A, zero, zero), EVERY, met)
    z, off = _input(neurons, splits, depth), splits.b[0] - (part.side * part.at)[0, :depth].to(graph.dtype)
    if not all(bool(values.isfinite().all()) for values in (c, d, z, off)):
        return part, layers.region.box.lower
    price = LARGEST_MULTIPLIER * float(c.abs().max().clamp(min=1.0))
    ends = [end.flatten().numpy() for end in (layers.region.box.lower, layers.region.box.upper)]
    found = linprog(
        np.concatenate([np.zeros(c.shape[1]), [1.0], np.full(depth, price)]),
        A_ub=np.block(
            [
                [c.numpy(), -np.ones((count, 1)), np.zeros((count, depth))],
                [-z.numpy(), np.zeros((depth, 1)), -np.eye(depth)],
            ]
        ),
        b_ub=np.concatenate([-d.numpy(), off.numpy()]),
        bounds=[*zip(*ends, strict=True), (None, None), *[(0, None)] * depth],
        method="highs",
    )
    if found.status != 0:
        return part, layers.region.box.lower
    assert found.x is not None
    duals = torch.from_numpy(-found.ineqlin.marginals).clamp(min=0).float()
    beta = torch.zeros_like(part.beta)
    beta[0, :depth] = duals[count:]
    x = torch.from_numpy(found.x[: c.shape[1]]).reshape(1, *graph.shape)
    return replace(part, weights=duals[:count].unsqueeze(0), beta=beta), x


def _input(neurons: Neurons, bounds: LinearBounds, rows: int) -> Tensor:
    """The coefficients (rows, inputs) at the network's input."""
    A = bounds.A.get(neurons.graph.input)
    inputs = int(np.prod(neurons.graph.shape))
    return torch.zeros(rows, inputs, dtype=neurons.graph.dtype) if A is None else flat(whole(A)[0], 1)
