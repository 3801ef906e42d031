"""Complete verification as a certifier: a proof on one side of the true radius, an example on the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import torch
from torch import Tensor
from typing_extensions import override

from certify.bounded.memory import NoRoom
from certify.bounds.deadline import Deadline
from certify.bounds.graph import Graph
from certify.bounds.radii.radius import SEARCH_FACTOR
from certify.certifiers.base import CERTIFIERS, Certifier, Shape
from certify.certifiers.certify import certify
from certify.certifiers.deterministic import ProofAttempt, certificates, check_network, graph_of
from certify.complete.proofs.text import packed
from certify.complete.question import Question
from certify.complete.radius import Ends, bracketed, decided
from certify.core.certificate import Certificate, CompleteEvidence
from certify.core.evidence import CLAIMS, Claim
from certify.core.example import Example
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import round_down, round_up
from certify.core.threats.base import Threat, need_threat
from certify.core.values import number, one_of, whole
from certify.core.verdict import Verdict
from certify.data.batch import Batch
from certify.device import CPU
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.progress.observer import Observer

if TYPE_CHECKING:
    from certify.complete.verify_file import Verification

__all__ = ["GAP", "Complete", "verify"]

GAP = 0.01
"""Relative difference between proven radius and nearest example that is asked for by default."""


@CERTIFIERS.register("complete")
@dataclass(frozen=True, slots=True)
class Complete(Certifier):
    """Certify the network itself by branch and bound while attacks search for an example, until one of them succeeds.

    Args:
        claim: what is proven: ``"exact"``, the network in exact real arithmetic; ``"float32"``, every execution of it
            in float32 as well.
        timeout: seconds for each input.
        gap: largest difference allowed between the proven radius and the nearest example, relative to the latter; None
            for 0.01, and where only declared radii are decided.
        decide: decide the declared radii and search no further: the radius is the largest declared one proven.
        seed: of the random draws in the search for examples.
        workers: processes that search together (on Linux); no answer depends on their number.

    Raises:
        BadInput: for an unknown claim, a time limit that is not finite and above 0, a gap not between 0 and 1, a
            ``decide`` that is not true or false or comes with a gap, fewer than one worker.
    """

    claim: Claim = "exact"
    timeout: float = 60.0
    gap: float | None = None
    decide: bool = False
    seed: int = 0
    workers: int = 1
    method = "complete"
    lot = 1  # each input may take up to its time limit

    def __post_init__(self) -> None:
        one_of("claim", self.claim, CLAIMS)
        object.__setattr__(self, "timeout", number("timeout", self.timeout))
        if not 0 < self.timeout < math.inf:
            raise BadInput(f"the time limit must be finite and above 0 seconds, got {self.timeout:g}")
        if not isinstance(self.decide, bool):
            raise BadInput(f"decide must be true or false, got {self.decide!r}")
        if self.decide and self.gap is not None:
            raise BadInput("a gap is about the true radius, and decide about the declared ones: leave one of them out")
        if not self.decide:
            gap = number("gap", GAP if self.gap is None else self.gap)
            if not 0 < gap < 1:
                raise BadInput(f"the gap is relative: it must lie between 0 and 1, for example 0.01, got {gap:g}")
            object.__setattr__(self, "gap", gap)
        whole("seed", self.seed)
        if whole("workers", self.workers) < 1:
            raise BadInput(f"workers must be at least 1, got {self.workers}")

    def fitted(self, threat: Threat) -> Complete:
        """Counted radii are decided, not bracketed."""
        return replace(self, decide=True, gap=None) if threat.counted else self

    def settings(self) -> dict[str, Any]:
        """What a certificate depends on, the time limit included."""
        search = {} if self.gap is None else {"gap": self.gap, "reach": SEARCH_FACTOR}
        asked = {"claim": self.claim, "timeout": self.timeout, "decide": self.decide, "seed": self.seed}
        return {"method": self.method, "dtype": "float64", **asked, **search}

    def describe(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """What is searched, how long, and what is claimed."""
        bracket = (
            "" if self.gap is None else f"radii to {self.gap:g} relative up to {SEARCH_FACTOR:g} x the largest declared"
        )
        subject = {"exact": "exact real arithmetic", "float32": "every float32 execution and exact real arithmetic"}
        return (
            f"complete: branch and bound and attacks, at most {self.timeout:g} s per input, "
            f"{bracket or 'declared radii only'}, claims in float64 with rounding errors subtracted; "
            f"the claim is about the network in {subject[self.claim]}"
        )

    def check(self, classifier: Classifier, threat: Threat, x: Tensor) -> None:
        """Refuse what :func:`~certify.certifiers.deterministic.check_network` refuses.

        Raises:
            BadInput, ModelError, UnsupportedOperator: each says what works instead.
        """
        check_network(classifier.base.on(CPU), threat, x, self.claim)

    @override
    def for_a_tenth(self) -> Self | None:
        return replace(self, timeout=self.timeout / 10)

    def certify(self, classifier: Classifier, batch: Batch, threat: Threat) -> Iterator[Certificate]:
        """Yield a certificate for each input, as soon as it is decided.

        Branching is done on the processor, wherever the model is: its many small steps would leave an accelerator idle.
        """
        graph = graph_of(classifier.base.on(CPU), batch.shape)
        for row in range(len(batch)):
            part, prove = batch.rows(slice(row, row + 1)), partial(self._prove, classifier, graph, threat)
            [certificate] = certificates(classifier, graph, part, threat, self.method, prove)
            if certificate.evidence is None:
                certificate = replace(certificate, evidence=self._settled(part, certificate))
            yield certificate

    def _prove(
        self, classifier: Classifier, graph: Graph, threat: Threat, x: Tensor, classes: Tensor
    ) -> list[ProofAttempt]:
        question = Question(classifier, graph, x[0].to(CPU), int(classes[0]), threat, self.claim)
        deadline, how = Deadline(self.timeout), {"workers": self.workers, "seed": self.seed}
        try:
            if self.gap is None:
                ends = decided(question, deadline, **how)
            else:
                ends = bracketed(question, deadline, self.gap, **how)
        except NoRoom as problem:
            ends = Ends(question, reason=str(problem))
        return [self._proof(ends, threat, late=deadline.passed)]

    def _proof(self, ends: Ends, threat: Threat, *, late: bool) -> ProofAttempt:
        least, short = threat.radii[0], self._why_open(ends, threat, late=late)
        evidence = CompleteEvidence(
            claim=self.claim,
            dtype="float64",
            certified=ends.certified,
            proof="" if ends.proof is None else packed(ends.proof),
            falsified=None if ends.example is None else ends.falsified,
            example=None if ends.example is None else Example.of(ends.example.x),
            adversarial_prediction=None if ends.example is None else _answer(ends),
            solver=ends.solver,
            subproblems=ends.subproblems,
            timeout=self.timeout,
            gap=self.gap,
            seed=self.seed,
            reason=short,
        )
        if ends.certified is not None and ends.certified >= least:
            return ProofAttempt(ends.certified, evidence, ends.work)
        if ends.falsified <= least:
            reason = f"an example at distance {round_up(ends.falsified)}"
            return ProofAttempt(None, evidence, ends.work, reason, otherwise=Verdict.FALSIFIED)
        return ProofAttempt(None, evidence, ends.work, short)

    def _why_open(self, ends: Ends, threat: Threat, *, late: bool) -> str:
        """Why proof and example are farther apart than asked for; empty where they are not."""
        if self.gap is None:
            least = -1.0 if ends.certified is None else ends.certified
            done = not any(least < radius < ends.falsified for radius in threat.radii)
        else:
            done = ends.closed(self.gap)
        if done:
            return ""
        given_up = f"radius {ends.failed:g} given up after {ends.spent:.3g} s"
        why = ends.reason or (f"time limit of {self.timeout:g} s" if late else given_up)
        if ends.certified is not None and ends.example is not None:
            return f"{why}: between {round_down(ends.certified)} and {round_up(ends.falsified)}"
        proven = "no radius proven" if ends.certified is None else f"proven up to {round_down(ends.certified)}"
        found = "no example found" if ends.example is None else f"an example at {round_up(ends.falsified)}"
        return f"{why}: {proven}, and {found}"

    def _settled(self, part: Batch, certificate: Certificate) -> CompleteEvidence:
        """The evidence where no search was needed: a misclassified input is its own example."""
        wrong = certificate.verdict is Verdict.FALSIFIED
        return CompleteEvidence(
            claim=self.claim,
            dtype="float64",
            certified=None,
            proof="",
            falsified=0.0 if wrong else None,
            example=Example.of(part.x[0].numpy()) if wrong else None,
            adversarial_prediction=certificate.prediction if wrong else None,
            solver="",
            subproblems=0,
            timeout=self.timeout,
            gap=self.gap,
            seed=self.seed,
            reason=certificate.reason,
        )


@overload
def verify(
    clf: Classifier,
    x: Any,
    y: Any = None,
    *,
    threat: Threat,
    property: Property | None = None,
    timeout: float = 60.0,
    gap: float | None = None,
    claim: Claim = "exact",
    seed: int = 0,
    workers: int = 1,
    index: Sequence[int] | None = None,
    progress: bool | Observer = False,
) -> list[Certificate]: ...


@overload
def verify(
    clf: str | Path,
    x: str | Path,
    *,
    timeout: float = 60.0,
    claim: Claim = "exact",
    seed: int = 0,
    workers: int = 1,
) -> Verification: ...


def verify(
    clf: Classifier | str | Path,
    x: Any,
    y: Any = None,
    *,
    threat: Threat | None = None,
    property: Property | None = None,
    timeout: float = 60.0,
    gap: float | None = None,
    claim: Claim = "exact",
    seed: int = 0,
    workers: int = 1,
    index: Sequence[int] | None = None,
    progress: bool | Observer = False,
) -> list[Certificate] | Verification:
    """Decide for each input whether its class is constant within the declared radii: a proof, an example, or neither.

    Branch and bound and attacks run side by side until one of them succeeds or the time is over. Two files, an ONNX
    network and a VNN-LIB property, are decided as ``certify verify`` decides them.

    Args:
        clf: the classifier of a module whose operators all have a rule, on the CPU; or an ONNX file.
        x: inputs, as for :func:`~certify.certifiers.certify.certify`; or a VNN-LIB file.
        threat, property, index, progress: as for :func:`~certify.certifiers.certify.certify`.
        y: labels (B,), or None. An input whose prediction is not its label is falsified without any search.
        gap: None to decide the declared radii. A number between 0 and 1 asks for the true radius instead, up to four
            times the largest declared one: a proof and an example at most this far apart, relative to the latter.
        timeout, claim, seed, workers: see :class:`Complete`. Examples are executed on the classifier itself.

    Returns:
        One certificate an input: certified with the largest radius proven, falsified where an example lies within the
        smallest declared radius, or unknown with a reason. ``evidence`` holds the proof and the nearest example, and
        ``finding`` the example as an attack would report it. For files, their
        :class:`~certify.complete.verify_file.Verification`: ``answer.outcome`` is ``"sat"``, ``"unsat"``, ...

    Raises:
        BadInput: for a threat, time limit, gap, claim, seed or number of workers that means nothing; for files, labels
            or a threat beside a property that states its own inputs.
        UnsupportedOperator: names the operator without a rule, or whose executions nothing is known about.
        DataError, ModelError: for inputs or models that cannot be certified.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 2, bias=False).eval()
    >>> _ = layer.weight.data.copy_(torch.eye(2))
    >>> from certify import ThreatModel
    >>> clf, threat = Classifier(layer, num_classes=2), ThreatModel("linf", (0.2,))
    >>> safe, broken = verify(clf, [[0.75, 0.25], [0.5, 0.25]], threat=threat)
    >>> print(safe)
    input 0: certified, class 0 constant within linf 0.2000; deterministic: a proof
    >>> print(broken.verdict, 0.125 <= broken.finding.distance <= 0.2)
    falsified True
    >>> [true] = verify(clf, [[0.75, 0.25]], threat=threat, gap=0.001)
    >>> 0.249 < true.radius < 0.25 <= true.evidence.falsified < 0.251
    True
    """
    if isinstance(clf, str | Path):
        if any(one is not None for one in (y, threat, property, gap, index)):
            raise BadInput(
                "a property file says which inputs it is about: y, threat, property, gap and index go with classifiers"
            )
        from certify.complete.verify_file import verify_file

        return verify_file(clf, x, timeout=timeout, claim=claim, seed=seed, workers=workers)
    certifier = Complete(claim, timeout, gap, gap is None, seed, workers)
    threat = need_threat(threat)
    return certify(clf, x, y, threat=threat, property=property, certifier=certifier, index=index, progress=progress)


def _answer(ends: Ends) -> int:
    """The answer of the property at the example: the class returned there, or what takes its place."""
    assert ends.example is not None
    scores, kept = torch.from_numpy(ends.example.y)[None], torch.tensor([ends.question.kept])
    return int(ends.question.classifier.property.answer(scores, kept)[0])
