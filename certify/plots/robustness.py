"""Robustness distributions: distribution functions with their bands, boxes, and densities, a colour for each run."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.distributions import DISTRIBUTION_PLOTS, Distributions, RadiusDistribution
from certify.lazy import later
from certify.plots.axes import label_radii, new_axes
from certify.stats.brackets import sample_rank
from certify.summary.distribution import QUANTILES, critical_radii
from certify.summary.words import percent

__all__ = ["box", "density", "draw_all", "ecdf", "inches"]

stats = later("scipy.stats")

_TOGETHER: Final = 3
"""Up to this many functions share their axes in a figure of all."""

_PANELS: Final = 3
"""Panels beside each other."""

_POINTS: Final = 400
"""Points of a density."""

_MARGIN: Final = 1.05
"""How far beyond the largest known radius the axis goes."""


def inches(found: Distributions) -> tuple[float, float]:
    """Width and height of a figure for :func:`draw_all`."""
    return 6.5, sum(_heights(found))


def draw_all(found: Distributions, figure: Any) -> None:
    """Draw all three below each other; more than a few functions hide each other, and have a panel each."""
    functions, boxes, densities = figure.subfigures(3, height_ratios=_heights(found))
    if len(found.runs) <= _TOGETHER:
        ecdf(found, functions.subplots())
    else:
        grid = functions.subplots(-(-len(found.runs) // _PANELS), _PANELS, sharex=True, sharey=True, squeeze=False)
        for place, axes in enumerate(grid.flat):
            axes.set_visible(place < len(found.runs))
            if place < len(found.runs):
                _function(found.distributions[place], f"C{place % 10}", axes, _end(found))
                axes.set_title(_name(found.runs[place].name), fontsize="small")
                axes.set_xlim(0, _end(found))
                axes.tick_params(labelbottom=place + _PANELS >= len(found.runs))
        functions.supylabel("inputs with at most this radius (%)", fontsize="medium")
        handles, labels = _key(found, grid.flat[0])
        functions.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize="small")
    box(found, boxes.subplots())
    density(found, densities.subplots())


def _heights(found: Distributions) -> tuple[float, float, float]:
    n = len(found.runs)
    functions = 4.0 + 0.1 * n if n <= _TOGETHER else 0.5 + 1.5 * -(-n // _PANELS)
    return functions, 1.2 + 0.3 * n, 3.2


@DISTRIBUTION_PLOTS.register("ecdf")
def ecdf(found: Distributions, axes: Any = None) -> Any:
    """Draw between what the share of critical radii up to r lies, and the band of the population; return the Axes.

    Shaded: what the brackets leave open about the inputs at hand. Dotted: the band of what they were drawn from.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    end = _end(found)
    lines = [_function(one, f"C{place % 10}", axes, end) for place, one in enumerate(found.distributions)]
    handles, labels = _key(found, axes)
    names = [_name(one.run) for one in found.distributions]
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2}
    axes.legend([*lines, *handles], [*names, *labels], fontsize="small", frameon=False, **place)
    _label(found, axes, end)
    axes.set_ylabel("inputs with at most this radius (%)")
    return axes


def _function(one: RadiusDistribution, color: str, axes: Any, end: float) -> Any:
    """Draw one distribution function; return its line."""
    curve = one.curve
    at = [*curve.radius, max(end, curve.radius[-1])]
    low, high = (_shares(edge) for edge in (curve.lower, curve.upper))
    axes.fill_between(at, low, high, step="post", color=color, alpha=0.3, linewidth=0)
    style = {"drawstyle": "steps-post", "color": color}
    axes.plot(at, high, linewidth=1.2, **style)
    for edge in (curve.band_lower, curve.band_upper):
        if edge is not None:
            axes.plot(at, _shares(edge), linewidth=0.8, linestyle=":", **style)
    axes.set_ylim(-2, 102)
    return axes.plot(at, low, linewidth=1.2, **style)[0]


def _shares(edge: tuple[float, ...]) -> list[float]:
    """In percent, up to the end of the axis."""
    return [100 * share for share in (*edge, edge[-1])]


def _key(found: Distributions, axes: Any) -> tuple[list[Any], list[str]]:
    """What the styles mean, in grey."""
    handles = [axes.fill_between([], [], [], color="tab:gray", alpha=0.3, linewidth=0)]
    labels = ["left open by proofs and examples"]
    if any(one.curve.band_lower is not None for one in found.distributions):
        handles += axes.plot([], [], color="tab:gray", linewidth=0.8, linestyle=":")
        labels.append(f"band of the population ({percent(found.confidence, ' %')} each)")
    return handles, labels


@DISTRIBUTION_PLOTS.register("box")
def box(found: Distributions, axes: Any = None) -> Any:
    """Draw two boxes for each run: of what is proven (filled), and of the distances of examples; return the Axes.

    Boxes reach from the 25 % to the 75 % quantile of all inputs, whiskers from 5 % to 95 %; wrong inputs count as 0.
    The box of the critical radii lies between the two. Without an example, a distance is drawn at the end of the axis.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    end = _end(found)
    for place, run in enumerate(found.runs):
        radii, color = critical_radii(run.summary.sandwich), f"C{place % 10}"
        for offset, ends, face in ((-0.18, radii.lower, color), (0.18, np.minimum(radii.upper, end), "none")):
            look = {"edgecolor": color, "facecolor": face, "alpha": 0.7}
            line = {"color": color}
            axes.bxp(
                [_box(ends)],
                positions=[place + offset],
                widths=0.28,
                orientation="horizontal",
                patch_artist=True,
                showfliers=False,
                boxprops=look,
                medianprops={"color": "black"},
                whiskerprops=line,
                capprops=line,
            )
    axes.set_yticks(range(len(found.runs)), [_name(run.name) for run in found.runs])
    axes.set_ylim(len(found.runs) - 0.5, -0.5)
    _label(found, axes, end)
    axes.set_title("filled: proven; hollow: distance of an example", fontsize="small", loc="left")
    return axes


@DISTRIBUTION_PLOTS.register("density")
def density(found: Distributions, axes: Any = None) -> Any:
    """Draw the density of the critical radii of correct inputs, and that of the log-normal law; return the Axes.

    Solid: a kernel estimate on the logarithms, from the geometric middle of each bracket with two ends above 0. Dashed:
    the fitted law. Both are pictures: neither is a bound.

    Raises:
        MissingExtra: without matplotlib.
    """
    axes = new_axes() if axes is None else axes
    end = _end(found)
    at = np.linspace(end / _POINTS, end, _POINTS)
    for place, (run, one) in enumerate(zip(found.runs, found.distributions, strict=True)):
        color, law = f"C{place % 10}", one.log_normal
        middles = _middles(run.summary.sandwich)
        label = f"{_name(run.name)} ({len(middles)} of {law.n})"
        if len(np.unique(middles)) > 2:
            axes.plot(at, stats.gaussian_kde(middles)(np.log(at)) / at, color=color, linewidth=1.2, label=label)
        if law.mu is not None:
            axes.plot(at, stats.lognorm.pdf(at, law.sigma, scale=math.exp(law.mu)), "--", color=color, linewidth=1)
    axes.plot([], [], "--", color="tab:gray", linewidth=1, label="log-normal law")
    _label(found, axes, end)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("density")
    axes.legend(
        fontsize="x-small", loc="upper right", frameon=False, title="middles of brackets", title_fontsize="x-small"
    )
    return axes


def _middles(sandwich: Any) -> NDArray[np.float64]:
    """Logarithms of the geometric middle of each bracket with two known ends, of correctly classified inputs."""
    radii = critical_radii(sandwich)
    known = sandwich.correct & (radii.lower > 0) & np.isfinite(radii.upper)
    return (np.log(radii.lower[known]) + np.log(radii.upper[known])) / 2


def _box(values: NDArray[np.float64]) -> dict[str, float]:
    ascending = np.sort(values)
    low, q1, middle, q3, high = (float(ascending[sample_rank(share, len(values)) - 1]) for share in QUANTILES)
    return {"med": middle, "q1": q1, "q3": q3, "whislo": low, "whishi": high}


def _end(found: Distributions) -> float:
    """A little beyond the largest end of a bracket that is known."""
    ends = [radius for one in found.distributions for radius in one.curve.radius]
    return _MARGIN * max(ends) or 1.0


def _label(found: Distributions, axes: Any, end: float) -> None:
    label_radii(axes, found.runs[0].summary, "critical")
    axes.set_xlim(0, end)


def _name(run: str) -> str:
    """As matplotlib shows it: it hides labels that begin with an underscore, and takes dollar signs for formulas."""
    return (" " * run.startswith("_") + run).replace("$", r"\$")
