"""Verdicts of verification tools against searches of our own: every "unsat" is attacked, a sample is proven again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import torch

from certify.bounded.memory import NoRoom
from certify.bounds.deadline import Deadline
from certify.complete.portfolio import decide
from certify.complete.problem import Witness
from certify.complete.proofs.file import witness_fault
from certify.complete.reading.files import text_of
from certify.complete.reading.witness import read_witness, witness_text
from certify.complete.verify_file import Posed, posed
from certify.complete.witnesses.search import hunt
from certify.core.audited import Audit, Audited, Standing
from certify.core.legible import many
from certify.core.values import whole
from certify.core.whole import write_whole
from certify.device import as_alone
from certify.errors import BadInput, StoreError
from certify.progress.observer import Observer, watching
from certify.store.verdicts import Verdicts, read_verdicts
from certify.study.claimed_instances import ClaimedInstance, instances_of, named_witness, stem
from certify.study.claims import TIMEOUT, make_folder, sampled, tally, why

__all__ = ["audit_verdicts"]

Write = Callable[[ClaimedInstance, str], str]
"""Keeps the text of a counterexample in a file, and returns the file's name; empty where no folder was given."""

_SAT: Final = re.compile(r"\s*sat\b", re.IGNORECASE)
"""Some files of counterexamples begin with the verdict."""


@dataclass(slots=True)
class Shown:
    """What the searches about one instance came to.

    Args:
        witness: the text of a counterexample that was executed once more; empty where there is none.
        proven: by which step of the portfolio it was proven that there is none; empty where it was not.
        named: whether the counterexample is the one beside the table.
        fault: why the one beside the table is none; empty where it is one, or there is none.
        searched: what was done without success, in words.
    """

    witness: str = ""
    proven: str = ""
    named: bool = False
    fault: str = ""
    searched: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Search:
    """How instances are searched: seconds for each search, the seed, and how many threads."""

    timeout: float
    seed: int
    workers: int


@as_alone()
def audit_verdicts(
    path: Path | str,
    *,
    instances: Path | str | None = None,
    root: Path | str | None = None,
    tool: str | None = None,
    prove: int = 0,
    timeout: float = TIMEOUT,
    seed: int = 0,
    out: Path | str | None = None,
    workers: int = 1,
    progress: bool | Observer = False,
) -> Audit:
    """Attack every "unsat" of a table, prove a sample again, and look for the counterexample behind every "sat".

    A counterexample counts if onnxruntime's output at a point of the exact box satisfies the property in exact
    arithmetic, with no tolerance; its text is read back and executed once more before it refutes anything. An "unsat"
    that is attacked without success is not refuted, which proves nothing. A "sat" without a counterexample that holds
    is decided as ``certify verify`` does, and so is an instance that the table calls both. An interrupt ends the audit
    early, with what is known by then.

    Args:
        path: the table, as :func:`~certify.store.verdicts.read_verdicts` reads it.
        instances: rows NET.onnx,PROP.vnnlib,SECONDS of the files that the table is about. Names in the table may begin
            with further folders. None where the table's own names lead to the files.
        root: the folder where names begin; by default that of ``instances``, else that of the table. A file may be
            gzipped, with ``.gz`` behind its name.
        tool: whose verdicts these are; of a table with a column ``tool``, its rows alone are audited.
        prove: how many instances that are called unsat are decided, drawn evenly from the families.
        timeout: seconds for each search.
        seed: of the draw, and of the searches.
        out: a folder for the counterexamples that refute a claim, each written when it is found.
        workers: threads; no answer depends on it.
        progress: True shows how far it is.

    Raises:
        DataError: for a table that cannot be read.
        BadInput: for an instance that is not among ``instances``, or whose files are missing; a tool that is not in the
            table; settings that mean nothing.
        StoreError: if a counterexample cannot be written.
    """
    how = Search(Deadline(timeout).seconds, whole("seed", seed), whole("workers", workers))
    if whole("prove", prove) < 0:
        raise BadInput(f"prove must be at least 0, got {prove}")
    table, folder = _of_tool(read_verdicts(path), tool), Path(path if instances is None else instances).parent
    folder = folder if root is None else Path(root)
    asked, unasked = instances_of(table, instances, folder)
    claiming = [one for one in asked if one.claims]
    beside = {one.key: named_witness(one, folder, table.path) for one in claiming}
    drawn = sampled([(one.family, one.key) for one in claiming if one.claiming("unsat")], prove, seed)
    write, progress = _writer(None if out is None else make_folder(out)), watching(progress)
    found: list[Audited] = []
    try:
        with progress.stage("auditing", len(claiming), unit="instances") as advance:
            for one in claiming:
                for audited in _audited(one, beside[one.key], one.key in drawn, how, write):
                    found.append(audited)
                    progress.detail(str(audited))
                advance(1, tally(found))
    except KeyboardInterrupt:
        pass  # what is known so far is worth reporting, and the audit says that it is partial
    silent = len(asked) - len(claiming)
    notes = [f"{many(silent, 'instance')} with no claim but timeout, unknown or error"] * bool(silent)
    notes += [f"{many(unasked, 'instance')} of {instances} with no row in the table"] * bool(unasked)
    return Audit(
        about={
            "table": f"{table.path.name}  sha256 {table.digest[:12]}",
            **({"tools": ", ".join(table.tools)} if table.tools else {}),
            "searches": f"{how.timeout:g} s each, seed {seed}; {many(len(drawn), 'instance')} drawn to be proven again",
            "counted": "counterexamples in the exact box, by onnxruntime's output, with tolerance 0",
        },
        expected=sum(len(one.claims) for one in claiming),
        claims=tuple(found),
        disputes=tuple(_dispute(one) for one in claiming if len(one.claims) == 2),
        notes=tuple(notes),
    )


def _of_tool(table: Verdicts, tool: str | None) -> Verdicts:
    """The rows of one tool, if one is named; all of them where the table names no tools."""
    if tool is None:
        return table
    rows = tuple(replace(row, tool=tool) for row in table.rows if not table.tools or row.tool == tool)
    if not rows:
        raise BadInput(f"{table.path} has no row of the tool {tool!r}; it has {', '.join(table.tools)}")
    return replace(table, rows=rows)


def _dispute(one: ClaimedInstance) -> str:
    """That a table calls one instance both unsat and sat, and who does."""
    said = []
    for claim in one.claims:
        rows = one.claiming(claim)
        said.append(f"{claim} by {', '.join(row.tool or 'a tool' for row in rows)} (line {rows[0].line})")
    return f"{one.key}: {' and '.join(said)}"


def _audited(one: ClaimedInstance, beside: Path | None, drawn: bool, how: Search, write: Write) -> Iterator[Audited]:
    """What becomes of the claims about one instance."""
    begin, shown, failure = time.perf_counter(), Shown(), ""
    try:
        shown = _searched(one, beside, drawn, how)
    except Exception as problem:  # somebody else's files may raise anything
        failure = why(problem)
    seconds = time.perf_counter() - begin
    for claim in one.claims:
        rows = one.claiming(claim)
        standing, reason = (Standing.FAILED, failure) if failure else _standing(claim, shown)
        yield Audited(
            subject=one.key,
            family=one.family,
            claim=claim,
            by=tuple(dict.fromkeys(row.tool for row in rows if row.tool)),
            lines=tuple(row.line for row in rows),
            standing=standing,
            how=reason,
            witness=write(one, shown.witness) if claim == "unsat" and standing is Standing.REFUTED else "",
            seconds=seconds,
        )


def _standing(claim: str, shown: Shown) -> tuple[Standing, str]:
    """Where a claim stands after the searches, and what that rests on."""
    whose = "the counterexample beside the table" if shown.named else "a counterexample that was found here"
    fault = f"the counterexample beside the table is none ({shown.fault}); " if shown.fault else ""
    searched = ", ".join(shown.searched)
    if claim == "unsat":
        if shown.witness:
            return Standing.REFUTED, f"{whose}, executed again"
        if shown.proven:
            return Standing.CONFIRMED, f"proven again by {shown.proven}"
        return Standing.HELD, searched
    if shown.witness:
        return Standing.CONFIRMED, f"{fault}{whose}, executed again"
    if shown.proven:
        return Standing.REFUTED, f"{fault}proven by {shown.proven} that no input of the exact box is one"
    return Standing.OPEN, f"{fault}{searched}"


def _searched(one: ClaimedInstance, beside: Path | None, drawn: bool, how: Search) -> Shown:
    """Try the counterexample beside the table, then search; decide what is drawn, disputed or called sat."""
    asked, shown = posed(one.network, one.prop, "exact"), Shown()
    if beside is not None:
        _try(asked, text_of(beside), shown)
    if shown.witness:
        return shown
    if drawn or one.claiming("sat"):
        try:
            answer = decide(asked.problem, Deadline(how.timeout), workers=how.workers, seed=how.seed)
        except NoRoom as problem:  # an attack may take less
            shown.searched.append(f"not decided ({problem})")
        else:
            shown.witness = "" if answer.witness is None else _executed_again(asked, answer.witness)
            shown.proven = answer.solver if answer.outcome == "unsat" else ""
            short = answer.reason or f"no answer within {how.timeout:g} s"
            shown.searched.append(f"not decided ({short})")
        if shown.witness or shown.proven:
            return shown
    found = next((one for one in hunt(asked.problem, Deadline(how.timeout), how.seed) if one is not None), None)
    shown.witness = "" if found is None else _executed_again(asked, found)
    shown.searched.append(f"attacked for {how.timeout:g} s")
    return shown


def _try(asked: Posed, text: str, shown: Shown) -> None:
    """Take in a counterexample that somebody else states; one that is none may still lie beside one."""
    text = _SAT.sub("", text, count=1).strip()
    try:
        shown.fault = witness_fault(asked, text)
        if not shown.fault:
            shown.witness, shown.named = text, True
            return
        x = torch.tensor([float(value) for value in read_witness(text)[0]], dtype=torch.float64)
        if x.numel() == asked.read.query.inputs and bool(x.isfinite().all()):
            found = asked.problem.examine(x.reshape(1, *asked.problem.graph.shape))  # moved into the box
            shown.witness = "" if found is None else _executed_again(asked, found)
    except (BadInput, OverflowError) as problem:
        shown.fault = shown.fault or str(problem)


def _executed_again(asked: Posed, found: Witness) -> str:
    """The text of a witness, after what it states was read back, executed and compared with the property."""
    assert found.case is not None
    text = witness_text(found.x, found.y, found.case, asked.read.declared)
    if fault := witness_fault(asked, text):
        raise AssertionError(f"a search returned an input that is no counterexample; report it: {fault}")
    return text


def _writer(folder: Path | None) -> Write:
    """What writes counterexamples into a folder, under the names that the competition gives them."""
    taken: set[str] = set()

    def write(one: ClaimedInstance, text: str) -> str:
        if folder is None:
            return ""
        plain = re.sub(r"[^\w.+-]", "_", f"{stem(one.name[0])}_{stem(one.name[1])}", flags=re.ASCII)[:200]
        name = f"{plain}.counterexample"
        for number in range(2, len(taken) + 3):
            if name not in taken:
                break
            name = f"{plain}_{number}.counterexample"
        taken.add(name)
        try:
            write_whole(folder / name, f"{text}\n")
        except OSError as problem:
            raise StoreError(f"cannot write {folder / name} ({problem.strerror}); choose another --out") from problem
        return name

    return write
