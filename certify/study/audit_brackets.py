"""Robustness that others published for each input: every claim is attacked, a sample is proven again."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from certify.bounds.deadline import Deadline
from certify.bounds.importers.graph_module import GraphModule
from certify.core.audited import Audit, Audited, Standing
from certify.core.finding import Finding
from certify.core.legible import many
from certify.core.rounding import round_up
from certify.core.stated import Bracket, Stated
from certify.core.threats.lp import ThreatModel
from certify.core.values import plain, whole
from certify.data.batch import Batch
from certify.data.dataset import Dataset
from certify.device import as_alone
from certify.errors import BadInput, DataError, StoreError
from certify.models.classifier import Classifier
from certify.progress.observer import Observer, watching
from certify.store.brackets import read_brackets
from certify.store.tables import read_table
from certify.study.claims import TIMEOUT, make_folder, sampled, tally, why
from certify.study.radius_search import RadiusSearch, Shown, graph_if_any, searched

__all__ = ["audit_brackets"]

EXAMPLES: Final = "examples.jsonl"
"""The file of the examples that refute a claim: one finding a line."""

Write = Callable[[Finding], str]
"""Keeps a finding in a file, and returns the file's name; empty where no folder was given."""


@as_alone()
def audit_brackets(
    path: Path | str,
    classifier: Classifier,
    dataset: Dataset,
    norm: str,
    *,
    only: Mapping[str, str] | None = None,
    prove: int = 0,
    timeout: float = TIMEOUT,
    seed: int = 0,
    out: Path | str | None = None,
    workers: int = 1,
    progress: bool | Observer = False,
) -> Audit:
    """Attack every input that a table calls robust, at all its radii, and decide a sample by complete verification.

    Each input is attacked by PGD, and then by the witness search of complete verification if the model has a graph. An
    example counts if it lies within the radius, its distance rounded up, and inside the input box, and the classifier
    gives it another class than the label when it is executed alone. Examples also confirm claims of no robustness. An
    interrupt ends the audit early, with what is known by then.

    Args:
        path: the table, as :func:`~certify.store.brackets.read_brackets` reads it.
        classifier: the model that the table is about.
        dataset: the inputs, by their positions. Inputs of another shape than a network from a file reads are taken row
            by row, if they have as many features.
        norm: of the radii.
        only: columns and their values, which choose the rows about this model.
        prove: how many inputs that are called robust are decided, drawn evenly from the labels.
        timeout: seconds for each decision.
        seed: of the draw, and of the searches.
        out: a folder for ``examples.jsonl``, the examples that refute a claim, each written when it is found.
        workers: threads of decisions; no answer depends on it.
        progress: True shows how far it is.

    Raises:
        DataError: for a table that cannot be read, labels that are not those of the data, or radii in other units.
        BadInput: for an unknown norm, or settings that mean nothing.
        StoreError: if an example cannot be written.
    """
    if whole("prove", prove) < 0:
        raise BadInput(f"prove must be at least 0, got {prove}")
    threat = ThreatModel(norm, (0.0,), dataset.input_box)  # type: ignore[arg-type]
    limit, stated, batch = Deadline(timeout).seconds, read_brackets(path, only), _batch(classifier, dataset)
    rows = {position: row for row, position in enumerate(batch.index)}
    here = [one for one in stated if one.index in rows and any(row.verdict != "unknown" for row in one.stated)]
    _check(Path(path), here or stated, batch, rows, threat)
    classifier.check(batch.x)
    graph = graph_if_any(classifier, batch, required=prove > 0)
    how = RadiusSearch(classifier, graph, threat, limit, whole("seed", seed), whole("workers", workers))
    drawn = sampled([(f"{one.label}", f"{one.index}") for one in here if one.verified is not None], prove, seed)
    write, progress = _writer(None if out is None else make_folder(out)), watching(progress)
    found: list[Audited] = []
    try:
        with progress.stage("auditing", len(here)) as advance:
            for one in here:
                part = batch.rows(slice(rows[one.index], rows[one.index] + 1))
                for audited in _audited(one, part, f"{one.index}" in drawn, how, write):
                    found.append(audited)
                    progress.detail(str(audited))
                advance(1, tally(found))
    except KeyboardInterrupt:
        pass  # what is known so far is worth reporting, and the audit says that it is partial
    absent = sum(one.index not in rows for one in stated)
    silent = sum(row.verdict == "unknown" for one in here for row in one.stated)
    table = read_table(path)
    chosen = ", ".join(f"{column}={value}" for column, value in (only or {}).items())
    return Audit(
        about={
            "table": f"{table.path.name}  sha256 {table.digest[:12]}{f'  rows with {chosen}' if chosen else ''}",
            "model": f"{classifier.name}  sha256 {classifier.digest[:12]}",
            "data": f"{dataset.name}, {many(len(here), 'input')} of the table",
            "threat": str(threat.measured),
            "attacks": how.attacks,
            "proofs": f"{many(len(drawn), 'input')} drawn to be decided, {limit:g} s each, seed {seed}",
        },
        expected=sum(row.verdict != "unknown" for one in here for row in one.stated),
        claims=tuple(found),
        disputes=tuple(said for one in stated for said in _disputes(one, threat.norm)),
        notes=(
            *[f"{many(absent, 'input')} of the table that the data do not hold"] * bool(absent),
            *[f"{many(silent, 'verdict')} that say nothing: unknown"] * bool(silent),
        ),
    )


def _batch(classifier: Classifier, dataset: Dataset) -> Batch:
    """The inputs, in the shape that a network from a file reads if they have as many features."""
    x = dataset.x
    module = classifier.base.module
    for part in () if module is None else module.modules():
        if isinstance(part, GraphModule) and part.graph.shape != x.shape[1:]:
            if math.prod(part.graph.shape) == math.prod(x.shape[1:]):
                x = x.reshape(-1, *part.graph.shape)
            break
    return Batch.of(x, dataset.y, classifier.num_classes, dataset.positions)


def _check(path: Path, stated: Sequence[Bracket], batch: Batch, rows: Mapping[int, int], threat: ThreatModel) -> None:
    """Refuse a table that is about other inputs or in other units.

    Raises:
        DataError: naming the first such input.
    """
    assert batch.labels is not None
    if not any(one.index in rows for one in stated):
        raise DataError(f"{path} states nothing about any input of the data, which hold {many(len(rows), 'input')}")
    box = threat.input_box
    widest = math.inf if box is None else float(np.max(box.widths(batch.x[0].numel())))
    for one in stated:
        label = batch.labels[rows[one.index]] if one.index in rows else one.label
        if one.label is not None and label != one.label:
            line = f" line {one.stated[0].line}" if one.stated else ""
            raise DataError(
                f"{path}{line}: input {one.index} has label {one.label}, and in the data {label}; the inputs are "
                "numbered in another way, or come from another split"
            )
        for row in one.stated:
            if threat.norm == "linf" and row.eps > widest:
                raise DataError(
                    f"{path} line {row.line}: radius {row.eps:g} is wider than the input box {box}; if it counts "
                    f"steps of 8-bit pixels, write {row.eps:g}/255"
                )


def _disputes(one: Bracket, norm: str) -> Iterator[str]:
    """Where a table calls an input robust at a radius and not at one that is no larger."""
    broken = [row for row in one.stated if row.verdict == "not robust"]
    for row in one.stated:
        if row.verdict == "robust" and (below := next((other for other in broken if other.eps <= row.eps), None)):
            yield (
                f"input {one.index}: robust at {norm} {row.eps:g} (line {row.line}) and not robust at {below.eps:g} "
                f"(line {below.line})"
            )


def _audited(one: Bracket, part: Batch, drawn: bool, how: RadiusSearch, write: Write) -> Iterator[Audited]:
    """What becomes of the claims about one input."""
    begin, shown, failure = time.perf_counter(), Shown(), ""
    claims = [row for row in one.stated if row.verdict != "unknown"]
    try:
        shown = searched(claims, part, drawn, how)
    except Exception as problem:  # somebody else's model may raise anything
        failure = why(problem)
    seconds, file = time.perf_counter() - begin, ""
    standings = [(Standing.FAILED, failure) if failure else _standing(row, shown) for row in claims]
    if any(
        row.verdict == "robust" and standing is Standing.REFUTED
        for row, (standing, _) in zip(claims, standings, strict=True)
    ):
        assert shown.example is not None
        file = write(shown.example)
    for row, (standing, reason) in zip(claims, standings, strict=True):
        yield Audited(
            subject=f"input {one.index} at {how.threat.norm} {row.eps:g}",
            family="",
            claim=row.verdict,
            by=(),
            lines=(row.line,),
            standing=standing,
            how=reason,
            witness=file if row.verdict == "robust" and standing is Standing.REFUTED else "",
            seconds=seconds,
        )


def _standing(row: Stated, shown: Shown) -> tuple[Standing, str]:
    """Where a claim stands after the searches, and what that rests on."""
    broken, proven = shown.distance <= row.eps, shown.proven >= row.eps
    if broken:  # where float32 rounds across a boundary, it may lie within a radius that is proven for exact numbers
        assert shown.example is not None
        where = f"at distance {round_up(shown.distance)}" if shown.distance > 0 else "at the input itself"
        said = f"class {shown.example.adversarial_prediction} instead of {shown.example.label} {where}, executed again"
        return (Standing.REFUTED if row.verdict == "robust" else Standing.CONFIRMED), said
    if proven:
        return (Standing.CONFIRMED if row.verdict == "robust" else Standing.REFUTED), "proven by complete verification"
    return (Standing.HELD if row.verdict == "robust" else Standing.OPEN), shown.searched


def _writer(folder: Path | None) -> Write:
    """What appends findings to the file of examples in a folder, which begins empty."""
    if folder is None:
        return lambda found: ""
    file = folder / EXAMPLES

    def write(found: Finding) -> str:
        return _put(file, json.dumps(plain(found.to_dict())) + "\n", "a")

    _put(file, "", "w")
    return write


def _put(file: Path, text: str, mode: str) -> str:
    try:
        with file.open(mode, encoding="utf-8") as target:
            target.write(text)
    except OSError as problem:
        raise StoreError(f"cannot write {file} ({problem.strerror}); choose another --out") from problem
    return file.name
