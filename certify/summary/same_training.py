"""Whether the models of several runs differ in their seed alone, or in the fold that their training left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from certify.core.legible import legible_line
from certify.core.run import Run
from certify.core.values import first_difference
from certify.errors import BadInput

__all__ = ["same_training", "trained_on"]


def same_training(runs: Sequence[Run]) -> tuple[str, list[Mapping[str, Any]]]:
    """In what models of one training differ, ``"seed"`` or ``"fold"``, and how each was trained.

    Raises:
        BadInput: for the same seed, fold or model twice, or runs that differ otherwise: the first difference is named.
    """
    trainings = [_training(run) for run in runs]
    by_kind = {training["fold"] is None: run for run, training in zip(runs, trainings, strict=True)}
    if len(by_kind) > 1:
        seed, fold = by_kind[True].name, by_kind[False].name
        raise BadInput(f"{seed} and {fold} are no replicates: the training of {fold} left out a fold, the other none")
    kind = "seed" if True in by_kind else "fold"
    for (run, one), (other, two) in combinations(zip(runs, trainings, strict=True), 2):
        _refuse_other(kind, (run, one), (other, two))
        if one[kind] == two[kind]:
            raise BadInput(f"{run.name} and {other.name} are both of {kind} {_shown(one[kind])}: name each once")
        if run.settings["model"]["digest"] == other.settings["model"]["digest"]:
            raise BadInput(f"{run.name} and {other.name} are of one model, which no two trainings end in: certify anew")
    return kind, trainings


def _training(run: Run) -> Mapping[str, Any]:
    """What a manifest says of how its model was trained, as far as it is needed."""
    said = run.context.get("training")
    if said is None:
        raise BadInput(f"{run.name} does not say how its model was trained: certify a folder of certify train")
    fold = said.get("fold") if isinstance(said, Mapping) else ()
    known = isinstance(said, Mapping) and type(said.get("seed")) is int
    if not known or not (fold is None or (isinstance(fold, list) and [*map(type, fold)] == [int, int])):
        raise BadInput(f"the manifest of {run.name} says nothing that can be read of how its model was trained")
    return {**said, "fold": fold}


def _refuse_other(kind: str, one: tuple[Run, Mapping[str, Any]], other: tuple[Run, Mapping[str, Any]]) -> None:
    """Refuse runs that differ in more than their seed, or their fold.

    Raises:
        BadInput: naming the first difference.
    """
    if found := first_difference(_description(kind, *one), _description(kind, *other)):
        name, here, there = found
        said = f"{name} is {_shown(here)} and {_shown(there)}"
    elif kind == "seed" and not one[0].summary.same_inputs(other[0].summary):
        said = "they are about different inputs"
    elif [row.radius for row in one[0].summary.rows] != [row.radius for row in other[0].summary.rows]:
        said = "they have different radii; name common --radii"
    else:
        return
    raise BadInput(f"{one[0].name} and {other[0].name} differ in more than the {kind}: {said}")


def _description(kind: str, run: Run, training: Mapping[str, Any]) -> dict[str, Any]:
    """All that has to be the same in two runs, as plain values, in the order in which differences are named."""
    same = {name: value for name, value in training.items() if name not in (kind, "validation")}
    if kind == "fold":
        same["folds"] = training["fold"][1]
    share = training.get("validation")
    settings, data = run.settings, run.settings["data"]
    attack = settings.get("attack")
    return {
        "training": {**same, "validation": share.get("share") if isinstance(share, Mapping) else share},
        "data": {"name": data["name"]} if kind == "fold" else {"name": data["name"], "digest": data["digest"]},
        "model": {name: value for name, value in settings["model"].items() if name not in ("name", "digest")},
        "threat": settings["threat"],
        "property": settings.get("property"),
        "certifier": {one["method"]: _without_seed(one) for one in settings["certifiers"]},
        "attack": None if attack is None else _without_seed(attack),
    }


def _without_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "seed"}


def _shown(value: Any) -> str:
    return legible_line(f"{value!r:.60}")


def trained_on(run: Run, training: Mapping[str, Any]) -> int:
    """How many inputs a model of a cross-validation was trained on: all but its fold and what was held out."""
    try:
        (fold, folds), whole = training["fold"], int(training["data"]["n"])
        count = whole - len(range(fold, whole, folds)) - int(training["validation"]["n"])
    except (KeyError, TypeError, ValueError):
        count = 0
    if count < 1:
        raise BadInput(f"the manifest of {run.name} does not say on how many inputs its model was trained")
    return count
