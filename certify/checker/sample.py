"""The inputs of a run: all of its data, or a random sample that anybody can draw again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.data.dataset import Dataset

__all__ = ["Sample", "data_claims", "sample_of"]


@dataclass(frozen=True, slots=True)
class Sample:
    """The inputs that a run is about.

    Args:
        claim: whether they are those that its manifest states.
        positions: of all of them in the data, in the order in which a run takes them; None where nobody can tell.
    """

    claim: CheckedClaim
    positions: Sequence[int] | None = None


def sample_of(data: Mapping[str, Any], dataset: Dataset | None, lacking: str) -> Sample:
    """Draw a run's inputs again, with the seed in its manifest, and hold them against the digest that pins its data.

    Args:
        data: what the manifest says of them.
        dataset: the whole data set, or None where it is not at hand.
        lacking: why it is not.
    """
    inputs, of, seed = data["inputs"], data["of"], data.get("drawn_seed")
    part = inputs < of
    if part and seed is None and "drawn_seed" in data:
        return Sample(_judged(f"its {inputs:,} of {of:,} inputs were not drawn at random: it names no seed of a draw"))
    if not part and seed is not None:
        return Sample(_judged(f"it is about all of its {of:,} inputs, which no seed has drawn"))
    if dataset is None:
        return Sample(_open(lacking))
    if len(dataset) != of:
        return Sample(_judged(f"it is about {of:,} inputs or a sample of them, the data are {len(dataset):,}"))
    if part and seed is None:
        return Sample(_open(f"it is of an older version, and does not say how {inputs:,} of {of:,} inputs were drawn"))
    drawn = dataset if seed is None else dataset.subset(inputs, seed)
    how = f"all {of:,} inputs" if seed is None else f"{inputs:,} of {of:,} inputs drawn with seed {seed}"
    wrong = f"{how} have the digest {drawn.digest[:12]}, the run is about {str(data['digest'])[:12]}"
    return Sample(_judged("" if drawn.digest == data["digest"] else wrong), drawn.positions)


def _judged(wrong: str) -> CheckedClaim:
    return judged("manifest", "sample", wrong)


def _open(said: str) -> CheckedClaim:
    return left_open("manifest", "sample", said)


def data_claims(
    records: Sequence[Certificate | Finding], dataset: Dataset, rows: Mapping[int, int]
) -> list[CheckedClaim]:
    """Positions and labels against the data; the values of inputs are compared with each claim about them.

    Args:
        records: of a run.
        dataset: the whole data set.
        rows: position in the data set to row of ``dataset``.
    """
    claims = []
    for one in records:
        claim, said = "label", ""
        if one.index not in rows:
            claim, said = "input digest", f"the data hold no input {one.index}"
        elif one.label != (label := int(dataset.y[rows[one.index]])):
            said = f"the record says {one.label}, the data say {label}"
        elif isinstance(one, Certificate) and one.property.target is not None and dataset.targets is not None:
            true = dataset.targets[rows[one.index]]
            said = (
                ""
                if one.property.target == true
                else f"the record is about {one.property.target!s:.60}, the data say {true!s:.60}"
            )
        claims.append(judged(subject_of(one), claim, said))
    return claims
