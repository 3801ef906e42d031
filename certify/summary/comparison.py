"""Release over release: the same inputs under several models, paired input by input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from certify.core.comparison import Change, Comparison, Shift
from certify.core.rounding import brief, brief_up
from certify.core.run import Run
from certify.core.values import one_of
from certify.errors import BadInput
from certify.stats.paired import PairedCounts, mcnemar_p_value
from certify.stats.simultaneous import holm, share
from certify.summary.pairing import PAIRED_TESTS, check_comparable, is_certified, no_sample, paired
from certify.summary.words import percent

__all__ = ["compare"]


def compare(
    runs: Sequence[Run], radii: Sequence[float] | None = None, delta: float = 0.05, test: str = "exact"
) -> Comparison:
    """Compare runs on the same inputs with the first of them, input by input.

    Limits and p-values are about inputs that were drawn at random. Where these cannot have been, because some occur
    several times or were taken at regular steps, there are none, and the statement says why.

    Args:
        runs: at least two, as :func:`~certify.study.read.read_runs` reads them.
        radii: among those that every run was summarized at; all of them if None.
        delta: probability with which any limit may be wrong, and with which any mark may.
        test: ``"exact"``, or ``"tango"`` for narrower limits; both keep to delta at any number of inputs.

    Raises:
        BadInput: for fewer than two runs, no common radius, or runs about different data or threat models; the message
            names the difference.

    >>> import certify
    >>> data, threat = ([[0.9, 0.9], [0.1, 0.2]], [1, 0]), certify.ThreatModel("l2", (0.3,))
    >>> def release(cut):
    ...     clf = certify.Classifier(lambda x: (x.mean(1) > cut).long(), num_classes=2)
    ...     return Run(f"cut at {cut}", certify.evaluate(clf, data, threat=threat, sigma=0.25, n=1000).summary, {})
    >>> [change] = compare([release(0.5), release(0.7)]).changes
    >>> change.both, change.lost, change.gained
    (1, (0,), ())
    """
    if len(runs) < 2:
        raise BadInput("a comparison is between runs: name at least two, the baseline first")
    baseline, *others = runs
    for other in others:
        check_comparable(baseline, other)
    one_of("test", test, PAIRED_TESTS)
    common = _common_radii(runs, radii)
    pairs = [(other, radius) for other in others for radius in common]
    why = no_sample(*runs)
    changes = [_counts(baseline, *pair) for pair in pairs]
    if not why:
        changes = _tested(changes, delta, test)
    return Comparison(
        runs=tuple(runs),
        radii=common,
        changes=tuple(changes),
        shifts=tuple(_shift(baseline, other) for other in others),
        confidence=1 - delta,
        test=test,
        statement=_counted(runs, why) if why else _statement(runs, delta, len(pairs)),
        notes=tuple(_notes(runs)),
    )


def _common_radii(runs: Sequence[Run], asked: Sequence[float] | None) -> tuple[float, ...]:
    common = set.intersection(*({row.radius for row in run.summary.rows} for run in runs))
    if not common:
        reported = "; ".join(f"{run.name} {', '.join(brief(row.radius) for row in run.summary.rows)}" for run in runs)
        raise BadInput(f"the runs share no radius ({reported}); name some with --radii")
    for radius in asked or ():
        if radius not in common:
            shared = ", ".join(map(brief, sorted(common)))
            raise BadInput(f"radius {radius:g} is not one that all runs were summarized at ({shared})")
    return tuple(sorted(common if asked is None else set(asked)))


def _counts(old: Run, new: Run, radius: float) -> Change:
    """Count what both, one or neither of two runs certify, without limits and p-values."""
    before, after, index = is_certified(old, radius), is_certified(new, radius), old.summary.sandwich.index
    counts = paired(old, new, radius)
    lost, gained = (tuple(index[chosen].tolist()) for chosen in (before & ~after, after & ~before))
    return Change(new.name, radius, counts.n11, counts.n00, lost, gained, None, None, None, None)


def _tested(changes: Sequence[Change], delta: float, test: str) -> list[Change]:
    """The same with limits and p-values, all of which hold at once."""
    counts = [PairedCounts(n11=one.both, n10=len(one.lost), n01=len(one.gained), n00=one.neither) for one in changes]
    p_values = [mcnemar_p_value(one) for one in counts]
    level = share(delta, 2 * len(changes))
    limits = [_limits(one, test, level) for one in counts]
    return [
        replace(one, lower=lower, upper=upper, p_value=p_value, differs=differs)
        for one, (lower, upper), p_value, differs in zip(changes, limits, p_values, holm(p_values, delta), strict=True)
    ]


def _limits(counts: PairedCounts, test: str, level: float) -> tuple[float, float]:
    """Both limits of the difference, each at ``level``: the upper one is the lower one of the runs exchanged."""
    exchanged = PairedCounts(n11=counts.n11, n10=counts.n01, n01=counts.n10, n00=counts.n00)
    any_margin = 0.5  # the limits do not depend on the margin
    return PAIRED_TESTS[test](counts, any_margin, level).lower, -PAIRED_TESTS[test](exchanged, any_margin, level).lower


def _shift(old: Run, new: Run) -> Shift:
    change = new.summary.sandwich.sure - old.summary.sandwich.sure
    both = change[~np.isnan(change)]
    if not both.size:
        return Shift(new.name, 0, None, None)
    return Shift(new.name, both.size, float(both.mean()), float(np.median(both)))


def _statement(runs: Sequence[Run], delta: float, comparisons: int) -> str:
    noise = any(run.summary.guarantee.alpha is not None for run in runs)
    over = "their draw and the noise of all runs" if noise else "their draw"
    return (
        f"If these {runs[0].summary.n:,} inputs are a random sample, then with probability at least "
        f"{percent(1 - delta)} over {over}, every interval holds the difference in the probability that a "
        f"random input is right and certified, all {comparisons} at once. The mark * is set where equal probabilities "
        f"are rejected (McNemar's exact test, Holm's correction over all {comparisons}); that any mark is wrong has "
        f"probability at most {brief_up(delta)}. This compares what could be certified, not how robust the models are."
    )


def _counted(runs: Sequence[Run], why: str) -> str:
    return (
        f"These counts are of the {runs[0].summary.n:,} inputs at hand. No interval and no p-value is stated, because "
        f"{why}. This compares what could be certified, not how robust the models are."
    )


def _notes(runs: Sequence[Run]) -> Iterator[str]:
    """Warnings about differences that a reader could overlook."""
    heads = [run.summary.head for run in runs]
    if len({head.get("guarantee") for head in heads}) > 1:
        named = "; ".join(f"{run.name}: {run.summary.head.get('guarantee')}" for run in runs)
        yield f"The certificates are about different functions. {named}."
    elif len({head.get("smoothing") for head in heads}) > 1:
        named = "; ".join(f"{run.name}: {run.summary.head.get('smoothing')}" for run in runs)
        yield f"Each run certifies a smoothed model of its own. {named}."
    if any("radii" in head for head in heads):
        named = "; ".join(f"{run.name}: {run.summary.head['radii']}" for run in runs if "radii" in run.summary.head)
        yield f"Radii {named}."
    if not all(run.summary.contents for run in runs):
        yield "A published log holds no values of its inputs: these runs are joined by position and label alone."
    for run in runs:
        if run.summary.contradictions:
            yield f"CONTRADICTION: {len(run.summary.contradictions)} in {run.name}; see certify summary."
        if not run.summary.complete:
            yield f"INCOMPLETE: {run.name}; the same run command resumes it."
