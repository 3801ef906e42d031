"""A base model that does not know hidden positions, and a retention that leaves no room for the declared radii."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from certify.core.rounding import round_down
from certify.study.improve.base import RULES, Advice, Case

__all__ = ["ablation", "retention"]


def _own(case: Case) -> dict[str, Any]:
    """Retention and null value of the run, as settings of a recipe, and its groups; empty for other noise."""
    if case.votes is None or case.votes.sampling.additive or case.votes.sampling.noise != "ablation":
        return {}
    groups = case.run.settings["threat"].get("groups")
    written = None if groups is None else ",".join("+".join(map(str, group)) for group in groups)
    null = case.setting.get("null", 0.0)
    text = ",".join(f"{one:g}" for one in null) if isinstance(null, list | tuple) else f"{null:g}"
    return {"retention": case.setting["retention"], "null": text} | ({} if written is None else {"groups": written})


def _knows(case: Case, own: Mapping[str, Any]) -> bool:
    """Whether the model was trained on as few positions."""
    assert case.origin is not None
    return case.known("ablation") and case.origin.settings.get("retention") == own["retention"]


@RULES.register("ablation")
def ablation(case: Case) -> Iterator[Advice]:
    """The model was not trained on inputs of which so few positions are left."""
    own, lost = _own(case), case.mean("wrong", "abstained", "open", "broken")
    if not own or case.frozen or not case.worth(lost) or (case.origin is not None and _knows(case, own)):
        return
    assert case.votes is not None
    if case.origin is None and case.votes.accuracy > 0.8:
        return  # of unknown origin, and it sees through what is hidden
    low, high = case.votes.accuracy_within()
    origin = "how it was trained is unknown" if case.origin is None else f"it was trained by {case.origin.recipe}"
    yield Advice(
        "ablation",
        f"train on inputs of which {own['retention']} positions are left",
        f"the base model is right on {100 * case.votes.accuracy:.1f} % of what it is shown "
        f"({100 * low:.1f} to {100 * high:.1f} % with 95 % confidence); {origin}",
        "the smoothed model is a vote of the base model on a few positions; one that never saw so few errs on them",
        "Levine and Feizi 2020",
        case.commands.trained("ablation", **own),
        case.training("ablation"),
        f"certified accuracy at {case.at(case.last.radius)} is not above {100 * case.last.certified:.1f} %",
        reach=lost,
        trains=True,
    )


@RULES.register("retention")
def retention(case: Case) -> Iterator[Advice]:
    """Radii that no input can have with so many positions kept."""
    own, lost = _own(case), case.mean("beyond")
    if not own or not case.worth(lost):
        return
    assert case.votes is not None
    sampling, kept = case.votes.sampling, max(1, own["retention"] // 2)
    yield Advice(
        "retention",
        f"keep fewer positions, such as {kept}",
        f"with {own['retention']} of {sampling.measure[0]} positions kept no input can be certified above "
        f"{case.run.summary.threat.number(sampling.cap, round_down)}",
        "the more positions are kept, the more subsets hold a changed one",
        "Levine and Feizi 2020, Theorem 1",
        (case.commands.again(f"retention{kept}", retention=kept),),
        case.certifying(),
        f"no input is certified at {case.at(case.last.radius)} with {kept} positions either",
        reach=lost,
    )
