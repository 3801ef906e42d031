"""Runs as a gate sees them, made of columns: what they say is known exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from certify.core.guarantee import Guarantee
from certify.core.run import Run
from certify.core.sandwich import Sandwich
from certify.core.summary import Row, Summary
from certify.core.threats.lp import ThreatModel
from certify.stats.population import population_lower
from certify.stats.simultaneous import false_certificates

RADII = (0.0, 0.25, 0.5)


def make_run(
    radii: Sequence[float | None],
    *,
    share: float = 0.05,
    alpha: float | None = 0.001,
    attacked: Sequence[float | None] | None = None,
    label: Sequence[int] | None = None,
    abstain: int = 0,
    sample: bool = True,
    expected: int | None = None,
    threat: ThreatModel | None = None,
    name: str = "new",
) -> Run:
    """A run whose i-th input is certified up to ``radii[i]``, with bounds at ``share``."""
    n, threat = len(radii), threat or ThreatModel("l2", RADII, (0.0, 1.0))
    certified = np.array([np.nan if radius is None else radius for radius in radii])
    broken = np.array([np.nan if one is None else one for one in attacked or [None] * n])
    false = 0 if alpha is None else false_certificates(n, alpha, share)
    counts = [int(np.count_nonzero(certified >= radius)) for radius in threat.radii]
    lower = population_lower(counts, n, alpha, share)
    rows = tuple(
        Row(
            radius=radius,
            certified=count / n,
            certified_lower=max(0, count - false) / n,
            empirical=None if attacked is None else int(np.count_nonzero(~(broken <= radius))) / n,
            abstain=abstain,
            unknown=0,
            population_lower=lower[place] if sample else None,
        )
        for place, (radius, count) in enumerate(zip(threat.radii, counts, strict=True))
    )
    zeros = np.zeros(n, dtype=np.int64)
    labels = zeros if label is None else np.array(label)
    sandwich = Sandwich(
        np.arange(n), labels, labels, zeros.astype(np.int8), certified, certified, broken, certified, zeros * 1.0
    )
    guarantee = Guarantee.deterministic() if alpha is None else Guarantee.probabilistic(alpha)
    summary = Summary(
        threat=threat,
        n=n,
        clean=1.0,
        rows=rows,
        acr=float(np.nansum(certified)) / n,
        contradictions=(),
        guarantee=guarantee,
        statement="",
        sandwich=sandwich,
        head={"model": name, "data": "made", "threat": str(threat), "guarantee": str(guarantee)},
        methods=("crown" if alpha is None else "smoothing",),
        expected=expected,
        attacked=None if attacked is None else n,
        confidence=1 - share,
        inputs="inputs",
        contents="contents",
    )
    settings = {
        "model": {"name": name, "digest": f"digest of {name}"},
        "data": {"name": "made", "digest": "digest of data", "inputs": n, "of": n},
        "threat": threat.to_dict(),
    }
    return Run(name, summary, settings)


@pytest.fixture(scope="session")
def run_of() -> Callable[..., Run]:
    """Makes runs."""
    return make_run
