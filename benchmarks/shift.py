"""Is the accuracy on a shifted distribution ever below what was stated? Simulated shifts, and linear programmes.

    python benchmarks/shift.py --out results/deployment/shift

A source P of twelve kinds of inputs, some of which are right and robust. 1,000 times, 500 inputs are drawn and the
bound of ``certify shift`` is taken; then a distribution Q within the ball is drawn at random, and another is the worst
there is. How often Q is below the bound is counted, with the exact binomial interval.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from certify.report import markdown
from certify.stats.binomial import clopper_pearson_lower, clopper_pearson_upper
from certify.stats.groups import group_lowers
from certify.stats.population import less_false, population_lower
from certify.stats.shift import MEASURES, least_mix, least_mix_near, share_intervals, weighted_lower
from certify.stats.simultaneous import share

KINDS, INPUTS, DELTA, ALPHA = 12, 500, 0.05, 0.01
AMOUNTS = {"total_variation": 0.1, "density_ratio": 1.5, "kl": 0.05, "chi2": 0.1}

Floats = NDArray[np.float64]


def distance(measure: str, q: Floats, p: Floats) -> float:
    """Of two distributions over the same kinds."""
    if measure == "total_variation":
        return float(np.abs(q - p).sum() / 2)
    if measure == "density_ratio":
        return float((q / p).max())
    if measure == "kl":
        return float(sum(a * math.log(a / b) for a, b in zip(q, p, strict=True) if a > 0))
    return float(((q - p) ** 2 / p).sum())


def towards(measure: str, p: Floats, far: Floats, amount: float) -> Floats:
    """The mixture of P and another distribution that is as far from P as the ball reaches."""
    low, high = 0.0, 1.0
    if distance(measure, far, p) <= amount:
        return far
    for _ in range(50):
        middle = (low + high) / 2
        if distance(measure, (1 - middle) * p + middle * far, p) <= amount:
            low = middle
        else:
            high = middle
    return (1 - low) * p + low * far


def robust_inputs(
    draw: np.random.Generator, p: Floats, robust: Floats, alpha: float
) -> tuple[NDArray[np.int64], Floats]:
    """Kinds of inputs that were drawn, and which are certified: the robust ones, and others with probability alpha."""
    kind = draw.choice(KINDS, INPUTS, p=p)
    return kind, np.where(robust[kind], 1.0, draw.random(INPUTS) < alpha)


def in_balls(draw: np.random.Generator, runs: int, alpha: float | None) -> list[dict[str, object]]:
    """How often a shifted distribution is below the bound, for each measure."""
    found = []
    for measure, amount in AMOUNTS.items():
        below, worst, loss = 0, 0, []
        for _ in range(runs):
            p = draw.dirichlet(np.ones(KINDS)) * 0.99 + 0.01 / KINDS
            robust = draw.random(KINDS) < 0.8
            if robust.all() or not robust.any():
                robust[0] = not robust[0]
            _, certified = robust_inputs(draw, p, robust, alpha or 0.0)
            [source] = population_lower([int(certified.sum())], INPUTS, alpha, DELTA)
            bound = MEASURES[measure].after(source, amount)
            q = towards(measure, p, draw.dirichlet(np.full(KINDS, 0.3)), amount)
            below += float(q @ robust) < bound
            bad = np.where(robust, 0.0, p) / p[~robust].sum()
            least = float(towards(measure, p, bad, amount) @ robust)
            worst += least < bound
            loss.append(least - bound)
        found.append(
            {"what": measure, "amount": amount, "random": below, "worst": worst, "slack": float(np.mean(loss))}
        )
    return found


def of_groups(draw: np.random.Generator, runs: int) -> list[dict[str, object]]:
    """The same for other shares of groups: given, counted, near the old ones; and for importance weights."""
    counts = {"shares given": 0, "shares counted": 0, "shares near": 0, "weights": 0}
    slack: dict[str, list[float]] = {name: [] for name in counts}

    def note(name: str, truth: float, bound: float) -> None:
        counts[name] += truth < bound
        slack[name].append(truth - bound)

    for _ in range(runs):
        p = draw.dirichlet(np.full(4, 5.0))
        truth = draw.uniform(0.4, 1.0, 4)
        group = draw.choice(4, INPUTS, p=p)
        certified = draw.random(INPUTS) < truth[group]
        n = {g: int((group == g).sum()) for g in range(4)}
        counted = {g: (int(certified[group == g].sum()), n[g]) for g in range(4) if n[g]}
        q = draw.dirichlet(np.ones(4))

        def bounds(delta: float, counted: dict[int, tuple[int, int]] = counted) -> dict[int, float]:
            return dict.fromkeys(range(4), 0.0) | group_lowers(counted, None, delta)

        exact = {g: Fraction(float(q[g])) for g in range(3)}
        exact[3] = 1 - sum(exact.values())
        note("shares given", float(q @ truth), least_mix(bounds(DELTA), exact, exact))
        sample = dict(enumerate(draw.multinomial(200, q).tolist()))
        ends = share_intervals(sample, share(DELTA, 2))
        low, high = ({g: Fraction(one[end]) for g, one in ends.items()} for end in (0, 1))
        note("shares counted", float(q @ truth), least_mix(bounds(share(DELTA, 2)), low, high))
        here = {g: Fraction(n[g], INPUTS) for g in range(4)}
        old = np.array([n[g] / INPUTS for g in range(4)])
        near = old + (q - old) * min(1.0, 0.1 / max(1e-9, np.abs(q - old).sum() / 2))
        note("shares near", float(near @ truth), least_mix_near(bounds(DELTA), here, 0.1))
        ratio = q / p
        if ratio.max() < 20:
            note(
                "weights", float(q @ truth), less_false(min(1.0, weighted_lower(ratio[group] * certified, DELTA)), None)
            )
    return [
        {"what": name, "of": len(slack[name]), "below": counts[name], "slack": float(np.mean(slack[name]))}
        for name in counts
    ]


def programmes(draw: np.random.Generator, count: int) -> dict[str, float]:
    """The largest difference between a bound and the optimum of a linear programme, by measure."""
    worst = {"total_variation": 0.0, "density_ratio": 0.0, "shares": 0.0}
    size = 6
    for _ in range(count):
        p = draw.dirichlet(np.ones(size))
        good = draw.random(size) < 0.6
        good[0], good[1] = True, False
        amount = float(draw.uniform(0, 0.5))
        cost, one = good.astype(float), np.ones((1, size))
        rows = np.block(
            [[np.zeros((1, size)), np.ones((1, size))], [np.eye(size), -np.eye(size)], [-np.eye(size), -np.eye(size)]]
        )
        limits = [2 * amount, *p, *-p]
        whole = np.block([[one, np.zeros((1, size))]])
        tv = optimize.linprog(np.concatenate([cost, np.zeros(size)]), rows, limits, whole, [1]).fun
        source = min(1.0, math.fsum(p[good]))
        worst["total_variation"] = max(
            worst["total_variation"], abs(tv - MEASURES["total_variation"].after(source, amount))
        )
        ratio = 1 + 4 * amount
        best = optimize.linprog(cost, A_eq=one, b_eq=[1], bounds=[(0, ratio * x) for x in p]).fun
        worst["density_ratio"] = max(worst["density_ratio"], abs(best - MEASURES["density_ratio"].after(source, ratio)))
        low, high = np.maximum(0, p - draw.uniform(0, 0.3, size)), np.minimum(1, p + draw.uniform(0, 0.3, size))
        lowers = draw.uniform(0, 1, size)
        best = optimize.linprog(lowers, A_eq=one, b_eq=[1], bounds=list(zip(low, high, strict=True))).fun
        ends = [{g: Fraction(float(end[g])) for g in range(size)} for end in (low, high)]
        worst["shares"] = max(worst["shares"], abs(best - least_mix(dict(enumerate(map(float, lowers))), *ends)))
    return worst


def interval(k: int, n: int) -> str:
    """How often in percent, with the exact 95 % interval."""
    low, high = clopper_pearson_lower(k, n, 0.025), clopper_pearson_upper(k, n, 0.025)
    return f"{100 * k / n:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def timed(what: Callable[[], object]) -> float:
    """CPU seconds."""
    begin = time.process_time()
    what()
    return time.process_time() - begin


def main() -> None:
    """Write the page and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for README.md and shift.json")
    parser.add_argument("--runs", type=int, default=1000)
    options = parser.parse_args()
    draw, runs = np.random.default_rng(0), options.runs
    proofs, votes = in_balls(draw, runs, None), in_balls(draw, runs, ALPHA)
    groups, exact = of_groups(draw, runs), programmes(draw, runs)
    seconds = {
        one.name: timed(lambda one=one: [one.after(p / 100, one.amounts[3]) for p in range(100)]) / 100
        for one in MEASURES.values()
    }
    balls = [
        [
            str(one["what"]), f"{one['amount']:g}", certificates, interval(int(str(one["random"])), runs),
            interval(int(str(one["worst"])), runs), f"{100 * float(str(one['slack'])):.1f}",
            f"{1e6 * seconds[str(one['what'])]:.0f}",
        ]
        for certificates, found in (("proofs", proofs), (f"votes, alpha {ALPHA:g}", votes))
        for one in found
    ]  # fmt: skip
    mixed = [
        [
            str(one["what"]),
            f"{one['of']:,}",
            interval(int(str(one["below"])), int(str(one["of"]))),
            f"{100 * float(str(one['slack'])):.1f}",
        ]
        for one in groups
    ]
    differences = ", ".join(f"{name} {value:.1e}" for name, value in exact.items())
    head = ["measure", "amount", "certificates", "random Q below %", "worst Q below %"]
    head += ["worst less bound, points", "microseconds a bound"]
    text = f"""# Certified accuracy under shift: is it ever below what was stated?

Written by `python benchmarks/shift.py --out results/deployment/shift` (Python {platform.python_version()}).
The bounds are those of `certify shift` ([docs](../../../docs/shift.md));
each may fail with probability at most {100 * DELTA:g} %.

## Distributions within a ball

{runs:,} sources P of {KINDS} kinds of inputs, from each {INPUTS} inputs, and from each ball one random
distribution at its border and the worst. Counted is how often its accuracy is below the bound, in percent with the
exact 95 % interval. For votes, an input that is not robust is certified with probability {ALPHA:g}.

{markdown.table(head, balls, words=1)}

For the worst distribution, a bound fails as often as the interval of P does, which may be 5 %: every interval
above holds 5 % or lies below. The points between the two are what 500 inputs leave open about P.

## Other shares of four groups, and importance weights

Shares are drawn at random; counted ones from 200 inputs. Weights are the true ratio, where it is below 20.

{markdown.table(["what is known", "simulations", "below %", "truth less bound, points"], mixed, words=1)}

## Closed forms and linear programmes

Largest difference over {runs:,} random instances of six points: {differences}.
The divergences, whose balls are no polytopes, are held against a grid of all distributions on three points in
`tests/stats/test_shift.py`.
"""
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "README.md").write_text(text)
    record = {"runs": runs, "delta": DELTA, "proofs": proofs, "votes": votes, "groups": groups, "programmes": exact}
    (options.out / "shift.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
