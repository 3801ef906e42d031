"""``docs/operators.md``, from the registries: ``python -m certify.bounds.operator_table > docs/operators.md``."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

import torch

from certify.bounds.graph import Graph, Node
from certify.bounds.ibp import propagate
from certify.bounds.importers.onnx_file import OPSETS
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import Region
from certify.bounds.rules.base import ATEN, ONNX, RULES, Affine, Importer, Nonlinear, NotCovered
from certify.bounds.tensors import Interval
from certify.registry import Registry

__all__ = ["first_sentence", "operator_table"]

PAGE = """\
# Operators

Made by `python -m certify.bounds.operator_table > docs/operators.md`; a test compares the two. [bounds.md](bounds.md)
says what bounds are, [extending.md](extending.md#an-operator-rule) how to add an operator in one file.

## What bounds propagate through

* **free planes**: numbers in [0, 1] an entry, each choice of which is sound; alpha-CROWN searches for the best.
* **patches**: a row can stay a small window of an image on its way back through this operator.
* **Lipschitz**: a constant of the function itself, everywhere, as `lipschitz` multiplies them.
* **float32**: whether something is known of how executions round, so that `claim="float32"` can be made.

{kinds}

## What is read from torch

By `torch.export`, of any module in eval mode, in-place forms included. What does not depend on the input is
computed once and stored. Several names in a row are read by one function. An operator that is missing here is read
by torch's own decomposition into others, where it has one: recurrent layers are their steps one after the other.

{torch}

## What is read from ONNX

Opsets {first} to {last}. What does not depend on the input, shapes included, is computed once and stored.

{onnx}
"""


def operator_table() -> str:
    """The page as text: every operator kind with the facts it states, and everything that torch and ONNX may call it.

    >>> "| `relu` | `max(x, 0)`, enclosed by a triangle" in operator_table()
    True
    """
    kinds = table(
        ("kind", "what it computes", "type", "free planes", "patches", "Lipschitz", "float32"),
        (_kind(kind) for kind in RULES),
    )
    return PAGE.format(
        kinds=kinds,
        torch=table(("file", "torch operators", "how they are read"), _read(ATEN)),
        onnx=table(("file", "ONNX operators", "how they are read"), _read(ONNX)),
        first=OPSETS[0],
        last=OPSETS[-1],
    )


def first_sentence(member: object) -> str:
    r"""The first sentence of a docstring, ready for a cell of a Markdown table.

    >>> def absolute(): "``|x|``. Not smooth."
    >>> print(first_sentence(absolute))
    `\|x\|`
    """
    paragraph = " ".join((inspect.getdoc(member) or "").partition("\n\n")[0].split())
    sentence = re.split(r"(?<=\.) (?=[A-Z`])", paragraph)[0]
    return sentence.removesuffix(".").replace("``", "`").replace("|", r"\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, one line a row."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _kind(kind: str) -> tuple[str, ...]:
    """What one kind states, in part by its own example."""
    rule = RULES[kind]
    one = rule.example()  # type: ignore[attr-defined]  # a test asks every rule for it
    graph = import_module(one.module, one.lower)
    node = next(node for node in graph.nodes if node.operator.kind == kind)
    affine = issubclass(rule, Affine)
    return (
        f"`{kind}`",
        first_sentence(rule),
        "affine" if affine else "nonlinear",
        str(rule.shares) if issubclass(rule, Nonlinear) and rule.shares else "",
        "yes" if _local(graph, node) else "",
        "norm of W" if affine else _lipschitz(rule),
        "yes" if _executed(graph, node, Interval(one.lower, one.upper)) else "refused",
    )


def _local(graph: Graph, node: Node) -> bool:
    """Whether rows stay windows: each output sees a window, or one entry of each input."""
    operator = node.operator
    if not isinstance(operator, Affine):
        return True
    same = all(graph.shapes[name] == node.shape for name in node.inputs)
    windows = type(operator).sliding is not Affine.sliding
    return windows or (same and (operator.separable or len(node.inputs) > 1))


def _lipschitz(rule: type) -> str:
    stated = inspect.getattr_static(rule, "lipschitz")
    if stated is Nonlinear.lipschitz:
        return "none"
    return "by parameters" if isinstance(stated, property) else f"{stated:g}"


def _executed(graph: Graph, node: Node, box: Interval) -> bool:
    with torch.no_grad():
        boxes = propagate(graph, Region(box), claim=None).boxes
        try:
            node.operator.executed(*(boxes[name] for name in node.inputs))
        except NotCovered:
            return False
    return True


def _read(family: Registry[Importer]) -> Iterator[tuple[str, ...]]:
    """One row for each function that reads operators, by its file."""
    names: dict[Importer, list[str]] = {}
    for name, rule in family.items():
        names.setdefault(rule, []).append(name)
    for rule, group in sorted(names.items(), key=lambda item: (item[0].__module__, item[1])):
        file = rule.__module__.rpartition(".")[2]
        link = f"[{file}](../certify/bounds/rules/{file}.py)"
        yield link, ", ".join(f"`{name}`" for name in group), first_sentence(rule)


if __name__ == "__main__":
    sys.stdout.write(operator_table())
