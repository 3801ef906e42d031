"""A segmentation's own figures: the share of pixels that are certified, and the intersection over union they leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from certify.core.columns import CertificateColumns
from certify.core.evidence.pixels import PixelsEvidence
from certify.core.guarantee import Guarantee
from certify.core.properties.pixels import Pixels
from certify.core.rounding import below, brief, percent_below, percent_up
from certify.core.summary import PixelRow
from certify.core.threats.base import Threat
from certify.stats.pixels import mean_lower, true_share_lower
from certify.stats.simultaneous import share
from certify.summary.join import Copies
from certify.summary.words import percent

__all__ = ["pixel_rows", "pixels_in_words"]


@dataclass
class _Count:
    """What is certified at one radius: the shares of each image, and the pixels of each class over all images.

    Of a class, ``kept`` are the pixels certified to keep it where it is right, ``either`` those where it is right or
    certified, and ``abstained`` those where it is right and nothing is certified.
    """

    right: list[float] = field(default_factory=list)
    wrong: list[float] = field(default_factory=list)
    kept: dict[int, int] = field(default_factory=dict)
    either: dict[int, int] = field(default_factory=dict)
    abstained: dict[int, int] = field(default_factory=dict)

    def add(self, property: Pixels, evidence: PixelsEvidence | None, place: int) -> None:
        """One image; without evidence, one about which nothing could be computed: nothing is certified of it."""
        truth = property.right[property.judged]
        if evidence is None:
            shown, top = np.zeros(truth.shape, dtype=bool), truth
        else:
            shown, top = evidence.shown(place)[property.judged], evidence.classes[property.judged]
        agree = shown & (top == truth)
        self.right.append(int(agree.sum()) / truth.size)
        self.wrong.append(int((shown & ~agree).sum()) / truth.size)
        _count(self.kept, truth[agree])
        _count(self.either, truth)
        _count(self.either, top[shown & ~agree])
        _count(self.abstained, truth[~shown])

    def miou(self, classes: Sequence[int]) -> float:
        """The mean over classes of the fewest pixels that both maps share over the most that either has."""
        anything = sum(self.abstained.values())  # may be given any class, and adds to the union of all but its own
        ratios = [
            Fraction(self.kept.get(label, 0), self.either[label] + anything - self.abstained.get(label, 0))
            for label in classes
        ]
        return below(sum(ratios, Fraction(0)) / len(ratios))


def _count(found: dict[int, int], labels: NDArray[np.int32]) -> None:
    for label, count in zip(*(one.tolist() for one in np.unique(labels, return_counts=True)), strict=True):
        found[label] = found.get(label, 0) + count


def pixel_rows(
    certificates: CertificateColumns,
    threat: Threat,
    copies: Copies,
    guarantee: Guarantee,
    delta: float,
    *,
    sampled: bool,
) -> tuple[PixelRow, ...]:
    """What is certified of pixels at each of the threat's radii, from the certificates of one image each.

    At a radius that was not declared, it is what is certified at the next larger one that was: what is kept there is
    kept here. The intersection over union of a class is taken over the pixels of all images: the pixels certified to
    keep it where it is right, over those where it is right, those certified to keep it where it is wrong, and all
    pixels elsewhere that abstain, because they may be given this class. No adversary within the radius can bring the
    smoothed model below that if all claims are true. The mean is over the classes that some label map holds. Of a
    population nothing is said unless the images are ``sampled``: every one attempted, once.
    """
    declared = certificates.kinds[0].threat.radii
    counts, truths = {radius: _Count() for radius in declared}, set[int]()
    for row in range(len(certificates.index)):
        one = certificates.fetch(row)
        assert isinstance(one.property, Pixels)
        evidence = one.evidence if isinstance(one.evidence, PixelsEvidence) else None
        truths |= set(np.unique(one.property.right[one.property.judged]).tolist())
        for place, radius in enumerate(declared):
            counts[radius].add(one.property, evidence, place)
    alpha = guarantee.alpha or 0.0
    rows = []
    for radius in threat.radii:
        held = min((one for one in declared if one >= radius), default=None)
        if held is None:
            continue
        found, level = counts[held], share(delta, len(declared))
        rows.append(
            PixelRow(
                radius=radius,
                certified=_mean(found.right),
                certified_lower=true_share_lower(found.right, copies.often, alpha, delta, copies.labels),
                population_lower=mean_lower(found.right, alpha, level) if sampled else None,
                wrong=_mean(found.wrong),
                abstain=max(0.0, 1.0 - _mean(found.right) - _mean(found.wrong)),
                miou=found.miou(sorted(truths)),
            )
        )
    return tuple(rows)


def _mean(shares: Sequence[float]) -> float:
    return sum(shares) / len(shares)


def pixels_in_words(rows: Sequence[PixelRow], n: int, guarantee: Guarantee, delta: float) -> tuple[str, ...]:
    """The same in sentences, each with its probability and what it is over."""
    if not rows:
        return ()
    radii = " / ".join(brief(row.radius) for row in rows)

    def of(name: str, written: Callable[[float], str] = percent_below) -> str:
        return " / ".join(written(getattr(row, name)) for row in rows)

    all_true = max(0.0, 1.0 - n * (guarantee.alpha or 0.0))
    sure = f"with probability at least {percent(1 - delta)} over"
    said = [
        f"Of the judged pixels of an image, on average over these {n:,} images, {of('certified')} % are certified to "
        f"keep their right class at radius {radii}; {sure} the sampling noise, {of('certified_lower')} % truly keep "
        f"it. {of('wrong', percent_up)} % are certified to keep another class, and nothing is certified of "
        f"{of('abstain', percent_up)} %.",
        f"The mean intersection over union of the smoothed model stays at least {of('miou')} % at radius {radii}, over "
        f"all pixels and the classes of the label maps, where all claims are true: with probability at least "
        f"{percent_below(all_true)} % over the sampling noise.",
    ]
    if all(row.population_lower is not None for row in rows):
        said.append(
            f"If these {n:,} images are an independent random sample of a population, {of('population_lower')} % of "
            f"the pixels of an image of it, on average, truly keep their right class at radius {radii}, {sure} the "
            "draw of the images and the noise."
        )
    return tuple(said)
