"""Robustness distributions: the critical radii of several models, known to brackets, beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations

import numpy as np

from certify.core.distributions import Curve, Distributions, Law, Quantile, RadiusDistribution, TwoModels
from certify.core.rounding import brief_up
from certify.core.run import Run
from certify.errors import BadInput
from certify.stats.brackets import Brackets, kolmogorov_smirnov, signs
from certify.stats.log_normal import log_normal
from certify.stats.simultaneous import check_delta, holm, share
from certify.summary.distribution import QUANTILES, critical_radii, misclassified
from certify.summary.pairing import no_sample
from certify.summary.words import percent

__all__ = ["distributions"]


def distributions(runs: Sequence[Run], delta: float = 0.05, seed: int = 0) -> Distributions:
    """How the critical radii of one or several models are spread over their inputs, and whether they differ.

    The critical radius of an input is the distance of its nearest adversarial example, 0 where the model is wrong
    (Bosman et al. 2025). Complete verification with a gap encloses it: a proof below, an executed example above.
    Whatever is said holds for every radius within these brackets.

    Args:
        runs: of proofs, as :func:`~certify.study.read.read_runs` reads them, each about a model of its own.
        delta: probability with which each model's band may fail somewhere, with which any of its quantiles' intervals
            may, with which a log-normal law may be refused wrongly, and with which any mark of a pair may be wrong.
        seed: of the samples behind the p-value of the log-normal law.

    Raises:
        BadInput: for no run; probabilistic certificates; runs about different threat models, properties or data; inputs
            that are the same in part.

    >>> import certify, torch
    >>> layer = torch.nn.Linear(2, 2, bias=False).eval()
    >>> _ = layer.weight.data.copy_(torch.eye(2))
    >>> clf, threat = certify.Classifier(layer, num_classes=2), certify.ThreatModel("linf", (0.0, 0.5))
    >>> data = ([[0.75, 0.25], [1.0, 0.0], [0.75, 0.25]], [0, 0, 1])
    >>> found = certify.evaluate(clf, data, threat=threat, certifier="complete", gap=0.01)
    >>> [one] = distributions([Run("net", found.summary, {})]).distributions
    >>> one.n, one.wrong, one.quantiles[2].lower <= 0.25 <= one.quantiles[2].upper
    (3, 1, True)
    """
    check_delta(delta)
    if not runs:
        raise BadInput("a distribution is about at least one run; name a run folder")
    for run in runs:
        if run.summary.guarantee.alpha is not None:
            raise BadInput(
                f"{run.name} is probabilistic: each of its radii may be false. A distribution takes proofs, as certify "
                "run --certifier complete makes them"
            )
    together = list(combinations(runs, 2))
    for one, other in together:
        if difference := one.summary.difference(other.summary) or _other_data(one, other):
            raise BadInput(f"{one.name} and {other.name} have no distributions to compare: {difference}")
    why = no_sample(*runs)
    pairs = [_pair(one, other) for one, other in together]
    if why:
        pairs = [replace(pair, p_lower=None, p_upper=None) for pair in pairs]
    elif pairs:
        marks = holm([pair.p_upper or 0.0 for pair in pairs], delta)
        pairs = [replace(pair, differs=differs) for pair, differs in zip(pairs, marks, strict=True)]
    return Distributions(
        runs=tuple(runs),
        distributions=tuple(_distribution(run, delta, seed, bool(why)) for run in runs),
        pairs=tuple(pairs),
        confidence=1 - delta,
        statement=" ".join(_statement(delta, pairs, why)),
        notes=tuple(_notes(runs)),
    )


def _other_data(one: Run, other: Run) -> str:
    """Why the inputs of two runs are neither the same nor others from the same data; empty if they are."""
    if one.summary.same_inputs(other.summary):
        return ""
    ours, theirs = _data(one), _data(other)
    if ours != theirs:
        return f"the data are {ours} and {theirs}"
    common = np.intersect1d(one.summary.sandwich.index, other.summary.sandwich.index).size
    if not common:
        return ""
    return (
        f"they have {common:,} positions in common, but not the same inputs there or elsewhere, so that they are "
        "neither paired nor independent; give both the same inputs, in the same shape"
    )


def _data(run: Run) -> str:
    """The name of a run's data."""
    data = run.settings.get("data")
    if isinstance(data, Mapping) and isinstance(name := data.get("name"), str):
        return name
    return run.summary.head.get("data", "given inputs").rpartition(", n=")[0]


def _distribution(run: Run, delta: float, seed: int, no_sample: bool) -> RadiusDistribution:
    sandwich = run.summary.sandwich
    radii, wrong = critical_radii(sandwich), misclassified(sandwich)
    return RadiusDistribution(
        run=run.name,
        n=len(radii),
        wrong=int(wrong.sum()),
        unproven=int(np.count_nonzero(~wrong & (radii.lower == 0))),
        unbroken=int(np.count_nonzero(np.isinf(radii.upper))),
        curve=_curve(radii, delta, no_sample),
        quantiles=tuple(_quantile(radii, at, share(delta, len(QUANTILES)), no_sample) for at in QUANTILES),
        log_normal=_law(run, radii, delta, seed, no_sample),
    )


def _curve(radii: Brackets, delta: float, no_sample: bool) -> Curve:
    found, band = radii.distribution(), radii.band(delta)
    edges = (None, None) if no_sample else (tuple(band.lower.tolist()), tuple(band.upper.tolist()))
    return Curve(tuple(found.at.tolist()), tuple(found.lower.tolist()), tuple(found.upper.tolist()), *edges)


def _quantile(radii: Brackets, at: float, delta: float, no_sample: bool) -> Quantile:
    interval = (None, None) if no_sample else radii.population_quantile(at, delta)
    return Quantile(at, *radii.quantile(at), *interval)


def _law(run: Run, radii: Brackets, delta: float, seed: int, no_sample: bool) -> Law:
    """The law of the radii of correctly classified inputs: the others have radius 0, which has no logarithm."""
    correct = run.summary.sandwich.correct
    n = int(correct.sum())
    if run.summary.threat.counted:
        return Law(n, "these radii are counts")
    found = log_normal(radii.at(correct), seed) if n else "no input is classified correctly"
    if isinstance(found, str):
        return Law(n, found)
    law = Law(why_not="", **asdict(found))
    return replace(law, p_value=None) if no_sample else replace(law, refused=found.p_value <= delta)


def _pair(one: Run, other: Run) -> TwoModels:
    names, ours, theirs = (one.name, other.name), *(critical_radii(run.summary.sandwich) for run in (one, other))
    if not one.summary.same_inputs(other.summary):
        return TwoModels(names, "kolmogorov-smirnov", None, None, None, *kolmogorov_smirnov(ours, theirs))
    found = signs(ours, theirs)
    larger = found.first, found.second
    return TwoModels(names, "sign", larger, found.equal, found.open, found.p_lower, found.p_upper)


def _statement(delta: float, pairs: Sequence[TwoModels], why: str) -> Iterator[str]:
    yield (
        "The critical radius of an input is the distance of its nearest adversarial example, 0 where the model is "
        "wrong. Each lies between what is proven and an example that was executed; everything here holds for all radii "
        "in between."
    )
    if why:
        yield f"These figures are of the inputs at hand. No interval and no p-value is stated, because {why}."
        return
    yield (
        "If the inputs of a run are an independent random sample, then with probability at least "
        f"{percent(1 - delta)} over their draw its band holds the share of radii up to r in what they were drawn from, "
        "at every r at once (Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant), and with as much "
        f"probability all {len(QUANTILES)} intervals of its quantiles hold (order statistics); each run by itself."
    )
    yield (
        "A log-normal law of the correctly classified inputs is refused where p, which allows for the fitted "
        f"parameters and for every radius within the brackets, is at most {brief_up(delta)}."
    )
    if pairs:
        tests = {
            "sign": "either is as often the larger (sign test of the same inputs)",
            "kolmogorov-smirnov": "both have one distribution (Kolmogorov-Smirnov test of different inputs)",
        }
        named = " or ".join(text for test, text in tests.items() if any(pair.test == test for pair in pairs))
        yield (
            f"The mark * is set where it is rejected that {named}, at the largest p within the brackets and with "
            f"Holm's correction over all {len(pairs)}; that any mark is wrong has probability at most "
            f"{brief_up(delta)}."
        )


def _notes(runs: Sequence[Run]) -> Iterator[str]:
    for run in runs:
        sandwich = run.summary.sandwich
        if crossed := int(np.count_nonzero(sandwich.attacked <= sandwich.sure)):
            yield (
                f"CONTRADICTION: {crossed} in {run.name}, whose radii count as unknown; see certify summary {run.name}."
            )
        if not run.summary.complete:
            yield f"INCOMPLETE: {run.name}; the same run command resumes it."
        elif run.summary.errors:
            yield f"INCOMPLETE: {run.summary.errors} inputs of {run.name} failed and are in no law; run it again."
        least = run.summary.threat.radii[0]
        if least > 0:
            yield (
                f"Proofs of less than {least:g}, the smallest declared radius, are not in {run.name}; with --radii "
                "0,.. they would be."
            )
