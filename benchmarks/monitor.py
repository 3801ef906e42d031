"""How often a monitor cries for nothing, and how many inputs it takes to see a fall; beside detectors of others.

    python benchmarks/monitor.py [--out results/deployment/monitor] [--lives 10000]

Part one simulates lives in which nothing is wrong, through the very functions that a monitor uses, and counts the lives
with any alarm. Part two lets the accuracy fall by 1, 2, 5 and 10 points after 1,000 quiet inputs, and counts the inputs
until the first alarm. ``river`` and ``mapie`` are used where they can be imported, and left out with the reason
otherwise; neither is a dependency. The model of part two: an input has a margin from a normal law with deviation 1, and
its answer is wrong where that is negative; a fall moves the mean.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from certify.checker.life import level, tolerance_of
from certify.stats.binomial import clopper_pearson_lower, clopper_pearson_upper
from certify.stats.e_processes import (
    RISES,
    SLOPES,
    Capital,
    log_threshold,
    rank_factors,
    risk_factors,
    smoothed_p,
)

ALPHA, ROWS = 0.05, 2_000
QUIET, AFTER, STREAMS = 1_000, 10_000, 100
RISK, INPUTS, FALLS = 0.05, 2_000, (0.01, 0.02, 0.05, 0.10)
LEVELS = 64
"""Values of a score in part one: ties are common."""


def alarms(lives: int, bets: int, alpha: float, factors: Iterable[np.ndarray]) -> np.ndarray:
    """For each life, whether it ever raised an alarm."""
    capital, alarmed = Capital.of(bets, (lives,)), np.zeros(lives, bool)
    for each in factors:
        capital = capital.after(each)
        alarmed |= capital.log_e > log_threshold(alpha, capital.steps)
    return alarmed


def losses(draw: np.random.Generator, lives: int, risk: float, tolerance: Any) -> Iterable[np.ndarray]:
    """Wrong answers with a fixed probability; the tolerance is one number, or one for each life."""
    for _ in range(ROWS):
        lost = draw.random(lives) < risk
        if np.isscalar(tolerance):
            yield risk_factors(lost, tolerance)
        else:  # each life has the tolerance that its own run gave it
            bets = np.array(RISES)
            yield (1 - bets) + bets * (lost / tolerance)[:, None]


def graded(draw: np.random.Generator, lives: int) -> Iterable[np.ndarray]:
    """Losses between 0 and 1 with mean 0.3."""
    for _ in range(ROWS):
        yield risk_factors(draw.beta(0.6, 1.4, lives), 0.3)


def ranks(draw: np.random.Generator, lives: int, inputs: int) -> Iterable[np.ndarray]:
    """Scores with ties, the run's and the stream's of one law, ranked as a monitor ranks them."""
    law = draw.dirichlet(np.ones(LEVELS))
    seen = draw.multinomial(inputs, law, size=lives)
    every = np.arange(lives)
    for step in range(ROWS):
        score = draw.choice(LEVELS, lives, p=law)
        below = np.where(np.arange(LEVELS) < score[:, None], seen, 0).sum(axis=1)
        p = smoothed_p(below, seen[every, score], inputs + step, draw.random(lives))
        seen[every, score] += 1
        yield rank_factors(p)


def calibration(lives: int) -> list[dict[str, Any]]:
    """Part one."""
    draw, found = np.random.default_rng(20261130), []

    def tell(name: str, limit: float, alarmed: np.ndarray) -> None:
        count = int(alarmed.sum())
        low, high = clopper_pearson_lower(count, lives, 0.005), clopper_pearson_upper(count, lives, 0.005)
        found.append({"monitor": name, "limit": limit, "lives": lives, "alarms": count, "low": low, "high": high})
        print(f"{name}: {count} of {lives} lives, at most {limit:g}; 99 % interval {low:.4f} to {high:.4f}", flush=True)

    tell(
        "error, risk at its tolerance of 5 %", ALPHA, alarms(lives, len(RISES), ALPHA, losses(draw, lives, 0.05, 0.05))
    )
    tell("error, risk at its tolerance of 30 %", ALPHA, alarms(lives, len(RISES), ALPHA, losses(draw, lives, 0.3, 0.3)))
    tell("graded losses, mean at the tolerance", ALPHA, alarms(lives, len(RISES), ALPHA, graded(draw, lives)))
    of_run = draw.binomial(INPUTS, RISK, lives)
    known = {k: tolerance_of(k, INPUTS, 0.05, 1) for k in np.unique(of_run).tolist()}
    own = np.array([known[k] for k in of_run.tolist()])
    tell(
        "error, tolerance from a run of 2,000",
        2 * ALPHA,
        alarms(lives, len(RISES), ALPHA, losses(draw, lives, RISK, own)),
    )
    for inputs in (50, 1_000):
        tell(
            f"scores with ties, a run of {inputs:,}",
            ALPHA,
            alarms(lives, len(SLOPES), ALPHA, ranks(draw, lives, inputs)),
        )
    share = level(ALPHA, 3)
    together = alarms(lives, len(RISES), share, losses(draw, lives, 0.05, 0.05))
    together |= alarms(lives, len(RISES), share, losses(draw, lives, 0.1, 0.1))
    together |= alarms(lives, len(SLOPES), share, ranks(draw, lives, 1_000))
    tell("three processes together, independent", ALPHA, together)
    return found


def streams(fall: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Margins of the run (STREAMS, INPUTS), and of the stream (STREAMS, QUIET + AFTER), which fall after QUIET."""
    draw = np.random.default_rng([seed, round(1000 * fall)])
    mean = np.where(np.arange(QUIET + AFTER) < QUIET, norm.isf(RISK), norm.isf(RISK + fall))
    own = norm.isf(RISK) + draw.standard_normal((STREAMS, INPUTS))
    return own, mean + draw.standard_normal((STREAMS, QUIET + AFTER))


def first(bets: int, alpha: float, factors: Iterable[np.ndarray], lives: int) -> np.ndarray:
    """For each life, the row of its first alarm, from 1; 0 where there is none."""
    capital, when = Capital.of(bets, (lives,)), np.zeros(lives, int)
    for row, each in enumerate(factors, 1):
        capital = capital.after(each)
        alarmed = (capital.log_e > log_threshold(alpha, row)) & (when == 0)
        when[alarmed] = row
    return when


def p_values(own: np.ndarray, stream: np.ndarray, seed: int) -> np.ndarray:
    """The p-value of each score among all before it; no two are the same here."""
    less = np.empty(stream.shape)
    for life, scores in enumerate(stream):
        seen = sorted(own[life].tolist())
        for row, score in enumerate(scores.tolist()):
            less[life, row] = place = bisect_left(seen, score)
            seen.insert(place, score)
    return smoothed_p(
        less, 0, own.shape[1] + np.arange(stream.shape[1]), np.random.default_rng(seed).random(less.shape)
    )


def ours(own: np.ndarray, stream: np.ndarray, p: np.ndarray) -> dict[str, np.ndarray]:
    """For each process, the row of the first alarm in each life."""
    wrong, found = (stream < 0).T, {}
    limit = tolerance_of(round(RISK * INPUTS), INPUTS, 0.05, 1)
    for name, tolerance, alpha in (
        (f"error, tolerance stated: {100 * RISK:g} %", RISK, ALPHA),
        (f"error, tolerance from the run: {100 * limit:.1f} %", limit, ALPHA),
        ("the same as one of three", limit, level(ALPHA, 3)),
    ):
        found[name] = first(len(RISES), alpha, (risk_factors(one, tolerance) for one in wrong), STREAMS)
    found["margin"] = first(len(SLOPES), ALPHA, (rank_factors(one) for one in p.T), STREAMS)
    found["margin, as one of three"] = first(len(SLOPES), level(ALPHA, 3), (rank_factors(one) for one in p.T), STREAMS)
    return found


def rivals(stream: np.ndarray, p: np.ndarray, skipped: list[str]) -> dict[str, list[list[int]]]:
    """For each detector, for each life, the rows at which it cried: all of them, for it begins anew after each."""
    found: dict[str, list[list[int]]] = {}
    try:
        from river import drift
    except ImportError as problem:
        skipped.append(f"river is not installed ({problem})")
    else:
        on_losses: dict[str, Callable[[], Any]] = {
            "river ADWIN, losses": drift.ADWIN,
            "river PageHinkley, losses": drift.PageHinkley,
            "river DDM, losses": drift.binary.DDM,
            "river HDDM_A, losses": drift.binary.HDDMA,
            "river HDDM_W, losses": drift.binary.HDDMW,
        }
        for name, make in on_losses.items():
            found[name] = [cries(make(), life) for life in (stream < 0).tolist()]
        found["river ADWIN, margins"] = [cries(drift.ADWIN(), life) for life in stream.tolist()]
    try:
        from mapie.exchangeability_testing import OnlineMartingaleTest
        from mapie.exchangeability_testing.bounds import GammaExponentialMixtureBound
    except ImportError as problem:
        skipped.append(f"mapie is not installed, or older than its tests of exchangeability ({problem})")
        return found
    limit = tolerance_of(round(RISK * INPUTS), INPUTS, 0.05, 1)
    bound, every = GammaExponentialMixtureBound(v_opt=1, c=1, alpha_opt=0.0125), 50
    found["mapie RiskMonitoring, the same tolerance"] = [
        monitored(life, limit, bound, every) for life in (stream < 0).astype(float)
    ]
    found["mapie jumper martingale, margins"] = [martingale(OnlineMartingaleTest, life) for life in p.tolist()]
    return found


def cries(detector: Any, values: list[Any]) -> list[int]:
    """The rows at which a detector of river says that something changed."""
    rows = []
    for row, value in enumerate(values, 1):
        detector.update(value)
        if detector.drift_detected:
            rows.append(row)
    return rows


def monitored(lost: np.ndarray, limit: float, bound: Any, every: int) -> list[int]:
    """RiskMonitoring of test_level 0.05, looked at every so many rows: its bound, with the sums made once."""
    t = np.arange(1, len(lost) + 1)
    mean = np.cumsum(lost) / t
    spread = np.cumsum((lost - np.append(0.5, mean[:-1])) ** 2)
    for row in range(every, len(lost) + 1, every):
        if mean[row - 1] > limit and mean[row - 1] - bound(v=float(spread[row - 1]), alpha=0.0125) / row > limit:
            return [row]
    return []


def martingale(test: Any, p: list[float]) -> list[int]:
    """The row at which mapie's martingale first exceeds 1/alpha."""
    made = test(test_level=ALPHA, warn=False)
    for row, value in enumerate(p, 1):
        if made.update_simple_jumper_martingale(value) > 1 / ALPHA:
            return [row]
    return []


def power(skipped: list[str]) -> list[dict[str, Any]]:
    """Part two."""
    found: dict[str, dict[str, Any]] = {}
    for fall in (0.0, *FALLS):
        own, stream = streams(fall, 1)
        p = p_values(own, stream, 2)
        cried = {name: [[row] if row else [] for row in when.tolist()] for name, when in ours(own, stream, p).items()}
        cried |= rivals(stream, p, skipped if fall == 0 else [])
        for name, lives in cried.items():
            one = found.setdefault(name, {"detector": name, "falls": {}})
            if fall == 0:
                one["false"] = {
                    str(rows): sum(any(at <= rows for at in life) for life in lives)
                    for rows in (QUIET + 1_000, QUIET + AFTER)
                }
                continue
            # ours never begin anew: a life with a false alarm before the fall has no delay
            delays = [min((at - QUIET for at in life if at > QUIET), default=None) for life in lives]
            seen = sorted(one for one in delays if one is not None)
            ranked = [*seen, *[AFTER + 1] * (len(delays) - len(seen))]
            one["falls"][f"{fall:g}"] = {
                "seen": len(seen),
                "median": ranked[len(ranked) // 2],
                "most": ranked[int(0.9 * len(ranked))],
            }
        print(f"fall of {100 * fall:g} points: done", flush=True)
    return list(found.values())


def shown(delay: int) -> str:
    """A delay as text."""
    return f"{delay:,}" if delay <= AFTER else f"> {AFTER:,}"


def page(result: dict[str, Any]) -> str:
    """The results as Markdown."""
    one = [
        "| what is watched | may be | lives with an alarm | share | 99 % interval |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in result["calibration"]:
        one.append(
            f"| {row['monitor']} | {row['limit']:g} | {row['alarms']:,} of {row['lives']:,} | "
            f"{row['alarms'] / row['lives']:.4f} | {row['low']:.4f} to {row['high']:.4f} |"
        )
    two = [
        "| detector | 1 point | 2 points | 5 points | 10 points | false in 2,000 | false in 11,000 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["power"]:
        cells = [f"{shown(at['median'])} ({shown(at['most'])})" for at in row["falls"].values()]
        false = [f"{count} of {STREAMS}" for count in row["false"].values()]
        two.append(f"| {row['detector']} | {' | '.join([*cells, *false])} |")
    limit = 100 * tolerance_of(round(RISK * INPUTS), INPUTS, 0.05, 1)
    calm = (
        f"{result['calibration'][0]['lives']:,} lives of {ROWS:,} inputs for each monitor, with alpha = {ALPHA}. A "
        "life counts if it *ever* raised an alarm. The risk is *at* its tolerance, where alarms are most likely; "
        f"scores have {LEVELS} values, so ties are common. With a tolerance that is itself an upper confidence "
        "limit (too low with probability 0.05), alpha + 0.05 is what may be."
    )
    fallen = (
        f"The accuracy is {100 * (1 - RISK):g} % for {QUIET:,} inputs, and then falls by so many points; the run "
        f"has {INPUTS:,} inputs. In each cell: the median over {STREAMS} streams of the inputs from the fall to the "
        "first alarm after it, and in brackets how many it takes in nine of ten. All detectors saw the same "
        "streams, with their default settings. On the right: streams without any fall in which there was an alarm."
    )
    notes = (
        "The detectors of `river` promise nothing about false alarms over a life; their delays have to be read "
        "beside the last two columns. They begin anew after each alarm, and alarms after the fall count here; ours "
        "and those of `mapie` are the first ones, and a stream with a false one before the fall counts as not seen.",
        "`mapie`'s RiskMonitoring is given the same tolerance and has the same kind of promise (test_level 0.05, "
        "of which it spends half on the stream); it was looked at every 50 inputs. Its bound is about the *mean* "
        "risk so far, so a quiet past weighs on it. Its jumper martingale, of three bets and one rate of jumping, "
        "was given our p-values: it sees falls of 5 points a tenth earlier than ours, and takes more than twice as "
        "many inputs for falls of 2 points.",
        "`river`'s DDM is fast, and cried in 65 of 100 streams without a fall. ADWIN on margins cried in none of "
        "them, and is about as fast as ours where the fall is large; for 2 points it takes twice as many inputs.",
        f"A fall of 1 point is about what separates the tolerance of {limit:.1f} % from the risk of {100 * RISK:g} "
        f"%: with {INPUTS:,} inputs in the run nobody can tell the two apart. To state the tolerance is to see it, "
        "and to promise less.",
        "The margin needs no label, and sees the fall here because the margins themselves move. Each is compared "
        "with all before it, those after the fall included: a small change that is not seen soon becomes what is "
        "usual.",
    )
    return "\n".join(
        [
            "# Monitors: false alarms, and inputs until a fall is seen",
            "",
            f"Made by `python benchmarks/monitor.py` in {result['seconds']:.0f} CPU seconds; the numbers are in "
            "[monitor.json](monitor.json).",
            "[After release](../../../docs/deployment.md) says what is watched and what is promised.",
            "",
            "## Lives in which nothing is wrong",
            "",
            calm,
            "",
            *one,
            "",
            "Each interval is exact (Clopper and Pearson), by itself. The promise is about lives of any length; "
            f"these are {ROWS:,} inputs long, and have fewer alarms than it allows.",
            "",
            "## Inputs until a fall is seen",
            "",
            fallen,
            "",
            *two,
            "",
            *(f"Left out: {text}.\n" for text in result["skipped"]),
            "What to read in it:",
            "",
            *(f"* {note}" for note in notes),
            "",
        ]
    )


def main() -> None:
    """Run both parts and write the page."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--out", type=Path, default=Path("results/deployment/monitor"))
    asked.add_argument("--lives", type=int, default=10_000)
    given = asked.parse_args()
    warnings.simplefilter("ignore")
    begin, skipped = time.process_time(), list[str]()
    result = {"calibration": calibration(given.lives), "power": power(skipped), "skipped": skipped}
    result["seconds"] = time.process_time() - begin
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "monitor.json").write_text(f"{json.dumps(result, indent=1)}\n")
    (given.out / "README.md").write_text(page(result))


if __name__ == "__main__":
    main()
