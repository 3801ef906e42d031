"""Certified accuracy at each radius, with its band, beside what attacks achieve."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from certify.core.certificate import Certificate, PublishedEvidence, SmoothingEvidence
from certify.core.finding import Finding
from certify.core.guarantee import Guarantee
from certify.core.reported import Reported, ReportedAttack
from certify.core.sandwich import NO_CLASS, VERDICTS, Sandwich
from certify.core.summary import Contradiction, Row, Summary
from certify.core.threat import ThreatModel
from certify.core.verdict import Verdict
from certify.errors import BadInput
from certify.stats.simultaneous import true_accuracy_lower
from certify.summary.copies import Copies, copies_of
from certify.summary.join import Joined, join
from certify.summary.population import Population, population_of
from certify.summary.reported import beside, by_log
from certify.summary.words import head_of_table, smoothed_model, smoothing, statement

__all__ = ["DELTA", "summarize"]

DELTA: Final = 0.05
"""Probability with which the statement about the whole test set may fail."""


def summarize(
    certificates: Iterable[Certificate],
    findings: Iterable[Finding] | None = None,
    *,
    reported: Iterable[Reported] = (),
    radii: Sequence[float] | None = None,
    head: Mapping[str, str] | None = None,
    expected: int | None = None,
    of: int | None = None,
    delta: float = DELTA,
) -> Summary:
    """Join certificates with findings per input and count at each declared radius.

    Args:
        certificates: of one model and one threat model; several *deterministic* methods may be mixed, and the best
            proof of each input counts.
        findings: of the same model and inputs; None if no attack ran. What complete searches found counts as well.
        reported: rows of attack logs on the same inputs.
        radii: other radii to report than the declared ones, ascending; none below the smallest declared.
        head: names for the table's head that certificates do not carry, such as the data set's.
        expected: how many inputs the run is to attempt.
        of: size of the data set that all expected inputs are a random subset of; None if they are not known to be one.
        delta: probability with which each statement may fail.

    Returns:
        A summary whose rows hold ``certified <= empirical <= clean`` unless there are contradictions.

    Raises:
        BadInput: for no certificates, unlabelled ones, several threat models, models or data, mixed smoothing, or
            numbers of inputs that cannot be.
    """
    certificates, attacks_belong = _checked(certificates), findings is not None
    findings = list(findings or ())
    reported_on = {finding.index for finding in findings}
    findings += [found for one in certificates if (found := one.finding) is not None]
    threat = _common_threat(certificates, findings, radii)
    inputs = join(certificates, findings)
    _check_sizes(len(inputs), expected, of)
    methods = tuple(dict.fromkeys(certificate.method for certificate in certificates))
    guarantee = _common_guarantee(certificates, methods)
    first = next(certificate for certificate in certificates if certificate.verdict is not Verdict.ERROR)
    columns = _columns(inputs, methods)
    attacked = sum(bool(entry.findings) for entry in inputs)
    reach = min((finding.radii[-1] for finding in findings), default=-1.0) if attacked == len(inputs) else -1.0
    copies = copies_of(inputs)
    published = isinstance(first.evidence, PublishedEvidence)
    population = population_of(
        [int(np.count_nonzero(columns.sure >= radius)) for radius in first.threat.radii],
        [entry.certificates[0].index for entry in inputs],
        declared=first.threat.radii,
        asked=threat.radii,
        guarantee=guarantee,
        distinct=len(copies.often) == len(inputs) and expected in (None, len(inputs)),
        published=published,
        of=of,
        delta=delta,
    )
    logs, reports = _reported(inputs, list(reported), threat)
    proven = columns.certified[~np.isnan(columns.certified)]
    return Summary(
        threat=threat,
        n=len(inputs),
        clean=float(np.mean(columns.correct)),
        rows=_rows(threat, columns, copies, guarantee, reach, population, delta),
        acr=math.fsum(proven) / len(inputs),
        contradictions=(*(found for entry in inputs for found in entry.contradictions()), *reports),
        guarantee=guarantee,
        statement=statement(threat, len(inputs), guarantee, methods, certificates, first, delta),
        head=head_of_table(certificates, first, threat, len(inputs), methods, head or {}, findings),
        radii_proven=tuple(float(radius) for radius in np.sort(proven)[::-1]),
        methods=methods,
        expected=expected,
        attacked=sum(entry.certificates[0].index in reported_on for entry in inputs) if attacks_belong else None,
        confidence=1 - delta,
        further=() if population is None else (population.statement,),
        reported=logs,
        inputs=_sha256((one.index, one.label) for one in (entry.certificates[0] for entry in inputs)),
        contents="" if published else _sha256(entry.certificates[0].input_digest for entry in inputs),
        dimensions=first.evidence.dimensions if isinstance(first.evidence, SmoothingEvidence) else None,
        sandwich=_sandwich(inputs, columns),
    )


def _sandwich(inputs: Sequence[Joined], columns: _Columns) -> Sandwich:
    def best(entry: Joined) -> Certificate:
        return max(entry.certificates, key=lambda one: -1.0 if one.radius is None else one.radius)

    tops = [best(entry) for entry in inputs]
    return Sandwich(
        index=np.array([one.index for one in tops]),
        label=np.array([one.label for one in tops]),
        prediction=np.array([NO_CLASS if one.prediction is None else one.prediction for one in tops]),
        verdict=np.array([VERDICTS.index(one.verdict) for one in tops], dtype=np.int8),
        certified=columns.certified,
        sure=columns.sure,
        attacked=columns.attacked,
        p_lower=np.array(
            [one.evidence.p_lower if isinstance(one.evidence, SmoothingEvidence) else math.nan for one in tops]
        ),
        seconds=np.array([math.fsum(one.seconds for one in entry.certificates) for entry in inputs]),
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """One entry an input; NaN where there is no radius or no distance, which no comparison passes."""

    correct: NDArray[np.bool_]
    abstained: NDArray[np.bool_]
    certified: NDArray[np.float64]
    sure: NDArray[np.float64]
    attacked: NDArray[np.float64]
    by_method: Mapping[str, NDArray[np.float64]]


def _columns(inputs: Sequence[Joined], methods: Sequence[str]) -> _Columns:
    def numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
        return np.array([math.nan if value is None else value for value in values])

    return _Columns(
        correct=np.array([entry.correct for entry in inputs]),
        abstained=np.array([entry.abstained for entry in inputs]),
        certified=numbers(entry.certified() for entry in inputs),
        sure=numbers(entry.sure() for entry in inputs),
        attacked=numbers(entry.attacked for entry in inputs),
        by_method={method: numbers(entry.certified(method) for entry in inputs) for method in methods}
        if len(methods) > 1
        else {},
    )


def _rows(
    threat: ThreatModel,
    columns: _Columns,
    copies: Copies,
    guarantee: Guarantee,
    reach: float,
    population: Population | None,
    delta: float,
) -> tuple[Row, ...]:
    n = len(columns.correct)

    def row(place: int, radius: float) -> Row:
        covered, broken = columns.certified >= radius, columns.attacked <= radius
        sure = int(np.count_nonzero(columns.sure >= radius))
        return Row(
            radius=radius,
            certified=int(np.count_nonzero(covered)) / n,
            certified_lower=true_accuracy_lower(sure, copies.often, guarantee.alpha, delta, copies.labels),
            empirical=int(np.count_nonzero(columns.correct & ~broken)) / n if radius <= reach else None,
            abstain=int(np.count_nonzero(columns.abstained)),
            unknown=int(np.count_nonzero(columns.correct & ~columns.abstained & ~covered & ~broken)),
            by_method={
                method: int(np.count_nonzero(radii >= radius)) / n for method, radii in columns.by_method.items()
            },
            population_lower=None if population is None else population.lower[place],
        )

    return tuple(row(place, radius) for place, radius in enumerate(threat.radii))


def _checked(certificates: Iterable[Certificate]) -> list[Certificate]:
    given = list(certificates) if isinstance(certificates, Iterable) else [certificates]
    if not given:
        raise BadInput("nothing to summarize: no certificates")
    for one in given:
        if not isinstance(one, Certificate):
            raise BadInput(f"a summary is made from certificates, got {type(one).__name__}")
    return given


def _check_sizes(n: int, expected: int | None, of: int | None) -> None:
    if expected is not None and expected < n:
        raise BadInput(f"{n:,} inputs were certified, but {expected:,} expected; expected counts all of the run")
    if of is not None and of < (expected or n):
        raise BadInput(f"{expected or n:,} inputs cannot be a subset of {of:,}; give the size of the whole data set")


def _common_threat(
    certificates: Sequence[Certificate], findings: Sequence[Finding], radii: Sequence[float] | None
) -> ThreatModel:
    threat = certificates[0].threat
    for certificate in certificates:
        if certificate.threat != threat:
            raise BadInput(f"the certificates are about different threat models: {threat}; and {certificate.threat}")
        if certificate.label is None:
            raise BadInput(f"input {certificate.index} has no label; accuracy needs labels")
    smoothed = {model: smoothing(c.evidence) for c in certificates if (model := smoothed_model(c.evidence)) is not None}
    if len(smoothed) > 1:
        named = "; ".join(sorted(map(str, smoothed.values())))
        raise BadInput(f"the certificates are about different smoothed models: {named}")
    for finding in findings:
        if finding.norm != threat.norm:
            raise BadInput(f"the attack is in {finding.norm}, the certificates in {threat.norm}; they cannot be joined")
        if finding.settings.get("scale") != threat.scale_digest:
            raise BadInput("attack and certificates have different per-feature scales; they cannot be joined")
    if radii is None:
        return threat
    asked = replace(threat, radii=cast("tuple[float, ...]", radii))  # which says what is wrong with others
    if asked.radii[0] < threat.radii[0]:
        raise BadInput(
            f"radius {asked.radii[0]:g} is below the smallest declared radius {threat.radii[0]:g}; "
            "shorter proofs were not kept: run again with it declared"
        )
    return asked


def _common_guarantee(certificates: Sequence[Certificate], methods: Sequence[str]) -> Guarantee:
    guarantees = {c.guarantee for c in certificates if c.verdict is not Verdict.ERROR}
    if not guarantees:
        raise BadInput(f"every computation failed, the first with: {certificates[0].reason}")
    guarantee = guarantees.pop()
    if guarantees or (guarantee.alpha is not None and len(methods) > 1):
        raise BadInput("choosing the better of several probabilistic certificates breaks alpha: summarize one method")
    return guarantee


def _sha256(values: Iterable[object]) -> str:
    return hashlib.sha256(str(list(values)).encode()).hexdigest()


def _reported(
    inputs: Sequence[Joined], reported: Sequence[Reported], threat: ThreatModel
) -> tuple[tuple[ReportedAttack, ...], list[Contradiction]]:
    """Each attack log beside the certificates, and a contradiction for every impossible pair."""
    certified = {one.index: (one.label, entry.certified()) for entry in inputs for one in entry.certificates[:1]}
    methods = {entry.certificates[0].index: entry.certificates[0].method for entry in inputs}
    if reported and reported[0].norm != threat.norm:
        raise BadInput(f"{reported[0].source} is in {reported[0].norm}, the certificates in {threat.norm}")
    if reported and threat.scale is not None:
        raise BadInput(f"{reported[0].source} knows no per-feature scale, the certificates have one")
    logs = tuple(beside(rows, certified) for rows in by_log(reported))
    return logs, [
        Contradiction(index, methods[index], certified[index][1] or 0.0, log.source, log.radius, reported=True)
        for log in logs
        for index in log.impossible
    ]
