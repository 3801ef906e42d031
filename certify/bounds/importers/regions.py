"""Regions of a traced program that torch keeps apart (``torch.no_grad``, ``torch.autocast``), put where they run."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

__all__ = ["inline_regions"]

REGIONS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}
"""Calls of a region by name, and which of their arguments holds its program; those after it are its inputs.

What autocast changes stays in sight: its results have a narrower type.
"""


def inline_regions(module: fx.GraphModule) -> None:
    """Replace each call of a region by the region's own calls, in place.

    >>> import torch
    >>> class Net(torch.nn.Module):
    ...     def forward(self, x):
    ...         with torch.no_grad():
    ...             return 2 * x
    >>> module = torch.export.export(Net(), (torch.zeros(2),)).graph_module
    >>> inline_regions(module)
    >>> [node.name for node in module.graph.nodes]
    ['x', 'mul_1', 'output']
    """
    for node in list(module.graph.nodes):
        place = REGIONS.get(getattr(node.target, "__name__", "")) if node.op == "call_function" else None
        if place is None or any(user.target is not operator.getitem for user in node.users):
            continue  # what is left is refused by its name
        region = getattr(module, node.args[place].target)
        inline_regions(region)
        inputs = [one for one in region.graph.nodes if one.op == "placeholder"]
        with module.graph.inserting_before(node):
            results: Any = module.graph.graph_copy(region.graph, dict(zip(inputs, node.args[place + 1 :], strict=True)))
        for user in list(node.users):
            user.replace_all_uses_with(results[user.args[1]])
            module.graph.erase_node(user)
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
