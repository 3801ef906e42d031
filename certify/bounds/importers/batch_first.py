"""Torch's multi-head attention and transpositions with the batch axis kept in front, for tracing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["BatchFirst", "keep_batch_first"]


class BatchFirst(TorchFunctionMode):
    """In this mode, ``multi_head_attention_forward`` computes the same without moving or splitting the batch axis.

    Torch's own version puts the sequence in front and folds heads into the batch axis, which mixes samples. It is still
    used for what is not covered here: returned attention weights, masks by key, separate projections.

    >>> import torch
    >>> layer, x = torch.nn.MultiheadAttention(4, 2).eval(), torch.ones(3, 5, 4)
    >>> with BatchFirst():
    ...     again = layer(x, x, x, need_weights=False)[0]
    >>> torch.allclose(again, layer(x, x, x, need_weights=False)[0], atol=1e-6)
    True
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward and _covered(args, kwargs):
            return _attention(*args, attn_mask=kwargs.get("attn_mask"), is_causal=kwargs.get("is_causal", False)), None
        return func(*args, **kwargs)


def _covered(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call has a batch, one joint projection, at most one mask for all samples, and no extras."""
    if len(args) != 13 or args[0].dim() != 3:
        return False
    query, key, value = args[:3]
    mask = kwargs.get("attn_mask")
    extras = ("key_padding_mask", "need_weights", "use_separate_proj_weight", "static_k", "static_v", "training")
    given = any(isinstance(kwargs.get(name), Tensor) or bool(kwargs.get(name)) for name in extras)
    shared = key is value and query is key and args[5] is not None
    return (
        shared
        and not given
        and args[7] is args[8] is None
        and not args[9]
        and (
            mask is None
            or (mask.dim() == 2 and mask.dtype.is_floating_point)  # in Boolean masks, True means masked out
        )
    )


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    width: int,
    heads: int,
    weight: Tensor,
    bias: Tensor | None,
    *rest: Any,
    attn_mask: Tensor | None,
    is_causal: bool,
) -> Tensor:
    """Self-attention of (L, B, E), in torch's argument order."""
    x = query.transpose(0, 1)
    projected = F.linear(x, weight, bias).reshape(x.shape[0], x.shape[1], 3 * heads, width // heads).transpose(1, 2)
    q, k, v = projected.split(heads, dim=1)
    # Like torch: if is_causal is set, the mask itself is ignored.
    mask = None if is_causal else attn_mask
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)
    out_weight, out_bias = rest[4], rest[5]
    return F.linear(y.transpose(1, 2).reshape(x.shape), out_weight, out_bias).transpose(0, 1)


def keep_batch_first(graph: fx.Graph) -> None:
    """Undo transpositions that move the batch axis only for a while.

    Two transpositions that cancel are dropped. If one entry of a permuted tensor's first axis is read, as in
    ``q, k, v = x.permute(2, 0, 3, 1, 4)``, it is selected before the permutation.
    """
    for node in list(graph.nodes):
        inner = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        if inner is None:
            continue
        if _name(node) == _name(inner) == "transpose" and set(node.args[1:]) == set(inner.args[1:]):
            node.replace_all_uses_with(inner.args[0])
        elif _name(inner) == "permute" and _name(node) == "select" and node.args[1] == 0:
            node.replace_all_uses_with(_taken_first(graph, node, inner, node.args[2]))
        elif _name(node) == "getitem" and _name(inner) == "unbind" and (*inner.args[1:], 0)[0] == 0:
            permuted = inner.args[0]
            if isinstance(permuted, fx.Node) and _name(permuted) == "permute":
                node.replace_all_uses_with(_taken_first(graph, node, permuted, node.args[1]))
    graph.eliminate_dead_code()


def _taken_first(graph: fx.Graph, node: fx.Node, permuted: fx.Node, place: Any) -> fx.Node:
    """``permute(x, dims)[place]``, selecting first and permuting then."""
    x, dims = permuted.args
    first, *others = (dim % len(dims) for dim in dims)  # type: ignore[union-attr,arg-type,operator]
    select, permute = torch.ops.aten.select.int, torch.ops.aten.permute.default
    with graph.inserting_before(node):
        entry = graph.call_function(select, (x, first, place))
        entry.meta = {**node.meta, "val": select(x.meta["val"], first, place)}  # type: ignore[union-attr]
        result = graph.call_function(permute, (entry, [dim - (dim > first) for dim in others]))
        result.meta = dict(node.meta)
    return result


def _name(node: fx.Node) -> str:
    return (
        str(getattr(node.target, "_opname", getattr(node.target, "__name__", ""))) if node.op == "call_function" else ""
    )
