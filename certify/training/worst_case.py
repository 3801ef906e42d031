"""What interval and linear bounds say about a network while it is trained, differentiable in its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from certify.bounds.graph import Graph, Node
from certify.bounds.ibp import propagate, row_bounds
from certify.bounds.importers.torch_import import import_module
from certify.bounds.layers import Layers
from certify.bounds.methods import METHODS
from certify.bounds.region import Region
from certify.bounds.rules.batch_norm import BatchNorm
from certify.bounds.tensors import Interval
from certify.core.input_box import BoxLike, check_box
from certify.data.dataset import Dataset
from certify.training.recipe import Step

__all__ = ["Batch", "WorstCase", "narrow_weights"]


class WorstCase:
    """Bounds of a network that is trained.

    Args:
        module: the network; its parameters are read where they are, whatever they become.
        dataset: whose inputs it takes.

    Raises:
        UnsupportedOperator: for a network that bounds do not cover.
    """

    def __init__(self, module: nn.Module, dataset: Dataset) -> None:
        self.module = module
        device = next(module.parameters()).device
        training = module.training
        self.graph = import_module(module.eval(), torch.from_numpy(dataset.x[:2]).to(device))
        module.train(training)
        self.differences = torch.eye(dataset.num_classes, device=device)
        self.box: BoxLike = check_box(dataset.input_box)
        self._normalizing = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]

    def batch(self, step: Step) -> Batch:
        """The network's scores of a batch, and bounds under the same statistics.

        Batch normalization in training uses the mean and variance of the batch. Bounds use those of the unperturbed
        inputs, as constants of the region but not of the weights (Shi et al. 2021, section 3.3); afterwards, and on
        inputs held out, the stored ones.
        """
        if not self._normalizing or not self.module.training:
            return Batch(step, self.module(step.x), self.graph, self.differences)
        seen: dict[int, tuple[Tensor, Tensor]] = {}

        def watch(layer: nn.Module, inputs: tuple[Tensor]) -> None:
            [values] = inputs
            axes = [axis for axis in range(values.dim()) if axis != 1]
            variance, mean = torch.var_mean(values, axes, correction=0)
            seen[layer.get_buffer("running_mean").data_ptr()] = mean, variance

        hooks = [layer.register_forward_pre_hook(watch) for layer in self._normalizing]
        try:
            scores = self.module(step.x)
        finally:
            for hook in hooks:
                hook.remove()
        nodes = tuple(_with_statistics(node, seen) for node in self.graph.nodes)
        graph = Graph(self.graph.input, self.graph.shape, nodes, self.graph.dtype)
        return Batch(step, scores, graph, self.differences)

    def ball(self, centre: Tensor, radius: float) -> Interval:
        """The linf ball around each of (B, ...), cut to the input box."""
        ball = Interval(centre - radius, centre + radius)
        if self.box is None:
            return ball
        ends = self.box.around(centre)
        return Interval(ball.lower.clamp(*ends), ball.upper.clamp(*ends))


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch whose scores are known; bounds of it are asked for one by one.

    Args:
        step: the batch.
        scores: (B, classes).
        graph: the network, with the statistics under which the scores were computed.
        differences: the unit matrix of the classes.
    """

    step: Step
    scores: Tensor
    graph: Graph
    differences: Tensor

    @property
    def rows(self) -> Tensor:
        """Rows (B, classes, classes) whose j-th is the score of the label less that of class j."""
        return self.differences[self.step.y][:, None, :] - self.differences

    def layers(self, region: Interval) -> Layers:
        """Interval bounds of every result."""
        return propagate(self.graph, Region(region), claim=None)

    def margins(self, layers: Layers) -> Tensor:
        """Lower bounds (B, classes) of the rows from interval bounds (Gowal et al. 2018)."""
        return row_bounds(layers, self.rows).lower

    def margins_by(self, method: str, region: Interval) -> Tensor:
        """Lower bounds (B, classes) of the rows by another method."""
        return METHODS[method](self.graph, Region(region), self.rows, claim=None).lower


def _with_statistics(node: Node, seen: Mapping[int, tuple[Tensor, Tensor]]) -> Node:
    """A node with the statistics of a batch in place of stored ones, which lie where its operator reads them."""
    if not isinstance(node.operator, BatchNorm):
        return node
    mean, variance = seen[node.operator.mean.data_ptr()]
    return replace(node, operator=replace(node.operator, mean=mean, variance=variance))


def narrow_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Initial weights with which interval bounds neither grow nor shrink from layer to layer (Shi et al. 2021, 3.1).

    They are normal with standard deviation ``sqrt(2 pi) / n`` for n inputs of a neuron: a layer multiplies the width of
    its box by ``n E|w|``, of which a ReLU keeps half. Biases become 0. The paper's code leaves the last layer as it is,
    and halves weights behind a sum of two branches; here all layers are alike.
    """
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                deviation = math.sqrt(2 * math.pi) / layer.weight[0].numel()
                layer.weight.copy_(deviation * torch.randn(layer.weight.shape, generator=generator))
                if layer.bias is not None:
                    layer.bias.zero_()
