"""Brackets of critical radii that somebody published, held against ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from certify.core.distributions import BesidePublished, Distributions, Refuted
from certify.core.run import Run
from certify.core.stated import Bracket
from certify.errors import BadInput
from certify.summary.distribution import critical_radii

__all__ = ["beside_published"]


def beside_published(ours: Distributions, published: Mapping[str, Sequence[Bracket]]) -> Distributions:
    """The same with published brackets held against the runs that they name, by name or by model.

    Args:
        ours: the runs.
        published: brackets by model, as :func:`~certify.store.brackets.brackets_by_model` reads them.

    Raises:
        BadInput: where no run is named, or one twice; where an input has another label.
    """
    compared = tuple(_compared(run, model, published[model]) for run in ours.runs for model in _models(run, published))
    if not compared:
        theirs, named = ", ".join(list(published)[:10]), ", ".join(run.name for run in ours.runs)
        raise BadInput(
            f"the published brackets are about {theirs[:400]}, none of which is a run or a model here ({named})"
        )
    return replace(ours, published=compared)


def _models(run: Run, published: Mapping[str, object]) -> Sequence[str]:
    """The published name that stands for a run: its own name or that of its model, with ``.onnx`` or without."""
    model = run.settings.get("model")
    name = model.get("name") if isinstance(model, Mapping) else None
    ours = {text.removesuffix(".onnx") for text in (run.name, name) if isinstance(text, str)}
    found = [one for one in published if one.removesuffix(".onnx") in ours]
    if len(found) > 1:
        raise BadInput(f"published are several models for {run.name}: {', '.join(found)}; leave one of them")
    return found


def _compared(run: Run, model: str, published: Sequence[Bracket]) -> BesidePublished:
    sandwich, radii = run.summary.sandwich, critical_radii(run.summary.sandwich)
    by_position = {one.index: one for one in published}
    rows = [row for row, index in enumerate(sandwich.index.tolist()) if index in by_position]
    theirs = [by_position[int(sandwich.index[row])] for row in rows]
    for row, one in zip(rows, theirs, strict=True):
        if one.label is not None and one.label != sandwich.label[row]:
            raise BadInput(
                f"input {sandwich.index[row]} of {run.name} has label {sandwich.label[row]}, and {one.label} in the "
                "published brackets: they number other inputs"
            )
    lower, upper = radii.lower[rows], radii.upper[rows]
    ends = [one.ends for one in theirs]
    below, above = np.array([low for low, _ in ends]), np.array([high for _, high in ends])
    overlap = (lower <= above) & (below <= upper) & (below <= above)
    return BesidePublished(
        run=run.name,
        model=model,
        n=len(rows),
        overlap=int(overlap.sum()),
        lower_confirmed=int(np.count_nonzero((lower >= below) & (below > 0))),
        upper_confirmed=int(np.count_nonzero((upper <= above) & np.isfinite(above))),
        tightened=int(np.count_nonzero(overlap & ((lower > below) | (upper < above)))),
        crossed=tuple(sandwich.index[rows][below > above].tolist()),
        refuted=tuple(_refuted(sandwich.index[rows].tolist(), lower, upper, ends)),
    )


def _refuted(
    index: Sequence[int], lower: np.ndarray, upper: np.ndarray, theirs: Sequence[tuple[float, float]]
) -> Iterator[Refuted]:
    for position, proven, broken, (below, above) in zip(index, lower.tolist(), upper.tolist(), theirs, strict=True):
        if below > broken:
            yield Refuted(position, "lower", below, broken)
        if above < proven:
            yield Refuted(position, "upper", above, proven)
