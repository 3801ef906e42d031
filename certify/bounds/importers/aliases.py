"""Which results of a traced program may share memory, and which its calls overwrite, according to torch itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

__all__ = ["memory", "written"]


def memory(graph: fx.Graph) -> dict[fx.Node, int]:
    """A number for the memory of each result; results with different numbers share no memory.

    Two sources are combined: the storages of torch's own trial run, which reveal views that no schema mentions
    (``unsafe_chunk``, ``einsum``), and the schemas, which mention views that depend on the memory format
    (``contiguous``, ``reshape``).
    """
    numbers: dict[fx.Node, int] = {}
    storages: dict[int, int] = {}
    for place, node in enumerate(graph.nodes):
        held = [one.untyped_storage()._cdata for one in tree_leaves(node.meta.get("val")) if isinstance(one, Tensor)]
        joined = {numbers[one] for one in _annotated(node)} | {storages[one] for one in held if one in storages}
        number = min(joined, default=place)
        numbers.update((one, number) for one in numbers if numbers[one] in joined)
        storages.update((one, number) for one in storages if storages[one] in joined)
        storages.update(dict.fromkeys(held, number))
        numbers[node] = number
    return numbers


def written(node: fx.Node) -> list[fx.Node]:
    """The results whose memory a call overwrites: the first argument of ``relu_``, the ``out`` of others."""
    return [
        one for schema, value in _arguments(node) if schema.alias_info and schema.alias_info.is_write for one in value
    ]


def _annotated(node: fx.Node) -> list[fx.Node]:
    if node.op == "call_function" and not hasattr(node.target, "_schema"):  # an entry of a list
        return [one for one in node.args if isinstance(one, fx.Node)]
    arguments = list(_arguments(node))
    # In evaluation, dropout returns its own input, although the trial run copies it.
    trained = any(schema.name == "train" for schema, _ in arguments)
    return [one for schema, value in arguments if trained or schema.alias_info for one in value]


def _arguments(node: fx.Node) -> Iterator[tuple[Any, list[fx.Node]]]:
    """Each argument's entry in the operator's schema, with the nodes in the argument."""
    if node.op != "call_function" or not hasattr(node.target, "_schema"):
        return
    for place, schema in enumerate(node.target._schema.arguments):
        value = node.args[place] if place < len(node.args) else node.kwargs.get(schema.name)
        yield schema, [one for one in tree_leaves(value) if isinstance(one, fx.Node)]
