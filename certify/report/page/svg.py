"""A matplotlib figure as SVG inside a page: text stays text, and the page's colours are its own."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any, Final

from markupsafe import Markup, escape

from certify.core.legible import legible
from certify.errors import needs

__all__ = ["as_svg"]

_STYLE: Final = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with two dollar signs is no formula
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.markersize": 5.0,
}
_INCHES: Final = (4.6, 3.3)
"""Inches at 72 pixels: about the width of a phone, so that text there is as large as it says."""


def as_svg(draw: Callable[[Any], Any], key: str, title: str, size: tuple[float, float] = _INCHES) -> tuple[Markup, Any]:
    """What ``draw`` draws on fresh Axes as an ``<svg>`` element, and the Axes it returns.

    The same drawing gives the same bytes. The ten colours of matplotlib's cycle become the CSS variables ``--c0`` to
    ``--c9`` and black becomes ``currentColor``, so that the figure follows the page into the dark. Ids begin with
    ``key``: several figures on a page do not refer into each other. ``title`` is what is read out instead.

    Raises:
        MissingExtra: without matplotlib.

    >>> svg, axes = as_svg(lambda axes: axes.set_xlabel("radius") and axes, "one", "An axis")
    >>> svg.startswith("<svg"), "radius" in svg, "http:" in svg.replace("http://www.w3.org", "")
    (True, True, False)
    """
    with needs("matplotlib", "plot", "the figures of a page"):
        from matplotlib import style
        from matplotlib.figure import Figure
        from matplotlib.text import Text
    text = io.StringIO()
    with style.context(["default", _STYLE | {"svg.hashsalt": key}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # letters are drawn by the reader's fonts
        figure = Figure(figsize=size, layout="constrained")
        axes = draw(figure.subplots())
        for words in figure.findobj(Text):
            if (shown := legible(words.get_text())) != words.get_text():
                words.set_text(shown)
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return Markup(_for_a_page(text.getvalue(), key, title)), axes  # matplotlib escapes the text in it


def _for_a_page(svg: str, key: str, title: str) -> str:
    from matplotlib.colors import TABLEAU_COLORS

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: f' id="{key}-{found[1]}"' if found[1] in used else "", svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{key}-", svg)
    for place, colour in enumerate(TABLEAU_COLORS.values()):
        svg = svg.replace(str(colour), f"var(--c{place})")
    svg = svg.replace("#000000", "currentColor").replace("xlink:href", "href")
    svg = re.sub(r"\s*\n\s*", " ", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
