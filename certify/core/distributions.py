"""Robustness distributions as data: how the critical radii of inputs are spread, under one or several models.

The critical radius of an input is the distance of its nearest adversarial example, 0 where the model is wrong. Formats
and plots register themselves in :data:`DISTRIBUTION_FORMATS` and :data:`DISTRIBUTION_PLOTS`, one file each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from certify.core.run import Run
from certify.registry import Registry

__all__ = [
    "DISTRIBUTION_FORMATS",
    "DISTRIBUTION_PLOTS",
    "BesidePublished",
    "Curve",
    "Distributions",
    "Law",
    "Quantile",
    "RadiusDistribution",
    "Refuted",
    "TwoModels",
]


def _plain(value: float) -> float | None:
    """For JSON, which knows no infinity."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Curve:
    """Between what the share of radii up to each of several places lies; it is constant from one place to the next.

    Args:
        radius: the places, ascending, from 0 on.
        lower, upper: of the inputs at hand at least and at most this share has a critical radius up to the place.
        band_lower, band_upper: the same of what they were drawn from, at all places at once; None where they can be no
            random sample.
    """

    radius: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    band_lower: tuple[float, ...] | None
    band_upper: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Quantile:
    """The smallest radius that at least this share of critical radii does not exceed.

    Args:
        share: above 0 and below 1.
        lower, upper: what it lies between for the inputs at hand; infinite where no example was found.
        population_lower, population_upper: the same for what they were drawn from, with the stated confidence; None
            where they can be no random sample.
    """

    share: float
    lower: float
    upper: float
    population_lower: float | None
    population_upper: float | None


@dataclass(frozen=True, slots=True)
class Law:
    """A log-normal law of the critical radii of correctly classified inputs.

    Args:
        n: how many those are.
        why_not: why there is no law, in words; empty where there is one.
        mu, sigma: of the natural logarithm of the radius, most likely given the brackets.
        distance: the smallest Kolmogorov-Smirnov distance of any log-normal law from any radii within the brackets.
        p_value: of "the radii follow a log-normal law"; never too small. None where the inputs can be no random sample.
        refused: whether that is at most what the statement allows.
    """

    n: int
    why_not: str
    mu: float | None = None
    sigma: float | None = None
    distance: float | None = None
    p_value: float | None = None
    refused: bool | None = None


@dataclass(frozen=True, slots=True)
class RadiusDistribution:
    """The critical radii of one model.

    Args:
        run: name of the run.
        n: inputs.
        wrong: misclassified ones, whose critical radius is 0.
        unproven: others for which no radius above 0 is proven.
        unbroken: others for which no example was found, at whatever distance.
        curve: the distribution function.
        quantiles: by ascending share.
        log_normal: the law, or why there is none.
    """

    run: str
    n: int
    wrong: int
    unproven: int
    unbroken: int
    curve: Curve
    quantiles: tuple[Quantile, ...]
    log_normal: Law

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null stands for an infinite end."""
        quantiles = [
            {name: value if value is None else _plain(value) for name, value in asdict(one).items()}
            for one in self.quantiles
        ]
        return {**asdict(self), "quantiles": quantiles}


@dataclass(frozen=True, slots=True)
class TwoModels:
    """Whether two models have the same critical radii.

    Args:
        runs: their names.
        test: ``"sign"``, paired on the same inputs; or ``"kolmogorov-smirnov"``, on different ones.
        larger: inputs whose radius is certainly larger under the first model, and under the second; None if unpaired.
        equal, open: inputs with equal radii, and with brackets that overlap; None if unpaired.
        p_lower, p_upper: of the test, over all radii within the brackets; None where inputs can be no random sample.
        differs: whether that is rejected at ``p_upper`` after Holm's correction over all pairs.
    """

    runs: tuple[str, str]
    test: str
    larger: tuple[int, int] | None
    equal: int | None
    open: int | None
    p_lower: float | None = None
    p_upper: float | None = None
    differs: bool | None = None


@dataclass(frozen=True, slots=True)
class Refuted:
    """A published end that ours makes impossible.

    Args:
        index: position of the input.
        end: ``"lower"``: our example lies nearer than what was called verified; ``"upper"``: our proof reaches beyond
            what was called an example.
        published: the published end.
        ours: distance of our example, rounded up; or our proven radius, rounded down.
    """

    index: int
    end: str
    published: float
    ours: float


@dataclass(frozen=True, slots=True)
class BesidePublished:
    """Published brackets of one model beside ours, on the inputs that both have.

    Args:
        run: name of the run.
        model: what the file calls it.
        n: inputs that both have.
        overlap: inputs whose two brackets have a radius in common.
        lower_confirmed, upper_confirmed: published ends that our proof, or our example, reaches.
        tightened: of those that overlap, how many ours narrows, at either end.
        crossed: positions of inputs whose published ends contradict each other, the lower above the upper.
        refuted: ends that ours makes impossible, by position.
    """

    run: str
    model: str
    n: int
    overlap: int
    lower_confirmed: int
    upper_confirmed: int
    tightened: int
    crossed: tuple[int, ...]
    refuted: tuple[Refuted, ...]

    def count(self, end: str) -> int:
        """How many ends of a kind are refuted."""
        return sum(one.end == end for one in self.refuted)


@dataclass(frozen=True, slots=True, eq=False)
class Distributions:
    """Robustness distributions of one or several models.

    Args:
        runs: at least one.
        distributions: one for each run.
        pairs: one for each two runs.
        confidence: of each band, each set of quantiles, and of all marks of pairs together.
        statement: what bands, intervals and marks mean, in words, or why there are none.
        notes: what else a reader has to know.
        published: where published brackets were given, one for each run that they are about.
    """

    runs: tuple[Run, ...]
    distributions: tuple[RadiusDistribution, ...]
    pairs: tuple[TwoModels, ...]
    confidence: float
    statement: str
    notes: tuple[str, ...]
    published: tuple[BesidePublished, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null stands for an infinite end."""
        summary = self.runs[0].summary
        return {
            "threat": summary.threat.to_dict(),
            "property": summary.property.to_dict(),
            "confidence": self.confidence,
            "distributions": [one.to_dict() for one in self.distributions],
            "pairs": [asdict(one) for one in self.pairs],
            "published": [asdict(one) for one in self.published],
            "statement": self.statement,
            "notes": list(self.notes),
        }

    def to_frame(self) -> Any:
        """The quantiles as a pandas DataFrame, one line for each run and share."""
        import pandas

        lines = [{"run": one.run, **asdict(quantile)} for one in self.distributions for quantile in one.quantiles]
        return pandas.DataFrame(lines).set_index(["run", "share"])

    def render(self, format: str) -> str:
        """As text in a registered format: ``table``, ``json``, ``csv``, ``markdown``, ``latex``, ``html``."""
        return DISTRIBUTION_FORMATS[format](self)

    def table(self) -> str:
        """As plain text tables."""
        return self.render("table")

    def plot(self, axes: Any = None, kind: str = "ecdf") -> Any:
        """Draw the distribution functions (``ecdf``), boxes (``box``) or densities (``density``); return the Axes.

        Raises:
            MissingExtra: without matplotlib.
        """
        return DISTRIBUTION_PLOTS[kind](self, axes)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return self.render("html")


DISTRIBUTION_FORMATS: Registry[Callable[[Distributions], str]] = Registry(
    "distribution format", package="certify.report"
)
DISTRIBUTION_PLOTS: Registry[Callable[[Distributions, Any], Any]] = Registry(
    "distribution plot", package="certify.plots"
)
