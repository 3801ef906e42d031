"""Optimize planes and multipliers of many parts at once, by projected Adam steps without autograd's backward pass.

A bound is ``min_x A x + b`` where A and b follow from the planes. Its derivative by the slope of a plane is the
coefficient at that neuron times the derivative of the plane's value at the minimiser. So one forward pass, in which the
minimiser goes through the chosen plane of every neuron, gives all derivatives. Averaged over the steps, the values of
that pass tend to a solution of the linear relaxation (Shor 1985), and branching asks how far it is from the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from certify.bounds.adam import Adam
from certify.bounds.backward import backward, minimum
from certify.bounds.deadline import Deadline
from certify.bounds.layers import Layers
from certify.bounds.linear import LinearBounds, whole
from certify.bounds.tensors import Relaxation, flat
from certify.complete.neurons.numbering import Neurons
from certify.complete.neurons.parts import EVERY, Met, Parts, layers_of, rows_of

__all__ = ["RATE", "Optimized", "on_planes", "optimize_parts"]

RATE, MULTIPLIER_RATE, DECAY = 0.1, 0.5, 0.95
"""Step sizes of shares in [0, 1] and of multipliers (in units of the coefficients around them); decay per step."""

LEAST_FACTOR = 0.1
"""A step multiplies a weight by at least this."""

LEAST_SPREAD = 1e-12
"""Differences between rows are divided by the largest of them, or by this if they are all equal."""


@dataclass(frozen=True, slots=True, eq=False)
class Optimized:
    """Parts after their optimization.

    Args:
        parts: with the best planes and multipliers found.
        lower: (b,) the bounds that these gave.
        x: (b, ...) the inputs at which the last bounds are attained.
        met: coefficients and planes of the last backward pass.
        z: (b, count) the entries that can be split at the minimisers, averaged over the steps.
        h: the values of the planes of each node that reads them, averaged in the same way.
    """

    parts: Parts
    lower: Tensor
    x: Tensor
    met: Met
    z: Tensor
    h: dict[str, Tensor]


@torch.no_grad()
def optimize_parts(
    neurons: Neurons, parts: Parts, iterations: int, deadline: Deadline, rate: float = RATE
) -> Optimized:
    """Improve planes and multipliers of parts; ends early if all bounds are positive or the time is over."""
    layers = layers_of(neurons, parts)
    shares, beta, weights = neurons.shares(parts.shares), parts.beta.to(neurons.graph.dtype), parts.weights
    of_beta, of_shares = Adam(), Adam()
    best = torch.full_like(shares[:, 0] if neurons.choices else weights[:, 0], -torch.inf)
    kept: tuple[Tensor, ...] = (shares, beta, weights)
    unit = z = torch.zeros(())
    h: dict[str, Tensor] = {}
    for iteration in range(iterations + 1):
        met = Met(neurons, layers, shares.requires_grad_())
        now = replace(parts, beta=beta, weights=weights)
        lower, values, worth = _evaluated(neurons, layers, rows_of(neurons, now), met)
        better = (lower > best).unsqueeze(1)
        best = torch.maximum(best, lower)
        kept = _where(better, (shares, beta, weights), kept)
        split = neurons.entries(values)
        z = split if iteration == 0 else z.lerp(split, 1 / (iteration + 1))
        for node, _, _ in neurons.readers:
            h[node.name] = torch.lerp(h.get(node.name, values[node.name]), values[node.name], 1 / (iteration + 1))
        if iteration == iterations or deadline.passed or bool((best > 0).all()):
            break
        if iteration == 0:
            unit = _unit(neurons, met, parts)
        pace = DECAY**iteration
        slope = -parts.side * (split.gather(1, parts.entries) - parts.at.to(split.dtype))
        mean, size, correction = of_beta(slope)
        beta = (beta + MULTIPLIER_RATE * pace * unit * (correction * mean / size)).clamp_(min=0)
        if worth.requires_grad:
            [slope] = torch.autograd.grad(worth, shares)
            mean, size, correction = of_shares(slope)
            shares = shares.detach().add(correction * mean / size, alpha=rate * pace).clamp_(0, 1)
        weights = _reweighed(neurons, now, values, pace)
    found = replace(parts, beta=kept[1].float(), weights=kept[2], shares=neurons.rounded(kept[0].detach()))
    return Optimized(found, best, values[neurons.graph.input], met, z, h)


def _where(mask: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.where(mask, *pair) for pair in zip(new, old, strict=True))


def _evaluated(
    neurons: Neurons, layers: Layers, rows: LinearBounds, met: Met
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Bounds (b,) by a backward pass; by a forward pass all results (b, ...) at the minimisers, and the value whose
    gradient by the shares is that of the bounds."""
    graph = neurons.graph
    bounds = backward(layers, rows, EVERY, met)
    A = whole(bounds.A[graph.input]).detach().requires_grad_()
    with torch.enable_grad():
        lower = minimum(layers, LinearBounds({graph.input: A}, bounds.b, bounds.slack), EVERY).lower
        [x] = torch.autograd.grad(lower.sum(), A)
    values, worth = {graph.input: x.squeeze(1)}, lower.new_zeros(())
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        if node.name not in met.nodes:
            values[node.name] = node.operator.forward(*inputs)
            continue
        entries, planes = met.nodes[node.name]
        with torch.enable_grad():
            value = on_planes(entries, planes, [one.unsqueeze(1) for one in inputs])
            if value.requires_grad:
                worth = worth + torch.dot(entries.flatten(), value.flatten())
        values[node.name] = value.detach().squeeze(1)
    return lower.detach().squeeze(1), values, worth


def on_planes(entries: Tensor, planes: Relaxation, inputs: list[Tensor]) -> Tensor:
    """The value of each neuron's plane, (b, 1, ...): the lower one where its coefficient in ``entries`` is positive."""
    positive, total = entries >= 0, torch.zeros_like(entries)
    for below, above, value in zip(planes.lower_slopes, planes.upper_slopes, inputs, strict=True):
        total = total + torch.where(positive, below, above) * value
    if planes.lower_offset is not None or planes.upper_offset is not None:
        below, above = (total.new_zeros(()) if o is None else o for o in (planes.lower_offset, planes.upper_offset))
        total = total + torch.where(positive, below, above)
    return total


def _unit(neurons: Neurons, met: Met, parts: Parts) -> Tensor:
    """The mean size of the coefficients in the layer of each split, (b, depth)."""
    sizes = torch.zeros(len(parts), neurons.count, dtype=neurons.graph.dtype)
    for node, _, span in neurons.readers:
        if node.name in met.nodes:
            sizes[:, span] += flat(met.nodes[node.name][0].abs(), 1).mean(1, keepdim=True)
    return sizes.gather(1, parts.entries)


def _reweighed(neurons: Neurons, parts: Parts, values: dict[str, Tensor], pace: float) -> Tensor:
    """Shift weight to rows that are larger at the minimiser (exponentiated gradient, Kivinen & Warmuth 1997)."""
    if parts.weights.shape[1] == 1:
        return parts.weights
    goals, graph = neurons.goals, neurons.graph
    y, x = flat(values[graph.output.name], 1), flat(values[graph.input], 1)
    rows = torch.einsum("bro,bo->br", goals.C[0][parts.clauses], y) + goals.d[0][parts.clauses]
    if goals.D is not None:
        rows = rows + torch.einsum("bri,bi->br", goals.D[0][parts.clauses], x)
    rows = torch.where(parts.weights > 0, rows, -torch.inf)
    rows = rows - rows.amax(1, keepdim=True)
    spread = rows.where(rows.isfinite(), 0.0).abs().amax(1, keepdim=True).clamp(min=LEAST_SPREAD)
    weights = parts.weights * (pace * rows / spread).exp().clamp(min=LEAST_FACTOR)
    return weights / weights.sum(1, keepdim=True)
