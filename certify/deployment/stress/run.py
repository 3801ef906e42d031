"""A stress test of a run: edge cases with empty labels, the shape of falls, and costs under load."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from certify.attacks.smoothed import Smoothed
from certify.attacks.target import Plain
from certify.core.legible import many
from certify.core.rounding import percent_down
from certify.core.stressed import EdgeCase, Stressed
from certify.core.whole import writing
from certify.corruptions.base import SEVERITIES
from certify.data.dataset import input_digest
from certify.deployment.answers import NONE, answers_under, chosen
from certify.deployment.opened import Opened, opened
from certify.deployment.stress.falls import FLAT, STEEP, fall_of, level_of
from certify.deployment.stress.load import loads
from certify.deployment.stress.search import candidates, distinct, margin_at
from certify.device import described
from certify.errors import BadInput
from certify.models.transformed import beside
from certify.progress.observer import Observer, watching
from certify.stats.simultaneous import check_delta
from certify.summary.group_columns import group_column, in_order, whole_size

__all__ = ["saved", "stress_run"]


def stress_run(
    path: Path | str,
    corruptions: Sequence[str] | None = None,
    *,
    out: Path | str | None = None,
    count: int = 50,
    group: str = "label",
    load: bool = False,
    seed: int = 0,
    samples: int = 100,
    delta: float = 0.05,
    model: str | None = None,
    data: str | None = None,
    progress: bool | Observer = False,
) -> Stressed:
    """Search edge cases about a run's inputs, measure how accuracy falls under corruptions, and write the cases.

    Two files are written: the record ``OUT.json``, whose cases have an empty ``expected`` for people to fill in, and
    ``OUT.npz`` with the inputs. Once filled in, the data SPEC ``stress:OUT.json`` loads them.

    Args:
        path: the run folder, finished or not.
        corruptions: whose falls are measured; None for all that fit the inputs.
        out: name of the record, which ends in ``.json``; ``stress.json`` in the run folder if None.
        count: edge cases at most.
        group: what makes an input rare: ``label``, ``FILE.csv:COLUMN``, ``FILE.npz:ARRAY`` or ``slices:FILE.csv``.
        load: whether times and memory of the model are measured, apart from everything else.
        seed: of what corruptions draw.
        samples: votes about each corrupted input, where the certified model is smoothed.
        delta: probability with which some interval of a fall may miss.
        model, data: SPECs in place of the manifest's; naming a Python function lets it run.
        progress: True shows how far it is.

    Raises:
        StoreError: for no run folder.
        BadInput: for a corruption that is unknown or does not fit, fewer than one case, a group that is not there,
            another property than the top class, or a file that cannot be written.
        CertifyError: for models and data that cannot be loaded, or are others than the run's.
    """
    watch, record = watching(progress), Path(path) / "stress.json" if out is None else Path(out)
    check_delta(delta)
    if count < 1 or samples < 1:
        raise BadInput(f"count and samples must be at least 1, got {count} and {samples}")
    if record.suffix != ".json":
        raise BadInput(f"the record of a stress test is a file .json, got {record}")
    there = opened(path, samples=samples, model=model, data=data)
    summary, positions = there.first.run.summary, there.inputs.positions
    column, of = group_column(group, summary.sandwich, whole_size(there.first.run.settings["data"]))
    known = dict(zip(summary.sandwich.index.tolist(), of, strict=True)) if not isinstance(of, dict) else of
    groups = in_order(column, known, positions)
    kinds = chosen(there, corruptions)
    answers = answers_under(there, kinds, seed, watch)
    level, before = level_of(delta, len(kinds)), answers[NONE].right[:, :1]
    falls = []
    for kind in kinds:
        strengths = tuple(kind.strength(severity, there.form) for severity in (0, *SEVERITIES))
        amounts = {strength: kind.amount(strength) for strength in strengths}
        right = np.concatenate([before, answers[kind.name].right], axis=1)
        falls.append(fall_of(kind.name, right, strengths, amounts, level))
    by_kind = candidates(there, (column, groups), watch)
    best = distinct(by_kind, there, count)
    box = there.form.input_box
    found = Stressed(
        cases=tuple(_examined(there, row, one) for row, one in enumerate(best)),
        found={kind: len(ranked) for kind, ranked in by_kind.items()},
        falls=tuple(falls),
        confidence=1 - delta,
        contradictions=tuple(one for made in answers.values() for one in made.contradictions),
        load=loads(there.classifier, torch.from_numpy(there.inputs.x)) if load else (),
        machine=f"{described(there.classifier.device)}, {many(torch.get_num_threads(), 'thread')}" if load else "",
        inputs=record.with_suffix(".npz").name,
        num_classes=there.classifier.num_classes,
        input_box=None if box is None else box.to_json(),
        pinned={
            "model_digest": there.first.run.settings["model"]["digest"],
            "data_digest": there.first.run.settings["data"]["digest"],
            "seed": seed,
            "samples": None if isinstance(there.first.target, Plain) else samples,
        },
        head={name: text for name, text in summary.head.items() if name in ("model", "data", "met")},
        statement=_statement(there, len(kinds), delta, samples),
    )
    saved(found, np.stack([one.x.numpy() for one in best]) if best else None, record)
    return found


def saved(found: Stressed, x: Any, record: Path) -> None:
    """Write the inputs, and then the record.

    Raises:
        BadInput: if a file cannot be written.
    """
    try:
        if x is not None:
            content = io.BytesIO()
            np.savez(content, x=x)
            with writing(record.with_suffix(".npz")) as file:
                file.write(content.getvalue())
        with writing(record) as file:
            file.write(f"{json.dumps(found.to_dict(), allow_nan=False, indent=1)}\n".encode())
    except OSError as problem:
        raise BadInput(f"cannot write {record} ({problem.strerror}); choose another file") from problem


def _examined(there: Opened, row: int, one: Any) -> EdgeCase:
    """A case with what the certified model answers there now, asked about it alone."""
    first, digest = there.first, input_digest(one.x.numpy())
    [answer] = first.examine(beside(one.x[None], first.threat), 0, f"stress:1:{digest}")
    margin = margin_at(there, one.x)
    return EdgeCase(row, digest, one.kind, one.source, one.parents, one.measure, margin, answer.prediction)


def _statement(there: Opened, corruptions: int, delta: float, samples: int) -> tuple[str, ...]:
    """What is promised, a sentence each."""
    smoothed = isinstance(there.first.target, Smoothed)
    votes, whose = (
        (f" and the votes ({samples:,} about each)", f" of the vote of {samples:,} draws") if smoothed else ("", "")
    )
    return (
        f"With probability at least {percent_down(1 - delta)} % over the draw of the {len(there.inputs):,} "
        f"inputs{votes}, every fall of accuracy{whose} on new inputs, between neighbouring severities and from "
        f"none to severity 5 of {many(corruptions, 'corruption')}, lies inside its interval at once; the inputs are "
        "assumed to be independent draws from one source, new ones come from there, and the model, the corruptions and "
        "the seed are fixed.",
        f"Sudden: some part, by the lower end of its interval, is steeper than {STEEP:g} times the whole fall by its "
        "upper end. Graceful: no part is, the ends the other way round. Flat: the whole fall is at most "
        f"{100 * FLAT:g} points by its upper end. Open: these inputs do not decide it.",
        "Edge cases were found by a search, which promises nothing: others may be nearer. Their expected labels are "
        "left for people.",
    )
