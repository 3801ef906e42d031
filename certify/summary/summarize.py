"""Certified accuracy at each radius, with its band, beside what attacks achieve."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.core.certificate import Certificate
from certify.core.columns import NO_CLASS, CertificateColumns, FindingColumns
from certify.core.finding import Finding
from certify.core.guarantee import Guarantee
from certify.core.reported import Reported
from certify.core.sandwich import Sandwich
from certify.core.summary import Row, Summary
from certify.core.threats.base import Threat
from certify.errors import BadInput, IncompleteRun
from certify.stats.simultaneous import true_accuracy_lower
from certify.summary.columns import certificate_columns, finding_columns
from certify.summary.curves import misjudged
from certify.summary.join import Copies, Joined, copies_of, join
from certify.summary.pixels import pixel_rows, pixels_in_words
from certify.summary.population import Population, population_of
from certify.summary.reported import beside_logs
from certify.summary.words import head_of_table, parts_of, statement

__all__ = ["DELTA", "summarize", "tabulate"]

DELTA: Final = 0.05
"""Probability with which the statement about the whole test set may fail."""

LINES: Final = 1000
"""Lines of text that are made at a time."""


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
        IncompleteRun: where every computation failed.
    """
    checked, attacks_belong = _checked(certificates), findings is not None
    return tabulate(
        certificate_columns(checked),
        finding_columns(list(findings or ())) if attacks_belong else None,
        reported=reported,
        radii=radii,
        head=head,
        expected=expected,
        of=of,
        delta=delta,
    )


def tabulate(
    certificates: CertificateColumns,
    findings: FindingColumns | None,
    *,
    reported: Iterable[Reported] = (),
    radii: Sequence[float] | None = None,
    head: Mapping[str, str] | None = None,
    expected: int | None = None,
    of: int | None = None,
    delta: float = DELTA,
) -> Summary:
    """The same as :func:`summarize`, from records that are columns already, as the store reads them."""
    kinds, attacks_belong = certificates.kinds, findings is not None
    searches = [certificates.fetch(int(row)) for row in np.flatnonzero(_searched(kinds)[certificates.kind])]
    findings = finding_columns([]) if findings is None else findings
    reported_on, unattacked = findings.index[~findings.error], int(np.count_nonzero(findings.error))
    findings = findings.and_also(finding_columns([found for one in searches if (found := one.finding) is not None]))
    threat = _common_threat(certificates, findings.kinds, radii)
    joined = join(certificates, findings)
    sandwich, n = joined.sandwich, len(joined.sandwich)
    _check_sizes(n, expected, of)
    methods = tuple(dict.fromkeys(kind.method for kind in kinds))
    guarantee = _common_guarantee(kinds, methods)
    first = next(kind for kind in kinds if not kind.verdict.failed)
    attacks = list({kind.attack: kind for kind in reversed(findings.kinds)}.values())[::-1]
    copies = copies_of(joined.digest, sandwich.label, kinds)
    published = first.evidence is not None and first.evidence.published
    sampled = len(copies.often) == n and expected in (None, n)
    population = population_of(
        [int(np.count_nonzero(sandwich.sure >= radius)) for radius in first.threat.radii],
        sandwich.index,
        declared=first.threat.radii,
        asked=threat.radii,
        guarantee=guarantee,
        distinct=sampled,
        published=published,
        of=of,
        delta=delta,
    )
    by_pixel = first.property.by_pixel
    pixels = pixel_rows(certificates, threat, copies, guarantee, delta, sampled=sampled) if by_pixel else ()
    logs, reports = beside_logs(joined.sandwich, kinds[0].method, list(reported), threat)
    reach = min((kind.radii[-1] for kind in findings.kinds), default=-1.0) if joined.found.all() else -1.0
    return Summary(
        threat=threat,
        n=n,
        clean=float(np.mean(joined.correct)),
        rows=_rows(threat, joined, copies, guarantee, reach, population, delta),
        acr=math.fsum(sandwich.certified[~np.isnan(sandwich.certified)]) / n,
        contradictions=(*joined.contradictions, *reports),
        guarantee=guarantee,
        statement=statement(threat, n, guarantee, methods, kinds, first, delta),
        sandwich=sandwich,
        property=first.property.family,
        head=head_of_table(certificates, first, threat, n, methods, head or {}, attacks, unattacked),
        methods=methods,
        expected=expected,
        attacked=int(np.isin(sandwich.index, reported_on).sum()) if attacks_belong else None,
        confidence=1 - delta,
        further=(
            *pixels_in_words(pixels, n, guarantee, delta),
            *(() if population is None else (population.statement,)),
        ),
        pixels=pixels,
        reported=logs,
        inputs=_sha256(_identities(sandwich)),
        contents="" if published else _sha256(iter(joined.digest)),
        dimensions=None if first.evidence is None else first.evidence.features,
        parts=parts_of(kinds, findings.kinds),
        declared=first.threat.radii,
        misjudged=misjudged(findings, first, delta),
    )


def _searched(kinds: Sequence[Certificate]) -> NDArray[np.bool_]:
    """For each kind, whether its certificates may hold adversarial examples that a search found while it proved."""
    return np.array([kind.evidence is not None and kind.evidence.searched for kind in kinds])


def _rows(
    threat: Threat,
    joined: Joined,
    copies: Copies,
    guarantee: Guarantee,
    reach: float,
    population: Population | None,
    delta: float,
) -> tuple[Row, ...]:
    certified, attacked, n = joined.sandwich.certified, joined.sandwich.attacked, len(joined.sandwich)

    def row(place: int, radius: float) -> Row:
        covered, broken = certified >= radius, attacked <= radius
        sure = int(np.count_nonzero(joined.sandwich.sure >= radius))
        return Row(
            radius=radius,
            certified=int(np.count_nonzero(covered)) / n,
            certified_lower=true_accuracy_lower(sure, copies.often, guarantee.alpha, delta, copies.labels),
            empirical=int(np.count_nonzero(joined.correct & ~broken)) / n if radius <= reach else None,
            abstain=int(np.count_nonzero(joined.abstained)),
            unknown=int(np.count_nonzero(joined.correct & ~joined.abstained & ~covered & ~broken)),
            by_method={
                method: int(np.count_nonzero(radii >= radius)) / n for method, radii in joined.by_method.items()
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
    certificates: CertificateColumns, attacks: Sequence[Finding], radii: Sequence[float] | None
) -> Threat:
    threat = certificates.kinds[0].threat
    for kind in certificates.kinds:
        if kind.threat != threat:
            said = threat.difference(kind.threat) or f"the radii are {threat.radii} and {kind.threat.radii}"
            raise BadInput(f"the certificates are about different threat models: {said}")
        if kind.property.family != certificates.kinds[0].property.family:
            raise BadInput(
                f"the certificates keep different properties: {certificates.kinds[0].property}; and {kind.property}"
            )
    unlabelled = np.flatnonzero(certificates.label == NO_CLASS)
    if unlabelled.size:
        raise BadInput(f"input {certificates.index[unlabelled[0]]} has no label; accuracy needs labels")
    evidence = [kind.evidence for kind in certificates.kinds if kind.evidence is not None]
    smoothed = {model: one.sampling_in_words for one in evidence if (model := one.sampling) is not None}
    if len(smoothed) > 1:
        named = "; ".join(sorted(smoothed.values()))
        raise BadInput(f"the certificates are about different smoothed models: {named}")
    made = {one.about or "the model itself" for one in evidence}
    if len(made) > 1:
        raise BadInput(f"the certificates are about different models: {'; and '.join(sorted(made))}")
    for attack in attacks:
        if attack.norm != threat.norm:
            raise BadInput(f"the attack is in {attack.norm}, the certificates in {threat.norm}; they cannot be joined")
        if not certificates.kinds[0].property.family.named_by(attack.settings):
            raise BadInput("attack and certificates are about different properties; they cannot be joined")
        if not threat.named_by(attack.settings):
            raise BadInput(f"attack and certificates are about different {threat.norm} threats; they cannot be joined")
    if radii is None:
        return threat
    asked = threat.at(radii)  # raises, with the reason, where these cannot be radii
    if asked.radii[0] < threat.radii[0]:
        raise BadInput(
            f"radius {asked.radii[0]:g} is below the smallest declared radius {threat.radii[0]:g}; "
            "shorter proofs were not kept: run again with it declared"
        )
    return asked


def _common_guarantee(kinds: Sequence[Certificate], methods: Sequence[str]) -> Guarantee:
    guarantees = {kind.guarantee for kind in kinds if not kind.verdict.failed}
    if not guarantees:
        said = f"every computation failed, the first with: {kinds[0].reason}"
        raise IncompleteRun(f"{said}; the same run command tries them again")
    guarantee = guarantees.pop()
    if guarantees or (guarantee.alpha is not None and len(methods) > 1):
        raise BadInput("choosing the better of several probabilistic certificates breaks alpha: summarize one method")
    return guarantee


def _identities(sandwich: Sandwich) -> Iterator[str]:
    """Position and label of every input."""
    for start in range(0, len(sandwich), LINES):
        part = slice(start, start + LINES)
        yield from map(str, zip(sandwich.index[part].tolist(), sandwich.label[part].tolist(), strict=True))


def _sha256(lines: Iterator[str]) -> str:
    """Of the lines with a break between two, some at a time: as one text they would take more memory than the table."""
    digest, between = hashlib.sha256(), ""
    while some := list(islice(lines, LINES)):
        digest.update((between + "\n".join(some)).encode())
        between = "\n"
    return digest.hexdigest()
