"""Why a graph has no value where its source has one: a choice between branches computes both."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from certify.bounds.graph import Graph

__all__ = ["branch_without_value"]


def branch_without_value(graph: Graph, x: Tensor, answer: Callable[[slice], Tensor]) -> str:
    """What to say of a graph that gives NaN for inputs whose outputs are numbers; empty if there are none.

    Args:
        graph: in the dtype of the inputs.
        x: inputs (B, ...), asked about one by one.
        answer: outputs of the source on some rows of them.

    >>> from certify.bounds.graph import Node
    >>> from certify.bounds.rules.power import Power
    >>> root = Graph("x", (1,), (Node("root", Power(0.5), ("x",), (1,), "net.py:3"),), torch.float32)
    >>> branch_without_value(root, torch.tensor([[-1.0]]), lambda rows: torch.zeros(1, 1))[:54]
    'node root (power, net.py:3) has no value on some input'
    """
    for row in range(len(x)):
        rows = slice(row, row + 1)
        values, first = {graph.input: x[rows]}, None
        with torch.no_grad():
            for node in graph.nodes:
                given = [values[name] for name in node.inputs]
                found = values[node.name] = node.operator.forward(*given)
                if first is None and bool(found.isnan().any()):
                    first = node
        if first is not None and bool((values[graph.output.name].isnan() & ~answer(rows).isnan()).any()):
            source = f", {first.source}" if first.source else ""
            return (
                f"node {first.name} ({first.operator.kind}{source}) has no value on some inputs where the model has "
                "one: bounds are about both branches of a choice, also the one not taken; keep its argument in range, "
                "as with clamp, or use smoothing"
            )
    return ""
