"""Bring together, input by input, what was certified and what was found. Aggregates alone hide contradictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from certify.core.certificate import Certificate
from certify.core.columns import NO_CLASS, CertificateColumns, Digests, FindingColumns
from certify.core.finding import Finding
from certify.core.sandwich import Sandwich
from certify.core.summary import Contradiction
from certify.core.verdict import Verdict
from certify.errors import BadInput

__all__ = ["FAILED_VERDICTS", "Copies", "Joined", "copies_of", "different", "join", "same_model"]

_ABSTAIN: Final = list(Verdict).index(Verdict.ABSTAIN)
FAILED_VERDICTS: Final = tuple(place for place, verdict in enumerate(Verdict) if verdict.failed)
"""Places of the verdicts of computations that failed."""


def same_model(certificate: Certificate, finding: Finding) -> bool:
    """Whether the attack was on what was certified: the model itself, or with the same noise or defence."""
    evidence = certificate.evidence
    smoothed, defence = (None, None) if evidence is None else (evidence.smoothed, evidence.defence)
    return finding.of_model(smoothed) and finding.settings.get("defence") == defence


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Everything known about each input, by ascending position.

    Args:
        sandwich: what was proven and what was broken.
        digest: SHA-256 of each input.
        correct: whether the model, smoothed if smoothing certified it, predicts the label.
        abstained: whether no method named a class.
        found: whether an attack has reported on it.
        by_method: of several methods, each one's largest radius proven around the right class; NaN for none.
        contradictions: certificates and verified adversarial examples, of the same model, inside their radius.
    """

    sandwich: Sandwich
    digest: Digests
    correct: NDArray[np.bool_]
    abstained: NDArray[np.bool_]
    found: NDArray[np.bool_]
    by_method: dict[str, NDArray[np.float64]]
    contradictions: tuple[Contradiction, ...]


@dataclass(frozen=True, slots=True)
class Copies:
    """How often inputs occur, one entry for each distinct input.

    Copies share their noise, so their certificates are true or false together.

    Args:
        often: how often it occurs.
        labels: how many classes were tested with its noise: its different labels where the label names the class.
    """

    often: list[int]
    labels: list[int]


def join(certificates: CertificateColumns, findings: FindingColumns) -> Joined:
    """One entry for each certified input; findings about other inputs are left out.

    Raises:
        BadInput: if two records disagree about the input at a position, its label, or the model.
    """
    index, row = np.unique(certificates.index, return_inverse=True)  # the input that each certificate is about
    first = np.full(len(index), len(certificates))
    np.minimum.at(first, row, np.arange(len(certificates)))
    methods = tuple(dict.fromkeys(kind.method for kind in certificates.kinds))
    of_method = np.array([methods.index(kind.method) for kind in certificates.kinds])[certificates.kind]
    _once_by_each(methods, of_method, index, row)
    _same_data(certificates, first, row)

    named = np.where(np.isin(certificates.verdict, FAILED_VERDICTS), NO_CLASS, certificates.prediction)
    right = named == certificates.label
    certified, top = _largest(np.where(right, certificates.radius, np.nan), row, len(index))
    sure, _ = _largest(np.where(right, certificates.sure, np.nan), row, len(index))
    correct = np.zeros(len(index), dtype=bool)
    np.logical_or.at(correct, row, right)
    answered = np.zeros(len(index), dtype=bool)
    np.logical_or.at(answered, row, certificates.verdict != _ABSTAIN)
    by_method = {}
    for place, method in enumerate(methods if len(methods) > 1 else ()):
        chosen = of_method == place
        by_method[method] = np.full(len(index), np.nan)
        by_method[method][row[chosen]] = np.where(right, certificates.radius, np.nan)[chosen]

    _, of = _largest(certificates.radius, row, len(index))
    best = np.where(top < 0, np.where(of < 0, first, of), top)  # the certificate that says most about each input
    attacked, found, joined = _attacked(certificates, findings, index, first)
    _one_model(certificates, findings, joined)
    return Joined(
        sandwich=Sandwich(
            index=index,
            label=certificates.label[first],
            prediction=np.where(correct, certificates.label[first], named[best]),
            verdict=certificates.verdict[best],
            certified=certified,
            sure=sure,
            attacked=attacked,
            p_lower=certificates.p_lower[best],
            seconds=np.bincount(row, weights=certificates.seconds, minlength=len(index)).astype(np.float64),
        ),
        digest=certificates.digest.at(first),
        correct=correct,
        abstained=~answered,
        found=found,
        by_method=by_method,
        contradictions=tuple(_contradictions(certificates, findings, index, row, joined)),
    )


def copies_of(digest: Digests, label: NDArray[np.int64], kinds: Sequence[Certificate]) -> Copies:
    """Count copies of inputs by their digests, and their different labels, unless votes named the class.

    Copies with different targets are copies as well: noise is drawn by the values of an input alone.

    Args:
        digest, label: of every input.
        kinds: one certificate of each kind.
    """
    numbers = digest.numbers()
    if any(kind.property.per_input for kind in kinds):
        inputs = Digests(text.partition(":")[0] for text in digest).numbers()
        return Copies(np.bincount(inputs).tolist(), different(inputs, numbers))
    often = np.bincount(numbers).tolist()
    by_votes = all(kind.evidence is not None and not kind.evidence.of_label for kind in kinds)
    if by_votes or len(often) == len(digest):
        return Copies(often, [1] * len(often))
    return Copies(often, different(numbers, label))


def different(numbers: NDArray[np.int64], *columns: NDArray[np.int64]) -> list[int]:
    """For each number, from 0 on, the different rows of the columns beside it."""
    rows = numbers, *columns
    order = np.lexsort(rows)
    first = np.ones(len(numbers), dtype=bool)
    first[1:] = np.any([values[order[1:]] != values[order[:-1]] for values in rows], axis=0)
    return np.bincount(numbers[order[first]]).tolist()


def _largest(
    values: NDArray[np.float64], row: NDArray[np.int64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The largest value of each input and where it stands; NaN and -1 where there is none."""
    ascending = np.lexsort((values,))
    ascending = ascending[~np.isnan(values[ascending])]
    where = np.full(n, -1)
    where[row[ascending]] = ascending  # a later, larger value overwrites an earlier one
    return np.where(where < 0, np.nan, values[where]), where


def _once_by_each(
    methods: Sequence[str], of_method: NDArray[np.int64], index: NDArray[np.int64], row: NDArray[np.int64]
) -> None:
    for place, method in enumerate(methods):
        often = np.bincount(row[of_method == place], minlength=len(index))
        if often.max(initial=0) > 1:
            raise BadInput(f"two {method} certificates for input {index[often.argmax()]}; summarize one run")


def _same_data(certificates: CertificateColumns, first: NDArray[np.int64], row: NDArray[np.int64]) -> None:
    further = np.flatnonzero(first[row] != np.arange(len(certificates)))
    for place, start in _pairs(further, first[row[further]]):
        if (certificates.digest[place], certificates.label[place]) != (
            certificates.digest[start],
            certificates.label[start],
        ):
            raise BadInput(f"records disagree about input {certificates.index[place]}: they come from different data")


def _pairs(ones: NDArray[np.int64], others: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Pairs of places, one after the other: a list of ten million numbers would take more than the columns do."""
    return ((int(one), int(other)) for one, other in zip(ones, others, strict=True))


def _attacked(
    certificates: CertificateColumns, findings: FindingColumns, index: NDArray[np.int64], first: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Distance of the nearest example of each input, whether there is a finding, and the findings that are joined."""
    attacked, found = np.full(len(index), np.inf), np.zeros(len(index), dtype=bool)
    about = np.minimum(np.searchsorted(index, findings.index), len(index) - 1)
    [joined] = np.nonzero((index[about] == findings.index) & ~findings.error)
    for place, start in _pairs(joined, first[about[joined]]):
        if (findings.digest[place], findings.label[place]) != (certificates.digest[start], certificates.label[start]):
            raise BadInput(
                f"certificate and attack disagree about input {findings.index[place]}: they come from different data"
            )
    found[about[joined]] = True
    np.fmin.at(attacked, about[joined], findings.distance[joined])
    return np.where(np.isinf(attacked), np.nan, attacked), found, joined


def _one_model(certificates: CertificateColumns, findings: FindingColumns, joined: NDArray[np.int64]) -> None:
    models = {kind.model_digest for kind in certificates.kinds}
    models |= {findings.kinds[kind].model_digest for kind in np.unique(findings.kind[joined])}
    if len(models) > 1:
        named = ", ".join(sorted(digest[:12] for digest in models))
        raise BadInput(f"the records are about different models ({named}); summarize one model at a time")


def _contradictions(
    certificates: CertificateColumns,
    findings: FindingColumns,
    index: NDArray[np.int64],
    row: NDArray[np.int64],
    joined: NDArray[np.int64],
) -> list[Contradiction]:
    """Pairs of a certificate and an example inside its radius, by position; other inputs are skipped early."""
    nearest = np.full(len(index), np.inf)
    examples = joined[~np.isnan(findings.distance[joined])]
    about = np.searchsorted(index, findings.index[examples])
    np.minimum.at(nearest, about, findings.distance[examples])
    [reached] = np.nonzero((nearest[row] <= certificates.radius) & (certificates.prediction != NO_CLASS))
    order = np.argsort(about, kind="stable")
    pairs = []
    for place in reached[np.argsort(row[reached], kind="stable")].tolist():
        begin, end = np.searchsorted(about[order], [row[place], row[place] + 1])
        kind = certificates.kinds[certificates.kind[place]]
        for example in examples[order[begin:end]].tolist():
            other = findings.kinds[findings.kind[example]]
            if (
                findings.distance[example] <= certificates.radius[place]
                and findings.label[example] == certificates.prediction[place]
                and same_model(kind, other)
                and other.norm == kind.norm
                and kind.threat.named_by(other.settings)
                and kind.property.named_by(other.settings)
                and _inside_box(kind, findings.fetch(example))
            ):
                radius, distance = float(certificates.radius[place]), float(findings.distance[example])
                pairs.append(Contradiction(int(index[row[place]]), kind.method, radius, other.attack, distance))
    return pairs


def _inside_box(certificate: Certificate, finding: Finding) -> bool:
    """Whether the example lies in the input box of the certificate: the attack may have been given a larger one."""
    box = certificate.threat.input_box
    if box is None or finding.x_adv is None:
        return True
    return not box.fault(finding.x_adv[None])
