"""What every tracker logs of a run, whatever it calls it: parameters, metrics, tags."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from certify.core.run import Run
from certify.registry import Registry
from certify.store.run_folder import flat

__all__ = ["TRACKERS", "Tracker", "metrics_of", "parameters_of", "tags_of"]

Tracker = Callable[[Sequence[Run], str, Sequence[Path]], str]
"""Logs runs, and further files beside each of them, to a place; returns where they lie, in words for people."""

TRACKERS: Registry[Tracker] = Registry("tracker", package="certify.trackers")


def parameters_of(run: Run) -> dict[str, str]:
    """What the run was asked: its settings under dotted names, text as it is, all else as JSON.

    Threat model, data, model and their digests are among them.
    """
    texts = {name: (json.loads(value), value) for name, value in flat(run.settings).items()}
    return {name: value if isinstance(value, str) else text for name, (value, text) in texts.items()}


def metrics_of(run: Run) -> dict[str, float]:
    """What the table says, each radius named by its exact text; a number that cannot be stated is left out.

    ``certified_lower`` and ``population_lower`` hold together with the probability that the tag ``confidence`` states.
    """
    summary = run.summary
    metrics = {
        "inputs": summary.n,
        "clean": summary.clean,
        "average_certified_radius": summary.acr,
        "contradictions": len(summary.contradictions),
    }
    for row in summary.rows:
        at = {
            "certified": row.certified,
            "certified_lower": row.certified_lower,
            "population_lower": row.population_lower,
            "attacked": row.empirical,
            "abstain": row.abstain,
            "unknown": row.unknown,
        }
        metrics |= {f"{name}_at_{row.radius!r}": value for name, value in at.items() if value is not None}
    return {name: float(value) for name, value in metrics.items()}


def tags_of(run: Run) -> dict[str, str]:
    """What a reader needs beside the numbers: the threat model, the exact statement, and whether it is all there."""
    summary = run.summary
    return {
        "threat": str(summary.threat),
        "guarantee": str(summary.guarantee),
        "statement": summary.statement,
        "confidence": f"{summary.confidence:g}",
        "methods": ", ".join(summary.methods),
        "complete": str(summary.complete).lower(),
        "certify": run.context.get("versions", {}).get("certify", "unknown"),
    }
