"""Instances of data/verification and data/planted, and an independent judge of answers to them.

Nothing of the search is used to judge: a witness is read back from the text that was printed, its input rounded to
float32, compared with the decimals of the property as exact fractions, and executed by onnxruntime as it is by default.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from certify.complete.query import Query
from certify.complete.reading.files import read_query
from certify.complete.reading.witness import read_witness
from certify.errors import CertifyError

FOLDER: Final = Path(os.environ.get("CERTIFY_BENCH_DATA", Path(__file__).parents[1] / "../shared/data"))

NO_EXACT_WITNESS: Final = ("witness_tol1e-4", "vote_only")
"""Evidence for ``sat`` that is no witness inside the exact box: a strict tool may truthfully say unsat."""

OPEN: Final = ("unknown", "timeout", "error")


@dataclass(frozen=True, slots=True)
class Instance:
    """One question, and what is known about its answer."""

    benchmark: str
    onnx: str
    vnnlib: str
    expected: str
    evidence: str

    @property
    def files(self) -> tuple[Path, Path]:
        """The network and the property."""
        folder = FOLDER / ("planted" if self.benchmark == "planted" else "verification")
        return (folder / self.onnx).resolve(), folder / self.vnnlib


def instances(*, planted: bool = False) -> Iterator[Instance]:
    """All of a folder, in its own order; planted ones have a witness that was replayed."""
    if planted:
        for row in rows_of(FOLDER / "planted/expected.csv"):
            yield Instance("planted", row["onnx"], row["vnnlib"], row["expected"], "witness_exact")
    else:
        for row in rows_of(FOLDER / "verification/expected.csv"):
            yield Instance(*(row[name] for name in ("benchmark", "onnx", "vnnlib", "expected", "evidence")))


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def verdict(instance: Instance, printed: str) -> tuple[str, str]:
    """What an answer counts as, and why.

    ``solved``; ``relabelled``, a valid witness where the label says unsat; ``disputed``, unsat where no witness inside
    the exact box is known; ``unscored``, unsat where nobody knows; ``wrong``; or unknown, timeout, error.
    """
    said, _, witness = printed.partition("\n")
    match said:
        case "sat":
            fault = fault_of(instance, witness)
            if fault:
                return "wrong", fault
            return (
                ("relabelled", "a witness, and the label is unsat") if instance.expected == "unsat" else ("solved", "")
            )
        case "unsat" if instance.expected == "sat":
            loose = instance.evidence in NO_EXACT_WITNESS
            return ("disputed", instance.evidence) if loose else ("wrong", "unsat, and there is a witness")
        case "unsat":
            return ("solved", "") if instance.expected == "unsat" else ("unscored", "nobody knows")
    return (said, "") if said in OPEN else ("error", f"answered {said!r}")


def fault_of(instance: Instance, text: str) -> str:
    """What is wrong with a printed witness; nothing if it is one."""
    network, prop = instance.files
    try:
        x, stated = read_witness(text)
    except CertifyError as unreadable:
        return str(unreadable)
    session, given = _session(network)
    if len(x) != prod(given):
        return f"{len(x)} inputs, and the network has {prod(given)}"
    kind = np.float32 if session.get_inputs()[0].type == "tensor(float)" else np.float64
    numbers = np.array([float(value) for value in x]).astype(kind)
    y = session.run(None, {session.get_inputs()[0].name: numbers.reshape(given)})[0].reshape(-1)
    if len(stated) != len(y):
        return f"{len(stated)} outputs, and the network has {len(y)}"
    query = read_query(prop, len(x), len(y))
    if not np.isfinite(y).all():
        return "its output is not finite"
    if not _holds(query, x, y):
        return "no counterexample as printed"
    return "" if _holds(query, x, y, numbers) else "no counterexample as it is executed"


def _holds(query: Query, x: Any, y: Any, executed: Any = None) -> bool:
    """Whether an input is of any case with its output: as printed, or as executed wherever the box has room for it."""
    exact = [Fraction(v) for v in y.tolist()]
    for case in query.cases:
        point = x
        if executed is not None:
            ends = zip(x, executed, case.lower, case.upper, strict=True)
            point = [Fraction(v.item()) if _room(v.dtype.type, low, high) else text for text, v, low, high in ends]
        if case.holds(point, exact):
            return True
    return False


def _room(kind: Any, low: Fraction, high: Fraction) -> bool:
    """Whether any float is between two numbers."""
    first = kind(float(low))
    first = first if Fraction(first.item()) >= low else np.nextafter(first, kind(np.inf))
    return Fraction(first.item()) <= high


def _session(network: Path) -> tuple[Any, list[int]]:
    """The network in onnxruntime on one thread, and the shape of one input."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(network), options, ["CPUExecutionProvider"])
    return session, [size if isinstance(size, int) else 1 for size in session.get_inputs()[0].shape]
