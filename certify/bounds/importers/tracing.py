"""``torch.export`` on a batch of two, with its own account of what fails kept out of sight."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import logging
import warnings
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from certify.bounds.importers.aliases import memory, written
from certify.bounds.importers.batch_first import BatchFirst, keep_batch_first
from certify.bounds.importers.decompositions import spelled_out
from certify.bounds.importers.executed import check_executed
from certify.bounds.importers.regions import inline_regions
from certify.errors import CertifyError, ModelError, UnsupportedOperator, one_line

__all__ = ["TRACED", "trace"]

TRACED = 2
"""Samples in the traced batch: an axis of another size is not the batch."""


def trace(module: nn.Module, example_batch: Tensor, samples: int = TRACED) -> ExportedProgram:
    """The program of a module's forward pass, for batches of so many samples like those of an example.

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
            # A trace fills attributes of what it runs with tensors that have no numbers; parameters are not copied.
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
    """Refuse writes in place to what dropout returned, or was given: in evaluation they are one, and no trace says so.

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
    """Refuse inputs that the module itself refuses, in its own words: a trace reports them as a fault of tracing.

    A copy is asked, because an answer may change state, and no random number is used up.

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
    """No warnings, no log lines and nothing on stderr; what was in force before is in force again afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
