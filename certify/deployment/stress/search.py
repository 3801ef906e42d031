"""Edge cases in the data's own neighbourhood: each search yields candidates, ranked within its kind."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from certify.corruptions.base import SEVERITIES, Corruption, Draws, fitting
from certify.corruptions.transforms import AlongThreat
from certify.deployment.opened import Opened
from certify.deployment.stress.boundary import first_crossing
from certify.progress.observer import Observer
from certify.summary.group_columns import groups_of

__all__ = ["Candidate", "candidates", "distinct", "margin_at"]

NEAR: Final = 1 / 256
"""Cases that differ by less than this share of the bounds in every feature count as one: a grey level of 8 bits."""


LARGE: Final = 1e30
"""Stands for the margin of scores that are not finite: they say nothing of a boundary, and come last."""


class Candidate(NamedTuple):
    """A case before it is examined.

    Args:
        measure: what its kind is ranked by.
        kind, source, parents: as in :class:`~certify.core.stressed.EdgeCase`.
        x: the input (...).
    """

    measure: float
    kind: str
    source: str
    parents: tuple[int, ...]
    x: Tensor


def candidates(there: Opened, group: tuple[str, list[Any]], watch: Observer) -> dict[str, list[Candidate]]:
    """All candidates by kind, the first of each kind the most telling one."""
    x, kinds = torch.from_numpy(there.inputs.x), [one for one in fitting(there.form) if isinstance(one, AlongThreat)]
    with watch.stage("searching", len(x)) as advance:
        answers = [int(there.classifier.predict(one[None])[0]) for one in x]
        found: list[Candidate] = []
        for row in range(len(x)):
            found += _between(there, x, answers, row)
            found += _transforms(there, x[row], answers[row], row, kinds)
            advance(1, "")
    found += [*_corners(there, x), *_groups(there, x, *group)]
    by_kind: dict[str, list[Candidate]] = {}
    for one in sorted(found, key=lambda one: (one.measure, one.parents, one.source)):
        by_kind.setdefault(one.kind, []).append(one)
    return by_kind


def distinct(by_kind: dict[str, list[Candidate]], there: Opened, count: int) -> list[Candidate]:
    """The best of each kind in turn, until there are ``count``, without those that are nearly one that is there."""
    if there.form.input_box is None:
        width = torch.ones(there.form.shape)
    else:
        lower, upper = there.form.ends
        width = (upper - lower).clamp(min=1e-30)
    kept: list[Candidate] = []
    waiting = {kind: iter(ranked) for kind, ranked in by_kind.items()}
    while waiting and len(kept) < count:
        for kind in list(waiting):
            new = next((one for one in waiting[kind] if _is_new(one.x, kept, width)), None)
            if new is None:
                del waiting[kind]
            elif len(kept) < count:
                kept.append(new)
    return kept


def _is_new(x: Tensor, kept: list[Candidate], width: Tensor) -> bool:
    return not any(bool((((x - one.x) / width).abs() < NEAR).all()) for one in kept)


def _between(there: Opened, x: Tensor, answers: list[int], row: int) -> Iterator[Candidate]:
    """The last point with the answer of an input on the way to the nearest input with another one."""
    if there.form.words is not None:
        return  # between two words there is none
    others = [place for place, answer in enumerate(answers) if answer not in (answers[row], -1)]
    if not others or answers[row] == -1:
        return
    apart = (x[others] - x[row]).flatten(1).double().norm(dim=1)
    nearest = others[int(apart.argmin())]
    step = x[nearest] - x[row]

    def path(shares: Tensor) -> Tensor:
        return _cut(there, x[row] + shares.reshape(-1, *[1] * step.dim()) * step)

    if (found := first_crossing(there.classifier, path, answers[row])) is not None:
        positions = there.inputs.positions[row], there.inputs.positions[nearest]
        far = float((found.x - x[row]).double().norm())
        source = f"{100 * found.at:.1f} % of the way from input {positions[0]} to input {positions[1]}"
        yield Candidate(far, "between", source, positions, found.x)


def _transforms(there: Opened, x: Tensor, answer: int, row: int, kinds: list[AlongThreat]) -> Iterator[Candidate]:
    """The weakest transform that changes the answer, as a share of severity 5: the last point before it does."""
    position, best = there.inputs.positions[row], None
    for kind in kinds if answer != -1 else ():
        most = kind.strength(SEVERITIES[-1], there.form)

        def path(shares: Tensor, kind: Corruption = kind, most: float = most) -> Tensor:
            draws = Draws(0, kind.name, "")
            return torch.stack([kind.apply(x, share * most, there.form, draws) for share in shares.tolist()])

        found = first_crossing(there.classifier, path, answer)
        if found is not None and (best is None or found.at < best.measure):
            best = Candidate(
                found.at,
                "transform",
                f"about {kind.amount(float(f'{found.at * most:.3g}'))} of {kind.noun} on input {position}",
                (position,),
                found.x,
            )
    if best is not None:
        yield best


def _corners(there: Opened, x: Tensor) -> Iterator[Candidate]:
    """The corners of the box that all features or the nearest bounds make, by the margin there."""
    if there.form.input_box is None or there.form.words is not None:
        return
    lower, upper = there.form.ends
    yield Candidate(margin_at(there, lower), "corner", "every feature at its lower bound", (), lower.clone())
    yield Candidate(margin_at(there, upper), "corner", "every feature at its upper bound", (), upper.clone())
    for row, one in enumerate(x):
        corner, position = torch.where(one - lower < upper - one, lower, upper), there.inputs.positions[row]
        yield Candidate(
            margin_at(there, corner),
            "corner",
            f"input {position} with every feature at its nearer bound",
            (position,),
            corner,
        )


def _groups(there: Opened, x: Tensor, column: str, groups: list[Any]) -> Iterator[Candidate]:
    """The inputs of the rarest group, by the margin there."""
    held = [set(map(str, groups_of(one))) for one in groups]  # of slices an input may be in several, or in none
    often = Counter(name for names in held for name in names)
    if not often:
        return
    rare = min(often, key=lambda name: (often[name], name))
    for row in (place for place, names in enumerate(held) if rare in names):
        position = there.inputs.positions[row]
        source = f"input {position} of the rarest group, {column} {rare} ({often[rare]} of {len(groups)})"
        yield Candidate(margin_at(there, x[row]), "group", source, (position,), x[row])


def _cut(there: Opened, points: Tensor) -> Tensor:
    if there.form.input_box is None:
        return points
    lower, upper = there.form.ends
    return points.maximum(lower).minimum(upper)


def margin_at(there: Opened, x: Tensor) -> float:
    """First score less second at one input; :data:`LARGE` where a score is not finite."""
    with torch.no_grad():
        first, second = there.classifier.base.scores(x[None])[0].double().topk(2).values.tolist()
    return first - second if math.isfinite(first - second) else LARGE
