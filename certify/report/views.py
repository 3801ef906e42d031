"""How single records and the columns of a summary show themselves in a notebook: small tables of escaped HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.rounding import round_down, round_up
from certify.core.sandwich import Layer, Sandwich
from certify.core.shown import VIEWS
from certify.report import html
from certify.report.page.pictures import as_image, picture
from certify.report.references import bibtex, cited_for
from certify.summary.words import parts_of

__all__ = ["bounds_html", "certificate_bibtex", "certificate_html", "finding_html", "sandwich_html"]

_LINES_SHOWN: Final = 10
"""Lines of a table with one line for each input; ``to_frame()`` has all of them."""


@VIEWS.register("certificate.html")
def certificate_html(one: Certificate) -> str:
    """The claim, never without the threat model it is about."""
    return _facts(
        {
            "input": one.index,
            "label / prediction": " / ".join(
                "none" if answer is None else one.property.word(answer) for answer in (one.label, one.prediction)
            ),
            "verdict": f"{one.verdict}: {one.reason or one.verdict.sentence}",
            one.threat.quantity: "none" if one.radius is None else one.threat.number(one.radius, round_down),
            "threat model": one.threat,
            "guarantee": one.guarantee,
            "method": one.method,
            "model": f"sha256 {one.model_digest[:12]}",
        }
    )


@VIEWS.register("certificate.bibtex")
def certificate_bibtex(one: Certificate) -> str:
    """The references for the method, the noise and the statistics of one certificate."""
    return bibtex(cited_for(parts_of([one])))


@VIEWS.register("finding.html")
def finding_html(one: Finding) -> str:
    """What the attack found, with the example as a picture where it looks like an image."""
    found = {"found": f"nothing, because it failed: {one.error}" if one.error else "nothing, which promises nothing"}
    if one.distance is not None:
        found = {f"{one.norm} distance": round_up(one.distance), f"{one.answer} there": str(one.adversarial_prediction)}
    table = _facts(
        {
            "input": one.index,
            "label / prediction": f"{one.label} / {one.prediction}",
            "attack": ", ".join([one.attack, *(f"{name}={value}" for name, value in one.settings.items())])[:200],
            "tried": f"{one.norm} radii {', '.join(f'{radius:g}' for radius in one.radii)}",
            **found,
            "model": f"sha256 {one.model_digest[:12]}",
        }
    )
    return table + _image(one)


@VIEWS.register("sandwich.html")
def sandwich_html(layers: Sandwich) -> str:
    """How far proofs and examples are apart, and the weakest inputs."""
    gaps = layers.gaps()
    said = f"{len(layers)} inputs; {gaps.both} have a proof and an adversarial example"
    if gaps.both and gaps.median is not None and gaps.largest is not None:
        said += f", which are {round_up(gaps.median)} apart in the median and {round_up(gaps.largest)} at most"
    note = "Radii and distances are in the norm and the units of the summary that these columns belong to."
    headings = ("input", "label", "prediction", "verdict", "certified", "attacked", "gap")
    table = html.table([headings, *map(_layer, layers.weakest(_LINES_SHOWN))])
    return html.paragraphs([f"{said}. The weakest:"]) + table + html.paragraphs([note])


@VIEWS.register("interval.html")
def bounds_html(interval: Any) -> str:
    """The bounds of the first entries, rounded outward."""
    frame = interval.to_frame()
    first = frame.head(_LINES_SHOWN)
    lines = [
        (str(sample), str(entry), _end(lower, round_down), _end(upper, round_up))
        for (sample, entry), lower, upper in zip(first.index, first["lower"], first["upper"], strict=True)
    ]
    more = f"<p>{len(frame) - _LINES_SHOWN:,} more</p>" if len(frame) > _LINES_SHOWN else ""
    return html.table([("sample", "entry", "at least", "at most"), *lines]) + more


def _end(value: float, rounded: Callable[[float], str]) -> str:
    return rounded(value) if np.isfinite(value) else str(value)


def _layer(one: Layer) -> Sequence[str]:
    prediction = "" if one.prediction is None else str(one.prediction)
    gap = "" if one.gap is None else round_up(one.gap)
    certified = "" if one.certified is None else round_down(one.certified)
    attacked = "" if one.attacked is None else round_up(one.attacked)
    return str(one.index), str(one.label), prediction, str(one.verdict), certified, attacked, gap


def _image(one: Finding) -> str:
    """The example as an ``img``; nothing where there is none, or it is no image."""
    if one.x_adv is None or not one.x_adv.size or not np.isfinite(one.x_adv).all():
        return ""
    low, high = float(one.x_adv.min()), float(one.x_adv.max())
    pixels = low >= 0 and high <= 1  # a finding does not know its input box; such values are taken for pixels
    image = as_image(one.x_adv, pixels)
    if image is None:
        return ""
    span = (0.0, 1.0) if pixels else (low, high if high > low else low + 1)
    shown = picture(image, span, f"adversarial example of input {one.index}", "")
    return f'<img src="{shown.uri}" alt="{html.escape(shown.alt)}" width="128" style="image-rendering: pixelated">'


def _facts(facts: Mapping[str, object]) -> str:
    rows = (
        f'<tr><th style="text-align: left">{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f"<table>{''.join(rows)}</table>"
