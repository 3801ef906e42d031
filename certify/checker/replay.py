"""Votes of a smoothed classifier drawn again: the recorded ones exactly where that is cheap, and fresh ones."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.checker.votes import Booth, Votes, votes_of
from certify.core.certificate import Certificate, Look, SmoothingEvidence
from certify.core.rounding import brief, brief_up
from certify.errors import BadInput, CertifyError, one_line
from certify.models.classifier import INVALID, Classifier
from certify.smoothing.noise.base import NOISES
from certify.smoothing.streams import BLOCK
from certify.stats.tails import at_least, at_most

__all__ = ["EXACT", "FRESH", "LEVEL", "Chosen", "chosen", "derived_seed", "replay_claims"]

LEVEL: Final = 1e-6
"""Probability, over noise and choice, that chance refutes one of all certificates replayed whose bounds are true."""

EXACT: Final = 10_000
"""Selections and first looks of up to so many samples are drawn again whole."""

FRESH: Final = 1_000
"""Samples of the fresh run about each chosen input."""

TESTS: Final = 3
"""Statistical tests of a certificate: hits in its blocks, hits in the fresh run, votes for a rival there."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A certificate to be replayed.

    Args:
        certificate: one with smoothing evidence and a radius.
        blocks: which blocks of its estimation stage, ascending; none where the first look is all of it.
        level: its share of :data:`LEVEL`.
    """

    certificate: Certificate
    blocks: tuple[int, ...]
    level: float


def derived_seed(certificates: Iterable[Certificate]) -> int:
    """A seed that follows from the records, so that a check can be repeated and its choice is not the certifier's.

    Times are left out: the same run gives the same seed. It keeps an honest certifier from choosing, not one who makes
    many versions of the records until the choice suits; against that one, choose a seed of your own afterwards.
    """
    digest = hashlib.blake2b(digest_size=8)
    for certificate in certificates:
        fields = certificate.to_dict()
        del fields["seconds"]
        digest.update(json.dumps(fields, sort_keys=True).encode())
    return int.from_bytes(digest.digest(), "big")


def chosen(certificates: Sequence[Certificate], replay: int, seed: int) -> list[Chosen]:
    """Which ``replay`` blocks of noise are drawn again: first one each of certificates drawn at random, then further.

    Only certificates of smoothing that claim a radius take part. Blocks are those after the first look where that one
    is drawn again whole; a certificate that has none left is replayed all the same.
    """
    able = [one for one in certificates if one.radius is not None and isinstance(one.evidence, SmoothingEvidence)]
    draw = random.Random(seed)
    draw.shuffle(able)
    able = able[: max(0, replay)]
    found = []
    for place, certificate in enumerate(able):
        assert isinstance(certificate.evidence, SmoothingEvidence)
        remaining = _remaining(certificate.evidence)
        wanted = min(len(remaining), len(range(place, replay, len(able))))
        blocks = tuple(sorted(draw.sample(remaining, wanted)))
        found.append(Chosen(certificate, blocks, LEVEL / len(able)))
    return found


def _remaining(evidence: SmoothingEvidence) -> range:
    """The blocks of the estimation stage that no exact replay covers, the last one perhaps in part."""
    first = evidence.looks[0].n if evidence.looks[0].n <= EXACT else 0
    return range(-(-first // BLOCK), -(-evidence.looks[-1].n // BLOCK))


def replay_claims(
    certificate: Certificate, classifier: Classifier, x: Tensor, *, blocks: Sequence[int], level: float, seed: int
) -> list[CheckedClaim]:
    """Whether noise drawn again gives the votes that a certificate was derived from.

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

    A difference that votes whose scores tie within float32 rounding could explain leaves the claim open, and so does a
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
    if not isinstance(evidence, SmoothingEvidence):
        raise BadInput(f"only smoothing certificates are replayed, this one is by {certificate.method}")
    try:
        noise = NOISES[evidence.noise](evidence.sigma)
        noise.check_inputs(x[None], classifier.input_box)
    except CertifyError as problem:
        return [judged(subject, "noise", str(problem))]
    replay = _Replay(subject, certificate.prediction, evidence, level / TESTS)
    booth = Booth(classifier, x, certificate.input_digest, noise)
    try:
        return [*replay.recorded(booth, blocks), replay.fresh(booth, seed)]
    except (MemoryError, RuntimeError) as problem:  # what torch raises where memory is short
        return [left_open(subject, "votes", one_line(problem))]


@dataclass(frozen=True, slots=True)
class _Replay:
    """What a certificate says of the votes for and against its class, and the level of a test of that."""

    subject: str
    kept: int | None
    evidence: SmoothingEvidence
    level: float

    def recorded(self, booth: Booth, blocks: Sequence[int]) -> list[CheckedClaim]:
        """Draw the recorded noise again: exact counts, and blocks that fit in."""
        evidence, seed = self.evidence, self.evidence.seed
        if (evidence.generator, evidence.block_size) != (booth.generator, BLOCK):
            said = (
                f"they were drawn by {evidence.generator} in blocks of {evidence.block_size}, "
                f"this is {booth.generator} with blocks of {BLOCK}"
            )
            return [left_open(self.subject, "votes", said)]
        claims, selection, first = [], evidence.selection, evidence.looks[0]
        if selection is not None and selection.n <= EXACT:
            votes = booth.votes(seed, "selection", [range(selection.n)])
            claims.append(self._fitting("selection votes", votes, votes_of(selection)))
        if first.n <= EXACT:
            votes = booth.votes(seed, "estimation", [range(first.n)])
            claims.append(self._fitting("votes of the first look", votes, votes_of(first)))
        pooled: Counter[int] = Counter()
        for before, after, samples in self._intervals(blocks):
            votes = booth.votes(seed, "estimation", samples)
            room = votes_of(after) - (Counter() if before is None else votes_of(before))
            claims.append(self._fitting("votes between looks", votes, room, f", look at {after.n:,}"))
            pooled += votes.counts
        if pooled:
            claims.append(judged(self.subject, "votes for the class", self._too_few(pooled)))
        return claims

    def fresh(self, booth: Booth, seed: int) -> CheckedClaim:
        """Draw noise that the recorded seed has no part in."""
        counts = booth.votes(seed, "check", [range(FRESH)]).counts
        rivals = {label: n for label, n in counts.items() if label != self.kept}
        rival, most = max(rivals.items(), key=lambda one: one[1], default=(INVALID, 0))
        bound, said = self.evidence.rival_upper, self._too_few(counts)
        # The rival is the strongest of all classes: each of them is tested at its share of the level.
        if not said and at_least(most, FRESH, bound) < self.level / booth.classifier.num_classes:
            many = f"{most:,} of {FRESH:,} samples return {_name(rival)}"
            said = f"{many}, too many for a probability of at most {brief_up(bound)}"
        return judged(self.subject, "fresh samples", said)

    def _too_few(self, counts: Counter[int]) -> str:
        """Why votes contradict the lower bound on the probability of the class, in words."""
        hits, p_lower = 0 if self.kept is None else counts[self.kept], self.evidence.p_lower
        if at_most(hits, counts.total(), p_lower) >= self.level:
            return ""
        return (
            f"{hits:,} of {counts.total():,} samples return {_name(self.kept)}, "
            f"too few for a probability of at least {brief(p_lower)}"
        )

    def _fitting(self, claim: str, votes: Votes, recorded: Counter[int], where: str = "") -> CheckedClaim:
        """Whether votes are among the recorded ones; as many as were recorded have to be the very same."""
        subject, excess = self.subject + where, votes.counts - recorded
        if not excess:
            return judged(subject, claim, "")
        label = min(excess)
        said = (
            f"{votes.counts[label]:,} of {votes.counts.total():,} samples of seed {self.evidence.seed} return "
            f"{_name(label)}, the record has {recorded[label]:,} in {recorded.total():,}"
        )
        if excess.total() <= votes.close:
            return left_open(subject, claim, f"{said}; {votes.close} tie within rounding")
        return judged(subject, claim, said)

    def _intervals(self, blocks: Sequence[int]) -> Iterator[tuple[Look | None, Look, list[range]]]:
        """The samples of blocks, by the looks between which they were counted."""
        looks, found = self.evidence.looks, defaultdict[tuple[int, int], list[range]](list)
        for block in blocks:
            samples = range(BLOCK * block, min(BLOCK * (block + 1), looks[-1].n))
            before = sum(look.n <= samples.start for look in looks)
            after = sum(look.n < samples.stop for look in looks)
            found[before, after].append(samples)
        for (before, after), inside in sorted(found.items()):
            yield looks[before - 1] if before else None, looks[after], inside


def _name(label: int | None) -> str:
    return "no class" if label in (None, INVALID) else f"class {label}"
