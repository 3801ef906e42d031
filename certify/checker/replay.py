"""Votes of a smoothed classifier drawn again: the recorded ones exactly where that is cheap, and fresh ones."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from certify.checker.identity import class_name, ties
from certify.checker.pixels import EXACT_SAMPLES, FRESH_SAMPLES, pixel_claims, remaining_of
from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.core.certificate import Certificate, Look
from certify.core.evidence import PixelsEvidence, Sampled
from certify.core.properties.base import Property
from certify.core.rounding import brief, brief_up
from certify.errors import BadInput, CertifyError, one_line
from certify.models.classifier import INVALID, Classifier
from certify.smoothing.noise.base import Law, recorded_law
from certify.smoothing.streams import BLOCK, Stream
from certify.stats.binomial import binomial_at_least, binomial_at_most

__all__ = ["EXACT_SAMPLES", "FRESH_SAMPLES", "LEVEL", "Chosen", "chosen", "derived_seed", "replay_claims"]

LEVEL: Final = 1e-6
"""Probability, over noise and choice, that a check refutes any replayed certificate although its bounds are true."""

TESTS_EACH: Final = 3
"""Statistical tests of one certificate: votes for its class in its blocks and in the fresh samples, and for a rival."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A certificate to be replayed.

    Args:
        certificate: one with smoothing evidence and a radius.
        blocks: numbers of the blocks of its estimation stage to draw again, ascending; empty where the first look,
            which is drawn again in full, is the whole stage.
        level: its share of :data:`LEVEL`.
    """

    certificate: Certificate
    blocks: tuple[int, ...]
    level: float


def derived_seed(certificates: Iterable[Certificate]) -> int:
    """A seed that follows from the records, so that a check can be repeated and the certifier does not choose it.

    Times are left out, so that the same run gives the same seed. A dishonest certifier could still make many versions
    of the records until the derived seed suits; against that, choose a seed of your own after the run.
    """
    digest = hashlib.blake2b(digest_size=8)
    for certificate in certificates:
        fields = certificate.to_dict()
        del fields["seconds"]
        digest.update(json.dumps(fields, sort_keys=True).encode())
    return int.from_bytes(digest.digest(), "big")


def chosen(certificates: Sequence[Certificate], replay: int, seed: int) -> list[Chosen]:
    """Choose ``replay`` blocks of noise to draw again, one of each certificate in random order before a second of any.

    Only smoothing certificates that claim something take part: a radius, or pixels, which count even where they are too
    few for a radius. Where the first look is drawn again in full anyway, the blocks are chosen among those after it; a
    certificate without any such block is replayed all the same.
    """
    able = [one for one in certificates if _claims_votes(one)]
    draw = random.Random(seed)
    draw.shuffle(able)
    able = able[: max(0, replay)]
    found = []
    for place, certificate in enumerate(able):
        evidence = certificate.evidence
        assert isinstance(evidence, Sampled | PixelsEvidence)
        remaining = (
            remaining_of(evidence.n, evidence.n) if isinstance(evidence, PixelsEvidence) else _remaining(evidence)
        )
        wanted = min(len(remaining), len(range(place, replay, len(able))))
        blocks = tuple(sorted(draw.sample(remaining, wanted)))
        found.append(Chosen(certificate, blocks, LEVEL / len(able)))
    return found


def _claims_votes(certificate: Certificate) -> bool:
    """Whether something is claimed that rests on votes."""
    evidence = certificate.evidence
    if isinstance(evidence, PixelsEvidence):
        return any(evidence.shown(place).any() for place in range(len(evidence.least)))
    return certificate.radius is not None and isinstance(evidence, Sampled)


def _remaining(evidence: Sampled) -> range:
    """Numbers of the estimation blocks that no exact replay covers; the last block may be incomplete."""
    return remaining_of(evidence.looks[0].n, evidence.looks[-1].n)


def replay_claims(
    certificate: Certificate, classifier: Classifier, x: Tensor, *, blocks: Sequence[int], level: float, seed: int
) -> list[CheckedClaim]:
    """Whether noise drawn again gives the votes that a certificate was derived from.

    Three things are compared:

    * The draws that selected the class, and those of the first look, where they are at most 10,000: from the recorded
      seed, block by block, they must give the recorded counts, vote for vote.
    * The chosen blocks of the other draws: their votes must fit into what was counted between the looks around them,
      and those for the class, all blocks together, must not be too few for the claimed lower bound on its probability.
    * 1,000 samples from noise of the checker's own: those for the class must not be too few, and those for any other
      class not too many, for the claimed bounds.

    "Too few" means that the binomial tail at the claimed bound is below the level of that test, a third of ``level``.
    Where the bounds are true, chance refutes a certificate with probability at most ``level``; with :func:`chosen`, one
    in a million for a whole check. The bounds themselves are false with probability at most the certificate's alpha.

    A pass does not prove the radius. It says that the recorded counts are those of the recorded seed, as far as they
    were drawn again, and that the class's probability is not far below its bound: 1,000 fresh samples, at a level of
    1e-8, refute a claimed 0.99 with probability above 0.99 where the truth is 0.95, and a claimed 0.6 where it is 0.5
    with probability 0.76. Where every sample votes for one class, any seed gives these counts.

    A difference that votes whose scores tie within rounding could explain leaves the claim open, and so does a
    generator of another library version or device, or another size of blocks.

    Args:
        certificate: one with smoothing evidence.
        classifier: the classifier, not smoothed.
        x: the input, (...), on the CPU.
        blocks: which blocks of the estimation stage to draw again.
        level: the probability of refuting this certificate by chance.
        seed: of the fresh noise; independent of the recorded one, even where it is the same number.

    Raises:
        BadInput: for a certificate that is not one of smoothing.
    """
    evidence, subject = certificate.evidence, subject_of(certificate)
    if isinstance(evidence, PixelsEvidence):
        return pixel_claims(certificate, classifier, x, blocks=blocks, level=level, seed=seed)
    if not isinstance(evidence, Sampled):
        raise BadInput(f"only smoothing certificates are replayed, this one is by {certificate.method}")
    try:
        noise = recorded_law(evidence.smoothed).about(certificate.threat, tuple(x.shape))
        noise.check_inputs(x[None], classifier.input_box)
    except CertifyError as problem:
        return [judged(subject, "noise", str(problem))]
    replay = _Replay(subject, certificate.prediction, certificate.property, evidence, level / TESTS_EACH)
    source = VoteSource(classifier, x, certificate.input_digest, noise)
    try:
        return [*replay.recorded(source, blocks), replay.fresh(source, seed)]
    except (MemoryError, RuntimeError) as problem:  # what torch raises where memory is short
        return [left_open(subject, "votes", one_line(problem))]


@dataclass(frozen=True, slots=True)
class _Replay:
    """What a certificate says of the votes for and against its class, and the level of each statistical test of it."""

    subject: str
    kept: int | None
    property: Property
    evidence: Sampled
    level: float

    def recorded(self, source: VoteSource, blocks: Sequence[int]) -> list[CheckedClaim]:
        """Draw the recorded noise again and compare exact counts, and chosen blocks with the counts around them."""
        evidence, seed = self.evidence, self.evidence.seed
        if (evidence.generator, evidence.block_size) != (source.generator, BLOCK):
            said = (
                f"they were drawn by {evidence.generator} in blocks of {evidence.block_size}, "
                f"this is {source.generator} with blocks of {BLOCK}"
            )
            return [left_open(self.subject, "votes", said)]
        claims, selection, first = [], evidence.selection, evidence.looks[0]
        if selection is not None and selection.n <= EXACT_SAMPLES:
            votes = source.votes(seed, "selection", [range(selection.n)])
            claims.append(self._fitting("selection votes", votes, votes_of(selection)))
        if first.n <= EXACT_SAMPLES:
            votes = source.votes(seed, "estimation", [range(first.n)])
            claims.append(self._fitting("votes of the first look", votes, votes_of(first)))
        pooled: Counter[int] = Counter()
        for before, after, samples in self._intervals(blocks):
            votes = source.votes(seed, "estimation", samples)
            room = votes_of(after) - (Counter() if before is None else votes_of(before))
            claims.append(self._fitting("votes between looks", votes, room, f", look at {after.n:,}"))
            pooled += votes.counts
        if pooled:
            claims.append(judged(self.subject, "votes for the class", self._too_few(pooled)))
        return claims

    def fresh(self, source: VoteSource, seed: int) -> CheckedClaim:
        """Draw noise that does not depend on the recorded seed, and test both claimed bounds on it."""
        counts = source.votes(seed, "check", [range(FRESH_SAMPLES)]).counts
        rivals = sorted(((n, label) for label, n in counts.items() if label != self.kept), reverse=True)
        most, rival = rivals[self.property.places - 1] if len(rivals) >= self.property.places else (0, INVALID)
        bound, said = self.evidence.rival_upper, self._too_few(counts)
        if self.property.sides > 1:  # no other answer is bounded
            return judged(self.subject, "fresh samples", said)
        # The rival is found among all classes: each of them is tested at its share of the level.
        if not said and binomial_at_least(most, FRESH_SAMPLES, bound) < self.level / source.classifier.ballots:
            many = f"{most:,} of {FRESH_SAMPLES:,} samples return {class_name(rival)}"
            said = f"{many}, too many for a probability of at most {brief_up(bound)}"
        return judged(self.subject, "fresh samples", said)

    def _too_few(self, counts: Counter[int]) -> str:
        """Why votes contradict the lower bound on the probability of the class, in words.

        Where it has several sides, the one with most votes against it is tested, at its share of the level.
        """
        hits, p_lower = 0, self.evidence.p_lower
        if self.kept is not None:
            valid = {label: n for label, n in counts.items() if label != INVALID}
            hits = sum(valid.values()) - max(self.property.against(self.kept, valid))
        if binomial_at_most(hits, counts.total(), p_lower) >= self.level / self.property.sides:
            return ""
        return (
            f"{hits:,} of {counts.total():,} samples return {class_name(self.kept)}, "
            f"too few for a probability of at least {brief(p_lower)}"
        )

    def _fitting(self, claim: str, votes: RedrawnVotes, recorded: Counter[int], where: str = "") -> CheckedClaim:
        """Whether votes drawn again are contained in the recorded ones: equal to them where the numbers are equal."""
        subject, excess = self.subject + where, votes.counts - recorded
        if not excess:
            return judged(subject, claim, "")
        label = min(excess)
        said = (
            f"{votes.counts[label]:,} of {votes.counts.total():,} samples of seed {self.evidence.seed} return "
            f"{class_name(label)}, the record has {recorded[label]:,} in {recorded.total():,}"
        )
        if excess.total() <= votes.close:
            return left_open(subject, claim, f"{said}; {votes.close} tie within rounding")
        return judged(subject, claim, said)

    def _intervals(self, blocks: Sequence[int]) -> Iterator[tuple[Look | None, Look, list[range]]]:
        """The samples of the blocks, grouped by the looks before and after which they were counted."""
        looks, found = self.evidence.looks, defaultdict[tuple[int, int], list[range]](list)
        for block in blocks:
            samples = range(BLOCK * block, min(BLOCK * (block + 1), looks[-1].n))
            before = sum(look.n <= samples.start for look in looks)
            after = sum(look.n < samples.stop for look in looks)
            found[before, after].append(samples)
        for (before, after), inside in sorted(found.items()):
            yield looks[before - 1] if before else None, looks[after], inside


@dataclass(frozen=True, slots=True)
class RedrawnVotes:
    """Votes by class, those for no class under -1, and how many of them tie with another class within rounding."""

    counts: Counter[int]
    close: int = 0


def votes_of(look: Look) -> Counter[int]:
    """The recorded votes of a look by class, those for no class under -1."""
    return Counter({**look.counts, INVALID: look.invalid})


@dataclass(frozen=True, slots=True, eq=False)
class VoteSource:
    """Draws votes about one input (...), samples in ascending order.

    Batch sizes are random, from 1 to ``BLOCK``. A run uses a single batch size, so a model whose answers depend on the
    batch size gives itself away here.
    """

    classifier: Classifier
    x: Tensor
    digest: str
    noise: Law

    @property
    def generator(self) -> str:
        """Library, version and device of the generator that draws here."""
        return self._stream(0, "estimation").generator

    def votes(self, seed: int, stage: str, samples: Sequence[range]) -> RedrawnVotes:
        """The votes of the samples with these numbers within a stage."""
        stream, x, counts, close = self._stream(seed, stage), self.x.to(self.classifier.device), Counter[int](), 0
        sizes = random.Random(f"{self.digest} {seed} {stage}")
        with torch.inference_mode():
            for part in samples:
                start = part.start
                while start < part.stop:
                    size = min(int(BLOCK ** sizes.random()), part.stop - start)
                    noisy = torch.empty((size, *x.shape), dtype=torch.float32, device=x.device)
                    stream.perturb(x, self.digest, start, out=noisy)
                    scores = self.classifier.base.scores(noisy)
                    counts.update(self.classifier.votes_at(scores).tolist())
                    finite = scores[torch.isfinite(scores).all(dim=1)]
                    close += ties(self.classifier.property, finite, self.classifier.arithmetic.tie)
                    start += size
        return RedrawnVotes(counts, close)

    def _stream(self, seed: int, stage: str) -> Stream:
        return Stream(self.noise, tuple(self.x.shape), seed=seed, stage=stage, device=self.classifier.device)
