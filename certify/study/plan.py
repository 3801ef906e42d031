"""What a study will cost, found out on a few of its inputs before it begins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from certify.certifiers.base import Certifier
from certify.core.legible import many
from certify.core.properties.base import Property
from certify.core.rounding import brief, round_down
from certify.core.threats.base import Threat
from certify.core.values import plain, whole
from certify.device import peak_memory
from certify.errors import BadInput
from certify.progress.stage import clock
from certify.study.study import Study, Task

__all__ = ["PROBE", "Plan", "Price", "plan_of"]

PROBE: Final = 8
"""Inputs that are computed to find out what the others will cost."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one stage of a study costs.

    Args:
        stage: the certifier's method, or the attack.
        inputs: how many inputs it is for.
        forward_passes: an input, on average over the probe.
        seconds: an input, on average over the probe, in one process.
        slowest: seconds of the slowest input of the probe.
        largest_radius: the largest that any input could be certified at; None where nothing limits it beforehand.
        tenth: what a tenth of the price would buy, in words; empty where no setting makes it cheaper.
    """

    stage: str
    inputs: int
    forward_passes: float
    seconds: float
    slowest: float
    largest_radius: float | None
    tenth: str

    def within(self, workers: int) -> float:
        """Seconds for all inputs, with so many workers that each have a core."""
        return self.seconds * self.inputs / workers

    def lines(self, workers: int) -> list[str]:
        """The same for people."""
        each = f"{self.forward_passes:,.0f} forward passes and {self.seconds:.3g} s an input"
        found = [
            f"{self.stage}: {each} (slowest of the probe {self.slowest:.3g} s)",
            f"  {many(self.inputs, 'input')}: {self.forward_passes * self.inputs:,.0f} forward passes, "
            f"{_time(self.within(1))} with one worker"
            + (f", {_time(self.within(workers))} with {workers}" if workers > 1 else ""),
        ]
        if (cap := self.largest_radius) is not None:
            shown = str(int(cap)) if cap.is_integer() else round_down(cap)
            found.append(f"  largest radius that can be certified: {shown}")
        return found + ([f"  for a tenth: {self.tenth}"] if self.tenth else [])


@dataclass(frozen=True, slots=True)
class Plan:
    """What a study costs, from a probe of a few inputs; run times of proofs differ widely, so it is a rough figure.

    Args:
        head: model, data, threat and methods, in lines.
        probed: how many inputs were computed.
        prices: one a stage.
        memory: bytes that this process took at most, on the device of the model; a worker takes about as much.
        workers: how many are asked about.
    """

    head: str
    probed: int
    prices: tuple[Price, ...]
    memory: int
    workers: int

    @property
    def seconds(self) -> float:
        """All stages with these workers."""
        return sum(price.within(self.workers) for price in self.prices)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**plain(asdict(self)), "seconds": self.seconds}

    def __str__(self) -> str:
        each = f"about {self.memory / 2**30:.1f} GiB a worker"
        total = f"in all {_time(self.seconds)} with {self.workers} worker{'' if self.workers == 1 else 's'}, {each}"
        stages = [line for price in self.prices for line in price.lines(self.workers)]
        return "\n".join([self.head, f"from a probe of {many(self.probed, 'input')}:", *stages, total])


def plan_of(study: Study, *, probe: int = PROBE, workers: int = 1) -> Plan:
    """Compute a few inputs of a study, keep nothing of them, and say what all will cost.

    Args:
        study: as it would be run.
        probe: how many inputs, a random subset.
        workers: how many processes are asked about; each is taken to have a core or an accelerator for itself.

    Raises:
        BadInput: for a probe or workers below 1.
    """
    for name, number in (("probe", probe), ("workers", workers)):
        if whole(name, number) < 1:
            raise BadInput(f"{name} must be at least 1, got {number}")
    few = replace(study, dataset=study.dataset.subset(probe, seed=0), shard=(0, 1))
    shape = study.dataset.x.shape[1:]
    few.carry_out(Task(0, range(1)))  # the first call imports the network and loads libraries: paid once, not an input
    prices = []
    for stage, certifier in enumerate(few.certifiers):
        passes, seconds = _spent(few, stage)
        prices.append(
            Price(
                certifier.method,
                study.expected,
                sum(passes) / len(passes),
                sum(seconds) / len(seconds),
                max(seconds),
                certifier.largest_radius(study.threat, shape, study.classifier.property),
                _tenth(certifier, study.threat, shape, study.classifier.property),
            )
        )
    if few.attack is not None:
        passes, seconds = _spent(few, "attack")
        price = sum(passes) / len(passes), sum(seconds) / len(seconds), max(seconds)
        prices.append(Price(f"attack {few.attack.name}", study.expected, *price, None, ""))
    return Plan(study.announcement(), len(few.dataset), tuple(prices), peak_memory(study.classifier.device), workers)


def _spent(few: Study, stage: Any) -> tuple[list[int], list[float]]:
    """Forward passes and seconds of each input that a stage could compute."""
    passes, seconds = [], []
    size = few.certifiers[stage].rows if isinstance(stage, int) else 1
    for first in range(0, len(few.dataset), size):
        rows = range(first, min(first + size, len(few.dataset)))
        begin = time.perf_counter()
        made = few.carry_out(Task(stage, rows))
        spent = (time.perf_counter() - begin) / len(rows)
        passes += [one.forward_passes for one in made] or [0]
        seconds += [spent] * len(rows)
    return passes, seconds


def _tenth(certifier: Certifier, threat: Threat, shape: Sequence[int], property: Property) -> str:
    cheaper = certifier.for_a_tenth()
    if cheaper is None:
        return ""
    changed = {name: value for name, value in cheaper.settings().items() if certifier.settings().get(name) != value}
    told = ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in changed.items()
    )
    largest = cheaper.largest_radius(threat, tuple(shape), property)
    if largest is None:
        return told
    dropped = [brief(radius) for radius in threat.radii if radius > largest]
    lost = f"no longer {', '.join(dropped)}" if dropped else "all declared radii remain"
    return f"{told}: radii up to {threat.number(largest, round_down)}, {lost}"


def _time(seconds: float) -> str:
    return clock(seconds) if seconds >= 60 else f"{seconds:.2g} s"
