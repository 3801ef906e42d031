"""Proof files: an answer with its evidence, which others can check against the network and the property."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from certify.bounded import files
from certify.bounded.texts import from_json
from certify.bounds.ibp import propagate
from certify.bounds.region import Region
from certify.bounds.tensors import Interval
from certify.complete.problem import VerificationProblem
from certify.complete.proofs.replay import Progress, replayed
from certify.complete.proofs.text import packed, unpacked
from certify.complete.reading.files import content_of
from certify.complete.reading.witness import read_witness
from certify.complete.verify_file import Posed, Verification, posed
from certify.complete.witnesses.execution import exactly, floats_of
from certify.core.evidence import CLAIMS, Claim
from certify.core.whole import write_whole
from certify.errors import BadInput, UnsupportedOperator, one_line

__all__ = ["Checked", "check_proof", "witness_fault", "write_proof"]

FORMAT = "certify proof 1"

LIBRARIES = ("certify", "torch", "onnx", "onnxruntime")
"""Packages whose versions are recorded."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of checking an answer.

    Args:
        outcome: the answer, ``"sat"`` or ``"unsat"``.
        claim: what ``"unsat"`` is about.
        fault: why it is not confirmed; empty if it is confirmed.
    """

    outcome: str
    claim: Claim
    fault: str

    @property
    def confirmed(self) -> bool:
        """Whether the answer was derived again."""
        return not self.fault


def write_proof(
    path: Path, found: Verification, network: Path | str, prop: Path | str, *, claim: Claim, seed: int
) -> None:
    """Write an answer with its evidence (proof or witness) and the digests of the files it is about.

    The file is JSON. ``network`` and ``property`` hold the SHA-256 of the files' content, unpacked.

    Args:
        path: where to.
        found: the result for the two files.
        network, prop, claim, seed: as given to :func:`~certify.complete.verify_file.verify_file`.

    Raises:
        BadInput: if a file cannot be read or written.
    """
    answer = found.answer
    content = {
        "format": FORMAT,
        "network": {"file": Path(network).name, "sha256": _digest(network)},
        "property": {"file": Path(prop).name, "sha256": _digest(prop)},
        "claim": claim,
        "outcome": answer.outcome,
        "solver": answer.solver,
        "subproblems": answer.subproblems,
        "seed": seed,
        "seconds": round(found.reading.wall + found.deciding.wall, 3),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "witness": found.witness or None,
        "proof": None if answer.proof is None else packed(answer.proof),
    }
    try:
        write_whole(path, json.dumps(content, indent=1) + "\n")
    except OSError as problem:
        raise BadInput(f"cannot write {path} ({problem.strerror}); choose another file for the proof") from problem


def check_proof(
    path: Path, network: Path | str, prop: Path | str, progress: Progress = lambda done, total: None
) -> Checked:
    """Derive an answer again from its evidence, without any search.

    ``"unsat"`` is confirmed if the proof refutes every clause over every region, with all bounds computed again in
    float64 with error terms. ``"sat"`` is confirmed if onnxruntime's output at the stated input makes it a
    counterexample in exact arithmetic, and the stated output equals it or differs only as another order of summation
    could. Nothing that the file says is trusted.

    Args:
        path: what :func:`write_proof` wrote.
        network, prop: the files that the answer should be about.
        progress: called with the number of leaves bounded and the total.

    Raises:
        BadInput: if the file is no answer, or states neither ``"sat"`` nor ``"unsat"``.
        BadInput, ModelError, UnsupportedOperator, MissingExtra: for the two files, as
            :func:`~certify.complete.verify_file.verify_file`.
    """
    content = _read(path)
    outcome, claim = content.get("outcome"), content.get("claim")
    evidence = content.get({"sat": "witness", "unsat": "proof"}.get(str(outcome), ""))
    if claim not in CLAIMS or not isinstance(evidence, str):
        raise BadInput(f"{path} has no evidence to check: it states {str(outcome)[:20]!r}")
    for kind, file in (("network", network), ("property", prop)):
        about = content.get(kind)
        if not isinstance(about, dict) or about.get("sha256") != _digest(file):
            return Checked(str(outcome), claim, f"it is about another {kind} than {file}: the SHA-256 differs")
    asked = posed(network, prop, claim)
    try:
        fault = witness_fault(asked, evidence) if outcome == "sat" else _proof_fault(asked, evidence, progress)
    except BadInput as problem:
        fault = str(problem)
    return Checked(str(outcome), claim, fault)


def _proof_fault(asked: Posed, text: str, progress: Progress) -> str:
    shown = replayed(asked.problem, unpacked(text), progress)
    missing = int((~shown).sum())
    return f"the proof leaves {missing:,} of {shown.numel():,} clauses open" if missing else ""


def witness_fault(asked: Posed, text: str) -> str:
    """Why a text is no counterexample to the property; empty if it is one.

    Raises:
        BadInput: for a text that cannot be read.
        ModelError: if the network cannot be run.
    """
    x, y = read_witness(text)
    query, file = asked.read.query, asked.file
    for numbers, count, kind in ((x, query.inputs, "inputs"), (y, query.outputs, "outputs")):
        if len(numbers) != count:
            return f"the witness has {len(numbers)} {kind}, and the network has {count}"
    given, claimed = _floats(x, file.dtype), _floats(y, torch.float64)
    if given is None or claimed is None:
        return "the witness states numbers that are no floats"
    ran = file.run(given.reshape(1, *file.shape)).flatten()
    if not bool(ran.isfinite().all()):
        return "the network's output at the witness is not finite"
    other = (claimed.to(ran.dtype) != ran).nonzero().flatten().tolist()
    if other and not _may_be_executed(asked.problem, given, claimed):
        i = other[0]
        return f"the witness states the output Y_{i} = {claimed[i]:.9g}, and onnxruntime gives {ran[i]:.9g}"
    executed, outputs = exactly(given.numpy()), exactly(ran.numpy())
    holding = [case for case in query.cases if case.holds(x, outputs, executed)]
    for case in holding:
        lower, upper = floats_of(case.lower, case.upper, file.dtype)
        if bool(((lower <= given) & (given <= upper)).all()):
            return ""
    if holding:
        return "the stated input cannot be executed: it rounds to one outside of the box"
    return "the stated input is no counterexample"


def _floats(numbers: Sequence[Fraction], dtype: torch.dtype) -> Tensor | None:
    """Numbers rounded via float64, as any reader of decimals would; None if one is beyond the largest float."""
    try:
        found = torch.tensor([float(v) for v in numbers], dtype=torch.float64).to(dtype)
    except OverflowError:
        return None
    return found if bool(found.isfinite().all()) else None


@torch.no_grad()
def _may_be_executed(problem: VerificationProblem, x: Tensor, y: Tensor) -> bool:
    """Whether some float32 execution may output y at x: another machine may sum, and so round, in another order.

    Each output must lie in the bounds of the claim "float32" at this single point.
    """
    if problem.graph.dtype != torch.float32:
        return False
    point = x.double().reshape(1, *problem.graph.shape)
    try:
        layers = propagate(problem.exact, Region(Interval(point, point)), claim="float32")
    except UnsupportedOperator:
        return False
    box = layers.boxes[problem.graph.output.name]
    void = layers.void(slice(None))
    inside = (box.lower.flatten() <= y) & (y <= box.upper.flatten())
    return bool(inside.all()) and (void is None or not bool(void.any()))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = from_json(files.content_of(path))
    except OSError as problem:
        raise BadInput(f"cannot read {path}: {problem.strerror}") from problem
    except ValueError as problem:
        raise BadInput(f"{path} is no JSON: {one_line(problem)}") from problem
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BadInput(f"{path} is no proof: its format is not {FORMAT!r}")
    return content


def _digest(path: Path | str) -> str:
    """SHA-256 of a file's content, unpacked if it is gzipped."""
    return hashlib.sha256(content_of(path)).hexdigest()
