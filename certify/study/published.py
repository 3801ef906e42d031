"""Import published logs into a run folder. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from certify.core.norms import check_norm
from certify.core.rounding import brief, round_down
from certify.core.threats.base import Threat
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput, DataError
from certify.stats.binomial import check_alpha
from certify.stats.ladder import (
    PAIRS,
    TELLING,
    Fit,
    at_the_top,
    audit,
    fit,
    largest,
    likely_settings,
    likely_sigma,
    top_rung,
)
from certify.store.log_records import certificates_of_log, reported_of_log
from certify.store.logs import AttackLog, CertificationLog, read_attack_log, read_certification_log
from certify.store.run_folder import Manifest, RunFolder
from certify.summary.reported import beside

__all__ = ["GRID", "Imported", "cautions", "import_logs"]

GRID: Final = 0.25
"""Step of the radii at which the field's tables report certified accuracy."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported, and what its reader should be warned of.

    Args:
        out: the run folder.
        rows: certificates written.
        n, alpha: of the smoothing behind the log.
        inferred: whether either was read off the radii.
        cautions: warnings, one line each.
    """

    out: Path
    rows: int
    n: int
    alpha: float
    inferred: bool
    cautions: tuple[str, ...]


def import_logs(
    logs: Sequence[Path | str],
    out: Path | str,
    *,
    sigma: float,
    n: int | None = None,
    alpha: float | None = None,
    norm: str = "l2",
    attacks: Mapping[Path | str, float] | None = None,
) -> Imported:
    """Read certification and attack logs into a run folder that ``summarize_run`` reads.

    Args:
        logs: one certification log, or several files that are parts of one.
        out: the run folder.
        sigma: noise scale of the gaussian smoothing behind the log.
        n, alpha: its samples and error probability; where not given they are read off the radii, if these allow it.
        norm: of the radii; the ladder of radii is known for l2.
        attacks: attack logs on the same inputs, with the size allowed to each.

    Raises:
        DataError: for a log that cannot be what it should, radii above what sigma, n and alpha can certify, or radii
            that show a larger alpha than the stated one.
        BadInput: if the radii do not say which n and alpha they were made with.
        StoreError: if the folder was made with other settings or cannot be written.
    """
    if check_norm(norm) != "l2":
        raise BadInput(f"logs of gaussian smoothing hold l2 radii, not {norm}; leave --norm out")
    if not 0 < sigma < math.inf:
        raise BadInput(f"sigma must be a finite number > 0, got {sigma}")
    log = read_certification_log(*logs)
    attack_logs = [(read_attack_log(path), radius) for path, radius in (attacks or {}).items()]
    samples, level = _pair(log, sigma, n, alpha)
    others = _other_pairs(log, sigma, samples, level)
    doubts = _doubts(log, sigma, samples, level, others)
    _check_ladder(log, logs, sigma, samples, level, others)
    inferred = n is None or alpha is None
    # What n samples can reach, not what these inputs did: radii that depend on the data would not be declared ones.
    reach = top_rung(samples, level, sigma)
    threat = ThreatModel("l2", tuple(GRID * step for step in range(math.floor(reach / GRID) + 1)))
    certificates = certificates_of_log(log, threat, sigma=sigma, n=samples, alpha=level, inferred=inferred)
    reported = [reported_of_log(attack_log, threat.norm, radius) for attack_log, radius in attack_logs]
    for rows in reported:
        beside(rows, {one.index: (one.label, one.radius) for one in certificates})  # refuses logs of other data
    settings = {"method": "published", "noise": "gaussian", "sigma": sigma, "n": samples, "alpha": level}
    manifest = _manifest(log, threat, {**settings, "inferred": inferred}, attack_logs)
    with RunFolder.create(out, manifest) as folder:
        folder.records.add(certificates)
        for rows in reported:
            folder.records.add(rows)
    warnings = (*doubts, *cautions(log, attack_logs, threat))
    return Imported(Path(out), len(log), samples, level, inferred, warnings)


def cautions(log: CertificationLog, attacks: Iterable[tuple[AttackLog, float]], threat: Threat) -> Iterable[str]:
    """What a reader of these logs should know before using a number of theirs, one line each."""
    if log.repeats:
        yield f"{log.repeats} rows repeat an earlier one and are left out"
    on_edge = int(np.count_nonzero(log.correct & np.isin(log.radius, [radius for radius in threat.radii if radius])))
    used = np.unique(log.source[log.certified]).tolist()
    printings = "; ".join(dict.fromkeys(str(log.printings[part]) for part in used)) or "no digit"
    yield (
        f"radii are printed to {printings}: {on_edge} correct rows print exactly a declared radius and may lie "
        "below it; the column '>=' leaves them out"
    )
    if len(log.steps) > 1:
        yield f"the index has gaps: {log.index.min()} to {log.index.max()} in steps of {', '.join(map(str, log.steps))}"
    elif log.steps and log.steps[0] > 1:
        yield f"every {log.steps[0]}th input is no random sample of its data set: it says nothing about the rest"
    for attack, radius in attacks:
        both = np.intersect1d(log.index, attack.index).size
        if both < max(len(log), len(attack)):
            yield (
                f"{attack.source.name} at {brief(radius)} has {len(attack):,} inputs, the certification log "
                f"{len(log):,}: only the {both:,} in both are compared"
            )


def _pair(log: CertificationLog, sigma: float, n: int | None, alpha: float | None) -> tuple[int, float]:
    """The n and alpha given, or the only ones that the radii fit."""
    if n is not None and n < 1:
        raise BadInput(f"n must be at least 1, got {n}")
    if alpha is not None:
        check_alpha(alpha)
    if n is not None and alpha is not None:
        return n, alpha
    pairs = dict.fromkeys((n or one, alpha or level) for one, level in PAIRS)
    fits = [one for one in audit(log.radii, sigma, pairs) if one.fits]
    if len(fits) == 1:
        return fits[0].n, fits[0].alpha
    top = next((one.text for one in largest(log.radii)), "none")
    others = likely_settings(log.radii, pairs)
    named = " or ".join(f"sigma={other:g} with n={m:,} alpha={level:g}" for other, m, level in others)
    hint = f", but they do fit {named}" if named else ""
    which = _named(fits) or "no usual n and alpha"
    raise BadInput(
        f"at sigma={sigma:g} the radii of {log.name} (largest {top}) fit {which}{hint}: "
        "give --n and --alpha, or another --sigma"
    )


def _named(fits: Iterable[Fit]) -> str:
    return ", ".join(f"n={one.n:,} alpha={one.alpha:g}" for one in fits)


def _other_pairs(log: CertificationLog, sigma: float, n: int, alpha: float) -> tuple[Fit, ...]:
    """The usual pairs that the radii fit, where they do not fit this one; empty where it fits, or nothing does."""
    fits = [one for one in audit(log.radii, sigma, dict.fromkeys([*PAIRS, (n, alpha)])) if one.fits]
    return () if (n, alpha) in [(one.n, one.alpha) for one in fits] else tuple(fits)


def _doubts(log: CertificationLog, sigma: float, n: int, alpha: float, others: Sequence[Fit]) -> tuple[str, ...]:
    """A caution about a pair that the radii speak against, unless it would claim more than the log can support.

    It does where its alpha is below that of every pair that fits, and is refused if many inputs reached the same top:
    that is what a ladder's end looks like. A larger alpha or another n claims no more than the log, and without such a
    top a fit can be chance: then a caution is enough.
    """
    if not others:
        return ()
    doubt = (
        f"at sigma={sigma:g} the radii of {log.name} look like {_named(others)}, not the n={n:,} alpha={alpha:g} given"
    )
    if alpha < min(one.alpha for one in others) and at_the_top(log.radii) >= TELLING:
        raise DataError(f"{doubt}, which would claim more than they show: correct --n and --alpha or leave them out")
    return (f"{doubt}, with which everything below is claimed",)


def _check_ladder(
    log: CertificationLog, paths: Sequence[Path | str], sigma: float, n: int, alpha: float, others: Sequence[Fit]
) -> None:
    """Refuse radii that these samples cannot certify, and files whose radii are those of another sigma."""
    radii, cap = log.radii, top_rung(n, alpha, sigma)
    hint = f"the radii fit {_named(others)}" if others else "is it a log of another sigma?"
    for source, line, radius in zip(log.source, log.line, radii, strict=True):
        if radius.lowest > cap:
            raise DataError(
                f"{paths[source]} line {line}: radius {radius.text} is above {round_down(cap)}, the largest that "
                f"sigma={sigma:g}, n={n:,} and alpha={alpha:g} can certify; {hint}"
            )
    pairs = [(n, alpha), *((one.n, one.alpha) for one in others)]
    for source, path in enumerate(paths):
        part = [one for one, file in zip(radii, log.source, strict=True) if file == source]
        here = largest(part)
        explained = at_the_top(part) < TELLING or any(fit(here, *pair, sigma).fits for pair in pairs)
        if not explained and (other := likely_sigma(here, n, alpha)):
            raise DataError(
                f"the radii of {path} are those of sigma={other:g} at n={n:,} and alpha={alpha:g}, not of "
                f"{sigma:g}; check --sigma"
            )


def _manifest(
    log: CertificationLog,
    threat: Threat,
    certifier: Mapping[str, object],
    attacks: Sequence[tuple[AttackLog, float]],
) -> Manifest:
    step = f", every {log.steps[0]}th" if len(log.steps) == 1 and log.steps[0] > 1 else ""
    return Manifest(
        settings={
            "model": {"name": f"unknown, behind the log {log.name}", "digest": f"published:{log.digest}"},
            "data": {
                "name": f"unknown, indices {log.index.min()} to {log.index.max()}{step}",
                "digest": f"published:{log.digest}",
                "inputs": len(log),
                "of": len(log),
            },
            "threat": threat.to_dict(),
            "certifiers": [{**certifier, "logs": [{"name": one.name, "sha256": one.digest} for one in log.sources]}],
            "attack": None,
            "reported": [
                {"name": one.source.name, "sha256": one.source.digest, "radius": radius} for one, radius in attacks
            ],
            "seed": None,
            "shard": [0, 1],
            "inputs": len(log),
        },
        context={"versions": {"certify": version("certify")}},
    )
