"""Certified accuracy at each declared radius beside what attacks achieve: the numbers people release, read and cite.

This is the data alone. Formats (table, JSON, CSV, plot) register themselves in :data:`FORMATS` from ``certify.report``,
one file each, so that a summary renders itself without the core knowing any of them.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from certify.core.groups import Groups
from certify.core.guarantee import Guarantee
from certify.core.norms import ORDER, Norm
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.reported import ReportedAttack
from certify.core.rounding import brief, percent_down, round_down, round_up
from certify.core.sandwich import VERDICTS, Sandwich
from certify.core.threats.base import Threat
from certify.core.verdict import Verdict
from certify.registry import Registry

__all__ = ["FORMATS", "PLOTS", "Contradiction", "Converted", "PixelRow", "Row", "Summary"]


@dataclass(frozen=True, slots=True)
class Row:
    """One declared radius. Accuracies are fractions of all inputs attempted; abstain and unknown are counts.

    Args:
        radius: the radius, in input units.
        certified: fraction predicted correctly and certified at this radius.
        certified_lower: with the stated confidence, the fraction *truly* robust at this radius is at least this.
        empirical: fraction predicted correctly that no attack broke within this radius; None where no attack ran, or
            not on every input, or not this far.
        abstain: inputs on which the certifier abstained.
        unknown: inputs that are predicted correctly and neither certified nor broken at this radius.
        by_method: ``certified`` for each method alone, where several methods were run.
        population_lower: if the inputs were drawn at random, at least this fraction of what they were drawn from is
            truly robust, with the stated confidence; None where that cannot be said.
    """

    radius: float
    certified: float
    certified_lower: float
    empirical: float | None
    abstain: int
    unknown: int
    by_method: Mapping[str, float] = field(default_factory=dict)
    population_lower: float | None = None


@dataclass(frozen=True, slots=True)
class PixelRow:
    """What is certified of the judged pixels of images at one declared radius; shares are means over the images.

    Args:
        radius: the radius, in input units.
        certified: share of pixels certified to keep their right class.
        certified_lower: with the stated confidence, at least this mean share truly keeps it on these images.
        population_lower: if the images were drawn at random, the mean share in what they were drawn from is at least
            this, with the stated confidence; None where some images repeat.
        wrong: share of pixels certified to keep another class.
        abstain: share of pixels of which nothing is certified.
        miou: lower end of the mean intersection over union; see :func:`~certify.summary.pixels.pixel_rows`.
    """

    radius: float
    certified: float
    certified_lower: float
    population_lower: float | None
    wrong: float
    abstain: float
    miou: float


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An adversarial example inside a certified radius: certificate or attack is wrong, or about another model.

    Args:
        index, method, certified_radius: the certificate.
        attack, distance: what found the example, and how far from the input it is at most.
        reported: whether somebody's log says so, and there is no example to examine.
    """

    index: int
    method: str
    certified_radius: float
    attack: str
    distance: float
    reported: bool = False

    def __str__(self) -> str:
        found = "reports another answer within" if self.reported else "found an example at"
        return (
            f"input {self.index}: {self.method} certifies {round_down(self.certified_radius, 6)}, "
            f"{self.attack} {found} {round_up(self.distance, 6)}"
        )


@dataclass(frozen=True, slots=True)
class Converted:
    """A ball of another norm inside a certified one. It was not certified as such, and is never the best one can do."""

    norm: Norm
    radius: float
    to: Norm
    contained: float
    dimensions: int

    def __str__(self) -> str:
        power = 1 / ORDER[self.norm] - 1 / ORDER[self.to]
        divided = {1.0: "divided by d", 0.5: "divided by sqrt(d)"}.get(power, "the same number")
        return (
            f"converted, not certified as such: {self.norm} {brief(self.radius)} contains {self.to} "
            f"{round_down(self.contained, 6)} ({divided}, d={self.dimensions:,})"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Summary:
    """Certified, empirical and clean accuracy side by side.

    Args:
        threat: the threat model all numbers are about.
        n: inputs attempted; inputs that failed count as not certified.
        clean: fraction predicted correctly; for smoothing, by the smoothed classifier.
        rows: one for each radius, ascending.
        acr: average certified radius, counting 0 for inputs that are wrong or not certified (Zhai et al. 2020).
        contradictions: adversarial examples inside certified radii.
        guarantee: of each certificate: a proof, or a probability.
        statement: what exactly is guaranteed, with what probability, over what randomness.
        sandwich: every input on its own.
        head: model digest, data, n, sigma, alpha and the like, as name and text: printed above every table.
        methods: the certifiers that took part.
        expected: inputs the run is to attempt, where that is known; more than ``n`` while a run is incomplete.
        attacked: inputs for which an attack has reported; None if no attack belongs to it.
        confidence: of ``statement``: the probability with which all its lower bounds hold.
        further: further statements, each with its own condition, such as one about the population.
        reported: imported attack logs beside the certificates.
        inputs: SHA-256 over index and label of every input.
        contents: SHA-256 over the values of every input; empty for a published log, which does not hold them. Tables
            that agree in this and in ``inputs`` are about the same inputs.
        dimensions: features of one input, where known.
        converted: the radii in other norms, where asked for.
        groups: the same by groups of inputs, where asked for.
        declared: the radii declared before the run; empty if they are those of ``threat``. Bounds on what the inputs
            were drawn from hold at these, and at others by way of the next larger one.
        misjudged: how many inputs may count as broken although they are not, with probability ``confidence`` no more:
            0 for attacks on the plain model; None where no attack was on what was certified.
        parts: the laws, bounds, searches and statistics behind the table, as ``family:member``: what is to be cited.
        property: what each certified input is proven to keep.
        pixels: of a segmentation, what is certified of the pixels; one for each declared radius.
    """

    threat: Threat
    n: int
    clean: float
    rows: tuple[Row, ...]
    acr: float
    contradictions: tuple[Contradiction, ...]
    guarantee: Guarantee
    statement: str
    sandwich: Sandwich
    head: Mapping[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    expected: int | None = None
    attacked: int | None = None
    confidence: float = 0.95
    further: tuple[str, ...] = ()
    reported: tuple[ReportedAttack, ...] = ()
    inputs: str = ""
    contents: str = ""
    dimensions: int | None = None
    converted: tuple[Converted, ...] = ()
    groups: tuple[Groups, ...] = ()
    declared: tuple[float, ...] = ()
    misjudged: int | None = None
    parts: tuple[str, ...] = ()
    property: Property = TOP_CLASS
    pixels: tuple[PixelRow, ...] = ()

    def certified_at(self, radius: float) -> float:
        """Fraction of all inputs predicted correctly and certified at any radius, declared or not."""
        return int(np.count_nonzero(self.sandwich.certified >= radius)) / self.n

    def empirical_at(self, radius: float) -> float | None:
        """Fraction no attack broke within the largest declared radius that is not above ``radius``.

        Between declared radii that is an upper bound, because accuracy under attack can only fall with the radius.
        """
        return next((row.empirical for row in reversed(self.rows) if row.radius <= radius), self.clean)

    @builtins.property  # the class has a field of that name
    def complete(self) -> bool:
        """Whether every expected input was attempted, and attacked if an attack belongs to it."""
        reported = self.n if self.attacked is None else min(self.n, self.attacked)
        return reported >= (self.n if self.expected is None else self.expected)

    @builtins.property
    def smoothed(self) -> bool:
        """Whether the claims are about a vote of the model, and not about the model itself."""
        return self.guarantee.alpha is not None or "SMOOTHED" in self.head.get("guarantee", "")

    @builtins.property
    def errors(self) -> int:
        """Inputs about which no certifier could compute anything; the same run command tries them again."""
        return int(np.count_nonzero(self.sandwich.verdict == VERDICTS.index(Verdict.ERROR)))

    def difference(self, other: Summary) -> str:
        """The first thing in which another summary is about something else, in words; empty where only radii differ."""
        if self.property != other.property:
            return f"inputs have to {self.property}, and to {other.property}"
        return self.threat.difference(other.threat)

    def same_inputs(self, other: Summary) -> bool:
        """Whether positions, labels and values are the same; values do not count where a published log holds none."""
        values = self.contents == other.contents or not (self.contents and other.contents)
        return values and (self.n, self.inputs) == (other.n, other.inputs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "threat": self.threat.to_dict(),
            "property": self.property.to_dict(),
            "n": self.n,
            "clean": self.clean,
            "rows": [{**asdict(row), "by_method": dict(row.by_method)} for row in self.rows],
            **({"pixels": [asdict(row) for row in self.pixels]} if self.pixels else {}),
            "acr": self.acr,
            "contradictions": [asdict(one) for one in self.contradictions],
            "guarantee": self.guarantee.kind,
            "alpha": self.guarantee.alpha,
            "confidence": self.confidence,
            "statement": self.statement,
            "further": list(self.further),
            "reported": [one.to_dict() for one in self.reported],
            "converted": [asdict(one) for one in self.converted],
            "groups": [one.to_dict() for one in self.groups],
            "gaps": asdict(self.sandwich.gaps()),
            "head": dict(self.head),
            "methods": list(self.methods),
            "complete": self.complete,
        }

    def render(self, format: str) -> str:
        """The summary as text in a registered format: ``table``, ``json``, ``csv``, ``curve``, ``html``."""
        return FORMATS[format](self)

    def curve(self) -> str:
        """Certified and attacked accuracy over the radius, drawn with characters."""
        return self.render("curve")

    def table(self) -> str:
        """The summary as a plain text table."""
        return self.render("table")

    def to_frame(self) -> Any:
        """The rows as a pandas DataFrame, one row a radius."""
        import pandas

        return pandas.DataFrame(self.to_dict()["rows"]).drop(columns="by_method").set_index("radius")

    def plot(self, axes: Any = None) -> Any:
        """Draw certified and empirical accuracy over the radius; return the matplotlib Axes.

        Raises:
            MissingExtra: without matplotlib.
        """
        return PLOTS["curves"](self, axes)

    def to_latex(self) -> str:
        """The summary as a LaTeX table, for papers."""
        return self.render("latex")

    def bibtex(self) -> str:
        """BibTeX entries of everything that made the table."""
        return self.render("bibtex")

    def __repr__(self) -> str:
        shares = " / ".join(percent_down(row.certified) for row in self.rows)
        radii = " / ".join(self.threat.number(row.radius) for row in self.rows)
        return f"Summary of {self.n:,} inputs: {shares} % certified at {self.threat.quantity} {radii}"

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return self.render("html")


FORMATS: Registry[Callable[[Summary], str]] = Registry("summary format", package="certify.report")
PLOTS: Registry[Callable[[Summary, Any], Any]] = Registry("plot", package="certify.plots")
