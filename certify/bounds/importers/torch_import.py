"""From an ``nn.Module`` to a :class:`~certify.bounds.graph.Graph`, by ``torch.export``."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_map

from certify.bounds.agreement import agrees
from certify.bounds.graph import Graph, Node
from certify.bounds.importers.aliases import memory, written
from certify.bounds.importers.alone import NUMBERS, Number, check_alone, float32
from certify.bounds.importers.batch_axis import BATCHED, at_some_level, entries, independent, levelled
from certify.bounds.importers.builder import Builder
from certify.bounds.importers.comparison import Wide, branch_without_value, fewest_rows, probes
from certify.bounds.importers.constants import (
    CHOICES,
    MOVERS,
    UNWRITTEN,
    Inexact,
    computes,
    enclosed,
    exact,
    flat,
    lost,
    moved_error,
    plain,
    read_inexact,
)
from certify.bounds.importers.fuse import fused
from certify.bounds.importers.tracing import TRACED, trace
from certify.bounds.rules.base import ATEN, Call, MixesSamples, NotCovered, Value
from certify.bounds.rules.conversion import Integer
from certify.device import exactly
from certify.errors import CertifyError, ModelError, UnsupportedOperator, one_line

__all__ = ["import_module"]

MOVES = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze alias detach contiguous expand permute transpose t select "
    "slice _unsafe_view dropout feature_dropout movedim moveaxis swapaxes swapdims mT numpy_T narrow diagonal unfold "
    "view_as expand_as broadcast_to split split_with_sizes chunk tensor_split unbind hsplit vsplit dsplit getitem "
    "clone".split()
)
"""Operators that do not depend on the values."""

COMPARISONS = frozenset("gt ge lt le eq ne".split())

TRUTHS = MOVES | COMPARISONS | frozenset("to logical_not mul".split())
"""Operators that treat truth values like the numbers 0 and 1; sums do not."""

INTEGERS = MOVES | frozenset(
    "to add sub subtract rsub mul multiply neg negative abs sign square sum cumsum where cat concat concatenate stack "
    "masked_fill pad flip roll index index_select gather repeat tile relu clamp clip clamp_min clamp_max maximum "
    "minimum max min amax amin mm bmm matmul einsum zeros_like ones_like full_like".split()
)
"""Operators that compute integers from integers like floats from floats, within the range of their type."""

FILLING = frozenset({"fill_", "copy_", "zero_"})
"""Calls that overwrite all of their argument."""

TRIPPED = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors that a rule may raise on a form of its operator that nobody thought of."""

LARGEST = 2**24
"""Up to this, float32 represents all integers."""


def import_module(module: nn.Module, example_batch: Tensor, max_memory: int | None = None) -> Graph:
    """Read a module's forward pass as a graph of operators that have bound rules.

    The graph holds the module's own parameters, not copies, so training through bounds of the graph trains the module.
    It is compared with the module on random inputs before it is returned.

    Args:
        module: a network of one tensor (B, ...) to one tensor (B, ...), without randomness.
        example_batch: any batch (B, ...) of the right shape and dtype; its values do not matter.
        max_memory: approximate limit in bytes for the comparison, which takes at least one input; None for 256 MB.

    Raises:
        UnsupportedOperator: names the node, the operator, the source line, and the ways out.
        ModelError: if torch cannot trace the module, or the graph computes something else.

    >>> graph = import_module(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.zeros(1, 2))
    >>> [node.operator.kind for node in graph.nodes]
    ['linear', 'relu']
    """
    try:
        graph = _Reader(module, trace(module, example_batch)).read()
    except UnsupportedOperator as refusal:
        if not isinstance(refusal.__cause__, MixesSamples):
            raise
        graph = _of_one(module, example_batch, refusal)
    else:
        graph = _executed(graph, module, example_batch)
    _compare(graph, module, example_batch, max_memory)
    return graph


def _executed(graph: Graph, module: nn.Module, example_batch: Tensor) -> Graph:
    """The graph read from a batch of two, after checking that a batch of one gives the same: certificates need that.

    A trace fixes whatever depends on the batch size: numbers, constants, branches, axes of length 1.

    Raises:
        ModelError: if the model computes another function for one input.
        UnsupportedOperator: if it cannot be read from one input.
    """
    try:
        alone = _Reader(module, trace(module, example_batch, 1), samples=1).read()
    except UnsupportedOperator as refusal:  # some rules need two samples to tell the batch axis
        return _of_one(module, example_batch, refusal)
    if not graph.same_as(alone):
        raise ModelError(
            "what the model computes depends on how many inputs are in a batch: write it for one input at a time, or "
            "use smoothing"
        )
    return graph


def _of_one(module: nn.Module, example_batch: Tensor, refusal: UnsupportedOperator) -> Graph:
    """The graph of a module whose batch axis is not always in front, read from a batch of one.

    Raises:
        UnsupportedOperator: the refusal of the usual import, if samples of a batch depend on each other.
    """
    try:
        graph, pair = (_Reader(module, trace(module, example_batch, n), n).read() for n in (1, TRACED))
    except (UnsupportedOperator, ModelError) as problem:
        raise refusal from problem  # the first refusal names the actual obstacle
    if not independent(pair, TRACED):
        raise refusal
    return graph


class _Reader:
    """One pass over a traced program. ``results`` holds constants as tensors and other results as values.

    Args:
        module, program: the module and its trace.
        whole: the size of the traced batch if the whole batch is one sample of the graph; None if the graph is about
            single samples.
        samples: the size of the traced batch.
    """

    def __init__(
        self, module: nn.Module, program: ExportedProgram, whole: int | None = None, samples: int = TRACED
    ) -> None:
        self.program, self.whole, self.samples = program.graph, whole, samples
        self.memory = memory(program.graph)
        writes = (call for call in program.graph.nodes if _operator_name(call) != "detach_")
        self.overwritten = {self.memory[one] for call in writes for one in written(call)}
        signature = program.graph_signature
        self.paths = signature.inputs_to_parameters | signature.inputs_to_buffers
        self.paths |= signature.inputs_to_lifted_tensor_constants
        self.constants = self._parameters(module, program)
        self.results: dict[str, Any] = {}
        self.held: dict[Hashable, list[Any]] = {}
        self.builder: Builder | None = None

    @staticmethod
    def _parameters(module: nn.Module, program: ExportedProgram) -> Mapping[str, Tensor]:
        signature = program.graph_signature
        constants: dict[str, Tensor] = {}
        for name, path in signature.inputs_to_parameters.items():
            constants[name] = module.get_parameter(path)
        for name, path in signature.inputs_to_buffers.items():
            constants[name] = module.get_buffer(path)
        for name, path in signature.inputs_to_lifted_tensor_constants.items():
            constants[name] = program.constants[path]
        return constants

    def read(self) -> Graph:
        for call in self.program.nodes:
            if call.op == "placeholder":
                self._placeholder(call)
            elif call.op == "call_function":
                self._function(call)
            elif call.op == "get_attr":
                raise UnsupportedOperator(
                    f"node {next(iter(call.users)).name} calls a program of its own (a branch, a loop), which no rule "
                    "covers; write its operators out, or use smoothing, which needs no rules"
                )
        if self.builder is None:
            raise ModelError("the model has no input tensor")
        for call in self._reaching_the_output():
            if call.name in self.constants and self.memory[call] in self.overwritten:
                raise ModelError(
                    f"the model writes to its own {self.paths[call.name]} when it answers, so that an answer may "
                    "depend on those before it: write to a copy (.clone())"
                )
        return fused(self.builder.graph(self._output()))

    def _reaching_the_output(self) -> Iterator[fx.Node]:
        """The calls that the output depends on; others, such as a counter, may write in place."""
        left, seen = [self.program.output_node()], set[fx.Node]()
        while left:
            call = left.pop()
            if call not in seen:
                seen.add(call)
                left += call.all_input_nodes
                yield call

    def _placeholder(self, call: fx.Node) -> None:
        if call.name in self.constants:
            constant = self.constants[call.name]
            # Calls on constants are executed; one that writes to a weight must not change the module's own.
            self.results[call.name] = constant.detach().clone() if self.memory[call] in self.overwritten else constant
        elif self.builder is None:
            example = call.meta["val"]
            self.builder = Builder(example.dtype, example.device)
            leading = int(self.whole is None or self.whole == 1)
            self.results[call.name] = self.builder.begin(call.name, tuple(example.shape[leading:]), leading)
        else:
            raise ModelError(f"the model has a second input {call.name!r}; bounds need a function of one tensor")

    def _function(self, call: fx.Node) -> None:
        name = _operator_name(call)
        if name == "_assert_tensor_metadata":
            return
        try:
            arguments = {key: fx.node.map_arg(value, self._result) for key, value in _arguments(call).items()}
            if not any(isinstance(value, Value) for value in entries(arguments)):
                self.results[call.name] = made = self._fold(call)
                if isinstance(made, Inexact):
                    for changed in written(call):
                        self._rebind(call, changed, made)
                return
            arguments = {key: fx.node.map_arg(value, self._kept) for key, value in _arguments(call).items()}
            self.results[call.name] = result = self._apply(call, name, arguments)
        except CertifyError:
            raise
        except (NotCovered, *TRIPPED) as problem:
            why = str(problem) if isinstance(problem, NotCovered) else f"it cannot be read ({one_line(problem)})"
            raise UnsupportedOperator(
                f"node {call.name} ({name}{_source(call)}) has no rule: {why}; add one under "
                "certify/bounds/rules, or use smoothing, which needs none"
            ) from problem
        for changed in written(call):
            self._rebind(call, changed, result)

    def _rebind(self, call: fx.Node, changed: fx.Node, result: Any) -> None:
        """Make later reads of a tensor that was changed in place see the result; refuse later reads through views."""
        order = {node: place for place, node in enumerate(self.program.nodes)}
        for node in list(self.program.nodes)[: order[call]]:
            shared = node is not changed and self.memory[node] == self.memory[changed]
            if shared and any(order[user] > order[call] for user in node.users):
                raise UnsupportedOperator(
                    f"node {call.name} ({_operator_name(call)}{_source(call)}) changes {node.name} in place through a "
                    "view of it, which no rule covers; write the result to a new tensor, or use smoothing"
                )
        if not isinstance(result, (Value, Inexact)):
            raise UnsupportedOperator(
                f"node {call.name} ({_operator_name(call)}{_source(call)}) writes several results in place, which no "
                "rule covers; write them to new tensors, or use smoothing"
            )
        self.results[changed.name] = result

    def _result(self, node: fx.Node) -> Any:
        return self.results[node.name]

    def _kept(self, node: fx.Node) -> Any:
        """A result as it is now; a constant that is ever written to is copied before an operator stores it."""
        writable = self.memory[node] in self.overwritten
        return _each(partial(_kept, torch.clone if writable else None), self._result(node))

    def _apply(self, call: fx.Node, name: str, arguments: Mapping[str, Any]) -> Any:
        if name == "getitem":
            results, place = arguments["0"], arguments["1"]
            if place >= len(results):
                raise NotCovered(f"result {place} of the call before it cannot be used")
            return results[place]
        known = name if name in ATEN else name.removesuffix("_")
        if known not in ATEN:
            raise NotCovered(f"operator {name} is unknown")
        traced = call.meta["val"]
        for one in traced if isinstance(traced, (list, tuple)) else [traced]:
            if one.dtype.is_floating_point and one.dtype not in (torch.float32, torch.float64):
                raise NotCovered(f"it computes in {one.dtype}, which rounds: compute in float32 (.half(), autocast?)")
        if isinstance(traced, Tensor) and traced.dtype == torch.bool and known not in TRUTHS:
            raise NotCovered("its result is a truth value")
        _check_range(known, call)
        integer = isinstance(traced, Tensor) and traced.dtype != torch.bool and not traced.dtype.is_floating_point
        if integer:
            _check_integers(known, arguments)
        if self.whole is None:
            _check_squeeze(name, call)
        builder = self.builder
        assert builder is not None
        build, dtype = builder.adder(call.name, _source(call).strip(", ")), _precision(call, builder.dtype)
        if dtype == torch.float32:
            arguments = {key: _fitted(one) for key, one in arguments.items()}
        if known in COMPARISONS:
            dtype = _compared_in(call)
            sides = {key: one.to(dtype) for key, one in arguments.items() if isinstance(one, Tensor)}
            arguments = {**arguments, **sides}
        full = tuple((traced[0] if isinstance(traced, (list, tuple)) else traced).shape)
        batched = self.whole is not None and known in BATCHED

        def read(leading: int, arguments: Mapping[str, Any]) -> Any:
            if any(isinstance(value, Inexact) for _, value in flat(arguments)):
                return read_inexact(known, partial(read, leading), arguments, build)
            if leading and not batched and full[:1] != (self.whole or self.samples,):
                raise MixesSamples
            shape = full[leading:]
            result = ATEN[known](Call(name, arguments, dtype, shape, build, leading=leading))
            if isinstance(result, Value) and result.shape != shape:
                raise NotCovered(f"its rule makes samples of shape {result.shape}, torch {shape}")
            if integer and known not in MOVES and isinstance(result, Value):
                return build(Integer.of(traced.dtype), (result,))
            return result

        before = len(builder.nodes)
        result = read(1, arguments) if self.whole is None else at_some_level(read, arguments, build, batched=batched)
        if 1 in (self.whole, self.samples):  # checking one sample suffices and halves the work
            self._check_alone(call, known, result, builder.nodes[before:])
        return result

    def _check_alone(self, call: fx.Node, known: str, result: Any, nodes: Sequence[Node]) -> None:
        """Compare the operators for a call with the call itself on random numbers; equal calls only once.

        Raises:
            NotCovered: if the two differ.
        """
        builder, results = self.builder, result if isinstance(result, (list, tuple)) else [result]
        read = [node for node in call.all_input_nodes if isinstance(self._result(node), Value)]
        told = all(isinstance(one, (Value, Tensor)) for one in results)
        if builder is None or not told or any(not isinstance(node.meta["val"], Tensor) for node in read):
            return
        constants = [one for node in call.all_input_nodes if not isinstance(one := self._result(node), Value)]
        key = call.target, str(fx.node.map_arg((call.args, call.kwargs), self._known_by))
        changing = any(self.memory[node] in self.overwritten for node in call.all_input_nodes)
        if key in self.held and not changing:
            return
        self.held[key] = constants  # kept alive, since the key contains their ids
        # Some numbers in code are rounded to the type of the tensors they are combined with, others are not.
        ways = (float32, float) if _precision(call, builder.dtype) == torch.float32 else (float,)
        check_alone(
            partial(self._run_on, call, dict(zip(read, range(len(read)), strict=True))),
            [(self._result(node), node.meta["val"]) for node in read],
            nodes,
            results,
            self._numbers(call),
            ways,
            torch.float32 if known in ROUNDED else torch.float64,
            builder.device,
        )

    def _known_by(self, node: fx.Node) -> str:
        """A key for an argument of a call: shape and type of a result, identity of a constant."""
        one, like = self._result(node), node.meta.get("val")
        return (
            f"{one.shape} {one.leading} {like.dtype}" if isinstance(one, Value) and like is not None else f"{id(one)}"
        )

    def _run_on(
        self,
        call: fx.Node,
        places: Mapping[fx.Node, int],
        given: Sequence[Tensor],
        number: Number | None,
    ) -> Sequence[Tensor]:
        """Execute a call on given tensors; with ``number``, in float64, rounding the numbers in its code by it."""
        writes = bool(written(call))

        def changed(one: Any) -> Any:
            one = plain(one)
            if isinstance(one, float):
                return one if number is None else number(one)
            if one is torch.float32 and number is not None:
                return torch.float64
            if not isinstance(one, Tensor):
                return one
            one = one.detach().clone() if writes else one.detach()
            return one.double() if number is not None and one.dtype == torch.float32 else one

        def value(node: fx.Node) -> Any:
            if node in places:
                return given[places[node]]
            like = node.meta.get("val")  # a constant for one sample may stand for all
            whole = isinstance(like, Tensor) and isinstance(self._result(node), (Tensor, Inexact))
            return plain(self._result(node)).expand(like.shape) if whole else self._result(node)  # type: ignore[union-attr]

        args, kwargs = tree_map(changed, fx.node.map_arg((call.args, call.kwargs), value))
        left_out = {name: changed(one) for name, one in _defaults(call).items() if isinstance(one, float)}
        function: Callable[..., Any] = call.target  # type: ignore[assignment]
        try:
            with torch.no_grad():
                told = function(*args, **{**kwargs, **left_out})
        except (RuntimeError, IndexError, ValueError, TypeError) as problem:
            raise NotCovered(f"it refuses some numbers ({one_line(problem)})") from problem
        return told if isinstance(told, (list, tuple)) else [told]

    def _numbers(self, call: fx.Node) -> list[float]:
        """The numbers among a call's arguments, and the first entries of its constants."""
        found: list[float] = []
        for value in entries(_arguments(call)):
            one = plain(self._result(value)) if isinstance(value, fx.Node) else value
            if isinstance(one, Tensor) and one.dtype != torch.bool and not one.is_complex():
                found += one.detach().flatten()[:8].double().tolist()
            elif isinstance(one, (int, float)) and not isinstance(one, bool):
                found.append(float(one))
        return [one for one in found if abs(one) < NUMBERS]

    def _fold(self, call: fx.Node) -> Any:
        """A call on constants, such as a reshaped buffer, executed."""
        if torch.Tag.nondeterministic_seeded in getattr(call.target, "tags", ()):
            raise ModelError(f"the model draws random numbers ({_operator_name(call)}{_source(call)}); use smoothing")
        copied = torch.clone if written(call) else None
        given = {
            key: fx.node.map_arg(value, lambda node: _each(partial(_kept, copied), self._result(node)))
            for key, value in _arguments(call).items()
        }
        result = self._run(call, plain)
        if isinstance(result, Tensor) and result.requires_grad:
            raise UnsupportedOperator(
                f"node {call.name} ({_operator_name(call)}{_source(call)}) computes a weight from parameters in "
                "training; import under torch.no_grad() to certify, or store the weight itself to train it"
            )
        try:
            return self._with_error(call, given, result)
        except NotCovered as problem:
            raise UnsupportedOperator(f"node {call.name} ({_operator_name(call)}{_source(call)}): {problem}") from None

    def _run(self, call: fx.Node, change: Callable[[Any], Any]) -> Any:
        """Execute a call on constants, applying ``change`` to each first."""
        args, kwargs = fx.node.map_arg((call.args, call.kwargs), lambda node: _each(change, self._result(node)))
        function: Callable[..., Any] = call.target  # type: ignore[assignment]
        return function(*args, **kwargs)

    def _with_error(self, call: fx.Node, given: Mapping[str, Any], result: Any) -> Any:
        """A computed constant: as it is if it is exact, otherwise with its error.

        Raises:
            NotCovered: if nothing is known about how it is rounded.
        """
        known = _operator_name(call)
        name = known if known in ATEN or not known.endswith("_") else known.removesuffix("_")
        if name == "getitem":
            return given["0"][given["1"]]
        inexact = [entry for _, entry in flat(given) if isinstance(entry, Inexact)]
        if name in UNWRITTEN:
            first = next(iter(call.users), None)
            if first is None or _operator_name(first) not in FILLING or first.args[0] is not call:
                raise NotCovered("it is memory that nothing was written to; write torch.zeros")
            return torch.zeros_like(result)
        results = list(result) if isinstance(result, (list, tuple)) else [result]
        if not all(isinstance(one, Tensor) for one in results):
            if inexact:
                raise NotCovered("a number of Python is read from constants that are rounded; keep it in a tensor")
            return result
        if inexact and name in MOVERS:
            errors = self._run(call, lost)
            errors = list(errors) if isinstance(errors, (list, tuple)) else [errors]
            times = max(one.times for one in inexact)
            made = [Inexact(one, moved_error(error), times) for one, error in zip(results, errors, strict=True)]
            return made if isinstance(result, (list, tuple)) else made[0]
        numbers = [
            entry.detach() if isinstance(entry, Tensor) else torch.tensor(entry, dtype=torch.float64)
            for key, entry in flat(given)
            if isinstance(entry, (Tensor, float)) or (key == "other" and isinstance(entry, int))
        ]
        placed = name not in CHOICES or not computes(given)
        if not inexact and placed and all(exact(name, numbers, one.detach()) for one in results):
            return result
        if any(one.is_complex() for one in results):
            raise NotCovered("complex constants are computed, which no rule covers; store what is real of them instead")
        if len(results) > 1:
            raise NotCovered("several constants are computed and rounded; store them in the model instead")
        rule = dict(ATEN).get(name)
        number = results[0] if results[0].is_floating_point() else results[0].to(torch.float32)
        one = enclosed(name, rule, given, number)
        if not bool((one.error > 0).any()):
            return result
        if not results[0].is_floating_point():
            raise NotCovered("truth values depend on how constants are rounded; store them in the model instead")
        return one

    def _output(self) -> Value:
        [outputs] = self.program.output_node().args
        results = [self._result(node) for node in outputs if isinstance(node, fx.Node)]
        if len(results) != 1 or not isinstance(results[0], Value):
            raise ModelError("the model must return one tensor that depends on its input")
        assert self.builder is not None
        try:
            return levelled(results[0], int(self.whole in (None, 1)), self.builder.adder("output", ""))
        except MixesSamples:
            raise ModelError(
                f"the model returns {results[0].shape} for a batch of 1; put the batch axis of its output in front"
            ) from None


ROUNDED = frozenset({"celu", "selu"})
"""Operators with built-in constants, which each type rounds differently."""


def _precision(call: fx.Node, dtype: torch.dtype) -> torch.dtype:
    """The type to which torch rounds Python numbers, and single float64 numbers, in a call."""
    tensors = [one for node in call.all_input_nodes if isinstance(one := node.meta.get("val"), Tensor)]
    floats = [one for one in tensors if one.dtype.is_floating_point]
    deciding = [one for one in floats if one.dim()] or floats
    return torch.float64 if any(one.dtype == torch.float64 for one in deciding) else dtype


def _fitted(value: Any) -> Any:
    """A single float64 number, rounded as torch does when it is combined with float32."""
    single = isinstance(value, Tensor) and value.dim() == 0 and value.dtype == torch.float64
    return value.to(torch.float32) if single else value


def _compared_in(call: fx.Node) -> torch.dtype:
    """The type in which torch compares; float64 for integers and truth values, which it represents exactly."""
    sides: list[Any] = [one.meta["val"] if isinstance(one, fx.Node) else one for one in call.args[:2]]
    empty = [torch.empty((1,) * one.dim(), dtype=one.dtype) if isinstance(one, Tensor) else one for one in sides]
    common = torch.result_type(*empty)
    return common if common.is_floating_point else torch.float64


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    return [change(one) for one in value] if isinstance(value, list) else change(value)


def _kept(copied: Callable[[Tensor], Tensor] | None, value: Any) -> Any:
    """A constant, copied by ``copied`` unless that is None."""
    if copied is None:
        return value
    if isinstance(value, Inexact):
        return replace(value, value=copied(value.value))
    return copied(value) if isinstance(value, Tensor) else value


def _operator_name(call: fx.Node) -> str:
    """``"linear"`` for ``aten.linear.default``; an operator of another library keeps its library's name."""
    if getattr(call.target, "namespace", "aten") != "aten":
        return str(call.target)
    return str(getattr(call.target, "_opname", None) or getattr(call.target, "__name__", call.target))


def _arguments(call: fx.Node) -> dict[str, Any]:
    """All arguments by name, defaults filled in from the operator's schema."""
    schema = getattr(call.target, "_schema", None)
    if schema is None:
        return {str(i): value for i, value in enumerate(call.args)} | dict(call.kwargs)
    given = _given(call)
    return {argument.name: given.get(argument.name, argument.default_value) for argument in schema.arguments}


def _given(call: fx.Node) -> dict[str, Any]:
    """The arguments that a call passes, by name."""
    schema = getattr(call.target, "_schema", None)
    names = [] if schema is None else [argument.name for argument in schema.arguments]
    return dict(zip(names, call.args, strict=False)) | dict(call.kwargs)


def _defaults(call: fx.Node) -> dict[str, Any]:
    """The arguments that a call leaves at their defaults."""
    return {name: value for name, value in _arguments(call).items() if name not in _given(call)}


def _check_integers(known: str, arguments: Mapping[str, Any]) -> None:
    """Refuse an integer result that floats would not reproduce exactly, such as powers and quotients."""
    if known not in INTEGERS:
        raise NotCovered("its result is an integer")
    for value in entries(arguments):
        if known in MOVES and isinstance(value, int):
            continue  # a place, such as the far end of a slice
        given = value.detach() if isinstance(value, Tensor) else torch.tensor(value) if isinstance(value, int) else None
        if given is not None and not given.is_floating_point() and bool((given.double().abs() > LARGEST).any()):
            raise NotCovered(f"it reads integers beyond {LARGEST}, which float32 rounds")


def _check_squeeze(name: str, call: fx.Node) -> None:
    """Refuse to squeeze an axis that is the batch axis for a single input."""
    if name in ("squeeze", "squeeze_"):
        axes = len(call.meta["val"].shape)
        dims = entries({"dim": _arguments(call).get("dim")})
        if any(dim is None or dim == 0 or dim <= -axes for dim in dims):
            raise MixesSamples("it drops the batch axis where there is one input: name another axis")


def _check_range(known: str, call: fx.Node) -> None:
    """Refuse whole numbers that the type of an integer tensor may not hold: they would wrap around."""
    if known in MOVES:
        return
    tensors = [one for node in call.all_input_nodes if isinstance(one := node.meta.get("val"), Tensor)]
    types = {one.dtype for one in tensors if one.dim() and not (one.dtype.is_floating_point or one.dtype == torch.bool)}
    singles = [one for one in tensors if not one.dim() and not one.dtype.is_floating_point and one.dtype not in types]
    numbers = [one for one in entries(_arguments(call)) if isinstance(one, int) and not isinstance(one, bool)]
    for dtype in types:
        ends = torch.iinfo(dtype)
        if dtype != torch.int64 and (
            any(one.dtype != torch.bool for one in singles)
            or not all(ends.min <= number <= ends.max for number in numbers)
        ):
            raise NotCovered(f"it reads a whole number that {dtype} may not hold")


def _source(call: fx.Node) -> str:
    """``", net.py:12"``: the innermost line of the user's own code, or of torch's if there is none."""
    lines = re.findall(r'File "(.+?)", line (\d+)', call.meta.get("stack_trace") or "")
    own = [entry for entry in lines if "/torch/" not in entry[0]] or lines
    return f", {own[-1][0]}:{own[-1][1]}" if own else ""


def _compare(graph: Graph, module: nn.Module, example_batch: Tensor, max_memory: int | None = None) -> None:
    """Refuse a graph that differs from the module, in its own type or in float64.

    Both batches and single inputs are compared, and the module is called twice to detect state and randomness.
    """
    own, exact = copy.deepcopy(module), copy.deepcopy(module).double()

    rows = fewest_rows(graph.nodes)
    every = probes(graph.shape, example_batch.device, widest=graph.widest, rows=rows).to(graph.dtype)

    def answers(rows: slice) -> list[Tensor]:
        x = every[rows]
        try:
            with torch.no_grad(), exactly(example_batch.device):
                with Wide():
                    expected, again = (exact(x.clone().double()) for _ in range(2))
                runs = [expected, own(x.clone().to(graph.dtype))]
        except Exception as problem:  # somebody else's code may raise anything
            raise ModelError(f"the model refuses a batch of shape {tuple(x.shape)}: {one_line(problem)}") from problem
        if any(run.shape != (len(x), *graph.output.shape) for run in runs):
            shape = tuple(expected.shape)
            raise ModelError(f"the model returns {shape} for a batch of {len(x)}; a batch axis is missing")
        if not torch.equal(expected.nan_to_num(), again.nan_to_num()):
            raise ModelError(DIFFERENT)
        return runs

    for x in (every, every[:1]):
        if not agrees(graph, x, answers, graph.dtype, least=2, max_memory=max_memory):
            raise ModelError(branch_without_value(graph, x, lambda rows: answers(rows)[1]) or DIFFERENT)


DIFFERENT = (
    "the imported graph does not compute what the model computes; "
    "look for state or randomness that changes between calls, or use smoothing"
)
