"""``improve``: where a run loses certified accuracy, and what to do next, the most promising first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from certify.core.run import Run
from certify.errors import BadInput, IncompleteRun
from certify.registry import Registry
from certify.study.improve.base import RULES, WORTH, Advice, Case
from certify.study.improve.commands import UNKNOWN, commands_of
from certify.study.improve.explanation import Explanation
from certify.study.improve.losses import losses_of
from certify.study.improve.origin import Origin, origin_of
from certify.study.improve.records import spent_and_votes
from certify.study.read import certificates_of, read_run
from certify.summary.group_columns import group_column, in_order, whole_size

__all__ = ["IMPROVEMENT_FORMATS", "Improvement", "case_of", "improve"]


@dataclass(frozen=True, slots=True, eq=False)
class Improvement:
    """What all rules say of a run.

    Args:
        case: what they looked at.
        advice: what they say; what may move certified accuracy most comes first, and of the same what trains nothing.
        notes: what is not known, or was left out, and what that means.
        explained: the weakest inputs, where that was asked for.
    """

    case: Case
    advice: tuple[Advice, ...]
    notes: tuple[str, ...]
    explained: tuple[Explanation, ...] = ()

    @property
    def run(self) -> Run:
        """The run."""
        return self.case.run

    @property
    def fall(self) -> str:
        """Between which two radii certified accuracy falls most, in words; empty for one radius."""
        losses = self.case.losses
        steps = [(one.certified - other.certified, one, other) for one, other in pairwise(losses)]
        if not steps:
            return ""
        fallen, one, other = max(steps, key=lambda step: step[0])
        threat = self.run.summary.threat
        where = f"between {threat.number(one.radius)} and {threat.number(other.radius)}"
        lost = 1 - losses[0].certified
        if lost >= fallen:
            return f"most is lost at {threat.number(losses[0].radius)} already: {100 * lost:.1f} points"
        return f"certified accuracy falls most {where}: {100 * fallen:.1f} points"

    @property
    def closing(self) -> str:
        """What it means where no rule says anything; empty otherwise."""
        if self.advice:
            return ""
        lost = 1 - sum(one.certified for one in self.case.above) / len(self.case.above)
        if lost < WORTH:
            return f"nothing to improve: {100 * lost:.1f} points are lost on average over the radii above 0"
        return (
            f"no rule explains the {100 * lost:.1f} points that are lost on average over the radii above 0: the table "
            "says where they are lost, and --explain 8 shows the weakest inputs"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; shares are fractions."""
        case = self.case
        return {
            "run": self.run.name,
            "threat": self.run.summary.threat.to_dict(),
            "n": case.n,
            "clean": self.run.summary.clean,
            "losses": [{"radius": one.radius, "certified": one.certified, **one.shares} for one in case.losses],
            "accuracy_under_noise": None if case.votes is None else case.votes.accuracy,
            "largest_certifiable": None if case.votes is None else case.votes.sampling.cap,
            "origin": None if case.origin is None else case.origin.recipe,
            "frozen": case.frozen,
            "advice": [one.to_dict() for one in self.advice],
            "notes": [*self.notes, *filter(None, [self.closing])],
            "explained": [one.to_dict() for one in self.explained],
        }

    def render(self, format: str) -> str:
        """The same as text in a registered format: ``table``, ``json``, ``markdown``."""
        return IMPROVEMENT_FORMATS[format](self)

    def __str__(self) -> str:
        return self.render("table")

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


IMPROVEMENT_FORMATS: Registry[Callable[[Improvement], str]] = Registry("improve format", package="certify.report")


def improve(path: Path | str, *, groups: Sequence[str] = (), frozen: bool = False) -> Improvement:
    """Read a finished run and say what to do next; nothing is computed on a model, and nothing is trained.

    Args:
        path: the run folder.
        groups: what inputs are grouped by besides their label: ``FILE.csv:COLUMN`` or ``FILE.npz:ARRAY``.
        frozen: whether the model may not be trained again.

    Raises:
        IncompleteRun: for a run that is not finished.
        BadInput: for a published log, which has no model, and for a segmentation.
        StoreError: for no run folder, a damaged one, or one without any record.
    """
    case, notes = case_of(read_run(path), groups, frozen)
    said = [advice for rule in RULES for advice in RULES[rule](case)]
    said.sort(key=lambda one: (-one.reach, one.trains))
    return Improvement(case, tuple(said), notes)


def case_of(run: Run, groups: Sequence[str] = (), frozen: bool = False) -> tuple[Case, tuple[str, ...]]:
    """All that rules look at, and notes about what is not known; see :func:`improve`."""
    assert run.path is not None
    summary = run.summary
    if "published" in summary.methods:
        raise BadInput(f"{run.path} is a published log without model and data: there is nothing to train or run again")
    if summary.property.by_pixel:
        raise BadInput(f"{run.path} is about the pixels of images, and recipes train models of one class an input")
    if not summary.complete:
        done = summary.n if summary.attacked is None else min(summary.n, summary.attacked)
        raise IncompleteRun(
            f"{run.path} is not finished, {done:,} of {summary.expected:,} inputs: the same certify run command resumes"
        )
    spent, votes = spent_and_votes(certificates_of(run.path))
    origin, unknown = _origin(run)
    case = Case(
        run=run,
        losses=losses_of(run, votes, None if votes is None else votes.sampling.cap),
        votes=votes,
        spent=spent,
        origin=origin,
        commands=commands_of(run.settings, run.context, origin, str(run.path)),
        groups=_groups(run, ["label", *(one for one in groups if one != "label")]),
        frozen=frozen,
    )
    return case, tuple(_notes(case, unknown))


def _origin(run: Run) -> tuple[Origin | None, str]:
    specs = run.context.get("specs")
    spec = specs.get("model") if isinstance(specs, Mapping) else None
    if not isinstance(spec, str):
        return None, "the manifest does not say where its model lies, and nothing says how it was trained"
    return origin_of(spec, str(run.settings["model"]["digest"]), run.context.get("training"))


def _notes(case: Case, unknown: str) -> list[str]:
    notes, summary = [], case.run.summary
    if unknown:
        notes.append(f"{unknown[0].upper()}{unknown[1:]}; rules that need it are silent.")
    said = (
        ""
        if not case.attacked
        else f", {100 * (summary.rows[-1].empirical or 0):.1f} % under attack at the largest radius"
    )
    which, noisy = ("the", "") if case.votes is None else ("the smoothed", f" {_under_noise(case)}")
    notes.append(f"Clean accuracy of {which} model: {100 * summary.clean:.1f} %{said}.{noisy}")
    if not (case.trainable or (case.votes is not None and case.votes.sampling.noise == "ablation")):
        how = f"{case.votes.sampling.noise} noise" if case.votes is not None else summary.threat.noun
        notes.append(f"No recipe trains for {how}: advice is about certifying alone.")
    if case.frozen:
        notes.append("The model may not be trained again: rules that train it are left out.")
    if not isinstance(case.run.context.get("study"), Mapping):
        named = f"{UNKNOWN['model']} and {UNKNOWN['data']}"
        notes.append(f"The run was begun from Python: {named} stand for what its manifest does not say.")
    if case.commands.training == UNKNOWN["training"]:
        notes.append(f"{UNKNOWN['training']} stands for your training data, which no run knows.")
    elif case.commands.training == case.commands.study["data"]:
        notes.append(
            "These inputs are the training part of their data: what is certified here says little about others."
        )
    return notes


def _under_noise(case: Case) -> str:
    """How well the base model does under noise, and without it where its training measured that."""
    assert case.votes is not None
    low, high = case.votes.accuracy_within()
    said = (
        f"Its base model is right on {100 * case.votes.accuracy:.1f} % of noisy copies ({100 * low:.1f} to "
        f"{100 * high:.1f} % with 95 % confidence); "
    )
    kept = None if case.origin is None else case.origin.curve[case.origin.chosen_epoch - 1][1]
    if kept is not None and case.known("standard"):
        return f"{said}without noise it was right on {100 * kept:.1f} % of the inputs held out of its training."
    return f"{said}what it is without noise, records of a smoothed model do not say."


def _groups(run: Run, columns: Sequence[str]) -> dict[str, list[dict[str, tuple[int, int]]]]:
    """Certified and all inputs of each group, at each radius."""
    inputs, found = run.summary.sandwich, {}
    for column in columns:
        name, of = group_column(column, inputs, whole_size(run.settings["data"]))
        given = in_order(name, of, inputs.index.tolist())
        if any(isinstance(one, tuple) for one in given):
            raise BadInput(f"{column}: each group is held against all others here, and slices overlap: name one column")
        groups = [str(one) for one in given]
        sizes = Counter(groups)
        tables = []
        for row in run.summary.rows:
            kept = Counter(one for one, yes in zip(groups, inputs.certified >= row.radius, strict=True) if yes)
            tables.append({one: (kept[one], sizes[one]) for one in sorted(sizes)})
        found[column] = tables
    return found
