"""Hold a run against a release policy, condition by condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from certify.core.properties.base import Property, property_from
from certify.core.rounding import brief_up
from certify.core.run import Run
from certify.core.threats.base import Threat, threat_from
from certify.errors import BadInput
from certify.gate.conditions.base import CONDITIONS, Condition, Trial
from certify.gate.outcome import ConditionOutcome, Result
from certify.gate.policy import Policy
from certify.progress.observer import Observer
from certify.registry import Registry
from certify.store.run_folder import RunFolder
from certify.study.held import check_records
from certify.study.read import read_runs
from certify.summary.pairing import check_comparable
from certify.summary.words import percent

__all__ = ["GATE_FORMATS", "Judgement", "judge", "judge_run"]

ALWAYS: Final = ("no_contradiction", "complete")
"""What every gate asks for, whatever its policy says."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of every condition.

    Args:
        policy: what was required.
        trial: the run on trial, and the baseline if a condition asks for one.
        outcomes: what a check of the records found; then one for each condition: what every gate asks for first, then
            in the order of the policy.
    """

    policy: Policy
    trial: Trial
    outcomes: tuple[ConditionOutcome, ...]

    @property
    def passed(self) -> bool:
        """Whether every condition passed."""
        return all(one.passed for one in self.outcomes)

    @property
    def word(self) -> str:
        """The answer in one word; a contradiction before all else, then what is missing."""
        summary = self.trial.run.summary
        if summary.contradictions:
            return "CONTRADICTION"
        if not summary.complete:
            return "INCOMPLETE"
        return "PASSED" if self.passed else "FAILED"

    @property
    def statement(self) -> str:
        """The probability that a passed gate is right, and the statements that it rests on."""
        spent = self.policy.statements
        if not spent:
            return "No condition rests on a probability: proofs, counts and what attacks found."
        about = "; ".join(spent)
        return (
            f"All interval ends hold at once with probability at least {percent(self.policy.confidence)}: a run "
            f"that breaks a condition passes with probability at most {brief_up(self.policy.delta)}, which "
            f"{len(spent)} statement{'s share' if len(spent) > 1 else ' spends'} ({about})."
        )

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the policy, model and data, so that others can tell what was judged."""
        named = {"policy": self.policy.digest, **_digests(self.trial.run, "")}
        return named if self.trial.baseline is None else named | _digests(self.trial.baseline, "baseline ")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "result": self.word,
            "run": self.trial.run.name,
            "baseline": None if self.trial.baseline is None else self.trial.baseline.name,
            "threat": self.trial.run.summary.threat.to_dict(),
            "n": self.trial.run.summary.n,
            "confidence": self.policy.confidence,
            "share": self.policy.share,
            "conditions": [one.to_dict() for one in self.outcomes],
            "statement": self.statement,
            "digests": self.digests,
        }

    def render(self, format: str) -> str:
        """The judgement as text in a registered format: ``table``, ``json``, ``markdown``, ``junit``."""
        return GATE_FORMATS[format](self)

    def __str__(self) -> str:
        return self.render("table")

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


GATE_FORMATS: Registry[Callable[[Judgement], str]] = Registry("gate format", package="certify.gate")


def judge_run(
    policy: Policy,
    run: Path | str,
    baseline: Path | str | None = None,
    *,
    check: bool = True,
    progress: bool | Observer = False,
) -> Judgement:
    """Read a run folder, and a baseline, at the policy's radii and level, and judge.

    Args:
        policy: what is required.
        run, baseline: run folders.
        check: derive what follows from the records of both alone: one that is refuted fails the gate.
        progress: told how far the check is.

    Raises:
        BadInput: for a run of another threat model, a shard, a baseline that is not wanted or missing, or that is about
            other inputs.
        StoreError: if a folder cannot be read or is empty, or its manifest is about another model, other data or
            another threat model than its records.
    """
    if policy.needs_baseline and baseline is None:
        raise BadInput(f"{policy.name} compares with an earlier run: name it with --baseline RUN")
    if not policy.needs_baseline and baseline is not None:
        raise BadInput(f"{policy.name} has no non_inferior condition; add one, or leave --baseline out")
    _check_folder(policy, run)
    paths = [run] if baseline is None else [run, baseline]
    new, *old = read_runs(paths, policy.radii or None, policy.share, pinned=True)
    first = [_records(one, progress) for one in (new, *old)] if check else []
    return judge(policy, Trial(new, policy.share, *old), first)


def judge(policy: Policy, trial: Trial, first: Sequence[ConditionOutcome] = ()) -> Judgement:
    """Hold a run that was read already against a policy; ``first`` holds outcomes that were found before.

    Raises:
        BadInput: as :func:`judge_run`.
    """
    _check_threat(policy, trial.run.name, trial.run.summary.threat, trial.run.summary.property)
    summary = trial.run.summary
    if trial.baseline is not None and summary.complete:
        check_comparable(trial.baseline, trial.run)
    stated = [one for one in policy.require if one.kind in ALWAYS]
    always = [CONDITIONS[kind]() for kind in ALWAYS if kind not in {one.kind for one in stated}]
    return Judgement(policy, trial, (*first, *(_outcome(one, trial) for one in (*always, *policy.require))))


def _outcome(condition: Condition, trial: Trial) -> ConditionOutcome:
    if trial.run.summary.complete or condition.on_part:
        return condition.judge(trial)
    return condition.undecided(trial, "the run is incomplete")


def _records(run: Run, progress: bool | Observer) -> ConditionOutcome:
    """Whether the records of a run folder follow from their evidence and their manifest."""
    assert run.path is not None
    found = check_records(run.path, progress)
    title, count = f"the records of {run.name} follow from their evidence", len(found.claims)
    if not found.refuted:
        # A radius stays open where the noise law is a plug-in's, whose theorem the checker does not know.
        if unknown := [one for one in found.open if one.claim == "radius"]:
            said = f"{unknown[0]}; --no-check takes it on trust"
            return ConditionOutcome("records", title, Result.UNDECIDED, reason=said)
        said = f"{count:,} claims derived from the records alone; model and data: certify check"
        return ConditionOutcome("records", title, Result.PASSED, reason=said)
    more = f", and {len(found.refuted) - 1:,} more; certify check names them" if len(found.refuted) > 1 else ""
    return ConditionOutcome("records", title, Result.FAILED, reason=f"{found.refuted[0]}{more}")


def _check_folder(policy: Policy, path: Path | str) -> None:
    """Refuse a shard or another threat model by the manifest alone, before any record is read: there may be many."""
    with RunFolder.open(path) as folder:
        settings = folder.manifest.settings
    shard, of = settings["shard"]
    if of > 1:
        raise BadInput(f"{path} is shard {shard} of {of}, a part of a run: certify merge joins them all")
    _check_threat(policy, path, threat_from(settings["threat"]), property_from(settings.get("property")))


def _check_threat(policy: Policy, run: Path | str, threat: Threat, property: Property) -> None:
    if difference := policy.threat.difference(threat, property):
        raise BadInput(f"{policy.name} does not fit {run}: {difference}; name another run or another policy")


def _digests(run: Run, prefix: str) -> dict[str, str]:
    settings = run.settings
    return {f"{prefix}model": settings["model"]["digest"], f"{prefix}data": settings["data"]["digest"]}
