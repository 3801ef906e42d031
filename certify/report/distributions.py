"""Robustness distributions as text: ``table``, ``markdown``, ``latex`` and ``html``, ``csv`` and ``json``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from certify.core.distributions import DISTRIBUTION_FORMATS, BesidePublished, Distributions, Law, TwoModels
from certify.core.legible import legible_line
from certify.core.rounding import percent_down, round_down, round_up
from certify.report import html, markdown
from certify.report.blocks import wrapped
from certify.report.latex.text import escape as tex
from certify.report.machine import csv_lines
from certify.report.titled import Titled
from certify.summary.words import percent

__all__ = ["render_csv", "render_html", "render_json", "render_latex", "render_markdown", "render_table"]

_LISTED = 5
"""Up to this many refuted ends of a run are listed in a text; JSON has all of them."""


@DISTRIBUTION_FORMATS.register("table")
def render_table(found: Distributions) -> str:
    """The tables below each other, then what else is to be known."""
    below = [line for text in _below(found) for line in ["", *wrapped([text])]]
    return "\n\n".join(one.table() for one in _tables(found)) + "\n" + "\n".join(map(legible_line, below))


@DISTRIBUTION_FORMATS.register("markdown")
def render_markdown(found: Distributions) -> str:
    """The same for a pull request."""
    return "\n\n".join([*(one.markdown() for one in _tables(found)), *map(markdown.escape, _below(found))])


@DISTRIBUTION_FORMATS.register("latex")
def render_latex(found: Distributions) -> str:
    """The same for a paper; it needs the package booktabs."""
    return "\n\n".join([*(one.latex() for one in _tables(found)), *map(tex, _below(found))])


@DISTRIBUTION_FORMATS.register("html")
def render_html(found: Distributions) -> str:
    """The same as an HTML fragment for notebooks, without scripts or styles of its own."""
    return f"<div>{''.join(one.html() for one in _tables(found))}{html.paragraphs(_below(found))}</div>"


@DISTRIBUTION_FORMATS.register("json")
def render_json(found: Distributions) -> str:
    """One JSON object; shares are fractions, null is an end that is infinite or not stated."""
    return json.dumps(found.to_dict(), indent=2, allow_nan=False)


@DISTRIBUTION_FORMATS.register("csv")
def render_csv(found: Distributions) -> str:
    """The distribution functions, a line for each run and place where a bracket ends; in between they are constant."""
    lines: list[list[Any]] = [["run", "norm", "units", "radius", "lower", "upper", "band_lower", "band_upper"]]
    threat = found.runs[0].summary.threat
    for one in found.distributions:
        curve, empty = one.curve, [None] * len(one.curve.radius)
        columns = (curve.radius, curve.lower, curve.upper, curve.band_lower or empty, curve.band_upper or empty)
        lines += [[one.run, threat.measure, threat.units, *row] for row in zip(*columns, strict=True)]
    return csv_lines(lines)


def _tables(found: Distributions) -> Iterator[Titled]:
    yield _quantiles(found)
    if any(one.curve.band_lower is not None for one in found.distributions):
        yield _intervals(found)
    if found.pairs:
        yield _pairs(found)
    yield _laws(found)
    if found.published:
        yield _published(found)


def _span(lower: float, upper: float) -> str:
    """An interval, rounded outward."""
    return f"{round_down(lower)} to {round_up(upper)}" if math.isfinite(upper) else f"{_from(lower)} on"


def _from(lower: float) -> str:
    return round_down(lower) if math.isfinite(lower) else "inf"


def _quantiles(found: Distributions) -> Titled:
    summary = found.runs[0].summary
    shares = [quantile.share for quantile in found.distributions[0].quantiles]
    lines = [["run", "n", "wrong %", "no proof", "no example", *(f"{100 * share:g}%" for share in shares)]]
    for one in found.distributions:
        spans = [_span(quantile.lower, quantile.upper) for quantile in one.quantiles]
        wrong = percent_down(one.wrong / one.n)
        lines.append([one.run, str(one.n), wrong, str(one.unproven), str(one.unbroken), *spans])
    return Titled(
        f"Quantiles of the critical {summary.threat.measured} of these inputs.",
        lines,
        "At least the share of inputs above a column has a critical radius of at most the number in it, which lies "
        "between two ends. A wrong input has radius 0. No proof, no example: inputs with only one end, or none.",
        "quantiles",
        [True, *[False] * (len(lines[0]) - 1)],
    )


def _intervals(found: Distributions) -> Titled:
    shares = [quantile.share for quantile in found.distributions[0].quantiles]
    lines = [["run", "band", *(f"{100 * share:g}%" for share in shares)]]
    for one in found.distributions:
        spans = [
            "" if low is None or high is None else _span(low, high)
            for low, high in ((quantile.population_lower, quantile.population_upper) for quantile in one.quantiles)
        ]
        lower, band = one.curve.lower, one.curve.band_lower
        width = "" if band is None else round_up(100 * max(a - b for a, b in zip(lower, band, strict=True)), 1)
        lines.append([one.run, width, *spans])
    return Titled(
        f"Quantiles of what they were drawn from ({percent(found.confidence)} for all of a run).",
        lines,
        "Band: percentage points that its distribution function may lie beyond that of these inputs, on either side.",
        "intervals",
        [True, *[False] * (len(lines[0]) - 1)],
    )


def _pairs(found: Distributions) -> Titled:
    lines = [["run", "and", "test", "larger", "smaller", "equal", "open", "p at least", "p at most"]]
    lines += [_pair(one) for one in found.pairs]
    return Titled(
        "Two models at a time.",
        lines,
        "Larger, smaller, equal: inputs whose radius certainly is so under the first run; open: brackets overlap.",
        "pairs",
        [True, True, True, *[False] * 6],
    )


def _pair(one: TwoModels) -> list[str]:
    larger, smaller = ("", "") if one.larger is None else map(str, one.larger)
    equal, unknown = ("" if count is None else str(count) for count in (one.equal, one.open))
    least = "" if one.p_lower is None else round_down(one.p_lower)
    most = "" if one.p_upper is None else round_up(one.p_upper) + ("*" if one.differs else " ")
    return [*one.runs, one.test, larger, smaller, equal, unknown, least, most]


def _laws(found: Distributions) -> Titled:
    lines = [["run", "inputs", "median", "mu", "sigma", "distance", "p", "log-normal"]]
    lines += [[one.run, *_law(one.log_normal)] for one in found.distributions]
    return Titled(
        "Log-normal law of the correctly classified inputs.",
        lines,
        "mu, sigma: of the natural logarithm, most likely given the brackets. Distance: the smallest of any such law.",
        "laws",
        [True, *[False] * 6, True],
    )


def _law(law: Law) -> list[str]:
    if law.mu is None or law.sigma is None or law.distance is None:
        return [str(law.n), "", "", "", "", "", "no fit"]
    numbers = [f"{math.exp(law.mu):.4f}", f"{law.mu:.3f}", f"{law.sigma:.3f}", f"{law.distance:.4f}"]
    p_value = "" if law.p_value is None else round_up(law.p_value)
    return [str(law.n), *numbers, p_value, {True: "refused", False: "kept", None: "not tested"}[law.refused]]


def _published(found: Distributions) -> Titled:
    lines = [
        ["run", "both", "crossed", "overlap", "tightened", "lower confirmed", "refuted", "upper confirmed", "refuted"],
        *map(_beside, found.published),
    ]
    return Titled(
        "Published brackets beside ours.",
        lines,
        "Both: inputs with a published bracket. Crossed: its lower end lies above its upper one. Overlap: both have a "
        "radius in common; tightened: ours narrows the published one. A lower end is confirmed by a proof that reaches "
        "it and refuted by a nearer example; an upper end is confirmed by an example within it and refuted by a proof "
        "beyond it. The other ends stay open.",
        "published",
        [True, *[False] * 8],
    )


def _beside(one: BesidePublished) -> list[str]:
    lower, upper = one.count("lower"), one.count("upper")
    counts = (
        one.n,
        len(one.crossed),
        one.overlap,
        one.tightened,
        one.lower_confirmed,
        lower,
        one.upper_confirmed,
        upper,
    )
    return [one.run, *map(str, counts)]


def _below(found: Distributions) -> list[str]:
    refuted = [line for one in found.published for line in _refuted(one)]
    unfitted = {one.run: one.log_normal.why_not for one in found.distributions if one.log_normal.why_not}
    return [
        *refuted,
        *(f"no log-normal fit of {run}: {why}." for run, why in unfitted.items()),
        *found.notes,
        found.statement,
    ]


def _refuted(one: BesidePublished) -> Iterator[str]:
    if one.crossed:
        yield f"CROSSED: {len(one.crossed)} published brackets of {one.model}: inputs {_positions(one.crossed)}."
    said: dict[str, tuple[str, Callable[[float], str], str]] = {
        "lower": ("called verified up to {}, our example at {}", round_up, "certify check executes the examples again"),
        "upper": ("called broken at {}, our proof reaches {}", round_down, "certify check derives the proofs again"),
    }
    for end, (words, rounded, check) in said.items():
        ends = [two for two in one.refuted if two.end == end]
        if ends:
            listed = "; ".join(
                f"input {two.index} {words.format(f'{two.published:g}', rounded(two.ours))}" for two in ends[:_LISTED]
            )
            more = f"; and {len(ends) - _LISTED:,} more" if len(ends) > _LISTED else ""
            yield (f"REFUTED: {len(ends)} of {one.n} published {end} ends of {one.model}: {listed}{more}. {check}.")


def _positions(index: Sequence[int]) -> str:
    more = f" and {len(index) - _LISTED:,} more" if len(index) > _LISTED else ""
    return ", ".join(map(str, index[:_LISTED])) + more
