"""Bounds of a module's outputs over boxes or balls of inputs: the public functions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from certify.bounds.crown import crown_in_time
from certify.bounds.deadline import Deadline
from certify.bounds.graph import Graph
from certify.bounds.importers.graph_module import GraphModule, chained
from certify.bounds.importers.onnx_model import Executed
from certify.bounds.importers.read_once import read_once
from certify.bounds.memory import check_memory
from certify.bounds.methods import METHODS, bounds_of_rows
from certify.bounds.radii.margins import claimable
from certify.bounds.region import Region, ball
from certify.bounds.rounding import below
from certify.bounds.tensors import Interval
from certify.core.evidence import CLAIMS, Claim
from certify.core.input_box import BoxLike
from certify.core.norms import check_norm
from certify.core.threats.lp import ThreatModel
from certify.core.values import one_of
from certify.device import as_alone
from certify.errors import BadInput, ModelError
from certify.models.arithmetic import FLOAT32
from certify.models.classifier import Classifier
from certify.models.digest import all_tensors
from certify.models.overrides import refuse_global_hooks, unchanged_by_hand

__all__ = ["ball_bounds", "network_graph", "output_bounds"]


def network_graph(model: nn.Module | Classifier, example_batch: Tensor, max_memory: int | None = None) -> Graph:
    """The graph of a module, or of the module in a classifier, in the dtype of its weights; for claims, not training.

    Raises:
        ModelError: for a classifier that wraps a function, or is executed otherwise than in plain float32; for weights
            narrower than that.
        UnsupportedOperator: for an operator that has no rule.
    """
    module = model.module if isinstance(model, Classifier) else model
    if isinstance(model, Classifier) and isinstance(model.function, Executed):
        raise model.function.refusal
    if isinstance(model, Classifier) and model.arithmetic != FLOAT32:
        raise ModelError(
            f"a proof is about the network in plain float32, and this one is executed in {model.arithmetic}, which is "
            "another function: leave precision and compile out, or use smoothing"
        )
    if not isinstance(module, nn.Module):
        raise ModelError(
            "bound propagation needs an nn.Module, or an ONNX file; for classes use smoothing: any function will do"
        )
    refuse_global_hooks()
    # A shortcut for these two modules only; a module around them is traced as a whole.
    if unchanged_by_hand(module, GraphModule):
        module.check(example_batch)
        return module.graph
    if unchanged_by_hand(module, nn.Sequential) and len(module) > 1 and unchanged_by_hand(module[-1], GraphModule):
        before = network_graph(module[:-1], example_batch, max_memory)  # a normalization, usually
        return chained(before, module[-1].graph, example_batch.device)
    weights = {tensor.dtype for tensor in all_tensors(module).values() if tensor.is_floating_point()}
    if narrow := [one for one in weights if one not in (torch.float32, torch.float64)]:
        raise ModelError(f"the model's weights are {narrow[0]}; bounds need float32: call model.float()")
    dtype = torch.float64 if weights == {torch.float64} else torch.float32  # as in a Classifier
    with torch.no_grad():
        return read_once(module, example_batch.to(dtype), max_memory)


@as_alone()
def output_bounds(
    model: nn.Module | Classifier,
    lower: Tensor,
    upper: Tensor,
    method: str = "crown",
    C: Tensor | None = None,
    *,
    claim: Claim = "exact",
    max_memory: int | None = None,
    timeout: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds, over boxes of inputs, of a network's outputs or of linear functions of them.

    They hold for the network in exact real arithmetic: what float rounding may have cost is subtracted. Where nothing
    can be said (NaN weights, overflow) they are infinite.

    Boxes of float64 are bounded in float64 throughout. For boxes of float32, the coefficients of intermediate results
    are float32: twice as fast, and looser by about a thousandth (a fiftieth for layers of 2,048 neurons), except where
    a bound comes close to 0.

    Args:
        model: a module in eval mode, or a classifier of one.
        lower, upper: the boxes' ends, (B, ...), float32 or float64.
        method: ``"ibp"`` (Gowal et al. 2018), ``"crown-ibp"`` (Zhang et al. 2020), ``"crown"`` (Zhang et al. 2018), or
            ``"alpha-crown"`` (Xu et al. 2021), whose planes are searched for; ``"alpha-crown-last"`` searches for those
            of the rows alone.
        C: rows (B, rows, outputs) whose products with the outputs are bounded, one matrix an input; None for the
            outputs themselves. Bound differences of classes this way, never by subtracting bounds.
        claim: ``"exact"``, or ``"float32"`` for bounds of every float32 execution as well, on float32 inputs.
        max_memory: bytes to stay within, about, whatever the batch; None for half of what is free.
        timeout: seconds for the whole batch, once the network is read; None for no limit. CROWN ends in time by leaving
            the last results of the network with bounds by interval arithmetic: they are looser, and a warning says so.
            Other methods raise.

    Returns:
        Two tensors (B, rows) of the boxes' dtype, rounded outward.

    Raises:
        NoRoom, OutOfTime: in one line, where memory or time do not suffice.
        BadInput: for an unknown method, shapes that do not fit, NaN, or a lower end above its upper end.
        UnsupportedOperator: for a network with an operator that has no rule.

    >>> lo, hi = output_bounds(nn.ReLU(), torch.tensor([[-1.0, 1.0]]), torch.tensor([[1.0, 2.0]]))
    >>> bool((lo <= 0).any()), bool((hi >= 2).any())
    (True, True)
    """
    for name, end in (("lower", lower), ("upper", upper)):
        _check_batch(name, end)
    if lower.shape != upper.shape:
        raise BadInput(f"lower has shape {tuple(lower.shape)} and upper {tuple(upper.shape)}; give ends of one shape")
    if bool((lower > upper).any()):
        raise BadInput("lower is above upper somewhere; swap them or check the radius")
    region = Region(Interval(lower.double(), upper.double()))
    dtype = torch.promote_types(lower.dtype, upper.dtype)
    return _bounds(model, region, method, C, dtype, claim, max_memory, timeout)


@as_alone()
def ball_bounds(
    model: nn.Module | Classifier,
    x: Tensor,
    eps: float | Tensor,
    norm: str = "linf",
    *,
    scale: Any = None,
    input_box: BoxLike = None,
    method: str = "crown",
    C: Tensor | None = None,
    claim: Claim = "exact",
    max_memory: int | None = None,
    timeout: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds, as :func:`output_bounds` gives them, over balls of inputs cut by an input box.

    Args:
        model: a module in eval mode, or a classifier of one, whose input box is used unless another is given.
        x: centres (B, ...), float32 or float64, taken as exact.
        eps: the radius, or one for each input (B,).
        norm: ``"linf"``, ``"l2"`` or ``"l1"``.
        scale: one number >= 0 a feature, any array of an input's size: the ball is ``|| (x' - x) / scale || <= eps``.
            In linf, feature i moves by at most ``eps * scale[i]``; features with 0 do not move in any norm.
        input_box: (lower, upper) bound of every feature, two numbers or two arrays of one input's shape, or None.
        method, C, claim, max_memory, timeout: as for :func:`output_bounds`.

    Returns:
        Two tensors (B, rows) of the dtype of ``x``, rounded outward.

    Raises:
        BadInput: for an unknown norm or method, eps that is negative, NaN or of another shape, shapes that do not fit,
            inputs that are not finite or lie outside the box.
        NoRoom, OutOfTime: as for :func:`output_bounds`.
        UnsupportedOperator: for a network with an operator that has no rule.

    >>> sums, x = nn.Linear(2, 1, bias=False).requires_grad_(False), torch.tensor([[0.5, 0.5]])
    >>> _ = sums.weight.fill_(1.0)
    >>> lo, hi = ball_bounds(sums, x, 0.2, "l1", scale=[1.0, 0.5])
    >>> round(float(lo), 4), round(float(hi), 4)
    (0.8, 1.2)
    """
    _check_batch("x", x)
    threat = ThreatModel(check_norm(norm), (0.0,), input_box, scale=scale)
    if isinstance(model, Classifier) and input_box is None:
        threat = threat.within(model.input_box)
    centres, radius, around = x.double(), _radii(eps, x), threat.scale_of(x.shape[1:])
    if not bool(torch.isfinite(x).all()):
        raise BadInput("x contains infinity; give finite inputs")
    if (box := threat.input_box) is not None and (fault := box.fault(x.detach().cpu().numpy())):
        raise BadInput(f"x: {fault}; clip it or widen the box")
    features = None if around is None else torch.from_numpy(around).to(x.device)
    region = ball(centres, radius, threat.norm, box, features)
    return _bounds(model, region, method, C, x.dtype, claim, max_memory, timeout)


def _bounds(
    model: nn.Module | Classifier,
    region: Region,
    method: str,
    C: Tensor | None,
    dtype: torch.dtype,
    claim: Claim,
    max_memory: int | None,
    timeout: float | None,
) -> tuple[Tensor, Tensor]:
    METHODS[method]
    one_of("claim", claim, CLAIMS)
    check_memory(max_memory)
    Deadline(math.inf if timeout is None else timeout)  # refuse a bad timeout before the network is read
    inputs = region.box.lower
    found = network_graph(model, inputs[:1].to(dtype), max_memory)
    claimable(found, claim)
    graph = found.mixed() if dtype == torch.float32 else found.to(torch.float64)
    rows = _rows(C, len(inputs), math.prod(graph.output.shape), inputs.device)
    both = torch.cat([rows, -rows], dim=1)
    deadline = Deadline(math.inf if timeout is None else timeout)
    in_time = method == "crown" and timeout is not None
    chosen = crown_in_time if in_time else METHODS[method]
    with torch.no_grad():
        found_rows = bounds_of_rows(
            chosen, graph, region, both, claim=claim, max_memory=max_memory, deadline=deadline, in_turn=in_time
        )
    lower = below(found_rows.lower, dtype)
    return lower[:, : rows.shape[1]], -lower[:, rows.shape[1] :]


def _check_batch(name: str, batch: Any) -> None:
    if not isinstance(batch, Tensor):
        raise BadInput(f"{name} must be a float tensor (B, ...), got {type(batch).__name__}; try torch.as_tensor")
    if not batch.is_floating_point() or batch.dim() < 2 or len(batch) == 0:
        raise BadInput(
            f"{name} must be a float tensor (B, ...) with B at least 1, got {batch.dtype} {tuple(batch.shape)}"
        )
    if batch.dtype not in (torch.float32, torch.float64):
        raise BadInput(f"{name} is {batch.dtype}; bounds need float32 or float64: call {name}.float()")
    if bool(batch.isnan().any()):
        raise BadInput(f"{name} contains NaN; give numbers")


def _radii(eps: float | Tensor, x: Tensor) -> Tensor:
    """One float64 radius for each input."""
    try:
        radius = torch.as_tensor(eps, dtype=torch.float64, device=x.device)
    except (OverflowError, RuntimeError, TypeError, ValueError) as problem:
        raise BadInput(f"eps must be a number, or one for each input, got {eps!r:.60}") from problem
    if radius.shape not in ((), (len(x),)):
        raise BadInput(
            f"eps has shape {tuple(radius.shape)}; give a number, or ({len(x)},) for one at each input; "
            "for one at each feature, give scale"
        )
    if not bool((torch.isfinite(radius) & (radius >= 0)).all()):
        raise BadInput("eps is negative, NaN or infinite somewhere; give finite radii >= 0")
    return radius.expand(len(x))


def _rows(C: Any, count: int, outputs: int, device: torch.device) -> Tensor:
    if C is None:
        return torch.eye(outputs, dtype=torch.float64, device=device).expand(count, outputs, outputs)
    if not isinstance(C, Tensor):
        raise BadInput(f"C must be a tensor ({count}, rows, {outputs}), got {type(C).__name__}; try torch.as_tensor")
    if C.dim() != 3 or C.shape[0] != count or C.shape[1] == 0 or C.shape[2] != outputs:
        # A single matrix would be ambiguous: one row for each input, or all rows for every input.
        shared = f"; rows for every input are C.expand({count}, -1, -1)" if C.dim() == 2 else ""
        raise BadInput(
            f"C has shape {tuple(C.shape)}; give ({count}, rows, {outputs}): one matrix for each input{shared}"
        )
    if C.is_complex():
        raise BadInput(f"C is {C.dtype}; give real rows")
    if not bool(torch.isfinite(C).all()):
        raise BadInput("C contains NaN or infinity; give finite rows")
    return C.to(dtype=torch.float64, device=device)
