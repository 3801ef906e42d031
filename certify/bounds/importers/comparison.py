"""Tools to compare an imported graph with its source: test inputs, a float64 mode, and an explanation of NaN."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from certify.bounded.memory import check_room
from certify.bounds.graph import Graph, Node
from certify.bounds.rules.lookup import Lookup

__all__ = ["Wide", "branch_without_value", "probes"]

MANY = 2**13
"""If a result has more numbers than this, a third of the inputs suffices: each operator was also checked alone."""


def probes(
    shape: tuple[int, ...], device: torch.device | str = "cpu", *, widest: int = 0, rows: int | None = None
) -> Tensor:
    """Test inputs of many magnitudes and both signs, float64, so that any branch of an operator is exercised.

    Args:
        shape, device: of an input.
        widest: the size of the network's largest result.
        rows: of the table in which the network looks up what it reads; None where it does not. Inputs then are rows.

    Raises:
        NoRoom: if they take more memory than there is to spare.

    >>> probes((2, 3)).shape
    torch.Size([34, 2, 3])
    """
    check_room(f"comparing the network on inputs of shape {tuple(shape)}", 34 * 8 * math.prod(shape))
    generator = torch.Generator().manual_seed(0)
    share = 1 if widest < MANY else 3

    def uniform(count: int, low: float, high: float) -> Tensor:
        count //= share
        return low + (high - low) * torch.rand((count, *shape), generator=generator, dtype=torch.float64)

    if rows is not None:
        return torch.cat([uniform(33, 0.0, float(rows)).floor(), torch.zeros((1, *shape)).double()]).to(device)
    ordinary = [uniform(6, 0.0, 1.0), uniform(9, -3.0, 3.0)]
    normal = [
        scale * torch.randn((3 // share, *shape), generator=generator, dtype=torch.float64)
        for scale in (0.01, 1.0, 30.0, 1000.0)
    ]
    others = [uniform(3, -1.0, 0.0), uniform(3, 0.0, 255.0), torch.zeros((1, *shape), dtype=torch.float64)]
    return torch.cat([*ordinary, *normal, *others]).to(device)


def fewest_rows(nodes: Sequence[Node]) -> int | None:
    """How many rows the smallest table has in which nodes look something up; None where none does."""
    return min((len(node.operator.table) for node in nodes if isinstance(node.operator, Lookup)), default=None)


def branch_without_value(graph: Graph, x: Tensor, answer: Callable[[slice], Tensor]) -> str:
    """A message if the graph gives NaN for an input where the source gives a number; empty if there is none.

    The usual reason: a choice between branches computes both, and one of them has no value.

    Args:
        graph: in the dtype of the inputs.
        x: inputs (B, ...), tried one by one.
        answer: the outputs of the source on a slice of them.

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


PLACED = frozenset("constant_pad_nd masked_fill fill full full_like new_full scalar_tensor".split())
"""Operators that put a number of the code into a tensor, which rounds it to float32."""


class Wide(TorchDispatchMode):
    """In this mode, conversions to float32 and newly created float32 tensors become float64.

    A module converted to double precision may itself convert its input (``x.float()``) or create float32 constants.

    >>> with Wide():
    ...     y = torch.ones(2, dtype=torch.float64).float() @ torch.eye(2)
    >>> y.dtype
    torch.float64
    """

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = tree_map(_widened, (args, kwargs or {}))
        if func._schema.name.removeprefix("aten::").removesuffix("_") in PLACED:  # type: ignore[attr-defined]
            args, kwargs = tree_map(_as_stored, (args, kwargs))
        return tree_map(_widened, func(*args, **kwargs))


def _as_stored(value: Any) -> Any:
    return float(torch.tensor(value, dtype=torch.float32)) if isinstance(value, float) else value


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.dtype == torch.float32 else value
    return torch.float64 if value == torch.float32 and isinstance(value, torch.dtype) else value
