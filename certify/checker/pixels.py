"""Pixels under noise drawn again: the recorded counts where that is cheap, and fresh ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.core.certificate import Certificate
from certify.core.evidence import PixelsEvidence
from certify.core.properties.pixels import Pixels
from certify.core.rounding import brief
from certify.errors import CertifyError, one_line
from certify.models.classifier import Classifier
from certify.models.segmenter import pixel_votes
from certify.smoothing.noise.base import Law, recorded_law
from certify.smoothing.streams import BLOCK, Stream
from certify.stats.binomial import binomial_at_most

__all__ = ["EXACT_SAMPLES", "FRESH_SAMPLES", "model_claims", "pixel_claims", "remaining_of"]

EXACT_SAMPLES: Final = 10_000
"""A selection or first look of at most this many samples is drawn again in full."""

FRESH_SAMPLES: Final = 1_000
"""Samples of noise of the checker's own about each chosen input."""


def remaining_of(first: int, last: int) -> range:
    """Numbers of the estimation blocks that no exact replay of the first look covers; the last may be incomplete."""
    covered = first if first <= EXACT_SAMPLES else 0
    return range(-(-covered // BLOCK), -(-last // BLOCK))


@dataclass(frozen=True, slots=True, eq=False)
class PixelSource:
    """Draws samples about one image (...), in batches of random sizes, which give away a model that looks at them."""

    classifier: Classifier
    x: Tensor
    digest: str
    noise: Law

    def stream(self, seed: int, stage: str) -> Stream:
        """The noise of a stage."""
        return Stream(self.noise, tuple(self.x.shape), seed=seed, stage=stage, device=self.classifier.device)

    def votes(self, seed: int, stage: str, samples: range) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Votes (K + 1, H, W), no class first, and how many samples at each pixel have two classes that tie."""
        stream, x = self.stream(seed, stage), self.x.to(self.classifier.device)
        sizes, start = random.Random(f"{self.digest} {seed} {stage}"), samples.start
        votes, close = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        with torch.inference_mode():
            while start < samples.stop:
                size = min(int(BLOCK ** sizes.random()), samples.stop - start)
                noisy = torch.empty((size, *x.shape), dtype=torch.float32, device=x.device)
                stream.perturb(x, self.digest, start, out=noisy)
                scores = self.classifier.base.scores(noisy)
                votes = votes + pixel_votes(scores)
                best = scores.nan_to_num().topk(2, dim=1).values
                largest = scores.nan_to_num(0.0, 0.0, 0.0).abs().amax(dim=1)
                close = close + (best[:, 0] - best[:, 1] <= self.classifier.arithmetic.tie * largest).sum(dim=0).cpu()
                start += size
        return votes.numpy(), close.numpy()


def pixel_claims(
    certificate: Certificate, classifier: Classifier, x: Tensor, *, blocks: Sequence[int], level: float, seed: int
) -> list[CheckedClaim]:
    """Whether noise drawn again gives the counts that the certified pixels of an image were derived from.

    The samples that named the classes, and those that counted them, are drawn again pixel by pixel where they are at
    most 10,000; of more, chosen blocks have to fit into the counts. Then 1,000 samples of the checker's own must not
    return the class of any certified pixel too seldom for its claim, each pixel and radius at its share of ``level``.
    A difference that ties within rounding could explain leaves the claim open.

    Args:
        certificate: with evidence of pixels.
        classifier: the segmenter, not smoothed.
        x: the image (...), on the CPU.
        blocks: which blocks of the estimation stage to draw again.
        level: the probability of refuting this certificate by chance.
        seed: of the fresh noise.
    """
    evidence, subject = certificate.evidence, subject_of(certificate)
    assert isinstance(evidence, PixelsEvidence)
    try:
        noise = recorded_law(evidence.smoothed)
        noise.check_inputs(x[None], classifier.input_box)
        with torch.inference_mode():
            shape = tuple(classifier.base.scores(x[None]).shape[1:])
    except CertifyError as problem:
        return [judged(subject, "noise", str(problem))]
    if wrong := _of_no_map(certificate, evidence) or pixels_fault(evidence, shape):
        return [judged(subject, "pixels", wrong)]
    source = PixelSource(classifier, x, certificate.input_digest, noise)
    try:
        return [*_recorded(subject, evidence, source, blocks), _fresh(certificate, evidence, source, level, seed)]
    except (MemoryError, RuntimeError) as problem:  # what torch raises where memory is short
        return [left_open(subject, "votes", one_line(problem))]


def model_claims(
    certificate: Certificate, evidence: PixelsEvidence, classifier: Classifier, x: Tensor
) -> list[CheckedClaim]:
    """Whether the noise was drawn over all features of an image (...), and the model gives as many pixels a class."""
    subject = subject_of(certificate)
    try:
        with torch.inference_mode():
            shape = tuple(classifier.base.scores(x[None]).shape[1:])
    except CertifyError as problem:
        return [judged(subject, "pixels", str(problem))]
    features = f"the record says {evidence.dimensions}, the input has {x.numel()}"
    return [
        judged(subject, "features", "" if evidence.dimensions == x.numel() else features),
        judged(subject, "pixels", pixels_fault(evidence, shape)),
    ]


def _of_no_map(certificate: Certificate, evidence: PixelsEvidence) -> str:
    property = certificate.property
    if not isinstance(property, Pixels) or property.truth is None:
        return "the record is about no label map"
    sizes = property.right.shape, evidence.classes.shape
    return "" if sizes[0] == sizes[1] else f"the label map and the classes are maps of {sizes} pixels"


def pixels_fault(evidence: PixelsEvidence, shape: tuple[int, ...]) -> str:
    """Why evidence is not about what a model returns for one image, scores of this shape; empty where it is."""
    if len(shape) != 3:
        return "the model gives an input one class, not each pixel"
    if evidence.classes.shape != shape[1:]:
        return f"the record has {evidence.classes.shape} pixels, the model returns {shape[1:]}"
    most = int(evidence.classes.max())
    return "" if most < shape[0] else f"class {most} is named, the model's are 0 to {shape[0] - 1}"


def _recorded(subject: str, evidence: PixelsEvidence, source: PixelSource, blocks: Sequence[int]) -> list[CheckedClaim]:
    """The recorded noise, drawn again."""
    generator, claims = source.stream(0, "estimation").generator, []
    if (evidence.generator, evidence.block_size) != (generator, BLOCK):
        said = f"they were drawn by {evidence.generator} in blocks of {evidence.block_size}, this is {generator}"
        return [left_open(subject, "votes", f"{said} with blocks of {BLOCK}")]
    top, hits, n = evidence.classes, evidence.counts, evidence.n
    if evidence.n0 <= EXACT_SAMPLES:
        votes, close = source.votes(evidence.seed, "selection", range(evidence.n0))
        behind = votes[1:].max(axis=0) - np.take_along_axis(votes[1:], top[None], axis=0)[0]
        other = votes[1:].argmax(axis=0) != top
        claims.append(_compared(subject, "selection votes", other, behind > 2 * close, "pixels have another class"))
    if n <= EXACT_SAMPLES:
        votes, close = source.votes(evidence.seed, "estimation", range(n))
        apart = np.abs(np.take_along_axis(votes[1:], top[None], axis=0)[0] - hits)
        claims.append(_compared(subject, "hits", apart > 0, apart > close, "pixels have other hits"))
    for block in blocks:
        samples = range(BLOCK * block, min(BLOCK * (block + 1), n))
        votes, close = source.votes(evidence.seed, "estimation", samples)
        found = np.take_along_axis(votes[1:], top[None], axis=0)[0]
        excess = np.maximum(found - hits, (len(samples) - found) - (n - hits))
        said = f"pixels of block {block} have hits that do not fit into the counts"
        claims.append(_compared(subject, "hits of a block", excess > 0, excess > close, said))
    return claims


def _compared(
    subject: str, claim: str, differing: NDArray[np.bool_], beyond: NDArray[np.bool_], what: str
) -> CheckedClaim:
    """Confirmed where nothing differs, open where ties could explain all that differs."""
    said = f"{int(differing.sum()):,} of {differing.size:,} {what}" if differing.any() else ""
    if said and not beyond.any():
        return left_open(subject, claim, f"{said}, where classes tie within rounding")
    return judged(subject, claim, said)


def _fresh(
    certificate: Certificate, evidence: PixelsEvidence, source: PixelSource, level: float, seed: int
) -> CheckedClaim:
    """Noise that does not depend on the recorded seed: no certified pixel may have too few hits."""
    subject, property = subject_of(certificate), certificate.property
    assert isinstance(property, Pixels)
    votes, _ = source.votes(seed, "check", range(FRESH_SAMPLES))
    found = np.take_along_axis(votes[1:], evidence.classes[None], axis=0)[0]
    for place, missed in enumerate(evidence.missed):
        shown = found[evidence.shown(place) & property.judged]
        if not shown.size:
            continue
        hits = int(shown.min())
        tail = 1 - missed  # a claim with it holds no less: the difference is a rounding
        if binomial_at_most(hits, FRESH_SAMPLES, tail) < level / (shown.size * len(evidence.missed)):
            said = f"a pixel's class has {hits:,} of {FRESH_SAMPLES:,} samples, too few for {brief(tail)}"
            return judged(subject, "fresh samples", said)
    return judged(subject, "fresh samples", "")
