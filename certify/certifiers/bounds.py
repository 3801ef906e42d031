"""Bound propagation as a certifier."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from certify.bounds.choices import over_choices, posed_over_choices
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.graph import Graph
from certify.bounds.hints import packed
from certify.bounds.memory import Bytes, check_memory
from certify.bounds.methods import METHODS
from certify.bounds.radii.ladder import ladder
from certify.bounds.radii.radius import SEARCH_FACTOR, TOLERANCE, ProvenRadius, proven_radii
from certify.certifiers.base import CERTIFIERS, Certifier, Shape
from certify.certifiers.certify import certify
from certify.certifiers.deterministic import ProofAttempt, certificates, check_network, graph_of
from certify.certifiers.lipschitz import Lipschitz
from certify.core.certificate import BoundEvidence, Certificate
from certify.core.evidence import CLAIMS, Claim
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat
from certify.core.values import one_of
from certify.data.batch import Batch
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.progress.observer import Observer

__all__ = ["Bounds", "bound"]

INPUTS_TOGETHER = 32
"""Inputs whose radii are searched, and whose certificates appear, together."""


def _names() -> tuple[str, ...]:
    return "auto", *METHODS


_CLAIMED: dict[Claim, str] = {
    "exact": "the network in exact real arithmetic",
    "float32": "every float32 execution of the network, in any order of summation, and exact real arithmetic",
}


@dataclass(frozen=True, slots=True)
class Bounds(Certifier):
    """Certify the network itself: its class is proven constant in a ball around each input.

    Args:
        method: a bound method, in ascending order of tightness and cost: ``"ibp"``, ``"crown-ibp"``, ``"crown"``,
            ``"alpha-crown-last"``, ``"alpha-crown"``; or ``"auto"``: of ``"ibp"``, ``"crown"`` and ``"alpha-crown"``,
            each is used only for the declared radii that no cheaper one proves, and the last one used searches on.
        claim: what is proven: ``"exact"``, the network in exact real arithmetic; ``"float32"``, every execution of it
            in float32 as well (in any order of summation, with or without fused multiply-add; no narrower formats and
            no transformed convolutions).
        decide: decide the declared radii and search no further: the radius is the largest declared one proven.
        max_memory: approximate limit in bytes; None for half of the free memory. It decides how many inputs are
            bounded at a time and changes no radius, but where a single input takes more, the verdict is unknown.
        timeout: seconds for each input, reading the network not included; None for no limit. Inputs are then bounded
            one by one, and the radius is the largest one proven in time, by the cheapest method that proves it.

    Raises:
        BadInput: for an unknown method or claim, a ``decide`` that is not true or false, less than a byte, or a time
            limit that is not above 0.
    """

    method: str = "crown"
    claim: Claim = "exact"
    decide: bool = False
    max_memory: Bytes | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        one_of("bound method", self.method, _names())
        one_of("claim", self.claim, CLAIMS)
        if not isinstance(self.decide, bool):
            raise BadInput(f"decide must be true or false, got {self.decide!r}")
        check_memory(self.max_memory)
        if self.timeout is not None:
            object.__setattr__(self, "timeout", Deadline(self.timeout).seconds)

    @property
    def rows(self) -> int:
        """Inputs whose radii are searched together; with a time limit, which is for one input, a single one."""
        return INPUTS_TOGETHER if self.timeout is None else 1

    def fitted(self, threat: Threat) -> Bounds:
        """Counted radii are decided, not searched."""
        return replace(self, decide=True) if threat.counted else self

    def settings(self) -> dict[str, Any]:
        """The method and the claim, how radii are searched, and for how long."""
        search: dict[str, Any] = {} if self.decide else {"tolerance": TOLERANCE, "reach": SEARCH_FACTOR}
        if self.timeout is not None:
            search["timeout"] = self.timeout
        return {"method": self.method, "claim": self.claim, "decide": self.decide, "dtype": "float64", **search}

    def describe(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """The methods, the arithmetic, how far radii are searched, and what is claimed."""
        methods = ladder(self.method)
        named = self.method if len(methods) == 1 else f"{self.method} ({', '.join(methods)}, each where needed)"
        searched = f"radii to {TOLERANCE:g} relative up to {SEARCH_FACTOR:g} x the largest declared"
        return (
            f"{named} bounds, float64 with rounding errors subtracted, "
            f"{'declared radii only' if self.decide else searched}"
            f"{'' if self.timeout is None else f', at most {self.timeout:g} s per input'}; "
            f"the claim is about {_CLAIMED[self.claim]}"
        )

    def check(self, classifier: Classifier, threat: Threat, x: Tensor) -> None:
        """Refuse what :func:`~certify.certifiers.deterministic.check_network` refuses."""
        check_network(classifier, threat, x, self.claim, self.max_memory)

    def certify(self, classifier: Classifier, batch: Batch, threat: Threat) -> Iterator[Certificate]:
        """Yield a certificate for each input. An input whose class is not its label is settled without any bounds."""
        graph = graph_of(classifier, batch.shape, self.max_memory)
        for begin in range(0, len(batch), self.rows):
            part = batch.rows(slice(begin, begin + self.rows))
            prove = partial(self._prove, graph, threat, classifier.property)
            yield from certificates(classifier, graph, part, threat, self.method, prove)

    def _prove(
        self, graph: Graph, threat: Threat, property: Property, x: Tensor, classes: Tensor
    ) -> list[ProofAttempt]:
        methods = ladder(self.method)
        if len(x) > 1 and over_choices(graph, x[:1], threat) is not None:  # each text has words of its own to choose
            pairs = zip(x.split(1), classes.split(1), strict=True)
            return [proof for one, kept in pairs for proof in self._prove(graph, threat, property, one, kept)]
        posed, inputs, about = posed_over_choices(graph, x, threat)
        found = proven_radii(
            posed,
            inputs,
            classes,
            about,
            methods,
            claim=self.claim,
            search=not self.decide,
            max_memory=self.max_memory,
            deadline=NEVER if self.timeout is None else Deadline(self.timeout),
            property=property,
        )
        return [self._proof(one, threat) for one in found]

    def _proof(self, found: ProvenRadius, threat: Threat) -> ProofAttempt:
        evidence = BoundEvidence(
            bound_method=found.method,
            input_box=threat.input_box,
            margins=found.margins,
            dtype="float64",
            slack=found.slack,
            evaluations=found.evaluations,
            claim=self.claim,
            slopes=packed(found.hints) if found.hints else "",
        )
        reason = "the margins at the input itself do not exceed their rounding errors" if found.hopeless else ""
        # Without finite margins, because time was short or a bound diverged, there is no evidence of anything.
        told = evidence if all(map(math.isfinite, found.margins)) else None
        return ProofAttempt(found.radius, told, found.evaluations, reason or found.given_up)


CERTIFIERS.derive(lambda: {method: partial(Bounds, method) for method in _names()})


def bound(
    clf: Classifier,
    x: Any,
    y: Any = None,
    *,
    threat: Threat,
    property: Property | None = None,
    method: str = "crown",
    claim: Claim = "exact",
    decide: bool = False,
    max_memory: int | None = None,
    timeout: float | None = None,
    index: Sequence[int] | None = None,
    progress: bool | Observer = False,
) -> list[Certificate]:
    """Certify a network at each input by bound propagation: a proof, not a confidence.

    Args:
        clf: the classifier of a module whose operators all have a rule.
        x, property, index, progress: as for :func:`~certify.certifiers.certify.certify`.
        y: labels (B,), or None. An input whose prediction is not its label is falsified without any bounds.
        threat: norm and declared radii. Radii up to four times the largest are claimed where they are proven.
        method: a method of :class:`Bounds`, which also says what ``claim``, ``decide``, ``max_memory`` and ``timeout``
            mean; the evidence names the method that proves the claim. Or ``"lipschitz"``, for l2: margins over
            Lipschitz constants without search, see :class:`~certify.certifiers.lipschitz.Lipschitz`.

    Returns:
        One certificate an input.

    Raises:
        BadInput: for an unknown method or claim, ``max_memory`` below 1, or a time limit that is not above 0.
        UnsupportedOperator: names the operator without a rule, or whose executions nothing is known about.
        DataError, ModelError: for inputs or models that cannot be certified.

    >>> import torch
    >>> clf = Classifier(torch.nn.Linear(2, 2).eval(), num_classes=2)
    >>> from certify import ThreatModel
    >>> threat = ThreatModel(norm="linf", radii=(0.0, 0.01))
    >>> [certificate] = bound(clf, [[0.9, 0.1]], threat=threat)
    >>> print(certificate.guarantee)
    deterministic: a proof
    """
    certifier: Bounds | Lipschitz
    one_of("bound method", method, (*_names(), "lipschitz"))
    if method == "lipschitz":
        if claim != "exact" or decide or max_memory is not None:
            raise BadInput(
                "lipschitz claims a radius of the network in exact arithmetic: leave claim, decide and max_memory out"
            )
        certifier = Lipschitz(timeout)
    else:
        certifier = Bounds(method, claim, decide, max_memory, timeout)
    return certify(clf, x, y, threat=threat, property=property, certifier=certifier, index=index, progress=progress)
