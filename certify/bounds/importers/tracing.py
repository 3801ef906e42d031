"""Trace a module with ``torch.export``, without its log output, and simplify the traced program."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import logging
import operator
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from certify.bounds.importers.aliases import memory, written
from certify.bounds.importers.batch_first import BatchFirst, keep_batch_first
from certify.bounds.importers.decompositions import spelled_out
from certify.bounds.importers.executed import check_executed
from certify.errors import CertifyError, ModelError, UnsupportedOperator, one_line

__all__ = ["TRACED", "inline_regions", "trace"]

TRACED = 2
"""Samples in the traced batch: an axis of any other size is not the batch axis."""


def trace(module: nn.Module, example_batch: Tensor, samples: int = TRACED) -> ExportedProgram:
    """The program of a module's forward pass for batches of ``samples`` samples like those of the example.

    Raises:
        ModelError: if the module refuses such a batch, or torch cannot trace it.
    """
    if any(isinstance(one, torch.jit.ScriptModule) for one in module.modules()):
        raise ModelError("TorchScript is not traced: give the nn.Module that it was made from, or use smoothing")
    shape = (samples, *example_batch.shape[1:])
    example = torch.zeros(shape, dtype=example_batch.dtype, device=example_batch.device)
    _check_answers(module, example)
    try:
        with _silence(), BatchFirst():
            # Tracing may store tensors without values in attributes, so a copy is traced; parameters are not copied.
            exported = torch.export.export(copy.deepcopy(module, _held(module)), (example,))
            _check_dropout(exported.graph)
            if samples == 1:  # which certificates are about
                check_executed(module, exported, example)
            program = spelled_out(exported)
    except CertifyError:
        raise
    except Exception as problem:  # torch documents no narrower class
        raise ModelError(
            f"torch.export cannot trace the model on inputs of shape {shape[1:]} ({one_line(problem)}): "
            "remove data-dependent Python code, or use smoothing, which needs no tracing"
        ) from problem
    inline_regions(program.graph_module)
    keep_batch_first(program.graph)
    return program


def _held(module: nn.Module) -> dict[int, Tensor]:
    return {id(one): one for one in itertools.chain(module.parameters(), module.buffers())}


def _check_dropout(graph: fx.Graph) -> None:
    """Refuse in-place writes to the input or result of dropout: in evaluation they are one tensor, unlike in traces.

    Raises:
        UnsupportedOperator: if there are any.
    """
    shared = memory(graph)
    overwritten = {shared[one] for call in graph.nodes for one in written(call)}
    for call in graph.nodes:
        if "dropout" in str(call.target) and shared[call] in overwritten:
            raise UnsupportedOperator(
                f"node {call.name} has no rule: the model writes in place to what dropout returned or was given; write "
                "to a copy, or use smoothing"
            )


def _check_answers(module: nn.Module, example: Tensor) -> None:
    """Refuse inputs that the module itself refuses, quoting it; a trace would blame tracing.

    A copy is called, because answering may change state; the global random generator is restored.

    Raises:
        ModelError: quoting the module; or naming what it returns, if that is no tensor.
    """
    devices = [example.device] if example.device.type == "cuda" else []
    try:
        with _silence(), torch.no_grad(), torch.random.fork_rng(devices):
            answer = copy.deepcopy(module)(example.clone())
    except CertifyError:
        raise
    except Exception as problem:  # somebody else's code may raise anything
        raise ModelError(
            f"the model refuses inputs of shape {tuple(example.shape[1:])} and type {example.dtype}: "
            f"{one_line(problem)}; a batch of {len(example)} was tried"
        ) from problem
    if not isinstance(answer, Tensor):
        keys = f" with {', '.join(map(repr, answer))}" if isinstance(answer, Mapping) else ""
        raise ModelError(
            f"the model must return one tensor, and returns a {type(answer).__name__}{keys}; "
            "wrap it in a module that returns the one to bound"
        )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress warnings, log lines and output on stderr, and restore the previous settings afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


REGIONS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}
"""Calls that wrap a region (``torch.no_grad``, ``torch.autocast``), with the place of its program among the arguments.

The arguments after that are the region's inputs. The effect of autocast remains visible: results have a narrower type.
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
            continue  # refused later, by its name
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
