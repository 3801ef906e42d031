"""Which neuron to split, and where."""

from __future__ import annotations

import torch
from torch import Tensor

from certify.bounds.tensors import flat
from certify.complete.neurons.numbering import Neurons
from certify.complete.neurons.optimize import Optimized, on_planes
from certify.complete.neurons.parts import layers_of

__all__ = ["branch"]

FLOOR = 1e-6
"""Added to each factor of the score, as a share of its largest value, so that no factor that is 0 hides the other."""


def branch(neurons: Neurons, found: Optimized) -> tuple[Tensor, Tensor]:
    """The best entry (b,) to split in each part, -1 if there is none, and the value to split it at.

    The score is the product of two losses, each a coefficient times the distance between a plane and the function. The
    first is taken at the cut: the most that a split can gain, the intercept score of Bunel et al. (2020). The second is
    taken at the (approximate) solution of the linear relaxation: what the planes of this neuron cost there, 0 if the
    solution agrees with the network. With either factor alone, and with a look-ahead at the children's bounds without
    optimization, fully connected networks took several times as many parts.
    """
    if neurons.count == 0:
        return torch.full_like(found.parts.clauses, -1), torch.zeros(len(found.lower))
    layers = layers_of(neurons, found.parts)
    most, lost, at = (torch.zeros_like(found.z) for _ in range(3))
    for node, operator, span in neurons.readers:
        if node.name not in found.met.nodes:
            continue
        box = layers.boxes[node.inputs[0]]
        cut = operator.cut(box)
        inside = operator.bent(box) & (box.lower < cut) & (cut < box.upper)
        at[:, span] = flat(torch.where(inside, cut, at[:, span].reshape(cut.shape)), 1)
        entries, planes = (found.met.nodes[node.name][0], found.met.nodes[node.name][1])
        z = found.z[:, span].reshape(cut.shape)
        apart = operator.forward(cut) - on_planes(entries, planes, [cut.unsqueeze(1)]).squeeze(1)
        off = operator.forward(z) - found.h[node.name]
        for score, distance in ((most, apart), (lost, off)):
            loss = (entries.squeeze(1) * distance).clamp(min=0)
            score[:, span] += flat(torch.where(inside, loss + LEAST_LOSS, 0.0), 1)
    score = torch.ones_like(most)
    for part in (most, lost):
        score *= (part + FLOOR * part.amax(1, keepdim=True)) * (part > 0)
    value, entry = score.max(1)
    return torch.where(value > 0, entry, -1), at.gather(1, entry.unsqueeze(1)).squeeze(1)


LEAST_LOSS = 1e-15
"""Added to each loss, so that a neuron that costs nothing now may still be split. Its square is a normal float32."""
