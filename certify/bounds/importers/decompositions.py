"""Operators without a rule, spelled out in terms of others by torch's own account of how they are made.

A gated unit is a product and a sigmoid, a recurrent layer its steps one after the other. What comes out is compared
with the module like everything else.
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
"""Operators may be made of others that are made of others, so many times."""

OF_WEIGHTS = frozenset({"_weight_norm", "_weight_norm_interface"})
"""Operators that make weights of others, in each call anew."""

PAIR = re.compile("[a-zA-Z]+,[a-zA-Z]+->[a-zA-Z]*")
"""Einstein sums of two tensors, all axes named, as rules read them."""


def spelled_out(program: ExportedProgram) -> ExportedProgram:
    """The program without operators that have no rule, as far as torch has others for them.

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
    """What torch can spell out; its table is put together anew, for a tenth of a second, each time it is asked for."""
    return dict(torch.export.default_decompositions())


def _without_rule(program: ExportedProgram) -> list[OpOverload]:
    """Operators on what depends on the input, and those on weights whose errors follow from the rules of others."""
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
