"""The figures of a page: each with a caption, and its numbers in a table for those who do not see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup

from certify.core.rounding import brief, percent_down, round_down, round_up
from certify.core.run import Run
from certify.core.shown import DRAWINGS
from certify.core.summary import PLOTS, Summary
from certify.deployment.shift import Shift
from certify.report.page.svg import as_svg
from certify.report.side_by_side import ComparableRuns, SideBySide
from certify.summary.distribution import distribution_of_radii

__all__ = ["Chart", "curves", "gap_sentence", "overlays", "probabilities", "radii", "sandwich", "shifted"]


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure.

    Args:
        key: unique on the page.
        title: what it shows, in a few words.
        caption: how to read it.
        svg: the drawing.
        about: what its numbers are, for the table that has them.
        headings, rows: its numbers; empty where a table of the page has them.
    """

    key: str
    title: str
    caption: str
    svg: Markup
    about: str = ""
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def overlays(beside: SideBySide) -> list[Chart]:
    """Certified curves of the runs that can be compared, in one figure for each table of several."""
    return [_overlay(one, f"all{place}") for place, one in enumerate(beside.tables) if len(one.runs) > 1]


def _overlay(together: ComparableRuns, key: str) -> Chart:
    caption = (
        "Each run in a colour of its own. Solid: certified. Dashed, where an attack ran: what it did not break. A "
        "shaded band reaches to what is truly robust with the confidence of that run's statement, each by itself. The "
        "table below has the numbers."
    )
    title = f"Runs over the {together.runs[0].summary.threat.quantity}"
    height = 3.3 + 0.09 * len(together.runs)  # a line of the legend holds two names
    svg, _ = as_svg(lambda axes: DRAWINGS["runs"](together.runs, axes), key, title, (4.6, height))
    return Chart(key, title, caption, svg)


def curves(run: Run, key: str) -> Chart:
    """Certified and attacked accuracy over the radius."""
    summary = run.summary
    caption = ["Solid: certified." + " Shaded below it: truly robust at least." * (summary.guarantee.alpha is not None)]
    if any(row.empirical is not None for row in summary.rows):
        caption.append("Dashed: what no attack broke. The truth lies between the two, or in their shading.")
    if any(row.population_lower is not None for row in summary.rows):
        caption.append("Dotted: at least this much of what the inputs were drawn from.")
    caption.append("Dashed and dotted: predicted correctly without any change.")
    title = f"Accuracy over the {summary.threat.quantity}"
    svg, _ = as_svg(lambda axes: PLOTS["curves"](summary, axes), key, title)
    return Chart(key, title, " ".join(caption), svg)


def sandwich(run: Run, key: str) -> Chart | None:
    """Every input between its proof and its adversarial example; None where no example was found."""
    layers = run.summary.sandwich
    if np.isnan(layers.attacked[layers.correct]).all():
        return None
    proven, broken = ~np.isnan(layers.certified), ~np.isnan(layers.attacked)
    kinds = {
        "certified and broken further out": layers.correct & proven & broken & (layers.attacked > layers.certified),
        "certified, not broken": layers.correct & proven & ~broken,
        "broken, nothing certified": layers.correct & ~proven & broken,
        "neither": layers.correct & ~proven & ~broken,
        "contradiction": layers.correct & proven & broken & (layers.attacked <= layers.certified),
        "misclassified or no class named": ~layers.correct,
    }
    title = "Each input between proof and adversarial example"
    svg, _ = as_svg(lambda axes: PLOTS["sandwich"](run.summary, axes), key, title, (4.6, 4.0))
    caption = (
        "Inputs that are predicted correctly; larger marks are several inputs close together. The true radius of each "
        f"lies between its two coordinates. {gap_sentence(run.summary)}"
    )
    rows = tuple((name, f"{int(chosen.sum()):,}") for name, chosen in kinds.items())
    return Chart(key, title, caption, svg, f"Inputs of {run.name} by what is known", ("input", "how many"), rows)


def gap_sentence(summary: Summary) -> str:
    """How far proofs and adversarial examples are apart, rounded up."""
    gaps, number = summary.sandwich.gaps(), summary.threat.number
    if gaps.mean is None or gaps.median is None or gaps.largest is None:
        return "No input has both a proof and an adversarial example, so there is no gap to measure."
    return (
        f"Over the {gaps.both:,} inputs that have both a proof and an adversarial example, the two are "
        f"{summary.threat.amount(gaps.mean, round_up)} apart on average (median {number(gaps.median, round_up)}, "
        f"largest {number(gaps.largest, round_up)}); {gaps.open:,} correctly predicted inputs lack one of the two."
    )


def radii(run: Run, key: str) -> Chart:
    """How the certified radii are distributed."""
    threat = run.summary.threat
    found = distribution_of_radii(run.summary.sandwich, counted=threat.counted)
    title = "Certified radii"
    svg, _ = as_svg(lambda axes: PLOTS["radii"](run.summary, axes), key, title)
    total = found.n + found.without
    caption = [f"{found.without:,} of {total:,} inputs have no certified radius."]
    if found.largest is not None:
        half = dict(found.quantiles)[0.5]
        caption.append(
            f"Half of all inputs reach {threat.amount(half, round_down)} or more; the largest radius is "
            f"{threat.number(found.largest, round_down)}, which {percent_down(found.at_largest)} % of the inputs have."
        )
        if run.summary.guarantee.alpha is not None and found.at_largest > 0.05:
            caption.append("Many at the largest show how far the samples drawn can certify, not where the model ends.")
    bins = zip(pairwise(found.edges), found.counts, strict=True)
    rows = tuple(
        (threat.number((low + high) / 2) if threat.counted else f"{brief(low)} to {brief(high)}", f"{count:,}")
        for (low, high), count in bins
    )
    about, headings = f"Certified radii of {run.name}", ("certified radius", "inputs")
    return Chart(key, title, " ".join(caption), svg, about, headings, rows)


def probabilities(run: Run, key: str) -> Chart | None:
    """How the probabilities under noise are distributed; None for proofs."""
    p_lower = run.summary.sandwich.p_lower
    if np.isnan(p_lower).all():
        return None
    title = "Probability of the class under noise, p_A"
    svg, axes = as_svg(lambda axes: PLOTS["probabilities"](run.summary, axes), key, title, (4.6, 3.6))
    caption = (
        "Lower confidence bounds on the probability that the base model returns the class under noise. Where sampling "
        "ends once the declared radii are decided, a bound says what was needed, not what more samples could show."
    )
    return Chart(key, title, caption, svg, f"Bounds p_A of {run.name}", ("p_A", "inputs"), _bars(axes))


def shifted(found: Shift, key: str) -> Chart:
    """Guaranteed certified accuracy over the amount of shift."""
    title = "Certified accuracy under shift"
    svg, _ = as_svg(lambda axes: DRAWINGS["shift"](found, axes), key, title)
    return Chart(
        key,
        title,
        "At least this much is certified on every distribution within so much total variation of the source of the "
        "inputs. "
        "The tables have this and other measures.",
        svg,
    )


def _bars(axes: Any) -> tuple[tuple[str, ...], ...]:
    """The horizontal bars of a figure as a table."""
    names: Iterable[str] = (label.get_text() for label in axes.get_yticklabels())
    return tuple((name, f"{int(bar.get_width()):,}") for name, bar in zip(names, axes.patches, strict=True))
