"""Time series: a sensor is missing, the clock is off, a noise grows.

    pip install --no-deps --target wheels aeon==1.6.0
    PYTHONPATH=wheels python benchmarks/real/series.py        # minutes on one core; models in runs/series

Trains small networks by certify's own recipes on data that the wheel of aeon brings, certifies and attacks them, and
writes results/threats/series.md, with the certificates beside it. Nothing of aeon is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from page import checked, cpu_seconds, down, made, sha256, study, table, up, wheel_file, write

import certify
from certify.certifiers.base import Certifier
from certify.core.threats.base import Threat

WORK: Final = Path("runs/series")

BOX: Final = 100.0
"""No value of the data is farther from 0, in standard deviations of the training part."""


def parsed(problem: str, part: str) -> tuple[NDArray[np.float64], list[str]]:
    """Series (n, channels, samples) and their classes, from a `.ts` file: one a line, channels apart by colons."""
    folder = problem.removesuffix("_eq")
    text = wheel_file("aeon", f"aeon/datasets/data/{folder}/{problem}_{part}.ts").read_text()
    rows = [line.strip().split(":") for line in text.lower().split("@data", 1)[1].splitlines() if line.strip()]
    return np.array([[channel.split(",") for channel in row[:-1]] for row in rows], dtype=float), [r[-1] for r in rows]


def load(problem: str, part: str) -> certify.Dataset:
    """A part of a problem, each channel less the mean of the training part, over its standard deviation."""
    x, names = parsed(problem, "TRAIN")
    mean, deviation = x.mean(axis=(0, 2), keepdims=True), x.std(axis=(0, 2), keepdims=True)
    classes = sorted(set(names))
    if part == "TEST":
        x, names = parsed(problem, part)
    y = np.array([classes.index(name) for name in names])
    return certify.Dataset(problem, (x - mean) / deviation, y, len(classes), (-BOX, BOX))


motions_train = partial(load, "BasicMotions", "TRAIN")
motions = partial(load, "BasicMotions", "TEST")
vowels_train = partial(load, "JapaneseVowels_eq", "TRAIN")
vowels = partial(load, "JapaneseVowels_eq", "TEST")
power_train = partial(load, "ItalyPowerDemand", "TRAIN")
power = partial(load, "ItalyPowerDemand", "TEST")


def sensors(channels: int, samples: int) -> str:
    """Every channel as one position."""
    return ",".join(f"{begin}:{begin + samples}" for begin in range(0, channels * samples, samples))


@dataclass(frozen=True)
class Study:
    """One line of the page: a model, what may happen to its inputs, and how that is certified and attacked."""

    name: str
    data: str
    what: str
    recipe: str
    training: Mapping[str, Any]
    threat: Threat
    certifier: Certifier
    attack: str
    how: str
    limit: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def missing(name: str, data: str, what: str, groups: str | None, retention: int, most: int, **more: Any) -> Study:
    """Positions that may hold anything, by the vote over all choices of a few that are shown."""
    threat = certify.Features(tuple(range(most + 1)), groups=groups)
    training = {
        "retention": retention,
        "null": 0.0,
        "epochs": 200,
        "batch_size": 16,
        **({"groups": groups} if groups else {}),
    }
    vote = certify.Enumeration(retention=retention, null=0.0)
    how = f"proof: the vote over all choices of {retention}"
    return Study(
        name, data, what, "ablation", training, threat, vote, "pgd", how, options={"steps": 5, "restarts": 1}, **more
    )


SIX, TWELVE = sensors(6, 100), sensors(12, 25)
COMPLETE: Final = certify.Complete(timeout=30.0, decide=True)

STUDIES: Final = (
    missing("motions-1", "motions", "BasicMotions: sensors that show anything", SIX, 1, 2),
    missing("motions-2", "motions", "BasicMotions: sensors that show anything", SIX, 2, 1),
    missing("vowels-3", "vowels", "JapaneseVowels: sensors that show anything", TWELVE, 3, 2),
    missing("power-2", "power", "ItalyPowerDemand: hours that show anything", None, 2, 6, limit=200),
    Study(
        "power-shift",
        "power",
        "ItalyPowerDemand: the clock is off, hours",
        "standard",
        {"epochs": 60, "batch_size": 16},
        certify.TimeShift((0.5, 1, 2), padding="border"),
        COMPLETE,
        "grid",
        "proof: complete, every shift",
        limit=100,
    ),
    Study(
        "power-floor",
        "power",
        "ItalyPowerDemand: one known noise, volume",
        "standard",
        {"epochs": 60, "batch_size": 16},
        certify.NoiseFloor((0.1, 0.3, 1.0)),
        COMPLETE,
        "grid",
        "proof: complete, every volume",
        limit=100,
    ),
    Study(
        "power-noisy",
        "power",
        "ItalyPowerDemand: any change, l2",
        "noise",
        {"sigma": 0.5, "batch_size": 16},
        certify.ThreatModel("l2", (0.0, 0.25, 0.5, 1.0)),
        certify.Smoothing(sigma=0.5, n=2000, alpha=0.001, schedule="fixed"),
        "pgd",
        "smoothing, sigma 0.5, n = 2,000, each false with probability at most 0.001",
        limit=200,
        options={"steps": 10, "restarts": 1},
    ),
)


def main() -> None:
    """Train, certify, attack, check, and write the page."""
    page, rows, names = "series", [], []
    with cpu_seconds() as taken:
        for one in STUDIES:
            kind = [
                one.recipe,
                *(f"{name}-{value}" for name, value in one.training.items() if name not in ("groups", "batch_size")),
            ]
            folder = WORK / "-".join([one.data, *kind])
            certify.train(one.recipe, certify.load_data(f"series:{one.data}_train"), folder, **one.training)
            names.append(one.name)
            with cpu_seconds() as own:
                result = study(
                    page,
                    one.name,
                    str(folder),
                    f"series:{one.data}",
                    limit=one.limit,
                    threat=one.threat,
                    certifier=one.certifier,
                    attack=one.attack,
                    attack_option=dict(one.options),
                )
            summary = result.summary
            for row in summary.rows:
                cells = [one.what, f"{row.radius:g}", down(row.certified), up(row.empirical)]
                rows.append([*cells, up(summary.clean), summary.n, one.how, f"{own[0]:.0f}"])
    said = checked(page, names)
    problems = ("BasicMotions", "JapaneseVowels_eq", "ItalyPowerDemand")
    digests = [f"{one} {_digest(one)}" for one in problems]
    head = ["what may happen", "strength", "certified %", "attacked %", "clean %", "inputs", "how", "CPU s"]
    write(
        page,
        "# Time series: a sensor missing, a clock off, a noise",
        f"""`python benchmarks/real/series.py`, {made()}, {taken[0]:.0f} s of the processor, trainings included.
Networks `small` (two hidden layers), one seed, trained on the training parts that the wheel of aeon brings, certified
on the test parts (sha256 of both: {", ".join(digests)}). {said}""",
        """BasicMotions: six channels of a watch, 100 samples, four activities. JapaneseVowels (made equally long, 25
samples): twelve coefficients of a voice, nine speakers. ItalyPowerDemand: 24 hours, summer or winter. Each channel is
less its mean over the training part and divided by its standard deviation, which is the unit of every strength that is
no number of sensors, hours or samples.""",
        table(head, rows),
        """* **sensors, hours that show anything**: so many channels, or hours, wherever they are, may be missing,
  stuck or forged. The claim is a proof about the vote of a model that the recipe `ablation` trained, shown every
  choice of so many channels with 0, the mean, in place of the others; `pgd` attacks that vote.
* **the clock is off**: the series is read up to so many hours later or sooner, by linear interpolation, with its first
  and last value repeated. **one known noise**: draw 0 of normal noise, louder or softer, either sign. Both are proofs
  about the network itself, at every strength up to the one stated; the attack `grid` looks at 200 strengths.
* **any change, l2**: the smoothed model, any change of so much length.
* `certified`: right and certified, rounded down. `attacked`: right and not broken by the attack, rounded up: an attack
  that fails shows nothing. The truth is between the two, but for the probability stated.""",
    )


def _digest(problem: str) -> str:
    folder = problem.removesuffix("_eq")
    parts = [wheel_file("aeon", f"aeon/datasets/data/{folder}/{problem}_{part}.ts") for part in ("TRAIN", "TEST")]
    return sha256(b"".join(one.read_bytes() for one in parts))[:16]


if __name__ == "__main__":
    main()
