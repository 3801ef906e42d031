"""The weakest inputs: what they are, which features carry their margin, and the examples that break them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.rounding import round_down
from certify.study.improve.explanation import Explanation

__all__ = ["draw_explanations", "inches"]

_BARS: Final = 10
"""Features of a table that are drawn."""

_PANELS: Final = ("input", "what carries the margin", "adversarial example", "its change")


def inches(found: Sequence[Explanation]) -> tuple[float, float]:
    """Width and height of a figure for them."""
    return 10, (2.5 if _images_alone(found) else 2.8) * len(found)


def draw_explanations(found: Sequence[Explanation], figure: Any) -> None:
    """A line of panels for each input, on a matplotlib Figure.

    Images are shown as they are, and parts of the margin and changes from blue (against the label, or darker) to red.
    Tables are bars of the features that add most, and their changes beside them.
    """
    image = _images_alone(found)
    grid = figure.subplots(len(found), len(_PANELS) if image else 2, squeeze=False)
    for axes, one in zip(grid, found, strict=True):
        (_images if image else _bars)(axes, one)
    titles = _PANELS if image else (_PANELS[1], _PANELS[3])
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize="medium")


def _images_alone(found: Sequence[Explanation]) -> bool:
    return all(one.image for one in found)


def _told(one: Explanation) -> str:
    radius = "not certified" if one.radius is None else f"certified to {round_down(one.radius)}"
    return f"input {one.index}: label {one.label},\nrunner-up {one.runner_up}\nmargin {one.margin:.3g}\n{radius}"


def _images(axes: Sequence[Any], one: Explanation) -> None:
    change = None if one.example is None else one.example - one.x
    for place, values in enumerate((one.x, one.adds, one.example, change)):
        panel = axes[place]
        panel.set_xticks([])
        panel.set_yticks([])
        if values is None:
            panel.axis("off")
            continue
        if place in (0, 2):
            low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
            panel.imshow(_pixels((values - low) / (high - low)), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        else:
            signed = values.sum(axis=0)
            most = float(np.abs(signed).max()) or 1.0
            drawn = panel.imshow(signed, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
            panel.figure.colorbar(drawn, ax=panel, shrink=0.7, ticks=[-most, 0, most], format="%.2g")
    axes[0].set_ylabel(_told(one), rotation=0, ha="right", va="center", fontsize="small")
    axes[2].set_xlabel(textwrap.fill(one.said, 34), fontsize="x-small")
    if one.example is None:
        axes[2].axis("on")
        axes[2].set_frame_on(False)


def _pixels(values: NDArray[Any]) -> NDArray[Any]:
    """An image as matplotlib takes it: (height, width), or with colours last."""
    return values[0] if len(values) == 1 else np.moveaxis(values, 0, -1)


def _bars(axes: Sequence[Any], one: Explanation) -> None:
    top = one.top(_BARS)[::-1]
    names = [f"{','.join(map(str, feature.place))} = {feature.value:.3g}" for feature in top]
    adds, changes = axes
    adds.barh(names, [feature.adds for feature in top], color=["C3" if feature.adds > 0 else "C0" for feature in top])
    adds.axvline(0, color="0.5", linewidth=0.8)
    adds.set_ylabel(_told(one), rotation=0, ha="right", va="center", fontsize="small", labelpad=12)
    adds.tick_params(labelsize="x-small")
    changes.barh(names, [feature.change or 0.0 for feature in top], color="0.4")
    changes.axvline(0, color="0.5", linewidth=0.8)
    changes.set_yticklabels([])
    changes.tick_params(labelsize="x-small")
    changes.set_xlabel(textwrap.fill(one.said, 60), fontsize="x-small")
