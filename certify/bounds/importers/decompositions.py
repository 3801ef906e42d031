"""Operators without a rule, decomposed into others by torch's own decompositions.

A gated unit becomes a product and a sigmoid, a recurrent layer its steps one after another. The result is compared with
the module like any other import.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch._ops import OpOverload
from torch.export import ExportedProgram

from certify.bounds.rules.base import ATEN

__all__ = ["spelled_out"]

DEEP = 4
"""Decompositions are applied this many times, since their results may need decomposing again."""

OF_WEIGHTS = frozenset({"_weight_norm", "_weight_norm_interface"})
"""Operators that compute weights from other weights in every call."""

PAIR = re.compile("[a-zA-Z]+,[a-zA-Z]+->[a-zA-Z]*")
"""Einstein sums that a rule covers: two tensors, all axes named."""


def spelled_out(program: ExportedProgram) -> ExportedProgram:
    """The program with operators that have no rule decomposed, as far as torch has decompositions.

    >>> from certify.bounds.importers.tracing import trace
    >>> program = trace(torch.nn.GLU().eval(), torch.zeros(1, 4))
    >>> any("glu" in str(node.target) for node in program.graph.nodes)
    False
    """
    for _ in range(DEEP):
        unknown = _without_rule(program)
        table = {operator: _known()[operator] for operator in unknown if operator in _known()}
        if not table:
            break
        try:
            program = program.run_decompositions(table)
        except Exception:  # torch documents no narrower class; the operator is then refused by its name
            break
    return program


@functools.cache
def _known() -> Mapping[OpOverload, Callable[..., Any]]:
    """Torch's decompositions, cached because torch takes a tenth of a second to build the table each time."""
    return dict(torch.export.default_decompositions())


def _without_rule(program: ExportedProgram) -> list[OpOverload]:
    """Operators without a rule that depend on the input, and those that compute weights."""
    signature = program.graph_signature
    held = (signature.inputs_to_parameters, signature.inputs_to_buffers, signature.inputs_to_lifted_tensor_constants)
    depends: set[str] = set()
    found = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if not any(node.name in names for names in held):
                depends.add(node.name)
        elif not depends.isdisjoint(one.name for one in node.all_input_nodes):
            depends.add(node.name)
            if isinstance(node.target, OpOverload) and not _has_rule(node.target._opname, node.args):
                found.append(node.target)
        elif isinstance(node.target, OpOverload) and node.target._opname in OF_WEIGHTS:
            found.append(node.target)
    return found


def _has_rule(name: str, args: tuple[Any, ...]) -> bool:
    if name == "einsum":
        return PAIR.fullmatch(str(args[0]).replace(" ", "")) is not None
    return name in ATEN or name.removesuffix("_") in ATEN
