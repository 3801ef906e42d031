"""A smoothing certificate, derived again from its counts.

Clopper and Pearson bound the probability of missing the class, each look at its own share of alpha, and the noise law
turns the bound into a radius. The certifier searches for both numbers; the checker only verifies them, in ball
arithmetic that encloses the exact values: the binomial tail at the recorded bound, and the theorem at the recorded
radius. A recorded number that is too small by more than rounding is refuted as well, because it is not what the
evidence shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from flint import arb

from certify.checker.derivations.base import DERIVATIONS, Derivation, Difference, RunSettings, evidence_of
from certify.checker.laws import LAWS, Law
from certify.checker.result import CheckedClaim, judged, left_open, subject_of
from certify.checker.schedules import LookTable, schedule_fault, schedule_of
from certify.core.certificate import Certificate, Look
from certify.core.evidence import Sampled
from certify.core.properties.base import Property
from certify.core.rounding import one_in, round_down
from certify.core.verdict import Verdict
from certify.lazy import later
from certify.stats.balls import binomial_tail, working_precision
from certify.stats.binomial import clopper_pearson_upper

if TYPE_CHECKING:
    from torch import Tensor

    from certify.models.classifier import Classifier

__all__ = ["RIVAL_SHARE", "SmoothingDerivation", "smoothing_claims"]

special = later("scipy.special")

RIVAL_SHARE: Final = 0.1
"""The share of alpha that bounds the runner-up on its own, where a run asks for that."""

_SHARES: Final = {"runner-up": RIVAL_SHARE, "one-sided": 0.0}
"""The share of alpha that each setting of ``bound`` spends on the runner-up."""

BITS: Final = 128
"""Working precision of the ball arithmetic, in bits."""

TAIL_RTOL: Final = arb(1e-6)
"""Relative amount by which a tail may lie below its alpha, or a payment above what is due. A bound that was rounded to
the sound side puts its tail within 1e-7 at a billion samples."""

RADIUS_ATOL: Final = 1e-9
"""Amount by which a radius may lie below the derived one, in units of sigma."""


def smoothing_claims(certificate: Certificate) -> list[CheckedClaim]:
    """Every claim of a certificate with smoothing evidence, from the certificate alone (Cohen et al. 2019).

    Args:
        certificate: certified or not.

    Returns:
        One outcome each for ``alpha``, ``counts``, ``prediction``, ``confidence bound``, ``noise``, ``radius`` and
        ``verdict``. What needs the theorem of a law that is not known here is open.
    """
    evidence, subject = evidence_of(certificate, Sampled), subject_of(certificate)
    q, rival, bound = _bound(evidence, _label(certificate, evidence), certificate.property)
    claims = [
        judged(subject, "alpha", _alpha(certificate, evidence)),
        judged(subject, "counts", _counts(certificate, evidence)),
        judged(subject, "confidence bound", bound),
    ]
    law = LAWS.get(evidence.noise)
    if law is None:
        said = f"no theorem of {evidence.noise!r} noise is known here"
        return claims + [left_open(subject, one, said) for one in _OF_THE_LAW]
    if law.evidence != evidence.kind:
        said = f"{evidence.noise} noise leaves {law.evidence} evidence behind, not {evidence.kind} evidence"
        return [*claims, judged(subject, "noise", said)]
    with working_precision(BITS):
        radius = _derived(law, certificate, evidence, q, rival)
        return claims + [
            judged(subject, one, check(certificate, evidence, law, radius)) for one, check in _OF_THE_LAW.items()
        ]


def _alpha(certificate: Certificate, evidence: Sampled) -> str:
    """Whether the claimed alpha pays for all looks of the schedule, taken or not, and for the draws; summed exactly."""
    parts = [evidence.draws_alpha, *(look.alpha for look in evidence.looks), *(alpha for _, alpha in evidence.later)]
    if not all(0 <= part < 1 for part in (*parts, evidence.rival_share)):
        return "a share of alpha is no number in [0, 1)"
    if evidence.selection is not None and evidence.selection.alpha:
        return "draws that only name a class have no share of alpha"
    spent, claimed = sum(map(Fraction, parts)), certificate.alpha
    if claimed is None or spent > Fraction(claimed):
        return f"looks and draws spend {float(spent):.9g}, the certificate claims {claimed}"
    return ""


def _counts(certificate: Certificate, evidence: Sampled) -> str:
    """Votes only accumulate from look to look, all samples are accounted for, and the class was named as stated."""
    for before, after in pairwise(evidence.looks):
        if after.invalid < before.invalid or any(after.counts.get(c, 0) < k for c, k in before.counts.items()):
            return f"a class has fewer votes after {after.n} samples than after {before.n}"
    if (evidence.chosen_by == "draws") != (evidence.selection is not None):
        return f"a class chosen by {evidence.chosen_by} and separate draws do not go together"
    property = certificate.property
    if evidence.rival_share and property.sides > 1:
        return f"what {property.kind} keeps has no runner-up"
    if evidence.chosen_by == "votes" and property.places * property.sides > 1:
        return f"votes that name the answer as well show nothing of {property.kind}"
    if evidence.chosen_by == "votes" and evidence.rival_share:
        return "a runner-up is bounded by its own votes only where other votes, or the label, name the class"
    if (evidence.chosen_by == "votes" or evidence.rival_share) and len(evidence.looks) + len(evidence.later) > 1:
        return "votes that name the class as well, or bound the runner-up on its own, allow one look only"
    drawn = evidence.looks[-1].n + (0 if evidence.selection is None else evidence.selection.n)
    if certificate.forward_passes != drawn:
        return f"{drawn} samples are counted, {certificate.forward_passes} were sent through the model"
    return ""


def _label(certificate: Certificate, evidence: Sampled) -> int | None:
    """The class whose votes are counted: fixed before the votes, or paid for with half of alpha."""
    if evidence.chosen_by == "label":
        return certificate.label
    named = evidence.looks[-1] if evidence.selection is None else evidence.selection
    return certificate.property.elected(named.counts)


def _bound(evidence: Sampled, label: int | None, property: Property) -> tuple[float, float, str]:
    """What the best look shows about missing the class and about its rivals; and what is wrong with what is stated.

    The side with most votes against the property is counted, so the bound holds for all of them. Each of the rivals
    that may lead has an equal part of what bounds rivals.
    """
    best = min(evidence.looks, key=lambda look: _guess(_misses(look, label, property), look.n, look.alpha))
    misses, share, halved = _misses(best, label, property), evidence.rival_share, evidence.chosen_by == "votes"
    q, rival, fault = evidence.q_upper, evidence.rival_upper, ""
    if not _is_bound(q, misses, best.n, best.alpha, 0.5 if halved else 1.0, 0.0 if halved else share):
        found = _upper(misses, best.n, best.alpha * (0.5 if halved else 1 - share))
        fault = f"{misses} misses in {best.n} samples bound their probability to {found:.9g}, not {q:.9g}"
        q = found
    if not share:
        apart = f"rivals are bounded by {evidence.q_upper:.9g} as misses are, not by {rival:.9g}"
        return q, q, fault or ("" if rival == evidence.q_upper else apart)
    places = property.places
    most = best.rival(label, places)
    if not (rival <= q and _is_bound(rival, most, best.n, best.alpha, share, 0.0, places)):
        found = min(q, _upper(most, best.n, best.alpha * share / places))
        if rival != found:
            fault = fault or f"{most} of {best.n} votes for a rival bound it to {found:.9g}, not {rival:.9g}"
        rival = found
    return q, rival, fault


def _misses(look: Look, label: int | None, property: Property) -> int:
    """The votes on the side that has most of them against the answer; invalid ones are against everything."""
    if label is None or not property.votable(label):
        return look.n
    return look.invalid + max(property.against(label, look.counts))


def _guess(misses: int, n: int, alpha: float) -> float:
    """A look's bound in ordinary floats, to find the best look: the bound of whichever is chosen is then verified."""
    return float(special.betainccinv(misses + 1, n - misses, alpha)) if misses < n and 0 < alpha < 1 else 1.0


def _upper(k: int, n: int, alpha: float) -> float:
    """What should have been stated, for the message."""
    return clopper_pearson_upper(k, n, alpha) if 0 < alpha < 1 else 1.0


@lru_cache(maxsize=1 << 16)
def _is_bound(q: float, k: int, n: int, alpha: float, share: float, less: float, parts: int = 1) -> bool:
    """Whether ``q`` is the upper confidence bound after k of n at a level (Clopper, Pearson 1934).

    The level is one of so many equal parts of alpha (share - less).

    That is, P[Binomial(n, q) <= k] is at most the level, and not less by more than rounding.
    """
    with working_precision(BITS):
        level = arb(alpha) * (arb(share) - arb(less)) / parts
        if k == n or not level > 0:
            return q == 1.0
        if not 0 < q < 1:
            return False
        tail, _ = binomial_tail(n - k, n, 1 - arb(q), arb(q))
        return bool(tail <= level) and bool(tail >= level * (1 - TAIL_RTOL))


def _derived(law: Law, certificate: Certificate, evidence: Sampled, q: float, rival: float) -> arb | None:
    """The radius that the theorem gives, less the slack; None where the class is not shown to win."""
    measure, places = evidence.measure(certificate.threat), certificate.property.places
    shown = [law.radius(measure, arb(q), arb(rival))] if arb(q) + arb(rival) < 1 else []
    # A class that is more probable than 1 / (k + 1) is among the k most probable: k + 1 such numbers exceed 1.
    if places > 1 and arb(q) + (least := arb(one_in(places + 1))) < 1:
        shown.append(law.above(measure, arb(q), least))
    if not shown:
        return None
    radius = shown[-1].max(shown[0]) - arb(evidence.slack)
    return radius if radius >= -_margin(certificate, evidence) else None


def _margin(certificate: Certificate, evidence: Sampled) -> float:
    """Amount by which a radius may lie below the derived one: nothing where radii are whole numbers."""
    measure = evidence.measure(certificate.threat)
    return 0.0 if isinstance(measure, tuple) else RADIUS_ATOL * measure


def _prediction(certificate: Certificate, evidence: Sampled, law: Law, radius: arb | None) -> str:
    """The class named is the one counted; a label that is not proven gives way to the class with most votes."""
    label = _label(certificate, evidence)
    elected, allowed = certificate.property.elected(evidence.looks[-1].counts, label), [label]
    if evidence.chosen_by == "label" and (radius is None or radius <= _margin(certificate, evidence)):
        allowed = [elected] if radius is None else [*allowed, elected]
    if certificate.prediction in allowed:
        return ""
    return f"class {certificate.prediction} is named, the evidence names {allowed[0]}"


def _noise(certificate: Certificate, evidence: Sampled, law: Law, radius: arb | None) -> str:
    """The law has a theorem about these balls; what sets the draws apart from it is paid for, or taken on trust."""
    if silence := law.silence(certificate.threat):
        return f"{evidence.noise}: {silence}"
    if evidence.assumption not in (trusted := law.trusted(certificate.threat)):
        return f"the record takes on trust {evidence.assumption!r}, the law {trusted[-1]!r}"
    off = evidence.n_most * evidence.dimensions * law.off(evidence.measure(certificate.threat))
    for name, paid, due in (
        ("slack", evidence.slack, law.slack(evidence.dimensions)),
        ("share of alpha for the draws", evidence.draws_alpha, off),
    ):
        if not due <= paid <= due * (1 + TAIL_RTOL):
            return f"the {name} is {paid:.9g}, due is {float(due.mid()):.9g}"
    return ""


def _radius(certificate: Certificate, evidence: Sampled, law: Law, radius: arb | None) -> str:
    """Not above what the theorem gives, and not below it by more than rounding."""
    stated = certificate.radius
    if stated is None:
        return ""
    if radius is None:
        return f"{stated:.9g} is claimed, the counts show none"
    if not stated <= radius:
        return f"{stated!r} is above {_shown(radius)}, which is all that the counts show"
    if not stated >= radius - _margin(certificate, evidence):
        return f"{stated!r} is below {_shown(radius)}, which the counts show"
    return ""


def _verdict(certificate: Certificate, evidence: Sampled, law: Law, radius: arb | None) -> str:
    """Certified from the smallest declared radius on, unknown below it, abstained where no radius is shown at all."""
    allowed = set(_verdicts(radius, certificate.threat.radii[0], _margin(certificate, evidence)))
    if certificate.verdict in allowed:
        return ""
    shown = "no radius" if radius is None else f"radius {_shown(radius)}"
    return f"the counts show {shown}, which is {' or '.join(sorted(map(str, allowed)))}, not {certificate.verdict}"


def _verdicts(radius: arb | None, least: float, margin: float) -> Iterator[Verdict]:
    """More than one only where rounding decides."""
    if radius is None or radius <= margin:
        yield Verdict.ABSTAIN
    if radius is not None and radius <= least + margin and least > 0:
        yield Verdict.UNKNOWN
    if radius is not None and radius >= least - margin:
        yield Verdict.CERTIFIED


def _shown(radius: arb) -> str:
    return round_down(max(0.0, math.nextafter(float(radius.lower()), -math.inf)), 9)


_OF_THE_LAW: Final[dict[str, Callable[[Certificate, Sampled, Law, arb | None], str]]] = {
    "prediction": _prediction,
    "noise": _noise,
    "radius": _radius,
    "verdict": _verdict,
}


class SmoothingDerivation(Derivation):
    """Radii from counts; what the smoothed classifier returns, :mod:`certify.checker.replay` samples."""

    unchecked = ("generator",)
    drawn = True
    with_model = ("features", "classes")
    translated = ("n", "alpha", "selection", "looks", "null")
    statement = (
        "What is confirmed of smoothing: the recorded counts give these radii ({threats}), for the SMOOTHED model and "
        "not the base model, each false with probability at most {alpha} over the noise. That the counts were drawn "
        "from this model is taken on trust where no replay confirms it."
    )

    def alone(self, certificates: Sequence[Certificate], *, whole: bool) -> list[CheckedClaim]:
        """Each radius from its own counts."""
        return [claim for one in certificates for claim in smoothing_claims(one)]

    def of_model(self, certificate: Certificate, classifier: Classifier, x: Tensor) -> list[CheckedClaim]:
        """The noise was drawn over all features of the input, and the votes are for classes that the model has."""
        evidence, subject = evidence_of(certificate, Sampled), subject_of(certificate)
        looks = [*evidence.looks, *([] if evidence.selection is None else [evidence.selection])]
        strange = sorted({label for look in looks for label in look.counts} - set(range(classifier.ballots)))
        features = f"the record says {evidence.dimensions}, the input has {x.numel()}"
        known = f"the model's classes are 0 to {classifier.ballots - 1}"
        return [
            judged(subject, "features", "" if evidence.dimensions == x.numel() else features),
            judged(subject, "classes", f"class {strange[0]} has votes, {known}" if strange else ""),
        ]

    def settings(self, certificate: Certificate, asked: RunSettings) -> Iterator[Difference]:
        """Noise, samples, looks and how the class was chosen."""
        yield from super().settings(certificate, asked)
        evidence, certifier = evidence_of(certificate, Sampled), asked.certifier
        if "null" in evidence.smoothed:
            yield "null", evidence.smoothed["null"], certifier.get("null")
        yield "n", evidence.n_most, certifier["n"]
        yield "selection", evidence.chosen_by, certifier["selection"]
        yield "n0", None if evidence.selection is None else evidence.selection.n, certifier.get("n0")
        yield "bound", evidence.rival_share, _SHARES.get(certifier["bound"], certifier["bound"])
        for name, value in self.same_for_all(certificate).items():
            yield name, value, asked.shared[name]
        looks = certifier["looks"], certifier["look_alphas"]
        if looks[0] is None:
            yield "look alphas", None, looks[1]
        given = None if looks[0] is None else tuple(tuple(one) for one in looks)
        stated = certifier["n"], certifier["alpha"], certifier["schedule"], given
        yield "schedule", _fault(schedule_of(evidence), *stated, evidence.draws_alpha), ""

    def same_for_all(self, certificate: Certificate) -> Mapping[str, object]:
        """The looks, and over what and in which blocks the noise was drawn."""
        evidence = evidence_of(certificate, Sampled)
        return {
            "looks": schedule_of(evidence),
            "dimensions": evidence.dimensions,
            "assumption": evidence.assumption,
            "block size": evidence.block_size,
        }


@lru_cache(maxsize=1024)
def _fault(
    schedule: LookTable, n: int, alpha: float, kind: str, given: tuple[tuple[float, ...], ...] | None, paid: float
) -> str:
    """As :func:`schedule_fault`, once for the many certificates that share a schedule."""
    looks, look_alphas = given or (None, None)
    settings = {"n": n, "alpha": alpha, "schedule": kind, "looks": looks, "look_alphas": look_alphas}
    return schedule_fault(schedule, settings, paid)


for _kind in ("smoothing", "ablation"):
    DERIVATIONS.register(_kind)(SmoothingDerivation())
