"""What a page says in sentences: the headline, the threat model, and the limits of the claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import percent_down, percent_up
from certify.core.run import Run
from certify.core.summary import Row, Summary
from certify.summary.words import percent

__all__ = ["MEANINGS", "Headline", "headline", "limits", "threat_in_words"]

MEANINGS: Final = {
    "radius": "how much the adversary may change an input, as the threat model measures it",
    "certified": "share of all inputs that are predicted correctly and certified at the radius; rounded down",
    ">=": "share of these inputs that is truly right and robust, with the stated confidence at all radii at once",
    "attacked": "share predicted correctly that no attack broke within the radius; an upper limit, rounded up",
    "gap": "attacked less certified, in points, before rounding: what neither proofs nor attacks have decided",
    "clean": "share predicted correctly without any change; for smoothing, by the smoothed model",
    "abstain": "inputs for which the samples did not single out one answer",
    "unknown": "correctly predicted inputs that are neither certified nor broken at the radius",
    "average certified radius": "over all inputs, counting 0 where the prediction is wrong or nothing is certified",
}
"""Each number of the tables, in words."""


@dataclass(frozen=True, slots=True)
class Headline:
    """What can be promised at one radius.

    Args:
        sentence: radius, threat model, share, confidence, attacks and contradictions in one sentence.
        figures: the same as pairs of a name and a number.
        why: how the radius was chosen.
    """

    sentence: str
    figures: tuple[tuple[str, str], ...]
    why: str


def headline(run: Run) -> Headline:
    """The promise at the largest declared radius that at least half of the inputs are sure to reach."""
    summary = run.summary
    half = [row for row in summary.rows if row.certified_lower >= 0.5]
    row = half[-1] if half else next((row for row in summary.rows if row.radius > 0), summary.rows[0])
    figures = [("certified, rounded down", f"{percent_down(row.certified)} %")]
    if summary.guarantee.alpha is not None:
        sure = percent(summary.confidence, " %")
        figures.append((f"truly robust, {sure} sure", f">= {percent_down(row.certified_lower)} %"))
    figures.append(
        ("no attack succeeded", "not attacked")
        if row.empirical is None
        else ("no attack succeeded, rounded up", f"{percent_up(row.empirical)} %")
    )
    figures.append(("contradictions", str(len(summary.contradictions))))
    why = (
        "This is the largest declared radius at which at least half of the inputs are sure to hold."
        if half
        else "At no declared radius are half of the inputs sure to hold; this is the smallest one above 0."
    )
    return Headline(_sentence(summary, row), tuple(figures), why)


def _sentence(summary: Summary, row: Row) -> str:
    change = f"every {summary.threat.change(row.radius)}"
    right = "right" if summary.property == TOP_CLASS else f"right (to {summary.property})"
    begin = "Not to be relied on until its contradictions are explained: " if summary.contradictions else ""
    begin += "" if summary.complete else "so far, in an unfinished run: "
    if summary.guarantee.alpha is None:
        claim = (
            f"the {'smoothed ' * summary.smoothed}model is proven to be {right}, and to stay right under {change}, on "
            f"{percent_down(row.certified)} % of {summary.n:,} inputs"
        )
    else:
        published = "if the published log is as it says, " if "published" in summary.methods else ""
        sure = percent(summary.confidence, " %")
        claim = (
            f"{published}with {sure} confidence the smoothed model is {right}, and stays right under {change}, on at "
            f"least {percent_down(row.certified_lower)} % of {summary.n:,} inputs ({percent_down(row.certified)} % are "
            "certified)"
        )
    text = f"{begin}{claim}; {_tried(row, len(summary.contradictions))}."
    return text[0].upper() + text[1:]


def _tried(row: Row, contradictions: int) -> str:
    """What attacks achieved at the radius of a claim."""
    found = f"{contradictions:,} contradiction{'s were' if contradictions > 1 else ' was'} found"
    if row.empirical is None:
        return found if contradictions else "no attack has tried that radius on every input"
    return f"attacks leave {percent_up(row.empirical)} % standing, and {found if contradictions else f'no {found[2:]}'}"


def threat_in_words(summary: Summary) -> str:
    """The threat model in sentences: what the adversary may do, and at which radii in which units."""
    threat = summary.threat
    box = "to any real values"
    if threat.input_box is not None:
        its = "its " if threat.input_box.pair is None else ""
        box = f"as long as every feature stays in {its}{threat.input_box}"
    radii = ", ".join(map(threat.number, summary.declared or threat.radii))
    count = "count" if threat.counted else "are in"
    return (
        f"An adversary who sees everything may {threat.may}, {box}. Radii {count} {threat.units}; "
        f"the declared ones are {radii}.{_property(summary)}"
    )


def _answered(property: Property) -> str:
    """What a smoothed model answers, with an article."""
    said = property.under_noise
    return said if said.startswith("the ") else f"the {said}"


def _property(summary: Summary) -> str:
    """The property that has to hold, where it is another one than the top class."""
    said = summary.head.get("property", "")
    return f" What has to stay true: {said}." if said else ""


def limits(summary: Summary) -> list[str]:
    """What is not promised, each in a sentence."""
    smoothed, proven = summary.smoothed, summary.guarantee.alpha is None
    taken = {"regression": "True values", "segmentation": "Label maps"}.get(summary.property.task, "Labels")
    lines = [
        "Nothing is said about larger changes, about other ones (rotations, blur, patches, another norm), or about "
        "inputs unlike these.",
        f"{taken} are taken as given: a wrong one counts as it is.",
    ]
    if smoothed:
        lines.append(
            f"The claim is about the smoothed model, {_answered(summary.property)}. The base model alone has no "
            "certificate; what is deployed has to answer under the same noise."
        )
    if not proven:
        lines.append("A certificate is a statement with a probability of error over the noise drawn, not a proof.")
    if proven or "published" in summary.methods:
        lines.append(f"The guarantee is {summary.head.get('guarantee', summary.guarantee)}.")
    if "noise" in summary.head:
        lines.append(f"Taken on trust: {summary.head['noise']}.")
    elif "exact real arithmetic" in (proof := summary.head.get("guarantee", "")) and "float32" not in proof:
        lines.append(
            "A deployed model rounds. A proof in exact real arithmetic says nothing about float32 executions whose "
            "scores are closer together than their rounding errors."
        )
    if not any(row.population_lower is not None for row in summary.rows):
        lines.append("All shares are of these inputs; nothing is said about the population they come from.")
    if any(row.empirical is not None for row in summary.rows):
        lines.append("An attack that fails promises nothing: the attacked share is an upper limit, and may be far off.")
    lines.append("The average certified radius compares models; it promises nothing.")
    return lines
