"""The certified accuracy that a run guarantees on a shifted distribution, against the amount of shift. Needs no torch.

Formats and drawings register themselves in :data:`SHIFT_FORMATS` and under ``shift`` in ``DRAWINGS``.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from certify.core.legible import many
from certify.core.rounding import brief, brief_up, percent_below
from certify.core.run import Run
from certify.core.shown import DRAWINGS
from certify.core.threats.base import Threat
from certify.core.values import finite, number, one_of
from certify.deployment.given import sample_of, shares_of, weights_of
from certify.errors import BadInput, IncompleteRun
from certify.registry import Registry, nearest
from certify.stats.groups import group_lowers
from certify.stats.population import less_false, population_lower
from certify.stats.shift import (
    MEASURES,
    largest_move,
    least_mix,
    least_mix_near,
    share_intervals,
    weighted_lower,
)
from certify.stats.simultaneous import check_delta, share
from certify.study.read import read_run
from certify.summary.group_columns import group_column, groups_without_inputs, in_order, whole_size
from certify.summary.groups import coded
from certify.summary.pairing import no_sample
from certify.summary.summarize import DELTA
from certify.summary.words import percent

__all__ = [
    "GROUP_SHARES",
    "SHIFT_FORMATS",
    "Curve",
    "Mixture",
    "Shift",
    "Weighted",
    "shift_run",
    "shifted_lower",
    "source_lower",
]

GROUP_SHARES: Final = "group_shares"
"""The name of the curve over the shares of groups."""

ROUNDED: Final = Fraction(1, 10**6)
"""How far from one given shares may add up: people write 0.333333."""

LISTED: Final = 10
"""Groups that a sentence names; the rest are counted."""

HEAVIEST: Final = 1e9
"""A weight that no density ratio of a thinkable sample has."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The guaranteed certified accuracy against the amount of one kind of shift.

    Args:
        measure: its name: a key of ``MEASURES``, or ``group_shares``.
        title: in words.
        symbol: what the amounts are of.
        amounts: ascending.
        lower: for each radius, one lower bound for each amount.
        largest: for each radius, the largest amount at which the threshold still holds: infinite where any will do,
            None where it does not hold without a shift. Empty if no threshold was given.
    """

    measure: str
    title: str
    symbol: str
    amounts: tuple[float, ...]
    lower: tuple[tuple[float, ...], ...]
    largest: tuple[float | None, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the largest amount is ``"any"`` where every one will do."""
        return asdict(self) | {"largest": ["any" if one == math.inf else one for one in self.largest]}


@dataclass(frozen=True, slots=True)
class Mixture:
    """The guaranteed certified accuracy where only the shares of groups are other ones.

    Args:
        name: what inputs are grouped by.
        groups: their names.
        here: share of each among the inputs of the run.
        low, high: ends of the interval of the share of each at deployment.
        lowers: for each group, a lower bound of its certified accuracy at each radius.
        lower: of the mixture, at each radius.
        counted: inputs of the deployment in each group; empty where the shares were given.
        statement: what the bounds mean, with what probability.
    """

    name: str
    groups: tuple[str, ...]
    here: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    lowers: tuple[tuple[float, ...], ...]
    lower: tuple[float, ...]
    counted: tuple[int, ...]
    statement: str


@dataclass(frozen=True, slots=True)
class Weighted:
    """The guaranteed certified accuracy under importance weights.

    Args:
        lower: at each radius.
        mean, largest: of the weights.
        effective: number of unweighted inputs that say as much (Kish): the square of the sum over the sum of squares.
        statement: what the bounds mean, with what probability.
    """

    lower: tuple[float, ...]
    mean: float
    largest: float
    effective: float
    statement: str


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """What a run guarantees on other distributions than the one that its inputs were drawn from.

    Args:
        run: the run's name.
        threat: what radii are about.
        radii: ascending.
        n: inputs of the run.
        certified: share of them certified at each radius.
        source: lower bound of the certified accuracy on the distribution they were drawn from, at each radius.
        confidence: of each statement.
        threshold: what is to hold; None where nothing was asked.
        curves: one for each kind of shift.
        mixture, weighted: where shares or weights were given.
        head: model, data and guarantee by name.
        statements: what the curves mean, with what probability.
        notes: what else a reader has to know.
        model_digest: of the model.
    """

    run: str
    threat: Threat
    radii: tuple[float, ...]
    n: int
    certified: tuple[float, ...]
    source: tuple[float, ...]
    confidence: float
    threshold: float | None
    curves: tuple[Curve, ...]
    mixture: Mixture | None
    weighted: Weighted | None
    head: Mapping[str, str]
    statements: tuple[str, ...]
    notes: tuple[str, ...] = ()
    model_digest: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "run": self.run,
            "model_digest": self.model_digest,
            "threat": self.threat.to_dict(),
            "n": self.n,
            "radii": list(self.radii),
            "certified": list(self.certified),
            "source": list(self.source),
            "confidence": self.confidence,
            "threshold": self.threshold,
            "curves": [one.to_dict() for one in self.curves],
            "mixture": None if self.mixture is None else asdict(self.mixture),
            "weighted": None if self.weighted is None else asdict(self.weighted),
            "head": dict(self.head),
            "statements": list(self.statements),
            "notes": list(self.notes),
        }

    def to_frame(self) -> Any:
        """A pandas DataFrame with a line for each measure, radius and amount, indexed by them."""
        import pandas

        lines = [
            {"measure": one.measure, "radius": radius, "amount": amount, "lower": bound}
            for one in self.curves
            for radius, bounds in zip(self.radii, one.lower, strict=True)
            for amount, bound in zip(one.amounts, bounds, strict=True)
        ]
        return pandas.DataFrame(lines).set_index(["measure", "radius", "amount"])

    def render(self, format: str) -> str:
        """As text in a registered format: ``table``, ``markdown``, ``html``, ``latex``, ``json``."""
        return SHIFT_FORMATS[format](self)

    def table(self) -> str:
        """As plain text."""
        return self.render("table")

    def plot(self, axes: Any = None) -> Any:
        """Draw the first curve over the amount of shift, a line for each radius; return the Axes.

        Raises:
            MissingExtra: without matplotlib.
        """
        return DRAWINGS["shift"](self, axes)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return self.render("html")


SHIFT_FORMATS: Registry[Callable[[Shift], str]] = Registry("shift format", package="certify.report")


def shift_run(
    run: Run | Path | str,
    *,
    radii: Sequence[float] | None = None,
    measures: Sequence[str] | None = None,
    amounts: Sequence[float] | None = None,
    threshold: float | None = None,
    group: str | None = None,
    shares: Mapping[Any, Any] | str | None = None,
    sample: Sequence[Any] | str | None = None,
    weights: Sequence[float] | Mapping[int, float] | str | None = None,
    delta: float = DELTA,
) -> Shift:
    """The certified accuracy that a run guarantees on distributions Q near the one P that its inputs were drawn from.

    Args:
        run: a finished run, or its folder.
        radii: other radii than the declared ones; of a run that was read already, those of its summary.
        measures: how Q is near P: ``total_variation``, ``density_ratio``, ``kl``, ``chi2``; all of them if None.
        amounts: of the one measure that is named; usual ones if None.
        threshold: a fraction: the largest shift is found at which at least this much is still guaranteed.
        group: ``label``, ``FILE.csv:COLUMN`` or ``FILE.npz:ARRAY``: Q has the same groups in other shares.
        shares: the share of each group at deployment, a number, or a pair of ends; of labels if no group is named. Text
            is ``GROUP=SHARE,..`` or a file: see ``certify/deployment/given.py``.
        sample: the groups of inputs of the deployment, from whose counts shares are estimated; text names a file.
        weights: dQ/dP at each input, in the order of the summary or by position in the data set; text names a file.
        delta: probability with which each statement may fail.

    Raises:
        BadInput: for inputs that are no random sample; amounts, shares or weights that cannot be; unknown groups.
        IncompleteRun: for a run that is not finished.
        StoreError: if a folder cannot be read.
    """
    check_delta(delta)
    if not isinstance(run, Run | Path | str):
        raise BadInput(f"a run is a folder, or what read_run returns, got {type(run).__name__}")
    read = run if isinstance(run, Run) else read_run(run, radii, delta)
    if isinstance(run, Run) and radii is not None:
        raise BadInput("the radii of a run that was read are those of its summary: read it with these radii")
    chosen = _measures(measures, amounts)
    if threshold is not None:
        threshold = number("threshold", threshold)
        if not 0 < threshold <= 1:
            raise BadInput(f"threshold must be a fraction above 0 and at most 1 (60 % is 0.6), got {threshold:g}")
    if shares is not None and sample is not None:
        raise BadInput("shares are either given or estimated from a sample; name one of the two")
    summary, source = read.summary, source_lower(read, delta)
    radii = tuple(row.radius for row in summary.rows)[: len(source)]
    curves = []
    for name, given in chosen.items():
        measure = MEASURES[name]
        lower = tuple(tuple(measure.after(p, amount) for amount in given) for p in source)
        largest = () if threshold is None else tuple(measure.largest(p, threshold) for p in source)
        curves.append(Curve(name, measure.title, measure.symbol, given, lower, largest))
    statements, mixture = [_about_source(read, radii, source, delta)], None
    if group is not None or shares is not None or sample is not None:
        grouped = _Grouped.of(read, group or "label")
        curves.append(grouped.curve(len(radii), threshold, delta))
        statements.append(grouped.about_curve(len(radii), delta))
        if shares is not None or sample is not None:
            given_shares = shares_of(shares) if isinstance(shares, str) else shares
            counted = sample_of(sample) if isinstance(sample, str) else sample
            mixture = grouped.mixture(radii, given_shares, counted, delta)
    return Shift(
        run=read.name,
        threat=summary.threat,
        radii=radii,
        n=summary.n,
        certified=tuple(row.certified for row in summary.rows)[: len(radii)],
        source=source,
        confidence=1 - delta,
        threshold=threshold,
        curves=tuple(curves),
        mixture=mixture,
        weighted=None if weights is None else _weighted(read, radii, weights, delta),
        head={name: summary.head[name] for name in ("model", "data", "threat", "guarantee") if name in summary.head},
        statements=tuple(statements),
        notes=tuple(_notes(read, radii)),
        model_digest=str(read.settings["model"]["digest"]),
    )


def source_lower(run: Run, delta: float) -> tuple[float, ...]:
    """Lower bounds of the certified accuracy on what the inputs were drawn from, right at all radii at once.

    One for each radius of the summary up to the largest declared one. They are those of the summary's statement about a
    population, except where a run is a subset of its data set: the summary then counts in the data set itself, and no
    other distribution is near that. A random subset of an independent sample is one, and this is what is bounded here.

    Raises:
        BadInput: where the inputs are no random sample.
        IncompleteRun: for a run that is not finished.
    """
    if why := no_sample(run):
        incomplete = run.summary.expected not in (None, run.summary.n)
        raise (IncompleteRun if incomplete else BadInput)(f"nothing is known of a shift: {why}")
    covered = _covered(run)
    bounds = population_lower([int(yes.sum()) for yes in covered], run.summary.n, run.summary.guarantee.alpha, delta)
    return tuple(bounds[place] for place in _places(run))


def shifted_lower(run: Run, radius: float, measure: str, amount: float, delta: float, group: str = "label") -> float:
    """The certified accuracy at one radius of the summary that is guaranteed under one amount of one kind of shift.

    Args:
        run: a finished run.
        radius: of its summary, at most the largest declared one.
        measure: a key of ``MEASURES``, or ``group_shares``.
        amount: of that measure.
        delta: probability with which all bounds of one kind may fail: by a measure, or by the shares of one group.
        group: what inputs are grouped by, for ``group_shares``.

    Raises:
        BadInput, IncompleteRun: as :func:`shift`.
    """
    place = next(place for place, row in enumerate(run.summary.rows) if row.radius == radius)
    source = source_lower(run, delta)
    if place >= len(source):
        raise BadInput(f"beyond the largest declared radius, {brief(_declared(run)[-1])}, nothing follows for a source")
    if measure != GROUP_SHARES:
        return MEASURES[measure].after(source[place], amount)
    grouped = _Grouped.of(run, group)
    return least_mix_near(grouped.lowers(delta)[place], grouped.here, amount)


def _declared(run: Run) -> tuple[float, ...]:
    return run.summary.declared or run.summary.threat.radii


def _covered(run: Run) -> list[np.ndarray[Any, Any]]:
    """Which inputs are certified, at each *declared* radius."""
    return [np.greater_equal(run.summary.sandwich.sure, radius) for radius in _declared(run)]


def _places(run: Run) -> list[int]:
    """For each radius of the summary, the next declared one: what is robust there is robust here."""
    declared = _declared(run)
    return [bisect_left(declared, row.radius) for row in run.summary.rows if row.radius <= declared[-1]]


def _measures(names: Sequence[str] | None, amounts: Sequence[float] | None) -> dict[str, tuple[float, ...]]:
    chosen = list(MEASURES) if names is None else [one_of("measure", name, MEASURES) for name in dict.fromkeys(names)]
    if amounts is None:
        return {name: MEASURES[name].amounts for name in chosen}
    if len(chosen) != 1:
        raise BadInput("amounts of shift are those of one measure: name it, for example total_variation")
    given = sorted({MEASURES[chosen[0]].amount(one) for one in amounts})
    if not given:
        raise BadInput("no amount of shift: name at least one, for example 0.05")
    return {chosen[0]: tuple(given)}


def _over(run: Run) -> str:
    return "the draw of the inputs" + " and the noise" * (run.summary.guarantee.alpha is not None)


def _at(radii: Sequence[float], bounds: Sequence[float]) -> str:
    """Bounds at radii, as sentences name them."""
    return f"{' / '.join(map(percent_below, bounds))} % at radius {' / '.join(map(brief, radii))}"


def _about_source(run: Run, radii: Sequence[float], source: Sequence[float], delta: float) -> str:
    return (
        f"If these {many(run.summary.n, 'input')} are an independent random sample of a source P: with probability at "
        f"least {percent(1 - delta)} over {_over(run)}, P is truly right and robust on at least {_at(radii, source)}; "
        "and "
        "then, whatever distribution Q of inputs and labels is within an amount of P, Q is so on at least what the "
        "table "
        "says, all amounts, measures and radii at once. That a deployment is within an amount is an assumption, which "
        "this run cannot support."
    )


@dataclass(frozen=True, slots=True)
class _Grouped:
    """The inputs of a run by group."""

    run: Run
    name: str
    names: tuple[str, ...]
    codes: np.ndarray[Any, Any]
    absent: tuple[str, ...]
    here: Mapping[str, Fraction]
    """Share of each known group among the inputs of the run, 0 for those without an input."""
    counted: bool
    """Whether it is known which groups there are."""

    @classmethod
    def of(cls, run: Run, spec: str) -> _Grouped:
        summary = run.summary
        name, of = group_column(spec, summary.sandwich, whole_size(run.settings["data"]))
        codes, names = coded(name, summary.sandwich.index, of)
        classes = run.context.get("num_classes") if spec == "label" else None
        absent = groups_without_inputs(of, summary.sandwich.index.tolist(), classes)
        sizes = np.bincount(codes, minlength=len(names)).tolist()
        here = {group: Fraction(size, len(codes)) for group, size in zip(names, sizes, strict=True)}
        here |= dict.fromkeys(absent, Fraction(0))
        known = spec != "label" or classes is not None
        return cls(run, name, tuple(names), codes, tuple(absent), here, known)

    def lowers(self, delta: float) -> list[dict[str, float]]:
        """For each radius, a bound for every group, all right at once; 0 for a group without inputs."""
        level = share(delta, len(_declared(self.run)))
        sizes = np.bincount(self.codes, minlength=len(self.names)).tolist()
        found = []
        for yes in _covered(self.run):
            certified = np.bincount(self.codes[yes], minlength=len(self.names)).tolist()
            counts = dict(zip(self.names, zip(certified, sizes, strict=True), strict=True))
            bounds = group_lowers(counts, self.run.summary.guarantee.alpha, level)
            found.append(bounds | dict.fromkeys(self.absent, 0.0))
        return [found[place] for place in _places(self.run)]

    def curve(self, radii: int, threshold: float | None, delta: float) -> Curve:
        amounts, here = MEASURES["total_variation"].amounts, self.here
        lowers = self.lowers(delta)[:radii]
        return Curve(
            GROUP_SHARES,
            f"shares of {self.name}, in total variation",
            "TV of the shares",
            amounts,
            tuple(tuple(least_mix_near(one, here, amount) for amount in amounts) for one in lowers),
            () if threshold is None else tuple(largest_move(one, here, threshold) for one in lowers),
        )

    def about_curve(self, radii: int, delta: float) -> str:
        least = [min(one.values()) for one in self.lowers(delta)[:radii]]
        return (
            f"{self._if()}: with probability at least {percent(1 - delta)} over {_over(self.run)}, by itself, a "
            "deployment "
            "whose shares differ from those of these inputs by at most an amount in total variation is truly right "
            "and "
            f"robust on at least what the table says, and whatever its shares are on at least "
            f"{_at([row.radius for row in self.run.summary.rows], least)}, all amounts, groups and radii at once."
            f"{self._unknown()}"
        )

    def mixture(
        self, radii: Sequence[float], shares: Mapping[Any, Any] | None, sample: Sequence[Any] | None, delta: float
    ) -> Mixture:
        counted: dict[str, int] = {}
        if sample is None:
            assert shares is not None
            low, high = self._given(shares)
            lowers = self.lowers(delta)
            rest = "whose shares are those given"
        else:
            counted = self._counted(sample)
            intervals = share_intervals(counted, share(delta, 2))
            low = {group: Fraction(ends[0]) for group, ends in intervals.items()}
            high = {group: Fraction(ends[1]) for group, ends in intervals.items()}
            lowers = self.lowers(share(delta, 2))
            rest = (
                f"of which {many(len(sample), 'input')} were drawn independently and counted (half of the probability "
                "of "
                f"error, {brief_up(delta / 2)}, is for the groups' bounds, {len(self.names)} groups at "
                f"{len(_declared(self.run))} declared radii; half is for the two ends of {len(counted)} shares)"
            )
        bounds = [least_mix(one, low, high) for one in lowers]
        over = _over(self.run) + (", and of the sample" if counted else "")
        statement = (
            f"{self._if()}: with probability at least {percent(1 - delta)} over {over}, by itself, a deployment {rest} "
            "is "
            f"truly right and robust on at least {_at(radii, bounds)}, all radii at once.{self._unknown()}"
        )
        return Mixture(
            self.name,
            tuple(self.here),
            tuple(map(float, self.here.values())),
            tuple(float(low[group]) for group in self.here),
            tuple(float(high[group]) for group in self.here),
            tuple(tuple(one[group] for one in lowers) for group in self.here),
            tuple(bounds),
            tuple(counted[group] for group in self.here) if counted else (),
            statement,
        )

    def _if(self) -> str:
        return (
            f"If the inputs of each {self.name} are an independent random sample of a population of its own, which "
            "stays "
            "the same at deployment, where only shares are others, and the groups were not made by looking at results"
        )

    def _unknown(self) -> str:
        if not self.counted:
            return (
                " The manifest does not say how many classes there are: a deployment has none that is not among these "
                "inputs."
            )
        if not self.absent:
            return ""
        more = f" and {len(self.absent) - LISTED:,} more" if len(self.absent) > LISTED else ""
        return f" No input of {self.name} {', '.join(self.absent[:LISTED])}{more} is here: its accuracy counts as 0."

    def _name(self, group: Any) -> str:
        plain = group.item() if isinstance(group, np.generic) else group
        name = str(int(plain)) if isinstance(plain, float) and plain.is_integer() else str(plain).strip()
        if name not in self.here:
            known = list(self.here)
            raise BadInput(f"unknown {self.name} {name!r:.40}{nearest(name, known)} known: {', '.join(known[:20])}")
        return name

    def _counted(self, sample: Sequence[Any]) -> dict[str, int]:
        if not len(sample):
            raise BadInput("the sample of the deployment holds no input")
        found = Counter(map(self._name, sample))
        return {group: found[group] for group in self.here}

    def _given(self, shares: Mapping[Any, Any]) -> tuple[dict[str, Fraction], dict[str, Fraction]]:
        """Ends of the intervals of the shares that somebody gave; a group that is not named has none."""
        low, high = dict.fromkeys(self.here, Fraction(0)), dict.fromkeys(self.here, Fraction(0))
        for group, value in shares.items():
            name = self._name(group)
            if high[name]:
                raise BadInput(f"{self.name} {name} has two shares; give it one")
            ends = value if isinstance(value, tuple | list) else (value, value)
            if len(ends) != 2:
                raise BadInput(f"the share of {self.name} {name} is a number or two ends, got {value!r:.40}")
            low[name], high[name] = (
                Fraction(repr(finite(f"the share of {self.name} {name}", end))) for end in ends
            )  # 0.1 is a tenth, as written
            if not 0 <= low[name] <= high[name] <= 1:
                raise BadInput(f"the share of {self.name} {name} must lie between 0 and 1, got {value!r:.40}")
        if low == high:
            total = sum(low.values(), Fraction(0))
            if abs(total - 1) > ROUNDED:
                raise BadInput(f"the shares of {self.name} must add up to 1, they add up to {float(total):.6g}")
            low = high = {group: one / total for group, one in low.items()}
        return low, high


def _weighted(
    run: Run, radii: Sequence[float], weights: Sequence[float] | Mapping[int, float] | str, delta: float
) -> Weighted:
    summary = run.summary
    positions = summary.sandwich.index.tolist()
    if isinstance(weights, str):
        weights = weights_of(weights, summary.sandwich, whole_size(run.settings["data"]))
    given = np.array(
        [_weight(place, value) for place, value in zip(positions, in_order("weights", weights, positions), strict=True)]
    )
    declared, alpha = _declared(run), summary.guarantee.alpha
    if (least := weighted_lower(given, delta)) > 1:
        raise BadInput(
            f"these weights are no density ratio: their mean is at least {least:.4g} with probability "
            f"{percent(1 - delta)}, and that of dQ/dP is 1; divide them by their mean under P"
        )
    level = share(delta, len(declared))
    bounds = [min(1.0, less_false(min(1.0, weighted_lower(given * yes, level)), alpha)) for yes in _covered(run)]
    lower = tuple(bounds[place] for place in _places(run))
    total, squares = math.fsum(given), math.fsum(given * given)
    return Weighted(
        lower,
        total / len(given),
        float(given.max()),
        total * total / squares if squares else 0.0,
        "If the weights are the density ratio dQ/dP at these inputs, made without looking at results, and the inputs "
        "are "
        f"an independent random sample of P: with probability at least {percent(1 - delta)} over {_over(run)}, by "
        "itself, "
        f"Q is truly right and robust on at least {_at(radii, lower)}, all radii at once. No largest weight is "
        "assumed; "
        "weights count as they are and are not divided by their mean.",
    )


def _weight(position: int, value: Any) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        raise BadInput(f"the weight of input {position} is no number, got {value!r:.40}") from None
    if not 0 <= weight <= HEAVIEST:
        raise BadInput(f"the weight of input {position} must lie between 0 and {HEAVIEST:g}, got {weight}")
    return weight


def _notes(run: Run, radii: Sequence[float]) -> list[str]:
    summary, said = run.summary, []
    if summary.contradictions:
        said.append(
            f"CONTRADICTION: {many(len(summary.contradictions), 'adversarial example')} inside certified radii of this "
            "run: rely on nothing here before each is explained."
        )
    if len(radii) < len(summary.rows):
        said.append(
            f"Beyond the largest declared radius, {brief(_declared(run)[-1])}, nothing follows for a source, and such "
            "radii "
            "are left out."
        )
    data = run.settings.get("data", {})
    of, drawn = data.get("of"), data.get("inputs")
    if isinstance(of, int) and isinstance(drawn, int) and run.settings.get("inputs") == drawn < of:  # no shard
        said.append(
            f"The inputs are a random subset of {of:,}. The run's summary bounds what holds of these {of:,}; the "
            "source P "
            "here is what they are a sample of themselves."
        )
    if isinstance(met := run.context.get("met"), Mapping):
        said.append(
            f"The model was trained on {met.get('trained')!s:.20} of these inputs and chosen by "
            f"{met.get('held_out')!s:.20}: these say little about new ones."
        )
    return said
