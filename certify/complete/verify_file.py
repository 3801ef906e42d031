"""Verify a property file (VNN-LIB) of a network file (ONNX), and what ``certify verify`` can decide."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from certify.bounds.deadline import Deadline
from certify.bounds.graph import Graph
from certify.bounds.importers.onnx_file import OPSETS, OnnxFile, read_onnx
from certify.bounds.importers.onnx_import import import_file
from certify.bounds.radii.margins import claimable
from certify.bounds.rules.base import ONNX
from certify.complete.portfolio import Answer, decide
from certify.complete.problem import VerificationProblem, Witness
from certify.complete.query import PropertyFile
from certify.complete.reading.files import content_of, is_packed, read_property
from certify.complete.reading.witness import witness_text
from certify.complete.witnesses.execution import exactly, executed, stated
from certify.core.evidence import CLAIMS, Claim
from certify.core.values import one_of, whole
from certify.device import as_alone
from certify.errors import BadInput, ModelError, UnsupportedOperator

__all__ = ["CAPABILITIES", "Posed", "Seconds", "Verification", "posed", "verify_file"]


FOLDED = ("Constant", "ConstantOfShape")
"""Operators that need no bound rule, because their results do not depend on the network's input."""


CAPABILITIES: dict[str, Callable[[], Sequence[str]]] = {
    "onnx-opset-versions": lambda: (str(OPSETS[0]), str(OPSETS[-1])),
    "onnx-element-types": lambda: (
        "real",
        "float32 * proofs are about exact arithmetic, or with --claim float32 about every execution as well",
        "float64 * proofs are about exact arithmetic",
    ),
    "onnx-operators": lambda: sorted({*ONNX, *FOLDED}),
    "vnnlib-versions": lambda: ("1.0", "2.0"),
    "hidden-node-theories": lambda: ("NH",),
    "multiple-input-output-theories": lambda: ("SIO",),
    "multiple-network-theories": lambda: ("SNET",),
    "multiple-node-comparison-theories": lambda: ("MNC",),
    "arithmetic-complexity-theories": lambda: ("BND", "OUTC", "LIN"),
    "optimised-disjunctive-reasoning": lambda: ("true",),
    "serialise-assignments": lambda: ("false",),
}
"""What ``certify verify`` can decide, in the words of VNN-LIB 2.0's solver interface: the lines of each capability.

Lines are the ends of a range, all theories that hold, or a truth value; a star begins a remark. MNC: assertions may
compare inputs with outputs. Disjunctions are split over boxes and bounded together.
"""


class Seconds(NamedTuple):
    """Wall-clock seconds, and processor seconds of all threads and all workers that have ended together."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Seconds:
        """Both clocks now; only differences are meaningful."""
        ended = os.times()
        return cls(time.monotonic(), time.process_time() + ended.children_user + ended.children_system)

    def since(self, begin: Seconds) -> Seconds:
        """The time since an earlier reading."""
        return Seconds(self.wall - begin.wall, self.cpu - begin.cpu)


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """The result for two files.

    Args:
        answer: the outcome with its evidence.
        witness: the counterexample as text in the format of the property's version; empty unless ``"sat"``.
        reading: the time to read both files and check the import of the network.
        deciding: the time for the rest.
    """

    answer: Answer
    witness: str
    reading: Seconds
    deciding: Seconds


@as_alone()
def verify_file(
    network: Path | str,
    prop: Path | str,
    *,
    timeout: float | Deadline = 60.0,
    claim: Claim = "exact",
    seed: int = 0,
    workers: int = 1,
    name: str | None = None,
) -> Verification:
    """Find an input that satisfies a property together with its output, or prove that there is none.

    Args:
        network: an ONNX file, gzipped or not.
        prop: VNN-LIB 1.0 or 2.0, gzipped or not.
        timeout: seconds for everything, or a deadline that began earlier.
        claim: what ``"unsat"`` is about: ``"exact"``, the network in exact real arithmetic; ``"float32"``, also every
            float32 execution of it.
        seed: what the search for a witness draws from.
        workers: processes; no answer depends on it.
        name: the name that a VNN-LIB 2.0 property must give the network; None for any name.

    Raises:
        BadInput: if a file is missing or the property cannot be read, is about something else than this network,
            or allows no input; for a time limit that is no number above 0, a seed that is no whole number,
            or fewer than one worker.
        ModelError, UnsupportedOperator: as :func:`~certify.bounds.importers.onnx_import.import_onnx`.
        MissingExtra: without onnx and onnxruntime, or without vnnlib for VNN-LIB 2.0.

    >>> import tempfile
    >>> from onnx import TensorProto, helper
    >>> x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy")
    >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [x], [y])
    >>> model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    >>> folder = Path(tempfile.mkdtemp())
    >>> size = folder.joinpath("net.onnx").write_bytes(model.SerializeToString())
    >>> size = folder.joinpath("negative.vnnlib").write_text('''
    ... (declare-const X_0 Real) (declare-const Y_0 Real)
    ... (assert (>= X_0 -1)) (assert (<= X_0 1)) (assert (<= Y_0 -0.5))
    ... ''')
    >>> verify_file(folder / "net.onnx", folder / "negative.vnnlib").answer.outcome
    'unsat'
    """
    deadline = timeout if isinstance(timeout, Deadline) else Deadline(timeout)
    whole("seed", seed)
    if whole("workers", workers) < 1:
        raise BadInput(f"workers must be at least 1, got {workers}")
    begin = Seconds.now()
    asked = posed(network, prop, claim, name)
    ready = Seconds.now()
    answer = decide(asked.problem, deadline, workers=workers, seed=seed)
    text = "" if answer.witness is None else _text(answer.witness, asked.read)
    return Verification(answer, text, ready.since(begin), Seconds.now().since(ready))


@dataclass(frozen=True, slots=True, eq=False)
class Posed:
    """Two files after reading: the network with its runtime, the property, and the problem to decide."""

    file: OnnxFile
    read: PropertyFile
    problem: VerificationProblem


def posed(network: Path | str, prop: Path | str, claim: Claim, name: str | None = None) -> Posed:
    """Read a network and a property of it.

    Args:
        network, prop, claim, name: as in :func:`verify_file`.

    Raises:
        BadInput, ModelError, UnsupportedOperator, MissingExtra: as :func:`verify_file`.
    """
    one_of("claim", claim, CLAIMS)
    file = _network(Path(network))
    if (outputs := len(file.model.graph.output)) != 1:
        raise ModelError(f"{network} has {outputs} outputs; a property is about a network with one")
    graph = _imported(file)
    claimable(graph, claim)
    read = read_property(prop, math.prod(graph.shape), math.prod(graph.output.shape))
    _check_name(prop, read, name)
    return Posed(file, read, executed(read.query, file, graph, claim))


def _network(path: Path) -> OnnxFile:
    """The network file. Unless it is gzipped it is read by its path, because weights may lie in files beside it."""
    return read_onnx(content_of(path) if is_packed(path) else path)


def _imported(file: OnnxFile) -> Graph:
    """The graph of a file. In refusals, the advice after the semicolon is replaced by advice for this command."""
    try:
        return import_file(file)
    except UnsupportedOperator as problem:
        what = str(problem).rsplit("; ", 1)[0]
        raise UnsupportedOperator(f"{what}; `certify supports --onnx-operators` lists what can be read") from problem


def _check_name(prop: Path | str, read: PropertyFile, name: str | None) -> None:
    if name is not None and read.declared is not None and read.declared.network != name:
        raise BadInput(f"{prop} is about network {read.declared.network}, and --network names {name}")


def _text(witness: Witness, read: PropertyFile) -> str:
    """A witness as text, after one last exact check that it is a counterexample."""
    case = witness.case
    if case is None or not case.holds(stated(witness.x, case), exactly(witness.y), exactly(witness.x)):
        raise AssertionError("a search returned an input that is no counterexample; report it")
    return witness_text(witness.x, witness.y, case, read.declared)
