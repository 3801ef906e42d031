"""What ``certify verify`` can decide, in the words of VNN-LIB 2.0's solver interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from certify.bounds.importers.onnx_file import OPSETS
from certify.bounds.rules.base import ONNX

__all__ = ["CAPABILITIES"]

FOLDED = ("Constant", "ConstantOfShape")
"""Operators that need no bound rule, because their results do not depend on the network's input."""


def _operators() -> Sequence[str]:
    return sorted({*ONNX, *FOLDED})


CAPABILITIES: dict[str, Callable[[], Sequence[str]]] = {
    "onnx-opset-versions": lambda: (str(OPSETS[0]), str(OPSETS[-1])),
    "onnx-element-types": lambda: (
        "real",
        "float32 * proofs are about exact arithmetic, or with --claim float32 about every execution as well",
        "float64 * proofs are about exact arithmetic",
    ),
    "onnx-operators": _operators,
    "vnnlib-versions": lambda: ("1.0", "2.0"),
    "hidden-node-theories": lambda: ("NH",),
    "multiple-input-output-theories": lambda: ("SIO",),
    "multiple-network-theories": lambda: ("SNET",),
    "multiple-node-comparison-theories": lambda: ("MNC",),
    "arithmetic-complexity-theories": lambda: ("BND", "OUTC", "LIN"),
    "optimised-disjunctive-reasoning": lambda: ("true",),
    "serialise-assignments": lambda: ("false",),
}
"""Each capability's lines: a range's ends, all theories that hold, or a truth value. A star begins a remark.

MNC: assertions may compare inputs with outputs. Disjunctions are split over boxes and bounded together.
"""
