"""Many verification instances, each a network, a property and a time limit: decided by workers, and resumed."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from certify.bounded.files import content_of, opened, text_room
from certify.bounded.texts import strictly_from_json
from certify.core.legible import legible_line, many
from certify.core.schema import read
from certify.core.values import plain
from certify.engines.base import Engine, Lost, tried_twice
from certify.errors import BadInput, CertifyError, StoreError, one_line
from certify.progress.observer import Observer, watching

__all__ = ["Decided", "Instance", "read_instances", "table_of", "verify_instances"]

OUTCOMES: Final = ("sat", "unsat", "unknown", "timeout", "error")

BEGINS: Final = '{"network": '
"""How every line of answers begins: a last line that does not is no answer that was cut, and stays as it is."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One row of an instances file.

    Args:
        network, prop: the files, as the row names them.
        timeout: seconds.
        folder: where the names begin: the folder of the instances file.
    """

    network: str
    prop: str
    timeout: float
    folder: Path

    @property
    def digests(self) -> tuple[str, str]:
        """SHA-256 of the two files as they are now: an answer is about contents. Empty where one cannot be read."""
        return _digest(self.folder / self.network), _digest(self.folder / self.prop)


@dataclass(frozen=True, slots=True)
class Decided:
    """What came out for one instance.

    Args:
        network, prop, timeout: the instance.
        network_digest, prop_digest: SHA-256 of the two files.
        claim, seed: as it was asked for.
        outcome: ``"sat"``, ``"unsat"``, ``"unknown"``, ``"timeout"`` or ``"error"``.
        seconds: what it took.
        reason: why there is no answer, in words; empty for ``"sat"`` and ``"unsat"``.
        witness: the counterexample as text; empty unless ``"sat"``.
    """

    network: str
    prop: str
    timeout: float
    network_digest: str
    prop_digest: str
    claim: str
    seed: int
    outcome: Literal["sat", "unsat", "unknown", "timeout", "error"]
    seconds: float
    reason: str
    witness: str

    @property
    def question(self) -> tuple[str | int | float, ...]:
        """All that its answer is to."""
        return self.network, self.prop, self.timeout, self.network_digest, self.prop_digest, self.claim, self.seed


def read_instances(path: Path | str) -> list[Instance]:
    """The rows ``NET.onnx,PROP.vnnlib,SECONDS`` of a file, as competitions give them; names begin at its folder.

    Raises:
        BadInput: for a file that cannot be read, or a row that says something else; the message names it.
    """
    path = Path(path)
    try:
        rows = list(csv.reader(content_of(path, text_room()).decode("utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise BadInput(f"cannot read instances {path} ({reason}); check the path") from problem
    found = [_instance(path, line, row) for line, row in enumerate(rows, 1) if row]
    if not found:
        raise BadInput(f"{path} names no instance; give a row NET.onnx,PROP.vnnlib,SECONDS for each")
    if repeated := [
        key for key, often in Counter((one.network, one.prop, one.timeout) for one in found).items() if often > 1
    ]:
        raise BadInput(f"{path} names {repeated[0][0]},{repeated[0][1]} twice; give each instance once")
    return found


def _instance(path: Path, line: int, row: Sequence[str]) -> Instance:
    try:
        network, prop, seconds = (cell.strip() for cell in row)
        timeout = float(seconds)
    except ValueError as problem:
        raise BadInput(
            f"{path}, line {line}: expected NET.onnx,PROP.vnnlib,SECONDS, got {','.join(row)!r:.80}"
        ) from problem
    if not 0 < timeout < float("inf"):
        raise BadInput(f"{path}, line {line}: the time limit must be above 0 seconds, got {seconds}")
    return Instance(network, prop, timeout, path.parent.absolute())


def verify_instances(
    instances: Iterable[Instance],
    out: Path | str,
    engine: Engine,
    *,
    claim: str = "exact",
    seed: int = 0,
    progress: bool | Observer = False,
) -> list[Decided]:
    """Decide what is not decided yet, and append each answer to a file as soon as it is there.

    Args:
        instances: what to decide.
        out: a file of one JSON object a line; answers in it to the same questions, about files of the same contents,
            are kept. Errors are tried again, which appends a line: the last one about an instance counts.
        engine: where the work is done.
        claim, seed: as for :func:`~certify.complete.verify_file.verify_file`.
        progress: True shows how far it is.

    Returns:
        The answers, in the order of the instances.

    Raises:
        StoreError: if the file cannot be written, or holds something else.
    """
    instances, progress, out = list(instances), watching(progress), Path(out)
    questions = {one: (one.network, one.prop, one.timeout, *one.digests, claim, seed) for one in instances}
    kept = {one.question: one for one in _kept(out) if one.outcome != "error"}
    done = {one: kept[asked] for one, asked in questions.items() if asked in kept}
    pending = [one for one in instances if one not in done]
    work, told = partial(_decided, claim, seed), Counter(one.outcome for one in done.values())
    earlier = len(instances) - len(pending)
    with progress.stage("verifying", len(instances), earlier, "instances") as advance, engine.crew(work) as crew:
        for instance, made in tried_twice(crew, pending):
            if isinstance(made, Lost):
                made = {"outcome": "error", "seconds": 0.0, "reason": made.reason, "witness": ""}
            done[instance] = one = Decided(*questions[instance], **made)
            _append(out, one)
            told[one.outcome] += 1
            progress.detail(f"{one.network} {one.prop}: {one.outcome} {one.reason}".rstrip())
            advance(1, "  ".join(f"{told[outcome]} {outcome}" for outcome in OUTCOMES if told[outcome]))
    return [done[one] for one in instances]


def table_of(found: Sequence[Decided]) -> str:
    """How many instances ended how, and how long they took; then those without an answer, and why.

    >>> print(table_of([Decided("n.onnx", "p.vnnlib", 60.0, "", "", "exact", 0, "unsat", 1.5, "", "")]))
    1 instance: 1 unsat; 1.5 seconds in all
    """
    counts = Counter(one.outcome for one in found)
    told = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in OUTCOMES if counts[outcome])
    seconds = sum(one.seconds for one in found)
    lines = [f"{many(len(found), 'instance')}: {told}; {seconds:,.1f} seconds in all"]
    width = max(len(one.outcome) for one in found)
    lines += [
        legible_line(f"  {one.outcome:<{width}}  {one.network} {one.prop}{': ' if one.reason else ''}{one.reason}")
        for one in found
        if one.outcome not in ("sat", "unsat")
    ]
    return "\n".join(lines)


def _decided(claim: str, seed: int, instance: Instance) -> Mapping[str, Any]:
    """In a worker: the answer for one instance, as plain values."""
    from certify.complete.verify_file import verify_file

    begin = time.perf_counter()
    network, prop = instance.folder / instance.network, instance.folder / instance.prop
    try:
        found = verify_file(network, prop, timeout=instance.timeout, claim=claim, seed=seed)  # type: ignore[arg-type]
        answer, reason, witness = str(found.answer.outcome), found.answer.reason, found.witness
    except Exception as problem:  # somebody else's files may raise anything
        answer, reason, witness = "error", str(problem) if isinstance(problem, CertifyError) else one_line(problem), ""
    return {"outcome": answer, "seconds": time.perf_counter() - begin, "reason": reason, "witness": witness}


def _digest(path: Path) -> str:
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, CertifyError):  # its own row says why
        return ""


def _append(out: Path, one: Decided) -> None:
    try:
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain(asdict(one))) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise StoreError(f"cannot write to {out} ({problem.strerror}); what is in it is kept") from problem


def _kept(out: Path) -> list[Decided]:
    """Answers in a file; a last line that an interruption cut is left out, and written again."""
    if not out.exists():
        return []
    try:
        text = content_of(out, text_room()).decode("utf-8")
        whole, cut = text.rpartition("\n")[::2]
        found = [read(Decided, strictly_from_json(line)) for line in whole.splitlines()]
        if cut and not (cut.startswith(BEGINS) or BEGINS.startswith(cut)):
            raise ValueError(f"its last line is {cut!r:.40}")
        if cut:
            with out.open("r+b") as file:
                file.truncate(len(text.encode()) - len(cut.encode()))
    except (OSError, TypeError, ValueError, BadInput) as problem:
        raise StoreError(
            f"{out} holds no answers of this command ({one_line(problem)}); name another file"
        ) from problem
    return found
